/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's records on disk. Used by the writer, which encodes, and by the reader and the scan,
 * which decode; it opens no file and knows no account.
 *
 * A segment file is an array of records of 128 bytes; all numbers are little-endian, unused bytes
 * zero. A record of 128 zero bytes ends the used part of a segment.
 *
 *   all       0 u64 chain       XXH3_64 of bytes 8..127, seeded with the chain of the record before
 *             8 u8  type        enum journal_type
 *             9 u8  flags       1 = CLOSING, 2 = TAKEN: the use counts (USAGE)
 *            10 u16 zero
 *            12 u32 durable     how many records of this segment fdatasync had confirmed by then:
 *                               tells a tail torn by a power cut from damage to what was safe
 *            16 u64 time        milliseconds since 1970
 *   SEGMENT  24 u64 magic       first record of each segment, seeded with `previous`
 *            32 u32 format      LEDGER_JOURNAL_FORMAT
 *            36 u32 number      of the segment, from 1
 *            40 u64 previous    chain of the last record of the segment before; 0 in the first
 *            48 16B instance    64 16B epoch
 *   START    24 16B instance    40 16B epoch             a process began to write
 *   NAME     24 u32 id          28 u8 kind               29 u8 part   30 u16 total length
 *            32 96B text        of this part; ids count from 0 in each segment, for both kinds
 *   USAGE    24 u32 account id  28 u32 file id           32 u64 sequence (of the account, from 1)
 *            40 u64 download    48 u64 bytes (all)       56 u64 bytes since the record before
 *            64 u64 responses (all)                      72 u64 responses since the record before
 *            80 32B link id     of a link with terms; its use: 112 u64 opened (ms; 0: no terms)
 *           120 u32 till (s)   124 u32 keep the link until (s), both rounded up
 *   MONEY    24 u32 account id  28 u8 operation          29 u8 plan   30 u8 transaction id's length
 *            32 u64 sequence    40 i64 amount            64 64B transaction id, or the link revoked
 *            48 u64 max_bytes   56 u32 max_conns         of LIMIT; zero elsewhere
 *   STOP     the process ended cleanly
 *
 * Format 1 had no links, no limits and no revocations; otherwise it is the same. It is still read.
 */
#ifndef TOLLGATE_LEDGER_JOURNAL_FORMAT_H
#define TOLLGATE_LEDGER_JOURNAL_FORMAT_H

#include "storage/ledger/ledger.h"

#define JOURNAL_RECORD_BYTES 128u
#define JOURNAL_SECTOR_BYTES 512u
#define JOURNAL_NAME_PART    96u
#define JOURNAL_ID_BYTES     16u
#define JOURNAL_MAGIC        UINT64_C(0x314c4e524a474754) /* "TGGJRNL1" */

enum journal_type {
    JOURNAL_NOTHING,
    JOURNAL_SEGMENT,
    JOURNAL_START,
    JOURNAL_NAME,
    JOURNAL_USAGE,
    JOURNAL_MONEY,
    JOURNAL_STOP,
};

enum journal_kind { JOURNAL_ACCOUNT, JOURNAL_FILE };

/* One record, decoded. Its type says which members count. */
struct journal_record {
    enum journal_type type;
    bool closing, taken;
    uint32_t durable;
    uint64_t time_ms;
    uint8_t instance[JOURNAL_ID_BYTES], epoch[JOURNAL_ID_BYTES];
    uint32_t format, number;
    uint64_t previous;
    uint32_t id; /* NAME */
    enum journal_kind kind;
    uint32_t part, total;
    char text[JOURNAL_NAME_PART];
    uint32_t account, file;
    uint64_t sequence, download;
    uint64_t bytes, bytes_delta, responses, responses_delta;
    /* Of USAGE; that of MONEY stands in hex in `transaction`. */
    uint8_t link_id[LEDGER_LINK_ID_BYTES];
    uint64_t opened_ms;
    uint32_t till_s, keep_s;
    enum ledger_operation operation;
    enum ledger_plan plan;
    int64_t amount;
    uint64_t max_bytes;
    uint32_t max_conns;
    char transaction[LEDGER_TRANSACTION_MAX + 1];
};

/* Writes the record chained to `previous` and returns its own chain value. */
uint64_t journal_encode(const struct journal_record *record, uint64_t previous,
                        uint8_t out[JOURNAL_RECORD_BYTES]);
/* Whether the bytes are intact and were written after a record with the chain value `previous`. */
bool journal_chained(const uint8_t bytes[JOURNAL_RECORD_BYTES], uint64_t previous);
/* journal_chain_of computes the chain value that an intact record with these bytes carries;
 * journal_chain reads the one that it does carry. */
uint64_t journal_chain_of(const uint8_t bytes[JOURNAL_RECORD_BYTES], uint64_t previous);
uint64_t journal_chain(const uint8_t bytes[JOURNAL_RECORD_BYTES]);
/* Whether all bytes are zero, as in the record that ends the used part of a segment. */
bool journal_is_zero(const uint8_t *bytes, size_t length);
/* False where a field is out of its range: a record of a newer format, or not ours. Does not judge
 * the chain. */
bool journal_decode(const uint8_t bytes[JOURNAL_RECORD_BYTES], struct journal_record *out);
/* How many NAME records a name of this length takes. */
uint32_t journal_name_parts(size_t length);

#endif
