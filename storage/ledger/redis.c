/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking Redis connection: address, authentication, INFO, the function library. The poster,
 * push, the admin calls and the probe use it. It repeats no command, and a failed link stays failed
 * until it is opened again.
 */
#include "storage/ledger/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "functions_lua.h"
#include "server/base/check.h"

#define ERROR_TOLD_MAX 160 /* bytes of what Redis says */
#define USER_TOLD_MAX  40

/* ---- why Redis cannot be used ---- */

static bool explain_connection(const char *said, char *out, size_t size)
{
    static const char protocol[] = "Protocol error, got ";
    if (strncmp(said, protocol, sizeof(protocol) - 1) != 0) {
        snprintf(out, size, "%.*s", ERROR_TOLD_MAX, said);
        return false;
    }
    said += sizeof(protocol) - 1; /* "H" as reply type byte */
    snprintf(
        out, size,
        "what answers there is not Redis, for its reply begins with %.*s; correct `redis` in the "
        "configuration",
        (int)strcspn(said, " "), said);
    return true;
}

static bool explain_authentication(const char *said, const char *user, char *out, size_t size)
{
    size_t length = strcspn(said, " ");
    int told = (int)(length < ERROR_TOLD_MAX ? length : ERROR_TOLD_MAX);
    if (strstr(said, "without any password") != NULL)
        snprintf(out, size,
                 "Redis has no password for its default user; remove redis_password_file, or give "
                 "the user with redis_user");
    else if (user != NULL)
        snprintf(out, size,
                 "Redis refuses user %.*s or its password (%.*s); correct redis_user, or the first "
                 "line of the file that redis_password_file names",
                 USER_TOLD_MAX, user, told, said);
    else
        snprintf(out, size,
                 "Redis refuses the password of its default user (%.*s); correct the first line of "
                 "the file that redis_password_file names, or give the user with redis_user",
                 told, said);
    return true;
}

bool ledger_redis_explain(const char *command, const char *said, const char *user, char *out,
                          size_t size)
{
    const char *name = user != NULL ? user : "default";
    if (command == NULL)
        return explain_connection(said, out, size);
    if (strcmp(command, "AUTH") == 0)
        return explain_authentication(said, user, out, size);
    if (strncmp(said, "NOAUTH", 6) == 0) {
        snprintf(out, size,
                 "Redis asks for a password (NOAUTH); name the file that holds it in "
                 "redis_password_file");
        return true;
    }
    if (strncmp(said, "NOPERM", 6) == 0) {
        /* Redis names what it refuses: "access one of the keys", "channels" or "run the 'time'". */
        bool channel = strstr(said, "channel") != NULL, key = strstr(said, "keys") != NULL;
        snprintf(out, size,
                 "Redis user %.*s may not run %s%s (NOPERM); run redis-cli ACL SETUSER %.*s %s",
                 USER_TOLD_MAX, name, command,
                 channel ? " on tg:revocations"
                 : key   ? " on the keys tg:*"
                         : "",
                 USER_TOLD_MAX, name,
                 channel ? LEDGER_REDIS_CHANNEL
                 : key   ? LEDGER_REDIS_KEYS
                         : LEDGER_REDIS_COMMANDS);
        return true;
    }
    snprintf(out, size, "Redis refuses %s: %.*s", command, ERROR_TOLD_MAX, said);
    return false;
}

/* ---- the connection ---- */

static struct timeval timeout_of(uint32_t milliseconds)
{
    return (struct timeval){.tv_sec = milliseconds / 1000,
                            .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000};
}

/* hiredis writes without MSG_NOSIGNAL: a connection that Redis cut must not end the process. */
static void hold_signals(struct redis_link *link)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &link->signals);
}

static void release_signals(struct redis_link *link)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (sigismember(&link->signals, SIGPIPE) == 0)
        while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) == SIGPIPE)
            continue;
    pthread_sigmask(SIG_SETMASK, &link->signals, NULL);
}

static redisContext *dial(const struct ledger_redis_address *address)
{
    struct timeval timeout = timeout_of(LEDGER_REDIS_CONNECT_MS);
    return address->port == 0 ? redisConnectUnixWithTimeout(address->host, timeout)
                              : redisConnectWithTimeout(address->host, address->port, timeout);
}

