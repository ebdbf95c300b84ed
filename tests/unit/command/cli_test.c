/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line as a person meets it: each test runs the program's own entry in a child process,
 * in a directory of its own, and checks the exit code and the output. Neither a node nor a Redis
 * runs here.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "server/base/nearest.h"
#include "server/command/cli.h"
#include "server/command/server.h"
#include "tokens/base64url_internal.h"
#include "tokens/tokens.h"

#define NOBODY 65534

static char directory[64];
static char out[65536], err[65536];
static const char *standard_input; /* of the next run; NULL: the test's own */
static bool as_nobody;             /* run as nobody from now on, because root may read everything */

static void make_directory(void)
{
    strcpy(directory, "/tmp/tollgate-cli-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    cr_assert_eq(mkdir("media", 0755), 0);
    cr_assert_eq(unsetenv("TOLLGATE_CONFIG"), 0);
}

static int remove_entry(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    (void)facts, (void)type, (void)place;
    return remove(path);
}

static void remove_directory(void)
{
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(server_cli, .init = make_directory, .fini = remove_directory);

static void read_back(const char *name, char *text, size_t size)
{
    FILE *file = fopen(name, "r");
    cr_assert_not_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* The words of a run. The program replaces entries of `arguments`; `owned` has what to free. */
static char *arguments[32], *owned[32];

static int run_owned(int count);

/* Runs `tollgate ARGUMENTS...`, which end in NULL. Returns the exit code; out and err get what
 * it printed. */
static int run(const char *first, ...)
{
    int count = 0;
    owned[count++] = strdup("tollgate");
    va_list list;
    va_start(list, first);
    for (const char *a = first; a != NULL; a = va_arg(list, const char *))
        owned[count++] = strdup(a);
    va_end(list);
    return run_owned(count);
}

/* Skips LeakSanitizer's check at exit, which would miss the threads of the process that forked. */
static void end_at_once(int code, void *unused)
{
    (void)unused;
    fflush(NULL);
    _exit(code);
}

static int run_owned(int count)
{
    memcpy(arguments, owned, sizeof(arguments));
    arguments[count] = NULL;
    if (standard_input != NULL)
        write_text("stdin.txt", standard_input);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        if (standard_input != NULL && freopen("stdin.txt", "r", stdin) == NULL)
            _exit(99);
        if (freopen("stdout.txt", "w", stdout) == NULL ||
            freopen("stderr.txt", "w", stderr) == NULL)
            _exit(99);
        if (as_nobody && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(99);
        cr_assert_eq(on_exit(end_at_once, NULL), 0);
        end_at_once(tollgate_main(count, arguments), NULL);
    }
    int status;
    standard_input = NULL;
    cr_assert_eq(waitpid(child, &status, 0), child);
    for (int i = 0; i < count; i++)
        free(owned[i]);
    read_back("stdout.txt", out, sizeof(out));
    read_back("stderr.txt", err, sizeof(err));
    cr_assert(WIFEXITED(status), "ended by signal %d: %s", WTERMSIG(status), err);
    return WEXITSTATUS(status);
}

#define EXPECT_IN(text, part)     cr_expect_not_null(strstr(text, part), "no \"%s\" in: %s", part, text)
#define EXPECT_NOT_IN(text, part) cr_expect_null(strstr(text, part), "\"%s\" in: %s", part, text)

static void make_configuration(void)
{
    write_text("tollgate.yaml",
               "media_root: media\n"
               "state_dir: state\n"
               "issuers:\n"
               "  - {id: shop, iss: shop, keys: shop-public.jwks, prefixes: [/]}\n"
               "  - {id: radio, iss: radio, keys: radio-private.jwks, prefixes: [/radio/]}\n");
}

/* Makes a configuration with an ES256 issuer "shop", and an HS256 issuer "radio" that may sign for
 * /radio/ only. */
static void make_node(void)
{
    cr_assert_eq(run("key", "generate", "--issuer", "shop", "--alg", "ES256", NULL), 0, "%s", err);
    cr_assert_eq(run("key", "generate", "--issuer", "radio", "--alg", "HS256", NULL), 0, "%s", err);
    make_configuration();
}

/* Appends lines to the configuration of make_node. */
static void configure(const char *lines)
{
    char text[4096];
    read_back("tollgate.yaml", text, sizeof(text));
    FILE *file = fopen("tollgate.yaml", "w");
    cr_assert_not_null(file);
    fprintf(file, "%s%s", lines, text);
    cr_assert_eq(fclose(file), 0);
}

/* The URL that `link sign` printed, without its newline. */
static char *sign(const char *key, const char *issuer, const char *path)
{
    int code = run("link", "sign", "--key", key, "--issuer", issuer, "--account", "alice", "--path",
                   path, "--expires-in", "1h", NULL);
    cr_assert_eq(code, 0, "%s", err);
    out[strcspn(out, "\n")] = '\0';
    return strdup(out);
}

/* A link with claims that `link sign` would not make. */
static char *sign_by_hand(const char *key, const struct token_grant *grant, const char *target)
{
    char text[8192], error[256], *jws = NULL, *link = NULL;
    struct key_set *keys;
    read_back(key, text, sizeof(text));
    cr_assert_eq(key_set_parse(&keys, text, strlen(text), error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(token_sign(keys, NULL, grant, &jws), 0);
    cr_assert_geq(asprintf(&link, "%s?URISigningPackage=%s", target, jws), 0);
    key_set_destroy(&keys);
    free(jws);
    return link;
}

/* ---- the table of commands ---- */

Test(server_cli, help_names_every_command_and_the_whole_way)
{
    static const char *const words[] = {
#define X(words, function, summary, usage) words,
        CLI_COMMANDS(X)
#undef X
    };
    cr_expect_eq(run("--help", NULL), EX_OK);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        EXPECT_IN(out, words[i]);
    EXPECT_IN(out, "to a paid download");
    EXPECT_IN(out, "Exit codes:");
    cr_expect_str_empty(err);
}

Test(server_cli, version_names_the_formats_and_libraries)
{
    cr_expect_eq(run("--version", NULL), EX_OK);
    EXPECT_IN(out, "tollgate ");
    EXPECT_IN(out, "journal format ");
    EXPECT_IN(out, "function library format ");
    EXPECT_IN(out, "liburing ");
    EXPECT_IN(out, "OpenSSL ");
}

Test(server_cli, an_unknown_command_is_answered_with_the_nearest)
{
    cr_expect_eq(run("srve", NULL), EX_USAGE);
    EXPECT_IN(err, "did you mean tollgate serve?");
    cr_expect_eq(run("link", "sing", NULL), EX_USAGE);
    EXPECT_IN(err, "did you mean tollgate link sign?");
    cr_expect_eq(run("link", NULL), EX_USAGE);
    EXPECT_IN(err, "tollgate link explain");
    cr_expect_eq(run("xyzzyxyzzy", NULL), EX_USAGE);
    EXPECT_NOT_IN(err, "did you mean");
    cr_expect_eq(run(NULL), EX_USAGE);
    EXPECT_IN(err, "Usage:");
}

Test(server_cli, the_nearest_name_is_near)
{
    static const char *const names[] = {"listen", "workers", "redis"};
    cr_expect_str_eq(nearest_name("lisetn", names, 3), "listen");
    cr_expect_str_eq(nearest_name("worker", names, 3), "workers");
    cr_expect_null(nearest_name("banana", names, 3));
    cr_expect_null(nearest_name("", names, 3));
}

/* ---- every action, by the program's own table ---- */

/* Each command, with arguments that leave nothing but the configuration missing. */
static const struct {
    const char *words, *complete;
} every[] = {
    {"serve", "--check-config"},
    {"key generate", "--issuer shop --alg ES256"},
    {"link sign", "--key no.jwks --issuer shop --account alice --path /a.mp3 --expires-in 1h"},
    {"link explain", "/a.mp3?URISigningPackage=e30.e30.e30"},
    {"link revoke", "/a.mp3?URISigningPackage=e30.e30.e30"},
    {"account open", "shop/alice --bytes 1GB"},
    {"account show", "shop/alice"},
    {"account top-up", "shop/alice --bytes 1GB"},
    {"account adjust", "shop/alice --bytes -1GB"},
    {"account limit", "shop/alice --rate 1MB"},
    {"account suspend", "shop/alice"},
    {"account activate", "shop/alice"},
    {"usage", "shop/alice"},
    {"health", ""},
    {"doctor", ""},
    {"media scan", ""},
    {"media show", "/a.mp3"},
};
#define EVERY_COUNT (sizeof(every) / sizeof(every[0]))

static const char *const table[] = {
#define X(words, function, summary, usage) words,
    CLI_COMMANDS(X)
#undef X
};

/* Runs a line of words with spaces between them. */
static int run_line(const char *format, ...)
{
    char line[1024], *rest;
    int count = 0;
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    owned[count++] = strdup("tollgate");
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        owned[count++] = strdup(word);
    return run_owned(count);
}

/* The error that --json printed. Each line of standard error must be an object with one member. */
static json_t *error_of(const char *what)
{
    json_t *found = NULL;
    char text[sizeof(err)], *rest;
    strcpy(text, err);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        json_error_t error;
        json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        cr_assert_not_null(value, "%s: %s: %s", what, error.text, line);
        cr_expect_eq(json_object_size(value), 1, "%s", line);
        json_t *member = json_object_get(value, "error");
        cr_expect(member != NULL || json_object_get(value, "warning") != NULL, "%s: %s", what,
                  line);
        if (member != NULL && found == NULL)
            found = json_incref(member);
        json_decref(value);
    }
    return found;
}

static const char *kind_of(int code)
{
#define X(number, kind, text)                                                                      \
    if (code == number)                                                                            \
        return kind;
    CLI_EXITS(X)
#undef X
    return "";
}

/* Expects an answer with exit code 0 or 1, or no answer and an error that matches the exit code. */
static void expect_json(int code, const char *what)
{
    json_t *error = error_of(what);
    if (out[0] != '\0') {
        json_error_t why;
        json_t *answer = json_loads(out, JSON_REJECT_DUPLICATES, &why);
        cr_expect_not_null(answer, "%s: %s: %s", what, why.text, out);
        cr_expect(code == EX_OK || code == CLI_EXIT_NO, "%s: %d", what, code);
        cr_expect_null(error, "%s: %s", what, err);
        json_decref(answer);
        return;
    }
    cr_assert_not_null(error, "%s: %d, and neither an answer nor an error: %s", what, code, err);
    cr_expect_eq(json_integer_value(json_object_get(error, "exit_code")), code, "%s", err);
    cr_expect_str_eq(json_string_value(json_object_get(error, "kind")), kind_of(code), "%s", err);
    cr_expect_str_not_empty(json_string_value(json_object_get(error, "message")), "%s", err);
    const char *command = json_string_value(json_object_get(error, "command"));
    cr_expect_eq(strncmp(command, "tollgate", 8), 0, "%s", err);
    json_decref(error);
}

static void expect_error(int code, int expected, const char *words, const char *cure)
{
    char command[64];
    snprintf(command, sizeof(command), "tollgate %s", words);
    cr_expect_eq(code, expected, "%s: %d, %s", words, code, err);
    cr_expect_str_empty(out, "%s: %s", words, out);
    json_t *error = error_of(words);
    cr_assert_not_null(error, "%s: %s", words, err);
    const char *told = json_string_value(json_object_get(error, "cure"));
    cr_expect_str_eq(json_string_value(json_object_get(error, "command")), command);
    cr_expect_not_null(told, "%s: no cure in %s", words, err);
    cr_expect(told == NULL || strstr(told, cure) != NULL, "%s: no \"%s\" in: %s", words, cure,
              told);
    json_decref(error);
    expect_json(code, words);
}

Test(server_cli, every_action_is_walked_by_these_tests)
{
    cr_assert_eq(EVERY_COUNT, sizeof(table) / sizeof(table[0]));
    for (size_t i = 0; i < EVERY_COUNT; i++)
        cr_expect_str_eq(every[i].words, table[i]);
}

Test(server_cli, every_action_has_a_help_of_its_own)
{
    char usage[96];
    for (size_t i = 0; i < EVERY_COUNT; i++) {
        const char *words = every[i].words;
        snprintf(usage, sizeof(usage), "Usage: tollgate %s ", words);
        cr_expect_eq(run_line("%s --help", words), EX_OK, "%s", err);
        EXPECT_IN(out, usage);
        EXPECT_IN(out, "--json");
        cr_expect_str_empty(err, "%s", err);
        cr_expect_eq(run_line("%s -h", words), EX_OK, "%s", err);
        EXPECT_IN(out, usage);
        cr_expect_eq(run_line("help %s", words), EX_OK, "%s", err);
        EXPECT_IN(out, usage);
    }
    cr_expect_eq(run("account", "top-up", "--help", NULL), EX_OK);
    EXPECT_NOT_IN(out, "--plan");
    EXPECT_NOT_IN(out, "--max-conns");
    cr_expect_eq(run("account", "--help", NULL), EX_OK);
    EXPECT_IN(out, "tollgate account adjust ISSUER/NAME");
}

Test(server_cli, every_action_answers_an_unknown_option_with_the_nearest)
{
    for (size_t i = 0; i < EVERY_COUNT; i++) {
        const char *words = every[i].words;
        cr_expect_eq(run_line("%s --jsn", words), EX_USAGE, "%s", words);
        EXPECT_IN(err, "did you mean --json?");
        expect_error(run_line("%s --json --xyzzy-plugh", words), EX_USAGE, words, "--help` lists");
        expect_error(run_line("%s --xyzzy-plugh=1 --json", words), EX_USAGE, words,
                     "--help` lists");
        expect_error(run_line("%s --json=yes", words), EX_USAGE, words, "leave out");
    }
    cr_expect_eq(run("account", "open", "shop/alice", "--byte", "1GB", "--transactoin", "t", NULL),
                 EX_USAGE);
    EXPECT_IN(err, "--transactoin is not an option here; did you mean --transaction?");
    cr_expect_eq(run("account", "open", "shop/alice", "-bytes", "1GB", NULL), EX_USAGE);
    EXPECT_IN(err, "did you mean --bytes?");
    cr_expect_eq(run("account", "open", "shop/alice", "--bytes", NULL), EX_USAGE);
    EXPECT_IN(err, "--bytes lacks its value; write --bytes AMOUNT");
    cr_expect_eq(run("account", "suspend", "shop/alice", "--plan", "prepaid", NULL), EX_USAGE);
    EXPECT_IN(err, "--plan is not an option here");
    /* The word behind an option is its value, even if it looks like an option. */
    cr_expect_eq(run("key", "generate", "--alg", "ES256", "--issuer", "x", "--iss", "--help", NULL),
                 EX_OK, "%s", err);
}

/* Takes the next option and the name of its value from a help text with lines such as
 * "  -b, --bytes=AMOUNT   How many". */
static bool next_option(const char **help, char name[static 32], char value[static 32])
{
    for (const char *line = *help; line != NULL && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *at = line + strspn(line, " ");
        at += at[0] == '-' && at[1] != '-' && strncmp(at + 2, ", ", 2) == 0 ? 4 : 0;
        if (at == line || strncmp(at, "--", 2) != 0 || strspn(line, " ") > 6)
            continue;
        size_t length = strcspn(at + 2, "=[ \n");
        snprintf(name, 32, "%.*s", (int)length, at + 2);
        at += 2 + length;
        snprintf(value, 32, "%.*s", *at == '=' ? (int)strcspn(at + 1, " ,\n") : 0, at + 1);
        *help = at;
        return true;
    }
    return false;
}

Test(server_cli, an_option_means_the_same_in_every_action)
{
    char names[64][32], values[64][32], name[32], value[32];
    size_t count = 0, again = 0;
    for (size_t i = 0; i < EVERY_COUNT; i++) {
        cr_expect_eq(run_line("%s --help", every[i].words), EX_OK);
        for (const char *help = out; next_option(&help, name, value);) {
            size_t at = 0;
            while (at < count && strcmp(names[at], name) != 0)
                at++;
            if (at < count) {
                cr_expect_str_eq(value, values[at], "--%s of %s", name, every[i].words);
                again++;
                continue;
            }
            cr_assert_lt(count, 64);
            strcpy(names[count], name);
            strcpy(values[count++], value);
        }
    }
    cr_expect_gt(count, 30);
    cr_expect_gt(again, 60);
}

Test(server_cli, sign_takes_the_issuers_id_as_the_other_commands_do)
{
    cr_assert_eq(run_line("key generate --issuer shop --iss https://shop.example --alg ES256"),
                 EX_OK);
    write_text("tollgate.yaml", out);
    FILE *file = fopen("tollgate.yaml", "a");
    cr_assert_geq(fputs("media_root: media\nstate_dir: state\n", file), 0);
    fclose(file);
    static const char *const issuers[] = {"shop", "https://shop.example"};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(
            run_line("link sign --key shop-private.jwks --issuer %s --account alice --path "
                     "/a.mp3 --expires-in 1h",
                     issuers[i]),
            EX_OK, "%s", err);
        cr_expect_eq(run("link", "explain", strtok(out, "\n"), NULL), EX_OK, "%s", out);
        EXPECT_IN(out, "\"https://shop.example\"");
    }
}

Test(server_cli, every_action_answers_in_json)
{
    for (size_t i = 0; i < EVERY_COUNT; i++)
        expect_json(run_line("%s --json", every[i].words), every[i].words);
    for (size_t i = 0; i < EVERY_COUNT; i++)
        expect_json(run_line("%s %s --json", every[i].words, every[i].complete), every[i].words);
    cr_assert_eq(unlink("shop-private.jwks") + unlink("shop-public.jwks"), 0);
    make_node();
    for (size_t i = 0; i < EVERY_COUNT; i++)
        expect_json(run_line("%s %s --json", every[i].words, every[i].complete), every[i].words);
    static const char *const others[] = {
        "--json",           "--version --json",     "srve --json",       "account --json",
        "link sing --json", "account topup --json", "--jsn serve --json"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_json(run_line("%s", others[i]), others[i]);
}

Test(server_cli, the_same_mistake_has_the_same_exit_code_in_every_action)
{
    write_text("broken.yaml", "media_rot: media\nstate_dir: state\n");
    unsigned configured = 0, located = 0;
    for (size_t i = 0; i < EVERY_COUNT; i++) {
        const char *words = every[i].words, *complete = every[i].complete;
        cr_expect_eq(run_line("%s --help", words), EX_OK);
        bool has_config = strstr(out, "--config") != NULL,
             has_socket = strstr(out, "--socket") != NULL;
        if (has_config) {
            int code = run_line("%s %s --config none.yaml --json", words, complete);
            cr_expect_eq(code, EX_NOINPUT, "%s: %d, %s", words, code, err);
            expect_json(code, words);
            code = run_line("%s %s --config broken.yaml --json", words, complete);
            cr_expect_eq(code, EX_CONFIG, "%s: %d, %s", words, code, err);
            expect_json(code, words);
            json_t *error = error_of(words), *mistakes = json_object_get(error, "mistakes");
            json_t *first = json_array_get(mistakes, 0);
            cr_expect_geq(json_array_size(mistakes), 2, "%s", err);
            cr_expect_str_eq(json_string_value(json_object_get(first, "file")), "broken.yaml");
            cr_expect_eq(json_integer_value(json_object_get(first, "line")), 1, "%s", err);
            cr_expect_str_eq(json_string_value(json_object_get(first, "cure")),
                             "did you mean media_root?", "%s", err);
            json_decref(error);
            configured++;
        }
        if (has_socket) {
            expect_error(run_line("%s %s --socket none.sock --json", words, complete),
                         EX_UNAVAILABLE, words, "tollgate serve");
            located++;
        }
    }
    cr_expect_geq(configured, 15);
    cr_expect_geq(located, 10);
    /* A value that cannot be read is an error of usage, for every option. */
    static const char *const values[] = {
        "account open shop/alice --bytes plenty",
        "account open shop/alice --bytes -1",
        "account open shop/alice --plan monthly",
        "account open shop/alice --transaction a/b",
        "account open alice",
        "account limit shop/alice --rate fast",
        "account limit shop/alice --max-conns many",
        "usage shop/alice --from yesterday",
        "usage shop/alice --from 2026-02-30",
        "usage shop/alice --from 2026-03-01 --to 2026-02-01",
        "link revoke shop/alice --issued-before lunch",
        "link sign --key k --issuer shop --account alice --path /a --expires-in soon",
        "link sign --key k --issuer shop --account alice --path /a --expires-in 1h --rate fast",
        "key generate --issuer Shop! --alg ES256",
        "key generate --issuer shop --alg RS256",
        "serve --check-config --listen here",
    };
    make_node();
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int code = run_line("%s --json", values[i]);
        cr_expect_eq(code, EX_USAGE, "%s: %d, %s", values[i], code, err);
        expect_json(code, values[i]);
        json_t *error = error_of(values[i]);
        cr_expect_str_not_empty(json_string_value(json_object_get(error, "cure")), "%s", err);
        json_decref(error);
    }
    cr_expect_eq(run_line("link explain nothing"), EX_DATAERR, "%s", err);
}

Test(server_cli, an_argument_without_its_option_is_answered_with_the_option)
{
    static const struct {
        const char *line, *answer;
    } cases[] = {
        {"account open shop/alice 1GB", "did you mean --bytes 1GB?"},
        {"account top-up shop/alice 500MB", "did you mean --bytes 500MB?"},
        {"account top-up 1GB", "did you mean --bytes 1GB?"},
        {"account top-up 1GB shop/alice", "did you mean --bytes 1GB?"},
        {"account adjust shop/alice -500MB", "did you mean --bytes -500MB?"},
        {"account adjust shop/alice -5", "did you mean --bytes -5?"},
        {"account open shop/alice bytes=1GB", "did you mean --bytes 1GB?"},
        {"account open shop/alice bytes 1GB", "did you mean --bytes AMOUNT?"},
        {"account open shop/alice postpaid", "did you mean --plan postpaid?"},
        {"account limit shop/alice 1MB", "did you mean --rate 1MB or --max-bytes 1MB?"},
        {"account show shop/alice shop/bob", "one at a time"},
        {"account show shop/alice 1GB", "write the account alone"},
        {"usage shop/alice 2026-11-01", "did you mean --from 2026-11-01 or --to 2026-11-01?"},
        {"serve tollgate.yaml", "did you mean --config tollgate.yaml?"},
        {"serve 127.0.0.1:8080", "did you mean --listen 127.0.0.1:8080?"},
        {"health /run/admin.sock", "did you mean --socket /run/admin.sock?"},
        {"key generate ES256", "did you mean --alg ES256?"},
        {"key generate shop", "did you mean --issuer shop?"},
        {"link sign /a.mp3", "did you mean --path /a.mp3?"},
        {"link sign 1h", "did you mean --expires-in 1h"},
        {"link revoke shop/alice order-1", "did you mean --jti order-1?"},
        {"doctor tollgate.yaml", "did you mean --config tollgate.yaml?"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(run_line("%s", cases[i].line), EX_USAGE, "%s: %s", cases[i].line, err);
        EXPECT_IN(err, cases[i].answer);
    }
    /* The error must not repeat words that may be a token. */
    cr_expect_eq(run_line("link explain /a?URISigningPackage=eyJa eyJb.eyJc.x"), EX_USAGE);
    EXPECT_NOT_IN(err, "eyJ");
}

Test(server_cli, keys_and_links_are_told_in_json)
{
    cr_expect_eq(run_line("key generate --issuer shop --alg ES256 --json"), EX_OK, "%s", err);
    json_t *key = json_loads(out, 0, NULL);
    cr_expect_str_eq(json_string_value(json_object_get(key, "private")), "./shop-private.jwks");
    cr_expect_str_eq(json_string_value(json_object_get(key, "keys")), "shop-public.jwks");
    json_decref(key);
    cr_expect_eq(run_line("link sign --key shop-private.jwks --issuer shop --account alice --path "
                          "/a.mp3 --path /b.mp3 --expires-in 1h --jti auto --json"),
                 EX_OK, "%s", err);
    json_t *links = json_loads(out, 0, NULL);
    cr_expect_eq(json_array_size(links), 2, "%s", out);
    json_t *second = json_array_get(links, 1);
    cr_expect_str_eq(json_string_value(json_object_get(second, "path")), "/b.mp3");
    EXPECT_IN(json_string_value(json_object_get(second, "url")), "/b.mp3?URISigningPackage=");
    cr_expect_str_not_empty(json_string_value(json_object_get(second, "jti")));
    json_decref(links);
    /* If one link cannot be signed, none is printed, so that no program takes a part of the list
     * for the whole. */
    expect_error(run_line("link sign --key shop-private.jwks --issuer shop --account alice --path "
                          "/a.mp3 --path b.mp3 --expires-in 1h --json"),
                 EX_USAGE, "link sign", "write /b.mp3");
}

/* ---- serve ---- */

Test(server_cli, check_config_says_ok_to_a_node_that_could_start)
{
    make_node();
    cr_expect_eq(run("serve", "--check-config", "--config", "tollgate.yaml", NULL), EX_OK, "%s",
                 err);
    cr_expect_str_eq(out, "tollgate.yaml: ok\n");
}

Test(server_cli, check_config_names_each_thing_that_is_missing)
{
    make_node();
    cr_assert_eq(unlink("shop-public.jwks"), 0);
    cr_assert_eq(rmdir("media"), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(err, "issuer shop: ./shop-public.jwks: No such file or directory; make one");
    EXPECT_IN(err, "media_root: ./media: No such file or directory");
    EXPECT_NOT_IN(out, "ok");
}

Test(server_cli, check_config_warns_of_a_secret_that_others_may_read)
{
    make_node();
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK);
    EXPECT_NOT_IN(err, "chmod");
    cr_assert_eq(chmod("radio-private.jwks", 0640), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK);
    EXPECT_IN(err, "warning ");
    EXPECT_IN(err, "chmod 600 ./radio-private.jwks");
}

/* Expects that --check-config refuses a configuration with these lines, with this message. */
static void expect_lacking(const char *lines, const char *message)
{
    make_configuration();
    configure(lines);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_CONFIG, "%s", lines);
    EXPECT_IN(err, message);
    EXPECT_NOT_IN(out, "ok");
}

Test(server_cli, check_config_names_what_the_machine_lacks)
{
    make_node();
    cr_assert_eq(mkdir("empty", 0755), 0);
    write_text("file", "");
    expect_lacking(
        "access_log: logs/access.log\n",
        "access_log: ./logs/access.log: its directory ./logs: No such file or directory; "
        "create the directory");
    expect_lacking("access_log: empty\n", "access_log: ./empty: is a directory; name a file in it");
    expect_lacking("access_log: file/access.log\n",
                   "access_log: ./file/access.log: ./file is not a directory; correct the path");
    expect_lacking("redis: 127.0.0.1:1\nredis_password_file: file\n",
                   "redis_password_file: ./file: is empty; name a file that holds the password");
    expect_lacking("redis: 127.0.0.1:1\nredis_password_file: empty\n",
                   "redis_password_file: ./empty: Is a directory; name a file");
    expect_lacking("listen: 192.0.2.1:8080\n",
                   "addresses: listen 192.0.2.1:8080: Cannot assign requested address; write an "
                   "address of this machine");
    expect_lacking("listen_tls: :8443\ncertificates: empty\n",
                   "certificates: ./empty: holds no certificate; put NAME.pem");
    write_text("secret", "");
    make_configuration();
    char text[4096];
    read_back("tollgate.yaml", text, sizeof(text));
    char *end = strstr(text, "prefixes: [/]}");
    cr_assert_not_null(end);
    *end = '\0';
    FILE *file = fopen("tollgate.yaml", "w");
    cr_assert_not_null(file);
    fprintf(file, "admin_listen: unix:%s/file\n%sadmin_secret_file: secret, prefixes: [/]}\n",
            directory, text);
    cr_assert_eq(fclose(file), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(err, "/file: is not a socket; move it away");
    EXPECT_IN(err, "admin_secrets: issuer shop: ./secret: is empty; `openssl rand -hex 32`");
}

/* A node writes into its state directory, so it must not be one that other programs use. */
Test(server_cli, check_config_refuses_a_state_directory_with_files_that_are_not_a_nodes)
{
    static const char *const own[] = {
        "lock",    "instance.new", "hashes", "hashes.unreadable", "journal.damaged",
        ".backup", "access.log.1"};
    char path[64];
    make_node();
    configure("access_log: state/access.log\n");
    cr_assert_eq(mkdir("state", 0700), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
    cr_assert_eq(mkdir("state/lost+found", 0700), 0);
    cr_assert_eq(mkdir("state/redis", 0700), 0);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        snprintf(path, sizeof(path), "state/%s", own[i]);
        write_text(path, "");
    }
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);

    write_text("state/passwd", "");
    write_text("state/locksmith", "");
    static const char refusal[] =
        "state_dir: ./state holds files that are not a node's (locksmith, "
        "passwd); give the node a directory of its own";
    cr_expect_eq(run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(err, refusal);
    cr_expect_eq(run("serve", NULL), EX_CONFIG);
    EXPECT_IN(err, refusal);
    cr_expect_neq(run("doctor", NULL), EX_OK);
    EXPECT_IN(out, refusal);
    cr_expect_neq(access("state/admin.sock", F_OK), 0, "the node began");

    /* A directory that has a node's instance is accepted, whatever other files lie there. */
    write_text("state/instance", "");
    cr_assert_eq(mkdir("state/journal", 0700), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
}

Test(server_cli, check_config_warns_of_values_that_have_no_effect_or_trust_everybody)
{
    make_node();
    configure("forwarded_from: 10.0.0.0/8 fc00::/7 192.0.2.1\nproxy_protocol_from: 2001:db8::/32\n"
              "accounts_max: 10\naccounts_per_issuer_max: 10\n");
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
    cr_expect_str_empty(err);
    make_configuration();
    configure("forwarded_from: 10.0.0.1, 0.0.0.0/0\nproxy_protocol_from: ::/0\n"
              "accounts_max: 10\naccounts_per_issuer_max: 11\n");
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
    EXPECT_IN(err, "forwarded_from: 0.0.0.0/0 holds clients, not only proxies");
    EXPECT_IN(err, "proxy_protocol_from: ::/0 holds clients");
    EXPECT_IN(err, "accounts_per_issuer_max: 11 has no effect, because accounts_max is 10");
    (void)run("doctor", NULL);
    EXPECT_IN(out, "forwarded_from: 0.0.0.0/0 holds clients");
    EXPECT_IN(out, "accounts_per_issuer_max: 11 has no effect");
}

Test(server_cli, check_config_names_every_key_set_that_is_wrong)
{
    make_node();
    write_text("shop-public.jwks", "{}");
    cr_assert_eq(unlink("radio-private.jwks"), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_CONFIG);
    EXPECT_IN(err, "keys: issuer shop: ./shop-public.jwks: ");
    EXPECT_IN(err, "keys: issuer radio: ./radio-private.jwks: No such file or directory; make one");
}

Test(server_cli, check_config_names_what_this_user_may_not_read_or_write)
{
    if (geteuid() != 0)
        cr_skip_test("only root may become another user");
    make_node();
    cr_assert_eq(chmod(directory, 0777), 0); /* the run writes its output there as another user */
    cr_assert_eq(mkdir("certificates", 0700), 0);
    cr_assert_eq(mkdir("above", 0755), 0);
    cr_assert_eq(mkdir("above/live", 0700), 0);
    cr_assert_eq(mkdir("logs", 0755), 0);
    cr_assert_eq(mkdir("state", 0700), 0);
    write_text("password", "x");
    write_text("old.log", "");
    cr_assert_eq(chmod("password", 0640), 0);
    cr_assert_eq(chmod("shop-public.jwks", 0600), 0);
    as_nobody = true;
    expect_lacking("listen_tls: :8443\ncertificates: certificates\n",
                   "certificates: ./certificates: Permission denied; let the node's user read it");
    expect_lacking("listen_tls: :8443\ncertificates: above\n",
                   "certificates: ./above/live: Permission denied; let the node's user read it");
    expect_lacking(
        "access_log: logs/access.log\n",
        "access_log: ./logs/access.log: its directory ./logs: Permission denied; let the "
        "node's user write there");
    expect_lacking("access_log: old.log\n",
                   "access_log: ./old.log: Permission denied; let the node's user write to it");
    expect_lacking("redis: 127.0.0.1:1\nredis_password_file: password\n",
                   "redis_password_file: ./password: Permission denied; let the node's user read");
    EXPECT_IN(err, "keys: issuer shop: ./shop-public.jwks: Permission denied; let the node's user");
    EXPECT_IN(err, "keys: issuer radio: ./radio-private.jwks: Permission denied");
    EXPECT_IN(err, "state_dir: ./state: cannot be written; let the node's user own it");
}

Test(server_cli, check_config_warns_of_a_password_that_others_may_read)
{
    make_node();
    write_text("password", "x\n");
    configure("redis: 127.0.0.1:1\nredis_password_file: password\n");
    cr_assert_eq(chmod("password", 0600), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
    cr_expect_str_empty(err, "%s", err);
    cr_assert_eq(chmod("password", 0640), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
    EXPECT_IN(err,
              "./password holds a password, and other users may read it (mode 640); run chmod 600");
}

Test(server_cli, a_wrong_configuration_is_told_with_file_and_line)
{
    write_text("bad.yaml", "media_root: media\nworkers: many\nstate_dir: state\n");
    cr_expect_eq(run("serve", "--check-config", "--config", "bad.yaml", NULL), EX_CONFIG);
    cr_expect_eq(strncmp(err, "bad.yaml:2: ", 12), 0, "%s", err);
    cr_expect_eq(run("serve", "--config", "missing.yaml", NULL), EX_NOINPUT);
    EXPECT_IN(err, "missing.yaml");
    cr_expect_eq(run("serve", "tollgate.yaml", NULL), EX_USAGE);
    EXPECT_IN(err, "did you mean --config tollgate.yaml?");
}

Test(server_cli, the_environment_names_the_configuration_where_no_option_does)
{
    make_node();
    cr_assert_eq(rename("tollgate.yaml", "other.yaml"), 0);
    cr_assert_eq(setenv("TOLLGATE_CONFIG", "other.yaml", 1), 0);
    cr_expect_eq(run("serve", "--check-config", NULL), EX_OK, "%s", err);
    cr_expect_str_eq(out, "other.yaml: ok\n");
    cr_expect_eq(run("serve", "--check-config", "--config", "no.yaml", NULL), EX_NOINPUT);
}

Test(server_cli, a_listen_address_that_is_none_is_a_wrong_command_line)
{
    make_node();
    cr_expect_eq(run("serve", "--check-config", "--listen", "here", NULL), EX_USAGE);
    EXPECT_IN(err, "--listen: here is not an address and port");
}

/* ---- key generate ---- */

static unsigned mode_of(const char *path)
{
    struct stat facts;
    cr_assert_eq(stat(path, &facts), 0, "%s is missing", path);
    return facts.st_mode & 0777;
}

Test(server_cli, a_new_key_pair_is_two_files_of_which_only_one_can_sign)
{
    umask(077); /* the node's user must be able to read the public half all the same */
    cr_assert_eq(run("key", "generate", "--issuer", "shop", "--alg", "EdDSA", NULL), EX_OK);
    cr_expect_eq(mode_of("shop-private.jwks"), 0600);
    cr_expect_eq(mode_of("shop-public.jwks"), 0644);
    EXPECT_IN(out, "issuers:\n  - id: \"shop\"\n");
    EXPECT_IN(out, "shop-public.jwks\"\n    prefixes:");
    char text[4096], secret[256];
    read_back("shop-private.jwks", text, sizeof(text));
    EXPECT_IN(text, "\"d\"");
    json_t *keys = json_loads(text, 0, NULL);
    json_t *key = json_array_get(json_object_get(keys, "keys"), 0);
    snprintf(secret, sizeof(secret), "%s", json_string_value(json_object_get(key, "d")));
    cr_assert_gt(strlen(secret), 40);
    json_decref(keys);
    EXPECT_NOT_IN(out, secret);
    read_back("shop-public.jwks", text, sizeof(text));
    EXPECT_NOT_IN(text, "\"d\"");
}

/* Expects `keys: "NAME"` in the last output, and no path of the machine. */
static void expect_key_named(const char *name)
{
    char line[512];
    snprintf(line, sizeof(line), "    keys: \"%s\"\n", name);
    EXPECT_IN(out, line);
    EXPECT_NOT_IN(out, directory);
}

#define GENERATE(...)                                                                              \
    cr_assert_eq(run("key", "generate", "--issuer", "shop", "--alg", "ES256", "--force",           \
                     __VA_ARGS__, NULL),                                                           \
                 EX_OK, "%s", err)

Test(server_cli, a_new_key_is_named_from_the_directory_of_the_configuration)
{
    char whole[128];
    cr_assert_eq(mkdir("keys", 0755), 0);
    cr_assert_eq(mkdir("conf", 0755), 0);
    GENERATE("--directory", ".");
    expect_key_named("shop-public.jwks");
    GENERATE("--directory", "keys");
    expect_key_named("keys/shop-public.jwks");
    snprintf(whole, sizeof(whole), "%s/keys", directory);
    GENERATE("--directory", whole);
    expect_key_named("keys/shop-public.jwks");
    /* No configuration is found. A relative directory is printed as it was given; an absolute one
     * that is not beneath the working directory is left out. */
    cr_assert_eq(chdir("conf"), 0);
    GENERATE("--directory", "../keys");
    expect_key_named("../keys/shop-public.jwks");
    GENERATE("--directory", whole);
    expect_key_named("shop-public.jwks");
    cr_assert_eq(chdir(".."), 0);
    /* TOLLGATE_CONFIG names the configuration, which need not exist yet. */
    cr_assert_eq(setenv("TOLLGATE_CONFIG", "conf/tollgate.yaml", 1), 0);
    GENERATE("--directory", whole);
    expect_key_named("../keys/shop-public.jwks");
    GENERATE("--private", "conf/a.jwks", "--public", "conf/b.jwks");
    expect_key_named("b.jwks");
}

Test(server_cli, the_lines_of_a_new_key_make_a_configuration_wherever_they_are_moved)
{
    char text[8192];
    cr_assert_eq(mkdir("keys", 0755), 0);
    GENERATE("--directory", "keys");
    snprintf(text, sizeof(text), "media_root: media\nstate_dir: state\n%.4096s", out);
    write_text("tollgate.yaml", text);
    cr_assert_eq(mkdir("moved", 0755), 0);
    cr_assert_eq(rename("keys", "moved/keys"), 0);
    cr_assert_eq(rename("media", "moved/media"), 0);
    cr_assert_eq(rename("tollgate.yaml", "moved/tollgate.yaml"), 0);
    cr_expect_eq(run("serve", "--check-config", "--config", "moved/tollgate.yaml", NULL), EX_OK,
                 "%s", err);
}

Test(server_cli, a_shared_secret_is_one_file)
{
    cr_assert_eq(run("key", "generate", "--issuer", "radio", "--alg", "HS256", NULL), EX_OK);
    cr_expect_eq(mode_of("radio-private.jwks"), 0600);
    cr_expect_eq(access("radio-public.jwks", F_OK), -1);
    EXPECT_IN(out, "radio-private.jwks\"");
}

Test(server_cli, a_key_is_not_overwritten_without_force)
{
    char before[4096], after[4096];
    make_node();
    read_back("shop-private.jwks", before, sizeof(before));
    cr_expect_eq(run("key", "generate", "--issuer", "shop", "--alg", "ES256", NULL), EX_CANTCREAT);
    EXPECT_IN(err, "--force");
    cr_assert_eq(unlink("shop-private.jwks"), 0);
    cr_expect_eq(run("key", "generate", "--issuer", "shop", "--alg", "ES256", NULL), EX_CANTCREAT);
    cr_expect_eq(access("shop-private.jwks", F_OK), -1, "half a pair was written");
    cr_expect_eq(run("key", "generate", "--issuer", "shop", "--alg", "ES256", "--force", NULL),
                 EX_OK, "%s", err);
    read_back("shop-private.jwks", after, sizeof(after));
    cr_expect_str_neq(before, after);
}

Test(server_cli, key_options_that_contradict_are_refused)
{
    cr_expect_eq(run("key", "generate", "--issuer", "Shop!", "--alg", "ES256", NULL), EX_USAGE);
    EXPECT_IN(err, "not a short name");
    cr_expect_eq(run("key", "generate", "--issuer", "shop", "--alg", "RS256", NULL), EX_USAGE);
    EXPECT_IN(err, "give ES256, EdDSA or HS256");
    cr_expect_eq(run("key", "generate", "--issuer", "s", "--alg", "HS256", "--private", "a",
                     "--public", "b", NULL),
                 EX_USAGE);
    EXPECT_IN(err, "no public half");
    cr_expect_eq(
        run("key", "generate", "--issuer", "s", "--alg", "ES256", "--directory", "nowhere", NULL),
        EX_CANTCREAT);
    EXPECT_IN(err, "create the directory first");
}

/* ---- link sign ---- */

Test(server_cli, a_signed_link_is_admitted_and_percent_encoded)
{
    make_node();
    char *link = sign("shop-private.jwks", "shop", "/a b/\xc3\xa9?#.mp3");
    EXPECT_IN(link, "http://127.0.0.1:8080/a%20b/%C3%A9%3F%23.mp3?URISigningPackage=ey");
    cr_expect_eq(run("link", "explain", link, NULL), EX_OK, "%s", out);
    EXPECT_IN(out, "Verdict: admitted");
    EXPECT_IN(out, "not asked");
    EXPECT_IN(out, "tollgate account show shop/alice");
    EXPECT_NOT_IN(out, strstr(link, "=ey") + 1);
    free(link);
}

Test(server_cli, several_paths_give_several_links_with_ids_of_their_own)
{
    make_node();
    cr_assert_eq(run("link", "sign", "--key", "radio-private.jwks", "--issuer", "radio",
                     "--account", "a", "--path", "/radio/1", "--path", "/radio/2", "--jti", "auto",
                     "--expires-in", "7d", "--origin", "https://cdn.example", NULL),
                 EX_OK, "%s", err);
    char *first = strdup(out), *second = strchr(first, '\n') + 1, jti[2][64];
    second[-1] = '\0';
    second[strcspn(second, "\n")] = '\0';
    const char *const links[] = {first, second};
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(strncmp(links[i], "https://cdn.example/radio/", 26), 0, "%s", links[i]);
        cr_assert_eq(run("link", "explain", "--json", links[i], NULL), EX_OK, "%s", out);
        json_t *report = json_loads(out, 0, NULL);
        const json_t *claims = json_object_get(report, "claims");
        snprintf(jti[i], sizeof(jti[i]), "%s", json_string_value(json_object_get(claims, "jti")));
        json_decref(report);
        cr_expect_eq(strlen(jti[i]), 32);
    }
    cr_expect_str_neq(jti[0], jti[1]);
    free(first);
}

Test(server_cli, a_prefix_link_opens_the_directory_and_nothing_beside_it)
{
    make_node();
    cr_assert_eq(run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop", "--account",
                     "a", "--path", "/album/", "--prefix", "--expires-in", "15m", NULL),
                 EX_OK, "%s", err);
    out[strcspn(out, "\n")] = '\0';
    char inside[4096], outside[4096];
    const char *package = strchr(out, '?');
    snprintf(inside, sizeof(inside), "/album/1.mp3%s", package);
    snprintf(outside, sizeof(outside), "/other/1.mp3%s", package);
    cr_expect_eq(run("link", "explain", inside, NULL), EX_OK);
    cr_expect_eq(run("link", "explain", outside, NULL), CLI_EXIT_NO);
    EXPECT_IN(out, "403 out_of_container");
}

Test(server_cli, a_link_that_no_node_would_admit_is_not_signed)
{
    static const char *const paths[] = {"/a/../b", "/a\\b", "/a\nb", "relative"};
    make_node();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int code = run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                       "--account", "a", "--path", paths[i], "--expires-in", "1h", NULL);
        cr_expect(code == EX_DATAERR || code == EX_USAGE, "%s: %d", paths[i], code);
        cr_expect_str_empty(out);
    }
}

Test(server_cli, signing_says_what_is_wrong_with_the_key)
{
    make_node();
#define SIGN_WITH(...)                                                                             \
    run("link", "sign", "--issuer", "shop", "--account", "a", "--path", "/x", __VA_ARGS__, NULL)
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "shop-public.jwks"), EX_DATAERR);
    EXPECT_IN(err, "is it the public key set?");
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "shop-private.jwks", "--kid", "no"),
                 EX_DATAERR);
    EXPECT_IN(err, "has no key no that can sign; it has:");
    EXPECT_IN(err, "(ES256)");
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "missing.jwks"), EX_NOINPUT);
    cr_expect_eq(SIGN_WITH("--expires-in", "1h", "--key", "tollgate.yaml"), EX_DATAERR);
    cr_expect_eq(SIGN_WITH("--expires-in", "3600", "--key", "shop-private.jwks"), EX_USAGE);
    EXPECT_IN(err, "it is not a duration; give a number and a unit");
    cr_expect_eq(SIGN_WITH("--expires-in", "0s", "--key", "shop-private.jwks"), EX_USAGE);
    cr_expect_eq(
        SIGN_WITH("--expires-in", "1m", "--not-before", "2m", "--key", "shop-private.jwks"),
        EX_USAGE);
    EXPECT_IN(err, "would never open");
