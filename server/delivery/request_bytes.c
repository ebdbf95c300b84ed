/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers a request once its link and file are found and its bytes are selected: sets the
 * response's part of the file, or its several parts, and goes on to admission.c; or answers 304,
 * 412 or 416. Called by request.c. It grants nothing, and reads no field of the head.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/delivery/request_internal.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

/* Prepares a multipart answer. False without memory, or without randomness for a boundary that the
 * file is unlikely to contain. */
static bool select_parts(struct connection *connection, const struct http_ranges *ranges)
{
    uint64_t random;
    struct multipart *parts = malloc(sizeof(*parts));
    if (parts == NULL || getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        free(parts);
        return false;
    }
    *parts = (struct multipart){.count = ranges->count};
    memcpy(parts->part, ranges->range, sizeof(parts->part));
    snprintf(parts->boundary, sizeof(parts->boundary), "%016llx", (unsigned long long)random);
    connection->body_length = 0;
    for (unsigned i = 0; i < parts->count; i++)
        connection->body_length += parts->part[i].last - parts->part[i].first + 1;
    /* The first part begins with the head and is subtracted from left_after then. */
    connection->left = 0;
    connection->left_after = connection->body_length;
    connection->parts = parts;
    connection->status = 206;
    return true;
}

void request_answer(struct worker *worker, struct connection *connection,
                    enum http_selection selection, const struct http_ranges *ranges)
{
    const struct media_file *file = connection->file;
    /* After exp a download may be resumed, not begun. */
    if (selection == HTTP_WHOLE && !connection->head_only &&
        token_is_resuming(connection->link->token, worker->now_s)) {
        response_refuse(worker, connection, refusal_of_verdict(REFUSED_EXPIRED));
        return;
    }
    switch (selection) {
    case HTTP_WHOLE:
        connection->status = 200;
        connection->offset = 0;
        connection->left = connection->body_length = file->size;
        admission_begin(worker, connection);
        break;
    case HTTP_PART:
        connection->status = 206;
        connection->offset = ranges->range[0].first;
        connection->left = connection->body_length =
            ranges->range[0].last - ranges->range[0].first + 1;
        admission_begin(worker, connection);
        break;
    case HTTP_PARTS:
        if (select_parts(connection, ranges))
            admission_begin(worker, connection);
        else
            response_refuse(worker, connection, REFUSAL_NODE_BUSY);
        break;
    case HTTP_NOT_MODIFIED:
        response_not_modified(worker, connection);
        break;
    case HTTP_UNSATISFIABLE:
        response_refuse(worker, connection, REFUSAL_RANGE_NOT_SATISFIABLE);
        break;
    case HTTP_PRECONDITION_FAILED:
        response_refuse(worker, connection, REFUSAL_PRECONDITION_FAILED);
        break;
    case HTTP_TAG_UNKNOWN:
        response_refuse(worker, connection, REFUSAL_FILE_NOT_HASHED);
        break;
    }
}
