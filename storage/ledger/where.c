/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses the configured address and resolves it, for where.h. A name is resolved at the start and
 * again whenever all its addresses have failed, on a thread of its own and never by a caller: the
 * resolver may hang for minutes, and until it answers, callers get the addresses from before.
 */
#include "storage/ledger/where.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "server/base/clock.h"
#include "storage/ledger/ledger_internal.h"

#define PORT_DEFAULT 6379

struct where {
    pthread_mutex_t lock;
    pthread_cond_t asked_moved, answered;
    struct ledger_redis_address name;                           /* as configured; never changed */
    struct ledger_redis_address addresses[WHERE_ADDRESSES_MAX]; /* of the resolver's last answer */
    unsigned count, at;                                         /* `at`: the address in force */
    uint64_t number; /* moves with the address in force */
    bool asked, stop;
    uint64_t asked_ms;   /* monotonic: when the open question was asked; 0: none is open */
    int failure;         /* of the last getaddrinfo; 0: it succeeded */
    unsigned references; /* the owner's and the thread's */
};

/* ---- what is configured ---- */

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

static int parse(const char *text, struct ledger_redis_address *out, char *error, size_t size)
{
    *out = (struct ledger_redis_address){0};
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
             "[::1]:6379 or redis://redis.example:6379",
             strchr(text, '@') != NULL ? "..." : text); /* what stands before @ may be a password */
    return -EINVAL;
}

int ledger_redis_validate(const char *text, char *error, size_t error_size)
{
    struct ledger_redis_address ignored;
    return parse(text, &ignored, error, error_size);
}

/* ---- resolving ---- */

/* Resolves a name; blocks, perhaps for minutes. 0 or the error of getaddrinfo. */
static int resolve(const struct ledger_redis_address *name, int flags,
                   struct ledger_redis_address out[WHERE_ADDRESSES_MAX], unsigned *count)
{
    struct addrinfo *all = NULL;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    int failure = getaddrinfo(name->host, NULL, &hints, &all);
    *count = 0;
    for (const struct addrinfo *one = all;
         failure == 0 && one != NULL && *count < WHERE_ADDRESSES_MAX; one = one->ai_next) {
        struct ledger_redis_address *to = &out[*count];
        to->port = name->port;
        if (getnameinfo(one->ai_addr, one->ai_addrlen, to->host, sizeof(to->host), NULL, 0,
                        NI_NUMERICHOST) == 0)
            ++*count;
    }
    if (all != NULL)
        freeaddrinfo(all);
    return failure != 0 ? failure : *count > 0 ? 0 : EAI_NONAME;
}

/* The caller has the lock. Where the addresses are the same as before, the one in force stays. */
static void take(struct where *where, const struct ledger_redis_address *addresses, unsigned count)
{
    bool same = count == where->count;
    for (unsigned i = 0; same && i < count; i++)
        same = strcmp(addresses[i].host, where->addresses[i].host) == 0;
    if (same)
        return;
    memcpy(where->addresses, addresses, count * sizeof(*addresses));
    where->count = count;
    where->at = 0;
    where->number++;
}

static void put_in_force(struct where *where, unsigned at)
{
    where->at = at;
    where->number++;
}

/* The caller has the lock. */
static void ask(struct where *where)
{
    where->asked = true;
    if (where->asked_ms == 0)
        where->asked_ms = clock_monotonic_ms();
    pthread_cond_signal(&where->asked_moved);
}

static void drop(struct where *where)
{
    bool last = --where->references == 0;
    pthread_mutex_unlock(&where->lock);
    if (!last)
        return;
    pthread_cond_destroy(&where->asked_moved);
    pthread_cond_destroy(&where->answered);
    pthread_mutex_destroy(&where->lock);
    free(where);
}

