/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger reconcile [STATE_DIR]...`: compares the journals with Redis and with access logs, for
 * each account, to the byte. tollgate_main calls it, ledger_reconcile_* do the work. It needs no
 * running node, works beside nodes, and changes nothing anywhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/command/cli.h"
#include "server/command/command_ledger.h"
#include "server/command/reconcile_report.h"
#include "server/config/config.h"
#include "server/redis/redis_address.h"

#define DIRECTORIES_MAX 1000
#define LOGS_MAX        1000
#define MARKS_MS        1000 /* by then a mark of what a log says is on disk */
#define LINES_MS        3000 /* by then a line of what a mark says is in the log */
#define LOOK_MS         50

enum { OPTION_LOG = 256, OPTION_ALL, OPTION_WITHOUT_REDIS };

struct arguments {
    struct cli_location location;
    const char *archive;                      /* borrows argv; NULL: not given */
    const char *directories[DIRECTORIES_MAX]; /* borrow argv */
    size_t directories_count;
    struct reconcile_log logs[LOGS_MAX];
    size_t logs_count;
    bool all, without_redis;
};

static const struct argp_option options[] = {
    {"access-log", OPTION_LOG, "FILE", 0,
     "Compare with this access log, too, of either format, not compressed; may be repeated", 0},
    {"all", OPTION_ALL, NULL, 0, "Print each account, also where all agrees", 0},
    {"without-redis", OPTION_WITHOUT_REDIS, NULL, 0, "Compare the journals with access logs alone",
     0},
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
        if (arguments->directories_count == DIRECTORIES_MAX)
            cli_usage(state, "more than %d directories; name fewer", DIRECTORIES_MAX);
        arguments->directories[arguments->directories_count++] = argument;
        return 0;
    case OPTION_LOG:
        if (arguments->logs_count == LOGS_MAX)
            cli_usage(state, "more than %d access logs; join some of them", LOGS_MAX);
        arguments->logs[arguments->logs_count++].path = argument;
        return 0;
    case OPTION_ALL:
        arguments->all = true;
        return 0;
    case OPTION_WITHOUT_REDIS:
        arguments->without_redis = true;
        return 0;
    case ARGP_KEY_END:
        if (arguments->without_redis && arguments->logs_count == 0)
            cli_usage(state, "--without-redis leaves nothing to compare the journals with; add "
                             "--access-log FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, COMMAND_ARCHIVE_CHILD, {0}};
static const struct argp reconcile_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[STATE_DIR]...",
    .doc =
        "Compares, for each account and to the byte, what the journals of the state directories "
        "hold with what Redis has of them, and with what access logs say was acknowledged. "
        "Without STATE_DIR it takes that of the configuration; Redis is that of the "
        "configuration. Prints a line for each account that differs, then totals. Exits with 0 "
        "where all agree, 1 where an account differs or a journal is damaged, 66 where a journal "
        "or a log cannot be read, 69 where Redis cannot be asked. It changes nothing, and may run "
        "beside the nodes. It needs memory for each account, its bill of a day for each day."
        "\v"
        "One node, and two nodes with their access logs:\n"
        "  tollgate ledger reconcile\n"
        "  tollgate ledger reconcile /srv/a/state /srv/b/state --access-log a.log --access-log "
        "b.log\n"
        "\n"
        "The journals are the truth. What Redis has not taken yet is unposted, and no difference. "
        "What Redis has of journals that were not named is told as not compared: then only the "
        "share of the named ones is verified. Each figure of Redis has its difference behind it: "
        "used, the sum of the months, and what these journals have posted. Segments that have left "
        "a journal are read in the archive, that of the configuration or --archive; without them "
        "it begins at the newest checkpoint, whose figures are the same, but which describes no "
        "response.\n"
        "\n"
        "A log's line is of a response that has ended, and so the log can show only those. "
        "Responses under way, and those that a kill cut, are in the journals alone. Where the "
        "journals describe all responses that ended, the logs must have exactly their bytes; a "
        "line that is missing, and one too many, shows. So name all logs since the journals "
        "began, those that were rotated unpacked, and those of no other node. Lines that the node "
        "dropped (`dropped` in its health), or had not written when it was killed, are missing, "
        "too, and the log cannot tell why.\n",
    .children = children,
};

struct work {
    const char *command;
    struct arguments *arguments; /* borrows */
    const struct config *config; /* borrows; NULL: not needed */
    struct ledger_reconcile *reconcile;
    struct command_progress progress;
};

static void progress(void *context, const char *what, uint64_t done, uint64_t all)
{
    struct work *work = context;
    command_progress_tell(&work->progress, what, done, all);
}

static int fail(const struct work *work, int result, const char *error)
{
    command_progress_erase(&work->progress);
    int code = result == -EBADMSG                       ? CLI_EXIT_NO
               : result == -ENOMEM                      ? EX_SOFTWARE
               : result == -EEXIST || result == -E2BIG  ? EX_USAGE
               : result == -EAGAIN || result == -EPROTO ? EX_UNAVAILABLE
               : result == -EINVAL                      ? EX_CONFIG
                                                        : EX_NOINPUT;
    return cli_fail(code, work->command, "%s", error);
}

static int add_directories(const struct work *work)
{
    const struct arguments *arguments = work->arguments;
    const char *const *directories = arguments->directories;
    size_t count = arguments->directories_count;
    if (count == 0) {
        directories = (const char *const *)&work->config->state_dir;
        count = 1;
    }
    for (size_t i = 0; i < count; i++) {
        char error[9000];
        int lanes = ledger_reconcile_add(work->reconcile, directories[i], error, sizeof(error));
        if (lanes < 0)
            return fail(work, lanes, error);
        if (lanes == 0)
            return command_refuse_directory(work->command, directories[i], "reconcile");
    }
    return EX_OK;
}

static int read_redis(struct work *work)
{
    const struct config *config = work->config;
    struct redis_address where;
    char error[600];
    int result = redis_address_read(config, &where, error, sizeof(error));
    if (result < 0)
        return cli_fail(EX_CONFIG, work->command, "%s", error);
    const struct ledger_options asked = {
        .redis = where.address,
        .redis_user = config->redis_user[0] != '\0' ? config->redis_user : NULL,
        .redis_password = where.password[0] != '\0' ? where.password : NULL,
        .redis_sentinel_user = config->sentinel_user[0] != '\0' ? config->sentinel_user : NULL,
        .redis_sentinel_password =
            where.sentinel_password[0] != '\0' ? where.sentinel_password : NULL,
        .node = config->node,
        .state_dir = config->state_dir,
    };
    result = ledger_reconcile_redis(work->reconcile, &asked, progress, work, error, sizeof(error));
    explicit_bzero(where.password, sizeof(where.password));
    explicit_bzero(where.sentinel_password, sizeof(where.sentinel_password));
    return result == 0 ? EX_OK : fail(work, result, error);
}

static int read_logs(const struct work *work, bool before)
{
    struct arguments *arguments = work->arguments;
    int code = EX_OK;
    for (size_t i = 0; i < arguments->logs_count && code == EX_OK; i++)
        code = reconcile_log_read(work->command, &arguments->logs[i], work->reconcile, before);
    return code;
}

static void pause_ms(uint64_t ms)
{
    const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&time, NULL);
}

/* What the logs got meanwhile: a node writes lines up to some tenths of a second behind its journal. */
static int read_late_lines(const struct work *work)
{
    uint64_t until_ms = clock_monotonic_ms() + LINES_MS;
    int code = read_logs(work, false);
    while (code == EX_OK && !ledger_reconcile_logs_suffice(work->reconcile) &&
           ledger_reconcile_is_written(work->reconcile) && clock_monotonic_ms() < until_ms) {
        pause_ms(LOOK_MS);
        code = read_logs(work, false);
    }
    return code;
}

static int read_journals(struct work *work)
{
    char error[6000] = "";
    ledger_reconcile_archive(work->reconcile, work->arguments->archive);
    int result = ledger_reconcile_journals(work->reconcile, progress, work, error, sizeof(error));
    return result == 0 ? EX_OK : fail(work, result, error);
}

/* In this order: what Redis and the logs have when they are read, the journals have later. */
static int read_all(struct work *work)
{
    struct arguments *arguments = work->arguments;
    int code = add_directories(work);
    for (size_t i = 0; i < arguments->logs_count && code == EX_OK; i++)
        code = reconcile_log_open(work->command, &arguments->logs[i]);
    if (code == EX_OK && !arguments->without_redis)
        code = read_redis(work);
    if (code == EX_OK)
        code = read_logs(work, true);
    if (code == EX_OK && arguments->logs_count > 0 && ledger_reconcile_is_written(work->reconcile))
        pause_ms(MARKS_MS);
    if (code == EX_OK)
        code = read_journals(work);
    if (code == EX_OK && arguments->logs_count > 0)
        code = read_late_lines(work);
    return code;
}

static int report(const struct work *work)
{
    const struct arguments *arguments = work->arguments;
    struct reconcile_report told = {
        .with_all = arguments->all,
        .with_redis = !arguments->without_redis,
        .with_logs = arguments->logs_count > 0,
        .logs = arguments->logs,
        .logs_count = arguments->logs_count,
        .rows = cli_wants_json() ? json_array() : NULL,
    };
    command_progress_erase(&work->progress);
    int result =
        ledger_reconcile_each(work->reconcile, told.with_logs, reconcile_report_take, &told);
    int code = result == 0 ? reconcile_report_end(work->command, &told, work->reconcile)
                           : cli_fail(EX_SOFTWARE, work->command, "no memory for the accounts");
    json_decref(told.rows);
    return code;
}

static int reconcile(struct arguments *arguments, const char *command)
{
    struct config *config = NULL;
    struct work work = {.command = command, .arguments = arguments};
    if (!arguments->without_redis || arguments->directories_count == 0) {
        int code = cli_config_load(command, &arguments->location, &config);
        if (code != EX_OK)
            return code;
    }
    work.config = config;
    arguments->archive = command_archive(arguments->archive, config);
    command_progress_begin(&work.progress, false);
    int code = ledger_reconcile_create(&work.reconcile) == 0
                   ? read_all(&work)
                   : cli_fail(EX_SOFTWARE, command, "no memory");
    if (code == EX_OK)
        code = report(&work);
    for (size_t i = 0; i < arguments->logs_count; i++)
        reconcile_log_close(&arguments->logs[i]);
    ledger_reconcile_destroy(&work.reconcile);
    config_destroy(&config);
    return code;
}

int command_ledger_reconcile(int argc, char **argv)
{
    struct arguments *arguments = calloc(1, sizeof(*arguments));
    if (arguments == NULL)
        return cli_fail(EX_SOFTWARE, argv[0], "no memory");
    cli_parse(&reconcile_argp, argc, argv, arguments);
    int code = reconcile(arguments, argv[0]);
    free(arguments);
    return code;
}
