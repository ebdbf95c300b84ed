/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poster's step, called from one thread, with a Redis that the test plays: what it asks of a new
 * connection, how a lease, a watermark or a post that was refused moves it, and what is left when
 * the connection ends in the middle.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/poster_internal.h"
#include "tests/unit/ledger/world.h"

#define INFO_OF(run)                                                                               \
    "$74\r\nrun_id:" run "\r\nmaster_replid:2222222222\r\nmaxmemory_policy:noeviction\r\n\r\n"
#define INFO       INFO_OF("1111111111")
#define OTHER_INFO INFO_OF("3333333333")

static struct world world;

static void setup(void)
{
    world_start(&world);
    world.options.segment_bytes = (uint64_t)1 << 20;
    world.options.downloads_max = 8;
    world_open(&world);
}

static void teardown(void)
{
    world_end(&world);
}

TestSuite(ledger_poster, .init = setup, .fini = teardown, .timeout = 30);

/* ---- the play ---- */

static uint64_t step(void)
{
    return poster_step(world.ledger);
}

static enum poster_state state(void)
{
    return world.ledger->poster->state;
}

static void expect(const char *begin)
{
    const char *command = script_next(&world.poster);
    cr_assert(strncmp(command, begin, strlen(begin)) == 0, "not %s, but %s", begin, command);
}

static void answer(const char *begin, const char *protocol)
{
    expect(begin);
    script_answer(&world.poster, protocol);
}

/* Up to the question for the lease. */
static void connect_with(const char *info)
{
    char version[24];
    snprintf(version, sizeof(version), ":%d\r\n", LEDGER_FUNCTIONS_FORMAT + 1);
    step();
    cr_assert_eq(state(), POSTER_CONNECTING);
    script_accept(&world.poster);
    step();
    answer("INFO", info);
    answer("FCALL tollgate_version 0", version);
    answer("FUNCTION LIST LIBRARYNAME tollgate WITHCODE", "*0\r\n");
    step();
}

static void answer_lease(long long code, long long was_held)
{
    char protocol[64];
    snprintf(protocol, sizeof(protocol), "*4\r\n:%lld\r\n:50\r\n:100\r\n:%lld\r\n", code, was_held);
    answer("FCALL tollgate_lease 1 tg:node:{node-1}", protocol);
    answer("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n500000\r\n");
    step();
}

/* Up to the first question behind the lease. */
static void connect_ready(void)
{
    connect_with(INFO);
    answer_lease(0, 0);
}

/* Journals one mark of shop/NAME. */
static void deliver(const char *name, uint64_t bytes)
{
    struct ledger_account *account;
    struct ledger_file *file;
    struct ledger_download *download;
    cr_assert_eq(ledger_account_get(world.ledger, "shop", name, strlen(name), &account), 0);
    cr_assert_eq(ledger_file_get(world.ledger, "/f", 2, &file), 0);
    cr_assert_eq(ledger_download_open(world.ledger, account, file, &download), 0);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    ledger_download_add(download, bytes, 1);
    ledger_download_close(&download);
    writer_step(world.ledger);
}

/* Another run of the node: what is in the journal may be in Redis. */
static void open_again(void)
{
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
    world_open(&world);
}

static uint64_t unposted(void)
{
    return atomic_load(&world.ledger->journal.durable_records) - ledger_posted(world.ledger);
}

/* Takes the post of shop/NAME up to this sequence, or says where the account stands instead. */
static void answer_post(const char *name, unsigned code, unsigned to)
{
    char begin[64], protocol[64];
    snprintf(begin, sizeof(begin), "FCALL tollgate_post 3 tg:{shop/%s}:account", name);
    snprintf(protocol, sizeof(protocol), "*4\r\n:%u\r\n:%u\r\n:0\r\n:0\r\n", code, to);
    answer(begin, protocol);
}

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
    cr_assert_eq(world.poster.failures, 1);
    cr_assert_eq(world.poster.failures_reached, 0);
    ledger_state_text(world.ledger, text, sizeof(text));
    cr_assert(strstr(text, "is a replica") != NULL, "%s", text);
    cr_assert_eq(world_said(&world, "is a replica"), 1);
}

Test(ledger_poster, another_address_of_the_name_is_tried_at_once)
{
    step();
    world.poster.has_another = true;
    script_cut(&world.poster, "Connection refused");
    step();
    cr_assert_eq(world.poster.opens, 2);
    world.poster.has_another = false;
    script_cut(&world.poster, "Connection refused");
    cr_assert_gt(step(), world.now_ms);
    cr_assert_eq(world.poster.opens, 2);
}

/* ---- the clock of Redis ---- */

