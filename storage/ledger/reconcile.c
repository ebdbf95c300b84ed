/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journals and the logs have of each account, and the comparison. See reconcile.h.
 */
#include "storage/ledger/reconcile_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/ledger/names.h"
#include "storage/ledger/verify.h"
#include "storage/ledger/walk.h"

/* ---- the lanes ---- */

static int keep_lane(struct ledger_reconcile *reconcile, const char *state_dir, unsigned number,
                     const char *instance, char *error, size_t error_size)
{
    const struct reconcile_lane *other = reconcile_lane_of(reconcile, instance);
    char name[LANE_NAME_SIZE];
    lane_name(number, name);
    if (other != NULL) {
        snprintf(error, error_size,
                 "%s and %s have the same %s, so one is a copy of the other; name one of the two",
                 other->state_dir, state_dir, name);
        return -EEXIST;
    }
    if (reconcile->lanes_count == LEDGER_RECONCILE_LANES_MAX) {
        snprintf(error, error_size, "more than %u lanes; name fewer directories",
                 LEDGER_RECONCILE_LANES_MAX);
        return -E2BIG;
    }
    struct reconcile_lane *lanes =
        realloc(reconcile->lanes, (reconcile->lanes_count + 1) * sizeof(struct reconcile_lane));
    char *copy = strdup(state_dir);
    if (lanes != NULL)
        reconcile->lanes = lanes;
    if (lanes == NULL || copy == NULL) {
        free(copy);
        snprintf(error, error_size, "no memory");
        return -ENOMEM;
    }
    struct reconcile_lane *lane = &lanes[reconcile->lanes_count++];
    *lane = (struct reconcile_lane){.state_dir = copy, .number = number};
    snprintf(lane->instance, sizeof(lane->instance), "%s", instance);
    return 0;
}

int ledger_reconcile_add(struct ledger_reconcile *reconcile, const char *state_dir, char *error,
                         size_t error_size)
{
    int added = 0;
    check(reconcile->count == 0); /* each account has a share for each lane */
    for (unsigned number = 0; number < LANES_MAX; number++) {
        uint8_t id[JOURNAL_ID_BYTES];
        char instance[LEDGER_HEX_SIZE];
        int journal = -1, result = lane_look(state_dir, number, id, &journal);
        if (result == -ENOENT)
            continue;
        if (result != 0) {
            char name[LANE_NAME_SIZE];
            lane_name(number, name);
            snprintf(error, error_size, "%s/%s cannot be read: %s; %s", state_dir, name,
                     strerrordesc_np(-result),
                     result == -EACCES ? "run this as the user that runs the node, or as root"
                                       : "ask `tollgate ledger verify` about this directory");
            return result;
        }
        close(journal);
        lane_to_hex(id, instance);
        result = keep_lane(reconcile, state_dir, number, instance, error, error_size);
        if (result != 0)
            return result;
        added++;
    }
    return added;
}

void ledger_reconcile_archive(struct ledger_reconcile *reconcile, const char *archive)
{
    reconcile->archive = archive;
}

/* ---- the journals ---- */

/* What has left the journal, and is neither in the archive nor in a checkpoint, is in no figure: nothing can be
 * compared. */
static int refuse_partial(const struct ledger_reconcile *reconcile,
                          const struct reconcile_lane *lane,
                          const struct ledger_verification *found, char *error, size_t error_size)
{
    snprintf(error, error_size,
             "%s/%s begins with segment %" PRIu32
             ", those before have left the journal, and no checkpoint "
             "of them can be read; %s the directory that has %s-%08" PRIu32
             ".seg.zst and the earlier ones",
             lane->state_dir, found->lane, found->first,
             reconcile->archive != NULL ? "the archive lacks some: bring back"
                                        : "name by --archive",
             lane->instance, found->first - 1);
    return -ENODATA;
}

/* The journal lacks its first segments. */
static int take_partial(struct ledger_reconcile *reconcile, const struct reconcile_lane *lane,
                        const struct ledger_verification *found, char *error, size_t error_size)
{
    if (lane->from == 0)
        return refuse_partial(reconcile, lane, found, error, error_size);
    if (lane->from < found->first - 1) {
        snprintf(error, error_size, "%s/%s: segments left the journal meanwhile; ask again",
                 lane->state_dir, found->lane);
        return -EAGAIN;
    }
    int result = reconcile_end(reconcile, lane);
    if (result == -EBADMSG)
        snprintf(error, error_size,
                 "%s/%s: the checkpoint of segment %" PRIu32
                 " is not of the journal beside it; take another copy of the state directory",
                 lane->state_dir, found->lane, lane->from);
    return result;
}

