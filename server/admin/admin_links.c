/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's links: revoking one link, revoking all links of an account that were issued
 * before an instant, and explaining a link. The desk's threads call it; they may block in the
 * ledger. A link's token is read from the body and never kept or logged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/admin/admin_internal.h"
#include "server/delivery/inquiry.h"
#include "server/link/link_facts.h"
#include "server/link/link_id.h"
#include "server/link/request_target.h"

/* ---- revoking ---- */

static void answer_revoked(struct node *node, const struct ledger_request *asked, const char *jti,
                           struct admin_answer *answer, int result)
{
    if (result != 0 && result != -EINPROGRESS) {
        admin_answer_errno(answer, result);
        return;
    }
    json_t *value = json_pack("{s:s, s:s, s:b}", "issuer", asked->issuer, "account", asked->account,
                              "pending", result != 0);
    if (jti != NULL && jti[0] != '\0') {
        (void)json_object_set_new(value, "jti", json_string(jti));
    }
    /* The link is revoked even if no such account is open; the answer lets a misspelt name show. */
    struct ledger_account_view view = {0};
    if (ledger_account_show(node->ledger, asked->issuer, asked->account, &view) == 0) {
        (void)json_object_set_new(value, "account_open", json_boolean(view.exists));
    }
    if (asked->operation == LEDGER_REVOKE_BEFORE) {
        (void)json_object_set_new(value, "issued_before", json_integer((json_int_t)asked->amount));
    }
    admin_answer_json(answer, result == 0 ? 200 : 202, value);
}

#define REVOKED_UNTIL_MAX_S (((int64_t)1 << 52) / 1000) /* the ledger's amounts are below 2^53 */

/*
 * When a revocation may be forgotten, in ms since 1970: when the link has ended. `token` is NULL
 * for a link that is known by its jti alone. Several tokens may have been signed with the same jti,
 * so a revocation by jti is kept until the last of those that are admitted now may end: exp and
 * resume may each lie link_lifetime_max_s ahead. A token that is signed for longer opens nothing
 * now, and can be revoked by its URL, which says when it ends.
 *
 * It is never before now, because a download under way may outlive its link, and is cut when its
 * node asks Redis. The Redis functions keep a link's state for an hour more than they are told,
 * which is longer than any grant.
 */
static int64_t revoked_until_ms(const struct node *node, const struct token *token)
{
    int64_t now_ms;
    (void)ledger_redis_time(node->ledger, &now_ms); /* whose clock ends it */
    int64_t now = now_ms / 1000, until = now;
    if (token == NULL || token->jti[0] != '\0') {
        until = now + 2 * (int64_t)node->config->link_lifetime_max_s;
    }
    if (token != NULL && token_ends_at(token) > until) {
        until = token_ends_at(token);
    }
    return (until < REVOKED_UNTIL_MAX_S ? until : REVOKED_UNTIL_MAX_S) * 1000;
}

/*
 * An instant that is later than the iat of every token that can be in use now. What is now, Redis'
 * clock says, since a watermark cannot be taken back and this node's clock may be years ahead.
 * False where Redis was not asked since the start; then the instant is by this node's clock.
 */
static bool issued_by_now(struct node *node, int64_t *instant)
{
    int64_t now_ms;
    bool is_known = ledger_redis_time(node->ledger, &now_ms);
    struct token_trust *trust = node_trust_hold(node);
    *instant = token_iat_max(token_trust_policy(trust), now_ms / 1000) + 1;
    token_trust_drop(&trust);
    return is_known;
}

static bool derive_by_jti(struct node *node, const struct admin_request *request, const char *jti,
                          unsigned char out[LEDGER_LINK_ID_BYTES])
{
    struct ledger_account *account;
    if (ledger_account_get(node->ledger, request->issuer, request->account,
                           strlen(request->account), &account) != 0) {
        return false;
    }
    bool named = link_id_of_jti(ledger_account_tag(account), jti, out);
    ledger_account_drop(&account);
    return named;
}

struct revocation {
    const char *jti; /* borrows from the body */
    json_int_t before;
    bool by_now;
};

#define FORM_REVOKE                                                                                \
    "one of {\"jti\":\"ID\"}, for a link, {\"issued_before\":SECONDS}, for all links of the "      \
    "account whose iat is earlier or absent, and {\"issued_by_now\":true}, for all that are in "   \
    "use now; to stop the account itself, suspend it"

