/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger verify [STATE_DIR]`: reads the journals of a state directory and says whether they
 * are sound. tollgate_main calls it, ledger_verify does the work. It needs no running node, works
 * beside one and on a copy, and writes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "server/base/byte_count.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/command/command_ledger.h"
#include "server/command/days.h"
#include "server/config/config.h"
#include "storage/ledger/verify.h"

enum { OPTION_DAY = 256 };

struct arguments {
    struct cli_location location;
    const char *archive;   /* borrows argv; NULL: not given */
    const char *state_dir; /* borrows argv; NULL: that of the configuration */
    const char *day;       /* borrows argv; NULL: not given */
};

static const struct argp_option options[] = {
    {"day", OPTION_DAY, "DAY", 0,
     "Also show the chain's head of this day, as 2026-11-01 (UTC), to be noted elsewhere", 0},
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
    case ARGP_KEY_ARG:
        if (arguments->state_dir != NULL)
            cli_surplus(state, argument, NULL, "is a second directory; verify one at a time");
        arguments->state_dir = argument;
        return 0;
    case OPTION_DAY:
        arguments->day = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, COMMAND_ARCHIVE_CHILD, {0}};
static const struct argp verify_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[STATE_DIR]",
    .doc =
        "Reads the journals of a state directory, that of the configuration or STATE_DIR, and "
        "says of each lane what it holds and whether it is sound: the chain of its records, the "
        "sequence of each account, the sums of each download. Exits with 0 where all are sound, "
        "1 where one is damaged, 66 where one cannot be read. It asks neither a node nor Redis, "
        "writes nothing, and may run beside a node: what that appends meanwhile is left out. "
        "Segments that have left the journal are read in the archive, that of the configuration or "
        "--archive; without it, reading begins with the first segment that is left."
        "\v"
        "The node's own journals, and those of a backup before it is restored:\n"
        "  tollgate ledger verify --config tollgate.yaml\n"
        "  tollgate ledger verify /backup/tollgate/state --archive /archive/tollgate\n"
        "\n"
        "A chain shows damage, not forgery: whoever can write the journal can write its sums, "
        "too. Where the head of each day is noted out of their reach, a later change of what "
        "lies before it shows; `tollgate download show --evidence` has the same head:\n"
        "  tollgate ledger verify --day 2026-11-28 --json | mail auditor@example.com\n",
    .children = children,
};

struct verification {
    const char *command, *state_dir, *archive;
    const char *day;     /* borrows; NULL: no head is asked for */
    uint64_t day_end_ms; /* of that day; 0 likewise */
    struct command_progress progress;
    json_t *rows; /* NULL without --json */
    unsigned lanes, damaged, unread;
};

static void print_head(const struct ledger_verification *found, const char *day)
{
    if (!found->has_head)
        printf("  head of %s: none, as no record is so old\n", day);
    else
        printf("  head of %s%s: %08" PRIu32 ".seg, byte %" PRIu64 ", chain %016" PRIx64 "\n", day,
               found->is_head_final ? "" : " so far", found->head_segment, found->head_byte,
               found->head_chain);
}

static void print_lane(const struct ledger_verification *found, const char *day, int result)
{
    char bytes[BYTE_COUNT_SIZE], first[COMMAND_TIME_SIZE], last[COMMAND_TIME_SIZE];
    byte_count_write((int64_t)found->bytes, bytes);
    command_write_time((int64_t)(found->first_ms / 1000), first);
    command_write_time((int64_t)(found->last_ms / 1000), last);
    printf("%s (instance %s): %s\n", found->lane,
           found->instance[0] != '\0' ? found->instance : "unknown",
           result == 0          ? "sound"
           : result == -EBADMSG ? "DAMAGED; it holds before that:"
                                : "cannot be read in full; it holds before that:");
    if (found->first > 1)
        printf("  segments %" PRIu32 " to %" PRIu32 "; those before have left the journal\n",
               found->first, found->segments);
    printf("  segments %" PRIu32 ", records %" PRIu64 " (usage %" PRIu64 ", operations %" PRIu64
           "), accounts %" PRIu64 "\n",
           found->first == 0 ? 0 : found->segments - found->first + 1, found->records,
           found->usage_records, found->operations, found->accounts);
    printf("  delivered %" PRIu64 " bytes (%s), responses %" PRIu64 "\n", found->bytes, bytes,
           found->responses);
    if (found->records > 0)
        printf("  from %s to %s; chain %016" PRIx64 " at byte %" PRIu64 " of %08" PRIu32 ".seg\n",
               first, last, found->chain, found->position, found->segment);
    if (day != NULL)
        print_head(found, day);
    if (found->is_written)
        puts("  a process writes it now; what it appended meanwhile was left out");
    else if (found->torn > 0)
        printf("  a crash tore %" PRIu32 " record%s after that point; the next start drops %s\n",
               found->torn, found->torn == 1 ? "" : "s", found->torn == 1 ? "it" : "them");
    fflush(stdout);
}

static json_t *head_json(const struct ledger_verification *found, const char *day)
{
    char chain[17];
    if (!found->has_head)
        return json_null();
    snprintf(chain, sizeof(chain), "%016" PRIx64, found->head_chain);
    return json_pack("{s:s, s:b, s:I, s:I, s:s}", "day", day, "final", found->is_head_final,
                     "segment", (json_int_t)found->head_segment, "byte",
                     (json_int_t)found->head_byte, "chain", chain);
}

static json_t *lane_json(const struct ledger_verification *found, const char *day, bool is_sound,
                         const char *error)
{
    char chain[17], first[COMMAND_TIME_SIZE], last[COMMAND_TIME_SIZE];
    snprintf(chain, sizeof(chain), "%016" PRIx64, found->chain);
    command_write_time((int64_t)(found->first_ms / 1000), first);
    command_write_time((int64_t)(found->last_ms / 1000), last);
    json_t *row = json_pack(
        "{s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "lane",
        found->lane, "instance", found->instance, "sound", is_sound, "written", found->is_written,
        "stopped", found->is_stopped, "first_segment", (json_int_t)found->first, "segments",
        (json_int_t)found->segments, "segment", (json_int_t)found->segment, "records",
        (json_int_t)found->records, "usage_records", (json_int_t)found->usage_records, "operations",
        (json_int_t)found->operations, "accounts", (json_int_t)found->accounts, "bytes",
        (json_int_t)found->bytes, "responses", (json_int_t)found->responses, "position",
        (json_int_t)found->position, "torn_records", (json_int_t)found->torn);
    if (found->records > 0) {
        (void)json_object_set_new(row, "chain", json_string(chain));
        (void)json_object_set_new(row, "from", json_string(first));
        (void)json_object_set_new(row, "to", json_string(last));
    }
    if (day != NULL)
        (void)json_object_set_new(row, "head", head_json(found, day));
    if (error[0] != '\0')
        (void)json_object_set_new(row, "error", json_string(error));
    return row;
}

static void verify_lane(struct verification *verification, unsigned number)
{
    struct ledger_verification found = {.progress = command_progress_draw,
                                        .context = &verification->progress,
                                        .day_end_ms = verification->day_end_ms,
                                        .archive = verification->archive};
    char error[600];
    int result = ledger_verify(verification->state_dir, number, &found, error, sizeof(error));
    command_progress_erase(&verification->progress);
    if (result == -ENOENT)
        return;
    verification->lanes++;
    verification->damaged += result == -EBADMSG;
    verification->unread += result != 0 && result != -EBADMSG;
    if (verification->rows != NULL)
        (void)json_array_append_new(verification->rows,
                                    lane_json(&found, verification->day, result == 0, error));
    else
        print_lane(&found, verification->day, result);
    if (result != 0)
        (void)cli_fail(EX_OK, verification->command, "%s: %s", found.lane, error);
}

static int conclude(const struct verification *verification)
{
    if (verification->lanes == 0)
        return command_refuse_directory(verification->command, verification->state_dir, "verify");
    int code = verification->damaged > 0  ? CLI_EXIT_NO
               : verification->unread > 0 ? EX_NOINPUT
                                          : EX_OK;
    if (verification->rows == NULL)
        return code;
    json_t *answer = json_pack("{s:s, s:b, s:O}", "state_dir", verification->state_dir, "sound",
                               code == EX_OK, "lanes", verification->rows);
    int printed = cli_print_json(verification->command, answer);
    json_decref(answer);
    return printed != EX_OK ? printed : code;
}

int command_ledger_verify(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config *config = NULL;
    int64_t day = 0;
    cli_parse(&verify_argp, argc, argv, &arguments);
    if (arguments.day != NULL) {
        int code = days_read_one(argv[0], "--day", arguments.day, &day);
        if (code != EX_OK)
            return code;
    }
    if (arguments.state_dir == NULL) {
        int code = cli_config_load(argv[0], &arguments.location, &config);
        if (code != EX_OK)
            return code;
    }
    struct verification verification = {
        .command = argv[0],
        .day = arguments.day,
        .day_end_ms = arguments.day != NULL ? (uint64_t)(day + 1) * DAYS_S * 1000 : 0,
        .state_dir = arguments.state_dir != NULL ? arguments.state_dir : config->state_dir,
        .archive = command_archive(arguments.archive, config),
        .rows = cli_wants_json() ? json_array() : NULL,
    };
    command_progress_begin(&verification.progress, false);
    for (unsigned number = 0; number < LEDGER_LANES_MAX; number++)
        verify_lane(&verification, number);
    int code = conclude(&verification);
    json_decref(verification.rows);
    config_destroy(&config);
    return code;
}
