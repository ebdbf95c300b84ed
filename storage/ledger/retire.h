/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over what a stopped node has left: its lanes become lanes of another node's state directory, with
 * their instances, so that Redis keeps what it knows of them, and that node posts what is left. `tollgate node
 * retire` calls it; it needs no open ledger. Also whether a Redis is the one to which a journal belongs.
 */
#ifndef TOLLGATE_LEDGER_RETIRE_H
#define TOLLGATE_LEDGER_RETIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/ledger/ledger.h"

struct ledger_retirement {
    /* The caller's, or NULL: before each step, and after each piece of a copy of so many bytes. */
    void (*progress)(void *context, const char *lane, uint64_t copied);
    void *context;

    unsigned moved; /* lanes, by this call */
    unsigned count; /* lanes of the directory that are the state directory's by now */
    char instances[LEDGER_LANES_MAX][LEDGER_INSTANCE_SIZE]; /* theirs */
};

/*
 * Moves each lane of `directory`, whose node has stopped, to the next free lane of `state_dir`: by a rename,
 * or to another file system by a copy that is durable and verified before the original is put aside, as
 * `directory/.retired-INSTANCE`. It may be interrupted at any point, and goes on with the next call, which
 * also finds what was moved before. A running node of `state_dir` takes the lanes by itself. As root it gives
 * the files to the owner of `state_dir`. Nothing in Redis changes.
 *
 * 0, or a negative errno and one sentence with the cure in `error`: -ENOENT (there is no lane), -EALREADY (a
 * process has one locked), -EEXIST (`state_dir` has the lane already, which `directory` has a copy of),
 * -EINVAL (both are one directory, or its lanes went elsewhere), -ENOSPC (no lane is free, or the disk is
 * full), -EBADMSG (a copy is not what was copied), or what the system says.
 */
int ledger_retire(const char *directory, const char *state_dir, struct ledger_retirement *out,
                  char *error, size_t error_size);

/* Whether the state directory has a lane of this instance. */
bool ledger_has_lane(const char *state_dir, const char *instance);

struct ledger_acquaintance {
    char instance[LEDGER_INSTANCE_SIZE]; /* the lane's */
    uint64_t records; /* of usage and money, in the lane: without any there is nothing to know */
    bool is_in_use;   /* a process has it locked, and may have more by now */
    bool is_known;    /* Redis has a lease of the lane's instance, or a watermark */
    /* How many of them were on disk when the lease was last renewed. More than `records`: the lane is an older
     * copy, or has lost its newest segment. */
    uint64_t records_known;
    /* By which a process may claim the lease in place of the node that is gone: that node's, where Redis still
     * knows it and it belongs to the directory, else one that is made of the directory's id. */
    char name[LEDGER_NODE_MAX + 1];
};
/*
 * Asks the Redis of `options`, of which it reads what ledger_redis_probe does but node and state_dir, whether it
 * knows the lane of `directory`. Records that are posted to a Redis which another one's accounts are in bill
 * them twice. Changes nothing. 0; -ENOENT: there is no such lane; -EBADMSG: it is damaged; another negative
 * errno: Redis cannot be asked, or the lane not be read. Then a sentence is in `error`, but for -ENOENT.
 */
int ledger_is_known(const struct ledger_options *options, const char *directory, unsigned lane,
                    struct ledger_acquaintance *out, char *error, size_t error_size);

/*
 * Asks that Redis whether a process has the lease of this instance and renews it: the lane's node, or one with a
 * copy of it. It waits until a lease that was not given back is renewed or has run out, LEDGER_KNOWN_WAIT_MS at
 * most. 0, or -EAGAIN with a sentence in `error`.
 */
#define LEDGER_KNOWN_WAIT_MS 4000
int ledger_lease_is_renewed(const struct ledger_options *options, const char *instance, bool *out,
                            char *error, size_t error_size);

#endif
