/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/debug/connections: what each connection of each worker does and waits for. A thread of the
 * desk has one worker after another write its rows (inquiry_inspect). A row has no token, no key and
 * no link's name, and the path alone lets nobody download.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/delivery/inquiry.h"
#include "server/delivery/inspection.h"

/* Rows are written as they come, because a JSON tree of many rows needs ten times their text. */
struct listing {
    FILE *out;
    size_t open, shown;
};

/* The path as a link has it, since a name on disk is any bytes; null where no file is open. */
static json_t *path_json(const struct inspection_row *row)
{
    char text[3 * sizeof(row->path)];
    if (row->path[0] == '\0' ||
        token_path_encode(row->path, strlen(row->path), text, sizeof(text)) < 0) {
        return json_null();
    }
    return json_string(text);
}

static json_t *row_json(unsigned worker, const struct inspection_row *row)
{
    char client[CLIENT_ADDRESS_TEXT];
    char account[sizeof(row->issuer) + sizeof(row->account)];
    client_address_write(&row->client, client);
    (void)snprintf(account, sizeof(account), "%s/%s", row->issuer, row->account);
    return json_pack("{s:i, s:i, s:s, s:s, s:I, s:s?, s:s?, s:o, s:o, s:I, s:I, s:I, s:I, s:s?}",
                     "worker", (int)worker, "connection", (int)row->connection, "state",
                     step_state_name(row->state), "waits_for", step_wait_text(row->waits_for),
                     "age_ms", (json_int_t)row->age_ms, "client", row->is_inquiry ? NULL : client,
                     "account", row->account[0] != '\0' ? account : NULL, "path", path_json(row),
                     "status",
                     row->status != 0 ? json_integer((json_int_t)row->status) : json_null(),
                     "body_bytes", (json_int_t)row->body_bytes, "left_bytes",
                     (json_int_t)row->left_bytes, "handed_bytes", (json_int_t)row->handed_bytes,
                     "acknowledged_bytes", (json_int_t)row->acknowledged_bytes, "tls", row->tls);
}

/* Adds what a worker has written down. 0 or -ENOMEM. */
static int write_rows(struct listing *listing, unsigned worker, const struct inspection *inspection)
{
    listing->open += inspection->open;
    for (size_t i = 0; i < inspection->count; i++) {
        json_t *value = row_json(worker, &inspection->rows[i]);
        if (value == NULL) {
            return -ENOMEM;
        }
        if (listing->shown++ > 0) {
            (void)fputc(',', listing->out);
        }
        int failed = json_dumpf(value, listing->out, JSON_COMPACT);
        json_decref(value);
        if (failed != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Asks all workers. 0; else a negative errno, with *worker the one that it came from. */
static int write_listing(struct node *node, struct listing *listing, unsigned *worker)
{
    int failure = 0;
    (void)fputs("{\"connections\":[", listing->out);
    for (unsigned i = 0; i < node->worker_count && failure == 0; i++) {
        struct inspection *inspection = NULL;
        *worker = i;
        failure = inquiry_inspect(node, i, &inspection);
        if (failure == 0) {
            failure = write_rows(listing, i, inspection);
        }
        free(inspection);
    }
    (void)fprintf(listing->out, "],\"open\":%zu,\"shown\":%zu}", listing->open, listing->shown);
    return failure;
}

static void answer_failure(int failure, unsigned worker, struct admin_answer *answer)
{
    switch (failure) {
    case -ECANCELED:
        admin_answer_stopping(answer);
        break;
    case -ETIMEDOUT:
        admin_answer_problem(answer, ADMIN_NODE_BUSY, NULL,
                             "worker %u did not answer in time; its thread may hang, which "
                             "`alive` of /v1/health tells",
                             worker);
        break;
    default:
        admin_answer_errno(answer, failure);
    }
}

void admin_connections(struct node *node, const struct admin_request *request,
                       struct admin_answer *answer)
{
    char *text = NULL;
    size_t length = 0;
    unsigned worker = 0;
    if (!admin_validate_parameters(request, NULL, 0, answer)) {
        return;
    }
    struct listing listing = {.out = open_memstream(&text, &length)};
    if (listing.out == NULL) {
        admin_answer_errno(answer, -ENOMEM);
        return;
    }
    int failure = write_listing(node, &listing, &worker);
    bool is_short = ferror(listing.out) != 0;
    if (fclose(listing.out) != 0 || is_short) {
        failure = -ENOMEM;
    }
    if (failure != 0) {
        free(text);
        answer_failure(failure, worker, answer);
        return;
    }
    answer->status = 200;
    answer->body = text;
    answer->length = length;
}
