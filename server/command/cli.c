/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's entry: main calls tollgate_main, which finds the command and runs it, or prints the
 * help or the versions. It also holds what every command_*.c needs to find its configuration and
 * its node. It does no command's work itself.
 */
#include "server/command/cli.h"

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

#include "server/base/nearest.h"
#include "server/command/server.h"
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
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* ---- help and versions ---- */

static const char help_lead[] =
    "tollgate delivers files that have been paid for: a storefront signs a link, a client\n"
    "downloads the file with it, and the account behind the link is billed for the bytes\n"
    "that arrived.\n"
    "\n"
    "Usage: tollgate COMMAND [OPTION...]\n"
    "\n"
    "Commands (tollgate COMMAND --help tells each one's options; each takes --json):\n";

static const char help_example[] =
    "\n"
    "From a file /srv/media/song.mp3 to a paid download:\n"
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
#define X(code, kind, text) fprintf(out, "  %2d  %s\n", code, text);
    CLI_EXITS(X)
#undef X
    return fflush(out) == 0
               ? EX_OK
               : cli_fail(EX_IOERR, "tollgate", "the help: %s", strerrordesc_np(errno));
}

/*
 * liburing before 2.4 does not tell its version. The name of the file that it was loaded from does,
 * once symbolic links are followed (liburing.so.2.3.0).
 */
static void write_liburing_version(char *out, size_t size)
{
    Dl_info library;
    char resolved[PATH_MAX];
    const char *version = NULL;
    void *function = dlsym(RTLD_DEFAULT, "io_uring_queue_init");
    if (function != NULL && dladdr(function, &library) != 0 &&
        realpath(library.dli_fname, resolved) != NULL)
        version = strstr(resolved, "liburing.so.");
    snprintf(out, size, "%s",
             version != NULL ? version + strlen("liburing.so.") : "(linked statically)");
}

static int print_version(bool json)
{
    char uring[64];
    write_liburing_version(uring, sizeof(uring));
    if (json) {
        json_t *value =
            json_pack("{s:s, s:i, s:i, s:s, s:s}", "version", TOLLGATE_VERSION, "journal_format",
                      LEDGER_JOURNAL_FORMAT, "functions_format", LEDGER_FUNCTIONS_FORMAT,
                      "liburing", uring, "openssl", OpenSSL_version(OPENSSL_VERSION));
        int code = cli_print_json("tollgate", value);
        json_decref(value);
        return code;
    }
    printf("tollgate %s\n", TOLLGATE_VERSION);
    printf("journal format %d, Redis function library format %d\n", LEDGER_JOURNAL_FORMAT,
           LEDGER_FUNCTIONS_FORMAT);
    printf("liburing %s, %s\n", uring, OpenSSL_version(OPENSSL_VERSION));
    return fflush(stdout) == 0
               ? EX_OK
               : cli_fail(EX_IOERR, "tollgate", "standard output: %s", strerrordesc_np(errno));
}

/* ---- finding the command ---- */

/* How many arguments from argv[1] on are the command's words, 1 or 2; 0: it is another command. */
static int words_matched(const char *words, int argc, char **argv)
{
    const char *space = strchr(words, ' ');
    size_t first = space != NULL ? (size_t)(space - words) : strlen(words);
    if (argc < 2 || strlen(argv[1]) != first || strncmp(argv[1], words, first) != 0)
        return 0;
    if (space == NULL)
        return 1;
    return argc > 2 && strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0 ||
           strcmp(word, "help") == 0;
}

static bool begins_command(const char *word, size_t index)
{
    size_t length = strlen(word);
    return strncmp(commands[index].words, word, length) == 0 &&
           commands[index].words[length] == ' ';
}

/* Prints the commands that begin with the word, as `account` does. False: none does. */
static bool print_continuations(const char *word)
{
    bool found = false;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!begins_command(word, i))
            continue;
        if (!found)
            printf("tollgate %s: the commands, each with a --help of its own:\n", word);
        printf("  tollgate %s %s\n      %s\n", commands[i].words, commands[i].usage,
               commands[i].summary);
        found = true;
    }
    return found;
}

/* Writes them into `out`: "tollgate link sign, tollgate link revoke". False: there are none. */
static bool write_continuations(const char *word, char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (begins_command(word, i) && length < size)
            length += (size_t)snprintf(out + length, size - length, "%stollgate %s",
                                       length > 0 ? ", " : "", commands[i].words);
    }
    return length > 0;
}

