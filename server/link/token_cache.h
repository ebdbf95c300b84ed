/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens whose signature this worker has verified, remembered under their SHA-256 and the trust's
 * generation, so that the signature is verified once for each distinct token. Called by
 * request_link.c; each worker has its own, which is not thread-safe. It never remembers whether
 * times and container allow a request: token_validate must run for each.
 */
#ifndef TOLLGATE_SERVER_LINK_TOKEN_CACHE_H
#define TOLLGATE_SERVER_LINK_TOKEN_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/link/verifications.h"
#include "storage/ledger/ledger.h"
#include "tokens/tokens.h"

struct token_cache;

struct token_entry {
    struct token *token;                         /* owns */
    struct ledger_account *account;              /* holds */
    struct ledger_key *key;                      /* holds; which signed it, for the journal */
    unsigned char link_id[LEDGER_LINK_ID_BYTES]; /* under which window.h knows it */
    /* Used by standing.c: the link was revoked; or it was good until good_until_ms, if no more has
     * been heard of revocations than good_as_of. */
    bool revoked;
    uint64_t good_until_ms;
    struct ledger_heard good_as_of;
    /* private */
    unsigned char digest[32];
    struct token_trust *trust; /* holds */
    struct token_entry *next, *newer, *older;
    uint32_t references;
    bool cached;
};

/* Borrows the ledger and `verifications`, which the node has for all its workers. */
int token_cache_create(struct token_cache **out, struct ledger *ledger,
                       struct verifications *verifications, uint64_t entries_max);
void token_cache_destroy(struct token_cache **cache);

/* The client whose failed verifications are counted, NULL to count nobody's, and the time
 * (monotonic). */
struct token_asker {
    const struct client_address *client;
    uint64_t now_ms;
};

/* What token_cache_get had to do for its verdict. */
enum token_effort {
    TOKEN_REMEMBERED, /* the worker knew the token as good, or the node as wrongly signed */
    TOKEN_READ,       /* refused before its signature was looked at */
    TOKEN_VERIFIED,   /* its signature was verified */
    TOKEN_UNVERIFIED, /* it was not, because the asker has used up its failures */
};

/*
 * Verifies a token, or finds it in the cache. On TOKEN_OK with *status 0, *out is a reference for
 * the caller (token_entry_drop). *status is that of ledger_account_get or ledger_key_get, or -ENOMEM.
 * With TOKEN_UNVERIFIED the verdict is REFUSED_BAD_SIGNATURE, although the signature may be good.
 */
enum token_verdict token_cache_get(struct token_cache *cache, struct token_trust *trust,
                                   const char *jws, size_t length, const struct token_asker *asker,
                                   struct token_entry **out, enum token_effort *effort,
                                   int *status);
/* Marks the entry as used just now, so that others are dropped before it at the bound. */
void token_cache_touch(struct token_cache *cache, struct token_entry *entry);
void token_entry_drop(struct token_entry **entry);

#endif
