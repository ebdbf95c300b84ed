/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of several Sentinels counts, and what they may say: three of them and two masters are played
 * on real sockets. tests/faults/sentinel_test.c has real ones.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "storage/ledger/where.h"
#include "tests/unit/ledger/player.h"

#define SENTINELS  3
#define WAIT_MS    15000
#define ERROR_SIZE 512

struct cast {
    struct player sentinels[SENTINELS], masters[2];
    char name[128];
    struct ledger_options options;
    struct where *where; /* owns */
};

static struct cast cast;

/* The Sentinels name the first master, with the given epochs. */
static void begin(const uint64_t epochs[SENTINELS])
{
    for (unsigned i = 0; i < 2; i++)
        player_start(&cast.masters[i]);
    for (unsigned i = 0; i < SENTINELS; i++) {
        cast.sentinels[i].master_port = cast.masters[0].port;
        cast.sentinels[i].epoch = epochs[i];
        player_start(&cast.sentinels[i]);
    }
    snprintf(cast.name, sizeof(cast.name),
             "sentinel:tollgate@127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", cast.sentinels[0].port,
             cast.sentinels[1].port, cast.sentinels[2].port);
    cast.options.redis = cast.name;
}

static void begin_with_passwords(void)
{
    begin((uint64_t[]){1, 1, 1});
    for (unsigned i = 0; i < SENTINELS; i++)
        cast.sentinels[i].password = "of-sentinels";
}

static void watch(void)
{
    cr_assert_eq(where_create(&cast.where, &cast.options), 0);
    cr_assert_eq(where_watch(cast.where), 0);
}

static void end(void)
{
    where_destroy(&cast.where);
    for (unsigned i = 0; i < SENTINELS; i++)
        player_stop(&cast.sentinels[i]);
    for (unsigned i = 0; i < 2; i++)
        player_stop(&cast.masters[i]);
}

static void await_master(int port)
{
    struct ledger_redis_address address = {0};
    char error[ERROR_SIZE] = "";
    uint64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (where_get(cast.where, &address, error, sizeof(error)) != 0 || address.port != port) {
        cr_assert_lt(clock_monotonic_ms(), until_ms, "port %d is in force, not %d: %s",
                     address.port, port, error);
        usleep(2000);
    }
}

static void await_asked(struct player *player, unsigned times)
{
    uint64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    unsigned from = player_asked(player);
    while (player_asked(player) < from + times) {
        cr_assert_lt(clock_monotonic_ms(), until_ms, "it is not asked");
        usleep(2000);
    }
}

/* Waits until where_get fails with these words. */
static void await_error(const char *words)
{
    struct ledger_redis_address address;
    char error[ERROR_SIZE] = "";
    uint64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (where_get(cast.where, &address, error, sizeof(error)) == 0 ||
           strstr(error, words) == NULL) {
        cr_assert_lt(clock_monotonic_ms(), until_ms, "\"%s\" lacks \"%s\"", error, words);
        usleep(2000);
    }
}

Test(ledger_sentinel, with_the_highest_epoch_counts_against_the_others)
{
    begin((uint64_t[]){1, 2, 1});
    cast.sentinels[1].master_port = cast.masters[1].port;
    watch();
    await_master(cast.masters[1].port);
    await_asked(&cast.sentinels[0], 2);
    await_asked(&cast.sentinels[2], 2);
    await_master(cast.masters[1].port);
    end();
}

Test(ledger_sentinel, alone_with_a_lower_epoch_moves_nobody)
{
    begin((uint64_t[]){5, 5, 5});
    watch();
    await_master(cast.masters[0].port);
    player_silence(&cast.sentinels[0]);
    player_silence(&cast.sentinels[1]);
    player_name(&cast.sentinels[2], cast.masters[1].port, 4, true);
    await_asked(&cast.sentinels[2], 6); /* by then nothing counts that the others said */
    await_master(cast.masters[0].port);
    end();
}

