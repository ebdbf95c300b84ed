/*
 * What the node remembers of signature checks, which cost twenty times what a good request does: how many
 * failed of each client address, and which tokens were found good and which wrong. A worker asks
 * before it checks a token that it does not remember itself. Shared by the workers, under one lock that
 * is held for a fraction of what a check takes.
 *
 * Bounds: CHECKS_ADDRESSES_MAX addresses with a failure, of which at the bound the one goes whose budget
 * is whole again soonest (so an attacker with more addresses than that gains what new ones would have
 * given him, and nobody else is refused for it); CHECKS_FAILED_MAX wrong tokens, of which the oldest
 * goes and is checked again; and as many good ones as is said at the creation, CHECKS_GOOD_MAX at most,
 * likewise. What a worker remembers itself is served without asking here.
 */
#ifndef TOLLGATE_SERVER_CHECKS_H
#define TOLLGATE_SERVER_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"

#define CHECKS_ADDRESSES_MAX 16384
#define CHECKS_FAILED_MAX    4096
#define CHECKS_GOOD_MAX      1048576
#define CHECKS_DIGEST_SIZE   32
/* Failures on one connection after which it is closed, with the answer to the last. */
#define CHECKS_CLOSE         8

struct checks;

/*
 * `failed_max` checks of an address (IPv6: of its /64) may fail at once, and `per_minute` (1 to 60000)
 * more in each minute; 0: without a bound. Remembers about `good_max` tokens as good.
 * 0, -ENOMEM, or -EIO without randomness.
 */
int checks_create(struct checks **out, uint64_t failed_max, uint64_t per_minute, uint64_t good_max);
void checks_destroy(struct checks **checks);

/* Seconds after which an address whose budget is used up may have the next token checked. */
unsigned checks_retry_s(const struct checks *checks);

/* Whether the token's signature is known to be wrong under the keys of that generation (of the trust).
 * `digest` is the token's SHA-256. */
bool checks_has_failed(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                       uint64_t generation);
/*
 * Whether the token may be checked: the client's budget is not used up, or the token was found good
 * before, be it under other keys. `client` NULL: nobody whose failures are counted.
 */
bool checks_may(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                const struct client_address *client, uint64_t now_ms);
/*
 * What the check has said of the signature. True where that was the failure which used up the client's budget, for the
 * first time since it was whole: worth a line in the log.
 */
bool checks_tell(struct checks *checks, const unsigned char digest[CHECKS_DIGEST_SIZE],
                 uint64_t generation, bool good, const struct client_address *client,
                 uint64_t now_ms);

#endif
