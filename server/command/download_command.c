/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the two commands about downloads read; see download_command.h.
 */
#include "server/command/download_command.h"

#include <stdio.h>
#include <unistd.h>

#include "server/command/command_ledger.h"
#include "storage/ledger/verify.h"

int download_state_dir(const char *command, const struct cli_location *location, const char *given,
                       struct config **config, const char **state_dir, const char **archive)
{
    *config = NULL;
    *state_dir = given;
    if (given != NULL)
        return EX_OK;
    int code = cli_config_load(command, location, config);
    if (code != EX_OK)
        return code;
    *state_dir = (*config)->state_dir;
    *archive = command_archive(*archive, *config);
    return EX_OK;
}

bool download_has_journal(const char *state_dir)
{
    char path[4200];
    for (unsigned lane = 0; lane < LEDGER_LANES_MAX; lane++) {
        snprintf(path, sizeof(path), "%s/lane-%c/journal", state_dir, (char)('a' + lane));
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}
