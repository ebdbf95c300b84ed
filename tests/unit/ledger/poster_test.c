/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster's step, called from one thread, with a Redis that the test plays: what it asks of a new
 * connection, how a watermark or a post that was refused moves it, and what is left when
 * the connection ends in the middle.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/where_internal.h"
#include "tests/unit/ledger/poster_play.h"

TestSuite(ledger_poster, .init = setup, .fini = teardown, .timeout = 30);

/* ---- a new connection ---- */

Test(ledger_poster, a_redis_that_lacks_the_library_gets_it_before_the_lease_is_asked_for)
{
    step();
    script_accept(&world.poster);
    step();
    answer("INFO", INFO);
    answer("FCALL tollgate_version 0", "-ERR Function not found\r\n");
    answer("FUNCTION LIST", "*0\r\n");
    cr_assert_eq(step(), UINT64_MAX, "only Redis moves it now");
    answer("FUNCTION LOAD REPLACE", "$8\r\ntollgate\r\n");
    step();
    answer("FCALL tollgate_name", ":0\r\n");
    expect("FCALL tollgate_lease");
}

Test(ledger_poster, a_replica_is_left_with_the_cause_and_tried_again_later)
{
    static const char info[] = "$86\r\nrun_id:1111111111\r\nmaster_replid:2222222222\r\n"
                               "maxmemory_policy:noeviction\r\nrole:slave\r\n\r\n";
    char text[LEDGER_TEXT_MAX];
    world.now_ms += POSTER_PATIENCE_MS;
    step();
    script_accept(&world.poster);
    step();
    answer("INFO", info);
    answer("FCALL", ":1\r\n");
    answer("FUNCTION", "*0\r\n");
    uint64_t next = step();
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert(next > world.now_ms && next <= world.now_ms + LEDGER_REDIS_BACKOFF_LEAST_MS);
    ledger_state_text(world.ledger, text, sizeof(text));
    cr_assert(strstr(text, "is a replica") != NULL, "%s", text);
    cr_assert_eq(world_said(&world, "is a replica"), 1);
}

Test(ledger_poster, a_redis_that_came_into_force_is_tried_at_once_and_the_other_is_left)
{
    struct ledger_redis_address other = {.host = "/elsewhere"};
    connect_ready();
    uint64_t before = ledger_redis_served(world.ledger);
    cr_assert_gt(before, 0);
    where_put(world.ledger->where, &other, "");
    cr_assert_eq(ledger_redis_served(world.ledger), 0, "grants are asked for nowhere meanwhile");
    step();
    cr_assert_eq(world.poster.opens, 2);
    cr_assert_eq(world.poster.closes, 1);
    cr_assert_eq(world_said(&world, "keeps trying"), 0, "nothing failed");
    connect_with(OTHER_INFO);
    cr_assert_gt(where_lead(world.ledger->where, before + 1, "3333333333"), before);
}

/* ---- watermarks ---- */

Test(ledger_poster, a_watermark_behind_the_journal_has_only_the_missing_records_posted)
{
    deliver("alice", 100);
    deliver("alice", 20);
    deliver("bob", 3);
    open_again();
    connect_ready();
    answer("HGET tg:{shop/", "$1\r\n1\r\n");
    answer("HGET tg:{shop/", "$1\r\n1\r\n");
    step();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
    cr_assert_eq(world.poster.count, 1, "bob has all");
    answer_post("alice", 0, 2);
    step();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
    cr_assert_eq(unposted(), 0);
    cr_assert_eq(atomic_load(&world.ledger->records_posted), 1);
}

Test(ledger_poster, a_watermark_ahead_of_the_journal_refuses_the_directory)
{
    char text[LEDGER_TEXT_MAX];
    deliver("alice", 100);
    connect_ready();
    /* What was journalled since the start was not sent yet, so Redis cannot have it. */
    answer("HGET tg:{shop/alice}:account w:", "$1\r\n9\r\n");
    step();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_REFUSED);
    ledger_state_text(world.ledger, text, sizeof(text));
    cr_assert(strstr(text, "older than Redis: of account shop/alice Redis has 9") != NULL, "%s",
              text);
    cr_assert_eq(state(), POSTER_DOWN);
}

Test(ledger_poster, more_accounts_than_a_page_are_asked_for_page_by_page)
{
    char name[16];
    for (unsigned i = 0; i < POSTER_PIPELINE + 1; i++) {
        snprintf(name, sizeof(name), "a%u", i);
        deliver(name, 1);
    }
    connect_ready();
    cr_assert_eq(world.poster.count, POSTER_PIPELINE);
    for (unsigned i = 0; i < POSTER_PIPELINE; i++)
        answer("HGET", "$-1\r\n");
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer_lease(RENEWED); /* it ran out between two pages */
    cr_assert_eq(world.poster.count, 1);
    answer("HGET", "$-1\r\n");
    step();
    cr_assert_eq(state(), POSTER_POSTING);
    cr_assert_eq(world.poster.count, POSTER_PIPELINE, "posts go out by pipelines, too");
}

/* ---- posts ---- */

