/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate download list ISSUER/NAME [STATE_DIR]`: the downloads of an account in the journals of a state
 * directory, to find the id that `tollgate download show` needs. tollgate_main calls it, ledger_evidence_list does
 * the work. It needs no running node, works beside one and on a copy, and writes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/command/command_admin.h"
#include "server/command/command_ledger.h"
#include "server/command/days.h"
#include "server/command/download_command.h"
#include "server/command/download_report.h"
#include "server/link/link_id.h"
#include "storage/ledger/verify.h"

#define LINK_SHOWN   16 /* hexadecimal digits of a link's id in a row */
#define LINK_CUT_MIN 8  /* fewer digits are not taken for the beginning of an id */
#define DAYS_DEFAULT 30

enum { OPTION_PATH = 256, OPTION_LINK, OPTION_FROM, OPTION_TO };

struct arguments {
    struct cli_location location;
    struct account_name name;
    const char *path, *link, *from, *to, *state_dir, *archive; /* borrow argv; NULL: not given */
};

static const struct argp_option options[] = {
    {"path", OPTION_PATH, "/FILE", 0, "Only downloads of this file, as on disk", 0},
    {"link", OPTION_LINK, "JTI|ID", 0,
     "Only downloads by this link: its jti, or its id or the first 8 digits of that, or more", 0},
    {"from", OPTION_FROM, "DAY", 0, "The first day, as 2026-11-01 (UTC); else 29 days before --to",
     0},
    {"to", OPTION_TO, "DAY", 0, "The last day, inclusive; else today", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->name;
        state->child_inputs[1] = &arguments->location;
        state->child_inputs[2] = &arguments->archive;
        return 0;
    case OPTION_PATH:
        arguments->path = argument;
        return 0;
    case OPTION_LINK:
        arguments->link = argument;
        return 0;
    case OPTION_FROM:
        arguments->from = argument;
        return 0;
    case OPTION_TO:
        arguments->to = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->name.both == NULL && arguments->name.account == NULL)
            return ARGP_ERR_UNKNOWN; /* the account */
        if (arguments->state_dir != NULL)
            cli_surplus(state, argument, NULL, "is a second directory; ask one at a time");
        arguments->state_dir = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    ACCOUNT_NAME_CHILD, CLI_CONFIG_CHILD, COMMAND_ARCHIVE_CHILD, {0}};
static const struct argp list_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "ISSUER/NAME [STATE_DIR]",
    .doc =
        "Lists the downloads of an account that moved within these days (30 unless given), from "
        "the journals of a state directory, that of the configuration or STATE_DIR: id, when "
        "they first and last moved within the days, bytes and responses up to then, link and "
        "file. The command asks neither a node nor Redis, writes nothing, and may run beside a "
        "node. Each node knows what it has delivered itself. Segments that have left the journal "
        "are read in the archive, that of the configuration or --archive. It exits with 1 where a "
        "journal is "
        "damaged, 66 where one cannot be read."
        "\v"
        "What an account downloaded in November; by one link; of one file:\n"
        "  tollgate download list shop/alice --from 2026-11-01 --to 2026-11-30\n"
        "  tollgate download list shop/alice --link order-1\n"
        "  tollgate download list shop/alice --path /song.mp3\n",
    .children = children,
};

struct listing {
    const struct arguments *arguments;
    json_t *rows; /* NULL without --json */
    uint64_t count;
};

/* ---- which rows ---- */

static bool is_of_link(const struct ledger_evidence_row *row, const char *link)
{
    unsigned char of_jti[LEDGER_LINK_ID_BYTES];
    char hex[DOWNLOAD_HEX_SIZE];
    size_t length = strlen(link);
    if (!row->has_link)
        return false;
    download_write_hex(row->link, sizeof(row->link), hex);
    if (length >= LINK_CUT_MIN && strncmp(hex, link, length) == 0)
        return true;
    return length <= TOKEN_JTI_MAX && link_id_of_jti(row->tag, link, of_jti) &&
           memcmp(of_jti, row->link, sizeof(of_jti)) == 0;
}

static bool is_wanted(const struct arguments *arguments, const struct ledger_evidence_row *row)
{
    return (arguments->path == NULL || strcmp(arguments->path, row->file) == 0) &&
           (arguments->link == NULL || is_of_link(row, arguments->link));
}

/* ---- printing ---- */

static void add_json(struct listing *listing, const struct ledger_evidence_row *row, const char *id,
                     const char *first, const char *last, const char *link)
{
    bool encoded;
    char *file = download_name(row->file, &encoded);
    json_t *value =
        json_pack("{s:s, s:s, s:s, s:s*, s:I, s:I, s:o, s:o, s:b}", "download", id, "first", first,
                  "last", last, "file", file, "bytes", (json_int_t)row->bytes, "responses",
                  (json_int_t)row->responses, "size",
                  row->size > 0 ? json_integer((json_int_t)row->size) : json_null(), "link",
                  row->has_link ? json_string(link) : json_null(), "closed", row->is_closed);
    free(file);
    if (encoded)
        (void)json_object_set_new(value, "file_encoded", json_true());
    (void)json_array_append_new(listing->rows, value);
}

static void take_row(void *context, const struct ledger_evidence_row *row)
{
    struct listing *listing = context;
    char id[LEDGER_DOWNLOAD_TEXT], first[DOWNLOAD_TIME_SIZE], last[DOWNLOAD_TIME_SIZE];
    char link[DOWNLOAD_HEX_SIZE];
    if (!is_wanted(listing->arguments, row))
        return;
    ledger_download_write(row->download, id);
    download_write_time(row->first_ms, first);
    download_write_time(row->last_ms, last);
    download_write_hex(row->link, sizeof(row->link), link);
    if (listing->rows != NULL) {
        add_json(listing, row, id, first, last, link);
    } else {
        if (listing->count == 0)
            printf("%-14s  %-24s  %-24s  %12s  %9s  %-*s  %s\n", "DOWNLOAD", "FIRST", "LAST",
                   "BYTES", "RESPONSES", LINK_SHOWN, "LINK", "FILE");
        printf("%-14s  %-24s  %-24s  %12" PRIu64 "  %9" PRIu64 "  %-*.*s  ", id, first, last,
               row->bytes, row->responses, LINK_SHOWN, LINK_SHOWN, row->has_link ? link : "-");
        command_print_text(stdout, row->file);
        putchar('\n');
    }
    listing->count++;
}

/* ---- reading ---- */

/* Says from when on the journal and the archive have records of these days. */
static void tell_begin(const char *command, unsigned lane, struct ledger_evidence_query *query)
{
    char begins[DOWNLOAD_TIME_SIZE];
    if (query->begins_ms == 0)
        return;
    download_write_time(query->begins_ms, begins);
    cli_warn(
        command,
        "lane-%c has records from %s on; those before have left the journal, and --archive names "
        "where they are",
        (char)('a' + lane), begins);
    query->begins_ms = 0;
}

static int read_lanes(const char *command, const char *state_dir, const char *archive,
                      struct ledger_evidence_query *query)
{
    struct command_progress progress;
    const struct ledger_evidence_watch watch = {
        .progress = command_progress_draw, .context = &progress, .archive = archive};
    unsigned lanes = 0;
    int code = EX_OK;
    for (unsigned lane = 0; lane < LEDGER_LANES_MAX; lane++) {
        char error[600];
        command_progress_begin(&progress, false);
        int result = ledger_evidence_list(state_dir, lane, query, &watch, error, sizeof(error));
        command_progress_erase(&progress);
        lanes += result != -ENOENT;
        tell_begin(command, lane, query);
        if (result == 0 || result == -ENOENT)
            continue;
        fflush(stdout);
        int failed = cli_fail(result == -EBADMSG ? CLI_EXIT_NO : EX_NOINPUT, command, "%s", error);
        code = code == EX_OK || failed == CLI_EXIT_NO ? failed : code;
    }
    return lanes > 0 ? code : command_refuse_directory(command, state_dir, "ask about");
}

static int list(const char *command, const struct arguments *arguments, const char *state_dir)
{
    struct listing listing = {.arguments = arguments,
                              .rows = cli_wants_json() ? json_array() : NULL};
    struct ledger_evidence_query query = {.issuer = arguments->name.issuer,
                                          .account = arguments->name.account,
                                          .row = take_row,
                                          .context = &listing};
    struct days days;
    int code = days_read(command, arguments->from, arguments->to, DAYS_DEFAULT, &days);
    if (code == EX_OK) {
        query.from_ms = (uint64_t)days.first * DAYS_S * 1000;
        query.to_ms = (uint64_t)(days.last + 1) * DAYS_S * 1000;
        code = read_lanes(command, state_dir, arguments->archive, &query);
        if (query.unnamed > 0)
            cli_warn(command,
                     "%" PRIu64 " marks of downloads from before journal format 3 are left out, as "
                     "those have no ids of their own",
                     query.unnamed);
    }
    if (listing.rows != NULL && (code == EX_OK || listing.count > 0)) {
        json_t *answer = json_pack("{s:s, s:s, s:O}", "issuer", arguments->name.issuer, "account",
                                   arguments->name.account, "downloads", listing.rows);
        int printed = cli_print_json(command, answer);
        json_decref(answer);
        code = printed != EX_OK ? printed : code;
    } else if (code == EX_OK && listing.count == 0) {
        puts("no downloads in these days");
    }
    json_decref(listing.rows);
    return code;
}

int command_download_list(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config *config = NULL;
    const char *state_dir;
    cli_parse(&list_argp, argc, argv, &arguments);
    int code = account_name_settle(argv[0], &arguments.name);
    if (code == EX_OK)
        code = download_state_dir(argv[0], &arguments.location, arguments.state_dir, &config,
                                  &state_dir, &arguments.archive);
    if (code == EX_OK)
        code = list(argv[0], &arguments, state_dir);
    config_destroy(&config);
    return code;
}
