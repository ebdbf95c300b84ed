/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tests' clock and disk. The disk is a temporary directory; the errors are made before it is
 * asked.
 */
#include "tests/unit/ledger/world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/ledger/fixture.h"

/* ---- the clock ---- */

static uint64_t monotonic_ms(void *self)
{
    const struct world *world = self;
    return world->now_ms;
}

static uint64_t real_ms(void *self)
{
    const struct world *world = self;
    return WORLD_EPOCH_MS + world->now_ms - WORLD_START_MS + (uint64_t)world->clock_step_ms;
}

/* ---- the disk ---- */

static int create(void *self, int directory, uint32_t number, uint64_t bytes)
{
    struct world *world = self;
    world->creates++;
    return world->create_error != 0 ? -world->create_error
                                    : ledger_system_disk.create(NULL, directory, number, bytes);
}

static int write_segment(void *self, int fd, uint64_t offset, const uint8_t *bytes, size_t length)
{
    const struct world *world = self;
    return world->write_error != 0 ? -world->write_error
                                   : ledger_system_disk.write(NULL, fd, offset, bytes, length);
}

static int sync_segment(void *self, int fd)
{
    struct world *world = self;
    world->syncs++;
    return world->sync_error != 0 ? -world->sync_error : ledger_system_disk.sync(NULL, fd);
}

/* ---- the world ---- */

static void keep_event(void *context, enum ledger_event event, const char *kind, const char *text)
{
    struct world *world = context;
    size_t length = strlen(world->events);
    (void)event;
    (void)kind;
    snprintf(world->events + length, sizeof(world->events) - length, "%s\n", text);
}

void world_start(struct world *world)
{
    memset(world, 0, sizeof(*world));
    snprintf(world->directory, sizeof(world->directory), "/tmp/tollgate-world-XXXXXX");
    cr_assert_not_null(mkdtemp(world->directory));
    snprintf(world->state, sizeof(world->state), "%s/state", world->directory);
    world->now_ms = WORLD_START_MS;
    world->clock = (struct ledger_clock){world, monotonic_ms, real_ms};
    world->disk = ledger_system_disk;
    world->disk.self = world;
    world->disk.create = create;
    world->disk.write = write_segment;
    world->disk.sync = sync_segment;
    script_init(&world->poster);
    script_init(&world->push);
    world->outside = (struct ledger_outside){.clock = &world->clock,
                                             .disk = &world->disk,
                                             .poster = &world->poster.table,
                                             .push = &world->push.table};
    world->options = (struct ledger_options){.state_dir = world->state,
                                             .node = "node-1",
                                             .redis = "unix:/nowhere",
                                             .segment_bytes = 12288, /* 48 records */
                                             .mark_ms = 10,
                                             .downloads_max = 1,
                                             .accounts_max = 1000,
                                             .lease_ms = 3000,
                                             .event = keep_event,
                                             .event_context = world};
}

void world_end(struct world *world)
{
    (void)ledger_close(&world->ledger, 0);
    fixture_remove(world->directory);
}

void world_open(struct world *world)
{
    char error[512];
    int result =
        ledger_open_stepped(&world->ledger, &world->options, &world->outside, error, sizeof(error));
    cr_assert_eq(result, 0, "%s", error);
}

unsigned world_said(const struct world *world, const char *text)
{
    unsigned count = 0;
    for (const char *at = world->events; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

struct ledger_download *world_download(struct world *world, uint64_t bytes)
{
    struct ledger_account *account;
    struct ledger_file *file;
    struct ledger_download *download;
    cr_assert_eq(ledger_account_get(world->ledger, "shop", "alice", 5, &account), 0);
    cr_assert_eq(ledger_file_get(world->ledger, "/f", 2, &file), 0);
    cr_assert_eq(ledger_download_open(world->ledger, account, file, &download), 0);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    ledger_download_add(download, bytes, 1);
    return download;
}
