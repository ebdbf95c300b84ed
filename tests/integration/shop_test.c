/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface as a shop has it: over HTTP, with its issuer's secret, which reaches only
 * the issuer's own accounts. Each answer is checked against the OpenAPI description that the
 * node serves.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/harness.h"

/* ---- the description ---- */

static json_t *description;

static const json_t *resolve(const json_t *node)
{
    const char *reference = json_string_value(json_object_get(node, "$ref"));
    if (reference == NULL)
        return node;
    char path[128];
    const json_t *at = description;
    cr_assert_eq(strncmp(reference, "#/", 2), 0);
    snprintf(path, sizeof(path), "%s", reference + 2);
    char *rest = NULL;
    for (char *word = strtok_r(path, "/", &rest); word != NULL; word = strtok_r(NULL, "/", &rest))
        at = json_object_get(at, word);
    cr_assert(at, "%s leads nowhere", reference);
    return at;
}

static bool type_is(const char *type, const json_t *value)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "null") == 0 && json_is_null(value));
}

/* Checks a value against a schema, by the parts of JSON Schema that the description uses. */
static void check_schema(const json_t *schema, json_t *value, const char *where)
{
    schema = resolve(schema);
    const json_t *types = json_object_get(schema, "type");
    bool fits =
        types == NULL || (json_is_string(types) && type_is(json_string_value(types), value));
    for (size_t i = 0; i < json_array_size(types); i++)
        fits = fits || type_is(json_string_value(json_array_get(types, i)), value);
    cr_assert(fits, "%s is not of the type that is described", where);
    const json_t *words = json_object_get(schema, "enum");
    bool known = words == NULL;
    for (size_t i = 0; i < json_array_size(words); i++)
        known = known || json_equal(json_array_get(words, i), value);
    cr_assert(known, "%s is not one of the words that are described", where);
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        cr_assert(json_object_get(value, name), "%s has no %s", where, name);
    }
    const char *name;
    json_t *member;
    if (json_is_object(value) && properties != NULL) {
        json_object_foreach(value, name, member)
        {
            const json_t *property = json_object_get(properties, name);
            cr_assert(property, "%s.%s is not described", where, name);
            check_schema(property, member, name);
        }
    }
    const json_t *items = json_object_get(schema, "items");
    for (size_t i = 0; items != NULL && i < json_array_size(value); i++)
        check_schema(items, json_array_get(value, i), where);
}

static const char *lower(struct site *site, const char *method)
{
    char *text = (char *)(uintptr_t)site_format(site, "%s", method);
    for (char *c = text; *c; c++)
        *c = (char)(*c | 0x20);
    return text;
}

/* Checks that the description has this answer for the operation, of this shape. The caller owns the
 * body (json_decref). */
static json_t *check_answer(struct site *site, const struct answer *answer, const char *method,
                            const char *path)
{
    const json_t *operation = json_object_get(
        json_object_get(json_object_get(description, "paths"), path), lower(site, method));
    cr_assert(operation, "%s %s is not described", method, path);
    const char *status = site_format(site, "%u", answer->status);
    const json_t *response =
        resolve(json_object_get(json_object_get(operation, "responses"), status));
    cr_assert(response, "%s %s answers %s, which is not described: %s", method, path, status,
              (const char *)answer->body);
    const char *type = answer_header(site, answer, "Content-Type");
    const json_t *content = json_object_get(json_object_get(response, "content"), type);
    cr_assert(content, "%s %s answers %s of type %s", method, path, status, type);
    json_t *value = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    cr_assert(value, "%s", (const char *)answer->body);
    check_schema(json_object_get(content, "schema"), value,
                 site_format(site, "%s %s: %s", method, path, status));
    return value;
}

struct call {
    const char *secret; /* NULL: none */
    const char *method, *path, *parameters, *body;
    const char *template; /* the path in the description; NULL: `path` */
    unsigned status;
    const char *reason; /* of a problem+json */
};

/* Calls, expects the status and checks the answer against the description. The caller owns the
 * body (json_decref). */
