/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step ANSWER: writes the head of what was decided, and sends it with the beginning of its body.
 * The refusals of all steps come here. An inquiry is answered in place of a response. It waits for
 * nothing: what the stream does not take is left to SEND.
 */
#include <stdlib.h>

#include "server/delivery/inquiry.h"
#include "server/delivery/outbox.h"
#include "server/delivery/response.h"

static size_t write_head(struct worker *worker, struct connection *connection)
{
    switch ((enum answer)connection->exchange.answer) {
    case ANSWER_FILE:
        return response_file(worker, connection);
    case ANSWER_NOT_MODIFIED:
        return response_not_modified(worker, connection);
    case ANSWER_OPTIONS:
        return response_options(worker, connection);
    case ANSWER_REDIRECT:
        return response_redirect(worker, connection);
    case ANSWER_REFUSAL:
        break;
    }
    return response_refusal(worker, connection);
}

enum step_outcome step_answer(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    connection->rate_ms = 0; /* the next sweep begins to measure the rate */
    if (connection->inquiry != NULL) {
        inquiry_answer(&connection->inquiry,
                       exchange->answer == ANSWER_REFUSAL ? exchange->refusal : REFUSAL_NONE);
        return STEP_CLOSE;
    }
    size_t length = write_head(worker, connection);
    exchange->waiting = WAIT_NONE;
    exchange->why =
        NULL; /* the refusal's text is written; from here on it says why a cut was made */
    if (exchange->answer == ANSWER_FILE && !exchange->head_only && exchange->body_length > 0)
        return outbox_begin_body(worker, connection, length);
    exchange->left = exchange->left_after = 0;
    free(exchange->parts); /* set where a refusal takes the place of several ranges */
    exchange->parts = NULL;
    return outbox_send(worker, connection, length, length, false);
}
