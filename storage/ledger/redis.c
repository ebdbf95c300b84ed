/*
 * The blocking Redis connection: address, authentication, INFO, the function library. Called by the
 * poster and the admin calls. It retries nothing, and a failed link stays failed until it is opened
 * again.
 */
#include "redis.h"
#include "functions_lua.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ERROR_TOLD_MAX 200u /* bytes of what Redis says */

static struct timeval timeout_of(uint32_t milliseconds)
{
    return (struct timeval){.tv_sec = milliseconds / 1000,
                            .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000};
}

/* hiredis writes without MSG_NOSIGNAL: a connection cut by Redis must not end the process. */
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
    link->number = 0; /* once */
}

int redis_open(struct redis_link *link, struct where *where, const struct ledger_options *options)
{
    struct ledger_redis_address address;
    memset(link, 0, sizeof *link);
    link->where = where;
    hold_signals(link);
    if (where_get(where, 0, &address, link->error, sizeof link->error) != 0) {
        redis_close(link);
        return -EAGAIN;
    }
    link->number = address.number;
    link->context = dial(&address);
    bool made = link->context != NULL && link->context->err == 0;
    if (!made)
        snprintf(link->error, sizeof link->error, "Redis at %.160s: %s", options->redis,
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
    assert(arguments->count < REDIS_ARGUMENTS_MAX);
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
    if (redisGetReply(link->context, &reply) == REDIS_OK)
        return reply;
    /* A timeout is EAGAIN to the socket, which says nothing to a reader. */
    bool late = link->context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (late)
        snprintf(link->error, sizeof link->error, "Redis: no answer within %" PRIu32 " ms",
                 link->patience_ms);
    else
        snprintf(link->error, sizeof link->error, "Redis: %s", link->context->errstr);
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
        /* Redis repeats the words of a command that it does not know; of AUTH one is the password. */
        size_t told = strcmp(words[0], "AUTH") == 0 ? strcspn(reply->str, " ") : ERROR_TOLD_MAX;
        snprintf(link->error, sizeof link->error, "Redis refuses %s: %.*s", words[0],
                 (int)(told < ERROR_TOLD_MAX ? told : ERROR_TOLD_MAX), reply->str);
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
    memset(out, 0, sizeof *out);
    redisReply *reply = redis_call(link, 1, words);
    if (reply == NULL)
        return -EAGAIN;
    const char *info = reply->type == REDIS_REPLY_STRING ? reply->str : "";
    bool complete =
        info_field(info, "run_id", out->run_id, sizeof out->run_id) &&
        info_field(info, "master_replid", out->replication_id, sizeof out->replication_id) &&
        info_field(info, "maxmemory_policy", out->policy, sizeof out->policy);
    (void)info_field(info, "redis_version", out->version, sizeof out->version);
    out->noeviction = strcmp(out->policy, "noeviction") == 0;
    out->append_only =
        info_field(info, "aof_enabled", value, sizeof value) && strcmp(value, "1") == 0;
    out->loading = info_field(info, "loading", value, sizeof value) && strcmp(value, "0") != 0;
    out->replica = info_field(info, "role", value, sizeof value) && strcmp(value, "master") != 0;
    freeReplyObject(reply);
    if (!complete)
        snprintf(link->error, sizeof link->error,
                 "Redis: INFO lacks run_id, master_replid or maxmemory_policy");
    return complete ? 0 : -EAGAIN;
}

/* Whether the library in Redis is this very text. The same version may be of another build. */
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
