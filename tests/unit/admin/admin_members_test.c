/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read from a request's body and query, strictly: each fault has its reason and names the
 * member, and a bad body changes nothing.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/command/admin_client.h"
#include "tests/unit/admin/fixture.h"

Test(admin, a_body_is_read_strictly_and_nothing_is_opened_by_a_bad_one)
{
    static const struct {
        const char *body;
        unsigned status;
        const char *reason;
    } bad[] = {
        {"", 400, "body_invalid"},
        {"{", 400, "body_invalid"},
        {"{\"bytes\":1,\"bytes\":2,\"transaction\":\"t\"}", 400, "body_invalid"},
        {"{\"bytes\":1,\"transaction\":\"t\"} x", 400, "body_invalid"},
        {"[]", 422, "members_invalid"},
        {"{\"bytes\":1}", 422, "members_invalid"},
        {"{\"byts\":1,\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":\"1\",\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":1.5,\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":1e3,\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":1,\"transaction\":7}", 422, "members_invalid"},
        {"{\"plan\":\"gold\",\"transaction\":\"t\"}", 422, "plan_invalid"},
        {"{\"bytes\":-1,\"transaction\":\"t\"}", 422, "out_of_bounds"},
        {"{\"bytes\":9007199254740992,\"transaction\":\"t\"}", 422, "out_of_bounds"},
        {"{\"bytes\":1,\"transaction\":\"\"}", 422, "out_of_bounds"},
        {"{\"bytes\":1,\"transaction\":\"a b\"}", 422, "out_of_bounds"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_refusal("PUT", "/v1/accounts/shop/alice", bad[i].body, bad[i].status, bad[i].reason);
    }
    expect_refusal("GET", "/v1/accounts/shop/alice", NULL, 404, "account_unknown");
}

#define ALICE "/v1/accounts/shop/alice"

Test(admin, a_problem_names_the_member_that_is_at_fault)
{
    static const struct {
        const char *method, *target, *body, *member;
    } bad[] = {
        {"PUT", ALICE, "{\"byts\":1,\"transaction\":\"t\"}", "byts"},
        {"PUT", ALICE, "{\"bytes\":\"1\",\"transaction\":\"t\"}", "bytes"},
        {"PUT", ALICE, "{\"bytes\":-1,\"transaction\":\"t\"}", "bytes"},
        {"PUT", ALICE, "{\"bytes\":18446744073709551616,\"transaction\":\"t\"}", "bytes"},
        {"PUT", ALICE, "{\"bytes\":1}", "transaction"},
        {"PUT", ALICE, "{\"bytes\":1,\"transaction\":\"a b\"}", "transaction"},
        {"PUT", ALICE, "{\"transaction\":\"t\",\"transaction\":\"t\"}", "transaction"},
        {"PUT", ALICE, "{\"plan\":\"gold\",\"transaction\":\"t\"}", "plan"},
        {"POST", ALICE "/top-up", "{\"transaction\":\"t\"}", "bytes"},
        {"POST", ALICE "/top-up", "{\"bytes\":0,\"transaction\":\"t\"}", "bytes"},
        {"POST", ALICE "/adjust", "{\"bytes\":null,\"transaction\":\"t\"}", "bytes"},
        {"POST", ALICE "/suspend", "{\"transaktion\":\"t\"}", "transaktion"},
        {"POST", ALICE "/activate", "{\"transaction\":[]}", "transaction"},
        {"PUT", ALICE "/limits", "{\"rate\":-1}", "rate"},
        {"PUT", ALICE "/limits", "{\"max_bytes\":9007199254740992}", "max_bytes"},
        {"PUT", ALICE "/limits", "{\"max_conns\":4294967296}", "max_conns"},
        {"POST", ALICE "/revoke", "{}", "jti"},
        {"POST", ALICE "/revoke", "{\"jti\":\"\"}", "jti"},
        {"POST", ALICE "/revoke", "{\"jti\":\"a\",\"issued_before\":5}", "issued_before"},
        {"POST", ALICE "/revoke", "{\"issued_before\":0}", "issued_before"},
        {"POST", ALICE "/revoke", "{\"issued_by_now\":false}", "issued_by_now"},
        {"POST", "/v1/links/revoke", "{}", "url"},
        {"POST", "/v1/links/explain", "{\"url\":\"/a?x\",\"uri\":1}", "uri"},
        {"GET", ALICE "/usage?form=2026-11-01", NULL, "form"},
        {"GET", ALICE "/usage?from=2026-02-30", NULL, "from"},
        {"GET", ALICE "/usage?to=x", NULL, "to"},
        {"GET", ALICE "/usage?from=2024-01-01&to=2026-01-01", NULL, "from"},
        {"GET", ALICE "/usage?limit=1&limit=2", NULL, "limit"},
        {"GET", ALICE "/usage?limit=0", NULL, "limit"},
        {"GET", ALICE "/usage?cursor=x", NULL, "cursor"},
        {"GET", "/v1/events", NULL, "issuer"},
        {"GET", "/v1/events?issuer=nobody", NULL, "issuer"},
        {"GET", "/v1/events?issuer=shop&after=x", NULL, "after"},
        {"GET", "/v1/events?issuer=shop&limit=1001", NULL, "limit"},
        {"GET", "/v1/accounts/shop/%00", NULL, "account"},
        {"GET", "/v1/accounts/nobody/alice", NULL, "issuer"},
    };
    open_account("{\"transaction\":\"order-1\"}");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct admin_response response;
        cr_assert_eq(
            admin_client_call(admin_socket, bad[i].method, bad[i].target, bad[i].body, &response),
            0);
        json_t *answer = json_loads(response.body, JSON_REJECT_DUPLICATES, NULL);
        const char *member = json_string_value(json_object_get(answer, "member"));
        cr_expect(response.status >= 400 && member != NULL && strcmp(member, bad[i].member) == 0,
                  "%s %s %s: not %s: %u %s", bad[i].method, bad[i].target,
                  bad[i].body != NULL ? bad[i].body : "", bad[i].member, response.status,
                  response.body);
        json_decref(answer);
        free(response.body);
    }
}