#undef SIGN_WITH
}

#define SIGN(...)                                                                                  \
    run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop", "--account", "alice",    \
        __VA_ARGS__, NULL)

Test(server_cli, a_link_begins_with_the_origin_of_the_configuration_that_is_found)
{
    make_node();
    write_text("media/x.mp3", "x");
    configure("public_origin: https://media.example\ntoken_attribute: ticket\n");
    cr_assert_eq(SIGN("--path", "/x.mp3", "--expires-in", "1h"), EX_OK, "%s", err);
    EXPECT_IN(out, "https://media.example/x.mp3?ticket=ey");
    cr_expect_str_empty(err);
    cr_assert_eq(
        SIGN("--path", "/x.mp3", "--expires-in", "1h", "--origin", "http://a", "--attribute", "b"),
        EX_OK, "%s", err);
    EXPECT_IN(out, "http://a/x.mp3?b=ey");
    cr_assert_eq(rename("tollgate.yaml", "other.yaml"), 0);
    cr_assert_eq(SIGN("--path", "/x.mp3", "--expires-in", "1h"), EX_OK, "%s", err);
    EXPECT_IN(out, "http://127.0.0.1:8080/x.mp3?URISigningPackage=ey");
    cr_expect_str_empty(err);
    cr_assert_eq(SIGN("--path", "/x.mp3", "--expires-in", "1h", "--config", "other.yaml"), EX_OK);
    EXPECT_IN(out, "https://media.example/x.mp3?ticket=ey");
}

