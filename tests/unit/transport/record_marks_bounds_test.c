/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of marks of TLS records at its bounds: a full ring, and the largest counts. */
#include <criterion/criterion.h>
#include <signal.h>

#include "server/transport/record_marks.h"

#define ADDS 22

/* Fills `runs` places with records of different lengths, of one plain byte each. */
static uint64_t fill(struct record_marks *marks, unsigned runs)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < runs; i++) {
        cr_assert(record_marks_add(marks, 100 + i, 1, 1), "run %u", i);
        length += 100 + i;
    }
    return length;
}

Test(record_marks_bounds, no_records_take_no_place)
{
    struct record_marks marks = {0};
    cr_expect(record_marks_add(&marks, 122, 100, 0));
    cr_expect_eq(marks.count, 0);
    (void)fill(&marks, RECORD_MARKS_MAX);
    cr_expect(record_marks_add(&marks, 122, 100, 0), "not even in a full ring");
    cr_expect_eq(record_marks_acknowledge(&marks, UINT64_MAX), (uint64_t)RECORD_MARKS_MAX);
}

Test(record_marks_bounds, a_place_is_kept_for_records_without_plaintext)
{
    struct record_marks marks = {0};
    (void)fill(&marks, RECORD_MARKS_MAX - 1);
    cr_expect(record_marks_have_room(&marks, 0));
    cr_expect_not(record_marks_have_room(&marks, 1));
    cr_expect(record_marks_add(&marks, 27, 0, 1));
    cr_expect_not(record_marks_have_room(&marks, 0));
    cr_expect(record_marks_add(&marks, 27, 0, UINT32_MAX / 27 - 1), "up to 2^32 bytes of them");
    cr_expect_eq(marks.count, RECORD_MARKS_MAX);
    cr_expect_not(record_marks_add(&marks, 27, 0, UINT32_MAX / 27), "no more fit in one mark");
}

Test(record_marks_bounds, a_run_counts_up_to_the_largest_number_and_another_one_follows)
{
    struct record_marks marks = {0};
    cr_assert(record_marks_add(&marks, 2, 1, UINT32_MAX - 1));
    cr_assert(record_marks_add(&marks, 2, 1, 1));
    cr_expect_eq(marks.count, 1);
    cr_assert(record_marks_add(&marks, 2, 1, 1));
    cr_expect_eq(marks.count, 2, "the first run's number is used up");
    cr_expect_eq(record_marks_acknowledge(&marks, 2ULL * UINT32_MAX), (uint64_t)UINT32_MAX);
    cr_expect_eq(record_marks_acknowledge(&marks, 2ULL * UINT32_MAX + 1), (uint64_t)UINT32_MAX);
    cr_expect_eq(record_marks_acknowledge(&marks, 2ULL * UINT32_MAX + 2), UINT32_MAX + 1ULL);
}

Test(record_marks_bounds, the_largest_records_add_up_beyond_32_bits)
{
    struct record_marks marks = {0};
    const uint64_t all = (uint64_t)UINT32_MAX * UINT32_MAX;
    cr_assert(record_marks_add(&marks, UINT32_MAX, UINT32_MAX, UINT32_MAX));
    cr_expect_eq(record_marks_acknowledge(&marks, all - 1), all - UINT32_MAX);
    cr_expect_eq(record_marks_acknowledge(&marks, all), all);
    cr_expect_eq(marks.count, 0);
}

Test(record_marks_bounds, runs_without_plaintext_are_one_mark_up_to_the_largest_length)
{
    struct record_marks marks = {0};
    cr_assert(record_marks_add(&marks, UINT32_MAX - 27, 0, 1));
    cr_assert(record_marks_add(&marks, 27, 0, 1));
    cr_expect_eq(marks.count, 1);
    cr_assert(record_marks_add(&marks, 1, 0, 1));
    cr_expect_eq(marks.count, 2);
    cr_assert(record_marks_add(&marks, 122, 100, 1));
    cr_expect_eq(record_marks_acknowledge(&marks, UINT32_MAX + 122ULL), 0u);
    cr_expect_eq(record_marks_acknowledge(&marks, UINT32_MAX + 123ULL), 100u);
}

