/* SPDX-License-Identifier: Apache-2.0 */
/* How much plaintext lies before an acknowledged position in a stream of TLS records. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "server/transport/record_marks.h"

struct record {
    uint32_t length, plain, count;
};

#define RECORDS_MAX 6

static const struct {
    struct record records[RECORDS_MAX];
    uint64_t acknowledged, plain;
} table[] = {
    {{{0}}, 0, 0},
    {{{0}}, 1000, 0},
    /* One record counts whole or not at all. */
    {{{122, 100, 1}}, 0, 0},
    {{{122, 100, 1}}, 121, 0},
    {{{122, 100, 1}}, 122, 100},
    {{{122, 100, 1}}, 123, 100}, /* TCP counts a FIN as a byte */
    /* A handshake comes before the first record with plaintext. */
    {{{1500, 0, 1}, {122, 100, 1}}, 1500, 0},
    {{{1500, 0, 1}, {122, 100, 1}}, 1621, 0},
    {{{1500, 0, 1}, {122, 100, 1}}, 1622, 100},
    /* Many records without plaintext follow one with plaintext, which still counts. */
    {{{122, 100, 1}, {27, 0, 40000}}, 122, 100},
    {{{122, 100, 1}, {27, 0, 40000}, {122, 100, 1}}, 122 + 27 * 40000 + 121, 100},
    {{{122, 100, 1}, {27, 0, 40000}, {122, 100, 1}}, 122 + 27 * 40000 + 122, 200},
    /* Each of many small records counts by itself. */
    {{{534, 512, 1000}}, 534 * 700 + 533, 512 * 700},
    {{{534, 512, 1000}, {30, 8, 1}}, 534 * 1000 + 29, 512 * 1000},
    {{{534, 512, 1000}, {30, 8, 1}}, UINT64_MAX, 512 * 1000 + 8},
    /* Equal records with others between them. */
    {{{322, 300, 1}, {27, 0, 1}, {322, 300, 1}, {27, 0, 1}, {322, 300, 1}}, 322 * 2 + 27 * 2, 600},
};

Test(record_marks, count_a_record_when_it_has_come_whole)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        struct record_marks marks = {0};
        for (size_t j = 0; j < RECORDS_MAX && table[i].records[j].count > 0; j++)
            cr_assert(record_marks_add(&marks, table[i].records[j].length,
                                       table[i].records[j].plain, table[i].records[j].count));
        cr_expect_eq(record_marks_acknowledge(&marks, table[i].acknowledged), table[i].plain,
                     "row %zu", i);
        cr_expect_eq(record_marks_acknowledge(&marks, 0), table[i].plain, "row %zu goes back", i);
    }
}

Test(record_marks,
     runs_of_records_take_one_place_each_and_those_without_plaintext_are_never_refused)
{
    struct record_marks marks = {0};
    uint64_t stream = 0;
    unsigned runs = 0;
    for (; record_marks_have_room(&marks, 1); runs++) {
        for (int i = 0; i < 1000; i++)
            cr_assert(record_marks_add(&marks, 100 + runs, 78 + runs, 1));
        stream += 1000 * (100 + runs);
    }
    cr_assert_eq(runs, RECORD_MARKS_MAX - 1);
    for (int i = 0; i < 100000; i++)
        cr_assert(record_marks_add(&marks, 27, 0, 1));
    cr_expect_not(record_marks_add(&marks, 100, 78, 1), "there is no place left");
    (void)record_marks_acknowledge(&marks, stream);
    cr_expect(record_marks_have_room(&marks, RECORD_MARKS_MAX - 2));
    cr_expect(record_marks_add(&marks, 100, 78, 1));
}

Test(record_marks, what_was_forgotten_lies_before_what_comes)
{
    struct record_marks marks = {0};
    cr_assert(record_marks_add(&marks, 122, 100, 5));
    record_marks_forget(&marks);
    cr_expect_eq(record_marks_acknowledge(&marks, 0), 500);
    cr_assert(record_marks_add(&marks, 222, 200, 1));
    cr_expect_eq(record_marks_acknowledge(&marks, 122 * 5 + 221), 500);
    cr_expect_eq(record_marks_acknowledge(&marks, 122 * 5 + 222), 700);
}

