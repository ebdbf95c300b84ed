/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that a request is for: opens it on the ring where it is not in the cache, and waits for
 * its hash where the head asks about an entity tag. Called by request.c, the worker's loop, and
 * each tick. It opens beneath the media root alone, and never waits for the disk itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/delivery/request_internal.h"
#include "storage/media/media.h"

/* ---- opening ---- */

int request_open_file(struct worker *worker, struct connection *connection,
                      const struct token_request *wanted)
{
    /* The name outlives this call: the ring reads it while the head waits. */
    char *name = strndup(wanted->path, wanted->path_length);
    if (name == NULL)
        return -ENOMEM;
    check(connection->output == NULL);
    connection->output = name;
    struct io_uring_sqe *sqe = worker_sqe(worker);
    /* The kernel only reads open_how; liburing's prototype has no const. */
    struct open_how *how = (struct open_how *)(uintptr_t)media_open_how(worker->node->media);
    io_uring_prep_openat2(sqe, media_root_fd(worker->node->media), media_relative_path(name), how);
    sqe->user_data = operation_data(OPERATION_OPEN, connection->generation, connection->index);
    connection->in_flight++;
    connection_set_state(connection, CONNECTION_OPENING);
    return -EAGAIN;
}

enum refusal request_refusal_of_file(int status)
{
    switch (status) {
    case -ENOENT:
        return REFUSAL_FILE_NOT_FOUND;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return REFUSAL_NODE_BUSY;
    default:
        return REFUSAL_FILE_UNREADABLE;
    }
}

void request_opened(struct worker *worker, struct connection *connection, int result)
{
    char path[MEDIA_PATH_MAX + 1];
    check(connection->state == CONNECTION_OPENING && connection->output != NULL);
    size_t length = strlen(connection->output);
    check(length <= MEDIA_PATH_MAX);
    memcpy(path, connection->output, length + 1);
    free(connection->output);
    connection->output = NULL;
    int status =
        media_cache_admit(worker->files, path, length, worker->now_ms, result, &connection->file);
    connection_set_state(connection, CONNECTION_READING);
    if (status == 0 || status == -ENOENT) {
        connection_resume(worker, connection); /* -ENOENT is remembered: the head finds it again */
        return;
    }
    /* The cache does not remember this error, so reading the head again would open the file again
     * without end: the request is refused here and the connection ends. */
    connection->keep_alive = false;
    response_refuse(worker, connection, request_refusal_of_file(status));
}

/* ---- its hash ---- */

bool request_await_hash(struct worker *worker, struct connection *connection,
                        const struct http_head *head)
{
    if (connection->hash_ticket != 0 || !http_asks_for_tag(head) ||
        worker->node->config->hash_wait_ms == 0)
        return false;
    connection->hash_until_ms = worker->now_ms + worker->node->config->hash_wait_ms;
    connection->hash_ticket =
        media_file_hash_first(worker->files, connection->file, connection->hash_until_ms);
    if (connection->hash_ticket == 0)
        return false;
    connection_set_state(connection, CONNECTION_PREPARING);
    connection_join(worker, connection, LIST_HASHING);
    return true;
}

void request_retry_hashing(struct worker *worker)
{
    struct connection *connection = worker->hashing.first;
    while (connection != NULL) {
        struct connection *next = connection->next[LIST_HASHING];
        /* The ticket is asked first: once the hashing is through, the tag can be learnt. */
        bool through = media_hash_is_through(worker->node->media, connection->hash_ticket);
        media_file_learn(worker->files, connection->file);
        if (through || connection->file->etag[0] != '\0' ||
            worker->now_ms >= connection->hash_until_ms) {
            connection_leave(worker, connection, LIST_HASHING);
            connection_set_state(connection, CONNECTION_READING);
            connection_resume(worker, connection);
        }
        connection = next;
    }
}
