/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker's connections do just now, one row each, for operators who ask why something hangs.
 * The admin interface has a worker asked (inquiry_inspect), and the worker fills in the rows in its
 * own turn. A row has nothing that lets anybody download: no token, no key, no link's name.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_INSPECTION_H
#define TOLLGATE_SERVER_DELIVERY_INSPECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/client_address.h"
#include "server/delivery/step.h"
#include "storage/ledger/ledger_names.h"
#include "storage/media/media.h"

/* Rows at most, because no connection sends while they are filled in. */
#define INSPECTION_MAX 1000

struct inspection_row {
    uint32_t connection; /* its index, as the log has it */
    enum connection_state state;
    enum wait waits_for;
    uint64_t age_ms;                    /* since it was accepted */
    bool is_inquiry;                    /* it has no client */
    struct client_address client;       /* of no meaning for an inquiry */
    char issuer[LEDGER_ISSUER_MAX + 1]; /* of the account; "": none is known */
    char account[LEDGER_ACCOUNT_MAX + 1];
    char path[MEDIA_PATH_MAX + 1]; /* of the file, decoded; "": none is open */
    unsigned status; /* of the answer that is sent, or will be once it is admitted; 0: none */
    uint64_t body_bytes, left_bytes; /* of the file in that answer, and not handed over of them */
    uint64_t handed_bytes;           /* of the whole connection, heads included, before TLS */
    uint64_t acknowledged_bytes;     /* of these, when they were last measured */
    const char *tls;                 /* "TLSv1.3"; a constant; NULL: plain TCP */
};

struct inspection {
    uint32_t open; /* connections of the worker, shown or not */
    size_t count;
    struct inspection_row rows[INSPECTION_MAX];
};

/* An empty inspection, for the caller to free; NULL without memory. */
struct inspection *inspection_create(void);
/* Fills in the rows, on the worker's thread: the open connections, the oldest first, and behind them
 * those that are closing and wait for acknowledgements. */
void inspection_fill(struct inspection *inspection, const struct worker *worker);

#endif
