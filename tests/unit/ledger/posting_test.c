/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from a worker's counter to Redis, with a real redis-server: acknowledged bytes arrive
 * once, in the right account, file and sum, even if either side restarts or Redis loses its data.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "tests/unit/ledger/fixture.h"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_posting, .init = setup, .fini = teardown, .timeout = 120);

struct row_list {
    struct ledger_usage_row rows[16];
    char files[16][64];
    size_t count;
};

static int take_row(void *context, const struct ledger_usage_row *row)
{
    struct row_list *list = context;
    cr_assert(list->count < 16);
    list->rows[list->count] = *row;
    snprintf(list->files[list->count++], 64, "%s", row->file);
    return 0;
}

static uint32_t today(void)
{
    time_t now = (time_t)(clock_real_ms() / 1000);
    struct tm date;
    gmtime_r(&now, &date);
    return (uint32_t)((date.tm_year + 1900) * 10000 + (date.tm_mon + 1) * 100 + date.tm_mday);
}

/* The day before, so that a test that runs over midnight asks for both days. */
static uint32_t yesterday(void)
{
    time_t then = (time_t)(clock_real_ms() / 1000) - 86400;
    struct tm date;
    gmtime_r(&then, &date);
    return (uint32_t)((date.tm_year + 1900) * 10000 + (date.tm_mon + 1) * 100 + date.tm_mday);
}

Test(ledger_posting, brings_bytes_to_account_and_file)
{
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "alice", 1000, "t1", NULL), 0);
    fixture_deliver(&fx, "alice", "/a.mp3", 100);
    fixture_deliver(&fx, "alice", "/b.mp3", 30);
    fixture_deliver(&fx, "alice", "/a.mp3", 7);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    struct ledger_account_view view;
    cr_assert_eq(ledger_account_show(fx.ledger, "shop", "alice", &view), 0);
    cr_assert(view.exists);
    cr_assert_eq(view.plan, LEDGER_PREPAID);
    cr_assert_eq(view.status, LEDGER_ACTIVE);
    cr_assert_eq(view.balance, 1000 - 137);
    cr_assert_eq(view.used, 137);
    struct row_list list = {.count = 0};
    const struct ledger_usage_ask ask = {.issuer = "shop",
                                         .account = "alice",
                                         .from = yesterday(),
                                         .to = today(),
                                         .rows_max = 100,
                                         .cursor = ""};
    struct ledger_usage_page page = {.row = take_row, .context = &list};
    cr_assert_eq(ledger_usage(fx.ledger, &ask, &page), 0);
    cr_assert_str_eq(page.next, "");
    cr_assert_eq(list.count, 2);
    cr_assert_str_eq(list.files[0], "/a.mp3");
    cr_assert_eq(list.rows[0].bytes, 107);
    cr_assert_eq(list.rows[0].responses, 2);
    cr_assert_str_eq(list.files[1], "/b.mp3");
    cr_assert_eq(list.rows[1].bytes, 30);
    cr_assert_eq(list.rows[1].responses, 1);
    cr_assert_eq(fixture_close(&fx), 0);
}

static void *adder(void *argument)
{
    struct fixture *fixture = argument;
    uint64_t added = 0;
    unsigned seed = (unsigned)(uintptr_t)pthread_self();
    for (int round = 0; round < 300; round++) {
        struct ledger_account *account = fixture_account(fixture, "threads");
        char path[32];
        snprintf(path, sizeof(path), "/file-%d.mp3", rand_r(&seed) % 8);
        struct ledger_file *file = fixture_file(fixture, path);
        struct ledger_download *download;
        /* A closed download counts until the writer has its last record, so wait at the bound. */
        int status;
        while ((status = ledger_download_open(fixture->ledger, account, file, &download)) ==
               -EMFILE)
            sched_yield();
        cr_assert_eq(status, 0, "%d", status);
        ledger_file_drop(&file);
        for (int i = rand_r(&seed) % 500; i >= 0; i--) {
            ledger_download_add(download, (uint64_t)i, i == 0);
            added += (uint64_t)i;
        }
        ledger_download_close(&download);
        ledger_account_drop(&account);
    }
    return (void *)(uintptr_t)added;
}

