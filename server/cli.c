/*
 * The program's entry behind main: finds the subcommand, prints the help and the versions, and
 * holds what every command_*.c needs to find its configuration and to fail alike. It does no
 * command's work itself.
 */
#include "server/cli.h"

#include <argp.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/check.h"
#include "server/config.h"
#include "server/server.h"
#include "storage/ledger/ledger.h"

struct command {
    const char *words;
    int (*run)(int argc, char **argv);
    const char *summary, *usage;
};

static const struct command commands[] = {
#define X(words, function, summary, usage) {words, function, summary, usage},
    CLI_COMMANDS(X)
#undef X
};
#define COMMAND_COUNT  (sizeof(commands) / sizeof(commands[0]))
#define LINK_BYTES_MAX 65536 /* of a request's head, at most */

/* ---- help and versions --------------------------------------------------------------------------
 */

static const char help_lead[] =
    "tollgate delivers files that have been paid for: a storefront signs a link, a client\n"
    "downloads the file with it, and the account behind the link is billed for the bytes\n"
    "that arrived.\n"
    "\n"
    "Usage: tollgate COMMAND [OPTION...]\n"
    "\n"
    "Commands (tollgate COMMAND --help tells each one's options):\n";

static const char help_example[] =
    "\n"
    "The whole way, from a file /srv/media/song.mp3 to a paid download:\n"
    "  mkdir -p keys\n"
    "  tollgate key generate --issuer shop --alg ES256 --directory keys >issuers.yaml\n"
    "  { echo 'media_root: /srv/media'; echo 'state_dir: state'; cat issuers.yaml; } "
    ">tollgate.yaml\n"
    "  tollgate serve --config tollgate.yaml --check-config\n"
    "  tollgate serve --config tollgate.yaml &\n"
    "  until tollgate health >/dev/null 2>&1; do sleep 1; done\n"
    "  tollgate account open shop/alice --bytes 1GB --transaction order-1\n"
    "  tollgate link sign --key keys/shop-private.jwks --issuer shop --account alice \\\n"
    "      --path /song.mp3 --expires-in 1h\n"
    "  curl -O 'http://127.0.0.1:8080/song.mp3?URISigningPackage=...'\n"
    "  tollgate usage shop/alice\n"
    "\n"
    "The configuration is --config FILE, else the file that TOLLGATE_CONFIG names, else\n"
    "./tollgate.yaml, else /etc/tollgate/tollgate.yaml.\n"
    "`tollgate serve --print-config-reference` writes one with every key explained.\n"
    "\n"
    "Exit codes:\n";

static int print_help(FILE *out)
{
    fputs(help_lead, out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-14s %s\n      tollgate %s %s\n", commands[i].words, commands[i].summary,
                commands[i].words, commands[i].usage);
    fputs("  --version      print the versions of the program and its formats\n", out);
    fputs(help_example, out);
#define X(code, text) fprintf(out, "  %2d  %s\n", code, text);
    CLI_EXITS(X)
#undef X
    return fflush(out) == 0 ? EX_OK
                            : cli_fail(EX_IOERR, "tollgate", "the help: %s", strerror(errno));
}

/*
 * liburing before 2.4 does not tell its version: the file that it was loaded from does, once links
 * are followed (liburing.so.2.3.0).
 */
static void print_liburing(void)
{
    Dl_info library;
    char resolved[PATH_MAX];
    const char *version = NULL;
    void *function = dlsym(RTLD_DEFAULT, "io_uring_queue_init");
    if (function && dladdr(function, &library) != 0 && realpath(library.dli_fname, resolved))
        version = strstr(resolved, "liburing.so.");
    printf("liburing %s", version ? version + strlen("liburing.so.") : "(linked statically)");
}

static void print_version(void)
{
    printf("tollgate %s\n", TOLLGATE_VERSION);
    printf("journal format %d, Redis function library format %d\n", LEDGER_JOURNAL_FORMAT,
           LEDGER_FUNCTIONS_FORMAT);
    print_liburing();
    printf(", %s\n", OpenSSL_version(OPENSSL_VERSION));
}

/* ---- finding the command ------------------------------------------------------------------------
 */

