/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes an answer of Redis into the window that was asked for, its account and its link: the funds,
 * the use, the account's limits, and what was confirmed. Called by question.c, on the worker that
 * asked. It decides about no response and sends nothing.
 */
#ifndef TOLLGATE_SERVER_GRANT_GRANT_TAKE_H
#define TOLLGATE_SERVER_GRANT_GRANT_TAKE_H

#include "server/grant/demand.h"

/* The facts of a question by which its answer is judged. */
struct grant_asked {
    struct window_question question; /* holds its window */
    uint64_t validity_ms;
    struct ledger_heard heard; /* of revocations, when it was asked */
    uint64_t keep_ms;          /* of the link's terms */
    bool takes_nothing;        /* nothing is granted, whatever the answer says */
    bool is_late; /* its time was over before: the window may have been asked for since */
};

/*
 * Takes a grant. False where a revocation has overtaken the answer: its figures are taken all the
 * same, as Redis has them, but no response may start on it.
 */
bool grant_take(struct windows *windows, const struct grant_asked *asked,
                const struct ledger_grant *grant);

#endif
