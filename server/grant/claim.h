/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is what one response takes from the pools that it is paid from: its account's, and its
 * link's where the link has max_bytes. It claims all that it needs when it begins, pays as it hands
 * bytes to the kernel, and gives the rest back when it ends. Only the worker of the response touches
 * its claim.
 */
#ifndef TOLLGATE_SERVER_GRANT_CLAIM_H
#define TOLLGATE_SERVER_GRANT_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "server/grant/window.h"

struct claim {
    uint64_t bytes;  /* claimed, and not paid yet */
    uint64_t paid;   /* paid, and not handed to the kernel yet */
    bool of_link;    /* the link's pool pays, too */
    bool is_unasked; /* the response began or went on without Redis, and is counted (outage.h) */
};

/* Claims `bytes` of both pools, or of neither: false. */
bool claim_begin(struct claim *claim, struct window *window, bool of_link, uint64_t bytes);
/* Pays for up to `want` of the claimed bytes. Returns how many may be handed to the kernel now. */
uint64_t claim_pay(struct claim *claim, struct window *window, uint64_t want);
/* Takes back what was paid and is not handed over now. */
void claim_refund(struct claim *claim, struct window *window, uint64_t bytes);
/* `bytes` of those paid were handed to the kernel. */
void claim_hand(struct claim *claim, uint64_t bytes);
/* Gives back all that was not handed over. */
void claim_end(struct claim *claim, struct window *window);
/* Bytes of a response were handed over and never acknowledged. */
void claim_return(struct window *window, bool of_link, uint64_t bytes);

#endif
