/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes text into the worker's scratch. A head is far smaller than that, so running out of room is
 * a programmer's error.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_WRITER_H
#define TOLLGATE_SERVER_DELIVERY_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/worker.h"

struct writer {
    char *at, *end;
};

static inline struct writer writer_begin(struct worker *worker)
{
    return (struct writer){worker->scratch, worker->scratch + sizeof(worker->scratch)};
}

static inline size_t writer_length(const struct worker *worker, const struct writer *out)
{
    return (size_t)(out->at - worker->scratch);
}

static inline void write_bytes(struct writer *out, const char *data, size_t length)
{
    check((size_t)(out->end - out->at) > length);
    memcpy(out->at, data, length);
    out->at += length;
}

static inline void write_text(struct writer *out, const char *text)
{
    write_bytes(out, text, strlen(text));
}

/* Decimal digits without printf: four of them in each head, on the hot path. */
static inline void write_number(struct writer *out, uint64_t number)
{
    char digits[20];
    size_t length = 0;
    do {
        digits[sizeof(digits) - ++length] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    write_bytes(out, digits + sizeof(digits) - length, length);
}

#endif
