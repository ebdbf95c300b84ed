/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses what is configured as Redis' place. See where_name.h. Validating the configuration,
 * where.c and the doctor call it; it resolves nothing.
 */
#include "storage/ledger/where_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define PORT_DEFAULT          6379
#define SENTINEL_PORT_DEFAULT 26379

static int refuse(char *error, size_t size, const char *sentence)
{
    snprintf(error, size, "%s", sentence);
    return -EINVAL;
}

static int parse_path(const char *path, struct ledger_redis_address *out, char *error, size_t size)
{
    if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return refuse(error, size, "the path of a Unix socket has at most 107 bytes");
    snprintf(out->host, sizeof(out->host), "%s", path);
    out->port = 0;
    return path[0] != '\0' ? 0
                           : refuse(error, size, "unix: needs a path, as in unix:/run/redis.sock");
}

/* Takes "host:port" or "[v6]:port"; the port may be left out where out->port has a default. */
static bool parse_authority(const char *text, struct ledger_redis_address *out)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    bool bracketed = text[0] == '[';
    text += bracketed;
    size_t length = strcspn(text, bracketed ? "]" : ":");
    const char *after = text + length;
    if (length == 0 || length >= sizeof(out->host) || (bracketed && *after++ != ']'))
        return false;
    snprintf(out->host, sizeof(out->host), "%.*s", (int)length, text);
    /* A zone, as in fe80::1%eth0, may have any name. */
    if (strspn(out->host, bracketed ? "0123456789abcdefABCDEF:.%" : names) != length &&
        (!bracketed || strchr(out->host, '%') == NULL))
        return false;
    if (after[0] == '\0')
        return out->port != 0;
    size_t digits = strspn(after + 1, "0123456789");
    out->port = (int)strtoul(after + 1, NULL, 10);
    return after[0] == ':' && digits >= 1 && digits <= 5 && after[1 + digits] == '\0' &&
           out->port >= 1 && out->port <= 65535;
}

static int parse_url(const char *text, struct ledger_redis_address *out, char *error, size_t size)
{
    char authority[300];
    size_t length = strcspn(text, "/?#");
    const char *after = text + length;
    if (strchr(text, '@') != NULL)
        return refuse(error, size,
                      "user and password do not belong in the address; put them into redis_user "
                      "and, in a file that others cannot read, redis_password_file");
    if (after[0] != '\0' && strcmp(after, "/") != 0 && strcmp(after, "/0") != 0)
        return refuse(error, size,
                      "the URL names a database or options; Tollgate uses database 0, write "
                      "redis://HOST:PORT");
    snprintf(authority, sizeof(authority), "%.*s", (int)(length < sizeof(authority) ? length : 0),
             text);
    out->port = PORT_DEFAULT;
    return parse_authority(authority, out)
               ? 0
               : refuse(error, size,
                        "is not an address; write redis://HOST:PORT, or redis://[::1]:6379");
}

/* Takes "NAME@host:port,host:port", behind "sentinel:". */
static int parse_sentinels(const char *text, struct where_name *out, char *error, size_t size)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t length = strspn(text, names);
    if (length == 0 || length >= sizeof(out->master) || text[length] != '@')
        return refuse(error, size,
                      "sentinel: needs the master's name and where the Sentinels are, as in "
                      "sentinel:mymaster@10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379");
    snprintf(out->master, sizeof(out->master), "%.*s", (int)length, text);
    for (text += length; *text != '\0'; text += length) {
        char authority[300];
        length = strcspn(++text, ",");
        if (out->count == WHERE_SENTINELS_MAX)
            return refuse(error, size, "sentinel: takes at most 16 Sentinels");
        struct ledger_redis_address *at = &out->at[out->count++];
        at->port = SENTINEL_PORT_DEFAULT;
        snprintf(authority, sizeof(authority), "%.*s", (int)length, text);
        if (length >= sizeof(authority) || !parse_authority(authority, at)) {
            snprintf(error, size,
                     "\"%.255s\" is not where a Sentinel is; write HOST:PORT for each, as in "
                     "sentinel:mymaster@10.0.0.1:26379,10.0.0.2:26379",
                     strchr(authority, '@') != NULL ? "..." : authority);
            return -EINVAL;
        }
    }
    return 0;
}

int where_name_parse(struct where_name *name, const char *text, char *error, size_t size)
{
    *name = (struct where_name){0};
    if (strncmp(text, "sentinel:", 9) == 0)
        return parse_sentinels(text + 9, name, error, size);
    struct ledger_redis_address *out = &name->at[0];
    name->count = 1;
    if (strncmp(text, "unix:", 5) == 0)
        return parse_path(text + 5, out, error, size);
    if (strncasecmp(text, "rediss://", 9) == 0)
        return refuse(
            error, size,
            "TLS is not spoken to Redis; use a Unix socket, a private network or a tunnel "
            "(stunnel)");
    if (strncasecmp(text, "redis://", 8) == 0)
        return parse_url(text + 8, out, error, size);
    if (parse_authority(text, out))
        return 0;
    snprintf(error, size,
             "\"%.255s\" is not an address; write embedded, unix:/run/redis.sock, 10.0.0.5:6379, "
             "[::1]:6379, redis://redis.example:6379 or sentinel:NAME@HOST:PORT,HOST:PORT",
             strchr(text, '@') != NULL ? "..." : text); /* what stands before @ may be a password */
    return -EINVAL;
}

int ledger_redis_validate(const char *text, char *error, size_t error_size)
{
    struct where_name ignored;
    return where_name_parse(&ignored, text, error, error_size);
}