static json_t *call_with(struct site *site, const struct call *call)
{
    const char *target =
        site_format(site, "%s%s", call->path, call->parameters != NULL ? call->parameters : "");
    const struct answer *answer = site_shop(site, call->secret, call->method, target, call->body);
    cr_assert_eq(answer->status, call->status, "%s %s: %u in place of %u: %s", call->method, target,
                 answer->status, call->status,
                 answer->body != NULL ? (const char *)answer->body : "");
    json_t *value = check_answer(site, answer, call->method,
                                 call->template != NULL ? call->template : call->path);
    const char *reason = json_string_value(json_object_get(value, "reason"));
    if (call->reason != NULL)
        cr_assert_str_eq(reason, call->reason);
    return value;
}
#define CALL(site, ...) json_decref(call_with(site, &(struct call){__VA_ARGS__}))

#define ACCOUNT(rest)   .template = "/v1/accounts/{issuer}/{account}" rest
#define MINE            .secret = SHOP_SECRET

static struct site *shop_site(const char *settings)
{
    struct site *site = site_create(.shop_secret = true, .settings = settings);
    const struct answer *answer = site_shop(site, NULL, "GET", "/v1/openapi.json", NULL);
    cr_assert_eq(answer->status, 200);
    description =
        json_loadb((const char *)answer->body, answer->body_length, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(description, "the description is not JSON");
    cr_assert_str_eq(json_string_value(json_object_get(description, "openapi")), "3.1.0");
    return site;
}

static void shop_site_destroy(struct site **site)
{
    json_decref(description);
    site_destroy(site);
}

static json_int_t number(json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    json_decref(object);
    return value;
}

/* ---- a shop's day ---- */

Test(shop, opens_shows_tops_up_limits_suspends_and_reads_usage)
{
    struct site *site = shop_site(NULL);
    const char *alice = "/v1/accounts/shop/alice%40example.org";
    CALL(site, MINE, .method = "GET", .path = alice, ACCOUNT(""), .status = 404,
         .reason = "account_unknown");
    CALL(site, MINE, .method = "PUT", .path = alice, ACCOUNT(""), .status = 201,
         .body = "{\"plan\":\"prepaid\",\"bytes\":10000000,\"transaction\":\"order-1\"}");
    CALL(site, MINE, .method = "PUT", .path = alice, ACCOUNT(""), .status = 409,
         .body = "{\"bytes\":10000000,\"transaction\":\"order-2\"}", .reason = "account_open");
    for (int i = 0; i < 2; i++) /* the second time is answered as a repeat and adds nothing */
        CALL(site, MINE, .method = "POST", .path = alice, .parameters = "/top-up",
             ACCOUNT("/top-up"), .status = 200,
             .body = "{\"bytes\":5000000,\"transaction\":\"order-3\"}");
    CALL(site, MINE, .method = "POST", .path = alice, .parameters = "/top-up", ACCOUNT("/top-up"),
         .status = 409, .body = "{\"bytes\":6000000,\"transaction\":\"order-3\"}",
         .reason = "transaction_reused");
    cr_expect_eq(number(call_with(site, &(struct call){MINE, .method = "GET", .path = alice,
                                                       ACCOUNT(""), .status = 200}),
                        "balance"),
                 15000000);
    CALL(site, MINE, .method = "PUT", .path = alice, .parameters = "/limits", ACCOUNT("/limits"),
         .status = 200, .body = "{\"rate\":1000000,\"max_conns\":4}");
    CALL(site, MINE, .method = "PUT", .path = alice, .parameters = "/limits", ACCOUNT("/limits"),
         .status = 422, .body = "{\"rate\":-1}");
    CALL(site, MINE, .method = "POST", .path = alice, .parameters = "/suspend", ACCOUNT("/suspend"),
         .status = 200, .body = "");
    const char *link = site_link(site, .account = "alice@example.org", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link), 402, "account_suspended");
    CALL(site, MINE, .method = "POST", .path = alice, .parameters = "/activate",
         ACCOUNT("/activate"), .status = 200, .body = "");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_usage_await(site, "alice@example.org", size);
    json_t *usage =
        call_with(site, &(struct call){MINE, .method = "GET", .path = alice, .parameters = "/usage",
                                       ACCOUNT("/usage"), .status = 200});
    cr_expect_eq(
        (size_t)json_integer_value(json_object_get(json_object_get(usage, "totals"), "bytes")),
        size);
    json_decref(usage);
    shop_site_destroy(&site);
}

