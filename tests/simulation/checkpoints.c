/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the checkpoints of the simulated nodes, and what leaves their journals: a start with a checkpoint is
 * compared with the whole journal, which is read beside it, in the archive where a part of it has left.
 */
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/archive.h"
#include "storage/ledger/checkpoint_index.h"
#include "storage/ledger/checkpoints.h"
#include "tests/simulation/asleep.h"

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

bool node_records(const struct sim_node *node, const char *text, struct names_records *out)
{
    struct ledger *ledger = node->ledger;
    struct ledger_account *account = names_find(&ledger->names, text, strlen(text));
    const struct checkpoint_place place = {.disk = ledger->outside.disk,
                                           .journal = ledger->journal.directory,
                                           .checkpoints = ledger->lane.checkpoints,
                                           .instance = ledger->journal.instance};
    struct checkpoint_index index;
    const uint8_t *bytes;
    uint32_t length;
    bool is_awake = account != NULL && names_is_awake(account);
    *out = (struct names_records){0};
    if (is_awake)
        *out = (struct names_records){atomic_load(&account->sequence), atomic_load(&account->bytes),
                                      atomic_load(&account->operations), account->tail_before,
                                      account->tail_segment};
    ledger_account_drop(&account);
    if (is_awake || ledger->names.base == 0)
        return true;
    int result = checkpoint_index_open(&index, &place, checkpoints_segment(ledger));
    if (result == 0)
        result = checkpoint_index_find(&index, text, strlen(text), &bytes, &length);
    if (result == 1)
        checkpoint_account_records(bytes, out);
    checkpoint_index_close(&index);
    return result >= 0;
}

static void compare(struct sim_node *node, const struct ledger_account *whole)
{
    struct names_records own;
    bool is_read = node_records(node, whole->name.text, &own);
    struct ledger_account *account =
        names_find(&node->ledger->names, whole->name.text, whole->name.length);
    bool is_awake = account != NULL && names_is_awake(account);
    if (!is_read || own.sequence != whole->sequence || own.bytes != whole->bytes ||
        own.operation_number != whole->operations || own.tail_segment != whole->tail_segment ||
        own.tail_before != whole->tail_before ||
        (is_awake ? account->handed != whole->handed
                  : own.tail_segment > node->ledger->journal.from_checkpoint))
        sim_break(node->sim, SIM_PROMISE_begins,
                  "%s begins with other figures of %s than its journal has", node->name,
                  whole->tag);
    ledger_account_drop(&account);
}

static void compare_all(struct sim_node *node, struct names *names, const struct journal *journal)
{
    struct ledger *ledger = node->ledger;
    uint32_t count = ledger->names.accounts;
    for (struct ledger_account *one = names_recorded(names); one != NULL;
         one = names_recorded_next(one)) {
        compare(node, one);
        count--;
    }
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

/* Of those that are asleep the node has what its checkpoint has, and nothing behind that. */
static void compare_asleep(struct sim_node *node, struct names *names)
{
    struct names_records own;
    for (struct ledger_account *one = names_recorded(names); one != NULL;
         one = names_recorded_next(one)) {
        bool is_read = node_records(node, one->name.text, &own);
        if (!is_read || own.sequence != one->sequence || own.bytes != one->bytes)
            sim_break(node->sim, SIM_PROMISE_sleeps,
                      "%s has let %s go, of which its journal has more than its checkpoint",
                      node->name, one->tag);
    }
}

void watch_asleep(struct sim_node *node)
{
    struct names names;
    struct journal journal;
    uint64_t left = atomic_load(&node->ledger->names.left);
    if (left == node->asleep)
        return;
    node->asleep = left;
    watch_looked(node->sim, SIM_PROMISE_sleeps);
    sim_tell(node->sim, node->name, "has let an account go");
    check(names_init(&names, 64, 64) == 0);
    if (read_journal(node, &names, &journal))
        compare_asleep(node, &names);
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
