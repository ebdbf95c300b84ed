/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands share: the table of commands, the exit codes, the reading of options, the
 * telling of mistakes, and helpers. tollgate_main and the command_*.c files use it (cli_nearest
 * also the configuration and the admin interface). It never talks to Redis and never prints a token
 * that it was not asked to make.
 */
#ifndef TOLLGATE_SERVER_COMMAND_CLI_H
#define TOLLGATE_SERVER_COMMAND_CLI_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sysexits.h>

struct config;

/*
 * Exit codes: code, kind (the name that --json gives it), text. They are those of sysexits.h, and 1
 * for a question that was answered with no. `--help` and the manual print this table.
 */
#define CLI_EXIT_NO 1
#define CLI_EXITS(X)                                                                               \
    X(EX_OK, "ok", "the command did what was asked; or the answer is yes")                         \
    X(CLI_EXIT_NO, "no", "the answer is no: refused, unhealthy, no such account")                  \
    X(EX_USAGE, "usage",                                                                           \
      "the command line is wrong: a word, an option or a value is unknown, missing or malformed")  \
    X(EX_DATAERR, "data", "an input holds something wrong: a key file, a link")                    \
    X(EX_NOINPUT, "no_input", "an input file cannot be read")                                      \
    X(EX_UNAVAILABLE, "unavailable",                                                               \
      "the node cannot start, does not answer, or cannot ask Redis now")                           \
    X(EX_SOFTWARE, "software", "tollgate has a defect, or no memory")                              \
    X(EX_CANTCREAT, "cannot_create", "an output file cannot be created")                           \
    X(EX_IOERR, "io", "reading or writing failed half way")                                        \
    X(EX_NOPERM, "no_permission", "this user may not ask the node")                                \
    X(EX_CONFIG, "configuration", "the configuration, or what it names, is wrong")

/*
 * The commands, one row for each action: words, function, summary, usage. The words are one or two;
 * the first row whose words match runs. A function is called with argv[0] = "tollgate WORDS" (so
 * that its messages name the command) and argv[1] the first argument after the words, and returns
 * an exit code of the table above. cli_parse gives each command its --help and its --json.
 */
