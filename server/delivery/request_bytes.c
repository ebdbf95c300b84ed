/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step BYTES: selects the bytes by preconditions and range, and sets the response's part of the
 * file, or its several parts; or finds that it is to be 304, 412 or 416. It grants nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/delivery/connection.h"
#include "server/link/token_cache.h"
#include "storage/media/media.h"

/* RFC 9110 13 and 14. */
static enum http_selection select_bytes(const struct worker *worker,
                                        const struct exchange *exchange, struct http_ranges *ranges)
{
    const struct media_file *file = exchange->file;
    const struct http_validators validators = {
        .etag = file->etag,
        .modified_s = file->changed_s,
        .size = file->size,
        .now_s = worker->now_s,
    };
    return http_select(exchange->head, &validators, ranges);
}

/* Prepares a multipart answer. False without memory, or without randomness for a boundary that the
 * file is unlikely to contain. */
static bool select_parts(struct exchange *exchange, const struct http_ranges *ranges)
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
    exchange->body_length = 0;
    for (unsigned i = 0; i < parts->count; i++)
        exchange->body_length += parts->part[i].last - parts->part[i].first + 1;
    /* The first part begins with the head and is subtracted from left_after then. */
    exchange->left = 0;
    exchange->left_after = exchange->body_length;
    exchange->parts = parts;
    exchange->status = 206;
    return true;
}

/* Notes what was selected; NONE, or why it cannot be sent. */
static enum refusal take(struct exchange *exchange, enum http_selection selection,
                         const struct http_ranges *ranges)
{
    switch (selection) {
    case HTTP_WHOLE:
        exchange->status = 200;
        exchange->left = exchange->body_length = exchange->file->size;
        return REFUSAL_NONE;
    case HTTP_PART:
        exchange->status = 206;
        exchange->offset = ranges->range[0].first;
        exchange->left = exchange->body_length = ranges->range[0].last - ranges->range[0].first + 1;
        return REFUSAL_NONE;
    case HTTP_PARTS:
        return select_parts(exchange, ranges) ? REFUSAL_NONE : REFUSAL_NODE_BUSY;
    case HTTP_NOT_MODIFIED:
        exchange->answer = ANSWER_NOT_MODIFIED;
        return REFUSAL_NONE;
    case HTTP_UNSATISFIABLE:
        return REFUSAL_RANGE_NOT_SATISFIABLE;
    case HTTP_PRECONDITION_FAILED:
        return REFUSAL_PRECONDITION_FAILED;
    case HTTP_TAG_UNKNOWN:
        return REFUSAL_FILE_NOT_HASHED;
    }
    return REFUSAL_NONE;
}

enum step_outcome step_bytes(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    struct http_ranges ranges;
    /* While the file was waited for, the key that signed the link may have been removed. */
    if (exchange->kept != NULL && !token_is_live(worker->trust, exchange->link->token)) {
        exchange->refusal = refusal_of_verdict(REFUSED_KEY_UNKNOWN);
        return STEP_REFUSE;
    }
    enum http_selection selection = select_bytes(worker, exchange, &ranges);
    /* After exp a download may be resumed, not begun. */
    if (selection == HTTP_WHOLE && !exchange->head_only &&
        token_is_resuming(exchange->link->token, worker->now_s)) {
        exchange->refusal = refusal_of_verdict(REFUSED_EXPIRED);
        return STEP_REFUSE;
    }
    exchange->waiting = WAIT_NONE;
    exchange->head = NULL; /* it is not needed any more */
    free(exchange->kept);
    exchange->kept = NULL;
    exchange->refusal = take(exchange, selection, &ranges);
    if (exchange->refusal != REFUSAL_NONE)
        exchange->answer = ANSWER_REFUSAL;
    return STEP_NEXT;
}
