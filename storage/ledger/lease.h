/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's name in Redis, leased to one process of one instance. The poster uses it and posts
 * only while it holds the lease, so that a copied state directory cannot post beside its original.
 */
#ifndef TOLLGATE_LEDGER_LEASE_H
#define TOLLGATE_LEDGER_LEASE_H

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

struct lease {
    bool held;                /* as of Redis' last answer */
    bool was_held;            /* this process has held it at least once */
    uint64_t until_ms;        /* monotonic, counted from before the question */
    uint64_t due_ms;          /* monotonic: when to renew it */
    uint64_t told;            /* records of usage and money that Redis knows to be on disk */
    long long foreign_until;  /* end of another process' lease, by Redis' clock */
    uint64_t foreign_left_ms; /* until that lease ends */
};

enum lease_result {
    LEASE_HELD,    /* this process had it, and it is renewed */
    LEASE_NEW,     /* taken: Redis had no lease of this process */
    LEASE_WAIT,    /* an earlier process of this directory may still live; text says so */
    LEASE_REFUSED, /* another instance has it, or a second process with a copy of the directory, or
                      the journal has lost records that were on disk; text says so */
    LEASE_LINK,    /* the link failed */
};

/*
 * Takes the lease or renews it, for lease_ms from before the question. `text` is written for
 * LEASE_WAIT and LEASE_REFUSED, link->error for LEASE_LINK.
 */
enum lease_result lease_renew(struct lease *lease, struct redis_link *link,
                              const struct ledger *ledger, char text[LEDGER_TEXT_MAX]);
/* Ends the lease in Redis; where Redis does not answer, the lease runs out by itself. */
void lease_release(struct lease *lease, struct redis_link *link, const struct ledger *ledger);
/* Whether the lease is not held, or a third of it is over. */
bool lease_is_due(const struct lease *lease);
/* Whether Redis has been told of all records of usage and money that are on disk. */
bool lease_has_told(const struct lease *lease, const struct ledger *ledger);
/* How long until the lease must be renewed. */
uint64_t lease_left_ms(const struct lease *lease);
/* How long to wait before another process' lease may be over. */
uint64_t lease_wait_ms(const struct lease *lease);

#endif