Test(ledger_posting, counts_every_byte_that_many_threads_add_once)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    fixture_open_ready(&fx);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, adder, &fx), 0);
    uint64_t added = 0;
    for (int i = 0; i < THREADS; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        added += (uint64_t)(uintptr_t)sum;
    }
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    cr_assert_eq((uint64_t)fixture_account_field(&fx, "shop/threads", "used"), added);
    cr_assert_eq(fixture_redis_usage(&fx, "shop/threads"), added);
    cr_assert_eq(fixture_close(&fx), 0);
    struct fixture_sums sums;
    fixture_read_journal(fx.state, &sums);
    cr_assert_eq(sums.bytes, added);
}

Test(ledger_posting, closes_what_is_still_open_when_the_ledger_closes)
{
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "open");
    struct ledger_file *file = fixture_file(&fx, "/f");
    struct ledger_download *download;
    cr_assert_eq(ledger_download_open(fx.ledger, account, file, &download), 0);
    ledger_download_add(download, 12345, 0);
    cr_assert_eq(fixture_close(&fx), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/open", "used"), 12345);
}

Test(ledger_posting, keeps_what_redis_cannot_take_and_posts_it_at_the_next_start)
{
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "later", "/f", 10);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    fixture_redis_kill(&fx);
    fixture_deliver(&fx, "later", "/f", 5);
    cr_assert_eq(ledger_settle(fx.ledger, 100), -ETIMEDOUT);
    cr_assert_eq(ledger_state(fx.ledger), LEDGER_READY);
    cr_assert_gt(ledger_close(&fx.ledger, 100), 0);
    fixture_redis_start(&fx);
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_account_field(&fx, "shop/later", "used"), 15);
}

static void assert_view(const char *name, int64_t balance, uint64_t used, enum ledger_status status,
                        uint64_t revision)
{
    struct ledger_account_view view;
    cr_assert_eq(ledger_account_show(fx.ledger, "shop", name, &view), 0);
    cr_assert(view.exists);
    cr_assert_eq(view.balance, balance);
    cr_assert_eq(view.used, used);
    cr_assert_eq(view.status, status);
    cr_assert_eq(view.revision, revision);
}

/* Makes money, usage and a suspension, which must come back after Redis is lost. */
static void fill_history(void)
{
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "bob", 500, "open", NULL), 0);
    fixture_deliver(&fx, "bob", "/x", 120);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "bob", 50, "top", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "bob", -7, "adjust", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_SUSPEND, "bob", 0, NULL, NULL), 0);
    fixture_deliver(&fx, "bob", "/x", 3);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    assert_view("bob", 500 - 123 + 50 - 7, 123, LEDGER_STATUS_SUSPENDED, 1);
}

Test(ledger_posting, replays_to_a_redis_that_came_back_empty)
{
    fixture_open_ready(&fx);
    fill_history();
    fixture_redis_kill(&fx);
    fixture_redis_start(&fx);
    for (int i = 0; i < 15000 && fixture_account_field(&fx, "shop/bob", "used") != 123; i++)
        fixture_pause();
    fixture_wait_state(&fx, LEDGER_READY);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    assert_view("bob", 420, 123, LEDGER_STATUS_SUSPENDED, 1);
    bool repeated = false;
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "bob", 50, "top", &repeated), 0);
    cr_assert(repeated);
    assert_view("bob", 420, 123, LEDGER_STATUS_SUSPENDED, 1);
}

