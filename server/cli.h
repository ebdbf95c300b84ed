/*
 * The command line's shared ground: the table of subcommands, the exit codes, and the helpers that
 * each command_*.c builds on. Called by tollgate_main and by the commands; it never talks to Redis
 * and never prints a token that it was not asked to make.
 */
#ifndef TOLLGATE_SERVER_CLI_H
#define TOLLGATE_SERVER_CLI_H

#include <argp.h>
#include <stddef.h>
#include <sysexits.h>

struct config;

/*
 * Exit codes: the classes of sysexits.h, and 1 for a question that was answered with no. `--help`
 * prints this table.
 */
#define CLI_EXIT_NO 1
#define CLI_EXITS(X)                                                                               \
    X(EX_OK, "done; or the answer is yes")                                                         \
    X(CLI_EXIT_NO, "the answer is no: refused, unhealthy, no such account")                        \
    X(EX_USAGE, "the command line is wrong")                                                       \
    X(EX_DATAERR, "an input is wrong: a key file, a link, an amount")                              \
    X(EX_NOINPUT, "an input file cannot be read")                                                  \
    X(EX_UNAVAILABLE, "the node cannot start, does not answer, or cannot ask Redis now")           \
    X(EX_SOFTWARE, "a defect in tollgate, or no memory")                                           \
    X(EX_CANTCREAT, "an output file cannot be created")                                            \
    X(EX_IOERR, "reading or writing failed half way")                                              \
    X(EX_CONFIG, "the configuration is wrong")

/*
 * Subcommands: words, function, summary, usage. Words may be one or two; the longest match runs. A
 * function is called with argv[0] = "tollgate WORDS" (so that argp and its messages name the
 * command) and argv[1] the first argument after the words, and returns an exit code of the table
 * above.
 */
#define CLI_COMMANDS(X)                                                                            \
    X("serve", command_serve, "run a node until SIGTERM",                                          \
      "[--config FILE] [--listen ADDRESS] [--check-config] [--print-config-reference]")            \
    X("key generate", command_key_generate, "make a signing key for an issuer",                    \
      "--issuer ID --alg HS256|ES256|EdDSA [--directory DIR | --private FILE [--public FILE]]")    \
    X("link sign", command_link_sign, "sign links to files",                                       \
      "--key FILE|- --issuer ISS --account NAME --path /FILE... --expires-in 1h")                  \
    X("link explain", command_link_explain, "say what a node would answer to a link, and why",     \
      "URL|- [--config FILE] [--json]")                                                            \
    X("link revoke", command_link_revoke, "revoke links, and cut their downloads",                 \
      "URL | - | ISSUER/NAME --jti ID | ISSUER/NAME --issued-before TIME")                         \
    X("account", command_account, "open, top up, show, limit, suspend an account",                 \
      "open|show|top-up|adjust|limit|suspend|activate ISSUER/NAME [--bytes AMOUNT]")               \
    X("usage", command_usage, "what an account received, by day and file",                         \
      "ISSUER/NAME [--from DAY] [--to DAY]")                                                       \
    X("health", command_health, "show the health of a running node",                               \
      "[--config FILE | --socket PATH]")                                                           \
    X("doctor", command_doctor, "say whether a node can run here, and what to do",                 \
      "[--config FILE]")                                                                           \
    X("media", command_media,                                                                      \
      "hash files before their first request, or show what is known about one",                    \
      "scan|show [--config FILE]")

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

/* Prints "COMMAND: message" on standard error and returns `exit_code`, for `return cli_fail(...)`.
 */
int cli_fail(int exit_code, const char *command, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The link that an argument gives: itself, or for "-" the one line of standard input, which nobody
 * else sees, as everybody sees the arguments of a process. *link is borrowed or static. EX_OK, or
 * EX_NOINPUT or EX_DATAERR after printing why.
 */
int cli_read_link(const char *command, const char **link);

/* Runs argp in order of arguments as given; a wrong command line ends the process with EX_USAGE. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/*
 * Where set, cli_parse hands it the argp instead of parsing, and it does not return: the manual
 * learns each command's options so. NULL in tollgate itself.
 */
extern void (*cli_argp_observer)(const struct argp *argp);

/* The name among `count` that is nearest to `word` (by edit distance), or NULL where none is near.
 */
const char *cli_nearest(const char *word, const char *const *names, size_t count);

#endif
