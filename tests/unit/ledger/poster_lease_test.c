/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster and its lease, with a Redis that the test plays: how the name, the lease and its number
 * are taken, waited for, renewed and lost, and what Redis' clock is meanwhile.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ledger/poster_play.h"

TestSuite(ledger_poster_lease, .init = setup, .fini = teardown, .timeout = 30);

/* ---- the clock of Redis ---- */

/* Redis says that it is WORLD_EPOCH_MS and half a second, in the middle of a round trip of 40 ms. */
Test(ledger_poster_lease, the_clock_of_redis_is_known_from_the_lease_on_and_goes_on_by_itself)
{
    int64_t time_ms;
    connect_with(INFO);
    cr_assert(!ledger_redis_time(world.ledger, &time_ms));
    cr_assert_eq(time_ms, (int64_t)world.clock.real_ms(world.clock.self));
    cr_assert_eq(ledger_clock_ahead_ms(world.ledger), LEDGER_CLOCK_UNKNOWN);
    world.now_ms += 40;
    answer_lease(TAKEN);
    cr_assert(ledger_redis_time(world.ledger, &time_ms));
    cr_assert_eq(time_ms, (int64_t)WORLD_EPOCH_MS + 520);
    cr_assert_eq(ledger_clock_ahead_ms(world.ledger), -480);
    world.now_ms += 1000;
    cr_assert(ledger_redis_time(world.ledger, &time_ms));
    cr_assert_eq(time_ms, (int64_t)WORLD_EPOCH_MS + 1520);
    world.clock_step_ms = 86400000; /* somebody sets this machine's clock */
    cr_assert_eq(ledger_clock_ahead_ms(world.ledger), 86400000 - 480);
    cr_assert(ledger_redis_time(world.ledger, &time_ms));
    cr_assert_eq(time_ms, (int64_t)WORLD_EPOCH_MS + 1520);
}

Test(ledger_poster_lease, a_reply_to_time_that_is_none_leaves_the_clock_of_redis_as_it_was)
{
    connect_with(INFO);
    answer("FCALL tollgate_name", ":0\r\n");
    answer("FCALL tollgate_lease", "*4\r\n:1\r\n:50\r\n:100\r\n:1\r\n");
    answer("TIME", "-NOPERM this user has no permissions to run the 'time' command\r\n");
    answer("FCALL tollgate_birth", BIRTH);
    step();
    cr_assert_eq(ledger_clock_ahead_ms(world.ledger), LEDGER_CLOCK_UNKNOWN);
    cr_assert_eq(state(), POSTER_RESTING);
}

/* ---- the lease ---- */

Test(ledger_poster_lease, a_lease_that_another_holds_is_waited_for_and_then_taken)
{
    connect_with(INFO);
    uint64_t begun_ms = world.now_ms;
    answer_lease(ANOTHERS);
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
    while (world.now_ms < begun_ms + world.options.lease_ms) {
        world.now_ms = step();
        connect_with(INFO);
        answer("FCALL tollgate_name", ":0\r\n");
        const char *ask = script_next(&world.poster);
        bool is_over = world.now_ms >= begun_ms + world.options.lease_ms;
        char part[40];
        snprintf(part, sizeof(part), "%s %" PRIu64 " ", is_over ? " 0 100" : " 100 0", begun_ms);
        cr_assert_not_null(strstr(ask, part), "after %d ms: %s", (int)(world.now_ms - begun_ms),
                           ask);
        script_answer(&world.poster, is_over ? "*4\r\n:1\r\n:50\r\n:200\r\n:8\r\n"
                                             : "*4\r\n:2\r\n:50\r\n:100\r\n:7\r\n");
        answer_time();
        step();
    }
    cr_assert_eq(ledger_lease_number(world.ledger), 8);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
    cr_assert_eq(state(), POSTER_RESTING);
    cr_assert(world.poster.is_introduced);
}

Test(ledger_poster_lease, a_lease_that_is_renewed_meanwhile_refuses_the_node_until_nobody_renews_it)
{
    connect_with(INFO);
    answer_lease_with(ANOTHERS, 100, 7);
    world.now_ms = step();
    connect_with(INFO);
    answer_lease_with(ANOTHERS, 150, 7);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_REFUSED);
    cr_assert_eq(world_said(&world, "with a copy of the state directory"), 1);
    world.now_ms = step();
    connect_with(INFO);
    answer_lease_with(ANOTHERS, 150, 7);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_REFUSED, "it may be renewed again");
    world.now_ms += world.options.lease_ms;
    step();
    connect_ready();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
}

static void refuse_name(void)
{
    answer("FCALL tollgate_name", ":1\r\n");
    answer("FCALL tollgate_lease", "*4\r\n:1\r\n:50\r\n:100\r\n:1\r\n");
    answer_time();
    step();
}

Test(ledger_poster_lease, a_name_of_another_directory_refuses_the_node_until_it_is_gone)
{
    connect_with(INFO);
    refuse_name();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_REFUSED);
    cr_assert_eq(world_said(&world, "belongs to another state directory"), 1);
    world.now_ms = step();
    connect_with(INFO);
    refuse_name();
    cr_assert_eq(world_said(&world, "belongs to another state directory"), 1, "it is told once");
    world.now_ms = step();
    connect_ready();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_poster_lease, the_lease_is_renewed_after_a_third_of_its_time)
{
    connect_ready();
    cr_assert_eq(step(), world.now_ms + world.options.lease_ms / 3);
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer_lease(RENEWED);
    cr_assert_eq(state(), POSTER_RESTING);
    cr_assert_str_eq(script_next(&world.poster), "");
}

Test(ledger_poster_lease, a_lease_that_redis_forgot_has_the_watermarks_asked_for_again)
{
    deliver("alice", 100);
    open_again();
    connect_ready();
    answer("HGET tg:{shop/alice}:account w:", "$1\r\n1\r\n");
    step();
    cr_assert_eq(state(), POSTER_RESTING);
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer_lease(TAKEN);
    answer("HGET tg:{shop/alice}:account w:", "$-1\r\n");
    step();
    cr_assert_eq(world_said(&world, "every record of the journal is in Redis"), 1);
    cr_assert_eq(ledger_redis_served(world.ledger), 0, "it lost what it had");
    answer_post("alice", 0, 1);
    step();
    cr_assert(is_current("1111111111"));
}

Test(ledger_poster_lease, a_post_that_is_refused_for_a_later_lease_has_the_lease_taken_anew)
{
    connect_ready();
    deliver("alice", 100);
    step();
    answer_lease(RENEWED);
    answer_post("alice", 2, 9); /* a lease of number 9 has asked or posted */
    step();
    answer("FCALL tollgate_name", ":0\r\n");
    const char *ask = script_next(&world.poster);
    cr_assert_not_null(strstr(ask, "} 2 9 "), "it holds 2, and wants one above 9: %s", ask);
    script_answer(&world.poster, "*4\r\n:1\r\n:50\r\n:100\r\n:10\r\n");
    answer_time();
    world.now_ms = step();
    cr_assert_eq(ledger_lease_number(world.ledger), 10);
    connect_with(INFO);
    answer_lease_with(RENEWED, 100, 10);
    answer("HGET tg:{shop/alice}:account w:", "$-1\r\n");
    step();
    const char *post = script_next(&world.poster);
    cr_assert_not_null(strstr(post, " 10 1 1 usage"), "%s", post);
}
