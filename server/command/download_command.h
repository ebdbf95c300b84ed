/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `tollgate download show` and `tollgate download list` share beside the words: which state directory they
 * read.
 */
#ifndef TOLLGATE_SERVER_COMMAND_DOWNLOAD_COMMAND_H
#define TOLLGATE_SERVER_COMMAND_DOWNLOAD_COMMAND_H

#include "server/command/cli.h"
#include "server/config/config.h"

/* The state directory: `given`, or where that is NULL the configuration's, which *config then holds (the caller's,
 * in any case). *archive, as given or NULL, becomes that of command_archive. EX_OK, or an exit code after printing why. */
int download_state_dir(const char *command, const struct cli_location *location, const char *given,
                       struct config **config, const char **state_dir, const char **archive);

/* Whether some lane of the directory has a journal. */
bool download_has_journal(const char *state_dir);

#endif
