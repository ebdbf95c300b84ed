/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the call of tollgate_fill for a part of an account's checkpoint. See fill_part.h.
 */
#include "storage/ledger/fill_part.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/ledger/post.h"

enum { FIXED_KEYS = LEDGER_COUNT(LEDGER_POST_KEYS) + LEDGER_TRANSACTION_KEYS_COUNT };

/* The rows of a part, counted through usage, uses and operations. */
struct rows {
    uint32_t first, end;         /* of all */
    uint32_t uses_at, orders_at; /* where these begin */
};

static uint32_t rows_of(const struct checkpoint_account *checkpoint)
{
    return checkpoint->usages_count + checkpoint->uses_count + checkpoint->operations_count;
}

uint32_t fill_parts(const struct checkpoint_account *checkpoint, uint32_t rows)
{
    uint32_t count = rows_of(checkpoint);
    return count == 0 ? 1 : (count + rows - 1) / rows;
}

static struct rows rows_of_part(const struct fill_says *says)
{
    const struct checkpoint_account *checkpoint = says->checkpoint;
    uint32_t count = rows_of(checkpoint), first = (says->number - 1) * says->rows;
    check(says->number >= 1 && says->number <= fill_parts(checkpoint, says->rows));
    return (struct rows){
        .first = first,
        .end = count - first > says->rows ? first + says->rows : count,
        .uses_at = checkpoint->usages_count,
        .orders_at = checkpoint->usages_count + checkpoint->uses_count,
    };
}

/* How many rows of the part stand from `begin` on and before `end`. */
static uint32_t within(const struct rows *rows, uint32_t begin, uint32_t end)
{
    uint32_t from = rows->first > begin ? rows->first : begin;
    uint32_t to = rows->end < end ? rows->end : end;
    return to > from ? to - from : 0;
}

/* ---- words ---- */

static void add_bytes(struct fill_part *part, const char *text, size_t length)
{
    check(part->count < (int)FILL_WORDS_MAX);
    part->words[part->count] = text;
    part->lengths[part->count++] = length;
    part->bytes += length;
}

