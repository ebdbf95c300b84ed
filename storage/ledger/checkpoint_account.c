/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an account's records come to: adding a record, joining two parts of a journal, and settling,
 * which is where what is alike becomes one and what has ended goes. Called by checkpoint_make.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/checkpoint.h"

static void drop_file(struct ledger_file *file)
{
    if (file != NULL)
        names_drop(&file->name);
}

static struct ledger_file *hold_file(struct ledger_file *file)
{
    names_hold(&file->name);
    return file;
}

void checkpoint_account_clear(struct checkpoint_account *account)
{
    for (uint32_t i = 0; i < account->usages_count; i++)
        drop_file(account->usages[i].file);
    for (uint32_t i = 0; i < account->uses_count; i++)
        drop_file(account->uses[i].file);
    free(account->operations);
    free(account->usages);
    free(account->uses);
    if (account->name != NULL)
        names_drop(account->name);
    memset(account, 0, sizeof(*account));
}

/* What counts as one kind, of which settle_operations may keep one. */
enum kind { KIND_MONEY, KIND_STATUS, KIND_LIMIT, KIND_AGE, KIND_LINK };

static enum kind kind_of(enum ledger_operation operation)
{
    switch (operation) {
    case LEDGER_OPEN:
    case LEDGER_TOP_UP:
    case LEDGER_ADJUST:
        return KIND_MONEY;
    case LEDGER_SUSPEND:
    case LEDGER_ACTIVATE:
        return KIND_STATUS;
    case LEDGER_LIMIT:
        return KIND_LIMIT;
    case LEDGER_REVOKE_BEFORE:
        return KIND_AGE;
    case LEDGER_REVOKE_LINK:
        return KIND_LINK;
    }
    check(false);
    return KIND_MONEY;
}

/* ---- adding ---- */

/* Makes room for `more` in an array of `count` items. 0 or -ENOMEM. */
static int keep_room(void **items, uint32_t count, uint32_t *room, uint32_t more, size_t size)
{
    if (count + more <= *room)
        return 0;
    uint32_t wanted = *room == 0 ? 4 : *room;
    while (wanted < count + more)
        wanted *= 2;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return -ENOMEM;
    *items = grown;
    *room = wanted;
    return 0;
}

#define KEEP_ROOM(account, what, more)                                                             \
    keep_room((void **)&(account)->what, (account)->what##_count, &(account)->what##_room, (more), \
              sizeof(*(account)->what))

/* Most records of an account are of one file and day, or of one use, in a row. */
static int add_usage(struct checkpoint_account *account, const struct journal_entry *entry)
{
    const struct journal_record *record = &entry->record;
    uint32_t day = journal_day(record->time_ms);
    uint32_t last = account->usages_count;
    if (last == 0 || account->usages[last - 1].day != day ||
        account->usages[last - 1].file != entry->file) {
        int result = KEEP_ROOM(account, usages, 1);
        if (result != 0)
            return result;
        account->usages[account->usages_count++] =
            (struct checkpoint_usage){.day = day, .file = hold_file(entry->file)};
    }
    struct checkpoint_usage *usage = &account->usages[account->usages_count - 1];
    usage->bytes += record->bytes_delta;
    usage->responses += record->responses_delta;
    return 0;
}

static int add_use(struct checkpoint_account *account, const struct journal_entry *entry)
{
    const struct journal_record *record = &entry->record;
    if (record->opened_ms == 0)
        return 0;
    int result = KEEP_ROOM(account, uses, 1);
    if (result != 0)
        return result;
    struct checkpoint_use *use = &account->uses[account->uses_count++];
    *use = (struct checkpoint_use){.file = hold_file(entry->file),
                                   .opened_ms = record->opened_ms,
                                   .bytes = record->bytes_delta,
                                   .till_s = record->till_s,
                                   .keep_s = record->keep_s,
                                   .taken = record->taken};
    memcpy(use->link_id, record->link_id, sizeof(use->link_id));
    return 0;
}

static int add_operation(struct checkpoint_account *account, const struct journal_record *record)
{
    int result = KEEP_ROOM(account, operations, 1);
    if (result != 0)
        return result;
    struct checkpoint_operation *operation = &account->operations[account->operations_count++];
    *operation = (struct checkpoint_operation){.operation = record->operation,
                                               .plan = record->plan,
                                               .amount = record->amount,
                                               .time_ms = record->time_ms,
                                               .number = record->operation_number,
                                               .max_bytes = record->max_bytes,
                                               .max_conns = record->max_conns};
    memcpy(operation->transaction, record->transaction, sizeof(operation->transaction));
    memcpy(operation->node, record->node, sizeof(operation->node));
    if (record->operation_number > account->operation_number)
        account->operation_number = record->operation_number;
    account->controls += kind_of(record->operation) != KIND_MONEY;
    return 0;
}

