/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the checkpoints of the simulated nodes, and what leaves their journals: a start with a checkpoint is
 * compared with the whole journal, which is read beside it, in the archive where a part of it has left.
 */
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/archive.h"
#include "storage/ledger/checkpoints.h"
#include "tests/simulation/sim.h"

/* Reads the whole journal into `names`, as a start without a checkpoint does. False where a part of it has left, and
 * there is no archive; a copy has not that of its original. */
static bool read_journal(struct sim_node *node, struct names *names, struct journal *journal)
{
    char error[LEDGER_TEXT_MAX];
    const struct ledger *ledger = node->ledger;
    struct archive_disk disk;
    struct ledger_verification watch = {0};
    const struct journal_pass pass = {.checkpoints = -1, .watch = &watch};
    check(archive_disk_open(&disk, &node->disk.table, ledger->journal.directory,
                            ledger->lane.instance,
                            node->sim->has_archive ? node->archive : NULL) == 0);
    journal_init(journal, &disk.table, names, ledger->journal.directory, ledger->lane.instance);
    int result = journal_scan(journal, &pass, error, sizeof(error));
    archive_disk_close(&disk);
    bool is_whole = result != 0 || watch.first <= 1;
    if (result != 0)
        sim_break(node->sim, SIM_PROMISE_begins, "%s: the whole journal cannot be read: %s",
                  node->name, error);
    else if (!is_whole && node->sim->has_archive && node->original == NULL)
        sim_break(node->sim, SIM_PROMISE_leaves, "%s: its archive lacks the segments before %u",
                  node->name, watch.first);
    return is_whole;
}

static void compare(struct sim_node *node, const struct ledger_account *account,
                    const struct ledger_account *whole)
{
    if (whole == NULL || account->sequence != whole->sequence || account->bytes != whole->bytes ||
        account->operations != whole->operations || account->tail_segment != whole->tail_segment ||
        account->tail_before != whole->tail_before || account->handed != whole->handed)
        sim_break(node->sim, SIM_PROMISE_begins,
                  "%s begins with other figures of %s than its journal has", node->name,
                  account->tag);
}

static void compare_all(struct sim_node *node, struct names *names, const struct journal *journal)
{
    struct ledger *ledger = node->ledger;
    unsigned count = 0;
    for (struct ledger_account *one = names_recorded(&ledger->names); one != NULL;
         one = names_recorded_next(one)) {
        struct ledger_account *whole = names_find_tag(names, one->tag, strlen(one->tag));
        compare(node, one, whole);
        ledger_account_drop(&whole);
        count++;
    }
    for (struct ledger_account *one = names_recorded(names); one != NULL;
         one = names_recorded_next(one))
        count--;
    /* Both have counted the START that this process has written. */
    if (count != 0 || journal->entries != ledger->journal.entries ||
        journal->found_lease != ledger->journal.found_lease ||
        journal->found_download != ledger->journal.found_download)
        sim_break(node->sim, SIM_PROMISE_begins, "%s begins with another journal than it has",
                  node->name);
}

void watch_opened(struct sim_node *node)
{
    struct ledger *ledger = node->ledger;
    struct names names;
    struct journal journal;
    if (ledger->journal.from_checkpoint == 0)
        return;
    watch_looked(node->sim, SIM_PROMISE_begins);
    check(names_init(&names, 64, 64) == 0);
    if (read_journal(node, &names, &journal))
        compare_all(node, &names, &journal);
    journal_end(&journal);
    names_free(&names);
}

void watch_left(struct sim_node *node)
{
    struct ledger *ledger = node->ledger;
    uint32_t first = atomic_load(&ledger->journal.first);
    struct names names;
    struct journal journal;
    if (node->first_segment == 0 || first == node->first_segment) {
        node->first_segment = first;
        return;
    }
    node->first_segment = first;
    watch_looked(node->sim, SIM_PROMISE_leaves);
    check(names_init(&names, 64, 64) == 0);
    (void)read_journal(node, &names, &journal);
    journal_end(&journal);
    names_free(&names);
}

void watch_checkpoint(struct sim_node *node)
{
    struct ledger *ledger = node->ledger;
    uint64_t made = atomic_load(&ledger->checkpoints_made);
    if (atomic_load(&ledger->checkpoints_refused) > 0)
        sim_break(node->sim, SIM_PROMISE_checkpoints,
                  "%s has made a checkpoint that is not what "
                  "its journal comes to",
                  node->name);
    if (made > node->checkpoints)
        watch_looked(node->sim, SIM_PROMISE_checkpoints);
    node->checkpoints = made;
}
