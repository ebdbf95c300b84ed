/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is: which addresses are understood, and which one is in force after a failure.
 * tests/faults/redis_test.c tries names that change and resolvers that hang.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/where.h"

static struct ledger_redis_address address_of(const char *text)
{
    struct ledger_redis_address address = {0};
    struct where *where = NULL;
    char error[512] = "";
    cr_assert_eq(where_create(&where, text), 0, "%s", text);
    cr_assert_eq(where_get(where, LEDGER_REDIS_RESOLVE_MS, &address, error, sizeof(error)), 0, "%s",
                 error);
    where_destroy(&where);
    return address;
}

Test(ledger_where, understands_what_users_write)
{
    static const struct {
        const char *text, *host;
        int port;
    } cases[] = {
        {"unix:/run/redis.sock", "/run/redis.sock", 0},
        {"10.0.0.5:6380", "10.0.0.5", 6380},
        {"[::1]:6379", "::1", 6379},
        {"[2001:db8::5]:7000", "2001:db8::5", 7000},
        {"redis://10.0.0.5:6380", "10.0.0.5", 6380},
        {"redis://10.0.0.5", "10.0.0.5", 6379},
        {"redis://10.0.0.5:6380/", "10.0.0.5", 6380},
        {"redis://10.0.0.5:6380/0", "10.0.0.5", 6380},
        {"REDIS://[::1]:6380", "::1", 6380},
        {"redis://[::1]", "::1", 6379},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ledger_redis_address address = address_of(cases[i].text);
        cr_expect_str_eq(address.host, cases[i].host, "%s: %s", cases[i].text, address.host);
        cr_expect_eq(address.port, cases[i].port, "%s: %d", cases[i].text, address.port);
    }
}

Test(ledger_where, refuses_the_rest_with_the_cure_and_tells_no_secret)
{
    static const struct {
        const char *text, *cure;
    } cases[] = {
        {"redis.example", "write embedded"},
        {"redis.example:", "write embedded"},
        {":6379", "write embedded"},
        {"h:0", "write embedded"},
        {"h:65536", "write embedded"},
        {"h:6379x", "write embedded"},
        {"::1:6379", "[::1]:6379"},
        {"[::1]", "[::1]:6379"},
        {"[::1", "[::1]:6379"},
        {"[]:6379", "[::1]:6379"},
        {"user:hunter2@h:6379", "write embedded"},
        {"unix:", "unix:/run/redis.sock"},
        {"redis://", "redis://HOST:PORT"},
        {"redis://h:0", "redis://HOST:PORT"},
        {"redis://:hunter2@h:6379", "redis_password_file"},
        {"redis://user:hunter2@h:6379/1", "redis_user"},
        {"redis://h:6379/1", "database 0"},
        {"redis://h:6379?db=1", "database 0"},
        {"rediss://h:6379", "tunnel"},
        {"http://h:6379", "write embedded"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char error[512] = "";
        cr_expect_eq(ledger_redis_validate(cases[i].text, error, sizeof(error)), -22, "%s",
                     cases[i].text);
        cr_expect_not_null(strstr(error, cases[i].cure), "%s: %s", cases[i].text, error);
        cr_expect_null(strstr(error, "hunter2"), "%s", error);
    }
    char path[200] = "unix:/", error[512];
    memset(path + 6, 'a', 107);
    cr_expect_eq(ledger_redis_validate(path, error, sizeof(error)), -22, "a path too long");
    path[5 + 107] = '\0';
    cr_expect_eq(ledger_redis_validate(path, error, sizeof(error)), 0, "%s", error);
}

Test(ledger_where, learns_nothing_of_an_address_that_is_not_in_force_any_more)
{
    struct ledger_redis_address first, second;
    struct where *where = NULL;
    char error[512];
    cr_assert_eq(where_create(&where, "127.0.0.1:6379"), 0);
    cr_assert_eq(where_get(where, 0, &first, error, sizeof(error)), 0);
    cr_expect_not(where_failed(where, first.number, false), "there is no other");
    cr_assert_eq(where_get(where, 0, &second, error, sizeof(error)), 0);
    cr_expect_neq(first.number, second.number);
    cr_expect_not(where_failed(where, first.number, false), "there is still no other");
    cr_assert_eq(where_get(where, 0, &first, error, sizeof(error)), 0);
    cr_expect_eq(first.number, second.number);
    where_destroy(&where);
}
