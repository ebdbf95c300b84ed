/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all commands have in common: the program's own table of commands is walked, and each one is
 * given the same question or the same mistake. The answer, its form as JSON and the exit code must
 * agree. What a command does is tested in its own file.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "server/command/cli.h"
#include "tests/unit/command/fixture.h"

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
    {"ledger reconcile", ""},
    {"ledger release", "shop/alice"},
    {"ledger inspect", ""},
    {"ledger status", ""},
    {"ledger verify", ""},
    {"ledger replay", "state"},
    {"node list", ""},
    {"node retire", "state"},
    {"node drain", ""},
    {"download list", "shop/alice"},
    {"download show", "a-1-17"},
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

/* The error that --json printed. Each line of standard error must be an object with one member. */
static json_t *error_of(const char *what)
{
    json_t *found = NULL;
    char text[sizeof(cli_err)], *rest;
    strcpy(text, cli_err);
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
    if (cli_out[0] != '\0') {
        json_error_t why;
        json_t *answer = json_loads(cli_out, JSON_REJECT_DUPLICATES, &why);
        cr_expect_not_null(answer, "%s: %s: %s", what, why.text, cli_out);
        cr_expect(code == EX_OK || code == CLI_EXIT_NO, "%s: %d", what, code);
        cr_expect_null(error, "%s: %s", what, cli_err);
        json_decref(answer);
        return;
    }
    cr_assert_not_null(error, "%s: %d, and neither an answer nor an error: %s", what, code,
                       cli_err);
    cr_expect_eq(json_integer_value(json_object_get(error, "exit_code")), code, "%s", cli_err);
    cr_expect_str_eq(json_string_value(json_object_get(error, "kind")), kind_of(code), "%s",
                     cli_err);
    cr_expect_str_not_empty(json_string_value(json_object_get(error, "message")), "%s", cli_err);
    const char *command = json_string_value(json_object_get(error, "command"));
    cr_expect_eq(strncmp(command, "tollgate", 8), 0, "%s", cli_err);
    json_decref(error);
}

static void expect_error(int code, int expected, const char *words, const char *cure)
{
    char command[64];
    snprintf(command, sizeof(command), "tollgate %s", words);
    cr_expect_eq(code, expected, "%s: %d, %s", words, code, cli_err);
    cr_expect_str_empty(cli_out, "%s: %s", words, cli_out);
    json_t *error = error_of(words);
    cr_assert_not_null(error, "%s: %s", words, cli_err);
    const char *told = json_string_value(json_object_get(error, "cure"));
    cr_expect_str_eq(json_string_value(json_object_get(error, "command")), command);
    cr_expect_not_null(told, "%s: no cure in %s", words, cli_err);
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
        cr_expect_eq(cli_run_line("%s --help", words), EX_OK, "%s", cli_err);
        EXPECT_IN(cli_out, usage);
        EXPECT_IN(cli_out, "--json");
        cr_expect_str_empty(cli_err, "%s", cli_err);
        cr_expect_eq(cli_run_line("%s -h", words), EX_OK, "%s", cli_err);
        EXPECT_IN(cli_out, usage);
        cr_expect_eq(cli_run_line("help %s", words), EX_OK, "%s", cli_err);
        EXPECT_IN(cli_out, usage);
    }
    cr_expect_eq(cli_run("account", "top-up", "--help", NULL), EX_OK);
    EXPECT_NOT_IN(cli_out, "--plan");
    EXPECT_NOT_IN(cli_out, "--max-conns");
    cr_expect_eq(cli_run("account", "--help", NULL), EX_OK);
    EXPECT_IN(cli_out, "tollgate account adjust ISSUER/NAME");
}

