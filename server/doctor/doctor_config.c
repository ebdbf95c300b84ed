/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's examinations of what the configuration names: files, directories and addresses. Each
 * asks the system with the rights of its own user, which should be the node's. They make no files.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h> /* after libgen.h, which would take its basename */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/admin/admin_internal.h"
#include "server/base/byte_count.h"
#include "server/doctor/doctor_internal.h"
#include "server/link/trust.h"
#include "server/loop/listener.h"
#include "server/redis/redis_address.h"
#include "server/transport/tls.h"
#include "storage/ledger/ledger.h"

#define SEGMENTS_WANTED    2
#define CERTIFICATE_LEFT_S (14L * 86400)

void doctor_examine_media_root(const struct config *config, struct doctor_finding *out)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    int root = open(config->media_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        doctor_find(out, DOCTOR_FAILURE, "%s: %s; name a directory that the node may read",
                    config->media_root, strerrordesc_np(errno));
        return;
    }
    /* openat2 opens every file later on, and seccomp filters refuse it more often than any call but
     * those of io_uring. */
    long beneath = syscall(SYS_openat2, root, ".", &how, sizeof(how));
    if (beneath < 0)
        doctor_find(out, DOCTOR_FAILURE,
                    "%s: openat2: %s; allow openat2 in the seccomp filter (systemd: leave "
                    "RestrictSUIDSGID out)",
                    config->media_root, strerrordesc_np(errno));
    else
        doctor_find(out, DOCTOR_OK, "%s", config->media_root);
    if (beneath >= 0)
        close((int)beneath);
    close(root);
}

/* What state_dir_fault returns where `parent` does not exist; compared by its address. */
static const char missing_parent[] = "has no parent directory";

/* What is wrong with the directory, or NULL. The node makes it itself where it is missing, but not
 * its parent, which `parent` receives then; else it receives `path`. */
static const char *state_dir_fault(const char *path, char parent[static PATH_MAX])
{
    struct stat facts;
    snprintf(parent, PATH_MAX, "%s", path);
    /* Anybody who may write there can change what the node bills. */
    if (stat(path, &facts) == 0)
        return !S_ISDIR(facts.st_mode)      ? "is not a directory; choose another"
               : (facts.st_mode & 022) != 0 ? "may be written by others; run chmod go-w on it"
               : facts.st_uid != geteuid() && facts.st_uid != 0
                   ? "belongs to another user, who may write there; let the node's user own it"
               : access(path, W_OK | X_OK) < 0 ? "cannot be written; let the node's user own it"
                                               : NULL;
    char *above = dirname(parent);
    memmove(parent, above, strlen(above) + 1);
    if (access(parent, W_OK | X_OK) == 0)
        return NULL;
    return errno == ENOENT ? missing_parent : "cannot be made there; make it for the node's user";
}

/* The process that serves the state directory's admin socket; 0 where that cannot be told. */
static pid_t serving_process(const struct config *config)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int status = config_admin_socket(config, address.sun_path, sizeof(address.sun_path));
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || status < 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        peer.pid = 0;
    if (fd >= 0)
        close(fd);
    return peer.pid;
}

static void note_running(const struct config *config, const struct doctor_finding *out)
{
    struct doctor_finding note = *out;
    pid_t process = serving_process(config);
    if (!ledger_is_running(config->state_dir))
        return;
    doctor_find(&note, DOCTOR_OK, "a node runs here already");
    if (process > 0)
        doctor_find(&note, DOCTOR_OK, "a node runs here already (pid %d)", (int)process);
    doctor_report(out, &note);
}

