/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's records on disk. Used by the writer, which encodes, and by the reader and the scan,
 * which decode; it opens no file and knows no account.
 *
 * A segment file is an array of records of 256 bytes; all numbers are little-endian, unused bytes
 * zero, and so is what the node does not know. A record of 256 zero bytes ends the used part of a
 * segment.
 *
 *   all       0 u64 chain       XXH3_64 of bytes 8..255, seeded with the chain of the record before
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
 *            48 16B instance    64 16B epoch              80 u64 lease: its number
 *   START    24 16B instance    40 16B epoch              56 u64 lease
 *                               0: a process begins to write; else it has the lease of that number
 *   NAME     24 u32 id          28 u8 kind                29 u8 part   30 u16 total length
 *            32 224B text       of this part; ids count from 0 in each segment, for all kinds
 *   USAGE    24 u32 account id  28 u32 file id            32 u64 sequence (of the account, from 1)
 *            40 u64 download    48 u64 bytes (all)        56 u64 bytes since the record before
 *            64 u64 responses (all)                       72 u64 responses since the record before
 *            80 32B link id     its use: 112 u64 opened (ms; 0: a link without terms has none)
 *           120 u32 till (s)   124 u32 keep the link until (s), both rounded up
 *           128 u64 lease      136 u64 unit price        144 u64 cap    152 u64 charge (all)
 *           160 32B content hash of the file (XXH3-128, and 16 zero bytes)   192 u64 its size
 *           200 48B a response that ended (below)
 *           248 u32 responses that ended since the record before and are described nowhere
 *   MONEY    24 u32 account id  28 u8 operation           29 u8 plan   30 u8 transaction id's length
 *            32 u64 sequence    40 i64 amount             64 64B transaction id, or the link revoked
 *            48 u64 max_bytes   56 u32 max_conns          of LIMIT; zero elsewhere
 *           128 u64 number      of the operation         136 u64 lease  144 32B name of the node
 *   STOP     the process ended cleanly
 *   RESPONSE 24 u32 account id  28 u32 file id            40 u64 download
 *            48, 96, 144, 192   48B each: responses that ended; stands before the USAGE record that
 *                               counts them
 *
 *   response  0 u64 started     ms since 1970
 *             8 u64 first byte  of the file              16 u64 length acknowledged
 *            24 16B client      its address; IPv4 as ::ffff:a.b.c.d
 *            40 u32 key         1 + the id of the signing key's name; 0: unknown
 *            44 u8 TLS version  12, 13; 0: none
 *            45 u8 client bits  how many of the address's 128 are kept; 0: none
 *            46 u8 flags        1: the place is used, 2: a proxy spoke for the client
 *            47 u8 zero
 *
 * A download's number is lane (8 bits), segment (28 bits) in which it was opened, and count
 * (28 bits), so that no two of a state directory share one.
 *
 * Formats 1 and 2 had records of 128 bytes, with the same fields up to there, 96 bytes of text in a
 * NAME, no RESPONSE, and of links only those with terms; format 1 had no links, no limits and no
 * revocations. Both are read for good.
 */
#ifndef TOLLGATE_LEDGER_JOURNAL_FORMAT_H
#define TOLLGATE_LEDGER_JOURNAL_FORMAT_H

#include "storage/ledger/ledger.h"

#define JOURNAL_RECORD_BYTES     256u /* of LEDGER_JOURNAL_FORMAT */
#define JOURNAL_OLD_RECORD_BYTES 128u /* of formats 1 and 2 */
#define JOURNAL_OLD_FORMAT_LAST  2u
#define JOURNAL_HEADER_BYTES     40u /* of a segment's first record: all that journal_format_of reads */
#define JOURNAL_SECTOR_BYTES     512u
#define JOURNAL_NAME_PART        224u
#define JOURNAL_ID_BYTES         16u
#define JOURNAL_HASH_BYTES       32u
#define JOURNAL_RESPONSES        4u /* places in a RESPONSE record */
#define JOURNAL_COUNT_BITS       28 /* of a download's number; as many of its segment stand above */
#define JOURNAL_MAGIC            UINT64_C(0x314c4e524a474754) /* "TGGJRNL1" */

