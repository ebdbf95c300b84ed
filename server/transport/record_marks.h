/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the plaintext lies in a TCP stream of TLS records: a queue of marks, one for each run of
 * equal records that were made and not yet acknowledged. tls_records.c adds a mark as it makes
 * records; stream_tls_send.c asks how much plaintext an acknowledgement has reached. A peer can
 * decrypt a record only when all of it has come, so a record counts once it is acknowledged whole;
 * a part of a record behind the acknowledged position takes nothing from the records before it. It
 * knows no connection and allocates nothing.
 */
#ifndef TOLLGATE_SERVER_TRANSPORT_RECORD_MARKS_H
#define TOLLGATE_SERVER_TRANSPORT_RECORD_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MARKS_MAX   64
#define RECORD_HEADER_SIZE 5 /* RFC 8446 5.1: type, version, length */

struct record_run {
    uint32_t length; /* bytes of the stream that one record takes */
    uint32_t plain;  /* bytes of plaintext that it carries; 0: handshake, alert, key update */
    uint32_t count;
};

/* All zero is the beginning of a connection. */
struct record_marks {
    uint64_t stream; /* end of the last record that was acknowledged whole */
    uint64_t plain;  /* plaintext up to there */
    uint8_t first, count;
    struct record_run runs[RECORD_MARKS_MAX]; /* a ring */
};

/*
 * Whether there is room for `runs` more runs of records with plaintext. One place is reserved for
 * records without plaintext, which the peer may cause at any time: any number of them in a row
 * share one mark.
 */
bool record_marks_have_room(const struct record_marks *marks, unsigned runs);

/* Adds `count` records of `length` bytes each, of which `plain` are plaintext. False where there is
 * no room. */
bool record_marks_add(struct record_marks *marks, uint32_t length, uint32_t plain, uint32_t count);

/*
 * Adds the records that one write made, `length` bytes: records that carry `plain` bytes, perhaps
 * preceded by some without plaintext (*answers receives their bytes). Each record is `adds` bytes
 * longer than its plaintext. False where the records do not match this, or there is no room: then
 * the session must send nothing more.
 */
bool record_marks_add_written(struct record_marks *marks, const char *records, size_t length,
                              size_t plain, size_t adds, size_t *answers);

/* Notes that the peer has acknowledged `stream_bytes` of the stream; a smaller number than before
 * changes nothing. Returns the bytes of plaintext in all records that the peer has whole. */
uint64_t record_marks_acknowledge(struct record_marks *marks, uint64_t stream_bytes);

/*
 * Counts all records so far as acknowledged, to make room. Only where none of them is left to be
 * billed.
 */
void record_marks_forget(struct record_marks *marks);

#endif