#define CLI_COMMANDS(X)                                                                            \
    X("serve", command_serve, "run a node until SIGTERM",                                          \
      "[--config FILE] [--listen ADDRESS] [--check-config] [--print-config-reference]")            \
    X("key generate", command_key_generate, "make a signing key for an issuer",                    \
      "--issuer ID --alg HS256|ES256|EdDSA [--directory DIR | --private FILE [--public FILE]]")    \
    X("link sign", command_link_sign, "sign links to files",                                       \
      "--key FILE|- --issuer ID --account NAME --path /FILE... --expires-in 1h")                   \
    X("link explain", command_link_explain, "check a link's token, and say what is wrong with it", \
      "URL|- [--config FILE]")                                                                     \
    X("link revoke", command_link_revoke, "revoke links, and cut their downloads",                 \
      "URL | - | ISSUER/NAME --jti ID | ISSUER/NAME --issued-before TIME")                         \
    X("account open", command_account_open, "open an account, with what was paid for",             \
      "ISSUER/NAME [--bytes AMOUNT] [--plan prepaid|postpaid] [--transaction ID]")                 \
    X("account show", command_account_show, "show an account's balance, status and limits",        \
      "ISSUER/NAME")                                                                               \
    X("account top-up", command_account_top_up, "add what was paid for to an account",             \
      "ISSUER/NAME --bytes AMOUNT [--transaction ID]")                                             \
    X("account adjust", command_account_adjust, "correct an account's balance, up or down",        \
      "ISSUER/NAME --bytes AMOUNT [--transaction ID] [--allow-negative]")                          \
    X("account limit", command_account_limit, "limit an account's rate, bytes and downloads",      \
      "ISSUER/NAME [--rate AMOUNT] [--max-bytes AMOUNT] [--max-conns N]")                          \
    X("account suspend", command_account_suspend, "stop an account's downloads", "ISSUER/NAME")    \
    X("account activate", command_account_activate, "end an account's suspension", "ISSUER/NAME")  \
    X("ledger reconcile", command_ledger_reconcile,                                                \
      "compare the journals with Redis and access logs, to the byte",                              \
      "[STATE_DIR]... [--config FILE] [--access-log FILE]...")                                     \
    X("ledger release", command_ledger_release, "release an account that is set aside",            \
      "ISSUER/NAME [--rebuild]")                                                                   \
    X("ledger inspect", command_ledger_inspect, "print the records of the journals",               \
      "[STATE_DIR | --config FILE] [--account ISSUER/NAME] [--download ID] [--from DAY]")          \
    X("ledger status", command_ledger_status, "show what a running node has still to post",        \
      "[--config FILE | --socket PATH]")                                                           \
    X("ledger verify", command_ledger_verify, "say whether the journals are sound",                \
      "[STATE_DIR | --config FILE] [--day DAY]")                                                   \
    X("ledger replay", command_ledger_replay, "post what a dead node's directory holds",           \
      "STATE_DIR | --archive DIRECTORY [--into-empty] [--timeout 10m] [--config FILE]")            \
    X("node list", command_node_list, "show each node, its lease, and what it has to post",        \
      "[--config FILE | --socket PATH]")                                                           \
    X("node retire", command_node_retire, "move a stopped node's lanes into this node",            \
      "STATE_DIR [--timeout 10m] [--config FILE]")                                                 \
    X("node drain", command_node_drain, "take no new download, and post all, before a node goes",  \
      "[--timeout 10m] [--cancel]")                                                                \
    X("download list", command_download_list, "list an account's downloads",                       \
      "ISSUER/NAME [--path /FILE] [--link JTI|ID] [--from DAY] [--to DAY] [STATE_DIR]")            \
    X("download show", command_download_show, "show a download, with evidence of its delivery",    \
      "ID [--evidence | --html] [STATE_DIR]")                                                      \
    X("usage", command_usage, "what an account received, by day and file",                         \
      "ISSUER/NAME [--from DAY] [--to DAY]")                                                       \
    X("health", command_health, "show the health of a running node",                               \
      "[--config FILE | --socket PATH]")                                                           \
    X("doctor", command_doctor, "say whether a node can run here, and what to do",                 \
      "[--config FILE]")                                                                           \
    X("media scan", command_media_scan, "hash files before their first request",                   \
      "[--config FILE]")                                                                           \
    X("media show", command_media_show, "show what is known about files",                          \
      "/FILE... [--config FILE]")

#define X(words, function, summary, usage) int function(int argc, char **argv);
CLI_COMMANDS(X)
#undef X

/*
 * Where the node is: --config FILE and --socket PATH. A command that needs it puts
 * CLI_LOCATION_CHILD (CLI_CONFIG_CHILD: --config alone) among its argp children and hands over the
 * struct in ARGP_KEY_INIT: state->child_inputs[i] = &location.
 */
struct cli_location {
    const char *config; /* borrows argv; NULL: not given */
    const char *socket; /* borrows argv; NULL: not given */
};
extern const struct argp cli_location_argp; /* --config and --socket */
extern const struct argp cli_config_argp;   /* --config alone */
#define CLI_LOCATION_CHILD                                                                         \
    {                                                                                              \
        &cli_location_argp, 0, "Which node:", 0                                                    \
    }
#define CLI_CONFIG_CHILD                                                                           \
    {                                                                                              \
        &cli_config_argp, 0, "Which configuration:", 0                                             \
    }

/*
 * The configuration file's path, borrowed: --config, else TOLLGATE_CONFIG, else ./tollgate.yaml,
 * else /etc/tollgate/tollgate.yaml. NULL where none of them was given or exists.
 */
const char *cli_config_path(const struct cli_location *location);

/*
 * Loads the configuration; *out is the caller's (config_destroy). EX_OK, or EX_NOINPUT, EX_CONFIG
 * or EX_SOFTWARE (no memory) after printing why on standard error as `command` (argv[0]).
 */