/* How many of the arguments from argv[1] on are the command's words; 0: another command. */
static int words_matched(const char *words, int argc, char **argv)
{
    const char *space = strchr(words, ' ');
    size_t first = space ? (size_t)(space - words) : strlen(words);
    if (argc < 2 || strlen(argv[1]) != first || strncmp(argv[1], words, first) != 0)
        return 0;
    if (!space)
        return 1;
    return argc > 2 && strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

/* Optimal string alignment distance: a swapped pair of letters is one slip, not two. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 48 };
    size_t rows[3][WORD_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t least = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            least = last[j] + 1 < least ? last[j] + 1 : least;
            least = now[j - 1] + 1 < least ? now[j - 1] + 1 : least;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < least)
                least = before[j - 2] + 1;
            now[j] = least;
        }
    }
    return rows[a_length % 3][b_length];
}

const char *cli_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    /* A third of the word may be wrong, three letters at most: farther away is a guess. */
    size_t least = strlen(word) / 3 + 2;
    least = least > 4 ? 4 : least;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, names[i]);
        if (distance < least) {
            least = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

/* "link" alone is the beginning of commands: names them, as help where that was asked for. */
static bool print_continuations(const char *word, bool help)
{
    FILE *out = help ? stdout : stderr;
    size_t length = strlen(word);
    bool found = false;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strncmp(commands[i].words, word, length) != 0 || commands[i].words[length] != ' ')
            continue;
        if (!found)
            fprintf(out,
                    help ? "tollgate %s: the commands, each with a --help of its own:\n"
                         : "tollgate: %s needs an action, one of these:\n",
                    word);
        fprintf(out, "  tollgate %s %s\n", commands[i].words, commands[i].usage);
        found = true;
    }
    return found;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0 ||
           strcmp(word, "help") == 0;
}

static int refuse_unknown(int argc, char **argv)
{
    const char *names[2 * COMMAND_COUNT];
    size_t count = 0;
    char firsts[COMMAND_COUNT][32], both[128];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        snprintf(firsts[i], sizeof(firsts[i]), "%.*s", (int)strcspn(commands[i].words, " "),
                 commands[i].words);
        names[count++] = commands[i].words;
    }
    snprintf(both, sizeof(both), "%s %s", argv[1], argc > 2 ? argv[2] : "");
    bool help = argc > 2 && is_help(argv[2]);
    const char *near = argc > 2 && !help ? cli_nearest(both, names, count) : NULL;
    if (!near && print_continuations(argv[1], help))
        return help ? EX_OK : EX_USAGE;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[count++] = firsts[i];
    near = near ? near : cli_nearest(argv[1], names, count);
    if (near)
        fprintf(stderr,
                "tollgate: %s is not a command; did you mean tollgate %s? "
                "tollgate --help lists them all\n",
                strchr(near, ' ') && argc > 2 ? both : argv[1], near);
    else
        fprintf(stderr, "tollgate: %s is not a command; tollgate --help lists them all\n", argv[1]);
    return EX_USAGE;
}

/*
 * A standard descriptor that was closed would be given to the first file that is opened, a journal
 * perhaps, and messages would go there. For reading alone: writing still fails, as it did.
 */
static void occupy_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= STDIN_FILENO && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int tollgate_main(int argc, char **argv)
{
    occupy_standard_descriptors();
    if (argc < 2) {
        (void)print_help(stderr);
        return EX_USAGE;
    }
    if (is_help(argv[1])) {
        return print_help(stdout);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        print_version();
        return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        int words = words_matched(commands[i].words, argc, argv);
        if (words == 0)
            continue;
        char name[64];
        snprintf(name, sizeof(name), "tollgate %s", commands[i].words);
        argv[words] = name;
        int code = commands[i].run(argc - words, argv + words);
        /* What could not be written was not said: a full disk must not look like success. */
        if (fflush(stdout) != 0 && code == EX_OK)
            return cli_fail(EX_IOERR, name, "standard output: %s", strerror(errno));
        return code;
    }
    return refuse_unknown(argc, argv);
}

/* ---- what the commands share --------------------------------------------------------------------
 */

