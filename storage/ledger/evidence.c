/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts together what a lane's journal says of one download; see evidence.h. The number names the segment in which
 * it was opened, so that the walk begins there and ends with the download, or with the day.
 */
#include "storage/ledger/evidence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/lane.h"
#include "storage/ledger/walk_internal.h"

#define DAY_MS UINT64_C(86400000)

_Static_assert(sizeof(((struct ledger_evidence *)NULL)->lane) == LANE_NAME_SIZE, "as lane.h");
_Static_assert(sizeof(((struct ledger_evidence *)NULL)->instance) == LEDGER_HEX_SIZE, "likewise");

struct search {
    struct journal_walk walk;
    struct ledger_evidence *out;
    size_t told; /* responses up to there have the mark that told them */
    bool is_over;
};

/* Room for one element more in an array of the evidence; NULL: no memory. */
static void *grow(void *array, size_t count, size_t *room, size_t element)
{
    if (count < *room)
        return array;
    size_t more = *room == 0 ? 16 : *room * 2;
    void *grown = realloc(array, more * element);
    if (grown != NULL)
        *room = more;
    return grown;
}

static int add_response(struct search *search, const struct journal_response *response)
{
    struct ledger_evidence *out = search->out;
    struct ledger_evidence_response *grown =
        grow(out->described, out->described_count, &out->described_room, sizeof(*out->described));
    if (grown == NULL)
        return -ENOMEM;
    out->described = grown;
    struct ledger_evidence_response *to = &grown[out->described_count];
    *to = (struct ledger_evidence_response){.started_ms = response->started_ms,
                                            .first = response->first,
                                            .length = response->length,
                                            .client_bits = response->client_bits,
                                            .tls = response->tls,
                                            .proxied = response->proxied};
    memcpy(to->client, response->client, sizeof(to->client));
    /* The reader has held that the key's name stands before the record. */
    if (response->key > 0 &&
        (to->key = strdup(search->walk.reader.ids[response->key - 1]->text)) == NULL)
        return -ENOMEM;
    out->described_count++;
    return 0;
}

static int add_record(struct search *search, const struct journal_record *record)
{
    struct ledger_evidence *out = search->out;
    struct ledger_evidence_record *grown =
        grow(out->records, out->records_count, &out->records_room, sizeof(*out->records));
    if (grown == NULL)
        return -ENOMEM;
    out->records = grown;
    grown[out->records_count++] =
        (struct ledger_evidence_record){.place = walk_place(&search->walk, record),
                                        .is_mark = record->type == JOURNAL_USAGE,
                                        .is_closing = record->closing,
                                        .bytes = record->bytes,
                                        .responses = record->responses};
    int result = 0;
    for (size_t i = 0; i < JOURNAL_RESPONSES && result == 0; i++)
        if (record->response[i].used)
            result = add_response(search, &record->response[i]);
    return result;
}

/* What each mark repeats of the download. */
static void take_mark(struct search *search, const struct journal_entry *entry)
{
    static const uint8_t nothing[LEDGER_LINK_ID_BYTES];
    const struct journal_record *record = &entry->record;
    struct ledger_evidence *out = search->out;
    size_t length;
    const char *path = ledger_file_path(entry->file, &length);
    snprintf(out->issuer, sizeof(out->issuer), "%s", ledger_account_issuer(entry->account));
    snprintf(out->account, sizeof(out->account), "%s", ledger_account_name(entry->account));
    snprintf(out->file, sizeof(out->file), "%s", path);
    if (memcmp(record->link_id, nothing, sizeof(nothing)) != 0) {
        memcpy(out->link, record->link_id, sizeof(out->link));
        out->has_link = true;
    }
    if (memcmp(record->content, nothing, sizeof(out->content)) != 0) {
        memcpy(out->content, record->content, sizeof(out->content));
        out->has_content = true;
    }
    if (out->began_ms == 0)
        out->began_ms = record->time_ms;
    if (record->bytes_delta > 0 || record->responses_delta > 0 || out->ended_ms == 0)
        out->ended_ms = record->time_ms;
    out->size = record->size;
    out->bytes = record->bytes;
    out->responses = record->responses;
    out->undescribed += record->undescribed;
    for (; search->told < out->described_count; search->told++) {
        struct ledger_evidence_response *told = &out->described[search->told];
        told->told_ms = record->time_ms;
        if (told->started_ms < out->began_ms)
            out->began_ms = told->started_ms;
    }
    if (record->closing) {
        out->state = LEDGER_EVIDENCE_CLOSED;
        search->is_over = true;
    }
}

