/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of message_queue.h. Each message lies in one piece, after its length; one that would not
 * fit before the end of the ring lies at its start, and a length of 0 marks the gap. It takes no
 * lock and never waits.
 */
#include "server/base/message_queue.h"

#include <stdlib.h>
#include <string.h>

#define HEADER sizeof(uint64_t)

/* As check(), which reports to the log, and the log lies in this queue. */
static void insist(bool invariant)
{
    if (!invariant)
        abort();
}

static size_t room_of(size_t length)
{
    return HEADER + ((length + 7) & ~(size_t)7);
}

void message_queue_init(struct message_queue *queue, char *bytes, size_t size)
{
    insist(size % HEADER == 0 && (uintptr_t)bytes % HEADER == 0);
    atomic_init(&queue->put, 0);
    atomic_init(&queue->taken, 0);
    queue->bytes = bytes;
    queue->size = size;
}

static void write_length(struct message_queue *queue, size_t at, uint64_t length)
{
    memcpy(queue->bytes + at, &length, HEADER);
}

static uint64_t length_at(const struct message_queue *queue, size_t at)
{
    uint64_t length;
    memcpy(&length, queue->bytes + at, HEADER);
    return length;
}

bool message_queue_put(struct message_queue *queue, const void *message, size_t length)
{
    insist(length > 0 && length <= UINT32_MAX);
    uint64_t put = atomic_load_explicit(&queue->put, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_acquire);
    size_t room = room_of(length), at = put % queue->size;
    size_t gap = queue->size - at < room ? queue->size - at : 0;
    if (room + gap > queue->size - (put - taken))
        return false;
    if (gap > 0) {
        write_length(queue, at, 0);
        at = 0;
    }
    write_length(queue, at, length);
    memcpy(queue->bytes + at + HEADER, message, length);
    atomic_store_explicit(&queue->put, put + gap + room, memory_order_release);
    return true;
}

const void *message_queue_first(struct message_queue *queue, size_t *length)
{
    uint64_t put = atomic_load_explicit(&queue->put, memory_order_acquire);
    uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_relaxed);
    if (taken == put)
        return NULL;
    size_t at = taken % queue->size;
    if (length_at(queue, at) == 0) {
        atomic_store_explicit(&queue->taken, taken + (queue->size - at), memory_order_release);
        at = 0; /* the gap and the message behind it were put as one */
    }
    *length = length_at(queue, at);
    return queue->bytes + at + HEADER;
}

void message_queue_drop(struct message_queue *queue)
{
    uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_relaxed);
    uint64_t length = length_at(queue, taken % queue->size);
    insist(length > 0 && message_queue_used(queue) > 0);
    atomic_store_explicit(&queue->taken, taken + room_of(length), memory_order_release);
}

size_t message_queue_used(const struct message_queue *queue)
{
    uint64_t taken = atomic_load_explicit(&queue->taken, memory_order_acquire);
    return atomic_load_explicit(&queue->put, memory_order_relaxed) - taken;
}
