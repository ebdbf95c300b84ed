/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a journal that is verified comes to, record by record: sums, where it ends, and the head of a day. The scan
 * calls it for each record that is sound.
 */
#include "storage/ledger/journal.h"

/* The head of the day that is asked for, as far as this record tells. */
static void note_head(struct ledger_verification *watch, const struct journal_reader *reader,
                      const struct journal_record *record)
{
    if (record->time_ms >= watch->day_end_ms) {
        watch->is_head_final = watch->has_head;
        return;
    }
    watch->has_head = true;
    watch->is_head_final = false;
    watch->head_segment = reader->segment;
    watch->head_byte = (uint64_t)(reader->index - 1) * reader->size;
    watch->head_chain = reader->chain;
}

void verification_count(struct ledger_verification *watch, const struct journal_reader *reader,
                        const struct journal_record *record)
{
    watch->records++;
    watch->usage_records += record->type == JOURNAL_USAGE;
    watch->operations += record->type == JOURNAL_MONEY;
    watch->bytes += record->bytes_delta;
    watch->responses += record->responses_delta;
    if (watch->first_ms == 0)
        watch->first_ms = record->time_ms;
    watch->last_ms = record->time_ms;
    watch->is_stopped = record->type == JOURNAL_STOP;
    watch->segment = reader->segment;
    watch->position = (uint64_t)reader->index * reader->size;
    watch->chain = reader->chain;
    note_head(watch, reader, record);
}