Test(server_cli, every_action_answers_an_unknown_option_with_the_nearest)
{
    for (size_t i = 0; i < EVERY_COUNT; i++) {
        const char *words = every[i].words;
        cr_expect_eq(cli_run_line("%s --jsn", words), EX_USAGE, "%s", words);
        EXPECT_IN(cli_err, "did you mean --json?");
        expect_error(cli_run_line("%s --json --xyzzy-plugh", words), EX_USAGE, words,
                     "--help` lists");
        expect_error(cli_run_line("%s --xyzzy-plugh=1 --json", words), EX_USAGE, words,
                     "--help` lists");
        expect_error(cli_run_line("%s --json=yes", words), EX_USAGE, words, "leave out");
    }
    cr_expect_eq(
        cli_run("account", "open", "shop/alice", "--byte", "1GB", "--transactoin", "t", NULL),
        EX_USAGE);
    EXPECT_IN(cli_err, "--transactoin is not an option here; did you mean --transaction?");
    cr_expect_eq(cli_run("account", "open", "shop/alice", "-bytes", "1GB", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "did you mean --bytes?");
    cr_expect_eq(cli_run("account", "open", "shop/alice", "--bytes", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "--bytes lacks its value; write --bytes AMOUNT");
    cr_expect_eq(cli_run("account", "suspend", "shop/alice", "--plan", "prepaid", NULL), EX_USAGE);
    EXPECT_IN(cli_err, "--plan is not an option here");
    /* The word behind an option is its value, even if it looks like an option. */
    cr_expect_eq(
        cli_run("key", "generate", "--alg", "ES256", "--issuer", "x", "--iss", "--help", NULL),
        EX_OK, "%s", cli_err);
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
        cr_expect_eq(cli_run_line("%s --help", every[i].words), EX_OK);
        for (const char *help = cli_out; next_option(&help, name, value);) {
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

Test(server_cli, every_action_answers_in_json)
{
    for (size_t i = 0; i < EVERY_COUNT; i++)
        expect_json(cli_run_line("%s --json", every[i].words), every[i].words);
    for (size_t i = 0; i < EVERY_COUNT; i++)
        expect_json(cli_run_line("%s %s --json", every[i].words, every[i].complete),
                    every[i].words);
    cr_assert_eq(unlink("shop-private.jwks") + unlink("shop-public.jwks"), 0);
    cli_make_node();
    for (size_t i = 0; i < EVERY_COUNT; i++)
        expect_json(cli_run_line("%s %s --json", every[i].words, every[i].complete),
                    every[i].words);
    static const char *const others[] = {
        "--json",           "--version --json",     "srve --json",       "account --json",
        "link sing --json", "account topup --json", "--jsn serve --json"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        expect_json(cli_run_line("%s", others[i]), others[i]);
}

/* Expects the exit codes and the errors of a configuration that is missing or wrong. */
static void expect_configuration_wanted(const char *words, const char *complete)
{
    int code = cli_run_line("%s %s --config none.yaml --json", words, complete);
    cr_expect_eq(code, EX_NOINPUT, "%s: %d, %s", words, code, cli_err);
    expect_json(code, words);
    code = cli_run_line("%s %s --config broken.yaml --json", words, complete);
    cr_expect_eq(code, EX_CONFIG, "%s: %d, %s", words, code, cli_err);
    expect_json(code, words);
    json_t *error = error_of(words), *mistakes = json_object_get(error, "mistakes");
    json_t *first = json_array_get(mistakes, 0);
    cr_expect_geq(json_array_size(mistakes), 2, "%s", cli_err);
    cr_expect_str_eq(json_string_value(json_object_get(first, "file")), "broken.yaml");
    cr_expect_eq(json_integer_value(json_object_get(first, "line")), 1, "%s", cli_err);
    cr_expect_str_eq(json_string_value(json_object_get(first, "cure")), "did you mean media_root?",
                     "%s", cli_err);
    json_decref(error);
}

/* Expects that a value which cannot be read is an error of usage, for every option. */
static void expect_values_refused(void)
{
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
        "usage shop/alice --from 2026-03 --to 2026-02",
        "usage shop/alice --from 2026-13",
        "usage shop/alice --from 2026-03 --to 2026-03-31",
        "link revoke shop/alice --issued-before lunch",
        "link sign --key k --issuer shop --account alice --path /a --expires-in soon",
        "link sign --key k --issuer shop --account alice --path /a --expires-in 1h --rate fast",
        "key generate --issuer Shop! --alg ES256",
        "key generate --issuer shop --alg RS256",
        "serve --check-config --listen here",
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int code = cli_run_line("%s --json", values[i]);
        cr_expect_eq(code, EX_USAGE, "%s: %d, %s", values[i], code, cli_err);
        expect_json(code, values[i]);
        json_t *error = error_of(values[i]);
        cr_expect_str_not_empty(json_string_value(json_object_get(error, "cure")), "%s", cli_err);
        json_decref(error);
    }
}

Test(server_cli, the_same_mistake_has_the_same_exit_code_in_every_action)
{
    cli_write_text("broken.yaml", "media_rot: media\nstate_dir: state\n");
    unsigned configured = 0, located = 0;
    for (size_t i = 0; i < EVERY_COUNT; i++) {
        const char *words = every[i].words, *complete = every[i].complete;
        cr_expect_eq(cli_run_line("%s --help", words), EX_OK);
        bool has_config = strstr(cli_out, "--config") != NULL,
             has_socket = strstr(cli_out, "--socket") != NULL;
        if (has_config) {
            expect_configuration_wanted(words, complete);
            configured++;
        }
        if (has_socket) {
            expect_error(cli_run_line("%s %s --socket none.sock --json", words, complete),
                         EX_UNAVAILABLE, words, "tollgate serve");
            located++;
        }
    }
    cr_expect_geq(configured, 15);
    cr_expect_geq(located, 10);
    cli_make_node();
    expect_values_refused();
    cr_expect_eq(cli_run_line("link explain nothing"), EX_DATAERR, "%s", cli_err);
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
        {"usage shop/alice 2026-11", "did you mean --from 2026-11 or --to 2026-11?"},
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
        cr_expect_eq(cli_run_line("%s", cases[i].line), EX_USAGE, "%s: %s", cases[i].line, cli_err);
        EXPECT_IN(cli_err, cases[i].answer);
    }
    /* The error must not repeat words that may be a token. */
    cr_expect_eq(cli_run_line("link explain /a?URISigningPackage=eyJa eyJb.eyJc.x"), EX_USAGE);
    EXPECT_NOT_IN(cli_err, "eyJ");
}

Test(server_cli, keys_and_links_are_told_in_json)
{
    cr_expect_eq(cli_run_line("key generate --issuer shop --alg ES256 --json"), EX_OK, "%s",
                 cli_err);
    json_t *key = json_loads(cli_out, 0, NULL);
    cr_expect_str_eq(json_string_value(json_object_get(key, "private")), "./shop-private.jwks");
    cr_expect_str_eq(json_string_value(json_object_get(key, "keys")), "shop-public.jwks");
    json_decref(key);
    cr_expect_eq(
        cli_run_line("link sign --key shop-private.jwks --issuer shop --account alice --path "
                     "/a.mp3 --path /b.mp3 --expires-in 1h --jti auto --json"),
        EX_OK, "%s", cli_err);
    json_t *links = json_loads(cli_out, 0, NULL);
    cr_expect_eq(json_array_size(links), 2, "%s", cli_out);
    json_t *second = json_array_get(links, 1);
    cr_expect_str_eq(json_string_value(json_object_get(second, "path")), "/b.mp3");
    EXPECT_IN(json_string_value(json_object_get(second, "url")), "/b.mp3?URISigningPackage=");
    cr_expect_str_not_empty(json_string_value(json_object_get(second, "jti")));
    json_decref(links);
    /* If one link cannot be signed, none is printed, so that no program takes a part of the list
     * for the whole. */
    expect_error(
        cli_run_line("link sign --key shop-private.jwks --issuer shop --account alice --path "
                     "/a.mp3 --path b.mp3 --expires-in 1h --json"),
        EX_USAGE, "link sign", "write /b.mp3");
}