Test(ledger_posting, replays_after_a_flush_that_no_run_id_tells)
{
    fixture_open_ready(&fx);
    fill_history();
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fixture_deliver(&fx, "carol", "/y", 9);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    for (int i = 0; i < 15000 && fixture_account_field(&fx, "shop/bob", "used") != 123; i++)
        fixture_pause();
    fixture_wait_state(&fx, LEDGER_READY);
    assert_view("bob", 420, 123, LEDGER_STATUS_SUSPENDED, 1);
    cr_assert_eq(fixture_account_field(&fx, "shop/carol", "used"), 9);
}

Test(ledger_posting, notices_a_flush_while_nothing_is_posted)
{
    fx.options.lease_ms = 300;
    fixture_open_ready(&fx);
    fill_history();
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    for (int i = 0; i < 15000 && fixture_account_field(&fx, "shop/bob", "used") != 123; i++)
        fixture_pause();
    fixture_wait_state(&fx, LEDGER_READY);
    assert_view("bob", 420, 123, LEDGER_STATUS_SUSPENDED, 1);
}

Test(ledger_posting, replays_at_start_to_a_redis_that_has_nothing)
{
    fixture_open_ready(&fx);
    fill_history();
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_redis_kill(&fx);
    fixture_redis_start(&fx);
    fixture_open_ready(&fx);
    assert_view("bob", 420, 123, LEDGER_STATUS_SUSPENDED, 1);
}

Test(ledger_posting, replays_over_many_segments)
{
    fx.options.segment_bytes = 256 * 1024;
    fixture_open_ready(&fx);
    for (int i = 0; i < 6000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i % 50);
        fixture_deliver(&fx, name, i % 3 ? "/a" : "/b", 1);
        if (i % 40 == 0)
            cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    }
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    struct ledger_stats stats;
    ledger_stats(fx.ledger, &stats);
    cr_assert_gt(stats.segments, 2);
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fixture_deliver(&fx, "u0", "/a", 1);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    fixture_wait_state(&fx, LEDGER_READY);
    for (int i = 0; i < 50; i++) {
        char tag[24];
        snprintf(tag, sizeof(tag), "shop/u%d", i);
        cr_assert_eq(fixture_account_field(&fx, tag, "used"), i == 0 ? 121 : 120);
        cr_assert_eq(fixture_redis_usage(&fx, tag), i == 0 ? 121u : 120u);
    }
    ledger_stats(fx.ledger, &stats);
    cr_assert_gt(stats.posts_replayed, 0);
}

Test(ledger_posting, tells_whether_a_redis_has_been_replayed_to)
{
    fixture_open_ready(&fx);
    redisReply *info = fixture_redis(&fx, "INFO server");
    char run_id[41];
    const char *at = strstr(info->str, "run_id:");
    cr_assert_not_null(at);
    memcpy(run_id, at + 7, 40);
    run_id[40] = 0;
    freeReplyObject(info);
    uint64_t served = ledger_redis_served(fx.ledger);
    cr_assert(ledger_redis_is_current(fx.ledger, served, run_id));
    cr_assert_not(ledger_redis_is_current(fx.ledger, served - 1, run_id));
    run_id[0] = run_id[0] == 'a' ? 'b' : 'a';
    cr_assert_not(ledger_redis_is_current(fx.ledger, served, run_id));
    cr_assert_not(ledger_redis_is_current(fx.ledger, served, ""));
}

