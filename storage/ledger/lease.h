/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's name and the lease of its instance, as Redis keeps them. The poster asks for both, and
 * posts only while it holds the lease, so that a copied state directory cannot post beside its
 * original, whatever its name is.
 */
#ifndef TOLLGATE_LEDGER_LEASE_H
#define TOLLGATE_LEDGER_LEASE_H

#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/redis_talk.h"

struct lease {
    uint64_t begun_ms;      /* monotonic: by which Redis tells this process from those before it */
    bool held;              /* as of Redis' last answer */
    uint64_t number;        /* of the lease that this process held last; 0: none */
    uint64_t until_ms;      /* monotonic, counted from before the question */
    uint64_t due_ms;        /* monotonic: when to renew it */
    uint64_t told;          /* records of usage and money that Redis knows to be on disk */
    uint64_t asked_ms;      /* monotonic: when the last question was put */
    uint64_t asked_records; /* what it told, not answered yet */
    /* Another process' lease. Its end by Redis' clock only tells whether it was renewed: how long it
     * lasts is counted here, since that clock may be set. */
    uint64_t foreign_until;    /* 0: none was met */
    uint64_t foreign_since_ms; /* monotonic: since when its end is this one */
    bool foreign_renews;       /* it was renewed while this process waited */
};

enum lease_result {
    LEASE_HELD,    /* this process had it, and it is renewed */
    LEASE_NEW,     /* taken: Redis had no lease of this process */
    LEASE_WAIT,    /* an earlier process of this directory may still live; text says so */
    LEASE_REFUSED, /* another directory has the name, a second process with a copy of this one has
                      the lease, or the journal has lost records that were on disk; text says so */
    LEASE_UNKNOWN, /* Redis gave no answer that says; error has the cause */
};

/* A command whose words lead into itself, so it must not be copied. */
struct lease_command {
    int count;
    const char *words[16];
    char key[64], numbers[11][24];
};

/* Writes the command that asks whether the name is this state directory's, and makes it so where it
 * is nobody's. */
void lease_ask_name(const struct ledger *ledger, struct lease_command *out);
/* Takes the reply to it: LEASE_HELD, LEASE_REFUSED with `text`, or LEASE_UNKNOWN with `error`. */
enum lease_result lease_take_name(const struct ledger *ledger, const redisReply *reply,
                                  char text[LEDGER_TEXT_MAX], char *error, size_t error_size);
/* Writes the command that takes the lease or renews it, for lease_ms from now. */
void lease_ask(struct lease *lease, const struct ledger *ledger, struct lease_command *out);
/*
 * Takes the reply to it. `text` is written for LEASE_WAIT and LEASE_REFUSED, `error` for
 * LEASE_UNKNOWN.
 */
enum lease_result lease_take(struct lease *lease, const struct ledger *ledger,
                             const redisReply *reply, char text[LEDGER_TEXT_MAX], char *error,
                             size_t error_size);
/* Writes the command that ends the lease in Redis; where Redis does not answer it, the lease runs
 * out by itself. */
void lease_release(struct lease *lease, const struct ledger *ledger, struct lease_command *out);
/* Whether the lease is not held, a third of it is over, or its number is too low. */
bool lease_is_due(const struct lease *lease, const struct ledger *ledger);
/* Whether Redis has been told of all records of usage and money that are on disk, each of which is
 * vouched for by then. */
bool lease_has_told(const struct lease *lease, const struct ledger *ledger);
/* How long to wait before another process' lease may be over. */
uint64_t lease_wait_ms(const struct lease *lease, const struct ledger *ledger);

#endif
