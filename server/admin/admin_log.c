/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the admin interface tells the node's log: each change and who made it, and each call that
 * was answered 401 or 403. The handlers on the desk's threads and admin_peers.c call it. It never
 * writes a secret, a token or a query; names are percent-encoded, so that a name with a space
 * cannot pass for another field.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/base/log.h"

#define NAME_SIZE (3 * TOKEN_JTI_MAX + 1)
_Static_assert(TOKEN_JTI_MAX >= LEDGER_ACCOUNT_MAX, "an account's name may not fit");

static const char *operation_word(enum ledger_operation operation)
{
    switch (operation) {
    case LEDGER_OPEN:
        return "open";
    case LEDGER_TOP_UP:
        return "top-up";
    case LEDGER_ADJUST:
        return "adjust";
    case LEDGER_SUSPEND:
        return "suspend";
    case LEDGER_ACTIVATE:
        return "activate";
    case LEDGER_LIMIT:
        return "limit";
    case LEDGER_REVOKE_LINK:
        return "revoke-link";
    case LEDGER_REVOKE_BEFORE:
        return "revoke-before";
    }
    return "unknown";
}

static void write_name(const char *name, char out[NAME_SIZE])
{
    if (token_path_encode(name, strlen(name), out, NAME_SIZE) < 0)
        (void)snprintf(out, NAME_SIZE, "-");
}

/* Writes the figures of the change: " bytes=5" and the like. */
static void write_figures(const struct ledger_request *asked, const char *jti, char *out,
                          size_t size)
{
    char name[NAME_SIZE];
    out[0] = '\0';
    if (asked->operation == LEDGER_LIMIT) {
        (void)snprintf(out, size, " rate=%lld max_bytes=%llu max_conns=%u",
                       (long long)asked->amount, (unsigned long long)asked->max_bytes,
                       asked->max_conns);
    } else if (asked->operation == LEDGER_REVOKE_BEFORE) {
        (void)snprintf(out, size, " issued_before=%lld", (long long)asked->amount);
    } else if (asked->operation == LEDGER_REVOKE_LINK) {
        write_name(jti != NULL ? jti : "", name);
        (void)snprintf(out, size, " jti=%s", name[0] != '\0' ? name : "-");
    } else if (asked->operation != LEDGER_SUSPEND && asked->operation != LEDGER_ACTIVATE) {
        (void)snprintf(out, size, " bytes=%lld", (long long)asked->amount);
    }
}

static const char *who(const struct admin_request *request)
{
    if (request->is_operator)
        return "operator";
    return request->shop[0] != '\0' ? request->shop : "-";
}

void admin_log_change(const struct admin_request *request, const struct ledger_request *asked,
                      const char *jti, int result, bool repeated)
{
    char account[NAME_SIZE], figures[NAME_SIZE + 64];
    if (result != 0 && result != -EINPROGRESS && result != -ECANCELED) /* it was not journalled */
        return;
    write_name(asked->account, account);
    write_figures(asked, jti, figures, sizeof(figures));
    /* No site, so no rate limit: each line has its record in the journal, which bounds them. */
    log_write(NULL, LOG_LEVEL_INFO,
              "change: who=%s%s account=%s/%s operation=%s transaction=%s%s %s",
              request->is_operator ? "" : "shop:", who(request), asked->issuer, account,
              operation_word(asked->operation),
              asked->transaction != NULL ? asked->transaction : "-", figures,
              result == -ECANCELED ? "overtaken"
              : result != 0        ? "pending"
              : repeated           ? "repeated"
                                   : "done");
}

void admin_log_release(const struct admin_request *request, bool rebuild, int result)
{
    char account[NAME_SIZE];
    if (!rebuild) /* the node logs itself what is set aside, and what is no longer */
        return;
    write_name(request->account, account);
    log_write(NULL, LOG_LEVEL_INFO, "rebuild: who=%s account=%s/%s %s", who(request),
              request->issuer, account,
              result == 0              ? "done"
              : result == -EINPROGRESS ? "pending"
                                       : strerrordesc_np(-result));
}

void admin_log_draining(bool draining)
{
    log_write(NULL, LOG_LEVEL_INFO, "%s",
              draining ? "draining: the node takes no new download, until that is taken back, or "
                         "the next start"
                       : "draining: taken back, the node takes new downloads");
}

void admin_log_refusal(struct node *node, const struct admin_call *call)
{
    const struct admin_request *request = &call->request;
    const struct admin_answer *answer = &call->answer;
    if (answer->status != 401 && answer->status != 403)
        return;
    atomic_fetch_add(answer->status == 401 ? &node->admin.unauthorized : &node->admin.forbidden, 1);
    log_warning("admin: refused: status=%u reason=%s who=%s%s path=%.*s", answer->status,
                answer->reason, request->shop[0] != '\0' ? "shop:" : "", who(request),
                (int)request->path.length, request->path.data);
}
