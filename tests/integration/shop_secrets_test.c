/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what at the admin interface: a secret reaches only its own issuer's accounts, refusals
 * are counted, changes are logged, and clients that are slow lock nobody out.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/shop_steps.h"

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
