/* SPDX-License-Identifier: Apache-2.0 */
/* The peers of the stage's connections, and its kernel. See stage.h. */
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/loop/ring.h"
#include "tests/unit/delivery/stage.h"

/* ---- a stream that is a table of answers ---- */

static struct stage_peer *peer_of(struct stream *stream)
{
    return stage_peer(
        (const struct connection *)((const char *)stream - offsetof(struct connection, stream)));
}

static ssize_t next_answer(struct stage_peer *peer, size_t length)
{
    ssize_t answer =
        peer->answered < peer->answer_count ? peer->answers[peer->answered++] : STAGE_TAKES_ALL;
    peer->calls++;
    return answer > (ssize_t)length ? (ssize_t)length : answer;
}

static ssize_t stage_send(struct streams *streams, struct stream *stream, const char *data,
                          size_t length, bool more)
{
    struct stage_peer *peer = peer_of(stream);
    ssize_t taken = next_answer(peer, length);
    (void)streams, (void)more;
    cr_assert_gt(length, 0u);
    if (taken > 0 && peer->text_length + (size_t)taken < sizeof(peer->text)) {
        memcpy(peer->text + peer->text_length, data, (size_t)taken);
        peer->text_length += (size_t)taken;
        peer->text[peer->text_length] = '\0';
    }
    return taken;
}

static ssize_t stage_send_file(struct streams *streams, struct stream *stream,
                               const struct stream_piece *piece)
{
    struct stage_peer *peer = peer_of(stream);
    (void)streams;
    if (peer->cold > 0) {
        peer->cold--;
        return -ENODATA;
    }
    ssize_t taken = next_answer(peer, piece->length);
    cr_assert_not_null(piece->file);
    cr_assert_leq(piece->length, (size_t)STAGE_CHUNK);
    cr_assert_leq(piece->offset + piece->length, piece->file->size);
    if (taken > 0 && peer->body == 0)
        peer->from = piece->offset;
    if (taken > 0)
        peer->body += (uint64_t)taken;
    return taken;
}

static int stage_flush(struct streams *streams, struct stream *stream, bool more)
{
    (void)streams, (void)more;
    return peer_of(stream)->flush;
}

static enum stream_word stage_read(struct streams *streams, struct stream *stream,
                                   struct stream_input *input)
{
    const struct stage_peer *peer = peer_of(stream);
    return peer->word != STREAM_TAKEN ? peer->word : transport_plain.read(streams, stream, input);
}

static void end_session(struct streams *streams, struct stream *stream)
{
    (void)streams;
    peer_of(stream)->ended++;
}

static int stage_measure(struct streams *streams, struct stream *stream, bool *is_dead)
{
    const struct stage_peer *peer = peer_of(stream);
    if (peer->measure != 0)
        return peer->measure;
    uint64_t has = peer->acknowledges_all || peer->acknowledged > stream->sent ? stream->sent
                                                                               : peer->acknowledged;
    if (has > stream->tcp_acknowledged)
        stream->progress_ms = streams->now_ms;
    stream->acknowledged = stream->tcp_acknowledged = has;
    *is_dead = peer->is_dead;
    return 0;
}

static const struct transport transport_stage = {
    .chunk_max = STAGE_CHUNK,
    .send = stage_send,
    .send_file = stage_send_file,
    .flush = stage_flush,
    .read = stage_read,
    .end = end_session,
    .measure = stage_measure,
};

/* ---- connections ---- */

struct connection *stage_connect(void)
{
    int fd = eventfd(0, EFD_CLOEXEC); /* what the ring's operations are told apart by */
    cr_assert_geq(fd, 0);
    struct connection *connection = driver_begin(stage.worker, fd);
    cr_assert_not_null(connection);
    cr_assert_lt(connection->index, (uint32_t)STAGE_PLACES);
    connection->stream.transport = &transport_stage;
    stage.peers[connection->index] = (struct stage_peer){0};
    return connection;
}

struct stage_peer *stage_peer(const struct connection *connection)
{
    return &stage.peers[connection->index];
}

void stage_answers(const struct connection *connection, unsigned count, const ssize_t answers[])
{
    struct stage_peer *peer = stage_peer(connection);
    cr_assert_leq(count, (unsigned)STAGE_ANSWERS);
    memcpy(peer->answers, answers, count * sizeof(answers[0]));
    peer->answer_count = count;
    peer->answered = peer->calls = 0;
}

/* ---- the kernel ---- */

