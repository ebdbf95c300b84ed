/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress, the archive and the refusal of directories, for the commands that read journals. See command_ledger.h.
 */
#include "server/command/command_ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/command/cli.h"

#define REDRAW_MS 100

void command_progress_begin(struct command_progress *progress, bool shares)
{
    *progress = (struct command_progress){
        .is_live = isatty(STDERR_FILENO) == 1 && !cli_wants_json() &&
                   !(shares && isatty(STDOUT_FILENO) == 1),
    };
}

void command_progress_tell(struct command_progress *progress, const char *what, uint64_t done,
                           uint64_t all)
{
    uint64_t now_ms = progress->is_live ? clock_monotonic_ms() : 0;
    if (!progress->is_live || now_ms - progress->drawn_ms < REDRAW_MS)
        return;
    progress->drawn_ms = now_ms;
    command_progress_erase(progress);
    fprintf(stderr, "%s %" PRIu64 " of %" PRIu64, what, done, all);
}

void command_progress_draw(void *progress, uint32_t segment, uint32_t segments)
{
    command_progress_tell(progress, "segment", segment, segments);
}

void command_progress_erase(const struct command_progress *progress)
{
    if (progress->is_live)
        fputs("\r\033[K", stderr);
}

static const struct argp_option archive_options[] = {
    {"archive", 'A', "DIRECTORY", 0,
     "Read segments that have left the journal here (else journal_archive of the configuration)",
     0},
    {0},
};

static error_t parse_archive(int key, char *argument, struct argp_state *state)
{
    const char **archive = state->input;
    if (key != 'A')
        return ARGP_ERR_UNKNOWN;
    *archive = argument;
    return 0;
}

const struct argp command_archive_argp = {.options = archive_options, .parser = parse_archive};

const char *command_archive(const char *given, const struct config *config)
{
    if (given != NULL || config == NULL || config->journal_archive[0] == '\0')
        return given;
    return access(config->journal_archive, F_OK) == 0 ? config->journal_archive : NULL;
}

int command_refuse_directory(const char *command, const char *state_dir, const char *verb)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/journal", state_dir);
    if (access(path, F_OK) == 0)
        return cli_fail(EX_NOINPUT, command,
                        "%s is of a version without lanes; start a node with this version on a "
                        "copy of it, which moves the journal into lane-a, and %s that",
                        state_dir, verb);
    return cli_fail(EX_NOINPUT, command,
                    "%s has no journal in a lane (lane-a, lane-b, ...); name a state directory, or "
                    "the configuration that does, with --config FILE",
                    state_dir);
}