static bool read_revocation(json_t *body, struct revocation *out, struct admin_answer *answer)
{
    const struct admin_member members[] = {
        {.name = "jti", .kind = ADMIN_MEMBER_TEXT, .text = &out->jti},
        {.name = "issued_before",
         .kind = ADMIN_MEMBER_NUMBER,
         .low = 1,
         .high = INT64_MAX,
         .number = &out->before},
        {.name = "issued_by_now", .kind = ADMIN_MEMBER_TRUTH, .truth = &out->by_now}};
    if (!admin_read_members(body, members, 3, FORM_REVOKE, answer)) {
        return false;
    }
    if (out->jti != NULL && !token_text_is_plain(out->jti, strlen(out->jti), TOKEN_JTI_MAX)) {
        admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, "jti",
                             "jti must be 1 to %d bytes without control characters", TOKEN_JTI_MAX);
        return false;
    }
    int given = (out->jti != NULL) + (out->before != 0) + out->by_now;
    if (given == 0) {
        bool is_false = json_object_get(body, "issued_by_now") != NULL;
        admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, is_false ? "issued_by_now" : "jti",
                             "%s; the body is " FORM_REVOKE,
                             is_false ? "issued_by_now must be true" : "the member jti is missing");
    } else if (given > 1) {
        const char *extra = out->by_now ? "issued_by_now" : "issued_before";
        admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, extra,
                             "%s is one member too many; the body is " FORM_REVOKE, extra);
    }
    return given == 1;
}

void admin_account_revoke(struct node *node, const struct admin_request *request,
                          struct admin_answer *answer)
{
    json_t *body = admin_read_json(request, false, answer);
    struct revocation asks = {0};
    struct ledger_request asked = {.issuer = request->issuer, .account = request->account};
    struct ledger_account_view view;
    bool repeated = false;
    if (body == NULL) {
        return;
    }
    if (!read_revocation(body, &asks, answer)) {
        json_decref(body);
        return;
    }
    const char *jti = asks.jti;
    int64_t by_now;
    bool is_known = issued_by_now(node, &by_now);
    if (!is_known && (asks.by_now || asks.before > by_now)) {
        admin_answer_problem(answer, ADMIN_REDIS_UNAVAILABLE, NULL,
                             "what time it is, Redis says, and it was not reached since the node "
                             "started; nothing was done");
    } else if (asks.before > by_now) {
        /* A revocation cannot be taken back: milliseconds for seconds would end the account. */
        admin_answer_problem(
            answer, ADMIN_INSTANT_AHEAD, "issued_before",
            "issued_before %lld lies in the future, and a revocation cannot be taken back%s",
            (long long)asks.before,
            asks.before > 100000000000 ? "; it is in seconds since 1970: divide "
                                         "milliseconds by 1000"
                                       : "");
    } else if (jti != NULL && !derive_by_jti(node, request, jti, asked.link_id)) {
        admin_answer_errno(answer, -ENOMEM);
    } else {
        asked.operation = jti != NULL ? LEDGER_REVOKE_LINK : LEDGER_REVOKE_BEFORE;
        asked.amount = jti != NULL   ? revoked_until_ms(node, NULL)
                       : asks.by_now ? by_now
                                     : (int64_t)asks.before;
        int result = ledger_account_change(node->ledger, &asked, &repeated, &view);
        admin_log_change(request, &asked, jti, result, repeated);
        answer_revoked(node, &asked, jti, answer, result);
    }
    json_decref(body);
}

static void answer_no_link(const struct node *node, struct admin_answer *answer)
{
    admin_answer_problem(answer, ADMIN_URL_INVALID, "url",
                         "this is not a link; for a bare token write /FILE?%s=TOKEN",
                         node->config->token_attribute);
}

/* The token of a request, verified, for the caller to destroy; `name` gets the link's name where
 * the token has no jti. NULL with the answer made. */
