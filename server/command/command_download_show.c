/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate download show ID [STATE_DIR]`: what the journal of a state directory holds of a download, as evidence
 * where that is asked for. tollgate_main calls it, ledger_evidence_find does the work. It needs no running node,
 * works beside one and on a copy, and writes nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/command/cli.h"
#include "server/command/command_ledger.h"
#include "server/command/download_command.h"
#include "server/command/download_report.h"

enum { OPTION_EVIDENCE = 256, OPTION_HTML };

struct arguments {
    struct cli_location location;
    const char *id, *state_dir, *archive; /* borrow argv; NULL: not given */
    bool evidence, html;
};

static const struct argp_option options[] = {
    {"evidence", OPTION_EVIDENCE, NULL, 0,
     "Add each response, and where its records stand in the journal's chain", 0},
    {"html", OPTION_HTML, NULL, 0, "Print the evidence as a page for A4, without scripts", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        state->child_inputs[1] = &arguments->archive;
        return 0;
    case OPTION_EVIDENCE:
        arguments->evidence = true;
        return 0;
    case OPTION_HTML:
        arguments->html = true;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->state_dir != NULL)
            cli_surplus(state, argument, NULL, "is a second directory; ask one at a time");
        if (arguments->id == NULL)
            arguments->id = argument;
        else
            arguments->state_dir = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->id == NULL)
            cli_usage(state, "the download's id is missing; it is in the access log, and in "
                             "`tollgate download list ISSUER/NAME`");
        if (arguments->html && cli_wants_json())
            cli_usage(state, "--html and --json are two forms of one answer; give one of them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, COMMAND_ARCHIVE_CHILD, {0}};
static const struct argp show_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "ID [STATE_DIR]",
    .doc =
        "Shows what the journal holds of a download: account, link, file, size and content hash, "
        "when it began and ended, bytes and responses, and whether all of the file arrived. ID is "
        "the `download` of a line of the access log, or of `tollgate download list`, such as "
        "a-1-17. It names a download of one state directory: that of the configuration, or "
        "STATE_DIR. The command asks neither a node nor Redis, writes nothing, and may run beside "
        "a node. A segment that has left the journal is read in the archive, that of the "
        "configuration or --archive. It exits with 1 where there is no such download or the "
        "journal "
        "is damaged, 66 where it cannot be read."
        "\v"
        "Evidence that a digital good was delivered, for a disputed card payment:\n"
        "  tollgate download show a-1-17 --evidence\n"
        "  tollgate download show a-1-17 --html >evidence.html\n"
        "\n"
        "Of a node that is gone, from a copy of its state directory, and from the archive where "
        "the "
        "download's segment has left the journal:\n"
        "  tollgate download show a-1-17 --evidence --json /backup/tollgate/state\n"
        "  tollgate download show a-1-17 --evidence /backup/tollgate/state --archive /archive\n"
        "\n"
        "The journal keeps as much of the client's address as journal_client allows: a prefix, by "
        "default.\n",
    .children = children,
};

static int refuse_unknown(const char *command, const struct arguments *arguments,
                          const char *state_dir, uint64_t download)
{
    char lane[] = "lane-a";
    lane[5] = (char)('a' + (download >> 56));
    return cli_fail(CLI_EXIT_NO, command,
                    "%s has no download %s in %s; ask where the node that delivered it keeps its "
                    "journal, as an id names a download of one state directory",
                    state_dir, arguments->id, lane);
}

static int print(const char *command, const struct arguments *arguments,
                 const struct ledger_evidence *found, const char *problem)
{
    if (arguments->html) {
        download_print_page(found, problem);
        return EX_OK;
    }
    if (!cli_wants_json()) {
        download_print_text(found, arguments->evidence);
        fflush(stdout);
        return EX_OK;
    }
    json_t *value = download_json(found, arguments->evidence);
    if (value != NULL && problem != NULL)
        (void)json_object_set_new(value, "error", json_string(problem));
    int code = cli_print_json(command, value);
    json_decref(value);
    return code;
}

static int show(const char *command, const struct arguments *arguments, const char *state_dir)
{
    struct ledger_evidence found;
    struct command_progress progress;
    const struct ledger_evidence_watch watch = {
        .progress = command_progress_draw, .context = &progress, .archive = arguments->archive};
    uint64_t download;
    char error[600];
    if (!ledger_download_read(arguments->id, &download))
        return cli_fail(
            EX_USAGE, command,
            "%s is not a download's id; write it as the access log does, such as a-1-17",
            arguments->id);
    command_progress_begin(&progress, false);
    bool with_head = arguments->evidence || arguments->html;
    int result =
        ledger_evidence_find(state_dir, download, with_head, &watch, &found, error, sizeof(error));
    command_progress_erase(&progress);
    int code = EX_OK;
    if (found.records_count > 0)
        code = print(command, arguments, &found, result != 0 ? error : NULL);
    if (result == -ENOENT && download_has_journal(state_dir))
        code = refuse_unknown(command, arguments, state_dir, download);
    else if (result == -ENOENT)
        code = command_refuse_directory(command, state_dir, "ask about");
    else if (result != 0)
        code = cli_fail(result == -EBADMSG ? CLI_EXIT_NO : EX_NOINPUT, command, "%s", error);
    ledger_evidence_free(&found);
    return code;
}

int command_download_show(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config *config = NULL;
    const char *state_dir;
    cli_parse(&show_argp, argc, argv, &arguments);
    int code = download_state_dir(argv[0], &arguments.location, arguments.state_dir, &config,
                                  &state_dir, &arguments.archive);
    if (code == EX_OK)
        code = show(argv[0], &arguments, state_dir);
    config_destroy(&config);
    return code;
}
