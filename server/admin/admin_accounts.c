/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's accounts: showing and changing them. The desk's threads call it; they may block in the ledger for some seconds. It decides nothing about money: it reads
 * the request strictly, asks the ledger, and puts the ledger's answer into words.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin/admin_internal.h"
#include "server/base/check.h"

/* ---- showing ---- */

static json_t *view_json(const struct admin_request *request,
                         const struct ledger_account_view *view)
{
    bool prepaid = view->plan == LEDGER_PREPAID;
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "issuer", request->issuer, "account",
                  request->account, "plan", prepaid ? "prepaid" : "postpaid", "status",
                  view->status == LEDGER_ACTIVE ? "active" : "suspended", "balance",
                  (json_int_t)view->balance, "reserved", (json_int_t)view->reserved, "used",
                  (json_int_t)view->used, "revision", (json_int_t)view->revision);
    (void)json_object_set_new(out, "limits",
                              json_pack("{s:I, s:I, s:I}", "rate", (json_int_t)view->rate,
                                        "max_bytes", (json_int_t)view->max_bytes, "max_conns",
                                        (json_int_t)view->max_conns));
    (void)json_object_set_new(out, "revoked_before",
                              json_integer((json_int_t)view->revoked_before));
    /* The bytes that can still be granted. A postpaid account has no such bound. */
    json_t *available = prepaid
                            ? json_integer((json_int_t)view->balance - (json_int_t)view->reserved)
                            : json_null();
    (void)json_object_set_new(out, "available", available);
    return out;
}

void admin_account_show(struct node *node, const struct admin_request *request,
                        struct admin_answer *answer)
{
    struct ledger_account_view view = {0};
    int failure = ledger_account_show(node->ledger, request->issuer, request->account, &view);
    if (failure == 0 && !view.exists) {
        failure = -ENOENT;
    }
    if (failure != 0) {
        admin_answer_account_errno(node, request, failure, answer);
        return;
    }
    admin_answer_json(answer, 200, view_json(request, &view));
}

/* ---- changing ---- */

struct change {
    const char *plan, *transaction; /* borrow from the body */
    json_int_t bytes;               /* or the rate */
    json_int_t max_bytes, max_conns;
    bool allow_negative;
};

#define BYTES_MAX  (LEDGER_AMOUNT_MAX - 1)
#define FORM_OPEN  "{\"plan\":\"prepaid|postpaid\",\"bytes\":N,\"transaction\":\"ID\"}"
#define FORM_MONEY "{\"bytes\":N,\"transaction\":\"ID\"}"
#define FORM_ADJUST                                                                                \
    "{\"bytes\":N,\"transaction\":\"ID\"}, and \"allow_negative\":true where the balance may "     \
    "fall "                                                                                        \
    "below zero"
#define FORM_STATE "{\"transaction\":\"ID\"}, or nothing"
#define FORM_LIMITS                                                                                \
    "{\"rate\":BYTES_PER_SECOND,\"max_bytes\":N,\"max_conns\":N}; a limit that is left out, or "   \
    "is 0, does not apply"

/* Reads the members that the operation knows. */
static bool read_operation(json_t *body, enum ledger_operation operation, struct change *change,
                           struct admin_answer *answer)
{
    json_int_t least = operation == LEDGER_OPEN ? 0 : operation == LEDGER_TOP_UP ? 1 : -BYTES_MAX;
    const struct admin_member plan = {
        .name = "plan", .kind = ADMIN_MEMBER_TEXT, .text = &change->plan};
    const struct admin_member transaction = {.name = "transaction",
                                             .kind = ADMIN_MEMBER_TEXT,
                                             .required = operation != LEDGER_SUSPEND &&
                                                         operation != LEDGER_ACTIVATE,
                                             .text = &change->transaction};
    const struct admin_member bytes = {.name = "bytes",
                                       .kind = ADMIN_MEMBER_NUMBER,
                                       .required = operation != LEDGER_OPEN,
                                       .low = least,
                                       .high = BYTES_MAX,
                                       .number = &change->bytes};
    const struct admin_member open[] = {plan, bytes, transaction};
    const struct admin_member money[] = {bytes, transaction};
    const struct admin_member adjustment[] = {
        bytes,
        transaction,
        {.name = "allow_negative", .kind = ADMIN_MEMBER_TRUTH, .truth = &change->allow_negative}};
    const struct admin_member limits[] = {
        {.name = "rate", .kind = ADMIN_MEMBER_NUMBER, .high = BYTES_MAX, .number = &change->bytes},
        {.name = "max_bytes",
         .kind = ADMIN_MEMBER_NUMBER,
         .high = BYTES_MAX,
         .number = &change->max_bytes},
        {.name = "max_conns",
         .kind = ADMIN_MEMBER_NUMBER,
         .high = UINT32_MAX,
         .number = &change->max_conns}};
    switch (operation) {
    case LEDGER_OPEN:
        return admin_read_members(body, open, 3, FORM_OPEN, answer);
    case LEDGER_TOP_UP:
        return admin_read_members(body, money, 2, FORM_MONEY, answer);
    case LEDGER_ADJUST:
        return admin_read_members(body, adjustment, 3, FORM_ADJUST, answer);
    case LEDGER_SUSPEND:
    case LEDGER_ACTIVATE:
        return admin_read_members(body, &transaction, 1, FORM_STATE, answer);
    case LEDGER_LIMIT:
        return admin_read_members(body, limits, 3, FORM_LIMITS, answer);
    case LEDGER_REVOKE_LINK:
    case LEDGER_REVOKE_BEFORE:
        break; /* admin_links.c's */
    }
    check(false);
    return false;
}