static void cancel(const struct io_uring_sqe *sqe)
{
    const bool by_fd = (sqe->cancel_flags & IORING_ASYNC_CANCEL_FD) != 0;
    for (unsigned i = 0; i < stage.pending_count; i++) {
        struct stage_operation *of = &stage.pending[i];
        bool is_meant = by_fd
                            ? of->fd == sqe->fd
                            : operation_data(of->operation, of->generation, of->index) == sqe->addr;
        of->is_cancelled |= is_meant;
    }
}

/* Takes back what the connections put on the ring and nobody has submitted. */
static void take_operations(void)
{
    struct io_uring_sq *queue = &stage.worker->ring.sq;
    for (unsigned at = queue->sqe_head; at != queue->sqe_tail; at++) {
        const struct io_uring_sqe *sqe = &queue->sqes[at & (queue->ring_entries - 1)];
        enum operation operation = (enum operation)(sqe->user_data >> 56);
        if (sqe->opcode == IORING_OP_ASYNC_CANCEL)
            cancel(sqe);
        if (operation < OPERATION_RECEIVE)
            continue;
        cr_assert_lt(stage.pending_count, sizeof(stage.pending) / sizeof(stage.pending[0]));
        stage.pending[stage.pending_count++] =
            (struct stage_operation){.operation = operation,
                                     .index = (uint32_t)sqe->user_data,
                                     .generation = (uint32_t)(sqe->user_data >> 32) & 0xffffff,
                                     .opcode = sqe->opcode,
                                     .fd = sqe->opcode == IORING_OP_OPENAT2 ? -1 : sqe->fd};
    }
    queue->sqe_tail = queue->sqe_head;
}

static bool is_of(const struct stage_operation *operation, const struct connection *connection)
{
    return operation->index == connection->index && operation->generation == connection->generation;
}

unsigned stage_pending(const struct connection *connection)
{
    unsigned found = 0;
    take_operations();
    for (unsigned i = 0; i < stage.pending_count; i++)
        found += is_of(&stage.pending[i], connection);
    return found;
}

/* The number of the connection's operation; stage.pending_count where it has no such one. */
static unsigned find(const struct connection *connection, enum operation operation)
{
    unsigned i = 0;
    take_operations();
    while (i < stage.pending_count &&
           (!is_of(&stage.pending[i], connection) || stage.pending[i].operation != operation))
        i++;
    return i;
}

bool stage_has(const struct connection *connection, enum operation operation)
{
    return find(connection, operation) < stage.pending_count;
}

static void complete(const struct stage_operation *of, int result, unsigned flags)
{
    struct connection *connection = &stage.worker->connections[of->index];
    cr_assert_eq(connection->generation, of->generation, "a slot is used before its completion");
    events_completed(stage.worker, connection, of->operation, result, flags);
}

void stage_complete_number(unsigned number, int result)
{
    cr_assert_lt(number, stage.pending_count);
    const struct stage_operation of = stage.pending[number];
    stage.pending[number] = stage.pending[--stage.pending_count];
    complete(&of, result, 0);
    take_operations();
}

void stage_complete(struct connection *connection, enum operation operation, int result)
{
    stage_complete_number(find(connection, operation), result);
}

void stage_receive(struct connection *connection, const char *data, size_t length)
{
    unsigned number = find(connection, OPERATION_RECEIVE);
    cr_assert_lt(number, stage.pending_count, "the connection does not receive");
    cr_assert_leq(length, (size_t)WORKER_BUFFER_SIZE);
    memcpy(stage.worker->buffer_memory, data, length);
    const struct stage_operation of = stage.pending[number];
    complete(&of, (int)length, IORING_CQE_F_BUFFER | IORING_CQE_F_MORE);
    take_operations();
}

void stage_submit(void)
{
    char error[512] = "";
    struct io_uring *ring = &stage.worker->ring;
    unsigned seen = 0;
    if (!stage.is_real)
        cr_assert_eq(ring_enable(ring, error, sizeof(error)), 0, "%s", error);
    stage.is_real = true;
    while (seen == 0) {
        struct io_uring_cqe *cqe;
        cr_assert_geq(io_uring_submit_and_wait(ring, 1), 0);
        while (io_uring_peek_cqe(ring, &cqe) == 0) {
            const struct stage_operation of = {.operation = (enum operation)(cqe->user_data >> 56),
                                               .generation =
                                                   (uint32_t)(cqe->user_data >> 32) & 0xffffff,
                                               .index = (uint32_t)cqe->user_data};
            int result = cqe->res;
            unsigned flags = cqe->flags;
            io_uring_cqe_seen(ring, cqe);
            if (of.operation >= OPERATION_RECEIVE) {
                complete(&of, result, flags);
                seen++;
            }
        }
    }
}