Test(server_cli, a_configuration_that_is_wrong_ends_the_signing_only_where_it_was_asked_for)
{
    make_node();
    configure("workers: many\n");
    cr_expect_eq(SIGN("--path", "/x", "--expires-in", "1h"), EX_OK);
    EXPECT_IN(out, "http://127.0.0.1:8080/x?");
    EXPECT_IN(err, "tollgate.yaml:1: workers: ");
    EXPECT_IN(err, "nothing is taken from this configuration");
    cr_expect_eq(SIGN("--path", "/x", "--expires-in", "1h", "--config", "tollgate.yaml"),
                 EX_CONFIG);
    cr_expect_str_empty(out);
    cr_expect_eq(SIGN("--path", "/x", "--expires-in", "1h", "--config", "none.yaml"), EX_NOINPUT);
}

Test(server_cli, signing_warns_of_what_the_node_will_refuse)
{
    make_node();
    cr_assert_eq(mkdir("media/album", 0755), 0);
    write_text("media/album/x.mp3", "x");
    write_text("media/.secret", "x");
    configure("link_lifetime_max_s: 1h\n");
    const struct {
        const char *path, *expires, *more[2], *warning;
    } rows[] = {
        {"/album/x.mp3", "1h", {0}, NULL},
        {"/album/x.mp3", "61m", {0}, "give --expires-in 3600s at most"},
        {"/album/x.mp3", "2h", {"--not-before", "1h"}, NULL},
        {"/album/x.mp3", "4h", {"--not-before", "2h"}, "the link lives 7200 seconds"},
        {"/album/x.mp3", "1h", {"--resume", "2h"}, "give --resume 3600s at most"},
        {"/album/y.mp3", "1h", {0}, "there is no such file beneath ./media"},
        {"/album/x.mp3/y", "1h", {0}, "there is no such file beneath ./media"},
        {"/album", "1h", {0}, "there is no such file beneath ./media"},
        {"/.secret", "1h", {0}, "never serves a name that begins with a dot"},
        {"/album/x.mp3", "1h", {"--audience", "cdn"}, "with 403 audience_mismatch"},
        {"/album/x.mp3", "1h", {"--account", "bob"}, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(SIGN("--path", rows[i].path, "--expires-in", rows[i].expires, rows[i].more[0],
                          rows[i].more[1]),
                     EX_OK, "%s", err);
        EXPECT_IN(out, "?URISigningPackage=ey");
        if (rows[i].warning != NULL)
            EXPECT_IN(err, rows[i].warning);
        else
            cr_expect_str_empty(err, "%s", err);
    }
    cr_expect_eq(SIGN("--path", "/album/", "--prefix", "--expires-in", "1h"), EX_OK);
    cr_expect_str_empty(err, "%s", err);
    cr_expect_eq(SIGN("--path", "/", "--prefix", "--expires-in", "1h"), EX_OK);
    cr_expect_str_empty(err, "%s", err);
    cr_expect_eq(SIGN("--path", "/elsewhere/", "--prefix", "--expires-in", "1h"), EX_OK);
    EXPECT_IN(err, "there is no such directory beneath ./media");
    cr_expect_eq(run("link", "sign", "--key", "radio-private.jwks", "--issuer", "radio",
                     "--account", "a", "--path", "/album/x.mp3", "--expires-in", "1h", NULL),
                 EX_OK);
    EXPECT_IN(err, "with 403 out_of_issuer_paths");
    EXPECT_NOT_IN(err, "ey");
}

Test(server_cli, paths_and_the_key_are_read_from_standard_input)
{
    char key[4096];
    make_node();
    read_back("shop-private.jwks", key, sizeof(key));
    standard_input = key;
    cr_expect_eq(run("link", "sign", "--key", "-", "--issuer", "shop", "--account", "a", "--path",
                     "/x", "--expires-in", "1h", NULL),
                 EX_OK, "%s", err);
    EXPECT_IN(out, "/x?URISigningPackage=ey");
    standard_input = "/one\r\n\n/two words\n/three";
    cr_expect_eq(SIGN("--path", "/zero", "--path", "-", "--expires-in", "1h"), EX_OK, "%s", err);
    static const char *const parts[] = {"/zero?", "\nhttp://127.0.0.1:8080/one?", "/two%20words?",
                                        "/three?"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        EXPECT_IN(out, parts[i]);
    standard_input = "";
    cr_expect_eq(SIGN("--path", "-", "--expires-in", "1h"), EX_NOINPUT);
    EXPECT_IN(err, "standard input: it holds no path");
    standard_input = "";
    cr_expect_eq(run("link", "sign", "--key", "-", "--issuer", "shop", "--account", "a", "--path",
                     "/x", "--expires-in", "1h", NULL),
                 EX_DATAERR);
    EXPECT_IN(err, "standard input: ");
    cr_expect_eq(run("link", "sign", "--key", "-", "--issuer", "shop", "--account", "a", "--path",
                     "-", "--expires-in", "1h", NULL),
                 EX_USAGE);
    EXPECT_IN(err, "can be read only once");
}

/* ---- link explain ---- */

/* Expects that `link explain` says this status and reason, and a hint that has `part`. */
static void expect_refused(const char *link, const char *verdict, const char *part)
{
    cr_expect_eq(run("link", "explain", link, NULL), CLI_EXIT_NO, "%s%s", out, err);
    EXPECT_IN(out, verdict);
    EXPECT_IN(out, part);
}

Test(server_cli, explain_dates_the_claims_in_utc_and_from_now)
{
    make_node();
    const int64_t now = (int64_t)time(NULL);
    struct token_grant grant = {
        .iss = "shop", .account = "a", .container = "exact:/x", .exp = now - 750};
    char *link = sign_by_hand("shop-private.jwks", &grant, "/x");
    expect_refused(link, "Verdict: 410 expired", "UTC, 12 minutes ago");
    EXPECT_IN(out, "path       ok");
    free(link);
    grant.exp = now + 18000;
    grant.nbf = now + 12600;
    link = sign_by_hand("shop-private.jwks", &grant, "/x");
    expect_refused(link, "Verdict: 403 not_yet_valid", "nbf_leeway_s");
    EXPECT_IN(out, "UTC, in 3 hours");
    free(link);
}

Test(server_cli, explain_recognises_milliseconds)
{
    make_node();
    const struct token_grant grant = {.iss = "shop",
                                      .account = "a",
                                      .container = "exact:/x",
                                      .exp = ((int64_t)time(NULL) + 3600) * 1000};
    char *link = sign_by_hand("shop-private.jwks", &grant, "/x");
    expect_refused(link, "lifetime_too_long", "exp counts milliseconds: divide by 1000");
    free(link);
}

Test(server_cli, explain_recognises_encoded_paths_in_the_wrong_place)
{
    make_node();
    const int64_t exp = (int64_t)time(NULL) + 3600;
    const struct token_grant grant = {
        .iss = "shop", .account = "a", .container = "exact:/a%20b.mp3", .exp = exp};
    char *link = sign_by_hand("shop-private.jwks", &grant, "/a%20b.mp3");
    expect_refused(link, "out_of_container", "cdniuc is percent-encoded");
    free(link);
    const struct token_grant decoded = {
        .iss = "shop", .account = "a", .container = "exact:/a b.mp3", .exp = exp};
    link = sign_by_hand("shop-private.jwks", &decoded, "/a%2520b.mp3");
    expect_refused(link, "out_of_container", "percent-encoded twice");
    free(link);
}

Test(server_cli, explain_tells_two_unicode_forms_of_one_name)
{
    make_node();
    const int64_t exp = (int64_t)time(NULL) + 3600;
    /* The path is NFC in the token and NFD on disk, as in files that come from a Mac. */
    const struct token_grant grant = {
        .iss = "shop", .account = "a", .container = "exact:/Caf\xc3\xa9.mp3", .exp = exp};
    char *link = sign_by_hand("shop-private.jwks", &grant, "/Cafe%CC%81.mp3");
    expect_refused(link, "out_of_container", "another Unicode form (NFC and NFD)");
    free(link);
    const struct token_grant album = {
        .iss = "shop", .account = "a", .container = "prefix:/Cafe\xcc\x81/", .exp = exp};
    link = sign_by_hand("shop-private.jwks", &album, "/Caf%C3%A9/x.mp3");
    expect_refused(link, "out_of_container", "another Unicode form (NFC and NFD)");
    free(link);
}

/* Signs claims that token_sign would refuse, with radio's shared secret; returns the link. */
static char *sign_claims(const char *claims)
{
    char text[4096], header[256], *link = NULL, *input = NULL, *parts[2] = {NULL, NULL};
    unsigned char secret[64], mac[32];
    size_t mac_size = 0;
    read_back("radio-private.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    const json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    const char *k = json_string_value(json_object_get(key, "k"));
    size_t secret_size = 0;
    cr_assert_eq(base64url_decode(k, strlen(k), secret, sizeof(secret), &secret_size), 0);
    snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%s\"}",
             json_string_value(json_object_get(key, "kid")));
    const char *const texts[2] = {header, claims};
    for (size_t i = 0; i < 2; i++) {
        parts[i] = calloc(1, BASE64URL_ENCODED_SIZE(strlen(texts[i])) + 1);
        base64url_encode((const unsigned char *)texts[i], strlen(texts[i]), parts[i]);
    }
    cr_assert_gt(asprintf(&input, "%s.%s", parts[0], parts[1]), 0);
    cr_assert_not_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, secret_size,
                                 (const unsigned char *)input, strlen(input), mac, sizeof(mac),
                                 &mac_size));
    char signature[64] = "";
    base64url_encode(mac, sizeof(mac), signature);
    cr_assert_gt(asprintf(&link, "/radio/x?URISigningPackage=%s.%s", input, signature), 0);
    free(parts[0]);
    free(parts[1]);
    free(input);
    json_decref(set);
    return link;
}