static bool read_members(json_t *body, enum ledger_operation operation, struct change *change,
                         struct admin_answer *answer)
{
    if (!read_operation(body, operation, change, answer)) {
        return false;
    }
    if (change->plan != NULL && strcmp(change->plan, "prepaid") != 0 &&
        strcmp(change->plan, "postpaid") != 0) {
        admin_answer_problem(answer, ADMIN_PLAN_INVALID, "plan",
                             "plan must be prepaid or postpaid");
        return false;
    }
    if (change->transaction != NULL && !ledger_transaction_is_valid(change->transaction)) {
        admin_answer_problem(answer, ADMIN_OUT_OF_BOUNDS, "transaction",
                             "transaction must be 1 to %d of A-Z a-z 0-9 . _ : -; nothing was done",
                             LEDGER_TRANSACTION_MAX);
        return false;
    }
    return true;
}

static void answer_change(const struct admin_request *request, const struct change *change,
                          int result, bool repeated, const struct ledger_account_view *view,
                          struct admin_answer *answer)
{
    json_t *value;
    if (result == 0) {
        value = view_json(request, view);
        (void)json_object_set_new(value, "repeated", json_boolean(repeated));
    } else {
        value = json_pack("{s:s, s:s, s:b, s:s}", "issuer", request->issuer, "account",
                          request->account, "pending", true, "detail",
                          "journalled, and will be posted once Redis answers; it cannot be lost");
    }
    if (change->transaction != NULL) {
        (void)json_object_set_new(value, "transaction", json_string(change->transaction));
    }
    unsigned done = request->operation == LEDGER_OPEN ? 201 : 200;
    admin_answer_json(answer, result == 0 ? done : 202, value);
}

static void answer_overtaken(const struct ledger_account_view *view, struct admin_answer *answer)
{
    admin_answer_problem(
        answer, ADMIN_OPERATION_OVERTAKEN, NULL,
        "the order is in the journal, but a later one, given to another node, counts: the account "
        "is %s and %s, with rate %llu, max_bytes %llu and max_conns %u; order again if that is not "
        "what is wanted",
        view->plan == LEDGER_PREPAID ? "prepaid" : "postpaid",
        view->status == LEDGER_ACTIVE ? "active" : "suspended", (unsigned long long)view->rate,
        (unsigned long long)view->max_bytes, view->max_conns);
}

void admin_account_change(struct node *node, const struct admin_request *request,
                          struct admin_answer *answer)
{
    bool may_be_empty =
        request->operation == LEDGER_SUSPEND || request->operation == LEDGER_ACTIVATE;
    json_t *body = admin_read_json(request, may_be_empty, answer);
    struct change change = {0};
    if (body != NULL && read_members(body, request->operation, &change, answer)) {
        bool postpaid = change.plan != NULL && strcmp(change.plan, "postpaid") == 0;
        struct ledger_request asked = {.operation = request->operation,
                                       .issuer = request->issuer,
                                       .account = request->account,
                                       .plan = postpaid ? LEDGER_POSTPAID : LEDGER_PREPAID,
                                       .amount = change.bytes,
                                       .max_bytes = (uint64_t)change.max_bytes,
                                       .max_conns = (uint32_t)change.max_conns,
                                       .allow_negative = change.allow_negative,
                                       .transaction = change.transaction};
        struct ledger_account_view view = {0};
        bool repeated = false;
        int result = ledger_account_change(node->ledger, &asked, &repeated, &view);
        admin_log_change(request, &asked, NULL, result, repeated);
        if (result == 0 || result == -EINPROGRESS) {
            answer_change(request, &change, result, repeated, &view, answer);
        } else if (result == -EDOM) {
            admin_answer_problem(answer, ADMIN_BALANCE_NEGATIVE, "bytes",
                                 "the balance of %lld bytes would fall below zero; take away less, "
                                 "or allow it: \"allow_negative\":true, or --allow-negative",
                                 (long long)view.balance);
        } else if (result == -ECANCELED) {
            answer_overtaken(&view, answer);
        } else {
            admin_answer_account_errno(node, request, result, answer);
        }
    }
    json_decref(body);
}