Test(shop, revokes_by_jti_by_instant_and_by_the_link)
{
    struct site *site = shop_site(NULL);
    site_account_open_prepaid(site, "alice", 10000000);
    const char *path = "/v1/accounts/shop/alice";
    const char *by_jti = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "o 1 –ü");
    const char *by_link = site_link(site, .account = "alice", .path = TRACK_TINY);
    CALL(site, MINE, .method = "POST", .path = path, .parameters = "/revoke", ACCOUNT("/revoke"),
         .status = 200, .body = "{\"jti\":\"o 1 –ü\"}");
    answer_expect_refusal(site, fetch(site, by_jti), 410, "link_revoked");
    answer_expect_file(site, fetch(site, by_link), TRACK_TINY);
    CALL(site, MINE, .method = "POST", .path = "/v1/links/revoke", .status = 200,
         .body = site_format(site, "{\"url\":\"https://x%s\"}", by_link));
    answer_expect_refusal(site, fetch(site, by_link), 410, "link_revoked");
    CALL(site, MINE, .method = "POST", .path = path, .parameters = "/revoke", ACCOUNT("/revoke"),
         .status = 200, .body = "{\"issued_before\":1000}");
    CALL(site, MINE, .method = "POST", .path = path, .parameters = "/revoke", ACCOUNT("/revoke"),
         .status = 200, .body = "{\"issued_by_now\":true}");
    static const char *const wrong[] = {"{}",
                                        "{\"jti\":\"\"}",
                                        "{\"jti\":1}",
                                        "{\"jti\":\"a\",\"issued_before\":1}",
                                        "{\"issued_before\":\"now\"}",
                                        "{\"issued_by_now\":false}",
                                        "{\"issued_by_now\":1}",
                                        "{\"issued_by_now\":true,\"issued_before\":1}",
                                        "{\"issued_before\":-1}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CALL(site, MINE, .method = "POST", .path = path, .parameters = "/revoke",
             ACCOUNT("/revoke"), .status = 422, .body = wrong[i]);
    CALL(site, MINE, .method = "POST", .path = "/v1/links/revoke", .status = 422,
         .body = "{\"url\":\"https://x/song.mp3\"}", .reason = "token_missing");
    shop_site_destroy(&site);
}

Test(shop, has_no_way_to_another_issuers_accounts_or_to_what_is_the_operators)
{
    struct site *site = shop_site(NULL);
    site_account_open_prepaid(site, "alice", 10000000);
    static const char *const wrong[] = {NULL, "", "wrong", SHOP_SECRET "x", RIVAL_SECRET "0"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CALL(site, .secret = wrong[i], .method = "GET", .path = "/v1/accounts/shop/alice",
             ACCOUNT(""), .status = 401, .reason = "secret_unknown");
        CALL(site, .secret = wrong[i], .method = "GET", .path = "/v1/events", .status = 401);
    }
    const struct answer *answer = site_shop(site, NULL, "GET", "/v1/events", NULL);
    cr_expect_str_eq(answer_header(site, answer, "WWW-Authenticate"), "Bearer realm=\"tollgate\"");
    static const char *const others[] = {"/v1/accounts/shop/alice", "/v1/accounts/%73hop/alice",
                                         "/v1/accounts/nobody/alice"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CALL(site, .secret = RIVAL_SECRET, .method = "GET", .path = others[i], ACCOUNT(""),
             .status = 403, .reason = "issuer_forbidden");
        CALL(site, .secret = RIVAL_SECRET, .method = "POST", .path = others[i],
             .parameters = "/suspend", ACCOUNT("/suspend"), .body = "", .status = 403);
    }
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    CALL(site, .secret = RIVAL_SECRET, .method = "POST", .path = "/v1/links/revoke", .status = 403,
         .body = site_format(site, "{\"url\":\"https://x%s\"}", link),
         .reason = "issuer_forbidden");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    CALL(site, MINE, .method = "GET", .path = "/v1/health", .status = 403,
         .reason = "operators_only");
    CALL(site, MINE, .method = "POST", .path = "/v1/accounts/shop/alice", .parameters = "/adjust",
         ACCOUNT("/adjust"), .status = 403, .body = "{\"bytes\":-5,\"transaction\":\"t\"}",
         .reason = "operators_only");
    CALL(site, MINE, .method = "POST", .path = "/v1/links/explain", .status = 403,
         .body = "{\"url\":\"/x\"}", .reason = "operators_only");
    cr_expect_null(strstr(site_log(site), SHOP_SECRET));
    shop_site_destroy(&site);
}