Test(server_cli, explain_recognises_slips_in_limits_and_a_plain_sub)
{
    static const struct {
        const char *member, *verdict, *hint;
    } rows[] = {
        {"\"max_uses\":1", "403 jti_missing", "give each purchase a jti"},
        {"\"max_uses\":\"1\",\"jti\":\"o\"", "403 claims_malformed",
         "max_uses is a whole number of 1 to 1000, without quotes"},
        {"\"rate\":0", "403 claims_malformed", "rate is a whole number"},
        {"\"pace\":0.5", "403 claims_malformed", "pace is a number of 1 to 1000"},
        {"\"filename\":\"a/b\"", "403 claims_malformed", "filename is a string"},
        {"\"jti\":7", "403 claims_malformed", "jti is a string"},
        {"\"nbf\":true", "403 claims_malformed", "nbf is a number"},
        {"\"iat\":-1", "403 claims_malformed", "iat is a number"},
        {"\"aud\":7", "403 claims_malformed", "aud is one string"},
        {"\"cdniv\":\"1\"", "403 claims_malformed", "cdniv is the integer 1"},
        {"\"cdnicrit\":\"\"", "403 claims_malformed", "cdnicrit is a string"},
        {"\"a\":1,\"a\":2", "403 claims_malformed", "the payload is not one JSON object"},
        {"\"sub\":\"alice\"", "403 subject_unsupported", "name the account in acct"},
        {"\"cdniets\":30", "403 renewal_unsupported", "Verdict"},
        {"\"cdniip\":\"x\"", "403 client_ip_unsupported", "Verdict"},
    };
    make_node();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char claims[512];
        snprintf(claims, sizeof(claims),
                 "{\"iss\":\"radio\",\"acct\":\"a\",\"cdniuc\":\"exact:/radio/x\",\"exp\":%lld,%s}",
                 (long long)time(NULL) + 60, rows[i].member);
        char *link = sign_claims(claims);
        expect_refused(link, rows[i].verdict, rows[i].hint);
        free(link);
    }
}

