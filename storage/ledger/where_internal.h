/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of where.h share; nobody else includes it. where_state.c keeps what is in
 * force, where_resolve.c resolves, where_sentinel.c asks the Sentinels, where_look.c looks which of
 * the addresses that these brought is a master, and where.c starts and ends them.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_WHERE_INTERNAL_H
#define TOLLGATE_STORAGE_LEDGER_WHERE_INTERNAL_H

#include <pthread.h>

#include "storage/ledger/where.h"
#include "storage/ledger/where_name.h"

#define WHERE_ADDRESSES_MAX 16   /* of one name; further addresses of the resolver are ignored */
#define WHERE_LOOK_MS       1000 /* between two looks where nothing fails */
#define WHERE_LOOK_LEAST_MS 20   /* between two looks, however many connections fail */
#define WHERE_RESOLVE_MS    5000 /* between two questions to the resolver where nothing fails */

/* What one Sentinel said last. */
struct where_sentinel {
    struct where *where; /* borrows: the thread has a reference */
    unsigned index;
    int wake_fd; /* owns: an eventfd */
    bool asked;  /* it is to be asked at once */
    bool is_known;
    uint64_t told_ms; /* monotonic, when it answered last */
    uint64_t epoch;
    struct ledger_redis_address addresses[WHERE_ADDRESSES_MAX];
    unsigned count;
    char error[256]; /* why it did not answer last; "": it did */
};

struct where {
    pthread_mutex_t lock;
    pthread_cond_t resolve_asked, looked_once;
    struct where_name name;        /* as configured; never changed */
    struct ledger_options options; /* owns the strings; never changed */
    _Atomic uint64_t generation, served;
    struct ledger_redis_address in_force; /* port and host; it counts where is_known */
    bool is_known;
    char run_id[64]; /* of the Redis in force; "": nobody has met it yet */
    /* Where Redis may be, best first: of the resolver's or the Sentinels' last answer. */
    struct ledger_redis_address candidates[WHERE_ADDRESSES_MAX];
    unsigned count;
    uint64_t takes; /* how often that changed */
    int listeners[WHERE_LISTENERS_MAX];
    unsigned listeners_count;
    bool stop;
    unsigned references; /* the owner's, and one for each thread that may hang in the resolver */

    /* The resolver. */
    bool resolves;     /* it has a thread */
    bool asked;        /* a question is open */
    uint64_t asked_ms; /* monotonic: when it was put; 0: none is open */
    int failure;       /* of the last getaddrinfo; 0: it succeeded */

    /* The looker. */
    pthread_t looker;
    bool looks;  /* it has a thread */
    int look_fd; /* owns: an eventfd that ends its wait */
    bool look_asked;
    unsigned looks_done;
    char look_error[400]; /* why the last look found no master; "": it found one */

    struct where_sentinel sentinels[WHERE_SENTINELS_MAX]; /* name.count of them */
    uint64_t epoch;                                       /* of the candidates */
};

/* ---- where_state.c; all of it needs the lock ---- */

/* Puts an address into force; "" where its run id is not known. */
void where_put(struct where *where, const struct ledger_redis_address *address, const char *run_id);
/* Takes where Redis may be; has the looker look where it is not what was known. */
void where_take(struct where *where, const struct ledger_redis_address *addresses, unsigned count);
bool where_is_same(const struct ledger_redis_address *a, const struct ledger_redis_address *b);
/* Each has one kind of thread do its work at once. */
void where_look_at_once(struct where *where);
void where_resolver_ask(struct where *where);
void where_sentinels_ask(struct where *where);
/* Gives a reference back and unlocks; frees everything with the last one. */
void where_drop(struct where *where);
/* Starts a thread that has a reference and ends with where_drop. */
int where_start(struct where *where, void *(*run)(void *), void *argument);

/* ---- where_resolve.c ---- */

/* Resolves a name without the lock; blocks, perhaps for minutes. `flags` as getaddrinfo has them. 0
 * or its error. */
int where_resolve(const struct ledger_redis_address *name, int flags,
                  struct ledger_redis_address out[WHERE_ADDRESSES_MAX], unsigned *count);
int where_resolver_start(struct where *where);

/* ---- where_look.c ---- */

int where_looker_start(struct where *where);

/* ---- where_sentinel.c ---- */

int where_sentinels_start(struct where *where);

#endif
