/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Redis a command about journals is for, and whether the journals are of that one. See command_lanes.h.
 */
#include "server/command/command_lanes.h"

#include <errno.h>
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

int command_know_lanes(const char *command, const char *directory,
                       const struct ledger_options *options, bool into_empty, unsigned *lanes,
                       char name[static LEDGER_NODE_MAX + 1])
{
    *lanes = 0;
    for (unsigned lane = 0; lane < LEDGER_LANES_MAX; lane++) {
        struct ledger_acquaintance found;
        char error[600];
        int result = ledger_is_known(options, directory, lane, &found, error, sizeof(error));
        if (result == -ENOENT)
            continue;
        if (result != 0)
            return cli_fail(result == -EBADMSG  ? CLI_EXIT_NO
                            : result == -EAGAIN ? EX_UNAVAILABLE
                                                : EX_NOINPUT,
                            command, "%s", error);
        if (found.has_records && !found.is_known && !into_empty)
            return refuse_stranger(command, directory, lane);
        if (*lanes == 0)
            memcpy(name, found.name, sizeof(found.name));
        ++*lanes;
    }
    return EX_OK;
}