void doctor_examine_state_dir(const struct config *config, struct doctor_finding *out)
{
    char where[PATH_MAX], space[BYTE_COUNT_SIZE], needed[BYTE_COUNT_SIZE];
    struct statvfs disk;
    const char *fault = state_dir_fault(config->state_dir, where);
    uint64_t least = SEGMENTS_WANTED * config->journal_segment_bytes;
    if (fault == missing_parent) {
        doctor_find(out, DOCTOR_FAILURE,
                    "the directory %s does not exist; make it with mkdir -p %s", where, where);
        return;
    }
    if (fault != NULL) {
        doctor_find(out, DOCTOR_FAILURE, "%s: %s", config->state_dir, fault);
        return;
    }
    char strangers[256];
    if (doctor_find_strangers(config, strangers, sizeof(strangers))) {
        doctor_find(
            out, DOCTOR_FAILURE,
            "%s holds files that are not a node's (%s); give the node a directory of its own",
            config->state_dir, strangers);
        return;
    }
    if (statvfs(where, &disk) != 0) {
        doctor_find(out, DOCTOR_WARNING, "%s: statvfs: %s", config->state_dir,
                    strerrordesc_np(errno));
        return;
    }
    note_running(config, out);
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    byte_count_write((int64_t)(room < INT64_MAX ? room : INT64_MAX), space);
    byte_count_write((int64_t)least, needed);
    if ((disk.f_flag & ST_RDONLY) != 0)
        doctor_find(out, DOCTOR_FAILURE, "%s: is on a read-only file system; choose another",
                    config->state_dir);
    else if (room < least)
        doctor_find(out, DOCTOR_WARNING,
                    "%s: %s are free and the journal wants %s next; a full disk stops the serving",
                    config->state_dir, space, needed);
    else
        doctor_find(out, DOCTOR_OK, "%s, %s free", config->state_dir, space);
}

