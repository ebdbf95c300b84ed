/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node remembers of signature verifications, which cost twenty times what a good request
 * does: how many failed for each client address, which tokens were found good, and which wrong. A
 * worker asks here before it verifies a token that its own cache does not hold; a token in that
 * cache is served without asking. The workers share it, under one lock that is held for less than a
 * verification takes.
 *
 * Bounds: VERIFICATIONS_ADDRESSES_MAX addresses with a failure; at the bound the one whose budget
 * is full again soonest makes room, so that an attacker with more addresses gains no more than new
 * ones would give him, and nobody else is refused. VERIFICATIONS_FAILED_MAX wrong tokens; the
 * oldest makes room, and is verified again if it comes back. As many good tokens as
 * verifications_create is told.
 */
#ifndef TOLLGATE_SERVER_LINK_VERIFICATIONS_H
#define TOLLGATE_SERVER_LINK_VERIFICATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"

#define VERIFICATIONS_ADDRESSES_MAX 16384
#define VERIFICATIONS_FAILED_MAX    4096
#define VERIFICATIONS_GOOD_MAX      1048576
#define VERIFICATIONS_DIGEST_SIZE   32
/* A connection is closed after the answer to so many failures. */
#define VERIFICATIONS_CLOSE         8

struct verifications;

/*
 * `failed_max` verifications of an address (IPv6: of its /64) may fail at once (0: any number), and
 * `per_minute` (1 to 60000) more in each minute. Remembers about `good_max` tokens as good, and no
 * more than VERIFICATIONS_GOOD_MAX. Returns 0, -ENOMEM, or -EIO without randomness.
 */
int verifications_create(struct verifications **out, uint64_t failed_max, uint64_t per_minute,
                         uint64_t good_max);
void verifications_destroy(struct verifications **verifications);

/* Seconds after which an address whose budget is used up may have the next token verified. */
unsigned verifications_retry_s(const struct verifications *verifications);

/* Whether the token's signature is known to be wrong under the key sets of that generation (of
 * token_trust). `digest` is the token's SHA-256. */
bool verifications_has_failed(struct verifications *verifications,
                              const unsigned char digest[VERIFICATIONS_DIGEST_SIZE],
                              uint64_t generation);
/*
 * Whether the token may be verified: the client's budget is not used up, or the token was found
 * good before, even under other keys. `client` NULL: failures are not counted, so it may.
 */
bool verifications_may(struct verifications *verifications,
                       const unsigned char digest[VERIFICATIONS_DIGEST_SIZE],
                       const struct client_address *client, uint64_t now_ms);
/*
 * Notes the outcome of a verification. True where this failure used up the client's budget for the
 * first time since it was full: that is worth a line in the log.
 */
bool verifications_tell(struct verifications *verifications,
                        const unsigned char digest[VERIFICATIONS_DIGEST_SIZE], uint64_t generation,
                        bool good, const struct client_address *client, uint64_t now_ms);

#endif
