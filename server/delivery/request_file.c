/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step FILE: finds the file that a request is for, opens it on the ring where it is not in the
 * cache, and waits for its hash where the head asks about an entity tag. It opens beneath the media
 * root alone, and never waits for the disk in this thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/connection.h"
#include "server/delivery/framing.h"
#include "storage/media/media.h"

static enum step_outcome refuse(struct exchange *exchange, int status)
{
    switch (status) {
    case -ENOENT:
        exchange->refusal = REFUSAL_FILE_NOT_FOUND;
        break;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        exchange->refusal = REFUSAL_NODE_BUSY;
        break;
    default:
        exchange->refusal = REFUSAL_FILE_UNREADABLE;
        break;
    }
    return STEP_REFUSE;
}

/* Has the ring open the file of the verified path, which the cache does not know. */
static enum step_outcome open_file(struct worker *worker, struct connection *connection)
{
    const struct token_request *wanted = &worker->wanted;
    /* The name outlives this call: the ring reads it while the head waits. */
    char *name =
        framing_keep_head(connection) == 0 ? strndup(wanted->path, wanted->path_length) : NULL;
    if (name == NULL)
        return refuse(&connection->exchange, -ENOMEM);
    check(connection->opening == NULL);
    connection->opening = name;
    connection->opened = -EINPROGRESS;
    struct io_uring_sqe *sqe = connection_operation(worker, connection, OPERATION_OPEN);
    /* The kernel only reads open_how; liburing's prototype has no const. */
    struct open_how *how = (struct open_how *)(uintptr_t)media_open_how(worker->node->media);
    io_uring_prep_openat2(sqe, media_root_fd(worker->node->media), media_relative_path(name), how);
    connection->exchange.waiting = WAIT_OPEN;
    return STEP_WAIT;
}

/* openat2 came back. 0 with the file, or a negative errno. */
static int take_opened(struct worker *worker, struct connection *connection)
{
    char path[MEDIA_PATH_MAX + 1];
    size_t length = strlen(connection->opening);
    check(length <= MEDIA_PATH_MAX);
    memcpy(path, connection->opening, length + 1);
    free(connection->opening);
    connection->opening = NULL;
    return media_cache_admit(worker->files, path, length, worker->now_ms, connection->opened,
                             &connection->exchange.file);
}

/*
 * For a file without its hash: whether the head asks about an entity tag and must wait for the hash:
 * once, and no longer than hash_wait_ms. Without the hash a right tag would be taken for a wrong
 * one, and the whole file would be sent, and billed, to a client that has it already.
 */
static bool must_wait_for_hash(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    uint64_t wait_ms = worker->node->config->hash_wait_ms;
    if (exchange->file->etag[0] != '\0' || wait_ms == 0 || !http_asks_for_tag(exchange->head))
        return false;
    exchange->hash_until_ms = worker->now_ms + wait_ms;
    exchange->hash_ticket =
        media_file_hash_first(worker->files, exchange->file, exchange->hash_until_ms);
    return exchange->hash_ticket != 0 && framing_keep_head(connection) == 0;
}

static bool is_hashed(struct worker *worker, struct exchange *exchange)
{
    /* The ticket is asked first: once the hashing is through, the tag can be learnt. */
    bool through = media_hash_is_through(worker->node->media, exchange->hash_ticket);
    media_file_learn(worker->files, exchange->file);
    return through || exchange->file->etag[0] != '\0' || worker->now_ms >= exchange->hash_until_ms;
}

enum step_outcome step_file(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->waiting == WAIT_HASH) {
        if (!is_hashed(worker, exchange))
            return STEP_WAIT;
        connection_leave(worker, connection, LIST_HASHING);
        return STEP_NEXT;
    }
    if (exchange->waiting == WAIT_OPEN && connection->opened == -EINPROGRESS)
        return STEP_WAIT;
    int status = exchange->waiting == WAIT_OPEN
                     ? take_opened(worker, connection)
                     : media_cache_get(worker->files, worker->wanted.path,
                                       worker->wanted.path_length, worker->now_ms, &exchange->file);
    if (status == -EAGAIN)
        return open_file(worker, connection);
    if (status != 0)
        return refuse(exchange, status);
    if (must_wait_for_hash(worker, connection)) {
        exchange->waiting = WAIT_HASH;
        connection_join(worker, connection, LIST_HASHING);
        return STEP_WAIT;
    }
    return STEP_NEXT;
}
