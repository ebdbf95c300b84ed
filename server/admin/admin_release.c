/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/accounts/ISSUER/ACCOUNT/release, for operators: an account that is set aside is tried again,
 * or rebuilt from the journals; and what other calls answer while it is set aside. The desk's
 * threads call it; it blocks in the ledger for some seconds.
 */
#include <errno.h>
#include <string.h>

#include "server/admin/admin_internal.h"

#define FORM_RELEASE "{\"rebuild\":true}, or nothing"

void admin_answer_account_errno(struct node *node, const struct admin_request *request, int failure,
                                struct admin_answer *answer)
{
    struct ledger_account *account = NULL;
    bool is_aside = failure == -ENOTRECOVERABLE;
    if (failure == -EAGAIN && ledger_account_get(node->ledger, request->issuer, request->account,
                                                 strlen(request->account), &account) == 0)
        is_aside = ledger_account_is_set_aside(account);
    ledger_account_drop(&account);
    if (!is_aside) {
        admin_answer_errno(answer, failure);
        return;
    }
    answer->retry_after_s = 10;
    admin_answer_refusal(answer, 503, REFUSAL_ACCOUNT_SET_ASIDE, NULL,
                         "the account is set aside, as what Redis holds of it is damaged; nothing "
                         "was done; `tollgate ledger release %s/%s` says more",
                         request->issuer, request->account);
}

static void answer_damaged(const struct ledger_release *found, struct admin_answer *answer)
{
    admin_answer_problem(
        answer, ADMIN_ACCOUNT_DAMAGED, NULL,
        "what Redis holds of it is damaged%s%s: %s; bring that back and release it again, or have "
        "all of it rebuilt from the journals while every node runs: --rebuild, or "
        "\"rebuild\":true",
        found->key[0] != '\0' ? ", in " : "", found->key, found->said);
}

static void answer_released(const struct admin_request *request, bool rebuild, int result,
                            const struct ledger_release *found, struct admin_answer *answer)
{
    if (result == 0) {
        admin_answer_json(answer, 200,
                          json_pack("{s:s, s:s, s:b, s:b, s:b}", "issuer", request->issuer,
                                    "account", request->account, "set_aside", false,
                                    "was_set_aside", found->was_aside, "rebuilt", rebuild));
        return;
    }
    admin_answer_json(answer, 202,
                      json_pack("{s:s, s:s, s:b, s:s}", "issuer", request->issuer, "account",
                                request->account, "pending", true, "detail",
                                "what the journal holds of it is being posted; nothing of it is "
                                "granted until all is"));
}

void admin_account_release(struct node *node, const struct admin_request *request,
                           struct admin_answer *answer)
{
    json_t *body = admin_read_json(request, true, answer);
    bool rebuild = false;
    const struct admin_member members[] = {
        {.name = "rebuild", .kind = ADMIN_MEMBER_TRUTH, .truth = &rebuild}};
    if (body != NULL && admin_read_members(body, members, 1, FORM_RELEASE, answer)) {
        struct ledger_release found;
        int result = ledger_account_release(node->ledger, request->issuer, request->account,
                                            rebuild, &found);
        admin_log_release(request, rebuild, result);
        if (result == 0 || result == -EINPROGRESS) {
            answer_released(request, rebuild, result, &found, answer);
        } else if (result == -EBADMSG) {
            answer_damaged(&found, answer);
        } else {
            admin_answer_errno(answer, result);
        }
    }
    json_decref(body);
}
