/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's examinations of values that are sound by themselves and still do harm: a state
 * directory that is somebody else's, proxies that could be anybody, a bound beyond another one.
 * Called for doctor_run; it changes nothing.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/base/client_address.h"
#include "server/doctor/doctor_internal.h"

#define STRANGERS_NAMED 3
#define IPV4_BITS       96 /* bits before an IPv4 address, which is kept within ::ffff:0:0/96 */

/* Names that nodes of this version and of earlier ones make in a state directory. Operators set
 * such files aside there under longer names. */
static const char *const own_names[] = {"lane",     "directory",    "nodes",  "lock",
                                        "instance", "instance.new", "hashes", "journal",
                                        "redis",    "admin.sock"};

/* Whether a node may have made it. Dot files and lost+found do not count as strangers either: file
 * systems and backups put them into any directory. */
static bool is_own(const char *name)
{
    if (name[0] == '.' || strcmp(name, "lost+found") == 0)
        return true;
    for (size_t i = 0; i < sizeof(own_names) / sizeof(own_names[0]); i++) {
        size_t length = strlen(own_names[i]);
        /* journal.damaged, hashes.new, hashes.unreadable, redis-old */
        if (strncmp(name, own_names[i], length) == 0 && strchr(".-_~", name[length]) != NULL)
            return true;
    }
    return false;
}

/* Whether `path` leads to `name` in the directory, or to a name that `name` begins with: access.log
 * for access.log.1. */
static bool is_at(const char *directory, const char *path, const char *name)
{
    size_t length = strlen(directory);
    while (length > 0 && directory[length - 1] == '/')
        length--;
    if (strncmp(path, directory, length) != 0 || path[length] != '/')
        return false;
    const char *rest = path + length + strspn(path + length, "/");
    size_t first = strcspn(rest, "/");
    return first > 0 && strncmp(name, rest, first) == 0;
}

static const char *path_of(const char *address)
{
    return strncmp(address, "unix:", 5) == 0 ? address + 5 : address;
}

static bool is_configured(const struct config *config, const char *name)
{
    const char *const paths[] = {config->certificates,         config->tls_ticket_keys,
                                 config->redis_password_file,  config->sentinel_password_file,
                                 config->access_log,           path_of(config->redis),
                                 path_of(config->admin_listen)};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (is_at(config->state_dir, paths[i], name))
            return true;
    }
    for (unsigned i = 0; i < config->issuers_count; i++) {
        const struct config_issuer *issuer = &config->issuers[i];
        if (is_at(config->state_dir, issuer->keys, name) ||
            is_at(config->state_dir, issuer->admin_secret_file, name))
            return true;
    }
    return false;
}

static bool has_journal(const char *directory, const char *lane)
{
    char path[4200];
    struct stat facts;
    snprintf(path, sizeof(path), "%s%s/instance", directory, lane);
    bool has_instance = stat(path, &facts) == 0 && S_ISREG(facts.st_mode);
    snprintf(path, sizeof(path), "%s%s/journal", directory, lane);
    return has_instance && stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

/* Whether a node has lived there: what lies beside its files is its operator's business then. */
static bool is_inhabited(const char *directory)
{
    return has_journal(directory, "/lane-a") || has_journal(directory, ""); /* of before */
}

bool doctor_find_strangers(const struct config *config, char *names, size_t size)
{
    struct dirent **entries = NULL;
    unsigned strangers = 0;
    size_t length = 0;
    names[0] = '\0';
    /* A directory that does not exist or cannot be listed is found by another examination. */
    int count =
        is_inhabited(config->state_dir) ? 0 : scandir(config->state_dir, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!is_own(name) && !is_configured(config, name) && strangers++ < STRANGERS_NAMED &&
            length < size)
            length += (size_t)snprintf(names + length, size - length, "%s%.64s",
                                       strangers > 1 ? ", " : "", name);
        free(entries[i]);
    }
    free(entries);
    if (strangers > STRANGERS_NAMED && length < size)
        snprintf(names + length, size - length, " and %u more", strangers - STRANGERS_NAMED);
    return strangers > 0;
}

/* ---- values beside each other ---- */

/* Whether the prefix is larger than 10.0.0.0/8 and fc00::/7, the largest networks that one operator
 * can have for himself. */
static bool is_of_strangers(const struct client_prefix *prefix)
{
    static const unsigned char ipv4[12] = {[10] = 0xff, [11] = 0xff};
    bool is_ipv4 = prefix->bits >= IPV4_BITS && memcmp(prefix->ip, ipv4, sizeof(ipv4)) == 0;
    return is_ipv4 ? prefix->bits < IPV4_BITS + 8 : prefix->bits < 7;
}

static void examine_proxies(const char *key, const char *text, struct doctor_finding *out)
{
    static const char between[] = " ,\t";
    for (text += strspn(text, between); *text != '\0'; text += strspn(text, between)) {
        char one[80], warning[512];
        struct client_prefix prefix;
        const char *bad;
        size_t length = strcspn(text, between);
        snprintf(one, sizeof(one), "%.*s", (int)length, text);
        if (client_prefixes_read(one, &prefix, 1, &bad) == 1 && is_of_strangers(&prefix)) {
            snprintf(
                warning, sizeof(warning),
                "%s: %s holds clients, not only proxies, and each of them may name any address "
                "as its own; list the addresses of the proxies alone",
                key, one);
            doctor_warn(out, warning);
        }
        text += length;
    }
}

void doctor_examine_settings(const struct config *config, struct doctor_finding *out)
{
    examine_proxies("proxy_protocol_from", config->proxy_protocol_from, out);
    examine_proxies("forwarded_from", config->forwarded_from, out);
    if (config->accounts_per_issuer_max > config->accounts_max) {
        char warning[512];
        snprintf(warning, sizeof(warning),
                 "accounts_per_issuer_max: %" PRIu64
                 " has no effect, because accounts_max is %" PRIu64
                 "; lower accounts_per_issuer_max, or raise accounts_max",
                 config->accounts_per_issuer_max, config->accounts_max);
        doctor_warn(out, warning);
    }
    doctor_find(out, DOCTOR_OK, "agree with each other");
}
