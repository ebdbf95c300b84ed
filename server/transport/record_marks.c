/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of marks in a stream of TLS records. Called by tls_records.c, and by stream_tls*.c; it
 * sends nothing and keeps no bytes of the stream. See record_marks.h.
 */
#include "server/transport/record_marks.h"

#include "server/base/check.h"

static struct record_run *run_at(struct record_marks *marks, unsigned place)
{
    return &marks->runs[(marks->first + place) % RECORD_MARKS_MAX];
}

bool record_marks_have_room(const struct record_marks *marks, unsigned runs)
{
    return marks->count + runs < RECORD_MARKS_MAX;
}

/* Extends the last run by the new records, where they are alike. False where they need a mark of
 * their own. */
static bool run_extend(struct record_run *last, const struct record_run *fresh)
{
    if (last->plain == 0 && fresh->plain == 0) {
        /* Records without plaintext bill nothing, so one long record may stand for several. */
        uint64_t sum =
            (uint64_t)last->length * last->count + (uint64_t)fresh->length * fresh->count;
        if (sum > UINT32_MAX)
            return false;
        last->length = (uint32_t)sum;
        last->count = 1;
        return true;
    }
    if (last->length != fresh->length || last->plain != fresh->plain ||
        last->count > UINT32_MAX - fresh->count)
        return false;
    last->count += fresh->count;
    return true;
}

bool record_marks_add(struct record_marks *marks, uint32_t length, uint32_t plain, uint32_t count)
{
    const struct record_run fresh = {length, plain, count};
    check(length > 0 && length >= plain);
    if (count == 0 || (marks->count > 0 && run_extend(run_at(marks, marks->count - 1U), &fresh)))
        return true;
    if (marks->count == RECORD_MARKS_MAX)
        return false;
    *run_at(marks, marks->count++) = fresh;
    return true;
}

/* The whole length of the record that begins at `record`, by its header. */
static size_t record_length(const char *record, size_t left)
{
    if (left < RECORD_HEADER_SIZE)
        return SIZE_MAX;
    return RECORD_HEADER_SIZE + ((size_t)(unsigned char)record[3] << 8 | (unsigned char)record[4]);
}

/*
 * The sum of the plaintext that the records carry; SIZE_MAX where the bytes are not whole records.
 */
static size_t records_carry(const char *records, size_t length, size_t adds)
{
    size_t sum = 0;
    for (size_t at = 0; at < length;) {
        size_t size = record_length(records + at, length - at);
        if (size > length - at || size <= adds)
            return SIZE_MAX;
        sum += size - adds;
        at += size;
    }
    return sum;
}

bool record_marks_add_written(struct record_marks *marks, const char *records, size_t length,
                              size_t plain, size_t adds, size_t *answers)
{
    size_t sum = records_carry(records, length, adds), at = 0;
    *answers = 0;
    if (sum == SIZE_MAX || sum < plain)
        return false;
    while (at < length) {
        size_t size = record_length(records + at, length - at), carries = size - adds;
        bool answer = sum > plain;
        if ((answer && carries > sum - plain) ||
            !record_marks_add(marks, (uint32_t)size, answer ? 0 : (uint32_t)carries, 1))
            return false;
        if (answer) {
            sum -= carries;
            *answers += size;
        }
        at += size;
    }
    return true;
}

/* Takes from the first run the records that end at or before the position. False where some are
 * left. */
static bool run_take(struct record_marks *marks, uint64_t stream_bytes)
{
    struct record_run *run = run_at(marks, 0);
    uint64_t whole =
        stream_bytes > marks->stream ? (stream_bytes - marks->stream) / run->length : 0;
    if (whole > run->count)
        whole = run->count;
    marks->stream += whole * run->length;
    marks->plain += whole * run->plain;
    run->count -= (uint32_t)whole;
    if (run->count > 0)
        return false;
    marks->first = (uint8_t)((marks->first + 1) % RECORD_MARKS_MAX);
    marks->count--;
    return true;
}

uint64_t record_marks_acknowledge(struct record_marks *marks, uint64_t stream_bytes)
{
    while (marks->count > 0 && run_take(marks, stream_bytes))
        continue;
    return marks->plain;
}

void record_marks_forget(struct record_marks *marks)
{
    (void)record_marks_acknowledge(marks, UINT64_MAX);
}