static void add(struct fill_part *part, const char *text)
{
    add_bytes(part, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static const char *write_text(struct fill_part *part,
                                                                    const char *format, ...)
{
    char *at = part->text + part->used;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(at, sizeof(part->text) - part->used, format, arguments);
    va_end(arguments);
    check(length >= 0 && (size_t)length < sizeof(part->text) - part->used);
    part->used += (size_t)length + 1;
    return at;
}

static const char *write_number(struct fill_part *part, uint64_t number)
{
    return write_text(part, "%" PRIu64, number);
}

/* Where a key is written. */
static char *key_at(struct fill_part *part)
{
    check(sizeof(part->text) - part->used >= LEDGER_KEY_MAX);
    return part->text + part->used;
}

static void add_key(struct fill_part *part, char *key)
{
    size_t length = strlen(key);
    part->used += length + 1;
    add_bytes(part, key, length);
}

/* ---- what the rows need among the keys ---- */

/* The place of a date, which becomes one where it is not the last that was met of its kind: rows are in
 * the order of their dates. */
static size_t date_place(struct fill_part *part, uint32_t date)
{
    size_t at = part->dates_count;
    while (at > 0 && part->dates[at - 1] != date && part->dates_count - at < 40)
        at--;
    if (at > 0 && part->dates[at - 1] == date)
        return at;
    part->dates[part->dates_count++] = date;
    return part->dates_count;
}

static void place_usage(struct fill_part *part, const struct checkpoint_usage *usage, size_t *place)
{
    uint32_t month = usage->day / 100;
    *place = date_place(part, month);
    if (usage->day % 100 != 0)
        *place = date_place(part, usage->day);
}

static void place_use(struct fill_part *part, const struct checkpoint_use *use, size_t *place)
{
    size_t last = part->links_count;
    if (last == 0 ||
        memcmp(part->links[last - 1]->link_id, use->link_id, sizeof(use->link_id)) != 0)
        part->links[part->links_count++] = use;
    *place = FIXED_KEYS + part->dates_count + 2 * part->links_count - 1;
}

static void place_rows(struct fill_part *part, const struct checkpoint_account *checkpoint,
                       const struct rows *rows)
{
    size_t *place = part->at;
    for (uint32_t i = rows->first; i < rows->end; i++, place++) {
        *place = 0;
        if (i < rows->uses_at) {
            place_usage(part, &checkpoint->usages[i], place);
        } else if (i < rows->orders_at) {
            place_use(part, &checkpoint->uses[i - rows->uses_at], place);
        } else {
            const struct checkpoint_operation *of = &checkpoint->operations[i - rows->orders_at];
            if (of->operation != LEDGER_REVOKE_LINK)
                continue;
            part->revocations[part->revocations_count++] = of;
            *place = FIXED_KEYS + part->dates_count +
                     2 * (part->links_count + part->revocations_count) - 1;
        }
    }
}

static void add_keys(struct fill_part *part, const struct ledger_account *account)
{
    char ring[LEDGER_TRANSACTION_KEYS_COUNT][LEDGER_KEY_MAX];
    char *key;
    ledger_key(key = key_at(part), account, "account");
    add_key(part, key);
    ledger_key(key = key_at(part), account, "grants");
    add_key(part, key);
    ledger_transaction_keys(ring, account);
    for (size_t i = 0; i < LEDGER_TRANSACTION_KEYS_COUNT; i++)
        add(part, write_text(part, "%s", ring[i]));
    for (size_t i = 0; i < part->dates_count; i++) {
        ledger_usage_key(key = key_at(part), account, part->dates[i]);
        add_key(part, key);
    }
    for (size_t i = 0; i < part->links_count; i++) {
        ledger_link_key(key = key_at(part), account, part->links[i]->link_id, "");
        add_key(part, key);
        ledger_link_key(key = key_at(part), account, part->links[i]->link_id, ":grants");
        add_key(part, key);
    }
    for (size_t i = 0; i < part->revocations_count; i++) {
        const char *link = part->revocations[i]->transaction;
        add(part, write_text(part, "tg:{%s}:link:%s", account->tag, link));
        add(part, write_text(part, "tg:{%s}:link:%s:grants", account->tag, link));
    }
}

/* ---- the rows ---- */

/* Adds the arguments of a list: each is a variable of that name, or two where it is of bytes. */
#define ADD(name, type) ADD_##type(name)
#define ADD_text(name)  add(part, name);
#define ADD_bytes(name) add_bytes(part, name, name##_length);

static void add_usage(struct fill_part *part, const struct checkpoint_usage *usage, size_t place)
{
    const char *date = write_number(part, place);
    const char *file = usage->file != NULL ? usage->file->name.text : "";
    size_t file_length = usage->file != NULL ? usage->file->name.length : 0;
    const char *bytes = write_number(part, usage->bytes);
    const char *responses = write_number(part, usage->responses);
    LEDGER_ROW_ARGUMENTS(ADD)
}

static void add_use(struct fill_part *part, const struct checkpoint_use *use, size_t place)
{
    const char *file = use->file->name.text;
    size_t file_length = use->file->name.length;
    const char *bytes = write_number(part, use->bytes);
    const char *terms =
        write_text(part, "%zu %" PRIu64 " %" PRIu64 " %" PRIu64 " %d", place, use->opened_ms,
                   (uint64_t)use->till_s * 1000, (uint64_t)use->keep_s * 1000, use->taken ? 1 : 0);
    LEDGER_USE_ARGUMENTS(ADD)
}

static void add_operation(struct fill_part *part, const struct checkpoint_operation *of,
                          size_t place, const char *node)
{
    const char *operation = post_operation_name(of->operation);
    const char *plan = post_plan_name(of->operation, of->plan);
    const char *amount = write_text(part, "%" PRId64, of->amount);
    const char *time_ms = write_number(part, of->time_ms);
    const char *transaction = of->operation == LEDGER_REVOKE_LINK ? "" : of->transaction;
    const char *max_bytes = write_number(part, of->max_bytes);
    const char *max_conns = write_number(part, of->max_conns);
    const char *number = write_number(part, of->number);
    const char *by = of->node[0] != '\0' ? of->node : node;
    const char *link = write_number(part, place);
    LEDGER_MONEY_ARGUMENTS(ADD)
    LEDGER_FILL_MONEY_ARGUMENTS(ADD)
}

static void add_rows(struct fill_part *part, const struct fill_says *says, const struct rows *rows)
{
    const struct checkpoint_account *checkpoint = says->checkpoint;
    const size_t *place = part->at;
    for (uint32_t i = rows->first; i < rows->end; i++, place++) {
        if (i < rows->uses_at)
            add_usage(part, &checkpoint->usages[i], *place);
        else if (i < rows->orders_at)
            add_use(part, &checkpoint->uses[i - rows->uses_at], *place);
        else
            add_operation(part, &checkpoint->operations[i - rows->orders_at], *place, says->node);
    }
}

static void add_head(struct fill_part *out, const struct fill_says *says, const struct rows *rows)
{
    const struct checkpoint_account *checkpoint = says->checkpoint;
    const char *instance = says->instance, *lease = write_number(out, says->lease);
    const char *segment = write_number(out, says->segment);
    const char *sequence = write_number(out, checkpoint->sequence);
    const char *number = write_number(out, checkpoint->operation_number);
    const char *is_last = says->number == fill_parts(checkpoint, says->rows) ? "1" : "0";
    const char *wait_ms = write_number(out, says->wait_ms);
    const char *controls = write_number(out, checkpoint->controls);
    const char *dates = write_number(out, out->dates_count);
    const char *links = write_number(out, out->links_count + out->revocations_count);
    const char *usages = write_number(out, within(rows, 0, rows->uses_at));
    const char *uses = write_number(out, within(rows, rows->uses_at, rows->orders_at));
    const char *operations = write_number(out, within(rows, rows->orders_at, UINT32_MAX));
    const char *part = write_number(out, says->number);
#undef ADD_text
#define ADD_text(name) add(out, name);
    LEDGER_FILL_ARGUMENTS(ADD)
}

void fill_part_make(struct fill_part *part, const struct fill_says *says)
{
    struct rows rows = rows_of_part(says);
    part->count = 0;
    part->used = part->bytes = 0;
    part->dates_count = part->links_count = part->revocations_count = 0;
    place_rows(part, says->checkpoint, &rows);
    add(part, "FCALL");
    add(part, "tollgate_fill");
    add(part, write_number(part, FIXED_KEYS + part->dates_count +
                                     2 * (part->links_count + part->revocations_count)));
    add_keys(part, says->account);
    add_head(part, says, &rows);
    for (size_t i = 0; i < part->dates_count; i++)
        add(part, write_text(part, "%06" PRIu32, part->dates[i]));
    add_rows(part, says, &rows);
}