Test(server_cli, sign_writes_limits_that_explain_reads_back)
{
    make_node();
    cr_assert_eq(run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop", "--account",
                     "a", "--path", "/x.mp3", "--expires-in", "1h", "--jti", "order-1",
                     "--max-uses", "2", "--max-bytes", "20MB", "--rate", "64KiB", "--max-conns",
                     "8", "--resume", "1d", "--pace", "1.5", NULL),
                 EX_OK, "%s", err);
    char link[4096];
    snprintf(link, sizeof(link), "%.*s", (int)strcspn(out, "\n"), out);
    cr_expect_eq(run("link", "explain", link, NULL), EX_OK, "%s", out);
    static const char *const lines[] = {"max_uses   2", "max_bytes  20000000", "rate       65536",
                                        "max_conns  8", "resume     86400",    "pace       1.5"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        EXPECT_IN(out, lines[i]);
    static const char *const wrong[][2] = {
        {"--max-uses", "0"},   {"--max-uses", "1001"}, {"--max-bytes", "1X"}, {"--rate", "fast"},
        {"--max-conns", "-1"}, {"--resume", "86400"},  {"--pace", "0.5"},     {"--max-uses", "1x"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_eq(run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop",
                         "--account", "a", "--path", "/x.mp3", "--expires-in", "1h", "--jti", "o",
                         wrong[i][0], wrong[i][1], NULL),
                     EX_USAGE, "%s %s", wrong[i][0], wrong[i][1]);
        EXPECT_IN(err, wrong[i][0]);
    }
    cr_expect_eq(run("link", "sign", "--key", "shop-private.jwks", "--issuer", "shop", "--account",
                     "a", "--path", "/x.mp3", "--expires-in", "1h", "--max-uses", "1", NULL),
                 EX_USAGE);
    EXPECT_IN(err, "--max-uses needs --jti");
}