/* Writes a second line to the rival's file of secrets: the shop's secret. */
static void give_the_rival_the_shops_secret(struct site *site)
{
    FILE *file = fopen(site_format(site, "%s/rival.secret", site_directory(site)), "we");
    cr_assert_not_null(file);
    cr_assert_geq(fprintf(file, "%s\n%s\n", RIVAL_SECRET, SHOP_SECRET), 0);
    cr_assert_eq(fclose(file), 0);
}

Test(shop, the_same_secret_of_two_issuers_is_refused_at_load)
{
    struct site *site = site_create(.shop_secret = true, .stays_down = true);
    give_the_rival_the_shops_secret(site);
    struct command_result serve = site_tollgate(site, "serve");
    cr_expect_neq(serve.exit_code, 0);
    cr_expect_not_null(strstr(serve.errors, "issuer shop has the same secret"), "%s", serve.errors);
    cr_expect_null(strstr(serve.errors, SHOP_SECRET));
    site_destroy(&site);
}

Test(shop, the_same_secret_of_two_issuers_is_refused_at_reload)
{
    struct site *site = shop_site(NULL);
    site_account_open_prepaid(site, "alice", 1000);
    give_the_rival_the_shops_secret(site);
    site_node_signal(site, SIGHUP);
    const char *log = site_log_await(site, "the previous ones stay in force: issuer rival: ");
    cr_expect_not_null(strstr(log, "issuer shop has the same secret"), "%s", log);
    CALL(site, MINE, .method = "GET", .path = "/v1/accounts/shop/alice", ACCOUNT(""),
         .status = 200);
    CALL(site, MINE, .method = "GET", .path = "/v1/accounts/rival/alice", ACCOUNT(""),
         .status = 403);
    shop_site_destroy(&site);
}

static unsigned lines_with(const char *text, const char *what)
{
    unsigned count = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        count++;
    return count;
}

static json_int_t refused_of(struct site *site, const char *name)
{
    const struct answer *answer = site_admin(site, "GET", "/v1/health", NULL);
    json_t *value = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    json_int_t count = json_integer_value(json_object_get(json_object_get(value, "admin"), name));
    json_decref(value);
    return count;
}

Test(shop, refusals_are_counted_all_and_logged_up_to_a_rate)
{
    enum { REFUSED = 120 };
    struct site *site = shop_site(NULL);
    for (int i = 0; i < REFUSED; i++)
        (void)site_shop(site, "wrong", "GET", "/v1/accounts/shop/alice", NULL);
    (void)site_shop(site, RIVAL_SECRET, "GET", "/v1/accounts/shop/alice?x=secret", NULL);
    cr_expect_eq(refused_of(site, "unauthorized"), REFUSED);
    cr_expect_eq(refused_of(site, "forbidden"), 1);
    const char *log = site_log_await(site, " more of: admin: refused: ");
    cr_expect_not_null(strstr(log, "warning admin: refused: status=401 reason=secret_unknown who=- "
                                   "path=/v1/accounts/shop/alice\n"));
    cr_expect_lt(lines_with(log, "admin: refused: status="), (unsigned)REFUSED);
    cr_expect_null(strstr(log, "wrong"));
    shop_site_destroy(&site);
}

