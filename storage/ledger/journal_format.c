/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes and decodes journal records, field by field and little-endian. Called by the journal's
 * writer and readers. It never touches a file, and it trusts no byte that it decodes.
 */
#include "storage/ledger/journal_format.h"

#include <string.h>
#include <time.h>
#include <xxhash.h>

#define NAME_TEXT_AT     32u
#define USAGE_RESPONSE   200 /* where the response of USAGE stands */
#define RESPONSE_AT      48  /* where those of RESPONSE begin */
#define RESPONSE_BYTES   48
#define RESPONSE_USED    1
#define RESPONSE_PROXIED 2

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

/* ---- what depends on the format ---- */

uint32_t journal_format_of(const uint8_t header[JOURNAL_HEADER_BYTES])
{
    return get(header + 24, 8) == JOURNAL_MAGIC ? (uint32_t)get(header + 32, 4)
                                                : LEDGER_JOURNAL_FORMAT;
}

size_t journal_record_bytes(uint32_t format)
{
    return format <= JOURNAL_OLD_FORMAT_LAST ? JOURNAL_OLD_RECORD_BYTES : JOURNAL_RECORD_BYTES;
}

static size_t part_bytes(uint32_t format)
{
    return journal_record_bytes(format) - NAME_TEXT_AT;
}

uint32_t journal_name_parts(uint32_t format, size_t length)
{
    return length == 0 ? 1 : (uint32_t)((length + part_bytes(format) - 1) / part_bytes(format));
}

size_t journal_part_at(uint32_t format, uint32_t part)
{
    return part * part_bytes(format);
}

size_t journal_part_length(uint32_t format, uint32_t total, uint32_t part)
{
    size_t rest = total - journal_part_at(format, part);
    return rest < part_bytes(format) ? rest : part_bytes(format);
}

/* ---- encoding ---- */

static void encode_response(const struct journal_response *response, uint8_t *out)
{
    if (!response->used)
        return;
    put(out, response->started_ms, 8);
    put(out + 8, response->first, 8);
    put(out + 16, response->length, 8);
    memcpy(out + 24, response->client, sizeof(response->client));
    put(out + 40, response->key, 4);
    out[44] = response->tls;
    out[45] = response->client_bits;
    out[46] = (uint8_t)(RESPONSE_USED | (response->proxied ? RESPONSE_PROXIED : 0));
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
    put(out + 128, record->lease, 8);
    put(out + 136, record->price, 8);
    put(out + 144, record->cap, 8);
    put(out + 152, record->charge, 8);
    memcpy(out + 160, record->content, JOURNAL_HASH_BYTES);
    put(out + 192, record->size, 8);
    encode_response(&record->response[0], out + USAGE_RESPONSE);
    put(out + 248, record->undescribed, 4);
}

static void encode_responses(const struct journal_record *record, uint8_t *out)
{
    put(out + 24, record->account, 4);
    put(out + 28, record->file, 4);
    put(out + 40, record->download, 8);
    for (size_t i = 0; i < JOURNAL_RESPONSES; i++)
        encode_response(&record->response[i], out + RESPONSE_AT + i * RESPONSE_BYTES);
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
    put(out + 128, record->operation_number, 8);
    put(out + 136, record->lease, 8);
    memcpy(out + 144, record->node, strnlen(record->node, LEDGER_NODE_MAX));
}

static void encode_name(const struct journal_record *record, uint8_t *out)
{
    put(out + 24, record->id, 4);
    out[28] = (uint8_t)record->kind;
    out[29] = (uint8_t)record->part;
    put(out + 30, record->total, 2);
    memcpy(out + NAME_TEXT_AT, record->text,
           journal_part_length(LEDGER_JOURNAL_FORMAT, record->total, record->part));
}

static void encode_segment(const struct journal_record *record, uint8_t *out)
{
    put(out + 24, JOURNAL_MAGIC, 8);
    put(out + 32, record->format, 4);
    put(out + 36, record->number, 4);
    put(out + 40, record->previous, 8);
    memcpy(out + 48, record->instance, JOURNAL_ID_BYTES);
    memcpy(out + 64, record->epoch, JOURNAL_ID_BYTES);
    put(out + 80, record->lease, 8);
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
        put(out + 56, record->lease, 8);
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
    case JOURNAL_RESPONSE:
        encode_responses(record, out);
        break;
    case JOURNAL_STOP:
    case JOURNAL_NOTHING:
        break;
    }
    uint64_t chain = journal_chain_of(out, JOURNAL_RECORD_BYTES, previous);
    put(out, chain, 8);
    return chain;
}

/* ---- the chain ---- */

uint64_t journal_chain_of(const uint8_t *bytes, size_t size, uint64_t previous)
{
    return XXH3_64bits_withSeed(bytes + 8, size - 8, previous);
}

uint64_t journal_chain(const uint8_t *bytes)
{
    return get(bytes, 8);
}

bool journal_chained(const uint8_t *bytes, size_t size, uint64_t previous)
{
    /* A type of 0 is never written, so the end mark cannot pass for a record. */
    return bytes[8] != JOURNAL_NOTHING &&
           journal_chain(bytes) == journal_chain_of(bytes, size, previous);
}

