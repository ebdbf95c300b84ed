/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the first segments have left a journal, and no archive has them, its checkpoint says what their records come
 * to. It covers some of the segments that are left, too: what those hold is taken off again, so that what remains is of
 * the records that left, and everything behind them counts record by record, as always. See reconcile.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/archive.h"
#include "storage/ledger/checkpoint_make.h"
#include "storage/ledger/names.h"
#include "storage/ledger/reconcile_internal.h"

#define NAMES_HINT 1024 /* one account and its files at a time */

/* ---- before the journal is read ---- */

static int take_account(void *context, const struct checkpoint_account *from)
{
    struct ledger_reconcile *reconcile = context;
    const char *tag = names_account(from->name)->tag;
    struct reconcile_account *account = reconcile_account(reconcile, tag, strlen(tag));
    if (account == NULL)
        return -ENOMEM;
    struct reconcile_share *share = &account->shares[reconcile->lane];
    share->covered = from->sequence;
    share->bytes = from->bytes;
    share->responses = from->responses;
    return 0;
}

static int read_checkpoint(const struct checkpoint_place *place, uint32_t segment,
                           checkpoint_each *each, void *context, struct checkpoint_head *head)
{
    struct checkpoint found;
    struct names names;
    int result = names_init(&names, NAMES_HINT, NAMES_HINT);
    if (result != 0)
        return result;
    result = checkpoint_read(place, segment, &names, each, context, &found);
    *head = found.head;
    checkpoint_clear(&found);
    names_free(&names);
    return result;
}

/* Takes the newest sound checkpoint that covers the segments before `first`. 0, also where there is none. */
static int take_checkpoint(struct ledger_reconcile *reconcile, struct reconcile_lane *lane,
                           const struct checkpoint_place *place, uint32_t first)
{
    struct checkpoint_head head = {0};
    int64_t segment = checkpoint_newest(place, UINT32_MAX);
    for (; segment >= (int64_t)first - 1;
         segment = checkpoint_newest(place, (uint32_t)segment - 1)) {
        /* Its hash is verified before any of its accounts counts. */
        int result = read_checkpoint(place, (uint32_t)segment, NULL, NULL, &head);
        if (result == 0)
            result = read_checkpoint(place, (uint32_t)segment, take_account, reconcile, &head);
        else if (result != -ENOMEM)
            continue; /* its node is writing it, or it is damaged */
        lane->from = (uint32_t)segment;
        lane->chain = head.chain;
        return result;
    }
    return 0;
}

/* The first segment that is there, in the journal or the archive; 0: nobody can say. */
static uint32_t first_of(const struct ledger_reconcile *reconcile,
                         const uint8_t id[JOURNAL_ID_BYTES], int journal)
{
    struct ledger_disk_list list = {0};
    struct archive_disk disk;
    if (archive_disk_open(&disk, &ledger_system_disk, journal, id, reconcile->archive) == 0 &&
        disk.table.list(disk.table.self, journal, &list) != 0)
        list.first = 0;
    archive_disk_close(&disk);
    return list.first;
}

int reconcile_begin(struct ledger_reconcile *reconcile, struct reconcile_lane *lane)
{
    char name[LANE_NAME_SIZE], path[PATH_MAX];
    uint8_t id[JOURNAL_ID_BYTES];
    int journal = -1, result = lane_look(lane->state_dir, lane->number, id, &journal);
    if (result != 0)
        return 0; /* reading the journal says why */
    lane_name(lane->number, name);
    uint32_t first = first_of(reconcile, id, journal);
    if (snprintf(path, sizeof(path), "%s/%s/checkpoints", lane->state_dir, name) < PATH_MAX &&
        first > 1) {
        const struct checkpoint_place place = {.disk = &ledger_system_disk,
                                               .journal = journal,
                                               .checkpoints =
                                                   open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                               .instance = id};
        if (place.checkpoints >= 0) {
            result = take_checkpoint(reconcile, lane, &place, first);
            close(place.checkpoints);
        }
    }
    close(journal);
    return result;
}

/* ---- while it is read ---- */

void reconcile_take_covered(struct ledger_reconcile *reconcile, struct reconcile_share *share,
                            const struct ledger_walk_record *shown)
{
    const struct journal_record *record = shown->record;
    if (share->first == 0)
        share->first = record->sequence;
    if (shown->segment > reconcile->lanes[reconcile->lane].from)
        return;
    share->early = record->sequence;
    share->bytes -= record->bytes_delta;
    share->responses -= record->responses_delta;
}

void reconcile_take_header(struct ledger_reconcile *reconcile,
                           const struct ledger_walk_record *shown)
{
    struct reconcile_lane *lane = &reconcile->lanes[reconcile->lane];
    if (shown->record->type == JOURNAL_SEGMENT && shown->segment == lane->from + 1)
        lane->goes_on = shown->record->previous == lane->chain;
}

/* ---- behind it ---- */

/* Whether the account's records that are left follow those of the checkpoint. */
static bool follows(const struct reconcile_share *share)
{
    return share->early != 0 ? share->early == share->covered
                             : share->first == 0 || share->first == share->covered + 1;
}

/* Counts what has left of the account. */
static void count_left(struct reconcile_account *account, struct reconcile_share *share)
{
    struct ledger_figures *figures = &account->figures;
    uint64_t left = share->first > 0 ? share->first - 1 : share->covered;
    uint64_t given = share->given > 0 ? (uint64_t)share->given : 0;
    uint64_t posted = share->watermark >= left ? share->bytes
                      : share->watermark == 0  ? 0
                      : given < share->bytes   ? given
                                               : share->bytes;
    figures->posted += posted;
    figures->unposted += share->bytes - posted;
    figures->unposted_records += share->watermark < left ? left - share->watermark : 0;
    figures->responses += share->responses;
    /* They are described nowhere any more; these become bytes in compare_logs. */
    figures->logged_most += share->responses + (share->bytes > 0 ? 1 : 0);
    if (share->watermark > 0 && share->watermark < left)
        account->left += left - share->watermark;
    if (share->sequence < share->covered)
        share->sequence = share->covered;
}

int reconcile_end(struct ledger_reconcile *reconcile, const struct reconcile_lane *lane)
{
    size_t index = (size_t)(lane - reconcile->lanes);
    if (!lane->goes_on)
        return -EBADMSG;
    for (size_t i = 0; i < reconcile->slots_count; i++) {
        struct reconcile_account *account = reconcile->slots[i];
        if (account == NULL)
            continue;
        if (!follows(&account->shares[index]))
            return -EBADMSG;
        count_left(account, &account->shares[index]);
    }
    return 0;
}
