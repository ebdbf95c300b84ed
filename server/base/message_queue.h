/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries messages from a thread that must not wait to one that may: a ring of bytes, without a
 * lock. One thread at a time puts, and one takes. A full queue takes nothing, and the caller
 * decides what to do then. Used by the access log (a queue for each worker) and by the node's log
 * (one queue, whose putters take turns).
 */
#ifndef TOLLGATE_SERVER_BASE_MESSAGE_QUEUE_H
#define TOLLGATE_SERVER_BASE_MESSAGE_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `put` and `taken` are positions that only grow; each side writes its own. */
struct message_queue {
    _Alignas(64) atomic_ullong put;
    _Alignas(64) atomic_ullong taken;
    char *bytes; /* borrows */
    size_t size;
};

/* Begins an empty queue in `bytes`, which are aligned to 8; `size` is a multiple of 8. The caller
 * owns them and keeps them as long as the queue. */
void message_queue_init(struct message_queue *queue, char *bytes, size_t size);
/* Copies a message of 1 to UINT32_MAX bytes. False where there is no room for it. */
bool message_queue_put(struct message_queue *queue, const void *message, size_t length);
/* The oldest message, aligned to 8 and borrowed until it is dropped; NULL where there is none. */
const void *message_queue_first(struct message_queue *queue, size_t *length);
void message_queue_drop(struct message_queue *queue);
/* How many bytes the messages occupy that were not dropped yet. */
size_t message_queue_used(const struct message_queue *queue);

#endif
