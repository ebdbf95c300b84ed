/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the checkpoints of the simulated nodes: a start with one is compared with the whole journal,
 * which is read beside it.
 */
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/checkpoints.h"
#include "tests/simulation/sim.h"

/* Reads the whole journal into `names`, as a start without a checkpoint does. */
static void read_journal(struct sim_node *node, struct names *names, struct journal *journal)
{
    char error[LEDGER_TEXT_MAX];
    const struct ledger *ledger = node->ledger;
    struct ledger_verification watch = {0};
    const struct journal_pass pass = {.checkpoints = -1, .watch = &watch};
    journal_init(journal, &node->disk.table, names, ledger->journal.directory,
                 ledger->lane.instance);
    int result = journal_scan(journal, &pass, error, sizeof(error));
    if (result != 0)
        sim_break(node->sim, SIM_PROMISE_begins, "%s: the whole journal cannot be read: %s",
                  node->name, error);
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

void watch_opened(struct sim_node *node)
{
    struct ledger *ledger = node->ledger;
    struct names names;
    struct journal journal;
    unsigned count = 0;
    if (ledger->journal.from_checkpoint == 0)
        return;
    watch_looked(node->sim, SIM_PROMISE_begins);
    check(names_init(&names, 64, 64) == 0);
    read_journal(node, &names, &journal);
    for (struct ledger_account *one = names_recorded(&ledger->names); one != NULL;
         one = names_recorded_next(one)) {
        struct ledger_account *whole = names_find_tag(&names, one->tag, strlen(one->tag));
        compare(node, one, whole);
        ledger_account_drop(&whole);
        count++;
    }
    for (struct ledger_account *one = names_recorded(&names); one != NULL;
         one = names_recorded_next(one))
        count--;
    /* Both have counted the START that this process has written. */
    if (count != 0 || journal.entries != ledger->journal.entries ||
        journal.found_lease != ledger->journal.found_lease ||
        journal.found_download != ledger->journal.found_download)
        sim_break(node->sim, SIM_PROMISE_begins, "%s begins with another journal than it has",
                  node->name);
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
