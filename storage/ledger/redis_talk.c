/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to Redis and what its answers mean, whoever holds the connection: words, INFO, the
 * function library, and why Redis cannot be used. redis.c, conversation.c and their users call it.
 * It neither sends nor waits.
 */
#include "storage/ledger/redis_talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "functions_lua.h"
#include "server/base/check.h"

#define ERROR_TOLD_MAX 160 /* bytes of what Redis says */
#define USER_TOLD_MAX  40

/* ---- words ---- */

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

/* ---- INFO ---- */

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

bool redis_read_time(const redisReply *reply, int64_t *out)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return false;
    *out = strtoll(reply->element[0]->str, NULL, 10) * 1000 +
           strtoll(reply->element[1]->str, NULL, 10) / 1000;
    return true;
}

bool redis_read_facts(const redisReply *reply, const struct ledger_options *options,
                      struct redis_facts *out, char *error, size_t error_size)
{
    char value[32];
    memset(out, 0, sizeof(*out));
    if (reply->type == REDIS_REPLY_ERROR) {
        (void)ledger_redis_explain("INFO", reply->str, options->redis_user, error, error_size);
        return false;
    }
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
    if (!complete)
        snprintf(error, error_size, "Redis: INFO lacks run_id, master_replid or maxmemory_policy");
    return complete;
}

/* ---- the function library ---- */

const char *const redis_version_words[3] = {"FCALL", "tollgate_version", "0"};
const char *const redis_library_words[5] = {"FUNCTION", "LIST", "LIBRARYNAME", "tollgate",
                                            "WITHCODE"};

const char *redis_library_text(void)
{
    return (const char *)ledger_functions_lua;
}

bool redis_is_this_library(const redisReply *reply)
{
    bool same = false;
    const redisReply *library =
        reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1
            ? reply->element[0]
            : NULL;
    for (size_t i = 0; library != NULL && i + 1 < library->elements; i += 2) {
        const redisReply *name = library->element[i], *value = library->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && strcmp(name->str, "library_code") == 0 &&
            value->type == REDIS_REPLY_STRING)
            same = strcmp(value->str, redis_library_text()) == 0;
    }
    return same;
}