static int take(struct search *search, const struct journal_entry *entry)
{
    const struct journal_record *record = &entry->record;
    /* A later process: what the one before had open moves no more. */
    if (record->type == JOURNAL_START && record->lease == 0 && search->out->records_count > 0) {
        search->out->state = LEDGER_EVIDENCE_CUT;
        search->is_over = true;
    }
    if ((record->type != JOURNAL_USAGE && record->type != JOURNAL_RESPONSE) ||
        record->download != search->out->download)
        return 0;
    int result = add_record(search, record);
    if (result == 0 && record->type == JOURNAL_USAGE)
        take_mark(search, entry);
    return result;
}

/* The head of the day, as far as the record just read tells. True: a later day has begun. */
static bool take_head(struct search *search, const struct journal_record *record)
{
    struct ledger_evidence *out = search->out;
    if (out->records_count == 0)
        return false;
    uint64_t day = out->records[out->records_count - 1].place.time_ms / DAY_MS;
    if (record->time_ms / DAY_MS > day) {
        out->is_head_final = true;
        return search->is_over;
    }
    out->is_head_final =
        false; /* the download goes on in the next day, or the clock was set back */
    out->head = walk_place(&search->walk, record);
    out->has_head = true;
    return false;
}

static int by_first(const void *a, const void *b)
{
    const struct ledger_evidence_response *left = a, *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

static int by_start(const void *a, const void *b)
{
    const struct ledger_evidence_response *left = a, *right = b;
    if (left->started_ms != right->started_ms)
        return left->started_ms < right->started_ms ? -1 : 1;
    return by_first(a, b);
}

/* Whether the described responses leave no byte of the file out. */
static int judge_whole(struct ledger_evidence *out)
{
    uint64_t reached = 0;
    out->whole = LEDGER_EVIDENCE_UNKNOWN;
    if (out->size == 0)
        return 0;
    struct ledger_evidence_response *sorted =
        calloc(out->described_count + 1, sizeof(*out->described));
    if (sorted == NULL)
        return -ENOMEM;
    if (out->described_count > 0)
        memcpy(sorted, out->described, out->described_count * sizeof(*sorted));
    qsort(sorted, out->described_count, sizeof(*sorted), by_first);
    for (size_t i = 0; i < out->described_count && sorted[i].first <= reached; i++)
        if (sorted[i].length > reached - sorted[i].first)
            reached = sorted[i].first + sorted[i].length;
    free(sorted);
    if (reached >= out->size)
        out->whole = LEDGER_EVIDENCE_WHOLE;
    else if (out->bytes < out->size || out->undescribed == 0)
        out->whole = LEDGER_EVIDENCE_PART;
    return 0;
}

static int read_all(struct search *search, uint32_t segment, bool with_head)
{
    struct journal_entry entry;
    if (segment > search->walk.last)
        return 0;
    int result = walk_begin(&search->walk, segment);
    while (result == 0 && (result = walk_next(&search->walk, &entry)) == 1) {
        result = search->is_over ? 0 : take(search, &entry);
        if (result != 0 || (with_head ? take_head(search, &entry.record) : search->is_over))
            break;
    }
    return result;
}

int ledger_evidence_find(const char *state_dir, uint64_t download, bool with_head,
                         const struct ledger_evidence_watch *watch, struct ledger_evidence *out,
                         char *error, size_t error_size)
{
    struct search search = {.out = out};
    unsigned lane = (unsigned)(download >> 2 * JOURNAL_COUNT_BITS);
    uint32_t segment =
        (uint32_t)(download >> JOURNAL_COUNT_BITS & ((UINT64_C(1) << JOURNAL_COUNT_BITS) - 1));
    *out = (struct ledger_evidence){.download = download};
    error[0] = '\0';
    if (lane >= LANES_MAX || segment == 0)
        return -ENOENT;
    int result = walk_open(&search.walk, state_dir, lane, watch, error, error_size);
    if (result != 0)
        return result;
    lane_name(lane, out->lane);
    lane_to_hex(search.walk.instance, out->instance);
    result = read_all(&search, segment, with_head);
    if (result == 0 && !search.is_over && !search.walk.is_written)
        out->state = LEDGER_EVIDENCE_CUT;
    walk_close(&search.walk);
    int judged = judge_whole(out);
    if (out->described_count > 0)
        qsort(out->described, out->described_count, sizeof(*out->described), by_start);
    if (judged == 0 && result == 0)
        return out->records_count > 0 ? 0 : -ENOENT;
    if (error[0] == '\0')
        snprintf(error, error_size, "not enough memory for the records of this download");
    return result != 0 ? result : judged;
}

void ledger_evidence_free(struct ledger_evidence *evidence)
{
    for (size_t i = 0; i < evidence->described_count; i++)
        free(evidence->described[i].key);
    free(evidence->described);
    free(evidence->records);
    *evidence = (struct ledger_evidence){0};
}