Test(ledger_posting, moves_money_once_per_transaction)
{
    bool repeated = true;
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 5, "x", NULL), -ENOENT);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "dora", 10, "open-1", &repeated), 0);
    cr_assert_not(repeated);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "dora", 10, "open-1", &repeated), 0);
    cr_assert(repeated);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "dora", 11, "open-1", NULL), -ENOTUNIQ);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "dora", 10, "open-2", NULL), -EEXIST);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 10, "open-1", NULL), -ENOTUNIQ);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 5, "t", NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 0, "u", NULL), -EINVAL);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 5, NULL, NULL), -EINVAL);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 5, "a b", NULL), -EINVAL);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", LEDGER_AMOUNT_MAX, "v", NULL), -EINVAL);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", LEDGER_AMOUNT_MAX - 1, "v", NULL),
                 -EOVERFLOW);
    cr_assert_eq(fixture_change(&fx, LEDGER_ADJUST, "dora", LEDGER_AMOUNT_MAX - 16, "w", NULL), 0);
    assert_view("dora", LEDGER_AMOUNT_MAX - 1, 0, LEDGER_ACTIVE, 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_SUSPEND, "dora", 0, NULL, NULL), 0);
    cr_assert_eq(fixture_change(&fx, LEDGER_ACTIVATE, "dora", 0, NULL, NULL), 0);
    assert_view("dora", LEDGER_AMOUNT_MAX - 1, 0, LEDGER_ACTIVE, 2);
    fixture_redis_kill(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_TOP_UP, "dora", 5, "z", NULL), -EAGAIN);
    struct ledger_account_view view;
    cr_assert_eq(ledger_account_show(fx.ledger, "shop", "dora", &view), -EAGAIN);
}

Test(ledger_posting, refuses_a_state_directory_older_than_redis)
{
    char copy[128];
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "erin", "/f", 1);
    cr_assert_eq(fixture_close(&fx), 0);
    snprintf(copy, sizeof(copy), "%s/copy", fx.directory);
    fixture_copy(fx.state, copy);
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "erin", "/f", 2);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_remove(fx.state);
    fixture_copy(copy, fx.state);
    fixture_open(&fx);
    fixture_wait_state(&fx, LEDGER_REFUSED);
    char text[512];
    ledger_state_text(fx.ledger, text, sizeof(text));
    cr_assert_not_null(strstr(text, "older than Redis"), "%s", text);
    fixture_close(&fx);
    cr_assert_eq(fixture_account_field(&fx, "shop/erin", "used"), 3);
}

Test(ledger_posting, refuses_a_copied_state_directory_beside_its_original)
{
    char copy[128];
    struct fixture clone;
    fx.options.lease_ms = 300;
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "finn", "/f", 1);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    snprintf(copy, sizeof(copy), "%s/copy", fx.directory);
    fixture_copy(fx.state, copy);
    clone = fx;
    clone.options.state_dir = copy;
    fixture_open(&clone);
    fixture_wait_state(&clone, LEDGER_REFUSED);
    cr_assert_eq(ledger_state(fx.ledger), LEDGER_READY);
    fixture_close(&clone);
    fixture_deliver(&fx, "finn", "/f", 2);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/finn", "used"), 3);
}

Test(ledger_posting, refuses_a_node_name_of_another_directory_until_its_key_is_deleted)
{
    fixture_open_ready(&fx);
    fixture_close(&fx);
    fixture_remove(fx.state);
    fixture_open(&fx);
    fixture_wait_state(&fx, LEDGER_REFUSED);
    char text[512];
    ledger_state_text(fx.ledger, text, sizeof(text));
    cr_assert_not_null(strstr(text, "tg:node:{node-1}"), "%s", text);
    cr_assert_eq(fixture_redis_integer(&fx, "DEL tg:node:{node-1}"), 1);
    fixture_wait_state(&fx, LEDGER_READY);
}

Test(ledger_posting, does_not_serve_while_redis_may_evict)
{
    freeReplyObject(fixture_redis(&fx, "CONFIG SET maxmemory-policy allkeys-lru"));
    fixture_open(&fx);
    char text[512] = "";
    for (int i = 0; i < 15000 && strstr(text, "noeviction") == NULL; i++) {
        fixture_pause();
        ledger_state_text(fx.ledger, text, sizeof(text));
    }
    cr_assert_not_null(strstr(text, "allkeys-lru"), "%s", text);
    cr_assert_eq(ledger_state(fx.ledger), LEDGER_CATCHING_UP);
    freeReplyObject(fixture_redis(&fx, "CONFIG SET maxmemory-policy noeviction"));
    fixture_wait_state(&fx, LEDGER_READY);
}