/* Warns where others may read the file of a password. */
static void judge_mode(const char *path, struct doctor_finding *out)
{
    struct stat facts;
    if (path[0] != '\0' && stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        doctor_find(
            out, DOCTOR_WARNING,
            "%s holds a password, and other users may read it (mode %03o); run chmod 600 %s", path,
            (unsigned)(facts.st_mode & 0777), path);
}

/* Also of the Sentinels' password, which most installations have not. */
void doctor_examine_redis_password_file(const struct config *config, struct doctor_finding *out)
{
    struct redis_address where;
    const char *path = config->redis_password_file;
    static const char key[] = "redis_password_file: ";
    char text[1024];
    int status = redis_address_read(config, &where, text, sizeof(text));
    explicit_bzero(where.password, sizeof(where.password));
    explicit_bzero(where.sentinel_password, sizeof(where.sentinel_password));
    if (status < 0)
        doctor_find(out, DOCTOR_FAILURE, "%s",
                    strncmp(text, key, sizeof(key) - 1) == 0 ? text + sizeof(key) - 1 : text);
    else
        doctor_find(out, DOCTOR_OK, "%s", path[0] == '\0' ? "none" : path);
    if (status == 0) {
        judge_mode(path, out);
        judge_mode(config->sentinel_password_file, out);
    }
}

/* The configuration with this issuer alone, so that one issuer's mistake does not hide
 * another's. Borrows. */
static struct config only_issuer(const struct config *config, unsigned index)
{
    struct config one = *config;
    one.issuers = &config->issuers[index];
    one.issuers_count = 1;
    return one;
}

void doctor_examine_keys(const struct config *config, struct doctor_finding *out)
{
    struct token_trust *trust;
    char text[sizeof(out->text)];
    for (unsigned i = 0; i < config->issuers_count; i++) {
        const struct config one = only_issuer(config, i);
        if (trust_load(&one, &trust, NULL, text, sizeof(text)) < 0)
            doctor_fail(out, text);
        else
            token_trust_drop(&trust);
    }
    if (out->verdict == DOCTOR_FAILURE)
        return;
    const struct trust_warner warner = {.warn = doctor_warn, .context = out};
    if (trust_load(config, &trust, &warner, text, sizeof(text)) < 0) {
        doctor_fail(out, text);
        return;
    }
    token_trust_drop(&trust);
    doctor_find(out, DOCTOR_OK, "of %u issuer%s", config->issuers_count,
                config->issuers_count == 1 ? "" : "s");
}

void doctor_examine_admin_secrets(const struct config *config, struct doctor_finding *out)
{
    struct admin_secrets *secrets;
    const struct trust_warner warner = {.warn = doctor_warn, .context = out};
    char text[sizeof(out->text)];
    if (config->admin_listen[0] == '\0') {
        doctor_find(out, DOCTOR_OK, "none; shops have no access");
        return;
    }
    for (unsigned i = 0; i < config->issuers_count; i++) {
        const struct config one = only_issuer(config, i);
        if (admin_secrets_load(&secrets, &one, &warner, text, sizeof(text)) < 0)
            doctor_fail(out, text);
        else
            admin_secrets_destroy(&secrets);
    }
    if (out->verdict == DOCTOR_FAILURE)
        return;
    /* All together: two issuers may have the same secret. */
    if (admin_secrets_load(&secrets, config, NULL, text, sizeof(text)) < 0) {
        doctor_fail(out, text);
        return;
    }
    admin_secrets_destroy(&secrets);
    doctor_find(out, DOCTOR_OK, "readable");
}

/* Whether a file that does not exist yet can be made at `path`; else `text` says what is wrong with
 * its directory. */
static bool directory_is_good(const char *path, char *text, size_t size)
{
    char copy[PATH_MAX];
    struct stat facts;
    snprintf(copy, sizeof(copy), "%s", path);
    const char *directory = dirname(copy);
    if (stat(directory, &facts) != 0)
        snprintf(text, size, "%s: its directory %s: %s; %s", path, directory,
                 strerrordesc_np(errno),
                 errno == ENOENT   ? "create the directory, and let the node's user own it"
                 : errno == EACCES ? "let the node's user search the directories above it"
                                   : "correct the path");
    else if (!S_ISDIR(facts.st_mode))
        snprintf(text, size, "%s: %s is not a directory; correct the path", path, directory);
    else if (access(directory, W_OK | X_OK) != 0)
        snprintf(text, size, "%s: its directory %s: %s; let the node's user write there", path,
                 directory, strerrordesc_np(errno));
    else
        return true;
    return false;
}

void doctor_examine_access_log(const struct config *config, struct doctor_finding *out)
{
    const char *path = config->access_log;
    struct stat facts;
    char text[sizeof(out->text)];
    if (path[0] == '\0')
        doctor_find(out, DOCTOR_OK, "none");
    else if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        doctor_find(out, DOCTOR_FAILURE, "%s: is a directory; name a file in it", path);
    else if (access(path, W_OK) == 0)
        doctor_find(out, DOCTOR_OK, "%s", path);
    else if (errno != ENOENT && errno != ENOTDIR)
        doctor_find(out, DOCTOR_FAILURE,
                    "%s: %s; let the node's user write to it, or name another file", path,
                    strerrordesc_np(errno));
    else if (!directory_is_good(path, text, sizeof(text)))
        doctor_fail(out, text);
    else
        doctor_find(out, DOCTOR_OK, "%s", path);
}

/* ---- where it listens ---- */

/* systemd keeps this symbolic link while the package's socket unit is enabled. */
#define SOCKET_UNIT "/etc/systemd/system/sockets.target.wants/tollgate.socket"

/* An address in use would keep a node from starting, unless this very node serves there, or the
 * unit that passes it the socket. Only `tollgate doctor` tells: a configuration is not wrong
 * because its port is taken here and now. */
static void examine_taken(const struct config *config, const char *key, const char *address,
                          struct doctor_finding *out)
{
    char text[512];
    if (doctor_asker(out) != DOCTOR_COMMAND || ledger_is_running(config->state_dir))
        return;
    if (access(SOCKET_UNIT, F_OK) == 0) {
        snprintf(text, sizeof(text),
                 "%s %s: %s, which is right if tollgate.socket listens there; otherwise stop what "
                 "serves there, or change %s",
                 key, address, strerrordesc_np(EADDRINUSE), key);
        doctor_warn(out, text);
        return;
    }
    snprintf(text, sizeof(text), "%s %s: %s; stop what serves there, or change %s", key, address,
             strerrordesc_np(EADDRINUSE), key);
    doctor_fail(out, text);
}

static void examine_address(const struct config *config, const char *key, const char *address,
                            struct doctor_finding *out)
{
    char text[512];
    int status = address[0] != '\0' ? listener_probe(address) : 0;
    if (status == -EADDRINUSE)
        examine_taken(config, key, address, out);
    if (status == 0 || status == -EADDRINUSE)
        return;
    if (status == -EACCES) {
        /* Only a warning: the service's unit may grant it, or pass the socket. */
        snprintf(
            text, sizeof(text),
            "%s %s: this user may not listen on a port below 1024; choose a higher one, or "
            "let the unit grant it (AmbientCapabilities=CAP_NET_BIND_SERVICE) or pass the socket",
            key, address);
        doctor_warn(out, text);
        return;
    }
    snprintf(text, sizeof(text), "%s %s: %s; %s", key, address, strerrordesc_np(-status),
             status == -EADDRNOTAVAIL ? "write an address of this machine, as `ip address` lists "
                                        "them, or :PORT for all of them"
                                      : "choose another address");
    doctor_fail(out, text);
}

/* The node makes the socket, and replaces one that an earlier node has left. */
static void examine_socket(const char *path, struct doctor_finding *out)
{
    struct stat facts;
    char text[sizeof(out->text)], whole[sizeof(out->text)];
    if (lstat(path, &facts) == 0 && !S_ISSOCK(facts.st_mode))
        snprintf(text, sizeof(text), "%s: is not a socket; move it away, or choose another path",
                 path);
    else if (directory_is_good(path, text, sizeof(text)))
        return;
    snprintf(whole, sizeof(whole), "admin_listen %.1400s", text);
    doctor_fail(out, whole);
}

void doctor_examine_addresses(const struct config *config, struct doctor_finding *out)
{
    examine_address(config, "listen", config->listen, out);
    examine_address(config, "listen_tls", config->listen_tls, out);
    if (strncmp(config->admin_listen, "unix:", 5) == 0)
        examine_socket(config->admin_listen + 5, out);
    else
        examine_address(config, "admin_listen", config->admin_listen, out);
    if (out->verdict != DOCTOR_FAILURE)
        doctor_find(out, DOCTOR_OK, "%s%s%s", config->listen,
                    config->listen_tls[0] != '\0' ? " and " : "", config->listen_tls);
}

/* Warns where no certificate is for the host of public_origin, under which clients come. */
static void examine_certificate_of_origin(const struct config *config, const struct tls *tls,
                                          struct doctor_finding *out)
{
    static const char scheme[] = "https://";
    char host[256], text[512];
    if (strncmp(config->public_origin, scheme, sizeof(scheme) - 1) != 0)
        return;
    const char *start = config->public_origin + sizeof(scheme) - 1;
    bool v6 = *start == '[';
    start += v6;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(start, v6 ? "]" : ":/"), start);
    if (tls_has_host(tls, host))
        return;
    snprintf(text, sizeof(text),
             "%s: no certificate is for %s, the host of public_origin, so browsers will refuse it; "
             "add one "
             "there, or correct public_origin",
             config->certificates, host);
    doctor_warn(out, text);
}