/* Redis says that it is WORLD_EPOCH_MS and half a second, in the middle of a round trip of 40 ms. */
Test(ledger_poster, the_clock_of_redis_is_known_from_the_lease_on_and_goes_on_by_itself)
{
    int64_t time_ms;
    connect_with(INFO);
    cr_assert(!ledger_redis_time(world.ledger, &time_ms));
    cr_assert_eq(time_ms, (int64_t)world.clock.real_ms(world.clock.self));
    cr_assert_eq(ledger_clock_ahead_ms(world.ledger), LEDGER_CLOCK_UNKNOWN);
    world.now_ms += 40;
    answer_lease(0, 0);
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

Test(ledger_poster, a_reply_to_time_that_is_none_leaves_the_clock_of_redis_as_it_was)
{
    connect_with(INFO);
    answer("FCALL tollgate_lease", "*4\r\n:0\r\n:50\r\n:100\r\n:0\r\n");
    answer("TIME", "-NOPERM this user has no permissions to run the 'time' command\r\n");
    step();
    cr_assert_eq(ledger_clock_ahead_ms(world.ledger), LEDGER_CLOCK_UNKNOWN);
    cr_assert_eq(state(), POSTER_RESTING);
}

/* ---- the lease ---- */

Test(ledger_poster, a_lease_that_another_holds_is_waited_for_and_then_taken)
{
    connect_with(INFO);
    answer_lease(2, 0); /* an earlier process, for 50 ms */
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
    cr_assert_eq(step(), world.now_ms + 51);
    world.now_ms += 51;
    connect_ready();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
    cr_assert_eq(state(), POSTER_RESTING);
    cr_assert(world.poster.is_introduced);
}

Test(ledger_poster, a_lease_of_another_instance_refuses_the_node_until_it_is_gone)
{
    connect_with(INFO);
    answer_lease(1, 0);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_REFUSED);
    cr_assert_eq(world_said(&world, "belongs to another instance"), 1);
    world.now_ms = step();
    connect_with(INFO);
    answer_lease(1, 0);
    cr_assert_eq(world_said(&world, "belongs to another instance"), 1, "it is told once");
    world.now_ms = step();
    connect_ready();
    cr_assert_eq(ledger_state(world.ledger), LEDGER_READY);
}

Test(ledger_poster, the_lease_is_renewed_after_a_third_of_its_time)
{
    connect_ready();
    cr_assert_eq(step(), world.now_ms + world.options.lease_ms / 3);
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer_lease(0, 1);
    cr_assert_eq(state(), POSTER_RESTING);
    cr_assert_str_eq(script_next(&world.poster), "");
}

Test(ledger_poster, a_lease_that_redis_forgot_has_the_watermarks_asked_for_again)
{
    deliver("alice", 100);
    open_again();
    connect_ready();
    answer("HGET tg:{shop/alice}:account w:", "$1\r\n1\r\n");
    step();
    cr_assert_eq(state(), POSTER_RESTING);
    world.now_ms += world.options.lease_ms / 3;
    step();
    answer_lease(0, 0);
    answer("HGET tg:{shop/alice}:account w:", "$-1\r\n");
    step();
    cr_assert_eq(world_said(&world, "every record of the journal is in Redis"), 1);
    cr_assert(!ledger_redis_is_current(world.ledger, "1111111111"), "it lost what it had");
    answer_post("alice", 0, 1);
    step();
    cr_assert(ledger_redis_is_current(world.ledger, "1111111111"));
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
    answer_lease(0, 1); /* it ran out between two pages */
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
    cr_assert_eq(world.poster.count, 2, "Redis learns of the records first, and is asked its time");
    answer_lease(0, 1);
    cr_assert_eq(world.poster.count, 2);
    answer_post("alice", 0, 1);
    script_cut(&world.poster, "Redis at unix:/nowhere: Server closed the connection");
    uint64_t next = step();
    cr_assert_eq(state(), POSTER_DOWN);
    cr_assert_eq(world.poster.failures_reached, 1);
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
    answer_lease(0, 1);
    expect("FCALL tollgate_post");
    script_cut(&world.poster, "Redis at unix:/nowhere: no answer within 5000 ms");
    world.now_ms = step();
    connect_with(OTHER_INFO);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_CATCHING_UP);
    answer_lease(0, 0);
    answer("HGET", "$-1\r\n");
    step();
    answer_post("alice", 0, 1);
    step();
    cr_assert_eq(atomic_load(&world.ledger->posts_replayed), 1);
    cr_assert(ledger_redis_is_current(world.ledger, "3333333333"));
    cr_assert(ledger_redis_is_other(world.ledger, "1111111111"));
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
    answer_lease(0, 1);
    answer_post("alice", 0, 1);
    cr_assert_neq(step(), 0);
    cr_assert_eq(state(), POSTER_ENDING);
    answer("FCALL tollgate_lease_release 1 tg:node:{node-1}", ":1\r\n");
    cr_assert_eq(step(), 0);
}

Test(ledger_poster, the_deadline_gives_the_lease_back_behind_what_is_unanswered_and_then_cuts)
{
    connect_ready();
    deliver("alice", 100);
    step();
    answer_lease(0, 1);
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