Test(ledger_posting, keeps_a_newer_function_library)
{
    char library[128];
    snprintf(library, sizeof(library),
             "#!lua name=tollgate\nredis.register_function('tollgate_version', "
             "function() return %d end)",
             LEDGER_FUNCTIONS_FORMAT + 1);
    freeReplyObject(fixture_redis(&fx, "FUNCTION LOAD %s", library));
    fixture_open(&fx);
    /* The newer library lacks all other functions, so nothing can be posted. It is kept all
     * the same. */
    for (int i = 0; i < 100; i++)
        fixture_pause();
    cr_assert_eq(ledger_state(fx.ledger), LEDGER_CATCHING_UP);
    cr_assert_eq(fixture_redis_integer(&fx, "FCALL tollgate_version 0"),
                 LEDGER_FUNCTIONS_FORMAT + 1);
    freeReplyObject(fixture_redis(&fx, "FUNCTION DELETE tollgate"));
    fixture_wait_state(&fx, LEDGER_READY);
    cr_assert_eq(fixture_redis_integer(&fx, "FCALL tollgate_version 0"), LEDGER_FUNCTIONS_FORMAT);
}

Test(ledger_posting, refuses_data_of_an_older_version_until_redis_was_emptied)
{
    char library[128], text[512];
    snprintf(library, sizeof(library),
             "#!lua name=tollgate\nredis.register_function('tollgate_version', "
             "function() return %d end)",
             LEDGER_DATA_FORMAT - 1);
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "a", "/f", 10);
    cr_assert_eq(fixture_close(&fx), 0);
    freeReplyObject(fixture_redis(&fx, "FUNCTION LOAD REPLACE %s", library));
    freeReplyObject(fixture_redis(&fx, "HSET tg:{shop/a}:account status_at 1700000000000"));
    fixture_open(&fx);
    fixture_wait_state(&fx, LEDGER_REFUSED);
    ledger_state_text(fx.ledger, text, sizeof(text));
    cr_assert(strstr(text, "holds data of an older version") != NULL &&
                  strstr(text, "stop all nodes, run redis-cli FLUSHALL") != NULL,
              "%s", text);
    cr_assert_eq(fixture_redis_integer(&fx, "FCALL tollgate_version 0"), LEDGER_DATA_FORMAT - 1);
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    freeReplyObject(fixture_redis(&fx, "FUNCTION DELETE tollgate"));
    fixture_wait_state(&fx, LEDGER_READY);
    cr_assert_eq(fixture_account_field(&fx, "shop/a", "used"), 10);
}

Test(ledger_posting, replaces_another_text_of_the_same_version)
{
    char text[256];
    snprintf(text, sizeof(text),
             "#!lua name=tollgate\nredis.register_function('tollgate_version', "
             "function() return %d end)",
             LEDGER_FUNCTIONS_FORMAT);
    freeReplyObject(fixture_redis(&fx, "FUNCTION LOAD %s", text));
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "a", "/f", 10);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/a", "used"), 10);
}

Test(ledger_posting, serves_a_redis_user_with_a_password)
{
    freeReplyObject(fixture_redis(&fx, "ACL SETUSER toll on >secret ~tg:* +@all -config -acl"));
    freeReplyObject(fixture_redis(&fx, "ACL SETUSER default off"));
    fx.options.redis_user = "toll";
    fx.options.redis_password = "wrong";
    fixture_open(&fx);
    char text[512] = "";
    for (int i = 0; i < 15000 && strstr(text, "WRONGPASS") == NULL; i++) {
        fixture_pause();
        ledger_state_text(fx.ledger, text, sizeof(text));
    }
    cr_assert_not_null(strstr(text, "WRONGPASS"), "%s", text);
    cr_assert_null(strstr(text, "wrong:"), "%s", text);
    ledger_close(&fx.ledger, 0);
    fx.options.redis_password = "secret";
    fixture_open_ready(&fx);
}