Test(ledger_sentinel, s_most_of_which_were_set_up_again_count_with_lower_epochs)
{
    begin((uint64_t[]){5, 5, 5});
    watch();
    await_master(cast.masters[0].port);
    player_silence(&cast.sentinels[0]);
    player_name(&cast.sentinels[1], cast.masters[1].port, 1, false);
    player_name(&cast.sentinels[2], cast.masters[1].port, 1, false);
    await_master(cast.masters[1].port);
    end();
}

Test(ledger_sentinel, that_publishes_another_master_is_followed)
{
    begin((uint64_t[]){1, 1, 1});
    watch();
    await_master(cast.masters[0].port);
    uint64_t generation = where_generation(cast.where);
    player_name(&cast.sentinels[2], cast.masters[1].port, 2, true);
    await_master(cast.masters[1].port);
    cr_expect_gt(where_generation(cast.where), generation);
    end();
}

Test(ledger_sentinel, that_names_a_replica_puts_nothing_into_force)
{
    begin((uint64_t[]){1, 1, 1});
    cast.masters[0].is_replica = true;
    watch();
    await_error("is a replica");
    player_name(&cast.sentinels[0], cast.masters[1].port, 2, true);
    await_master(cast.masters[1].port);
    end();
}

Test(ledger_sentinel, is_told_its_own_password_and_never_that_of_Redis)
{
    begin_with_passwords();
    for (unsigned i = 0; i < 2; i++)
        cast.masters[i].password = "of-redis";
    cast.options.redis_password = "of-redis";
    cast.options.redis_sentinel_password = "of-sentinels";
    watch();
    await_master(cast.masters[0].port);
    end();
}

Test(ledger_sentinel, that_refuses_the_password_is_named_and_the_password_is_not)
{
    static const char named[] = "the Sentinel 127.0.0.1:";
    struct ledger_redis_address address;
    char error[ERROR_SIZE];
    begin_with_passwords();
    cast.options.redis_sentinel_password = "of-somebody-else";
    watch();
    await_error("WRONGPASS");
    cr_assert_neq(where_get(cast.where, &address, error, sizeof(error)), 0);
    /* Whichever of the three answered last. */
    cr_expect_eq(strncmp(error, named, strlen(named)), 0, "%s", error);
    cr_expect_not_null(strstr(error, "sentinel_password_file"), "%s", error);
    cr_expect_null(strstr(error, "of-some"), "%s", error);
    end();
}

Test(ledger_sentinel, that_wants_a_password_is_named_with_the_key_that_gives_it)
{
    begin_with_passwords();
    watch();
    await_error("name the file that holds it in sentinel_password_file");
    end();
}

Test(ledger_sentinel, that_answers_nonsense_is_survived_and_named)
{
    static const char *const replies[] = {
        ":1\r\n",
        "*-1\r\n",
        "$-1\r\n",
        "$3\r\nabc\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "*2\r\n$-1\r\n$-1\r\n",
        "*2\r\n*0\r\n*1\r\n:1\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n65536\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$2\r\n-1\r\n",
        "*2\r\n$9\r\n127.0.0.1\r\n$3\r\nabc\r\n",
        "*2\r\n$12\r\nconfig-epoch\r\n:1\r\n",
        "-ERR No such master with that name\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        "hello\r\n",
    };
    begin((uint64_t[]){1, 1, 1});
    for (unsigned i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        struct ledger_redis_address address;
        char error[ERROR_SIZE];
        for (unsigned j = 0; j < SENTINELS; j++)
            cast.sentinels[j].always = replies[i];
        watch();
        await_error("the Sentinel 127.0.0.1:");
        cr_expect_neq(where_get(cast.where, &address, error, sizeof(error)), 0, "%s", replies[i]);
        where_destroy(&cast.where);
    }
    for (unsigned j = 0; j < SENTINELS; j++)
        cast.sentinels[j].always = NULL;
    watch();
    await_master(cast.masters[0].port);
    end();
}