Test(ledger_poster, a_connection_lost_within_a_pipeline_leaves_what_was_taken_and_asks_for_the_rest)
{
    connect_ready();
    deliver("alice", 100);
    deliver("bob", 3);
    step();
    cr_assert_eq(world.poster.count, 4,
                 "Redis learns of the records first, and is asked its time and its birth");
    answer_lease(RENEWED);
    cr_assert_eq(world.poster.count, 2);
    answer_post("alice", 0, 1);
    script_cut(&world.poster, "Redis at unix:/nowhere: Server closed the connection");
    uint64_t next = step();
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert_eq(world_said(&world, "Server closed the connection; the node keeps trying"), 1);
    cr_assert_gt(unposted(), 0);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY, "workers have their own connections");
    cr_assert_eq(step(), next, "it rests until then");
    world.now_ms = next;
    connect_ready();
    answer("HGET tg:{shop/", "$1\r\n1\r\n");
    answer("HGET tg:{shop/", "$1\r\n1\r\n"); /* Redis had taken it, and its answer was lost */
    step();
    cr_assert_str_eq(script_next(&world.poster), "", "nothing is posted twice");
    cr_assert_eq(unposted(), 0);
    cr_assert_eq(world_said(&world, "Redis takes posts again"), 1);
}

Test(ledger_poster, a_reply_that_never_came_is_not_taken_from_the_next_connection)
{
    connect_ready();
    deliver("alice", 100);
    step();
    answer_lease(RENEWED);
    expect("FCALL tollgate_post");
    script_cut(&world.poster, "Redis at unix:/nowhere: no answer within 5000 ms");
    world.now_ms = step();
    connect_with(OTHER_INFO);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
    answer_lease(TAKEN);
    answer("HGET", "$-1\r\n");
    step();
    answer_post("alice", 0, 1);
    step();
    cr_assert_eq(atomic_load(&world.ledger->posts_replayed), 1);
    cr_assert(is_current("3333333333"));
    cr_assert(ledger_redis_is_other(world.ledger, 1, "1111111111"));
    cr_assert(ledger_redis_is_other(world.ledger, ledger_redis_served(world.ledger), "1111111111"));
}

Test(ledger_poster, a_redis_that_refuses_posts_and_answers_other_watermarks_is_left_after_three)
{
    deliver("alice", 100);
    open_again();
    connect_ready();
    for (unsigned i = 0; i <= POSTER_RESYNCS_MAX; i++) {
        answer("HGET", "$-1\r\n");
        step();
        cr_assert_eq(state(), POSTER_POSTING);
        answer_post("alice", 1, 0);
        step();
    }
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert_eq(world.poster.opens, 1);
    cr_assert_eq(world_said(&world, "are not those that it stores"), 1);
}

/* ---- notices ---- */

Test(ledger_poster, notices_are_sent_together_and_those_without_an_answer_are_lost)
{
    struct ledger_account *account;
    struct ledger_stats stats;
    const struct ledger_notice notice = {
        .kind = LEDGER_COMPLETED, .account = "alice", .file = "/f", .jti = "j"};
    connect_ready();
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &account), 0);
    ledger_notify(world.ledger, account, &notice);
    ledger_notify(world.ledger, account, &notice);
    step();
    cr_assert_eq(world.poster.count, 2);
    answer("XADD tg:notices:shop", "$3\r\n1-0\r\n");
    ledger_notify(world.ledger, account, &notice);
    step();
    cr_assert_eq(world.poster.count, 1, "one batch of them is under way at a time");
    script_cut(&world.poster, "");
    step();
    ledger_stats(world.ledger, &stats);
    cr_assert_eq(stats.notices_lost, 1, "the third waits in the queue");
    ledger_account_drop(&account);
}

/* ---- the end ---- */

Test(ledger_poster, the_end_gives_the_lease_back_once_all_is_posted)
{
    connect_ready();
    deliver("alice", 100);
    step();
    poster_end(world.ledger, world.now_ms + 5000);
    answer_lease(RENEWED);
    answer_post("alice", 0, 1);
    cr_assert_neq(step(), 0);
    cr_assert_eq(state(), POSTER_ENDING);
    answer("FCALL tollgate_lease_release 1 tg:lease:{", ":1\r\n");
    cr_assert_eq(step(), 0);
}

Test(ledger_poster, the_deadline_gives_the_lease_back_behind_what_is_unanswered_and_then_cuts)
{
    connect_ready();
    deliver("alice", 100);
    step();
    answer_lease(RENEWED);
    expect("FCALL tollgate_post");
    poster_end(world.ledger, world.now_ms + 100);
    cr_assert_eq(step(), world.now_ms + 100);
    world.now_ms += 100;
    cr_assert_eq(step(), world.now_ms + POSTER_GRACE_MS);
    cr_assert_eq(world.poster.count, 2);
    answer_post("alice", 0, 1); /* what comes late counts */
    expect("FCALL tollgate_lease_release");
    world.now_ms += POSTER_GRACE_MS;
    cr_assert_eq(step(), 0);
    cr_assert(!world.poster.is_open);
    cr_assert_eq(ledger_close(&world.ledger, 0), 0, "nothing stayed unposted");
}