Test(shop, each_change_is_a_line_with_who_account_operation_and_transaction)
{
    enum { CHANGES = 80 }; /* more than a message may have at once */
    struct site *site = shop_site(NULL);
    const char *path = "/v1/accounts/shop/al%20ice";
    CALL(site, MINE, .method = "PUT", .path = path, ACCOUNT(""), .status = 201,
         .body = "{\"bytes\":1000,\"transaction\":\"order-1\"}");
    CALL(site, MINE, .method = "PUT", .path = path, ACCOUNT(""), .status = 409,
         .body = "{\"bytes\":1000,\"transaction\":\"order-2\"}");
    CALL(site, MINE, .method = "PUT", .path = path, .parameters = "/limits", ACCOUNT("/limits"),
         .status = 200, .body = "{\"max_conns\":4}");
    CALL(site, MINE, .method = "POST", .path = path, .parameters = "/revoke", ACCOUNT("/revoke"),
         .status = 200, .body = "{\"jti\":\"a who=b\"}");
    const char *link = site_link(site, .account = "al ice", .path = TRACK_TINY, .jti = "by-url");
    CALL(site, MINE, .method = "POST", .path = "/v1/links/revoke", .status = 200,
         .body = site_format(site, "{\"url\":\"https://x%s\"}", link));
    (void)site_admin(site, "POST", "/v1/accounts/shop/al%20ice/adjust",
                     "{\"bytes\":-5,\"transaction\":\"fix\"}");
    for (int i = 0; i < CHANGES; i++)
        (void)site_shop(site, SHOP_SECRET, "POST", "/v1/accounts/shop/al%20ice/top-up",
                        site_format(site, "{\"bytes\":7,\"transaction\":\"t%d\"}", i % 79));
    static const char *const wanted[] = {
        " info change: who=shop:shop account=shop/al%20ice operation=open transaction=order-1 "
        "bytes=1000 done\n",
        "operation=limit transaction=- rate=0 max_bytes=0 max_conns=4 done\n",
        "operation=revoke-link transaction=- jti=a%20who=b done\n",
        "operation=revoke-link transaction=- jti=by-url done\n",
        "change: who=operator account=shop/al%20ice operation=adjust transaction=fix bytes=-5 "
        "done\n",
        "operation=top-up transaction=t0 bytes=7 done\n",
        "operation=top-up transaction=t0 bytes=7 repeated\n"};
    const char *log = "";
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        log = site_log_await(site, wanted[i]);
    cr_expect_eq(lines_with(log, "operation=top-up"), (unsigned)CHANGES);
    cr_expect_eq(lines_with(log, "order-2"), 0u); /* a refused request is not logged */
    shop_site_destroy(&site);
}

