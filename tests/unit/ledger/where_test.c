/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Redis is: which addresses are understood, and which one is in force after a failure.
 * tests/faults/redis_test.c tries names that change and resolvers that hang.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/where.h"
#include "storage/ledger/where_name.h"

static struct ledger_redis_address address_of(const char *text)
{
    struct ledger_redis_address address = {0};
    struct where *where = NULL;
    char error[512] = "";
    const struct ledger_options options = {.redis = text};
    cr_assert_eq(where_create(&where, &options), 0, "%s", text);
    cr_assert_eq(where_get(where, &address, error, sizeof(error)), 0, "%s", error);
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
        {"sentinel:", "sentinel:mymaster@10.0.0.1:26379"},
        {"sentinel:10.0.0.1:26379", "sentinel:mymaster@10.0.0.1:26379"},
        {"sentinel:@10.0.0.1:26379", "sentinel:mymaster@10.0.0.1:26379"},
        {"sentinel:my master@10.0.0.1:26379", "sentinel:mymaster@10.0.0.1:26379"},
        {"sentinel:m@", "HOST:PORT for each"},
        {"sentinel:m@10.0.0.1:26379,", "HOST:PORT for each"},
        {"sentinel:m@10.0.0.1:26379,,10.0.0.2:26379", "HOST:PORT for each"},
        {"sentinel:m@10.0.0.1:0", "HOST:PORT for each"},
        {"sentinel:m@user:hunter2@10.0.0.1:26379", "HOST:PORT for each"},
        {"sentinel:m@h,h,h,h,h,h,h,h,h,h,h,h,h,h,h,h,h", "at most 16"},
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

Test(ledger_where, understands_where_sentinels_are)
{
    struct where_name name;
    char error[512] = "";
    cr_assert_eq(where_name_parse(&name, "sentinel:my-master@10.0.0.1:26380,[::1]:26381,s3.example",
                                  error, sizeof(error)),
                 0, "%s", error);
    cr_expect_str_eq(name.master, "my-master");
    cr_assert_eq(name.count, 3);
    cr_expect_str_eq(name.at[0].host, "10.0.0.1");
    cr_expect_eq(name.at[0].port, 26380);
    cr_expect_str_eq(name.at[1].host, "::1");
    cr_expect_eq(name.at[1].port, 26381);
    cr_expect_str_eq(name.at[2].host, "s3.example");
    cr_expect_eq(name.at[2].port, 26379, "Sentinel's own");
}

Test(ledger_where, moves_the_generation_with_another_address_and_with_another_server_alone)
{
    static const struct ledger_options options = {.redis = "127.0.0.1:6379"};
    struct ledger_redis_address address;
    struct where *where = NULL;
    char error[512];
    cr_assert_eq(where_create(&where, &options), 0);
    cr_assert_eq(where_get(where, &address, error, sizeof(error)), 0);
    cr_expect_eq(where_lead(where, address.generation, "a"), address.generation, "the first one");
    where_serve(where, address.generation);
    where_failed(where, address.generation);
    cr_expect_eq(where_served(where), address.generation, "a failure alone moves nothing");
    cr_expect_not(where_is_other(where, address.generation, "a"));
    cr_expect(where_is_other(where, address.generation, "b"), "another server answers there");

    uint64_t next = where_lead(where, address.generation, "b");
    cr_expect_gt(next, address.generation);
    cr_expect_eq(where_served(where), 0, "the journal has not been replayed to it");
    cr_expect_eq(where_lead(where, address.generation, "b"), 0, "an older connection leads nobody");
    cr_expect(where_is_other(where, address.generation, "b"));
    where_serve(where, address.generation);
    cr_expect_eq(where_served(where), 0, "an older replay serves nobody");
    where_serve(where, next);
    cr_expect(where_is_current(where, next, "b"));
    cr_expect_not(where_is_current(where, next, "a"));
    where_destroy(&where);
}