enum journal_type {
    JOURNAL_NOTHING,
    JOURNAL_SEGMENT,
    JOURNAL_START,
    JOURNAL_NAME,
    JOURNAL_USAGE,
    JOURNAL_MONEY,
    JOURNAL_STOP,
    JOURNAL_RESPONSE,
};

enum journal_kind { JOURNAL_ACCOUNT, JOURNAL_FILE, JOURNAL_KEY };

/* A response that ended. */
struct journal_response {
    bool used; /* the place holds one */
    bool proxied;
    uint64_t started_ms, first, length;
    uint8_t client[16];
    uint8_t client_bits, tls;
    uint32_t key;
};

/* One record, decoded. Its type says which members count. */
struct journal_record {
    enum journal_type type;
    bool closing, taken;
    uint32_t durable;
    uint64_t time_ms;
    uint8_t instance[JOURNAL_ID_BYTES], epoch[JOURNAL_ID_BYTES];
    uint32_t format, number;
    uint64_t previous;
    uint64_t lease; /* of SEGMENT, START, USAGE and MONEY */
    uint32_t id;    /* NAME */
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
    uint64_t price, cap, charge;
    uint8_t content[JOURNAL_HASH_BYTES];
    uint64_t size;
    struct journal_response response[JOURNAL_RESPONSES]; /* of USAGE the first alone */
    uint32_t undescribed;
    enum ledger_operation operation;
    enum ledger_plan plan;
    int64_t amount;
    uint64_t max_bytes;
    uint32_t max_conns;
    char transaction[LEDGER_TRANSACTION_MAX + 1];
    uint64_t operation_number;
    char node[LEDGER_NODE_MAX + 1];
};

/* Writes the record chained to `previous`, in LEDGER_JOURNAL_FORMAT, and returns its own chain
 * value. */
uint64_t journal_encode(const struct journal_record *record, uint64_t previous,
                        uint8_t out[JOURNAL_RECORD_BYTES]);

/* The format that the first JOURNAL_HEADER_BYTES of a segment name; LEDGER_JOURNAL_FORMAT where
 * they are not a header's. It may be one that this program does not know. */
uint32_t journal_format_of(const uint8_t header[JOURNAL_HEADER_BYTES]);
/* How many bytes a record of the format has, and how many NAME records a name of this length takes
 * there. */
size_t journal_record_bytes(uint32_t format);
uint32_t journal_name_parts(uint32_t format, size_t length);
/* Where in its name the text of a part stands, and its length. */
size_t journal_part_at(uint32_t format, uint32_t part);
size_t journal_part_length(uint32_t format, uint32_t total, uint32_t part);

/* The functions below take a record of `size` bytes. */

/* Whether the bytes are intact and were written after a record with the chain value `previous`. */
bool journal_chained(const uint8_t *bytes, size_t size, uint64_t previous);
/* journal_chain_of computes the chain value that an intact record with these bytes carries;
 * journal_chain reads the one that it does carry. */
uint64_t journal_chain_of(const uint8_t *bytes, size_t size, uint64_t previous);
uint64_t journal_chain(const uint8_t *bytes);
/* Whether all bytes are zero, as in the record that ends the used part of a segment. */
bool journal_is_zero(const uint8_t *bytes, size_t length);
/* False where a field is out of its range: a record of a newer format, or not ours. `format` is
 * the segment's. Does not judge the chain. */
bool journal_decode(const uint8_t *bytes, uint32_t format, struct journal_record *out);

/* The day of a record's time in UTC, as yyyymmdd; 19700101 for a time that has none. */
uint32_t journal_day(uint64_t time_ms);

#endif