Test(shop, accounts_and_ids_that_no_link_can_name_are_422)
{
    struct site *site = shop_site(NULL);
    static const char *const paths[] = {"/v1/accounts/shop/a%0Ab", "/v1/accounts/shop/%1B",
                                        "/v1/accounts/shop/a%7f", "/v1/accounts/shop/a%09"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        CALL(site, MINE, .method = "PUT", .path = paths[i], ACCOUNT(""), .status = 422,
             .body = "{\"bytes\":1000,\"transaction\":\"order-1\"}", .reason = "account_invalid");
        CALL(site, MINE, .method = "POST", .path = paths[i], .parameters = "/revoke",
             ACCOUNT("/revoke"), .status = 422, .body = "{\"jti\":\"a\"}");
    }
    static const char *const ids[] = {"a\\nb", "\\u001b", "a\\u007f", "\\t"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        CALL(site, MINE, .method = "POST", .path = "/v1/accounts/shop/alice",
             .parameters = "/revoke", ACCOUNT("/revoke"), .status = 422,
             .body = site_format(site, "{\"jti\":\"%s\"}", ids[i]), .reason = "members_invalid");
    shop_site_destroy(&site);
}

Test(shop, every_described_operation_is_there)
{
    struct site *site = shop_site(NULL);
    const char *path, *method;
    json_t *item, *operation;
    size_t seen = 0;
    json_object_foreach(json_object_get(description, "paths"), path, item)
    {
        json_object_foreach(item, method, operation)
        {
            if (strcmp(method, "parameters") == 0)
                continue;
            char target[256] = "";
            for (const char *at = path; *at; at++) {
                if (*at == '{') {
                    strcat(target, strncmp(at, "{issuer}", 8) == 0 ? "shop" : "nobody");
                    at = strchr(at, '}');
                } else {
                    strncat(target, at, 1);
                }
            }
            char upper[8] = "";
            for (size_t i = 0; method[i] && i < 7; i++)
                upper[i] = (char)(method[i] & ~0x20);
            const struct answer *answer =
                site_admin(site, upper, target, strcmp(upper, "GET") == 0 ? NULL : "");
            cr_expect(answer->status != 405 && answer->status != 0, "%s %s: %u", upper, target,
                      answer->status);
            cr_expect(answer->status != 404 ||
                          strcmp(answer_reason(site, answer), "route_unknown") != 0,
                      "%s %s is not there", upper, target);
            seen++;
        }
    }
    cr_expect_geq(seen, 14u);
    shop_site_destroy(&site);
}

/* ---- events ---- */

static json_t *events_after(struct site *site, const char *secret, const char *cursor)
{
    return call_with(site, &(struct call){.secret = secret,
                                          .method = "GET",
                                          .path = "/v1/events",
                                          .parameters = site_format(site, "?after=%s", cursor),
                                          .status = 200});
}

/* Waits for the first event of the type after the cursor `next`, which moves behind it. The caller
 * owns the event (json_decref). */
static json_t *await_event(struct site *site, const char *type, char next[64])
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        json_t *list = events_after(site, SHOP_SECRET, next), *event;
        size_t index;
        json_array_foreach(json_object_get(list, "events"), index, event)
        {
            snprintf(next, 64, "%s", json_string_value(json_object_get(event, "id")));
            if (strcmp(json_string_value(json_object_get(event, "type")), type) == 0) {
                json_incref(event);
                json_decref(list);
                return event;
            }
        }
        json_decref(list);
        cr_assert(harness_now_ms() < deadline_ms, "no event %s comes", type);
        harness_pause();
    }
}

Test(shop, is_told_of_what_completed_is_used_up_or_nearly_paid_out)
{
    struct site *site = shop_site("balance_low_bytes: 9900000\nuse_window_s: 1\n");
    char next[64] = "0";
    site_account_open_prepaid(site, "alice", 10000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT, .jti = "order-1",
                                 .limits = {.max_uses = 1});
    answer_expect_file(site, fetch(site, link), TRACK_SHORT);
    json_t *event = await_event(site, "completed", next);
    cr_expect_str_eq(json_string_value(json_object_get(event, "account")), "alice");
    cr_expect_str_eq(json_string_value(json_object_get(event, "jti")), "order-1");
    cr_expect_str_eq(json_string_value(json_object_get(event, "file")), TRACK_SHORT);
    json_decref(event);
    char from_start[64] = "0";
    event = await_event(site, "balance_low", from_start);
    cr_expect_lt(json_integer_value(json_object_get(event, "bytes")), 9900000);
    json_decref(event);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link, .range = "0-0")->status != 410 && harness_now_ms() < deadline_ms)
        harness_pause();
    json_decref(await_event(site, "used_up", next));
    /* A tail that is fetched later, in a new window, is not a second download. */
    const char *twice = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-2",
                                  .limits = {.max_uses = 1, .resume_s = 60});
    answer_expect_file(site, fetch(site, twice), TRACK_TINY);
    json_decref(await_event(site, "completed", next));
    json_t *list = events_after(site, SHOP_SECRET, "0");
    size_t completed = 0, index;
    json_array_foreach(json_object_get(list, "events"), index, event) completed +=
        strcmp(json_string_value(json_object_get(event, "type")), "completed") == 0;
    cr_expect_eq(completed, 2u);
    json_decref(list);
    json_t *theirs = events_after(site, RIVAL_SECRET, "0");
    cr_expect_eq(json_array_size(json_object_get(theirs, "events")), 0u);
    json_decref(theirs);
    CALL(site, MINE, .method = "GET", .path = "/v1/events", .parameters = "?after=yesterday",
         .status = 422, .reason = "cursor_invalid");
    CALL(site, MINE, .method = "GET", .path = "/v1/events", .parameters = "?limit=0", .status = 422,
         .reason = "limit_invalid");
    shop_site_destroy(&site);
}

/* ---- secrets, and clients that are slow ---- */

