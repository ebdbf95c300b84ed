/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `node retire` and `ledger replay` share: the Redis of the configuration, and whether it is the one to which
 * the lanes of a directory belong.
 */
#ifndef TOLLGATE_SERVER_COMMAND_COMMAND_LANES_H
#define TOLLGATE_SERVER_COMMAND_COMMAND_LANES_H

#include "server/command/cli.h"
#include "server/config/config.h"
#include "server/redis/redis_address.h"
#include "storage/ledger/retire.h"

/* Fills in the options by which the ledger reaches the Redis of the configuration; `address` keeps the texts,
 * and the caller wipes it. EX_OK, or an exit code after printing why. */
int command_redis_options(const char *command, const struct config *config,
                          struct redis_address *address, struct ledger_options *out);
void command_redis_forget(struct redis_address *address);

/* A directory whose lanes a command is about to use. */
struct command_lanes {
    const char *directory; /* borrows */
    bool into_empty;       /* lanes that Redis does not know are used, too */
    const char *taker; /* borrows; the state directory that they are to move to; NULL: they stay */

    unsigned count;                 /* of its lanes, as was found */
    char name[LEDGER_NODE_MAX + 1]; /* by which a process may claim their lease, see retire.h */
};
/*
 * Looks at each lane, whether it is sound, whether Redis knows it, and whether it is as new as Redis knows it. A
 * lane that is to move is also refused where a process renews its lease, unless it has moved by now: the
 * directory is a copy then. EX_OK; EX_NOINPUT, CLI_EXIT_NO or EX_UNAVAILABLE after printing why.
 */
int command_know_lanes(const char *command, const struct ledger_options *options,
                       struct command_lanes *lanes);

#endif
