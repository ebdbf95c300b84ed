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

/*
 * Looks at each lane of the directory, whether it is sound and whether Redis knows it; without `into_empty` a lane
 * that Redis does not know is refused. `name` is by what a process may claim its lease, see retire.h.
 * EX_OK with the count of lanes; EX_NOINPUT, CLI_EXIT_NO or EX_UNAVAILABLE after printing why.
 */
int command_know_lanes(const char *command, const char *directory,
                       const struct ledger_options *options, bool into_empty, unsigned *lanes,
                       char name[static LEDGER_NODE_MAX + 1]);

#endif
