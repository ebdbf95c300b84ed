/*
 * Tokens whose signature this worker has checked, remembered under their SHA-256 and the trust's
 * generation, so that the signature is checked once for each distinct token. Not thread-safe: a
 * worker's own. Times and container are never remembered: token_check is for each request.
 */
#ifndef TOLLGATE_SERVER_LINK_TOKEN_CACHE_H
#define TOLLGATE_SERVER_LINK_TOKEN_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/link/checks.h"
#include "storage/ledger/ledger.h"
#include "tokens/tokens.h"

struct token_cache;

struct token_entry {
    struct token *token;                   /* owns */
    struct ledger_account *account;        /* holds */
    unsigned char link[LEDGER_LINK_BYTES]; /* names the link in window.h */
    /* Of standing.h: it was revoked; or it was good, as of what was heard then, until that time. */
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

/* Borrows the ledger and `checks`, which the node has for all its workers. */
int token_cache_create(struct token_cache **out, struct ledger *ledger, struct checks *checks,
                       uint64_t entries_max);
void token_cache_destroy(struct token_cache **cache);

/*
 * Who asks for a token: it is the client whose failed checks are counted, NULL where that is
 * nobody.
 */
struct token_asker {
    const struct client_address *client;
    uint64_t now_ms;
};

/* What it took to know. */
enum token_effort {
    TOKEN_REMEMBERED, /* this worker knew it as good, or the node as refused */
    TOKEN_READ,       /* refused before its signature was looked at */
    TOKEN_CHECKED,    /* its signature was checked */
    TOKEN_UNCHECKED,  /* it would have been, but the asker's failures are used up */
};

/*
 * Verifies, or finds, a token. On TOKEN_OK and *status 0, *out is referenced. *status is -ENOSPC
 * where the ledger takes no more accounts, -ENOMEM. The verdict of TOKEN_UNCHECKED is
 * REFUSED_BAD_SIGNATURE, of which nothing is known.
 */
enum token_verdict token_cache_get(struct token_cache *cache, struct token_trust *trust,
                                   const char *jws, size_t length, const struct token_asker *asker,
                                   struct token_entry **out, enum token_effort *effort,
                                   int *status);
/* The entry is in use: others go first at the bound. */
void token_cache_touch(struct token_cache *cache, struct token_entry *entry);
void token_entry_drop(struct token_entry **entry);

#endif