static void *run(void *argument)
{
    struct where *where = argument;
    pthread_mutex_lock(&where->lock);
    while (!where->stop) {
        if (!where->asked) {
            pthread_cond_wait(&where->asked_moved, &where->lock);
            continue;
        }
        struct ledger_redis_address found[WHERE_ADDRESSES_MAX];
        unsigned count;
        where->asked = false;
        pthread_mutex_unlock(&where->lock);
        int failure = resolve(&where->name, 0, found, &count);
        pthread_mutex_lock(&where->lock);
        where->failure = failure;
        where->asked_ms = where->asked ? clock_monotonic_ms() : 0;
        if (failure == 0)
            take(where, found, count);
        pthread_cond_broadcast(&where->answered);
    }
    drop(where);
    return NULL;
}

static int start(struct where *where)
{
    pthread_t thread;
    where->references++;
    ask(where);
    int result = ledger_thread_start(&thread, run, where);
    if (result == 0)
        pthread_detach(thread);
    else
        where->references--;
    return result;
}

int where_create(struct where **out, const char *text)
{
    char error[LEDGER_TEXT_MAX];
    struct where *where = calloc(1, sizeof(*where));
    if (where == NULL)
        return -ENOMEM;
    pthread_mutex_init(&where->lock, NULL);
    pthread_cond_init(&where->asked_moved, NULL);
    clock_cond_init(&where->answered);
    where->references = 1;
    where->number = 1;
    int result = parse(text, &where->name, error, sizeof(error));
    if (result == 0 && where->name.port == 0) {
        where->addresses[0] = where->name;
        where->count = 1;
    } else if (result == 0 &&
               resolve(&where->name, AI_NUMERICHOST, where->addresses, &where->count) != 0) {
        result = start(where);
    }
    if (result != 0)
        where_destroy(&where);
    *out = where;
    return result;
}

void where_destroy(struct where **where)
{
    if (*where == NULL)
        return;
    pthread_mutex_lock(&(*where)->lock);
    (*where)->stop = true;
    pthread_cond_signal(&(*where)->asked_moved);
    drop(*where);
    *where = NULL;
}

/* ---- the address in force ---- */

static void say_unresolved(const struct where *where, char *error, size_t size)
{
    if (where->failure != 0)
        snprintf(error, size, "%s; correct the host name in `redis`, or give an IP address",
                 gai_strerror(where->failure));
    else if (clock_monotonic_ms() < where->asked_ms + LEDGER_REDIS_RESOLVE_MS)
        snprintf(error, size, "the name is being resolved");
    else
        snprintf(error, size,
                 "the name was not resolved within %d ms; check the resolver (/etc/resolv.conf)",
                 LEDGER_REDIS_RESOLVE_MS);
}

int where_get(struct where *where, uint32_t wait_ms, struct ledger_redis_address *out, char *error,
              size_t error_size)
{
    struct timespec until = ledger_deadline(clock_monotonic_ms() + wait_ms);
    int result = 0;
    pthread_mutex_lock(&where->lock);
    while (wait_ms > 0 && where->count == 0 && where->failure == 0 && result == 0)
        result = pthread_cond_timedwait(&where->answered, &where->lock, &until);
    bool known = where->count > 0;
    if (known) {
        *out = where->addresses[where->at];
        out->number = where->number;
    } else {
        say_unresolved(where, error, error_size);
        if (where->asked_ms == 0)
            ask(where); /* the last question failed; each wish to connect asks again */
    }
    pthread_mutex_unlock(&where->lock);
    return known ? 0 : -EAGAIN;
}

bool where_failed(struct where *where, uint64_t number, bool reached)
{
    pthread_mutex_lock(&where->lock);
    /* After a report of an older number, another address is in force, if there are several. */
    bool another = where->count > 1;
    if (number == where->number) {
        another = !reached && where->at + 1 < where->count;
        put_in_force(where, another ? where->at + 1 : 0);
        if (!another && where->references > 1)
            ask(where);
    }
    pthread_mutex_unlock(&where->lock);
    return another;
}
