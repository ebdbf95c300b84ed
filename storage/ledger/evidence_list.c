/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists the downloads of an account in one lane's journal; see evidence.h. It begins with the last segment that was
 * begun before the days that are asked for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/evidence.h"
#include "storage/ledger/walk_internal.h"

struct row {
    struct ledger_evidence_row told;
    char *file; /* owns */
};

struct listing {
    struct journal_walk walk;
    struct ledger_evidence_query *query;
    struct row *rows; /* owns */
    size_t count, room;
    char tag[LEDGER_TAG_MAX];
};

/* The row of a download, made where it has none; a recent one is found soon. NULL: no memory. */
static struct ledger_evidence_row *row_of(struct listing *listing,
                                          const struct journal_entry *entry)
{
    for (size_t i = listing->count; i-- > 0;)
        if (listing->rows[i].told.download == entry->record.download)
            return &listing->rows[i].told;
    if (listing->count == listing->room) {
        size_t room = listing->room == 0 ? 64 : listing->room * 2;
        struct row *rows = realloc(listing->rows, room * sizeof(*rows));
        if (rows == NULL)
            return NULL;
        listing->rows = rows;
        listing->room = room;
    }
    size_t length;
    struct row *row = &listing->rows[listing->count];
    row->file = strdup(ledger_file_path(entry->file, &length));
    if (row->file == NULL)
        return NULL;
    row->told = (struct ledger_evidence_row){.download = entry->record.download,
                                             .tag = listing->tag,
                                             .file = row->file,
                                             .first_ms = entry->record.time_ms};
    snprintf(listing->tag, sizeof(listing->tag), "%s", ledger_account_tag(entry->account));
    listing->count++;
    return &row->told;
}

static int take(struct listing *listing, const struct journal_entry *entry)
{
    static const uint8_t nothing[LEDGER_LINK_ID_BYTES];
    const struct journal_record *record = &entry->record;
    struct ledger_evidence_query *query = listing->query;
    if (record->type != JOURNAL_USAGE || record->time_ms < query->from_ms ||
        record->time_ms >= query->to_ms ||
        strcmp(ledger_account_name(entry->account), query->account) != 0 ||
        strcmp(ledger_account_issuer(entry->account), query->issuer) != 0)
        return 0;
    char text[LEDGER_DOWNLOAD_TEXT];
    ledger_download_write(record->download, text);
    if (text[0] == '\0') {
        query->unnamed++;
        return 0;
    }
    struct ledger_evidence_row *row = row_of(listing, entry);
    if (row == NULL)
        return -ENOMEM;
    row->last_ms = record->time_ms;
    row->bytes = record->bytes;
    row->responses = record->responses;
    row->size = record->size;
    row->is_closed = record->closing;
    row->has_link = memcmp(record->link_id, nothing, sizeof(nothing)) != 0;
    memcpy(row->link, record->link_id, sizeof(row->link));
    return 0;
}

/* Enters the first segment that may hold records of these days. */
static int begin(struct listing *listing)
{
    struct journal_entry header = {0};
    for (uint32_t segment = listing->walk.last;; segment--) {
        int result = walk_begin(&listing->walk, segment);
        if (result == 0)
            result = walk_next(&listing->walk, &header);
        if (result < 0)
            return result;
        if (result == 1 && header.record.time_ms < listing->query->from_ms)
            return 0;
        if (segment > listing->walk.first)
            continue;
        if (segment > 1)
            listing->query->begins_ms = header.record.time_ms;
        return 0;
    }
}

static int read_all(struct listing *listing)
{
    struct journal_entry entry;
    if (listing->walk.last == 0)
        return 0;
    int result = begin(listing);
    while (result == 0 && (result = walk_next(&listing->walk, &entry)) == 1)
        result = take(listing, &entry);
    return result;
}

int ledger_evidence_list(const char *state_dir, unsigned lane, struct ledger_evidence_query *query,
                         const struct ledger_evidence_watch *watch, char *error, size_t error_size)
{
    struct listing listing = {.query = query};
    int result = walk_open(&listing.walk, state_dir, lane, watch, error, error_size);
    if (result != 0)
        return result;
    result = read_all(&listing);
    walk_close(&listing.walk);
    for (size_t i = 0; i < listing.count; i++) {
        query->row(query->context, &listing.rows[i].told);
        free(listing.rows[i].file);
    }
    free(listing.rows);
    if (result != 0 && error[0] == '\0')
        snprintf(error, error_size, "not enough memory for the downloads of this account");
    return result;
}