int cli_config_load(const char *command, const struct cli_location *location, struct config **out);

/*
 * Puts the admin socket's path into `path`: --socket, else state_dir/admin.sock of the
 * configuration. EX_OK, or an exit code after printing why.
 */
int cli_socket_path(const char *command, const struct cli_location *location, char *path,
                    size_t size);

/*
 * Replaces an argument "-" by the link that is the one line of standard input: the arguments of a
 * process are seen by everybody on the machine, its input is not. Any other *link stays. The line
 * is static, until the next call. EX_OK, or EX_NOINPUT or EX_DATAERR after printing why.
 */
int cli_read_link(const char *command, const char **link);

/* ---- saying what is wrong (cli_report.c) ---- */

/*
 * Whether the command line has --json: then standard output is one JSON value, or nothing, and
 * each line of standard error is an object, {"error": {...}} or {"warning": {...}}.
 */
bool cli_wants_json(void);

/*
 * Prints "COMMAND: message" on standard error and returns `exit_code`, for `return cli_fail(...)`.
 * A message is the fact and, after the first "; ", the cure: with --json they are the error's
 * `message` and `cure`.
 */
int cli_fail(int exit_code, const char *command, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The same for a ready text. With --json `members` are added to the error's object; the reference
 * is taken over, NULL adds none.
 */
int cli_fail_with(int exit_code, const char *command, json_t *members, const char *text);

/* Prints a warning, which does not stop the command, in the same form. */
void cli_warn(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Several mistakes that are told together. cli_mistakes_add prints each at once, on a line of its
 * own; with --json it keeps them, and cli_mistakes_end prints one error with all of them. `where`
 * is a file or a command, `line` its line, or 0.
 */
struct cli_mistakes {
    json_t *list; /* owns; NULL: none yet, or no --json */
};
void cli_mistakes_add(struct cli_mistakes *mistakes, const char *where, unsigned line,
                      const char *text);
/* Returns `exit_code`. With --json, at least one mistake must have been added. */
int cli_mistakes_end(struct cli_mistakes *mistakes, int exit_code, const char *command);

/* Prints the value on standard output. EX_OK, EX_IOERR, or EX_SOFTWARE for NULL (no memory). */
int cli_print_json(const char *command, const json_t *value);

/* ---- reading the command line (cli_options.c) ---- */

/*
 * Runs argp, with --json added; options may stand before and after the arguments. An unknown option
 * is refused with the name that was probably meant, and so is one that lacks its value or has one
 * too many. A wrong command line ends the process with EX_USAGE, --help with EX_OK.
 */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Like cli_fail with EX_USAGE, for argp's parsers, which must use it instead of argp_error: its
 * message would ignore --json. Ends the process. */
_Noreturn void cli_usage(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads "90s", "15m", "1h" or "7d" into seconds, a hundred years at most; ends the process for anything
 * else, and names the option. */
int64_t cli_duration(const struct argp_state *state, const char *option, const char *text);

/*
 * Refuses an argument that belongs to no option, and ends the process. Where it looks like some
 * option's value, the message asks "did you mean --bytes 1GB?"; else whether `option` was meant;
 * where that is NULL, it is the word and `otherwise` ("is a second account; name one at a time").
 */
_Noreturn void cli_surplus(const struct argp_state *state, const char *word, const char *option,
                           const char *otherwise);
/* Whether `word` looks like the value, or the name, of an option of the command being parsed. */
bool cli_belongs_to_option(const char *word);

/*
 * The manual's generator sets it to learn each command's options: cli_parse then calls it, with the
 * argp that has --json added, before it parses, and it must not return. NULL in tollgate itself.
 */
extern void (*cli_argp_observer)(const struct argp *argp);

/* ---- between these files alone ---- */

/* Sets what cli_wants_json answers. tollgate_main guesses it before any option is known, so that
 * early mistakes have the right form, and cli_parse corrects it. */
void cli_set_json(bool wanted);

#endif