static int authenticate(struct redis_link *link, const struct ledger_options *options)
{
    if (options->redis_password == NULL)
        return 0;
    const char *words[3] = {"AUTH", options->redis_user, options->redis_password};
    const char *without_user[2] = {"AUTH", options->redis_password};
    redisReply *reply = options->redis_user == NULL ? redis_call(link, 2, without_user)
                                                    : redis_call(link, 3, words);
    if (reply == NULL)
        return -EAGAIN;
    freeReplyObject(reply);
    return 0;
}

static int set_patience(struct redis_link *link, uint32_t patience_ms)
{
    link->patience_ms = patience_ms;
    return redisSetTimeout(link->context, timeout_of(patience_ms)) == REDIS_OK ? 0 : -EAGAIN;
}

int redis_introduced(struct redis_link *link)
{
    return set_patience(link, LEDGER_REDIS_SILENCE_MS);
}

void redis_failed(struct redis_link *link, bool reached)
{
    link->another = link->number != 0 && where_failed(link->where, link->number, reached);
    link->number = 0; /* reported once */
}

int redis_open(struct redis_link *link, struct where *where, const struct ledger_options *options)
{
    struct ledger_redis_address address;
    memset(link, 0, sizeof(*link));
    char error[sizeof(link->error)];
    link->where = where;
    link->options = options;
    link->unreached = true;
    hold_signals(link);
    if (where_get(where, 0, &address, error, sizeof(error)) != 0) {
        snprintf(link->error, sizeof(link->error), "Redis at %.100s: %.200s", options->redis,
                 error);
        redis_close(link);
        return -EAGAIN;
    }
    link->number = address.number;
    link->context = dial(&address);
    bool made = link->context != NULL && link->context->err == 0;
    link->unreached = !made;
    if (!made)
        snprintf(link->error, sizeof(link->error), "Redis at %.160s: %s", options->redis,
                 link->context == NULL ? "no memory" : link->context->errstr);
    if (made && set_patience(link, LEDGER_REDIS_INTRODUCE_MS) == 0 &&
        authenticate(link, options) == 0)
        return 0;
    redis_failed(link, false);
    redis_close(link);
    return -EAGAIN;
}

int redis_open_any(struct redis_link *link, struct where *where,
                   const struct ledger_options *options)
{
    int result = redis_open(link, where, options);
    for (int tries = 1; result != 0 && link->another && tries < WHERE_ADDRESSES_MAX; tries++)
        result = redis_open(link, where, options);
    return result;
}

void redis_close(struct redis_link *link)
{
    if (link->context != NULL)
        redisFree(link->context);
    link->context = NULL;
    release_signals(link);
}

void redis_add_bytes(struct redis_arguments *arguments, const char *text, size_t length)
{
    check(arguments->count < REDIS_ARGUMENTS_MAX);
    arguments->text[arguments->count] = text;
    arguments->lengths[arguments->count++] = length;
}

void redis_add(struct redis_arguments *arguments, const char *text)
{
    redis_add_bytes(arguments, text, strlen(text));
}

int redis_send(struct redis_link *link, const struct redis_arguments *arguments)
{
    /* hiredis takes pointers to non-const and writes through none of them. */
    return redisAppendCommandArgv(link->context, arguments->count,
                                  (const char **)(uintptr_t)arguments->text,
                                  arguments->lengths) == REDIS_OK
               ? 0
               : -EAGAIN;
}

redisReply *redis_next(struct redis_link *link)
{
    void *reply = NULL;
    char error[200];
    if (redisGetReply(link->context, &reply) == REDIS_OK)
        return reply;
    /*
     * A timeout comes as EAGAIN, "Resource temporarily unavailable", which tells a reader nothing.
     */
    bool late = link->context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (late)
        snprintf(error, sizeof(error), "no answer within %" PRIu32 " ms", link->patience_ms);
    else
        (void)ledger_redis_explain(NULL, link->context->errstr, NULL, error, sizeof(error));
    snprintf(link->error, sizeof(link->error), "Redis at %.100s: %s", link->options->redis, error);
    return NULL;
}

