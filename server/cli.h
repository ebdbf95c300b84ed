/*
 * The command line's shared ground: the table of commands, the exit codes, how options are read and
 * mistakes are told, and the helpers that each command_*.c builds on. Called by tollgate_main and by
 * the commands; it never talks to Redis and never prints a token that it was not asked to make.
 */
#ifndef TOLLGATE_SERVER_CLI_H
#define TOLLGATE_SERVER_CLI_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sysexits.h>

struct config;

/*
 * Exit codes: the classes of sysexits.h, and 1 for a question that was answered with no. With each
 * stands the kind that --json names it by. `--help` and the manual print this table.
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
 * The commands, one row for each action: words, function, summary, usage. Words may be one or two;
 * the longest match runs. A function is called with argv[0] = "tollgate WORDS" (so that its messages
 * name the command) and argv[1] the first argument after the words, and returns an exit code of the
 * table above. Each has a --help of its own and takes --json: cli_parse adds both.
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
 * Where the node is: --config FILE and --socket PATH. Commands that need it put CLI_LOCATION_CHILD
 * among their argp children and hand over the struct in ARGP_KEY_INIT: state->child_inputs[i] =
 * &location.
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
 * The configuration file's path: --config, else TOLLGATE_CONFIG, else ./tollgate.yaml, else
 * /etc/tollgate/tollgate.yaml. NULL where none of them was given or exists.
 */
const char *cli_config_path(const struct cli_location *location);

/*
 * Loads it. EX_OK, or EX_NOINPUT or EX_CONFIG after printing why on standard error as `command`'s
 * (argv[0]). *out is the caller's (config_destroy).
 */
int cli_config_load(const char *command, const struct cli_location *location, struct config **out);

/*
 * The admin socket's path into `path`: --socket, else state_dir/admin.sock of the configuration.
 * EX_OK, or an exit code after printing why.
 */
int cli_socket_path(const char *command, const struct cli_location *location, char *path,
                    size_t size);

/*
 * The link that an argument gives: itself, or for "-" the one line of standard input, which nobody
 * else sees, as everybody sees the arguments of a process. *link is borrowed or static. EX_OK, or
 * EX_NOINPUT or EX_DATAERR after printing why.
 */
int cli_read_link(const char *command, const char **link);

/* ---- saying what is wrong (cli_report.c) ---- */

/*
 * Whether the command line holds --json: then standard output is one JSON value, or nothing, and
 * each line of standard error is an object, {"error": {...}} or {"warning": {...}}.
 */
bool cli_wants_json(void);

/*
 * Prints "COMMAND: message" on standard error and returns `exit_code`, for `return cli_fail(...)`.
 * A message is the fact, and behind "; " the cure: with --json they are the error's `message` and
 * `cure`.
 */
int cli_fail(int exit_code, const char *command, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * As cli_fail, of a ready text; `members` (NULL: none; its reference is taken over) are added to the
 * error's object where --json asks for one.
 */
int cli_fail_with(int exit_code, const char *command, json_t *members, const char *text);

/* Says on standard error what does not stop the command, in the same form. */
void cli_warn(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Several mistakes that are told together. Each is printed at once as it is, a line of its own, or
 * kept for cli_mistakes_end, which makes one error of them where --json asks for it. `where` is a
 * file, `line` 0 where there is none.
 */
struct cli_mistakes {
    json_t *list; /* owns; NULL: none yet, or no --json */
};
void cli_mistakes_add(struct cli_mistakes *mistakes, const char *where, unsigned line,
                      const char *text);
/* Returns `exit_code`. */
int cli_mistakes_end(struct cli_mistakes *mistakes, int exit_code, const char *command);

/* Prints the value for --json. EX_OK, EX_SOFTWARE or EX_IOERR. */
int cli_print_json(const char *command, const json_t *value);

/* ---- reading the command line (cli_options.c) ---- */

/*
 * Runs argp in order of arguments as given, after adding --json and --help. An option that is not
 * known, that lacks its value or has one too many is refused with the name that was meant; a wrong
 * command line ends the process with EX_USAGE.
 */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* As cli_fail with EX_USAGE, for argp's parsers, in place of argp_error; ends the process. */
_Noreturn void cli_usage(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Refuses an argument that belongs to no option. Where it looks like some option's value, the
 * message asks "did you mean --bytes 1GB?"; else whether `option` was meant, or where that is NULL
 * it is the word and `otherwise` ("is a second account; name one at a time"). Ends the process.
 */
_Noreturn void cli_surplus(const struct argp_state *state, const char *word, const char *option,
                           const char *otherwise);
/* Whether cli_surplus would know an option that `word` is meant for. */
bool cli_belongs_to_option(const char *word);

/*
 * Where set, cli_parse hands it the argp with what it adds, instead of parsing, and it does not
 * return: the manual learns each command's options so. NULL in tollgate itself.
 */
extern void (*cli_argp_observer)(const struct argp *argp);

/* ---- between these files alone ---- */

/* Whether --json stands among the arguments; for mistakes that are made before any option is known. */
void cli_set_json(bool wanted);

#endif