Test(server_cli, explain_names_the_issuers_and_paths_that_exist)
{
    make_node();
    const int64_t exp = (int64_t)time(NULL) + 3600;
    const struct token_grant stranger = {
        .iss = "nobody", .account = "a", .container = "exact:/x", .exp = exp};
    char *link = sign_by_hand("shop-private.jwks", &stranger, "/x");
    expect_refused(link, "403 issuer_unknown", "issuer shop is configured with iss shop");
    EXPECT_IN(out, "key        not reached");
    free(link);
    link = sign("radio-private.jwks", "radio", "/elsewhere");
    expect_refused(link, "out_of_issuer_paths", "issuer radio may sign for: /radio/");
    free(link);
    const struct token_grant aimed = {
        .iss = "shop", .account = "a", .container = "exact:/x", .exp = exp, .audience = "cdn"};
    link = sign_by_hand("shop-private.jwks", &aimed, "/x");
    expect_refused(link, "audience_mismatch", "leave aud out");
    free(link);
}

Test(server_cli, explain_lists_the_kids_that_exist)
{
    make_node();
    cr_assert_eq(run("key", "generate", "--issuer", "shop", "--alg", "ES256", "--private",
                     "new-private.jwks", "--public", "new-public.jwks", NULL),
                 EX_OK, "%s", err);
    char *link = sign("new-private.jwks", "shop", "/x");
    char text[4096], part[256];
    read_back("shop-public.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    const json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    snprintf(part, sizeof(part), "has the kid %s (ES256)",
             json_string_value(json_object_get(key, "kid")));
    json_decref(set);
    expect_refused(link, "403 key_unknown", part);
    free(link);
}

