/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shop's day at the admin interface, over HTTP with its issuer's secret: accounts, usage, links
 * that are revoked or explained. Each answer is compared with the OpenAPI description that the node
 * serves, and each operation of the description is there.
 */
#include <jansson.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/integration/shop_steps.h"
#include "tests/integration/transfer_steps.h"

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
    cr_expect_eq(
        number_of(shop_call_with(site, &(struct shop_call){MINE, .method = "GET", .path = alice,
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
    json_t *usage = shop_call_with(site, &(struct shop_call){MINE, .method = "GET", .path = alice,
                                                             .parameters = "/usage",
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
    await_no_delivery(site, by_link, 410, "link_revoked");
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
    json_object_foreach(json_object_get(shop_description, "paths"), path, item)
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

Test(shop, support_staff_get_the_verdict_of_a_link_as_json)
{
    struct site *site = shop_site(NULL);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = -10);
    const char *body = site_format(site, "{\"url\":\"http://media.example%s\"}", link);
    const struct answer *answer = site_admin(site, "POST", "/v1/links/explain", body);
    cr_assert_eq(answer->status, 200, "%s", (const char *)answer->body);
    json_t *report = expect_described(site, answer, "POST", "/v1/links/explain");
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