static struct token *verify_request(const struct node *node, const struct token_trust *trust,
                                    const char *request, size_t length,
                                    unsigned char link_id[LEDGER_LINK_ID_BYTES],
                                    struct admin_answer *answer)
{
    struct token_target *target = malloc(sizeof(*target));
    struct token *token = NULL;
    if (target == NULL) {
        admin_answer_errno(answer, -ENOMEM);
        return NULL;
    }
    enum refusal refusal = request_of_link_read(request, length, node->config, target);
    if (refusal == REFUSAL_NONE) {
        refusal = refusal_of_verdict(
            target->package != NULL
                ? token_verify(trust, target->package, target->package_length, &token)
                : REFUSED_TOKEN_MISSING);
    }
    if (token == NULL) {
        admin_answer_refusal(answer, 422, refusal, "url",
                             "not revoked: %s; a link that no key signed opens nothing anyway",
                             refusal_text(refusal));
    } else if (token->jti[0] == '\0' &&
               !link_id_of_token(target->package, target->package_length, link_id)) {
        admin_answer_errno(answer, -ENOMEM);
        token_destroy(&token);
    }
    free(target);
    return token;
}

/* The same for a URL. The token's times are not judged: an expired link can be revoked, too. */
static struct token *verify_url(const struct node *node, const struct token_trust *trust,
                                const char *url, unsigned char link_id[LEDGER_LINK_ID_BYTES],
                                struct admin_answer *answer)
{
    char *request;
    size_t length;
    int failure = request_of_link(url, &request, &length);
    if (failure == -EINVAL) {
        answer_no_link(node, answer);
        return NULL;
    }
    if (failure != 0) {
        admin_answer_errno(answer, failure);
        return NULL;
    }
    struct token *token = verify_request(node, trust, request, length, link_id, answer);
    free(request);
    return token;
}

static void revoke_token(struct node *node, const struct admin_request *request,
                         const struct token *token, unsigned char link_id[LEDGER_LINK_ID_BYTES],
                         struct admin_answer *answer)
{
    struct admin_request whose = *request;
    struct ledger_account_view view;
    bool repeated = false;
    if (!request->is_operator && strcmp(request->shop, token->issuer_id) != 0) {
        admin_answer_problem(
            answer, ADMIN_ISSUER_FORBIDDEN, "url",
            "this secret belongs to issuer %s and reaches only the links of that issuer",
            request->shop);
        return;
    }
    (void)snprintf(whose.issuer, sizeof(whose.issuer), "%s", token->issuer_id);
    (void)snprintf(whose.account, sizeof(whose.account), "%s", token->account);
    if (token->jti[0] != '\0' && !derive_by_jti(node, &whose, token->jti, link_id)) {
        admin_answer_errno(answer, -ENOMEM);
        return;
    }
    struct ledger_request asked = {.operation = LEDGER_REVOKE_LINK,
                                   .issuer = whose.issuer,
                                   .account = whose.account,
                                   .amount = revoked_until_ms(node, token)};
    memcpy(asked.link_id, link_id, sizeof(asked.link_id));
    int result = ledger_account_change(node->ledger, &asked, &repeated, &view);
    admin_log_change(request, &asked, token->jti, result, repeated);
    answer_revoked(node, &asked, token->jti, answer, result);
}

/* The URL of a body {"url":"..."}; NULL with the answer made. */
static const char *url_of(json_t *body, struct admin_answer *answer)
{
    const char *url = NULL;
    const struct admin_member member = {
        .name = "url", .kind = ADMIN_MEMBER_TEXT, .required = true, .text = &url};
    bool is_read = admin_read_members(body, &member, 1,
                                      "{\"url\":\"https://media.example/song.mp3?...\"}", answer);
    return is_read ? url : NULL;
}

void admin_link_revoke(struct node *node, const struct admin_request *request,
                       struct admin_answer *answer)
{
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    json_t *body = admin_read_json(request, false, answer);
    const char *url = body != NULL ? url_of(body, answer) : NULL;
    if (url != NULL) {
        struct token_trust *trust = node_trust_hold(node);
        struct token *token = verify_url(node, trust, url, link_id, answer);
        if (token != NULL) {
            revoke_token(node, request, token, link_id, answer);
        }
        token_destroy(&token);
        token_trust_drop(&trust);
    }
    json_decref(body);
}

/* ---- explaining ---- */