/* How many bytes the journal says of responses that have ended, and may not say of others. */
static void take_responses(struct ledger_figures *figures, const struct ledger_walk_record *shown)
{
    const struct journal_record *record = shown->record;
    size_t places = record->type == JOURNAL_USAGE ? 1 : JOURNAL_RESPONSES;
    for (size_t i = 0; i < places; i++)
        if (record->response[i].used)
            figures->logged_least += record->response[i].length;
    /* logged_most counts them here, and becomes bytes in `judge`. */
    if (shown->format <= JOURNAL_OLD_FORMAT_LAST)
        figures->logged_most += record->responses_delta;
    else
        figures->logged_most += record->undescribed;
}

static int take_record(void *context, const struct ledger_walk_record *shown)
{
    struct ledger_reconcile *reconcile = context;
    const struct journal_record *record = shown->record;
    reconcile_take_header(reconcile, shown);
    if (shown->tag == NULL)
        return 0;
    struct reconcile_account *account =
        reconcile_account(reconcile, shown->tag, strlen(shown->tag));
    if (account == NULL)
        return -ENOMEM;
    struct ledger_figures *figures = &account->figures;
    struct reconcile_share *share = &account->shares[reconcile->lane];
    if (record->type != JOURNAL_MONEY)
        take_responses(figures, shown);
    if (record->type == JOURNAL_RESPONSE) /* it is part of the USAGE record that follows */
        return 0;
    share->sequence = record->sequence;
    reconcile_take_covered(reconcile, share, shown);
    figures->responses += record->responses_delta;
    if (record->sequence <= share->watermark) {
        figures->posted += record->bytes_delta;
        return 0;
    }
    figures->unposted += record->bytes_delta;
    figures->unposted_records++;
    if (figures->unposted_since_ms == 0 || record->time_ms < figures->unposted_since_ms)
        figures->unposted_since_ms = record->time_ms;
    return 0;
}

static void tell_progress(void *context, uint32_t segment, uint32_t segments)
{
    struct ledger_reconcile *reconcile = context;
    if (reconcile->progress != NULL)
        reconcile->progress(reconcile->context, "segment", segment, segments);
}

int ledger_reconcile_journals(struct ledger_reconcile *reconcile,
                              ledger_reconcile_progress *progress, void *context, char *error,
                              size_t error_size)
{
    int result = 0;
    reconcile->progress = progress;
    reconcile->context = context;
    for (size_t i = 0; i < reconcile->lanes_count && result == 0; i++) {
        struct reconcile_lane *lane = &reconcile->lanes[i];
        char said[600] = "";
        struct ledger_verification found = {.progress = tell_progress,
                                            .take = take_record,
                                            .context = reconcile,
                                            .archive = reconcile->archive};
        reconcile->lane = i;
        result = reconcile_begin(reconcile, lane);
        if (result != 0)
            snprintf(said, sizeof(said), "its checkpoint cannot be read: %s",
                     strerrordesc_np(-result));
        else
            result = ledger_verify(lane->state_dir, lane->number, &found, said, sizeof(said));
        lane->is_written = found.is_written;
        if (result != 0)
            snprintf(error, error_size, "%s/%s: %s", lane->state_dir, found.lane,
                     said[0] != '\0' ? said : strerrordesc_np(-result));
        else if (found.first > 1)
            result = take_partial(reconcile, lane, &found, error, error_size);
    }
    return result == -ENOENT ? -EIO : result;
}

bool ledger_reconcile_is_written(const struct ledger_reconcile *reconcile)
{
    bool is_written = false;
    for (size_t i = 0; i < reconcile->lanes_count; i++)
        is_written =
            is_written || lane_is_locked(reconcile->lanes[i].state_dir, reconcile->lanes[i].number);
    return is_written;
}

/* ---- the logs ---- */