bool journal_is_zero(const uint8_t *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* ---- decoding ---- */

static bool decode_name(const uint8_t *bytes, uint32_t format, struct journal_record *out)
{
    unsigned last = format <= JOURNAL_OLD_FORMAT_LAST ? JOURNAL_FILE : JOURNAL_KEY;
    out->id = (uint32_t)get(bytes + 24, 4);
    out->part = bytes[29];
    out->total = (uint32_t)get(bytes + 30, 2);
    if (bytes[28] > last || out->total == 0 || out->total > LEDGER_FILE_MAX ||
        out->part >= journal_name_parts(format, out->total))
        return false;
    out->kind = (enum journal_kind)bytes[28];
    memcpy(out->text, bytes + NAME_TEXT_AT, journal_part_length(format, out->total, out->part));
    return true;
}

static bool decode_response(const uint8_t *bytes, struct journal_response *out)
{
    if (bytes[46] == 0)
        return journal_is_zero(bytes, RESPONSE_BYTES);
    out->used = true;
    out->proxied = (bytes[46] & RESPONSE_PROXIED) != 0;
    out->started_ms = get(bytes, 8);
    out->first = get(bytes + 8, 8);
    out->length = get(bytes + 16, 8);
    memcpy(out->client, bytes + 24, sizeof(out->client));
    out->key = (uint32_t)get(bytes + 40, 4);
    out->tls = bytes[44];
    out->client_bits = bytes[45];
    return bytes[46] <= (RESPONSE_USED | RESPONSE_PROXIED) && (bytes[46] & RESPONSE_USED) != 0 &&
           out->client_bits <= 8 * sizeof(out->client);
}

static bool decode_usage(const uint8_t *bytes, uint32_t format, struct journal_record *out)
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
    bool sound = out->sequence > 0 && out->bytes < (uint64_t)LEDGER_AMOUNT_MAX &&
                 out->bytes_delta <= out->bytes && out->responses < (uint64_t)LEDGER_AMOUNT_MAX &&
                 out->responses_delta <= out->responses &&
                 out->opened_ms < (uint64_t)LEDGER_AMOUNT_MAX;
    if (format <= JOURNAL_OLD_FORMAT_LAST)
        return sound;
    out->lease = get(bytes + 128, 8);
    out->price = get(bytes + 136, 8);
    out->cap = get(bytes + 144, 8);
    out->charge = get(bytes + 152, 8);
    memcpy(out->content, bytes + 160, JOURNAL_HASH_BYTES);
    out->size = get(bytes + 192, 8);
    out->undescribed = (uint32_t)get(bytes + 248, 4);
    return sound && decode_response(bytes + USAGE_RESPONSE, &out->response[0]);
}

static bool decode_responses(const uint8_t *bytes, struct journal_record *out)
{
    out->account = (uint32_t)get(bytes + 24, 4);
    out->file = (uint32_t)get(bytes + 28, 4);
    out->download = get(bytes + 40, 8);
    bool sound = out->download != 0;
    for (size_t i = 0; i < JOURNAL_RESPONSES; i++)
        sound =
            sound && decode_response(bytes + RESPONSE_AT + i * RESPONSE_BYTES, &out->response[i]);
    return sound;
}

static bool decode_money(const uint8_t *bytes, uint32_t format, struct journal_record *out)
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
    if (format <= JOURNAL_OLD_FORMAT_LAST)
        return true;
    out->operation_number = get(bytes + 128, 8);
    out->lease = get(bytes + 136, 8);
    memcpy(out->node, bytes + 144, LEDGER_NODE_MAX);
    return out->operation_number < (uint64_t)LEDGER_AMOUNT_MAX;
}

static bool decode_segment(const uint8_t *bytes, uint32_t format, struct journal_record *out)
{
    out->format = (uint32_t)get(bytes + 32, 4);
    out->number = (uint32_t)get(bytes + 36, 4);
    out->previous = get(bytes + 40, 8);
    memcpy(out->instance, bytes + 48, JOURNAL_ID_BYTES);
    memcpy(out->epoch, bytes + 64, JOURNAL_ID_BYTES);
    if (format > JOURNAL_OLD_FORMAT_LAST)
        out->lease = get(bytes + 80, 8);
    return get(bytes + 24, 8) == JOURNAL_MAGIC;
}

bool journal_decode(const uint8_t *bytes, uint32_t format, struct journal_record *out)
{
    bool is_old = format <= JOURNAL_OLD_FORMAT_LAST;
    memset(out, 0, sizeof(*out));
    if (bytes[8] > (is_old ? JOURNAL_STOP : JOURNAL_RESPONSE) || bytes[9] > 3)
        return false;
    out->type = (enum journal_type)bytes[8];
    out->closing = (bytes[9] & 1) != 0;
    out->taken = (bytes[9] & 2) != 0;
    out->durable = (uint32_t)get(bytes + 12, 4);
    out->time_ms = get(bytes + 16, 8);
    switch (out->type) {
    case JOURNAL_SEGMENT:
        return decode_segment(bytes, format, out);
    case JOURNAL_START:
        memcpy(out->instance, bytes + 24, JOURNAL_ID_BYTES);
        memcpy(out->epoch, bytes + 40, JOURNAL_ID_BYTES);
        out->lease = is_old ? 0 : get(bytes + 56, 8);
        return true;
    case JOURNAL_NAME:
        return decode_name(bytes, format, out);
    case JOURNAL_USAGE:
        return decode_usage(bytes, format, out);
    case JOURNAL_MONEY:
        return decode_money(bytes, format, out);
    case JOURNAL_STOP:
        return true;
    case JOURNAL_RESPONSE:
        return decode_responses(bytes, out);
    case JOURNAL_NOTHING:
        break;
    }
    return false;
}

uint32_t journal_day(uint64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm day;
    if (gmtime_r(&seconds, &day) == NULL)
        return 19700101;
    return (uint32_t)((day.tm_year + 1900) * 10000 + (day.tm_mon + 1) * 100 + day.tm_mday);
}
