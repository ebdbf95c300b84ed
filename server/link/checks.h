/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node remembers of signature checks, which cost twenty times what a good request does:
 * how many failed for each client address, which tokens were found good, and which wrong. A worker
 * asks here before it checks a token that its own cache does not hold; a token in that cache is
 * served without asking. The workers share it, under one lock that is held for less than a check.
 *
 * Bounds: CHECKS_ADDRESSES_MAX addresses with a failure; at the bound the one whose budget is full
 * again soonest makes room, so that an attacker with more addresses gains no more than new ones
 * would give him, and nobody else is refused. CHECKS_FAILED_MAX wrong tokens; the oldest makes
 * room, and is checked again if it comes back. As many good tokens as checks_create is told.
 */
#ifndef TOLLGATE_SERVER_LINK_CHECKS_H
#define TOLLGATE_SERVER_LINK_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"

#define CHECKS_ADDRESSES_MAX 16384
#define CHECKS_FAILED_MAX    4096
#define CHECKS_GOOD_MAX      1048576
#define CHECKS_DIGEST_SIZE   32
/* A connection is closed after the answer to so many failures. */
#define CHECKS_CLOSE         8

struct checks;

/*
 * `failed_max` checks of an address (IPv6: of its /64) may fail at once (0: any number), and
 * `per_minute` (1 to 60000) more in each minute. Remembers about `good_max` tokens as good, and no
 * more than CHECKS_GOOD_MAX. Returns 0, -ENOMEM, or -EIO without randomness.
 */
int checks_create(struct checks **out, uint64_t failed_max, uint64_t per_minute, uint64_t good_max);
void checks_destroy(struct checks **checks);

/* Seconds after which an address whose budget is used up may have the next token checked. */
unsigned checks_retry_s(const struct checks *checks);

/* Whether the token's signature is known to be wrong under the key sets of that generation (of
 * token_trust). `digest` is the token's SHA-256. */
bool checks_has_failed(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                       uint64_t generation);
/*
 * Whether the token may be checked: the client's budget is not used up, or the token was found good
 * before, even under other keys. `client` NULL: failures are not counted, so it may.
 */
bool checks_may(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                const struct client_address *client, uint64_t now_ms);
/*
 * Notes the outcome of a check. True where this failure used up the client's budget for the first
 * time since it was full: that is worth a line in the log.
 */
bool checks_tell(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                 uint64_t generation, bool good, const struct client_address *client,
                 uint64_t now_ms);

#endif