static bool is_awaited(void)
{
    for (uint32_t i = 0; i < stage.worker->taken; i++) {
        if (stage.worker->connections[i].in_flight > 0)
            return true;
    }
    return false;
}

void stage_finish(void)
{
    if (stage.is_real) {
        while (is_awaited())
            stage_submit();
        return;
    }
    take_operations();
    for (unsigned left = stage.pending_count; left > 0; left--) {
        if (!driver_is_open(&stage.worker->connections[stage.pending[left - 1].index]))
            stage_complete_number(left - 1, -ECANCELED);
    }
}

/* ---- what holds ---- */

/* Whether the list's links agree with its members' marks; counts the connections in it. */
static unsigned walk(const struct connection_list *list, enum worker_list which)
{
    unsigned found = 0;
    const struct connection *before = NULL;
    for (const struct connection *at = list->first; at != NULL;
         at = connection_next(stage.worker, at, which)) {
        cr_assert(at->listed[which]);
        cr_assert_eq(connection_previous(stage.worker, at, which), before);
        cr_assert_lt(found, stage.worker->capacity, "list %d is a circle", (int)which);
        before = at;
        found++;
    }
    cr_assert_eq(list->last, before);
    return found;
}

static void check_lists(void)
{
    const struct worker *worker = stage.worker;
    const struct connection_list *const lists[LIST_COUNT] = {
        [LIST_OPEN] = &worker->open,     [LIST_READY] = &worker->ready,
        [LIST_PARKED] = &worker->parked, [LIST_UNMETERED] = &worker->unmetered,
        [LIST_RATED] = &worker->rated,   [LIST_HASHING] = &worker->hashing,
    };
    for (unsigned which = 0; which < LIST_COUNT; which++) {
        unsigned marked = 0;
        for (uint32_t i = 0; i < worker->taken; i++) {
            const struct connection *connection = &worker->connections[i];
            bool is_free = connection->state == STATE_FREE;
            marked += connection->listed[which];
            cr_assert(!is_free || !connection->listed[which], "a free slot is in list %u", which);
            if (which == LIST_OPEN)
                cr_assert_eq(connection->listed[which], driver_is_open(connection));
            if (which == LIST_UNMETERED)
                cr_assert_eq(connection->listed[which], connection->deliveries != NULL);
        }
        cr_assert_eq(walk(lists[which], (enum worker_list)which), marked);
    }
}

static void check_free(const struct connection *connection)
{
    static const struct exchange nothing;
    cr_assert_eq(connection->in_flight, 0);
    cr_assert_null(connection->deliveries);
    cr_assert_eq(connection->delivery_count, 0);
    cr_assert_null(connection->input);
    cr_assert_null(connection->opening);
    cr_assert_null(connection->warming);
    cr_assert_eq(connection->stream.fd, -1);
    cr_assert_not(connection->counted);
    cr_assert_eq(memcmp(&connection->exchange, &nothing, sizeof(nothing)), 0);
}

void stage_check(void)
{
    const struct worker *worker = stage.worker;
    unsigned used = 0, unused = 0;
    size_t input_bytes = 0;
    check_lists();
    for (uint32_t i = 0; i < worker->taken; i++) {
        const struct connection *connection = &worker->connections[i];
        cr_assert_eq(connection->index, i);
        input_bytes += connection->input_size;
        if (!stage.is_real && connection->state != STATE_FREE)
            cr_assert_eq(connection->in_flight, stage_pending(connection));
        if (connection->state == STATE_FREE)
            check_free(connection);
        else
            used++;
    }
    for (uint32_t at = worker->free_first; at != CONNECTION_NONE;
         at = worker->connections[at].next_free) {
        cr_assert_lt(at, worker->taken);
        cr_assert_eq(worker->connections[at].state, STATE_FREE);
        cr_assert_lt(unused++, worker->taken, "the chain of free slots is a circle");
    }
    cr_assert_eq(used + unused, worker->taken);
    cr_assert_eq(worker->open_count, used);
    cr_assert_eq(atomic_load(&stage.node.connections), used);
    cr_assert_eq(worker->input_bytes, input_bytes);
}
