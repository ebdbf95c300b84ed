/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/events?after=CURSOR&limit=N, the notices to a shop, and GET /v1/openapi.json, the
 * interface's own description. admin_routes.c's table calls both. Notices are read from Redis
 * through the ledger; nothing is kept here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "openapi_json.h"
#include "server/admin/admin_internal.h"

#define EVENTS_DEFAULT 100
#define EVENTS_MAX     1000
#define TIME_SIZE      sizeof("2026-11-23T10:00:00.000Z")

struct list {
    json_t *events;
    char next[LEDGER_NOTICE_ID_MAX + 1];
    size_t count;
};

/* Writes an RFC 3339 time in UTC, with milliseconds. */
static void write_time(uint64_t time_ms, char out[static TIME_SIZE])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm date;
    char text[32];
    if (gmtime_r(&seconds, &date) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &date) == 0) {
        out[0] = '\0';
        return;
    }
    (void)snprintf(out, TIME_SIZE, "%.19s.%03uZ", text, (unsigned)(time_ms % 1000));
}

static int add_event(void *context, const struct ledger_notice *notice)
{
    struct list *list = context;
    char time[TIME_SIZE];
    write_time(notice->time_ms, time);
    json_t *event = json_pack("{s:s, s:s, s:s, s:s, s:I}", "id", notice->id, "type",
                              ledger_notice_kind_name(notice->kind), "account", notice->account,
                              "time", time, "bytes", (json_int_t)notice->bytes);
    if (notice->file[0] != '\0') {
        json_t *file = json_string(notice->file); /* NULL where it is not UTF-8 */
        (void)json_object_set_new(event, "file", file != NULL ? file : json_null());
    }
    if (notice->jti[0] != '\0') {
        (void)json_object_set_new(event, "jti", json_string(notice->jti));
    }
    if (json_array_append_new(list->events, event) != 0) {
        return -ENOMEM;
    }
    (void)snprintf(list->next, sizeof(list->next), "%s", notice->id);
    list->count++;
    return 0;
}

static void copy_value(struct http_text value, char *out, size_t size)
{
    size_t length = value.data != NULL && value.length < size ? value.length : 0;
    memcpy(out, value.data != NULL ? value.data : "", length);
    out[length] = '\0';
    if (value.data != NULL && value.length >= size) {
        (void)snprintf(out, size, "too long");
    }
}

/* The issuer whose events are asked for: the shop's own, or the one that an operator names. */
static const char *issuer_of(const struct admin_request *request, char *named, size_t size)
{
    if (!request->is_operator) {
        return request->shop;
    }
    copy_value(admin_query_value(request->query, "issuer"), named, size);
    return named;
}

void admin_events(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer)
{
    char after[LEDGER_NOTICE_ID_MAX + 1];
    char number[8];
    char named[LEDGER_ISSUER_MAX + 1];
    static const char *const parameters[] = {"after", "limit", "issuer"};
    if (!admin_validate_parameters(request, parameters, 3, answer)) {
        return;
    }
    const char *issuer = issuer_of(request, named, sizeof(named));
    if (issuer[0] == '\0') {
        admin_answer_problem(answer, ADMIN_ISSUER_MISSING, "issuer",
                             "the issuer is missing; operators add issuer=ID to the query");
        return;
    }
    if (!admin_issuer_is_known(node, issuer, answer)) {
        return;
    }
    copy_value(admin_query_value(request->query, "after"), after, sizeof(after));
    copy_value(admin_query_value(request->query, "limit"), number, sizeof(number));
    if (strcmp(after, "0") == 0) { /* a shop writes 0 for "from the oldest on" */
        after[0] = '\0';
    }
    unsigned long limit = number[0] != '\0' ? strtoul(number, NULL, 10) : EVENTS_DEFAULT;
    if (limit < 1 || limit > EVENTS_MAX || strspn(number, "0123456789") != strlen(number)) {
        admin_answer_problem(answer, ADMIN_LIMIT_INVALID, "limit", "limit must be 1 to %d",
                             EVENTS_MAX);
        return;
    }
    struct list list = {.events = json_array()};
    (void)snprintf(list.next, sizeof(list.next), "%s", after[0] != '\0' ? after : "0");
    int failure = ledger_notices(node->ledger, issuer, after, (uint32_t)limit, add_event, &list);
    if (failure == -EINVAL) {
        admin_answer_problem(answer, ADMIN_CURSOR_INVALID, "after",
                             "after must be the `next` of an earlier answer, or 0 for the oldest "
                             "event that is kept");
    } else if (failure != 0) {
        admin_answer_errno(answer, failure);
    } else {
        admin_answer_json(answer, 200,
                          json_pack("{s:O, s:s, s:b}", "events", list.events, "next", list.next,
                                    "more", list.count == limit));
    }
    json_decref(list.events);
}

void admin_openapi(struct node *node, const struct admin_request *request,
                   struct admin_answer *answer)
{
    (void)node;
    (void)request;
    answer->status = 200;
    answer->body = strdup((const char *)admin_openapi_json);
    answer->length = answer->body != NULL ? strlen(answer->body) : 0;
    if (answer->body == NULL) {
        admin_answer_errno(answer, -ENOMEM);
    }
}
