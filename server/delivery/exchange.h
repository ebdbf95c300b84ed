/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exchange: one request and its response, from a head to the last byte that was handed to the
 * transport. The steps (step.h) fill it in. It is zeroed as a whole between two requests. It does
 * not know how its head came, nor how its response is framed: framing.h does.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_EXCHANGE_H
#define TOLLGATE_SERVER_DELIVERY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/delivery/step.h"
#include "server/grant/claim.h"
#include "server/grant/decision.h"
#include "server/http/http_fields.h"
#include "server/http/http_head.h"
#include "storage/media/media.h"

struct access_entry;
struct grants_answer;
struct token_entry;
struct window;

/* What is answered. */
enum answer {
    ANSWER_FILE, /* or a part of it, or its head alone */
    ANSWER_NOT_MODIFIED,
    ANSWER_OPTIONS,
    ANSWER_REDIRECT, /* to public_origin */
    ANSWER_REFUSAL,
};

/*
 * A response of several ranges (RFC 9110 14.6). `offset` and `left` of the exchange are those of the
 * part under way. What stands between the parts counts as head, which is free.
 */
struct multipart {
    unsigned count, next; /* next: the part to begin after the one under way */
    char boundary[24];
    struct http_range part[HTTP_RANGES_MAX];
};

struct exchange {
    uint8_t waiting; /* enum wait */
    uint8_t answer;  /* enum answer */
    uint16_t status;
    enum refusal refusal; /* of ANSWER_REFUSAL */
    const char *why; /* STEP_CUT: for the log; or ANSWER_REFUSAL: for the table's text. Borrows */

    const struct http_head *head; /* borrows the worker's, or `kept`; NULL once it is not needed */
    struct http_kept *kept;       /* owns; the head of an exchange that had to wait */
    bool head_only;               /* HEAD */
    bool navigation;              /* a browser's window waits for the answer, not a program */
    bool standing_good;           /* the last question about its link found it not revoked */
    bool standing_unknown;        /* Redis could not say, so no cache may keep the answer */
    uint8_t standing_asks;        /* questions to Redis about its link */
    bool in_link_quota;           /* counted among the responses of its link */
    bool in_account_quota;        /* likewise of its account */
    const char *origin;           /* borrows; of a page that may read the answer (CORS) */
    struct token_entry *link;     /* holds */

    struct media_file *file;    /* holds */
    struct media_reader reader; /* of the file, over the range under way */
    uint64_t hash_ticket;       /* of the file's hash, where it has waited for it; else 0 */
    uint64_t hash_until_ms;     /* WAIT_HASH ends then */
    struct multipart *parts;    /* owns; NULL: one range, or the whole file */
    uint64_t offset, left;      /* of the body: its next byte in the file, bytes still to send */
    uint64_t left_after;        /* bytes of the parts behind the one under way */
    uint64_t body_length;       /* bytes of the file in the whole body */

    struct window *window;             /* holds */
    struct claim claim;                /* what the response took from the pools that pay for it */
    const struct grants_answer *reply; /* borrows: what Redis has just answered; else NULL */
    uint64_t question;                 /* number of its question to Redis; 0: none */
    uint64_t question_round;  /* the last of others' questions that asks for its need, too */
    struct patience patience; /* how long it waits while it is parked */

    char *output; /* owns; the part of head and small body that the socket did not take */
    uint32_t output_length, output_sent, output_head; /* bytes below output_head are not billed */
    struct access_entry *access;                      /* holds */
};

/* Bytes of the body that are still to be sent. */
static inline uint64_t exchange_need(const struct exchange *exchange)
{
    return exchange->left + exchange->left_after;
}

/* Gives back all that the exchange holds, and zeroes it. */
void exchange_end(struct worker *worker, struct connection *connection);

#endif
