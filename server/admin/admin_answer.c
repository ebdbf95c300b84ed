/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes of the admin interface's answers: a JSON value, or a problem (RFC 9457) of a reason, a
 * refusal or an errno of the ledger. Every other file of the interface that makes an answer calls
 * it; it calls none of them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_internal.h"

const char *admin_status_phrase(unsigned status)
{
    switch (status) {
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 401:
        return "Unauthorized";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 422:
        return "Unprocessable Content";
    case 507:
        return "Insufficient Storage"; /* RFC 4918 11.5 */
    default:
        return http_status_phrase(status);
    }
}

void admin_answer_json(struct admin_answer *answer, unsigned status, json_t *value)
{
    static const char no_memory[] =
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"reason\":\"no_memory\",\"detail\":\"no memory\"}";
    free(answer->body);
    answer->status = status;
    answer->body = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (answer->body == NULL) {
        answer->status = 503;
        answer->problem = true;
        answer->body = strdup(no_memory);
    }
    answer->length = answer->body != NULL ? strlen(answer->body) : 0;
}

#define DETAIL_SIZE 1024

static void answer_problem(struct admin_answer *answer, unsigned status, const char *reason,
                           const char *member, const char *detail)
{
    answer->problem = true;
    answer->reason = reason;
    /* A detail may quote the request, and JSON cannot hold bytes that are not UTF-8. */
    json_t *text = json_string(detail);
    if (text == NULL) {
        text = json_string("the request is not UTF-8");
    }
    json_t *value = json_pack("{s:s, s:s, s:i, s:o, s:s}", "type", "about:blank", "title",
                              admin_status_phrase(status), "status", (int)status, "detail", text,
                              "reason", reason);
    if (member != NULL) {
        (void)json_object_set_new(value, "member", json_string(member));
    }
    admin_answer_json(answer, status, value);
}

void admin_answer_problem(struct admin_answer *answer, enum admin_reason reason, const char *member,
                          const char *format, ...)
{
    char detail[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    answer->retry_after_s = admin_reason_retry_after_s(reason);
    answer_problem(answer, admin_reason_status(reason), admin_reason_name(reason), member, detail);
}

void admin_answer_refusal(struct admin_answer *answer, unsigned status, enum refusal refusal,
                          const char *member, const char *format, ...)
{
    char detail[DETAIL_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    answer_problem(answer, status, refusal_name(refusal), member, detail);
}

void admin_answer_errno(struct admin_answer *answer, int failure)
{
    static const struct {
        int failure;
        enum admin_reason reason;
        const char *member, *text;
    } table[] = {
        {-EEXIST, ADMIN_ACCOUNT_OPEN, NULL, "the account is open already; top it up instead"},
        {-ENOENT, ADMIN_ACCOUNT_UNKNOWN, NULL, "no such account; open it first"},
        {-ENOTUNIQ, ADMIN_TRANSACTION_REUSED, "transaction",
         "the transaction id was used with another operation or amount; use a new id for a new "
         "payment"},
        {-EINVAL, ADMIN_OUT_OF_BOUNDS, NULL,
         "a name or a number of the call is out of its bounds; nothing was done"},
        {-EOVERFLOW, ADMIN_TOTAL_TOO_LARGE, "bytes",
         "the account's total would exceed 2^53 - 1 bytes"},
        {-EAGAIN, ADMIN_REDIS_UNAVAILABLE, NULL, "Redis cannot be asked now; nothing was done"},
        {-EBUSY, ADMIN_ACCOUNT_BUSY, NULL,
         "another order is about to open the account, or too many orders on it are under way; "
         "nothing was done; ask again"},
        {-ETIMEDOUT, ADMIN_REDIS_UNAVAILABLE, NULL, "Redis did not answer in time; ask again"},
        {-ENOSPC, ADMIN_JOURNAL_FULL, NULL, "the journal has no room; nothing was done"},
        {-ESTALE, ADMIN_CURSOR_OUTDATED, "cursor",
         "the cursor is not the `next` of an answer about these dates, or Redis was replaced since "
         "then; begin again without a cursor"},
        {-EUSERS, ADMIN_ACCOUNTS_FULL, NULL,
         "the node has reached accounts_max; nothing was done; raise accounts_max in the node's "
         "configuration"},
        {-EDQUOT, ADMIN_ISSUER_ACCOUNTS_FULL, NULL,
         "the issuer has reached accounts_per_issuer_max on this node (auto: its share of "
         "accounts_max); nothing was done; raise accounts_per_issuer_max in the node's "
         "configuration"},
        {-EIO, ADMIN_JOURNAL_FAILED, NULL,
         "the journal cannot be written; nothing was done; free or replace the disk and restart"},
        {-ENOMEM, ADMIN_NO_MEMORY, NULL, "no memory; nothing was done"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].failure == failure) {
            admin_answer_problem(answer, table[i].reason, table[i].member, "%s", table[i].text);
            return;
        }
    }
    admin_answer_problem(answer, ADMIN_UNEXPECTED, NULL, "the ledger failed: %s",
                         strerrordesc_np(-failure));
}

void admin_answer_stopping(struct admin_answer *answer)
{
    admin_answer_problem(answer, ADMIN_NODE_STOPPING, NULL,
                         "the node is stopping; nothing was done, ask again");
}
