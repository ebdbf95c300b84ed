/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the poster share: a ledger that the test steps, and a Redis that it plays, reply
 * by reply. The functions assert that their own steps succeed.
 */
#ifndef TOLLGATE_TESTS_POSTER_PLAY_H
#define TOLLGATE_TESTS_POSTER_PLAY_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/poster_internal.h"
#include "tests/unit/ledger/world.h"

#define INFO_OF(run)                                                                               \
    "$74\r\nrun_id:" run "\r\nmaster_replid:2222222222\r\nmaxmemory_policy:noeviction\r\n\r\n"
#define INFO       INFO_OF("1111111111")
#define OTHER_INFO INFO_OF("3333333333")

static struct world world;

static inline void setup(void)
{
    world_start(&world);
    world.options.segment_bytes = (uint64_t)1 << 20;
    world.options.downloads_max = 8;
    world_open(&world);
}

static inline void teardown(void)
{
    world_end(&world);
}

/* ---- the play ---- */

static inline uint64_t step(void)
{
    return poster_step(world.ledger);
}

static inline enum poster_state state(void)
{
    return world.ledger->poster->state;
}

/* Whether the journal has been replayed to the Redis of this run id, and that is in force. */
static inline bool is_current(const char *run_id)
{
    return ledger_redis_is_current(world.ledger, ledger_redis_served(world.ledger), run_id);
}

static inline void expect(const char *begin)
{
    const char *command = script_next(&world.poster);
    cr_assert(strncmp(command, begin, strlen(begin)) == 0, "not %s, but %s", begin, command);
}

static inline void answer(const char *begin, const char *protocol)
{
    expect(begin);
    script_answer(&world.poster, protocol);
}

/* Up to the question for the lease. */
static inline void connect_with(const char *info)
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

#define BIRTH "*3\r\n$2\r\nab\r\n:1700000000500\r\n:0\r\n"

static inline void answer_time_and(const char *birth)
{
    answer("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n500000\r\n");
    answer("FCALL tollgate_birth 1 tg:birth ", birth);
}

static inline void answer_time(void)
{
    answer_time_and(BIRTH);
}

enum lease_answer { RENEWED, TAKEN, ANOTHERS, FEWER };

/* Redis says that the name is this directory's, and what the lease is: it ends at `until`, or number
 * `number` is this process'. */
static inline void answer_lease_with(enum lease_answer code, unsigned until, unsigned number)
{
    char protocol[64];
    snprintf(protocol, sizeof(protocol), "*4\r\n:%d\r\n:50\r\n:%u\r\n:%u\r\n", (int)code, until,
             number);
    answer("FCALL tollgate_name 1 tg:node:{node-1}", ":0\r\n");
    answer("FCALL tollgate_lease 1 tg:lease:{", protocol);
    answer_time();
    writer_step(world.ledger); /* it notes the lease */
    step();
}

static inline void answer_lease(enum lease_answer code)
{
    answer_lease_with(code, 100, 2);
}

/* Up to the first question behind the lease. */
static inline void connect_ready(void)
{
    connect_with(INFO);
    answer_lease(TAKEN);
}

/* Journals one mark of shop/NAME. */
static inline void deliver(const char *name, uint64_t bytes)
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

/* Another run of the node, the one before having had a lease: what is in the journal may be in Redis. */
static inline void open_again(void)
{
    atomic_store(&world.ledger->lease_number, 1);
    writer_step(world.ledger);
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
    world_open(&world);
}

static inline uint64_t unposted(void)
{
    return atomic_load(&world.ledger->journal.durable_records) - ledger_posted(world.ledger);
}

/* Takes the post of shop/NAME up to this sequence, or says where the account stands instead. */
static inline void answer_post(const char *name, unsigned code, unsigned to)
{
    char key[64], protocol[64];
    snprintf(key, sizeof(key), " tg:{shop/%s}:account tg:{shop/%s}:grants ", name, name);
    cr_assert_not_null(strstr(script_next(&world.poster), key), "not of %s", name);
    snprintf(protocol, sizeof(protocol), "*4\r\n:%u\r\n:%u\r\n:0\r\n:0\r\n", code, to);
    answer("FCALL tollgate_post ", protocol);
}

#endif
