/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes and decodes journal records, field by field and little-endian. Called by the journal's
 * writer and readers. It never touches a file, and it trusts no byte that it decodes.
 */
#include "storage/ledger/journal_format.h"

#include <string.h>
#include <xxhash.h>

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

uint32_t journal_name_parts(size_t length)
{
    return length == 0 ? 1 : (uint32_t)((length + JOURNAL_NAME_PART - 1) / JOURNAL_NAME_PART);
}

static size_t part_length(uint32_t total, uint32_t part)
{
    size_t rest = total - (size_t)part * JOURNAL_NAME_PART;
    return rest < JOURNAL_NAME_PART ? rest : JOURNAL_NAME_PART;
}

static void encode_usage(const struct journal_record *record, uint8_t *out)
{
    put(out + 24, record->account, 4);
    put(out + 28, record->file, 4);
    put(out + 32, record->sequence, 8);
    put(out + 40, record->download, 8);
    put(out + 48, record->bytes, 8);
    put(out + 56, record->bytes_delta, 8);
    put(out + 64, record->responses, 8);
    put(out + 72, record->responses_delta, 8);
    memcpy(out + 80, record->link_id, LEDGER_LINK_ID_BYTES);
    put(out + 112, record->opened_ms, 8);
    put(out + 120, record->till_s, 4);
    put(out + 124, record->keep_s, 4);
}

static void encode_money(const struct journal_record *record, uint8_t *out)
{
    size_t length = strnlen(record->transaction, LEDGER_TRANSACTION_MAX);
    put(out + 24, record->account, 4);
    out[28] = (uint8_t)record->operation;
    out[29] = (uint8_t)record->plan;
    out[30] = (uint8_t)length;
    put(out + 32, record->sequence, 8);
    put(out + 40, (uint64_t)record->amount, 8);
    put(out + 48, record->max_bytes, 8);
    put(out + 56, record->max_conns, 4);
    memcpy(out + 64, record->transaction, length);
}

static void encode_name(const struct journal_record *record, uint8_t *out)
{
    put(out + 24, record->id, 4);
    out[28] = (uint8_t)record->kind;
    out[29] = (uint8_t)record->part;
    put(out + 30, record->total, 2);
    memcpy(out + 32, record->text, part_length(record->total, record->part));
}

static void encode_segment(const struct journal_record *record, uint8_t *out)
{
    put(out + 24, JOURNAL_MAGIC, 8);
    put(out + 32, record->format, 4);
    put(out + 36, record->number, 4);
    put(out + 40, record->previous, 8);
    memcpy(out + 48, record->instance, JOURNAL_ID_BYTES);
    memcpy(out + 64, record->epoch, JOURNAL_ID_BYTES);
}

uint64_t journal_encode(const struct journal_record *record, uint64_t previous,
                        uint8_t out[JOURNAL_RECORD_BYTES])
{
    memset(out, 0, JOURNAL_RECORD_BYTES);
    out[8] = (uint8_t)record->type;
    out[9] = (uint8_t)((record->closing ? 1 : 0) | (record->taken ? 2 : 0));
    put(out + 12, record->durable, 4);
    put(out + 16, record->time_ms, 8);
    switch (record->type) {
    case JOURNAL_SEGMENT:
        encode_segment(record, out);
        break;
    case JOURNAL_START:
        memcpy(out + 24, record->instance, JOURNAL_ID_BYTES);
        memcpy(out + 40, record->epoch, JOURNAL_ID_BYTES);
        break;
    case JOURNAL_NAME:
        encode_name(record, out);
        break;
    case JOURNAL_USAGE:
        encode_usage(record, out);
        break;
    case JOURNAL_MONEY:
        encode_money(record, out);
        break;
    case JOURNAL_STOP:
    case JOURNAL_NOTHING:
        break;
    }
    uint64_t chain = journal_chain_of(out, previous);
    put(out, chain, 8);
    return chain;
}

uint64_t journal_chain_of(const uint8_t bytes[JOURNAL_RECORD_BYTES], uint64_t previous)
{
    return XXH3_64bits_withSeed(bytes + 8, JOURNAL_RECORD_BYTES - 8, previous);
}

uint64_t journal_chain(const uint8_t bytes[JOURNAL_RECORD_BYTES])
{
    return get(bytes, 8);
}

bool journal_chained(const uint8_t bytes[JOURNAL_RECORD_BYTES], uint64_t previous)
{
    /* A type of 0 is never written, so the end mark cannot pass for a record. */
    return bytes[8] != JOURNAL_NOTHING && journal_chain(bytes) == journal_chain_of(bytes, previous);
}