/* Makes the worker's answer the verdict, whatever the token alone says. */
static void set_verdict(json_t *report, enum refusal refusal)
{
    bool admitted = refusal == REFUSAL_NONE;
    (void)json_object_set_new(report, "admitted", json_boolean(admitted));
    (void)json_object_set_new(report, "status",
                              json_integer(admitted ? 200 : (json_int_t)refusal_status(refusal)));
    (void)json_object_set_new(report, "reason",
                              json_string(admitted ? "ok" : refusal_name(refusal)));
    (void)json_object_del(report, "text");
    if (!admitted) {
        (void)json_object_set_new(report, "text", json_string(refusal_text(refusal)));
    }
}

/* Adds what `tollgate link explain` cannot know: the account and the link as Redis has them. Adds
 * nothing where Redis cannot be asked. */
static void add_state(struct node *node, const struct link_facts *facts, const struct token *token,
                      unsigned char link_id[LEDGER_LINK_ID_BYTES], json_t *report)
{
    struct admin_request whose = {0};
    struct ledger_account_view account = {0};
    struct ledger_link_view link = {0};
    (void)snprintf(whose.issuer, sizeof(whose.issuer), "%s", token->issuer_id);
    (void)snprintf(whose.account, sizeof(whose.account), "%s", token->account);
    if ((token->jti[0] != '\0' && !derive_by_jti(node, &whose, token->jti, link_id)) ||
        ledger_account_show(node->ledger, whose.issuer, whose.account, &account) != 0 ||
        ledger_link_show(node->ledger, whose.issuer, whose.account, link_id, facts->target.path,
                         &link) != 0) {
        return;
    }
    (void)json_object_set_new(report, "account_asked", json_true());
    (void)json_object_set_new(report, "account",
                              json_pack("{s:b, s:s, s:I, s:I}", "open", account.exists, "status",
                                        account.status == LEDGER_ACTIVE ? "active" : "suspended",
                                        "balance", (json_int_t)account.balance, "revoked_before",
                                        (json_int_t)account.revoked_before));
    (void)json_object_set_new(report, "link",
                              json_pack("{s:b, s:i, s:b, s:I}", "revoked", link.revoked, "uses",
                                        (int)link.uses, "use_is_open", link.is_open, "bytes",
                                        (json_int_t)link.bytes));
}

static json_t *explain(struct node *node, const struct token_trust *trust,
                       const struct link_facts *facts, enum refusal refusal)
{
    unsigned char link_id[LEDGER_LINK_ID_BYTES];
    struct token *token = NULL;
    json_t *hints = link_hints(facts);
    json_t *report = link_report(facts, hints);
    json_decref(hints);
    set_verdict(report, refusal);
    if (facts->target.package != NULL &&
        token_verify(trust, facts->target.package, facts->target.package_length, &token) ==
            TOKEN_OK &&
        link_id_of_token(facts->target.package, facts->target.package_length, link_id)) {
        add_state(node, facts, token, link_id, report);
    }
    token_destroy(&token);
    return report;
}

/* A worker gives the verdict, as it would to a client's request; the facts explain it. */
static void explain_url(struct node *node, const char *url, struct admin_answer *answer)
{
    struct link_facts *facts = NULL;
    enum refusal refusal = REFUSAL_NONE;
    struct token_trust *trust = node_trust_hold(node);
    int failure = link_facts_create(&facts, node->config, trust, url, (int64_t)time(NULL));
    if (failure == 0) {
        failure = inquiry_ask(node, facts->request, facts->request_length, &refusal);
    }
    switch (failure) {
    case 0:
        admin_answer_json(answer, 200, explain(node, trust, facts, refusal));
        break;
    case -EINVAL:
        answer_no_link(node, answer);
        break;
    case -ECANCELED:
        admin_answer_stopping(answer);
        break;
    case -ETIMEDOUT:
        admin_answer_problem(answer, ADMIN_NODE_BUSY, NULL,
                             "the node did not decide in time; ask again");
        break;
    default:
        admin_answer_errno(answer, failure);
    }
    link_facts_destroy(&facts);
    token_trust_drop(&trust);
}

void admin_link_explain(struct node *node, const struct admin_request *request,
                        struct admin_answer *answer)
{
    json_t *body = admin_read_json(request, false, answer);
    const char *url = body != NULL ? url_of(body, answer) : NULL;
    if (url != NULL) {
        explain_url(node, url, answer);
    }
    json_decref(body);
}
