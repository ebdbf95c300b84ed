/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Redis a command about journals is for, and whether the journals are of that one. See command_lanes.h.
 */
#include "server/command/command_lanes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int command_redis_options(const char *command, const struct config *config,
                          struct redis_address *address, struct ledger_options *out)
{
    char error[512];
    if (redis_address_read(config, address, error, sizeof(error)) < 0)
        return cli_fail(EX_CONFIG, command, "%s", error);
    *out = (struct ledger_options){
        .redis = address->address,
        .redis_user = config->redis_user[0] != '\0' ? config->redis_user : NULL,
        .redis_password = address->password[0] != '\0' ? address->password : NULL,
        .redis_sentinel_user = config->sentinel_user[0] != '\0' ? config->sentinel_user : NULL,
        .redis_sentinel_password =
            address->sentinel_password[0] != '\0' ? address->sentinel_password : NULL,
    };
    return EX_OK;
}

void command_redis_forget(struct redis_address *address)
{
    explicit_bzero(address, sizeof(*address));
}

static int refuse_stranger(const char *command, const char *directory, unsigned lane)
{
    return cli_fail(
        CLI_EXIT_NO, command,
        "%s/lane-%c: Redis knows no lease and no watermark of this journal, so it is not the Redis "
        "that the journal was posted to, or it has lost its data; posting a journal into a Redis "
        "that has its bill under another name bills accounts twice; name the configuration of the "
        "right Redis, or where its data is lost run `tollgate ledger replay --into-empty`",
        directory, (char)('a' + (int)lane));
}

static int refuse_older(const char *command, const char *directory, unsigned lane,
                        const struct ledger_acquaintance *found)
{
    return cli_fail(
        CLI_EXIT_NO, command,
        "%s/lane-%c is older than Redis: it holds %" PRIu64
        " records of usage and money, and %" PRIu64
        " were on disk when its node last renewed its lease; bring that node's newest directory. A "
        "copy from before has nothing that Redis lacks",
        directory, (char)('a' + (int)lane), found->records, found->records_known);
}

/* The lock of a copy is free, whether the original's node runs or not. */
static int refuse_copy(const char *command, const struct command_lanes *lanes, unsigned lane,
                       const struct ledger_options *options, const char *instance)
{
    char error[600];
    bool is_renewed = false;
    if (lanes->taker == NULL || ledger_has_lane(lanes->taker, instance))
        return EX_OK;
    if (ledger_lease_is_renewed(options, instance, &is_renewed, error, sizeof(error)) != 0)
        return cli_fail(EX_UNAVAILABLE, command, "%s", error);
    if (!is_renewed)
        return EX_OK;
    return cli_fail(CLI_EXIT_NO, command,
                    "%s/lane-%c is a copy: a process renews the lease of its journal, so the node "
                    "runs with another directory; stop that node, and name its own directory",
                    lanes->directory, (char)('a' + (int)lane));
}

static int know_lane(const char *command, const struct command_lanes *lanes, unsigned lane,
                     const struct ledger_options *options, const struct ledger_acquaintance *found)
{
    if (found->records > 0 && !found->is_known && !lanes->into_empty)
        return refuse_stranger(command, lanes->directory, lane);
    if (found->is_in_use)
        return EX_OK; /* whoever takes its lock says so */
    if (found->records < found->records_known)
        return refuse_older(command, lanes->directory, lane, found);
    return refuse_copy(command, lanes, lane, options, found->instance);
}

int command_know_lanes(const char *command, const struct ledger_options *options,
                       struct command_lanes *lanes)
{
    int code = EX_OK;
    lanes->count = 0;
    for (unsigned lane = 0; lane < LEDGER_LANES_MAX && code == EX_OK; lane++) {
        struct ledger_acquaintance found;
        char error[600];
        int result = ledger_is_known(options, lanes->directory, lane, &found, error, sizeof(error));
        if (result == -ENOENT)
            continue;
        if (result != 0)
            return cli_fail(result == -EBADMSG  ? CLI_EXIT_NO
                            : result == -EAGAIN ? EX_UNAVAILABLE
                                                : EX_NOINPUT,
                            command, "%s", error);
        code = know_lane(command, lanes, lane, options, &found);
        if (lanes->count++ == 0)
            memcpy(lanes->name, found.name, sizeof(found.name));
    }
    return code;
}