bool journal_is_zero(const uint8_t *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static bool decode_name(const uint8_t *bytes, struct journal_record *out)
{
    out->id = (uint32_t)get(bytes + 24, 4);
    out->part = bytes[29];
    out->total = (uint32_t)get(bytes + 30, 2);
    if (bytes[28] > JOURNAL_FILE || out->total == 0 || out->total > LEDGER_FILE_MAX ||
        out->part >= journal_name_parts(out->total))
        return false;
    out->kind = (enum journal_kind)bytes[28];
    memcpy(out->text, bytes + 32, part_length(out->total, out->part));
    return true;
}

static bool decode_usage(const uint8_t *bytes, struct journal_record *out)
{
    out->account = (uint32_t)get(bytes + 24, 4);
    out->file = (uint32_t)get(bytes + 28, 4);
    out->sequence = get(bytes + 32, 8);
    out->download = get(bytes + 40, 8);
    out->bytes = get(bytes + 48, 8);
    out->bytes_delta = get(bytes + 56, 8);
    out->responses = get(bytes + 64, 8);
    out->responses_delta = get(bytes + 72, 8);
    memcpy(out->link_id, bytes + 80, LEDGER_LINK_ID_BYTES);
    out->opened_ms = get(bytes + 112, 8);
    out->till_s = (uint32_t)get(bytes + 120, 4);
    out->keep_s = (uint32_t)get(bytes + 124, 4);
    return out->sequence > 0 && out->bytes < (uint64_t)LEDGER_AMOUNT_MAX &&
           out->bytes_delta <= out->bytes && out->responses < (uint64_t)LEDGER_AMOUNT_MAX &&
           out->responses_delta <= out->responses && out->opened_ms < (uint64_t)LEDGER_AMOUNT_MAX;
}

static bool decode_money(const uint8_t *bytes, struct journal_record *out)
{
    out->account = (uint32_t)get(bytes + 24, 4);
    out->sequence = get(bytes + 32, 8);
    out->amount = (int64_t)get(bytes + 40, 8);
    out->max_bytes = get(bytes + 48, 8);
    out->max_conns = (uint32_t)get(bytes + 56, 4);
    if (bytes[28] > LEDGER_LIMIT || out->max_bytes >= (uint64_t)LEDGER_AMOUNT_MAX ||
        bytes[29] > LEDGER_POSTPAID || bytes[30] > LEDGER_TRANSACTION_MAX || out->sequence == 0 ||
        out->amount <= -LEDGER_AMOUNT_MAX || out->amount >= LEDGER_AMOUNT_MAX)
        return false;
    out->operation = (enum ledger_operation)bytes[28];
    out->plan = (enum ledger_plan)bytes[29];
    memcpy(out->transaction, bytes + 64, bytes[30]);
    return true;
}

bool journal_decode(const uint8_t bytes[JOURNAL_RECORD_BYTES], struct journal_record *out)
{
    memset(out, 0, sizeof(*out));
    if (bytes[8] > JOURNAL_STOP || bytes[9] > 3)
        return false;
    out->type = (enum journal_type)bytes[8];
    out->closing = (bytes[9] & 1) != 0;
    out->taken = (bytes[9] & 2) != 0;
    out->durable = (uint32_t)get(bytes + 12, 4);
    out->time_ms = get(bytes + 16, 8);
    switch (out->type) {
    case JOURNAL_SEGMENT:
        out->format = (uint32_t)get(bytes + 32, 4);
        out->number = (uint32_t)get(bytes + 36, 4);
        out->previous = get(bytes + 40, 8);
        memcpy(out->instance, bytes + 48, JOURNAL_ID_BYTES);
        memcpy(out->epoch, bytes + 64, JOURNAL_ID_BYTES);
        return get(bytes + 24, 8) == JOURNAL_MAGIC;
    case JOURNAL_START:
        memcpy(out->instance, bytes + 24, JOURNAL_ID_BYTES);
        memcpy(out->epoch, bytes + 40, JOURNAL_ID_BYTES);
        return true;
    case JOURNAL_NAME:
        return decode_name(bytes, out);
    case JOURNAL_USAGE:
        return decode_usage(bytes, out);
    case JOURNAL_MONEY:
        return decode_money(bytes, out);
    case JOURNAL_STOP:
        return true;
    case JOURNAL_NOTHING:
        break;
    }
    return false;
}