/* Certbot renews 30 days before the end: with less than two weeks left, renewal has failed. */
void doctor_examine_certificates(const struct config *config, struct doctor_finding *out)
{
    struct tls *tls;
    const char *file = "";
    char day[32];
    if (config->listen_tls[0] == '\0') {
        doctor_find(out, DOCTOR_OK, "none; TLS is off");
        return;
    }
    if (tls_load(&tls, config, NULL, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    const char *warning;
    for (unsigned i = 0; (warning = tls_warning(tls, i)) != NULL; i++)
        doctor_warn(out, warning);
    examine_certificate_of_origin(config, tls, out);
    int64_t ends_s = tls_expires_s(tls, &file);
    int64_t left_s = ends_s - (int64_t)time(NULL);
    doctor_write_day((time_t)ends_s, day);
    if (left_s <= 0)
        doctor_find(out, DOCTOR_WARNING, "%s: ended on %s; renew it and send SIGHUP", file, day);
    else if (left_s < CERTIFICATE_LEFT_S)
        doctor_find(out, DOCTOR_WARNING, "%s: ends on %s; renew it and send SIGHUP", file, day);
    else
        doctor_find(out, DOCTOR_OK, "%u, the first ends on %s; OCSP responses: %u; kernel TLS: %s",
                    tls_certificate_count(tls), day, tls_staple_count(tls),
                    tls_has_kernel() ? "yes" : "no");
    tls_drop(&tls);
}
