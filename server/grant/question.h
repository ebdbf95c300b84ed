/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question asks Redis for a grant to a window (in the terms of RFC 8506: a grant of so many
 * bytes, valid so long). A window has one question in time at most, which serves all responses that
 * wait for it, on whichever worker they are. Called by asker.c; its answer goes into the window
 * (grant_take.c) and then to the response that asked, by the functions of struct grants_worker.
 */
#ifndef TOLLGATE_SERVER_GRANT_QUESTION_H
#define TOLLGATE_SERVER_GRANT_QUESTION_H

#include "server/grant/grants.h"

/* What Redis is told of the link's terms, beside the demand. */
struct question_terms {
    uint32_t max_uses;  /* 0: not limited */
    uint64_t max_bytes; /* 0: not limited */
    uint64_t till_ms;   /* exp and resume, since 1970 */
    enum ledger_stage stage;
};

/*
 * Asks for what the demand needs. 0: `asker`, whose question is numbered here, is answered later.
 * -EALREADY: another question about the window, or about one of its funds that is short, is under way,
 * at whose end the worker is woken. -ENOTCONN or -ENOMEM: Redis cannot be asked now, or the account is set
 * aside.
 */
int question_ask(struct grants *grants, const struct demand *demand,
                 const struct question_terms *terms, struct grants_asker *asker);
/* Asks only for another validity of the window's grant; nobody is told of the answer. 0, or as
 * above. */
int question_renew(struct grants *grants, const struct demand *demand,
                   const struct question_terms *terms);

#endif
