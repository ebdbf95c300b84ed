/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger inspect [STATE_DIR]`: prints the records of the journals of a state directory, in
 * order. tollgate_main calls it, ledger_walk reads. It needs no running node, works beside one and on a
 * copy, and writes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/command/command_ledger.h"
#include "server/command/ledger_record.h"
#include "server/config/config.h"
#include "storage/ledger/ledger_names.h"
#include "storage/ledger/verify.h"
#include "storage/ledger/walk.h"

#define DAY_S 86400

enum { OPTION_LANE = 256, OPTION_DOWNLOAD, OPTION_SEGMENT, OPTION_FROM, OPTION_TO, OPTION_CLIENTS };

struct arguments {
    struct cli_location location;
    const char *archive;          /* borrows argv; NULL: not given */
    const char *state_dir;        /* borrows argv; NULL: that of the configuration */
    const char *issuer, *account; /* borrow argv; NULL: of all */
    char whose[LEDGER_ISSUER_MAX + LEDGER_ACCOUNT_MAX + 2]; /* "issuer/account"; "": of all */
    int lane;                                               /* -1: all */
    uint64_t download;                                      /* 0: of all */
    uint32_t segment;                                       /* 0: all */
    int64_t from_s, to_s;                                   /* 0: not given */
    bool clients;
};

static const struct argp_option options[] = {
    {"lane", OPTION_LANE, "LETTER", 0, "This lane alone: a for lane-a", 0},
    {"account", 'a', "NAME", 0,
     "What the journal has of this account alone: NAME beside --issuer, or ISSUER/NAME", 0},
    {"issuer", 'i', "ID", 0, "The account's issuer", 0},
    {"download", OPTION_DOWNLOAD, "ID", 0,
     "What the journal has of this download alone, such as a-1-17; the access log has its id", 0},
    {"segment", OPTION_SEGMENT, "N", 0, "This segment alone: 3 for 00000003.seg", 0},
    {"from", OPTION_FROM, "DAY", 0,
     "Records of this day (2026-11-01, UTC) and later; or of a time, 2026-11-01T08:00:00Z", 0},
    {"to", OPTION_TO, "DAY", 0, "Records up to the end of this day; or before a time", 0},
    {"clients", OPTION_CLIENTS, NULL, 0,
     "Print the clients' addresses, as far as the journal keeps them; with --json they are there "
     "in "
     "any case",
     0},
    {0},
};

static uint64_t number_of(const struct argp_state *state, const char *option, const char *text,
                          uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0 ||
        number > most)
        cli_usage(state, "--%s %s is not a number from 1 to %" PRIu64, option, text, most);
    return number;
}

/* Reads a download as the access log spells it, or the number of one from before that. */
static uint64_t download_of(const struct argp_state *state, const char *text)
{
    char *end;
    uint64_t number;
    if (ledger_download_read(text, &number))
        return number;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0)
        cli_usage(state,
                  "--download %s is not a download's id; write it as the access log does, such as "
                  "a-1-17",
                  text);
    return number;
}

/* Reads a day, or a time. The end of a day is `is_end`. */
static int64_t time_of(const struct argp_state *state, const char *option, const char *text,
                       bool is_end)
{
    struct tm day = {0};
    const char *end = strptime(text, "%Y-%m-%d", &day);
    int64_t seconds = command_read_time(text);
    if (end != NULL && *end == '\0')
        return (int64_t)timegm(&day) + (is_end ? DAY_S : 0);
    if (seconds <= 0)
        cli_usage(state,
                  "--%s %s is neither a day nor a time; write it as 2026-11-23, or as "
                  "2026-11-23T08:00:00Z",
                  option, text);
    return seconds;
}

static void settle_account(struct arguments *arguments, const struct argp_state *state)
{
    if (arguments->account == NULL && arguments->issuer != NULL)
        cli_usage(state, "--issuer stands without --account; add --account NAME");
    if (arguments->account == NULL)
        return;
    if (arguments->issuer == NULL && strchr(arguments->account, '/') == NULL)
        cli_usage(state, "--account %s has no issuer; write ISSUER/NAME, or add --issuer ID",
                  arguments->account);
    snprintf(arguments->whose, sizeof(arguments->whose), "%s%s%s",
             arguments->issuer != NULL ? arguments->issuer : "",
             arguments->issuer != NULL ? "/" : "", arguments->account);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        state->child_inputs[1] = &arguments->archive;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->state_dir != NULL)
            cli_surplus(state, argument, NULL, "is a second directory; inspect one at a time");
        arguments->state_dir = argument;
        return 0;
    case OPTION_LANE:
        if (argument[0] < 'a' || argument[0] > 'z' || argument[1] != '\0')
            cli_usage(state, "--lane %s is not a letter from a to z; give a for lane-a", argument);
        arguments->lane = argument[0] - 'a';
        return 0;
    case 'a':
        arguments->account = argument;
        return 0;
    case 'i':
        arguments->issuer = argument;
        return 0;
    case OPTION_DOWNLOAD:
        arguments->download = download_of(state, argument);
        return 0;
    case OPTION_SEGMENT:
        arguments->segment = (uint32_t)number_of(state, "segment", argument, UINT32_MAX);
        return 0;
    case OPTION_FROM:
        arguments->from_s = time_of(state, "from", argument, false);
        return 0;
    case OPTION_TO:
        arguments->to_s = time_of(state, "to", argument, true);
        return 0;
    case OPTION_CLIENTS:
        arguments->clients = true;
        return 0;
    case ARGP_KEY_END:
        settle_account(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, COMMAND_ARCHIVE_CHILD, {0}};
static const struct argp inspect_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[STATE_DIR]",
    .doc =
        "Prints the records of the journals of a state directory, that of the configuration or "
        "STATE_DIR, in order: lane, segment and byte, time, type, and what the record says of an "
        "account, a file, a download, an order. It ends with sums of what was printed. The chain "
        "of the records is verified meanwhile; `tollgate ledger verify` verifies the rest. Exits "
        "with 1 where a record is damaged, 66 where a journal cannot be read. It asks neither a "
        "node nor Redis, writes nothing, and may run beside a node. Segments that have left the "
        "journal are read in the archive, that of the configuration or --archive."
        "\v"
        "What was billed for a download of the access log, and all that was done with an account:\n"
        "  tollgate ledger inspect --download a-1-17\n"
        "  tollgate ledger inspect /backup/tollgate/state --account shop/alice --from 2026-11-01\n"
        "\n"
        "A usage record says how far a download has come: +2251 (67787) are 2251 bytes since the "
        "record before, and 67787 in all. One line below it is for each response that has ended. "
        "With --json the records are the lines of an array, `records`.\n"
        "\n"
        "The journal holds keys' ids, but no key and no token. It holds clients' addresses as far "
        "as "
        "journal_client says. They are personal data, and what is printed on a terminal is soon "
        "in a mail: so a line has none without --clients.\n",
    .children = children,
};

struct inspection {
    const char *command, *state_dir, *archive;
    const struct arguments *arguments; /* borrows */
    struct command_progress progress;
    const char *lane;
    bool has_rows;
    json_t *lanes; /* NULL without --json */
    unsigned found, damaged, unread;
    unsigned lacking; /* lanes that have no such segment, where all lanes are read */
    /* Of the records that were printed. */
    uint64_t records, usage_records, operations, bytes, responses;
};

/* ---- records ---- */

static bool is_wanted(const struct arguments *arguments, const struct ledger_walk_record *shown)
{
    const struct journal_record *record = shown->record;
    if (arguments->from_s != 0 && record->time_ms < (uint64_t)arguments->from_s * 1000)
        return false;
    if (arguments->to_s != 0 && record->time_ms >= (uint64_t)arguments->to_s * 1000)
        return false;
    if (arguments->whose[0] != '\0' &&
        (shown->account == NULL || strcmp(shown->account, arguments->whose) != 0))
        return false;
    return arguments->download == 0 || record->download == arguments->download;
}

static int take(void *context, const struct ledger_walk_record *shown)
{
    struct inspection *inspection = context;
    const struct journal_record *record = shown->record;
    if (!is_wanted(inspection->arguments, shown))
        return 0;
    inspection->records++;
    inspection->usage_records += record->type == JOURNAL_USAGE;
    inspection->operations += record->type == JOURNAL_MONEY;
    inspection->bytes += record->bytes_delta;
    inspection->responses += record->responses_delta;
    command_progress_erase(&inspection->progress);
    if (inspection->lanes == NULL) {
        ledger_record_print(stdout, inspection->lane, shown, inspection->arguments->clients);
    } else {
        json_t *row = ledger_record_json(inspection->lane, shown);
        fputs(inspection->has_rows ? ",\n" : "\n", stdout);
        (void)json_dumpf(row, stdout, JSON_COMPACT);
        json_decref(row);
    }
    inspection->has_rows = true;
    return ferror(stdout) != 0 ? -EIO : 0;
}

static void progress(void *context, uint32_t segment, uint32_t segments)
{
    struct inspection *inspection = context;
    command_progress_draw(&inspection->progress, segment, segments);
}

/* ---- lanes ---- */

static json_t *lane_json(const struct ledger_walk *walk, const char *error)
{
    char chain[17];
    snprintf(chain, sizeof(chain), "%016" PRIx64, walk->chain);
    json_t *row =
        json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:s}", "lane", walk->lane,
                  "instance", walk->instance, "written", walk->is_written, "torn", walk->is_torn,
                  "first_segment", (json_int_t)walk->begin, "segments", (json_int_t)walk->segments,
                  "records_read", (json_int_t)walk->records, "segment", (json_int_t)walk->segment,
                  "position", (json_int_t)walk->position, "chain", chain);
    if (error[0] != '\0')
        (void)json_object_set_new(row, "error", json_string(error));
    return row;
}

static void inspect_lane(struct inspection *inspection, unsigned number)
{
    char error[5000], lane[8];
    struct ledger_walk walk = {
        .take = take,
        .progress = progress,
        .context = inspection,
        .archive = inspection->archive,
        .first = inspection->arguments->segment,
        .last = inspection->arguments->segment,
    };
    snprintf(lane, sizeof(lane), "lane-%c", (char)('a' + number));
    inspection->lane = lane;
    int result = ledger_walk(inspection->state_dir, number, &walk, error, sizeof(error));
    command_progress_erase(&inspection->progress);
    if (result == -ENOENT)
        return;
    inspection->found++;
    if (result == -ERANGE && inspection->arguments->lane < 0) {
        inspection->lacking++;
        return;
    }
    inspection->damaged += result == -EBADMSG;
    inspection->unread += result != 0 && result != -EBADMSG;
    if (inspection->lanes != NULL)
        (void)json_array_append_new(inspection->lanes, lane_json(&walk, error));
    else if (walk.records > 0)
        printf("%s (instance %s): read to byte %" PRIu64 " of %08" PRIu32 ".seg, chain %016" PRIx64
               "%s\n",
               walk.lane, walk.instance, walk.position, walk.segment, walk.chain,
               walk.is_written ? "; a process writes on behind that" : "");
    fflush(stdout);
    if (walk.begin > 1 && inspection->arguments->segment == 0)
        cli_warn(inspection->command,
                 "%s: its records begin with segment %" PRIu32
                 "; those before have left the journal, and --archive names where they are",
                 walk.lane, walk.begin);
    if (walk.is_torn)
        cli_warn(inspection->command,
                 "%s: what stands behind byte %" PRIu64 " of %08" PRIu32
                 ".seg is not a whole record; ask `tollgate ledger verify` whether a crash tore it",
                 walk.lane, walk.position, walk.segment);
    if (result != 0)
        (void)cli_fail(EX_OK, inspection->command, "%s", error);
}

static void inspect_lanes(struct inspection *inspection)
{
    int lane = inspection->arguments->lane;
    for (unsigned number = 0; number < LEDGER_LANES_MAX; number++)
        if (lane < 0 || (unsigned)lane == number)
            inspect_lane(inspection, number);
}

/* ---- the whole ---- */

static bool begin(const struct inspection *inspection)
{
    json_t *name = json_string(inspection->state_dir);
    char *text = json_dumps(name, JSON_ENCODE_ANY);
    json_decref(name);
    if (text == NULL)
        return false;
    printf("{\"state_dir\": %s, \"records\": [", text);
    free(text);
    return true;
}

static void end(const struct inspection *inspection)
{
    json_t *sums = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "records", (json_int_t)inspection->records, "usage_records",
        (json_int_t)inspection->usage_records, "operations", (json_int_t)inspection->operations,
        "bytes", (json_int_t)inspection->bytes, "responses", (json_int_t)inspection->responses);
    fputs("\n], \"lanes\": ", stdout);
    (void)json_dumpf(inspection->lanes, stdout, 0);
    fputs(", \"sums\": ", stdout);
    (void)json_dumpf(sums, stdout, 0);
    fputs("}\n", stdout);
    json_decref(sums);
}

static void print_sums(const struct inspection *inspection)
{
    printf("%" PRIu64 " records printed: usage %" PRIu64 ", operations %" PRIu64 ", bytes %" PRIu64
           ", responses %" PRIu64 "\n",
           inspection->records, inspection->usage_records, inspection->operations,
           inspection->bytes, inspection->responses);
}

/* Whether there is a lane to read at all: standard output stays empty where there is none. No journal
 * has a segment of the highest number, so no record is read. */
static bool has_lane(const struct inspection *inspection)
{
    struct ledger_walk walk;
    char error[16];
    bool has = false;
    for (unsigned number = 0; !has && number < LEDGER_LANES_MAX; number++) {
        walk = (struct ledger_walk){.first = UINT32_MAX};
        has =
            (inspection->arguments->lane < 0 || (unsigned)inspection->arguments->lane == number) &&
            ledger_walk(inspection->state_dir, number, &walk, error, sizeof(error)) != -ENOENT;
    }
    return has;
}

static int inspect(struct inspection *inspection)
{
    if (!has_lane(inspection))
        return inspection->arguments->lane < 0
                   ? command_refuse_directory(inspection->command, inspection->state_dir, "inspect")
                   : cli_fail(EX_NOINPUT, inspection->command,
                              "%s has no journal in lane-%c; leave --lane out, to read all lanes",
                              inspection->state_dir, 'a' + inspection->arguments->lane);
    if (inspection->lanes != NULL && !begin(inspection))
        return cli_fail(EX_DATAERR, inspection->command,
                        "the directory's name is not UTF-8; give it by another path");
    inspect_lanes(inspection);
    if (inspection->lanes != NULL)
        end(inspection);
    else
        print_sums(inspection);
    if (inspection->lacking > 0 && inspection->lacking == inspection->found)
        return cli_fail(EX_NOINPUT, inspection->command,
                        "no journal of %s has a segment %" PRIu32 "; leave --segment out, and the "
                        "lines say which there are",
                        inspection->state_dir, inspection->arguments->segment);
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return cli_fail(EX_IOERR, inspection->command, "standard output cannot be written");
    return inspection->damaged > 0 ? CLI_EXIT_NO : inspection->unread > 0 ? EX_NOINPUT : EX_OK;
}

int command_ledger_inspect(int argc, char **argv)
{
    struct arguments arguments = {.lane = -1};
    struct config *config = NULL;
    cli_parse(&inspect_argp, argc, argv, &arguments);
    if (arguments.state_dir == NULL) {
        int code = cli_config_load(argv[0], &arguments.location, &config);
        if (code != EX_OK)
            return code;
    }
    struct inspection inspection = {
        .command = argv[0],
        .state_dir = arguments.state_dir != NULL ? arguments.state_dir : config->state_dir,
        .archive = command_archive(arguments.archive, config),
        .arguments = &arguments,
        .lanes = cli_wants_json() ? json_array() : NULL,
    };
    command_progress_begin(&inspection.progress, true);
    int code = inspect(&inspection);
    json_decref(inspection.lanes);
    config_destroy(&config);
    return code;
}