/* Writes radio's key set with another `k` under the same kid, as a storefront would hold it. */
static void write_key_as(const char *path, const char *k)
{
    char text[4096];
    read_back("radio-private.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    json_object_set_new(key, "k", json_string(k));
    cr_assert_eq(json_dump_file(set, path, 0), 0);
    json_decref(set);
}

Test(server_cli, explain_proves_that_the_secret_was_not_decoded)
{
    make_node();
    /* The storefront's secret is the text of the node's `k`, whose base64url it did not decode. */
    write_key_as("radio-private.jwks", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    write_key_as("storefront.jwks", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ");
    char *link = sign("storefront.jwks", "radio", "/radio/x");
    expect_refused(link, "403 bad_signature", "base64url-decode k first");
    free(link);
}

Test(server_cli, explain_tells_a_changed_token_from_a_wrong_kid)
{
    make_node();
    write_key_as("storefront.jwks", "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI");
    char *link = sign("storefront.jwks", "radio", "/radio/x");
    expect_refused(link, "403 bad_signature", "no key of ./radio-private.jwks signed this token");
    EXPECT_NOT_IN(out, "base64url-decode k");
    /* The node also has the storefront's key, but under another kid. */
    char text[4096];
    read_back("radio-private.jwks", text, sizeof(text));
    json_t *set = json_loads(text, 0, NULL);
    json_t *other = json_deep_copy(json_array_get(json_object_get(set, "keys"), 0));
    json_object_set_new(other, "kid", json_string("second"));
    json_object_set_new(other, "k", json_string("QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI"));
    json_array_append_new(json_object_get(set, "keys"), other);
    cr_assert_eq(json_dump_file(set, "radio-private.jwks", 0), 0);
    json_decref(set);
    expect_refused(link, "403 bad_signature", "the key second signed this token");
    free(link);
}

Test(server_cli, explain_reads_what_people_paste)
{
    make_node();
    expect_refused("http://x.example/a.mp3", "403 token_missing", "no parameter URISigningPackage");
    expect_refused("/a/../b?URISigningPackage=x", "400 path_invalid",
                   "a node does not correct paths: segment 2 of the path");
    expect_refused("/a?URISigningPackage=e30.e30", "403 token_malformed", "three parts");
    cr_expect_eq(run("link", "explain", "eyJhbGciOiJub25lIn0.e30.", NULL), EX_DATAERR);
    EXPECT_NOT_IN(err, "eyJ");
    cr_expect_eq(run("link", "explain", NULL), EX_USAGE);
    EXPECT_IN(err, "single quotes");
}

Test(server_cli, explain_reads_the_link_from_standard_input)
{
    char text[8192];
    make_node();
    char *link = sign("shop-private.jwks", "shop", "/x");
    standard_input = link;
    cr_expect_eq(run("link", "explain", "-", NULL), EX_OK, "%s%s", out, err);
    EXPECT_IN(out, "Verdict: admitted");
    snprintf(text, sizeof(text), "%s\r\n\n", link);
    standard_input = text;
    cr_expect_eq(run("link", "explain", "--json", "-", NULL), EX_OK, "%s%s", out, err);
    EXPECT_IN(out, "\"admitted\": true");
    snprintf(text, sizeof(text), "%s\n%s\n", link, link);
    static const char *const wrong[][2] = {{"", "is empty"}, {"\n", "first line is empty"}};
    for (size_t i = 0; i < 3; i++) {
        standard_input = i < 2 ? wrong[i][0] : text;
        int code = run("link", "explain", "-", NULL);
        cr_expect(code == EX_NOINPUT || code == EX_DATAERR, "%d", code);
        EXPECT_IN(err, i < 2 ? wrong[i][1] : "more than one line");
        EXPECT_NOT_IN(err, "ey");
    }
    /* Revoking needs a node; the error speaks of the link that was read. */
    standard_input = "";
    cr_expect_eq(run("link", "revoke", "-", NULL), EX_NOINPUT, "%s", err);
    EXPECT_IN(err, "standard input: is empty");
    free(link);
}

Test(server_cli, explain_says_when_a_link_leads_to_another_node)
{
    static const struct {
        const char *lines, *own[4], *others[4];
    } rows[] = {
        {"public_origin: https://Media.example\nlisten: :8080\n",
         {"https://media.example", "HTTPS://MEDIA.example:443", "http://localhost:8080",
          "https://media.example."},
         {"http://media.example", "https://media.example:444", "https://cdn.example",
          "http://cdn.example:8080"}},
        {"listen: :8080\n",
         {"http://127.0.0.1:8080", "http://any.example:8080", "http://[::1]:8080", ""},
         {"http://any.example", "https://any.example:8080", "http://127.0.0.1:8081"}},
        {"listen: 192.0.2.1:80\n",
         {"http://192.0.2.1", "http://user@192.0.2.1:80", ""},
         {"http://192.0.2.2", "http://localhost"}},
        {"listen: '[::1]:8080'\n", {"http://[::1]:8080", ""}, {"http://[::2]:8080"}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char link[8192];
        if (i == 0)
            make_node();
        else
            make_configuration();
        configure(rows[i].lines);
        char *signed_link = sign("shop-private.jwks", "shop", "/x");
        const char *target = strstr(signed_link, "/x?");
        for (size_t k = 0; k < 8; k++) {
            const char *origin = k < 4 ? rows[i].own[k] : rows[i].others[k - 4];
            if (origin == NULL)
                continue;
            snprintf(link, sizeof(link), "%s%s", origin, target);
            cr_expect_eq(run("link", "explain", link, NULL), EX_OK, "%s%s", out, err);
            bool told = strstr(out, "Hint: the URL begins with the origin of another node") != NULL;
            cr_expect_eq(told, k >= 4, "%s: %s", rows[i].lines, origin);
        }
        free(signed_link);
    }
}

Test(server_cli, explain_as_json_says_the_same)
{
    make_node();
    char *link = sign("radio-private.jwks", "radio", "/elsewhere");
    cr_expect_eq(run("link", "explain", link, "--json", NULL), CLI_EXIT_NO);
    json_t *report = json_loads(out, 0, NULL);
    cr_assert_not_null(report, "no JSON: %s", out);
    cr_expect(json_is_false(json_object_get(report, "admitted")));
    cr_expect_eq(json_integer_value(json_object_get(report, "status")), 403);
    cr_expect_str_eq(json_string_value(json_object_get(report, "reason")), "out_of_issuer_paths");
    cr_expect_str_eq(json_string_value(json_object_get(report, "issuer")), "radio");
    cr_expect_gt(json_array_size(json_object_get(report, "hints")), 0);
    json_decref(report);
    EXPECT_NOT_IN(out, strstr(link, "=ey") + 1);
    free(link);
}

Test(server_cli, gives_the_number_of_a_closed_standard_descriptor_to_no_other_file)
{
    char program[] = "tollgate", option[] = "--help", *words[] = {program, option, NULL};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        close(fd);
    (void)tollgate_main(2, words);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_gt(next, STDERR_FILENO);
    cr_assert_eq(write(STDERR_FILENO, "x", 1),
                 -1); /* writing there fails, so the loss is noticed */
}