static int refuse_option(const char *word)
{
    static const char *const names[] = {"--help", "--version"};
    const char *near = nearest_name(word, names, sizeof(names) / sizeof(names[0]));
    if (near != NULL)
        return cli_fail(EX_USAGE, "tollgate",
                        "%s stands where the command is expected; did you mean tollgate %s?", word,
                        near);
    return cli_fail(EX_USAGE, "tollgate",
                    "%s stands where the command is expected; write the command first, as in "
                    "tollgate health %s. tollgate --help lists the commands",
                    word, word);
}

static int refuse_unknown(int argc, char **argv)
{
    const char *names[2 * COMMAND_COUNT];
    size_t count = 0;
    char firsts[COMMAND_COUNT][32], both[128], rest[512];
    if (argv[1][0] == '-')
        return refuse_option(argv[1]);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        snprintf(firsts[i], sizeof(firsts[i]), "%.*s", (int)strcspn(commands[i].words, " "),
                 commands[i].words);
        names[count++] = commands[i].words;
    }
    bool has_second = argc > 2 && argv[2][0] != '-';
    snprintf(both, sizeof(both), "%s%s%s", argv[1], has_second ? " " : "",
             has_second ? argv[2] : "");
    const char *near = has_second ? nearest_name(both, names, count) : NULL;
    if (near == NULL && write_continuations(argv[1], rest, sizeof(rest))) {
        if (has_second)
            return cli_fail(EX_USAGE, "tollgate",
                            "%s is not a command; %s is followed by one of %s", both, argv[1],
                            rest);
        return cli_fail(EX_USAGE, "tollgate", "%s needs an action; there are %s", argv[1], rest);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[count++] = firsts[i];
    near = near != NULL ? near : nearest_name(argv[1], names, count);
    if (near != NULL)
        return cli_fail(EX_USAGE, "tollgate",
                        "%s is not a command; did you mean tollgate %s? tollgate --help lists them "
                        "all",
                        strchr(near, ' ') != NULL ? both : argv[1], near);
    return cli_fail(EX_USAGE, "tollgate", "%s is not a command; tollgate --help lists them all",
                    argv[1]);
}

/*
 * Opens /dev/null for standard descriptors that are closed: the first file that is opened, a
 * journal perhaps, would get such a number, and messages would go into it. /dev/null is opened for
 * reading only, so that writing to standard output still fails, as it did.
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

static bool holds(const char *word, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], word) == 0)
            return true;
    }
    return false;
}

static int run_command(size_t index, int words, int argc, char **argv)
{
    char name[64];
    snprintf(name, sizeof(name), "tollgate %s", commands[index].words);
    argv[words] = name;
    int code = commands[index].run(argc - words, argv + words);
    /* An answer that could not be written (a full disk) must not look like success. */
    if (fflush(stdout) != 0 && code == EX_OK)
        return cli_fail(EX_IOERR, name, "standard output: %s", strerrordesc_np(errno));
    return code;
}

/* `tollgate help account open` is `tollgate account open --help`. */
static int help_of(int argc, char **argv)
{
    static char help[] = "--help";
    char *line[] = {argv[0], argv[2], argc > 3 ? argv[3] : help, argc > 3 ? help : NULL, NULL};
    return tollgate_main(argc > 3 ? 4 : 3, line);
}

int tollgate_main(int argc, char **argv)
{
    occupy_standard_descriptors();
    if (argc < 2) {
        (void)print_help(stderr);
        return EX_USAGE;
    }
    cli_set_json(holds("--json", argc, argv));
    if (is_help(argv[1]) && argc > 2 && argv[2][0] != '-')
        return help_of(argc, argv);
    if (is_help(argv[1]))
        return print_help(stdout);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return print_version(cli_wants_json());
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        int words = words_matched(commands[i].words, argc, argv);
        if (words > 0)
            return run_command(i, words, argc, argv);
    }
    if (argc > 2 && is_help(argv[2]) && print_continuations(argv[1]))
        return fflush(stdout) == 0
                   ? EX_OK
                   : cli_fail(EX_IOERR, "tollgate", "the help: %s", strerrordesc_np(errno));
    return refuse_unknown(argc, argv);
}
