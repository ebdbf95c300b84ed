/* SPDX-License-Identifier: Apache-2.0 */
/* How often each command and function gave each kind of answer, and which kinds must occur. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/check.h"
#include "storage/ledger/redis_table.h"
#include "tests/simulation/store_test.h"

#define KINDS_MAX 600

static struct {
    char name[160];
    unsigned long count;
} kinds[KINDS_MAX];
static size_t kinds_count;

static const char *admission(long long number)
{
#define X(name, code)                                                                              \
    if (number == (code))                                                                          \
        return #name;
    LEDGER_ADMISSIONS(X)
#undef X
    return "another admission";
}

static const char *verdict(long long number)
{
#define X(name, code)                                                                              \
    if (number == (code))                                                                          \
        return #name;
    LEDGER_VERDICTS(X)
#undef X
    return "another verdict";
}

static bool is_function(const struct call *call, const char *name)
{
    return call->count > 1 && strcasecmp(call->words[0], "FCALL") == 0 &&
           strcasecmp(call->words[1], name) == 0;
}

/* The text of an error without what differs from one to the next: its place and names. */
static void error_kind(const char *text, char *out, size_t size)
{
    static const char *const ends[] = {" script:",
                                       "Unsupported option ",
                                       "Unknown argument ",
                                       "Unknown option given: ",
                                       "metadata value given: ",
                                       "ERR Function tollgate",
                                       "ERR Function probe",
                                       "ERR Function u_",
                                       "tollgate: b:",
                                       "tollgate: r:",
                                       "stored b:",
                                       "stored r:",
                                       "ERR [string ",
                                       "'"};
    snprintf(out, size, "%s", text);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char *end = strstr(out, ends[i]);
        if (end != NULL)
            end[i == 0 ? 0 : strlen(ends[i])] = '\0';
    }
}

static void array_kind(const struct call *call, const redisReply *reply, char *out, size_t size)
{
    const redisReply *first = reply->elements > 0 ? reply->element[0] : NULL;
    if (is_function(call, "tollgate_admit") || is_function(call, "tollgate_judge"))
        snprintf(out, size, "%s", admission(first->integer));
    else if (is_function(call, "tollgate_post"))
        snprintf(out, size, "%s",
                 first->integer == 2               ? "refused for its lease"
                 : first->integer != 0             ? "refused"
                 : reply->element[3]->integer != 0 ? "posted, prepaid"
                                                   : "posted");
    else if (is_function(call, "tollgate_fill"))
        snprintf(out, size, "%s",
                 first->integer == 0   ? "taken"
                 : first->integer == 1 ? "refused"
                 : first->integer == 2 ? "refused for its lease"
                                       : "another was begun");
    else if (is_function(call, "tollgate_lease") || is_function(call, "tollgate_tell"))
        snprintf(out, size, "%lld", first->integer);
    else if (is_function(call, "tollgate_order"))
        snprintf(out, size, "%s", verdict(first->integer));
    else if (is_function(call, "tollgate_usage"))
        snprintf(out, size, "%s, %s",
                 strcmp(first->str, "0") == 0       ? "end"
                 : strcmp(first->str, "ended") == 0 ? "ended"
                                                    : "more",
                 reply->elements > 1 ? "files" : "no file");
    else
        snprintf(out, size, "array%s", first == NULL ? ", empty" : "");
}

static void kind_of(const struct call *call, const redisReply *reply, char *out, size_t size)
{
    switch (reply->type) {
    case REDIS_REPLY_ERROR:
        error_kind(reply->str, out, size);
        break;
    case REDIS_REPLY_ARRAY:
        array_kind(call, reply, out, size);
        break;
    case REDIS_REPLY_INTEGER:
        if (reply->integer > 1)
            snprintf(out, size, "more than 1");
        else
            snprintf(out, size, "%lld", reply->integer < -2 ? -3 : reply->integer);
        break;
    case REDIS_REPLY_STATUS:
        snprintf(out, size, "status");
        break;
    default:
        snprintf(out, size, "%s", reply->type == REDIS_REPLY_NIL ? "nil" : "text");
        break;
    }
}

static void count_kind(const char *name)
{
    size_t at = 0;
    while (at < kinds_count && strcmp(kinds[at].name, name) != 0)
        at++;
    check(at < KINDS_MAX);
    if (at == kinds_count)
        snprintf(kinds[kinds_count++].name, sizeof(kinds[0].name), "%s", name);
    kinds[at].count++;
}

void count_answer(const struct call *call, const redisReply *reply)
{
    char name[160], kind[120];
    const char *second = "";
    if (call->count > 1 && strcasecmp(call->words[0], "FCALL") == 0)
        second = strncasecmp(call->words[1], "tollgate_", 9) == 0 ||
                         strncasecmp(call->words[1], "probe_", 6) == 0
                     ? call->words[1]
                     : "another";
    else if (call->count > 1 && strcasecmp(call->words[0], "FUNCTION") == 0)
        second = call->words[1];
    kind_of(call, reply, kind, sizeof(kind));
    snprintf(name, sizeof(name), "%.20s%s%.24s: %s", call->words[0], *second == '\0' ? "" : " ",
             second, kind);
    for (char *at = name; *at != ':' && *at != '\0'; at++)
        *at = *at == '\n' ? ' ' : (char)tolower((unsigned char)*at);
    count_kind(name);
}

void count_message(const char *text, size_t length)
{
    static const char channel[] = "tg:revocations\n", recall[] = " recall";
    bool is_ours = length > sizeof(channel) && strncmp(text, channel, sizeof(channel) - 1) == 0;
    bool is_recall = is_ours && length > sizeof(recall) &&
                     memcmp(text + length - strlen(recall), recall, strlen(recall)) == 0;
    count_kind(is_recall ? "message: a recall"
               : is_ours ? "message: a revision"
                         : "message: another");
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b); /* the name is a kind's first member */
}

unsigned count_report(void)
{
    unsigned missing = 0;
    qsort(kinds, kinds_count, sizeof(kinds[0]), compare);
    for (size_t i = 0; i < kinds_count; i++)
        printf("%8lu  %s\n", kinds[i].count, kinds[i].name);
    for (size_t i = 0; i < required_answers_count; i++) {
        size_t at = 0;
        while (at < kinds_count && strcmp(kinds[at].name, required_answers[i]) != 0)
            at++;
        if (at == kinds_count) {
            printf("never occurred: %s\n", required_answers[i]);
            missing++;
        }
    }
    return missing;
}
