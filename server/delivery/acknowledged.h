/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of metering: how many bytes of a body lie before the position of the stream that
 * the peer has acknowledged, and whether a response was mostly lost. Plain numbers, which
 * metering.c takes from a connection and its deliveries; it is inline because each response passes
 * here several times.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_ACKNOWLEDGED_H
#define TOLLGATE_SERVER_DELIVERY_ACKNOWLEDGED_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Bytes that the peer has of a body of which `handed` bytes follow the stream's position `start`,
 * where it has acknowledged `stream` bytes of the stream. What lies before the body (its head) and
 * behind it (the next head, a FIN) is not among them.
 */
static inline uint64_t acknowledged_of_body(uint64_t stream, uint64_t start, uint64_t handed)
{
    uint64_t reached = stream > start ? stream - start : 0;
    return reached < handed ? reached : handed;
}

/* Whether more of a body was lost than arrived; `acknowledged` is at most `handed`. */
static inline bool acknowledged_the_lesser_part(uint64_t acknowledged, uint64_t handed)
{
    return handed - acknowledged > acknowledged;
}

#endif