redisReply *redis_call(struct redis_link *link, int count, const char *const words[])
{
    struct redis_arguments arguments;
    arguments.count = 0;
    for (int i = 0; i < count; i++)
        redis_add(&arguments, words[i]);
    redisReply *reply = redis_send(link, &arguments) == 0 ? redis_next(link) : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        (void)ledger_redis_explain(words[0], reply->str, link->options->redis_user, link->error,
                                   sizeof(link->error));
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

static bool info_field(const char *info, const char *field, char *out, size_t size)
{
    size_t length = strlen(field);
    for (const char *line = info; line != NULL && *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        if (strncmp(line, field, length) == 0 && line[length] == ':') {
            size_t value = strcspn(line + length + 1, "\r\n");
            snprintf(out, size, "%.*s", (int)(value < size ? value : size - 1), line + length + 1);
            return true;
        }
        line = end == NULL ? NULL : end + 2;
    }
    return false;
}

int redis_facts(struct redis_link *link, struct redis_facts *out)
{
    const char *const words[] = {"INFO"};
    char value[32];
    memset(out, 0, sizeof(*out));
    redisReply *reply = redis_call(link, 1, words);
    if (reply == NULL)
        return -EAGAIN;
    const char *info = reply->type == REDIS_REPLY_STRING ? reply->str : "";
    bool complete =
        info_field(info, "run_id", out->run_id, sizeof(out->run_id)) &&
        info_field(info, "master_replid", out->replication_id, sizeof(out->replication_id)) &&
        info_field(info, "maxmemory_policy", out->policy, sizeof(out->policy));
    (void)info_field(info, "redis_version", out->version, sizeof(out->version));
    out->noeviction = strcmp(out->policy, "noeviction") == 0;
    out->append_only =
        info_field(info, "aof_enabled", value, sizeof(value)) && strcmp(value, "1") == 0;
    out->loading = info_field(info, "loading", value, sizeof(value)) && strcmp(value, "0") != 0;
    out->replica = info_field(info, "role", value, sizeof(value)) && strcmp(value, "master") != 0;
    freeReplyObject(reply);
    if (!complete)
        snprintf(link->error, sizeof(link->error),
                 "Redis: INFO lacks run_id, master_replid or maxmemory_policy");
    return complete ? 0 : -EAGAIN;
}

/* Whether the library in Redis has exactly this text. Another build may have the same version. */
static bool has_this_text(struct redis_link *link)
{
    const char *const words[] = {"FUNCTION", "LIST", "LIBRARYNAME", "tollgate", "WITHCODE"};
    redisReply *reply = redis_call(link, 5, words);
    bool same = false;
    const redisReply *library =
        reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1
            ? reply->element[0]
            : NULL;
    for (size_t i = 0; library != NULL && i + 1 < library->elements; i += 2) {
        const redisReply *name = library->element[i], *value = library->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && strcmp(name->str, "library_code") == 0 &&
            value->type == REDIS_REPLY_STRING)
            same = strcmp(value->str, (const char *)ledger_functions_lua) == 0;
    }
    if (reply != NULL)
        freeReplyObject(reply);
    return same;
}

int redis_load_functions(struct redis_link *link, int64_t *newer)
{
    const char *const version[] = {"FCALL", "tollgate_version", "0"};
    const char *const load[] = {"FUNCTION", "LOAD", "REPLACE", (const char *)ledger_functions_lua};
    *newer = 0;
    redisReply *reply = redis_call(link, 3, version);
    if (reply == NULL && link->context->err != 0)
        return -EAGAIN;
    int64_t found = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    if (reply != NULL)
        freeReplyObject(reply);
    if (found > LEDGER_FUNCTIONS_FORMAT)
        *newer = found;
    if (found > LEDGER_FUNCTIONS_FORMAT ||
        (found == LEDGER_FUNCTIONS_FORMAT && has_this_text(link)))
        return 0;
    reply = redis_call(link, 4, load);
    if (reply == NULL)
        return -EAGAIN;
    freeReplyObject(reply);
    return 0;
}
