/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries records from a thread that must not wait to one that may: a ring of bytes, without a
 * lock. One thread at a time puts, and one takes. A full queue takes nothing, and the caller
 * decides what to do then. Used by the access log (a queue for each worker) and by the node's log
 * (one queue, whose putters take turns).
 */
#ifndef TOLLGATE_SERVER_BASE_RECORD_QUEUE_H
#define TOLLGATE_SERVER_BASE_RECORD_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `put` and `taken` are positions that only grow; each side writes its own. */
struct record_queue {
    _Alignas(64) atomic_ullong put;
    _Alignas(64) atomic_ullong taken;
    char *bytes; /* borrows */
    size_t size;
};

/* Begins an empty queue in `bytes`, which are aligned to 8; `size` is a multiple of 8. The caller
 * owns them and keeps them as long as the queue. */
void record_queue_init(struct record_queue *queue, char *bytes, size_t size);
/* Copies a record of 1 to UINT32_MAX bytes. False where there is no room for it. */
bool record_queue_put(struct record_queue *queue, const void *record, size_t length);
/* The oldest record, aligned to 8 and borrowed until it is dropped; NULL where there is none. */
const void *record_queue_first(struct record_queue *queue, size_t *length);
void record_queue_drop(struct record_queue *queue);
/* How many bytes the records occupy that were not dropped yet. */
size_t record_queue_used(const struct record_queue *queue);

#endif
