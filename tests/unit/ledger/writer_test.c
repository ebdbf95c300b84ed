/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's step, called from one thread with a clock and a disk of the test's own: what is
 * durable after it, when it wants to be called again, and what it does while the disk refuses.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/unit/ledger/world.h"

static struct world world;

static void setup(void)
{
    world_start(&world);
}

static void teardown(void)
{
    world_end(&world);
}

TestSuite(ledger_writer, .init = setup, .fini = teardown, .timeout = 30);

static uint64_t durable(void)
{
    return atomic_load(&world.ledger->journal.durable_records);
}

static int top_up(struct money *money)
{
    struct ledger_account *account;
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &account), 0);
    *money = (struct money){
        .account = account,
        .record = {
            .type = JOURNAL_MONEY, .operation = LEDGER_TOP_UP, .amount = 5, .transaction = "t-1"}};
    writer_queue_money(world.ledger, money);
    cr_assert(!writer_money_is_done(world.ledger, money));
    writer_step(world.ledger);
    cr_assert(writer_money_is_done(world.ledger, money));
    ledger_account_drop(&account);
    return money->result;
}

Test(ledger_writer, a_step_makes_durable_what_moved_and_wants_the_next_after_the_marks_interval)
{
    world_open(&world);
    struct ledger_download *download = world_download(&world, 1000);
    uint64_t ticket = writer_queue_mark(world.ledger), before = durable();
    cr_assert(!writer_is_marked(world.ledger, ticket));
    cr_assert_eq(writer_step(world.ledger), world.now_ms + world.options.mark_ms);
    cr_assert(writer_is_marked(world.ledger, ticket));
    cr_assert_eq(durable(), before + 3); /* two names and the mark */
    unsigned syncs = world.syncs;
    writer_step(world.ledger);
    cr_assert_eq(world.syncs, syncs, "nothing moved, so nothing is made durable");
    ledger_download_close(&download);
}

Test(ledger_writer, a_money_operation_is_done_after_one_step)
{
    struct money money;
    world_open(&world);
    uint64_t before = durable();
    cr_assert_eq(top_up(&money), 0);
    cr_assert_eq(durable(), before + 2);
    cr_assert_eq(money.record.time_ms, WORLD_EPOCH_MS,
                 "the record has the time of the clock given");
}

Test(ledger_writer, a_disk_that_does_not_confirm_fails_the_operation_and_the_ledger)
{
    struct money money;
    world_open(&world);
    uint64_t before = durable();
    world.sync_error = EIO;
    cr_assert_eq(top_up(&money), -EIO);
    cr_assert_eq(durable(), before);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_FAILED);
    cr_assert_eq(world_said(&world, "fdatasync: Input/output error"), 1);
    /* A disk that confirms again proves nothing about what it did not confirm. */
    world.sync_error = 0;
    cr_assert_eq(top_up(&money), -EIO);
    cr_assert_eq(ledger_state(world.ledger), LEDGER_FAILED);
    cr_assert_eq(world_said(&world, "fdatasync"), 1, "it is said once");
}

Test(ledger_writer, a_segment_that_is_refused_is_asked_for_each_half_second_until_the_disk_heals)
{
    world_open(&world);
    struct ledger_download *download = world_download(&world, 1);
    writer_step(world.ledger);
    world.create_error = ENOSPC;
    unsigned asked = world.creates;
    for (uint64_t i = 0; atomic_load(&world.ledger->writer_state) == LEDGER_READY; i++) {
        cr_assert(i < 200, "the journal never wanted a segment");
        ledger_download_add(download, 1, 0);
        writer_step(world.ledger);
    }
    cr_assert_eq(world.creates, asked + 1);
    cr_assert_eq(world_said(&world, "No space left on device"), 1);
    cr_assert_eq(writer_step(world.ledger), world.now_ms + 500, "marks come more slowly");
    cr_assert_eq(world.creates, asked + 1, "the disk is not asked again at once");
    world.now_ms += 500;
    world.create_error = 0;
    writer_step(world.ledger);
    cr_assert_eq(world.creates, asked + 2);
    cr_assert_eq(atomic_load(&world.ledger->writer_state), LEDGER_READY);
    cr_assert_eq(world_said(&world, "the journal has room again"), 1);
    ledger_download_close(&download);
}
