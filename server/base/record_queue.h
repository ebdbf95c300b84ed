/*
 * Records from threads that must not wait to one that may: a ring of bytes, without a lock. One
 * thread puts at a time and one takes; at the bound nothing is put, and who puts decides what then.
 * Under the access log (a queue of each worker) and the node's log (one, whose putters take turns).
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

/* `size` bytes, a multiple of 8 and aligned as it; the caller keeps them as long as the queue. */
void record_queue_init(struct record_queue *queue, char *bytes, size_t size);
/* Copies a record of 1 to UINT32_MAX bytes. False where there is no room for it. */
bool record_queue_put(struct record_queue *queue, const void *record, size_t length);
/* The oldest record, aligned to 8, until it is dropped; NULL where there is none. */
const void *record_queue_first(struct record_queue *queue, size_t *length);
void record_queue_drop(struct record_queue *queue);
/* Bytes that are taken up by records that were not dropped yet. */
size_t record_queue_used(const struct record_queue *queue);

#endif