int checkpoint_account_add(struct checkpoint_account *account, const struct journal_entry *entry,
                           uint32_t segment)
{
    const struct journal_record *record = &entry->record;
    if (account->name == NULL) {
        account->name = &entry->account->name;
        names_hold(account->name);
        account->first = record->sequence;
        account->sequence = record->sequence - 1;
    }
    if (record->sequence != account->sequence + 1)
        return -EBADMSG;
    int result =
        record->type == JOURNAL_MONEY ? add_operation(account, record) : add_usage(account, entry);
    if (result == 0 && record->type == JOURNAL_USAGE)
        result = add_use(account, entry);
    if (result != 0)
        return result;
    if (account->tail_segment != segment) {
        account->tail_segment = segment;
        account->tail_before = account->sequence;
    }
    account->sequence = record->sequence;
    account->bytes += record->bytes_delta;
    account->responses += record->responses_delta;
    return 0;
}

int checkpoint_account_join(struct checkpoint_account *account, struct checkpoint_account *later)
{
    int result = KEEP_ROOM(account, operations, later->operations_count);
    if (result == 0)
        result = KEEP_ROOM(account, usages, later->usages_count);
    if (result == 0)
        result = KEEP_ROOM(account, uses, later->uses_count);
    if (result != 0)
        return result;
    for (uint32_t i = 0; i < later->operations_count; i++)
        account->operations[account->operations_count++] = later->operations[i];
    for (uint32_t i = 0; i < later->usages_count; i++)
        account->usages[account->usages_count++] = later->usages[i];
    for (uint32_t i = 0; i < later->uses_count; i++)
        account->uses[account->uses_count++] = later->uses[i];
    later->usages_count = later->uses_count = 0; /* the references moved */
    account->bytes += later->bytes;
    account->responses += later->responses;
    account->controls += later->controls;
    account->sequence = later->sequence;
    account->tail_segment = later->tail_segment;
    account->tail_before = later->tail_before;
    if (later->operation_number > account->operation_number)
        account->operation_number = later->operation_number;
    checkpoint_account_clear(later);
    return 0;
}

/* ---- settling ---- */

#define ORDER(one, other)                                                                          \
    if ((one) != (other))                                                                          \
    return (one) < (other) ? -1 : 1

int checkpoint_order_files(const struct ledger_file *one, const struct ledger_file *other)
{
    if (one == other)
        return 0;
    if (one == NULL || other == NULL)
        return one == NULL ? -1 : 1;
    size_t shorter = one->name.length < other->name.length ? one->name.length : other->name.length;
    int order = memcmp(one->name.text, other->name.text, shorter);
    if (order != 0)
        return order;
    ORDER(one->name.length, other->name.length);
    return 0;
}

static int order_usages(const void *first, const void *second)
{
    const struct checkpoint_usage *one = first, *other = second;
    ORDER(one->day, other->day);
    return checkpoint_order_files(one->file, other->file);
}

static int order_uses(const void *first, const void *second)
{
    const struct checkpoint_use *one = first, *other = second;
    int order = memcmp(one->link_id, other->link_id, sizeof(one->link_id));
    if (order == 0)
        order = checkpoint_order_files(one->file, other->file);
    if (order != 0)
        return order;
    ORDER(one->opened_ms, other->opened_ms);
    return 0;
}

/* As rank_compare in functions/orders.lua. */
static int order_ranks(const struct checkpoint_operation *one,
                       const struct checkpoint_operation *other)
{
    ORDER(one->number, other->number);
    if (one->number == 0)
        ORDER(one->time_ms, other->time_ms);
    return strcmp(one->node, other->node);
}

static int order_operations(const void *first, const void *second)
{
    const struct checkpoint_operation *one = first, *other = second;
    enum kind kind = kind_of(one->operation);
    ORDER(kind, kind_of(other->operation));
    if (kind == KIND_LINK) {
        int order = strcmp(one->transaction, other->transaction);
        if (order != 0)
            return order;
    }
    int order = order_ranks(one, other);
    if (order != 0)
        return order;
    ORDER(one->time_ms, other->time_ms);
    order = strcmp(one->transaction, other->transaction);
    if (order != 0)
        return order;
    ORDER(one->amount, other->amount);
    ORDER(one->operation, other->operation);
    return 0;
}

/* Merges `later` into `kept` where one of the two says all; false where both are needed, as that of which
 * somebody may ask by its transaction's id. */
static bool merge_operation(struct checkpoint_operation *kept,
                            const struct checkpoint_operation *later)
{
    enum kind kind = kind_of(kept->operation);
    if (kind == KIND_MONEY || kind != kind_of(later->operation) ||
        (kind != KIND_LINK && kept->transaction[0] != '\0'))
        return false;
    if (kind == KIND_LINK) {
        if (strcmp(kept->transaction, later->transaction) != 0)
            return false;
        /* The link is revoked since the first of the two, until the later end. */
        if (later->time_ms < kept->time_ms)
            kept->time_ms = later->time_ms;
        if (later->amount > kept->amount)
            kept->amount = later->amount;
        return true;
    }
    if (kind == KIND_AGE && later->amount <= kept->amount)
        return later->transaction[0] == '\0';
    *kept = *later; /* of status and limits: of the higher rank, since they are in order */
    return true;
}

