/*
 * The node's name in Redis, leased to one process of one instance. Used by the poster, which posts
 * only while the lease is held; so a copied state directory cannot post beside its original.
 */
#ifndef TOLLGATE_LEDGER_LEASE_H
#define TOLLGATE_LEDGER_LEASE_H

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis.h"

struct lease {
    bool held;                /* it was, when Redis was asked last */
    bool was_held;            /* ever, by this process */
    uint64_t until_ms;        /* on our monotonic clock, from before the question */
    uint64_t due_ms;          /* when to ask again */
    uint64_t told;            /* records of usage and money that Redis knows to be on disk */
    long long foreign_until;  /* of another process of this instance, on the clock of Redis */
    uint64_t foreign_left_ms; /* until that runs out */
};

enum lease_result {
    LEASE_HELD,    /* as before */
    LEASE_NEW,     /* taken: Redis did not know it as ours */
    LEASE_WAIT,    /* an earlier process of this directory may still live; text says so */
    LEASE_REFUSED, /* another instance's, a second process with a copy of the directory, or a journal
                      that has lost what was on disk; text says so */
    LEASE_LINK,    /* the link failed */
};

enum lease_result lease_renew(struct lease *lease, struct redis_link *link,
                              const struct ledger *ledger, char text[LEDGER_TEXT_MAX]);
void lease_release(struct lease *lease, struct redis_link *link, const struct ledger *ledger);
bool lease_is_due(const struct lease *lease);
/* Whether Redis knows of all records of usage and money that are on disk. */
bool lease_has_told(const struct lease *lease, const struct ledger *ledger);
/* Until it must be asked for again. */
uint64_t lease_left_ms(const struct lease *lease);
/* Until another's may be over. */
uint64_t lease_wait_ms(const struct lease *lease);

#endif
