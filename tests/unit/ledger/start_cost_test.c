/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start costs, and an emptied Redis, by how many records stand before the checkpoint: the same for twice as
 * many. What is counted is bytes that are read and commands of Redis, and no time.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/ledger/forge.h"

#define ACCOUNTS 40u
#define RECORDS  4096u /* before the checkpoint: 16 segments, and once more as many */
#define BEHIND   100u

static struct fixture fx;

static void setup(void)
{
    forge_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_start_cost, .init = setup, .fini = teardown, .timeout = 120);

/* ---- journals ---- */

static void append(struct forge *forge, uint32_t records)
{
    for (uint32_t i = 0; i < records; i++) {
        char name[24];
        snprintf(name, sizeof(name), "account-%u", i % ACCOUNTS);
        forge_usage(forge, name, i % 3 == 0 ? "/f" : "/g", 20261120, 1 + i);
    }
}

/* Makes a journal of so many records, with a checkpoint of all full segments, and some records behind it. Returns the
 * segment of the checkpoint. */
static uint32_t make(const char *state, uint32_t records)
{
    struct forge forge;
    forge_open(&forge, state, "node-1", FORGE_SEGMENT);
    append(&forge, records);
    uint32_t segment = journal_segments(&forge.ledger->journal) - 1;
    forge_checkpoint(&forge, 0, segment);
    append(&forge, BEHIND);
    forge_close(&forge);
    return segment;
}

/* A directory for the second journal. */
static const char *second_state(void)
{
    static char state[120];
    snprintf(state, sizeof(state), "%s/second", fx.directory);
    return state;
}

/* ---- a start ---- */

static struct ledger_disk counting;
static uint64_t bytes_read, files_opened;

static int read_counted(void *self, int fd, uint64_t offset, uint8_t *bytes, size_t length)
{
    bytes_read += length;
    return ledger_system_disk.read(self, fd, offset, bytes, length);
}

static int open_counted(void *self, int directory, uint32_t number, bool writable, uint64_t *size)
{
    int fd = ledger_system_disk.open(self, directory, number, writable, size);
    files_opened += fd >= 0;
    return fd;
}

/* Starts a node on the directory, and returns how many bytes it reads meanwhile. */
static uint64_t start(const char *state)
{
    struct script poster, push;
    struct ledger *ledger;
    char error[600];
    script_init(&poster);
    script_init(&push);
    counting = ledger_system_disk;
    counting.read = read_counted;
    counting.open = open_counted;
    const struct ledger_outside outside = {.clock = &ledger_system_clock,
                                           .disk = &counting,
                                           .poster = &poster.table,
                                           .push = &push.table};
    struct ledger_options options = fx.options;
    options.state_dir = state;
    bytes_read = files_opened = 0;
    int result = ledger_open_stepped(&ledger, &options, &outside, error, sizeof(error));
    cr_assert_eq(result, 0, "%s", error);
    uint64_t read = bytes_read;
    cr_assert_geq(ledger_close(&ledger, 0), 0);
    return read;
}

static void remove_checkpoint(const char *state, uint32_t segment)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/lane-a/checkpoints/%08u.seg", state, segment);
    cr_assert_eq(unlink(path), 0, "%s", path);
}

Test(ledger_start_cost, of_twice_the_records_before_the_checkpoint_is_the_same)
{
    const char *twice = second_state();
    uint32_t of_once = make(fx.state, RECORDS), of_twice = make(twice, 2 * RECORDS);
    uint64_t once_bytes = start(fx.state), opened = files_opened, twice_bytes = start(twice);
    cr_expect_leq(twice_bytes * 2, once_bytes * 3, "%llu bytes are read, and %llu of twice as many",
                  (unsigned long long)once_bytes, (unsigned long long)twice_bytes);
    cr_expect_eq(files_opened, opened);
    /* So much the records before it would cost: what is counted here does grow with them. */
    remove_checkpoint(fx.state, of_once);
    remove_checkpoint(twice, of_twice);
    once_bytes = start(fx.state);
    twice_bytes = start(twice);
    cr_expect_gt(twice_bytes * 2, once_bytes * 3);
    cr_expect_geq(twice_bytes, 2 * RECORDS * (uint64_t)JOURNAL_RECORD_BYTES);
}

/* ---- an emptied Redis ---- */

/* The calls of functions by which Redis comes to have the journal in this directory. */
static int64_t fill(const char *state)
{
    struct ledger_options options = fx.options;
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    freeReplyObject(fixture_redis(&fx, "CONFIG RESETSTAT"));
    fx.options.state_dir = state;
    fixture_open_ready(&fx);
    cr_assert_eq(ledger_settle(fx.ledger, 20000), 0);
    redisReply *stats = fixture_redis(&fx, "INFO commandstats");
    const char *line = strstr(stats->str, "cmdstat_fcall:calls=");
    cr_assert_not_null(line);
    int64_t calls = strtoll(line + strlen("cmdstat_fcall:calls="), NULL, 10);
    freeReplyObject(stats);
    cr_assert_eq(fixture_close(&fx), 0);
    fx.options = options;
    return calls;
}

static int64_t billed(void)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char tag[40];
        snprintf(tag, sizeof(tag), "shop/account-%u", i);
        sum += fixture_account_field(&fx, tag, "used");
    }
    return sum;
}

static int64_t sum_to(int64_t records)
{
    return records * (records + 1) / 2 + (int64_t)BEHIND * (BEHIND + 1) / 2;
}

Test(ledger_start_cost, of_an_emptied_Redis_is_the_same_for_twice_the_records_before_the_checkpoint)
{
    const char *twice = second_state();
    (void)make(fx.state, RECORDS);
    (void)make(twice, 2 * RECORDS);
    int64_t once_calls = fill(fx.state);
    cr_expect_eq(billed(), sum_to(RECORDS));
    int64_t twice_calls = fill(twice);
    cr_expect_eq(billed(), sum_to(2 * RECORDS));
    cr_expect_geq(once_calls, ACCOUNTS);
    cr_expect_leq(twice_calls * 2, once_calls * 3, "%lld calls, and %lld for twice as many",
                  (long long)once_calls, (long long)twice_calls);
}
