/* SPDX-License-Identifier: Apache-2.0 */
/* Which acknowledged bytes of a connection's stream are a body's, over plain TCP and over TLS. */
#include <criterion/criterion.h>

#include "server/delivery/acknowledged.h"
#include "server/transport/record_marks.h"

static const struct {
    uint64_t stream, start, handed, reached;
} table[] = {
    /* Nothing was handed, so nothing was received. */
    {0, 0, 0, 0},
    {1, 0, 0, 0},
    {UINT64_MAX, 0, 0, 0},
    /* A body at the beginning of the stream. */
    {0, 0, 1, 0},
    {1, 0, 1, 1},
    {2, 0, 1, 1}, /* TCP counts a FIN as a byte */
    /* The head lies before the body. */
    {199, 200, 1000, 0},
    {200, 200, 1000, 0},
    {201, 200, 1000, 1},
    {1199, 200, 1000, 999},
    {1200, 200, 1000, 1000},
    {1201, 200, 1000, 1000},
    {UINT64_MAX, 200, 1000, 1000},
    /* No sum is made that could wrap around. */
    {UINT64_MAX, 0, UINT64_MAX, UINT64_MAX},
    {UINT64_MAX, 1, UINT64_MAX, UINT64_MAX - 1},
    {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0},
    {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX, 1},
    {0, UINT64_MAX, UINT64_MAX, 0},
};

Test(acknowledged, bytes_of_a_body_lie_behind_its_start_and_before_its_end)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        cr_expect_eq(acknowledged_of_body(table[i].stream, table[i].start, table[i].handed),
                     table[i].reached, "row %zu", i);
}

static const struct {
    uint64_t acknowledged, handed;
    bool lost;
} outcomes[] = {
    {0, 0, false},
    {0, 1, true},
    {1, 1, false},
    {1, 2, false}, /* half is not the lesser part */
    {1, 3, true},
    {500, 1000, false},
    {499, 1000, true},
    {0, UINT64_MAX, true},
    {UINT64_MAX / 2, UINT64_MAX, true},
    {UINT64_MAX / 2 + 1, UINT64_MAX, false},
    {UINT64_MAX, UINT64_MAX, false},
};

Test(acknowledged, the_lesser_part_is_less_than_half)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(*outcomes); i++)
        cr_expect_eq(acknowledged_the_lesser_part(outcomes[i].acknowledged, outcomes[i].handed),
                     outcomes[i].lost, "row %zu", i);
}

/* ---- several bodies of one stream ---- */

/* Three responses, each a head of 10 bytes and a body; the second one's body is empty. */
static const struct {
    uint64_t start, handed;
} bodies[] = {{10, 100}, {120, 0}, {130, 50}};
enum { BODIES = sizeof(bodies) / sizeof(*bodies), STREAM = 180 };

Test(acknowledged, each_byte_of_a_stream_is_of_one_body_or_of_none)
{
    uint64_t before[BODIES] = {0};
    for (uint64_t stream = 1; stream <= STREAM + 1; stream++) {
        bool of_a_body = (stream > 10 && stream <= 110) || (stream > 130 && stream <= STREAM);
        uint64_t fresh = 0;
        for (size_t i = 0; i < BODIES; i++) {
            uint64_t now = acknowledged_of_body(stream, bodies[i].start, bodies[i].handed);
            fresh += now - before[i];
            before[i] = now;
        }
        cr_expect_eq(fresh, of_a_body ? 1u : 0u, "byte %llu", (unsigned long long)stream);
    }
    for (size_t i = 0; i < BODIES; i++)
        cr_expect_eq(before[i], bodies[i].handed, "body %zu", i);
}

/* A handshake of 500 bytes, then records of 60 bytes each with 22 bytes of TLS' own. */
Test(acknowledged, records_bring_their_bytes_to_bodies_when_they_are_whole)
{
    enum { HANDSHAKE = 500, PLAIN = 60, RECORD = PLAIN + 22 };
    static const struct {
        uint64_t tcp, first, third;
    } steps[] = {
        {HANDSHAKE, 0, 0},
        {HANDSHAKE + RECORD - 1, 0, 0},
        {HANDSHAKE + RECORD, PLAIN - 10, 0},
        {HANDSHAKE + 2 * RECORD - 1, PLAIN - 10, 0},
        {HANDSHAKE + 2 * RECORD, 100, 0}, /* 120 bytes: the first body and the second head */
        {HANDSHAKE + 3 * RECORD - 1, 100, 0},
        {HANDSHAKE + 3 * RECORD, 100, 50},
        {HANDSHAKE + 3 * RECORD + 1, 100, 50},
    };
    struct record_marks marks = {0};
    cr_assert(record_marks_add(&marks, HANDSHAKE, 0, 1));
    cr_assert(record_marks_add(&marks, RECORD, PLAIN, 3));
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        uint64_t stream = record_marks_acknowledge(&marks, steps[i].tcp);
        cr_expect_eq(acknowledged_of_body(stream, bodies[0].start, bodies[0].handed),
                     steps[i].first, "step %zu", i);
        cr_expect_eq(acknowledged_of_body(stream, bodies[1].start, bodies[1].handed), 0u,
                     "step %zu", i);
        cr_expect_eq(acknowledged_of_body(stream, bodies[2].start, bodies[2].handed),
                     steps[i].third, "step %zu", i);
    }
}