Test(record_marks_bounds, the_ring_is_filled_again_wherever_its_first_place_is)
{
    struct record_marks marks = {0};
    uint64_t stream = 0, plain = 0;
    for (unsigned turn = 0; turn < 2 * RECORD_MARKS_MAX + 1; turn++) {
        stream += fill(&marks, RECORD_MARKS_MAX);
        plain += RECORD_MARKS_MAX;
        cr_assert_not(record_marks_add(&marks, 99, 1, 1), "turn %u", turn);
        cr_assert_eq(record_marks_acknowledge(&marks, stream - 1), plain - 1, "turn %u", turn);
        cr_assert_eq(record_marks_acknowledge(&marks, stream), plain, "turn %u", turn);
        cr_assert(record_marks_add(&marks, 7, 0, 1)); /* the ring turns by one place more */
        stream += 7;
        cr_assert_eq(record_marks_acknowledge(&marks, stream), plain, "turn %u", turn);
    }
}

Test(record_marks_bounds, a_refused_record_changes_nothing)
{
    struct record_marks marks = {0};
    uint64_t stream = fill(&marks, RECORD_MARKS_MAX);
    cr_expect_not(record_marks_add(&marks, 99, 99, 1));
    cr_expect_not(record_marks_add(&marks, 99, 0, 1));
    cr_expect_eq(record_marks_acknowledge(&marks, stream), (uint64_t)RECORD_MARKS_MAX);
    cr_expect_eq(marks.stream, stream);
}

Test(record_marks_bounds, a_record_may_carry_all_of_its_length_but_no_more, .signal = SIGABRT)
{
    struct record_marks marks = {0};
    if (!record_marks_add(&marks, 100, 100, 1) || record_marks_acknowledge(&marks, 100) != 100)
        return; /* which fails the test, because it does not end by the signal */
    (void)record_marks_add(&marks, 100, 101, 1);
}

Test(record_marks_bounds, a_record_without_length_is_an_error_of_the_caller, .signal = SIGABRT)
{
    struct record_marks marks = {0};
    (void)record_marks_add(&marks, 0, 0, 1);
}

/* ---- what a write made ---- */

static bool add_written(struct record_marks *marks, const char *records, size_t length,
                        size_t plain)
{
    size_t answers = SIZE_MAX;
    bool good = record_marks_add_written(marks, records, length, plain, ADDS, &answers);
    cr_expect_eq(answers, 0u);
    return good;
}

Test(record_marks_bounds, a_write_is_whole_records_that_carry_something_or_nothing_at_all)
{
    struct record_marks marks = {0};
    /* One record of ADDS + 1 bytes, which carries one. */
    char record[ADDS + 2] = {23, 3, 3, 0, ADDS + 1 - RECORD_HEADER_SIZE};
    cr_expect(add_written(&marks, record, 0, 0));
    cr_expect_not(add_written(&marks, record, 0, 1), "a byte was written, and nothing was made");
    for (size_t length = 1; length < sizeof(record); length++)
        cr_expect_eq(add_written(&marks, record, length, 1), length == ADDS + 1, "%zu", length);
    cr_expect_eq(record_marks_acknowledge(&marks, UINT64_MAX), 1u);
    record[4] = ADDS - RECORD_HEADER_SIZE;
    cr_expect_not(add_written(&marks, record, ADDS, 0), "a record that carries nothing");
    cr_expect_eq(marks.count, 0);
}

Test(record_marks_bounds, a_write_into_a_full_ring_is_refused)
{
    struct record_marks marks = {0};
    const char record[ADDS + 1] = {23, 3, 3, 0, ADDS + 1 - RECORD_HEADER_SIZE};
    (void)fill(&marks, RECORD_MARKS_MAX);
    cr_expect_not(add_written(&marks, record, sizeof(record), 1));
    record_marks_forget(&marks);
    cr_expect(add_written(&marks, record, sizeof(record), 1));
    cr_expect_eq(record_marks_acknowledge(&marks, UINT64_MAX), RECORD_MARKS_MAX + 1u);
}