/* An empty list may have no memory, which qsort must not be given. */
#define SORT(account, what, order)                                                                 \
    if ((account)->what##_count > 0)                                                               \
    qsort((account)->what, (account)->what##_count, sizeof((account)->what[0]), (order))

static void settle_operations(struct checkpoint_account *account, uint64_t time_ms)
{
    uint32_t kept = 0;
    SORT(account, operations, order_operations);
    for (uint32_t i = 0; i < account->operations_count; i++) {
        struct checkpoint_operation *operation = &account->operations[i];
        if (operation->operation == LEDGER_REVOKE_LINK &&
            (uint64_t)operation->amount + CHECKPOINT_LINK_KEPT_MS <= time_ms)
            continue;
        if (kept > 0 && merge_operation(&account->operations[kept - 1], operation))
            continue;
        account->operations[kept++] = *operation;
    }
    account->operations_count = kept;
}

/* The month that ended so many months before that of the time, as yyyymm00. */
static uint32_t month_before(uint64_t time_ms, uint32_t months)
{
    uint32_t day = journal_day(time_ms), number = day / 10000 * 12 + day / 100 % 100 - 1;
    number -= months;
    return number / 12 * 10000 + (number % 12 + 1) * 100;
}

static void settle_usages(struct checkpoint_account *account, uint64_t time_ms)
{
    uint64_t days_ms = (uint64_t)CHECKPOINT_DAYS * 86400000;
    uint32_t first_day = time_ms > days_ms ? journal_day(time_ms - days_ms) : 0;
    uint32_t first_month = month_before(time_ms, CHECKPOINT_MONTHS), kept = 0;
    for (uint32_t i = 0; i < account->usages_count; i++) {
        struct checkpoint_usage *usage = &account->usages[i];
        if (usage->day < first_day)
            usage->day -= usage->day % 100;
        if (usage->day < first_month && usage->file != NULL) {
            drop_file(usage->file);
            usage->file = NULL;
        }
    }
    SORT(account, usages, order_usages);
    for (uint32_t i = 0; i < account->usages_count; i++) {
        struct checkpoint_usage *usage = &account->usages[i];
        if (kept > 0 && order_usages(&account->usages[kept - 1], usage) == 0) {
            account->usages[kept - 1].bytes += usage->bytes;
            account->usages[kept - 1].responses += usage->responses;
            drop_file(usage->file);
        } else {
            account->usages[kept++] = *usage;
        }
    }
    account->usages_count = kept;
}

/* A link's state ends as a whole: with the last of its uses, which stand together from `from` on. */
static uint64_t link_ends_ms(const struct checkpoint_account *account, uint32_t from)
{
    const struct checkpoint_use *first = &account->uses[from];
    uint32_t keep_s = 0;
    for (const struct checkpoint_use *use = first;
         use < account->uses + account->uses_count &&
         memcmp(use->link_id, first->link_id, sizeof(use->link_id)) == 0;
         use++)
        keep_s = use->keep_s > keep_s ? use->keep_s : keep_s;
    return (uint64_t)keep_s * 1000 + CHECKPOINT_LINK_KEPT_MS;
}

static void settle_uses(struct checkpoint_account *account, uint64_t time_ms)
{
    uint8_t link_id[LEDGER_LINK_ID_BYTES] = {0};
    uint32_t kept = 0;
    uint64_t ends_ms = 0;
    SORT(account, uses, order_uses);
    for (uint32_t i = 0; i < account->uses_count; i++) {
        struct checkpoint_use *use = &account->uses[i];
        struct checkpoint_use *before = kept > 0 ? &account->uses[kept - 1] : NULL;
        if (i == 0 || memcmp(use->link_id, link_id, sizeof(link_id)) != 0)
            ends_ms = link_ends_ms(account, i);
        memcpy(link_id, use->link_id, sizeof(link_id));
        bool ended = ends_ms <= time_ms;
        if (!ended && (before == NULL || order_uses(before, use) != 0)) {
            account->uses[kept++] = *use;
            continue;
        }
        if (!ended) {
            before->bytes += use->bytes;
            before->taken = before->taken || use->taken;
            before->till_s = use->till_s > before->till_s ? use->till_s : before->till_s;
            before->keep_s = use->keep_s > before->keep_s ? use->keep_s : before->keep_s;
        }
        drop_file(use->file);
    }
    account->uses_count = kept;
}

void checkpoint_account_settle(struct checkpoint_account *account, uint64_t time_ms)
{
    settle_operations(account, time_ms);
    settle_usages(account, time_ms);
    settle_uses(account, time_ms);
}