int ledger_reconcile_logged(struct ledger_reconcile *reconcile, const char *issuer,
                            const char *account, size_t account_length, uint64_t acknowledged,
                            bool before)
{
    char tag[LEDGER_TAG_MAX];
    int result = names_tag_write(issuer, account, account_length, tag);
    if (result != 0)
        return result;
    struct reconcile_account *found = reconcile_account(reconcile, tag, strlen(tag));
    if (found == NULL)
        return -ENOMEM;
    found->figures.logged += acknowledged;
    found->logged_before += before ? acknowledged : 0;
    return 0;
}

bool ledger_reconcile_knows(struct ledger_reconcile *reconcile, const char *issuer,
                            const char *account, size_t account_length)
{
    char tag[LEDGER_TAG_MAX];
    return names_tag_write(issuer, account, account_length, tag) == 0 &&
           reconcile_has(reconcile, tag, strlen(tag));
}

bool ledger_reconcile_logs_suffice(const struct ledger_reconcile *reconcile)
{
    for (size_t i = 0; i < reconcile->slots_count; i++) {
        const struct reconcile_account *account = reconcile->slots[i];
        if (account != NULL && account->figures.logged < account->figures.logged_least)
            return false;
    }
    return true;
}

/* ---- the comparison ---- */

static void compare_redis(const struct ledger_reconcile *reconcile,
                          const struct reconcile_account *account, struct ledger_reconciled *out)
{
    const struct ledger_figures *figures = &account->figures;
    int64_t expected = (int64_t)figures->posted + figures->foreign;
    out->differences.used = figures->used - expected;
    out->differences.months = figures->months - expected;
    out->differences.given = figures->given - (int64_t)figures->posted;
    for (size_t i = 0; i < reconcile->lanes_count; i++) {
        const struct reconcile_share *share = &account->shares[i];
        if (share->watermark > share->sequence)
            out->differences.lacking += share->watermark - share->sequence;
    }
    out->differences.left = account->left;
}

static void compare_logs(const struct reconcile_account *account, struct ledger_reconciled *out)
{
    struct ledger_figures *figures = &out->figures;
    bool has_undescribed = figures->logged_most > 0;
    figures->logged_most =
        has_undescribed ? figures->posted + figures->unposted : figures->logged_least;
    if (figures->logged_most < figures->logged_least)
        figures->logged_most = figures->logged_least;
    if (figures->logged < figures->logged_least)
        out->differences.logged = -(int64_t)(figures->logged_least - figures->logged);
    else if (account->logged_before > figures->logged_most)
        out->differences.logged = (int64_t)(account->logged_before - figures->logged_most);
}

static int by_tag(const void *a, const void *b)
{
    const struct reconcile_account *const *left = a, *const *right = b;
    return strcmp((*left)->tag, (*right)->tag);
}

int ledger_reconcile_each(struct ledger_reconcile *reconcile, bool with_logs,
                          void (*each)(void *context, const struct ledger_reconciled *account),
                          void *context)
{
    struct reconcile_account **sorted =
        malloc((reconcile->count + 1) * sizeof(struct reconcile_account *));
    size_t count = 0;
    if (sorted == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < reconcile->slots_count; i++)
        if (reconcile->slots[i] != NULL)
            sorted[count++] = reconcile->slots[i];
    qsort(sorted, count, sizeof(struct reconcile_account *), by_tag);
    for (size_t i = 0; i < count; i++) {
        struct ledger_reconciled out = {.account = sorted[i]->tag, .figures = sorted[i]->figures};
        struct ledger_differences *differences = &out.differences;
        differences->damage = sorted[i]->damage;
        if (reconcile->has_redis)
            compare_redis(reconcile, sorted[i], &out);
        if (with_logs)
            compare_logs(sorted[i], &out);
        out.agrees = differences->used == 0 && differences->months == 0 &&
                     differences->given == 0 && differences->lacking == 0 &&
                     differences->left == 0 && differences->logged == 0 &&
                     differences->damage[0] == '\0';
        each(context, &out);
    }
    free(sorted);
    return 0;
}

const struct ledger_foreign *ledger_reconcile_foreign(const struct ledger_reconcile *reconcile,
                                                      size_t index)
{
    return index < reconcile->foreign_count ? &reconcile->foreign[index] : NULL;
}