static error_t parse_location(int key, char *argument, struct argp_state *state)
{
    struct cli_location *location = state->input;
    switch (key) {
    case 'c':
        location->config = argument;
        return 0;
    case 's':
        location->socket = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option location_options[] = {
    {"config", 'c', "FILE", 0,
     "The configuration (else TOLLGATE_CONFIG, ./tollgate.yaml, /etc/tollgate/tollgate.yaml)", 0},
    {"socket", 's', "PATH", 0, "The node's admin socket, instead of the configuration's", 0},
    {0},
};
static const struct argp_option config_options[] = {
    {"config", 'c', "FILE", 0,
     "The configuration (else TOLLGATE_CONFIG, ./tollgate.yaml, /etc/tollgate/tollgate.yaml)", 0},
    {0},
};
const struct argp cli_location_argp = {.options = location_options, .parser = parse_location};
const struct argp cli_config_argp = {.options = config_options, .parser = parse_location};

const char *cli_config_path(const struct cli_location *location)
{
    static const char *const usual[] = {"./tollgate.yaml", "/etc/tollgate/tollgate.yaml"};
    if (location->config)
        return location->config;
    const char *environment = getenv("TOLLGATE_CONFIG");
    if (environment && environment[0] != '\0')
        return environment;
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        if (access(usual[i], F_OK) == 0)
            return usual[i];
    }
    return NULL;
}

int cli_read_link(const char *command, const char **link)
{
    static char line[LINK_BYTES_MAX + 2], more[8];
    if (strcmp(*link, "-") != 0)
        return EX_OK;
    *link = line;
    if (!fgets(line, sizeof(line), stdin))
        return cli_fail(EX_NOINPUT, command,
                        "standard input: %s; write the link there, as the only line",
                        ferror(stdin) ? strerror(errno) : "is empty");
    size_t length = strcspn(line, "\n");
    bool is_whole = line[length] == '\n' || feof(stdin);
    length = strcspn(line, "\r\n");
    line[length] = '\0';
    if (!is_whole)
        return cli_fail(EX_DATAERR, command,
                        "standard input: its first line is longer than %d "
                        "bytes; write one link there",
                        LINK_BYTES_MAX);
    if (length == 0)
        return cli_fail(EX_DATAERR, command,
                        "standard input: its first line is empty; write the "
                        "link there");
    /* Who types it is not asked for a second line. */
    if (!isatty(STDIN_FILENO) && fgets(more, sizeof(more), stdin) &&
        more[strspn(more, " \r\n")] != '\0')
        return cli_fail(EX_DATAERR, command,
                        "standard input: has more than one line; write one "
                        "link there");
    return EX_OK;
}

int cli_config_load(const char *command, const struct cli_location *location, struct config **out)
{
    *out = NULL;
    const char *path = cli_config_path(location);
    if (!path)
        return cli_fail(EX_NOINPUT, command,
                        "no configuration: give --config FILE, set TOLLGATE_CONFIG, or write "
                        "./tollgate.yaml or /etc/tollgate/tollgate.yaml");
    char error[65536]; /* a mistake in each key, told */
    int result = config_load(out, path, error, sizeof(error));
    if (result == 0)
        return EX_OK;
    fprintf(stderr, "%s\n", error); /* begins with the file and the line, as editors expect it */
    return result == -EINVAL || result == -EFBIG ? EX_CONFIG
           : result == -ENOMEM                   ? EX_SOFTWARE
                                                 : EX_NOINPUT;
}

int cli_socket_path(const char *command, const struct cli_location *location, char *path,
                    size_t size)
{
    if (location->socket) {
        int length = snprintf(path, size, "%s", location->socket);
        if (length < 0 || (size_t)length >= size || length > 107)
            return cli_fail(EX_USAGE, command, "%s: longer than a Unix socket's path may be (107)",
                            location->socket);
        return EX_OK;
    }
    struct config *config;
    int code = cli_config_load(command, location, &config);
    if (code != EX_OK)
        return code;
    check(config != NULL);
    if (config_admin_socket(config, path, size) < 0)
        code = cli_fail(EX_CONFIG, command, "state_dir %s: too long for a Unix socket in it",
                        config->state_dir);
    config_destroy(&config);
    return code;
}

int cli_fail(int exit_code, const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", command);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return exit_code;
}

void (*cli_argp_observer)(const struct argp *argp);

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    if (cli_argp_observer)
        cli_argp_observer(argp);
    error_t failure = argp_parse(argp, argc, argv, 0, NULL, input);
    if (failure != 0) /* argp itself ends the process on a wrong command line */
        exit(
            cli_fail(failure == ENOMEM ? EX_SOFTWARE : EX_USAGE, argv[0], "%s", strerror(failure)));
}