Test(shop, secrets_are_read_again_on_SIGHUP_and_two_lines_are_two_secrets)
{
    struct site *site = shop_site(NULL);
    const char *path = site_format(site, "%s/shop.secret", site_directory(site));
    static const char fresh[] = "a-new-secret-0123456789abcdef0123456789abcdef";
    FILE *file = fopen(path, "we");
    cr_assert(file);
    fprintf(file, "%s\n%s\n", fresh, SHOP_SECRET);
    fclose(file);
    CALL(site, .secret = fresh, .method = "GET", .path = "/v1/events", .status = 401);
    site_node_signal(site, SIGHUP);
    site_log_await(site, "reloaded the shops' secrets");
    CALL(site, .secret = fresh, .method = "GET", .path = "/v1/events", .status = 200);
    CALL(site, MINE, .method = "GET", .path = "/v1/events", .status = 200);
    file = fopen(path, "we");
    cr_assert(file);
    fputs("short\n", file);
    fclose(file);
    site_node_signal(site, SIGHUP);
    site_log_await(site, "a secret has 32 characters or more");
    CALL(site, .secret = fresh, .method = "GET", .path = "/v1/events", .status = 200);
    shop_site_destroy(&site);
}

/* More connections than the interface keeps: it closes those that were silent for longest. */
Test(shop, idle_connections_lock_nobody_out)
{
    enum { IDLE = 400 };
    struct site *site = shop_site(NULL);
    const char *log = strstr(site_log(site), "admin interface on 127.0.0.1:");
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(strchr(log, ':') + 1, NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fds[IDLE];
    for (size_t i = 0; i < IDLE; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(fds[i], (struct sockaddr *)&address, sizeof(address)), 0);
        if (i % 2 == 0)
            raw_print(fds[i], "GET /v1/ev");
        if (i % 50 == 0)
            CALL(site, MINE, .method = "GET", .path = "/v1/events", .status = 200);
    }
    CALL(site, MINE, .method = "GET", .path = "/v1/events", .status = 200);
    for (size_t i = 0; i < IDLE; i++)
        close(fds[i]);
    shop_site_destroy(&site);
}

Test(shop, support_staff_get_the_verdict_of_a_link_as_json)
{
    struct site *site = shop_site(NULL);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = -10);
    const char *body = site_format(site, "{\"url\":\"http://media.example%s\"}", link);
    const struct answer *answer = site_admin(site, "POST", "/v1/links/explain", body);
    cr_assert_eq(answer->status, 200, "%s", (const char *)answer->body);
    json_t *report = check_answer(site, answer, "POST", "/v1/links/explain");
    cr_expect_str_eq(json_string_value(json_object_get(report, "reason")), "expired");
    cr_expect(json_is_false(json_object_get(report, "admitted")));
    cr_expect_gt(json_array_size(json_object_get(report, "hints")), 0u);
    json_decref(report);
    /* A state that only Redis knows. */
    site_account_open_prepaid(site, "alice", 10000000);
    link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1",
                     .limits = {.max_uses = 1});
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_usage_await(site, "alice", size);
    body = site_format(site, "{\"url\":\"http://media.example%s\"}", link);
    answer = site_admin(site, "POST", "/v1/links/explain", body);
    report = json_loads((const char *)answer->body, 0, NULL);
    cr_expect(json_is_true(json_object_get(report, "admitted")), "%s", answer->body);
    const json_t *state = json_object_get(report, "link");
    cr_expect_eq(json_integer_value(json_object_get(state, "uses")), 1);
    cr_expect_eq((size_t)json_integer_value(json_object_get(state, "bytes")), size);
    json_decref(report);
    cr_assert_eq(site_admin(site, "POST", "/v1/links/revoke", body)->status, 200);
    answer = site_admin(site, "POST", "/v1/links/explain", body);
    report = json_loads((const char *)answer->body, 0, NULL);
    cr_expect_str_eq(json_string_value(json_object_get(report, "reason")), "link_revoked");
    cr_expect_null(strstr((const char *)answer->body, strstr(link, "URISigningPackage=") + 18));
    json_decref(report);
    shop_site_destroy(&site);
}
