/*
 * Where the plaintext lies in a TCP stream of TLS records: a queue of marks, one for each run of
 * equal records that were made and not yet acknowledged. transport_tls.c adds a mark as it makes
 * records and asks how much plaintext an acknowledgement has reached. A peer can open a record only
 * when all of it has come, so a record counts when it is acknowledged whole, and what lies behind
 * the acknowledged position takes nothing off what lies before it. Knows no connection, allocates
 * nothing.
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
 * Whether `runs` more runs of records with plaintext have their places. One place is kept for
 * records without, which the peer may cause at any time: of these any number that follow each other
 * are one mark.
 */
bool record_marks_have_room(const struct record_marks *marks, unsigned runs);

/*
 * `count` more records were made, of `length` bytes each with `plain` within. False without a
 * place.
 */
bool record_marks_add(struct record_marks *marks, uint32_t length, uint32_t plain, uint32_t count);

/*
 * Adds what one write made, `length` bytes: records that carry `plain` bytes, and before them
 * perhaps some without (*answers: how many bytes these are). Each record is `adds` bytes longer
 * than what it carries. False where that is not what is there, or without a place: nothing may be
 * sent any more.
 */
bool record_marks_add_written(struct record_marks *marks, const char *records, size_t length,
                              size_t plain, size_t adds, size_t *answers);

/*
 * The peer has acknowledged `stream_bytes` of the stream (less than before changes nothing).
 * Returns the plaintext of all records so far that it has whole.
 */
uint64_t record_marks_acknowledge(struct record_marks *marks, uint64_t stream_bytes);

/* Nobody is billed for anything that was added so far: all of it counts as acknowledged. */
void record_marks_forget(struct record_marks *marks);

#endif
