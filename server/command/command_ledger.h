/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that read journals from outside share: progress on a terminal, the archive, and the refusal
 * of a directory without journals. Used by command_ledger_verify.c, command_ledger_inspect.c,
 * command_ledger_reconcile.c, command_download_list.c and command_download_show.c. It reads no journal.
 */
#ifndef TOLLGATE_SERVER_COMMAND_COMMAND_LEDGER_H
#define TOLLGATE_SERVER_COMMAND_COMMAND_LEDGER_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/config/config.h"

/* A line on standard error that says how far the reading has come. */
struct command_progress {
    bool is_live; /* standard error is a terminal */
    uint64_t drawn_ms;
};
/* `shares`: standard output is written meanwhile, so that no line is drawn where it is a terminal, too.
 * With --json there is none either. */
void command_progress_begin(struct command_progress *progress, bool shares);
/* Draws "segment 3 of 17", ten times a second at most; of a struct command_progress. */
void command_progress_draw(void *progress, uint32_t segment, uint32_t segments);
/* The same for anything that is counted: "account 3 of 17". */
void command_progress_tell(struct command_progress *progress, const char *what, uint64_t done,
                           uint64_t all);
/* Erases the line, before anything else is written. */
void command_progress_erase(const struct command_progress *progress);

/* The option --archive DIRECTORY, of a const char * (which borrows argv; NULL: not given), handed over as that of
 * CLI_CONFIG_CHILD is. */
extern const struct argp command_archive_argp;
#define COMMAND_ARCHIVE_CHILD                                                                      \
    {                                                                                              \
        &command_archive_argp, 0, NULL, 0                                                          \
    }
/* The directory with the segments that have left the journal: the one that was given, else the configuration's
 * (NULL: none was read) where it is there. Borrows; NULL: none. */
const char *command_archive(const char *given, const struct config *config);

/* Says that the directory has no journal in any lane, and what to do. Returns the exit code. `verb`:
 * what the command does with it ("verify"). */
int command_refuse_directory(const char *command, const char *state_dir, const char *verb);

#endif