/* ---- what a write made ---- */

#define ADDS 22

static const struct {
    size_t carried[4]; /* bytes within each record */
    size_t plain, answers;
    bool good;
} writes[] = {
    {{100}, 100, 0, true},
    {{16384, 16384, 1}, 32769, 0, true},
    {{5, 16384, 4732}, 21116, 5 + ADDS, true}, /* a key update comes first */
    {{5, 5, 100}, 100, 2 * (5 + ADDS), true},
    {{5, 5}, 5, 5 + ADDS, true},
    {{100, 100}, 150, 0, false}, /* the write ends within a record */
    {{100}, 101, 0, false},      /* fewer bytes than were written */
};

Test(record_marks, tell_answers_from_data_in_what_a_write_made)
{
    for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
        static char records[65536];
        struct record_marks marks = {0};
        size_t length = 0, answers = 0;
        for (size_t j = 0; j < 4 && writes[i].carried[j] > 0; j++) {
            size_t inside = writes[i].carried[j] + ADDS - RECORD_HEADER_SIZE;
            records[length + 3] = (char)(inside >> 8);
            records[length + 4] = (char)inside;
            length += RECORD_HEADER_SIZE + inside;
        }
        cr_expect_eq(
            record_marks_add_written(&marks, records, length, writes[i].plain, ADDS, &answers),
            writes[i].good, "row %zu", i);
        if (!writes[i].good)
            continue;
        cr_expect_eq(answers, writes[i].answers, "row %zu", i);
        cr_expect_eq(record_marks_acknowledge(&marks, writes[i].answers), 0, "row %zu", i);
        cr_expect_eq(record_marks_acknowledge(&marks, length), writes[i].plain, "row %zu", i);
        struct record_marks cut = {0};
        cr_expect_not(
            record_marks_add_written(&cut, records, length - 1, writes[i].plain, ADDS, &answers),
            "row %zu, cut off", i);
    }
}

/* ---- compared with a model of single records ---- */

#define MODEL_MAX 4096

struct model {
    struct record records[MODEL_MAX]; /* each has count 1 */
    size_t count;
    uint64_t stream; /* bytes of all records */
};

static uint64_t model_plain(const struct model *model, uint64_t acknowledged)
{
    uint64_t end = 0, plain = 0;
    for (size_t i = 0; i < model->count; i++) {
        end += model->records[i].length;
        if (end > acknowledged)
            break;
        plain += model->records[i].plain;
    }
    return plain;
}

/* One of few lengths, so that equal records follow each other; now and then without plaintext. */
static struct record any_record(void)
{
    static const uint32_t plains[] = {0, 0, 1, 512, 512, 16384, 16384, 16384};
    uint32_t plain = plains[rand() % 8];
    if (rand() % 16 == 0)
        plain = (uint32_t)(rand() % 16384);
    return (struct record){plain + 22, plain, (uint32_t)(1 + rand() % 5)};
}

Test(record_marks, agree_with_a_list_of_all_records_whatever_comes)
{
    static struct model model;
    for (unsigned seed = 1; seed <= 300; seed++) {
        struct record_marks marks = {0};
        uint64_t acknowledged = 0;
        srand(seed);
        model.count = 0;
        model.stream = 0;
        for (int step = 0; step < 400 && model.count + 5 < MODEL_MAX; step++) {
            struct record record = any_record();
            if (record.plain > 0 && !record_marks_have_room(&marks, 1)) {
                cr_assert_lt(acknowledged, model.stream, "full with nothing on its way");
            } else {
                cr_assert(record_marks_add(&marks, record.length, record.plain, record.count));
                for (uint32_t i = 0; i < record.count; i++)
                    model.records[model.count++] = record;
                model.stream += (uint64_t)record.length * record.count;
            }
            if (rand() % 3 == 0)
                acknowledged += (uint64_t)rand() % (model.stream - acknowledged + 1);
            if (rand() % 64 == 0)
                acknowledged = model.stream;
            cr_assert_eq(record_marks_acknowledge(&marks, acknowledged),
                         model_plain(&model, acknowledged), "seed %u, step %d", seed, step);
        }
    }
}
