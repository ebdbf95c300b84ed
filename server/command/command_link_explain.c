/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate link explain`: says what a node would answer to a link and why, claim by claim, from
 * the configuration and its key sets alone. tollgate_main calls it. It prints the decoded claims
 * but never the token. It looks up neither the account nor the file, and the output says so.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/command/cli.h"
#include "server/link/link_facts.h"
#include "server/link/trust.h"

struct explain_arguments {
    struct cli_location location;
    const char *link;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct explain_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->link != NULL)
            cli_usage(state, "one link at a time; put the URL in single quotes");
        arguments->link = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->link == NULL)
            cli_usage(state, "the link is missing; put the URL in single quotes, or give - and "
                             "write it to standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *const step_words[] = {
#define X(name, word, text) word,
    LINK_STEPS(X)
#undef X
};
static const char *const step_texts[] = {
#define X(name, word, text) text,
    LINK_STEPS(X)
#undef X
};

/* ---- times ---- */

/* Prints "in 59 minutes" or "12 minutes ago". */
static void print_relative(int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
    int64_t distance = seconds < 0 ? -seconds : seconds;
    size_t unit = 0;
    /* A unit is used from twice its length on: "90 minutes" tells more than "1 hour". */
    while (unit < 3 && distance < 2 * units[unit].seconds)
        unit++;
    int64_t count = distance / units[unit].seconds;
    if (distance == 0)
        fputs("now", stdout);
    else
        printf("%s%jd %s%s%s", seconds > 0 ? "in " : "", (intmax_t)count, units[unit].name,
               count == 1 ? "" : "s", seconds < 0 ? " ago" : "");
}

static void print_time(int64_t at, int64_t now)
{
    time_t seconds = (time_t)at;
    struct tm date;
    char text[64];
    /* Outside of the years 1970 to 9999 neither a date nor a distance tells anything. */
    if (at < 0) {
        fputs(", which is before the year 1970", stdout);
        return;
    }
    if (at > INT64_C(253402300799) || gmtime_r(&seconds, &date) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &date) == 0) {
        fputs(", which is after the year 9999", stdout);
        return;
    }
    printf(" = %s, ", text);
    print_relative(at - now);
}

/* ---- for people ---- */

/* Whether the text has neither C1 controls nor DEL, which JSON does not escape: they could steer
 * the terminal. */
static bool is_printable(const char *text)
{
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
        if (*byte == 0x7f || (*byte == 0xc2 && byte[1] < 0xa0))
            return false;
    }
    return true;
}

static void print_value(const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    if (text != NULL && !is_printable(text)) {
        free(text);
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        for (char *c = text; c != NULL && *c; c++)
            if (*c == 0x7f)
                *c = '?';
    }
    fputs(text != NULL ? text : "?", stdout);
    free(text);
}

static bool is_time(const char *name)
{
    return strcmp(name, "exp") == 0 || strcmp(name, "nbf") == 0 || strcmp(name, "iat") == 0;
}

static void print_object(const char *title, json_t *object, int64_t now)
{
    const char *name;
    const json_t *value;
    if (object == NULL) {
        printf("%s: cannot be read\n", title);
        return;
    }
    printf("%s:\n", title);
    void *iterator = json_object_iter(object);
    for (; iterator != NULL; iterator = json_object_iter_next(object, iterator)) {
        name = json_object_iter_key(iterator);
        value = json_object_iter_value(iterator);
        json_t *key = json_string(name);
        if (is_printable(name) && strpbrk(name, "\n\r\t\033\"\\") == NULL)
            printf("  %-10s ", name);
        else
            print_value(key);
        json_decref(key);
        print_value(value);
        if (is_time(name) && json_is_integer(value))
            print_time(json_integer_value(value), now);
        putchar('\n');
    }
}

static void print_steps(const struct link_facts *facts)
{
    static const char *const words[] = {"not reached", "ok", "FAILED"};
    puts("Checks:");
    for (int i = 0; i < LINK_STEP_COUNT; i++) {
        bool failed = facts->states[i] == LINK_FAILED;
        printf("  %-10s %-12s %s\n", step_words[i], words[facts->states[i]],
               failed ? refusal_text(facts->refusals[i]) : step_texts[i]);
    }
    const char *account = link_facts_string(facts->claims, "acct");
    if (facts->refusal == REFUSAL_NONE)
        printf("  %-10s %-12s `tollgate account show %s/%s` asks the node\n", "account",
               "not asked", facts->issuer->id, account);
}

static void print_for_people(const struct link_facts *facts, const json_t *hints)
{
    if (facts->states[LINK_STEP_ADDRESS] == LINK_PASSED) {
        json_t *path = json_stringn_nocheck(facts->target.path, facts->target.path_length);
        printf("Path: ");
        print_value(path);
        putchar('\n');
        json_decref(path);
    }
    if (facts->states[LINK_STEP_ADDRESS] == LINK_PASSED && facts->target.package != NULL) {
        print_object("Header", facts->header, facts->now);
        print_object("Claims", facts->claims, facts->now);
    }
    print_steps(facts);
    if (facts->refusal == REFUSAL_NONE)
        puts("Verdict: admitted by the token's checks; the file, the account, revocations and uses "
             "were not checked (POST /v1/links/explain on the node's admin socket checks them)");
    else
        printf("Verdict: %u %s: %s\n", refusal_status(facts->refusal), refusal_name(facts->refusal),
               refusal_text(facts->refusal));
    for (size_t i = 0; i < json_array_size(hints); i++)
        printf("Hint: %s\n", json_string_value(json_array_get(hints, i)));
}

static int print_for_programs(const char *command, const struct link_facts *facts, json_t *hints)
{
    json_t *report = link_report(facts, hints);
    int code = cli_print_json(command, report);
    json_decref(report);
    return code;
}

static int explain(const char *command, const struct explain_arguments *arguments,
                   const struct config *config, const struct token_trust *trust)
{
    struct link_facts *facts;
    int result = link_facts_create(&facts, config, trust, arguments->link, (int64_t)time(NULL));
    if (result == -EINVAL) /* the message does not repeat it, as it may be a token */
        return cli_fail(
            EX_DATAERR, command,
            "this is not a link; give the whole URL in single quotes, or for a bare token "
            "'/FILE?%s=TOKEN'",
            config->token_attribute);
    if (result < 0)
        return cli_fail(EX_SOFTWARE, command, "%s", strerrordesc_np(-result));
    json_t *hints = link_hints(facts);
    int code = EX_OK;
    if (cli_wants_json())
        code = print_for_programs(command, facts, hints);
    else
        print_for_people(facts, hints);
    if (code == EX_OK && facts->refusal != REFUSAL_NONE)
        code = CLI_EXIT_NO;
    json_decref(hints);
    link_facts_destroy(&facts);
    return code;
}

int command_link_explain(int argc, char **argv)
{
    static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
    static const struct argp argp = {
        .parser = parse,
        .args_doc = "URL | -",
        .doc = "Checks the link's token against this configuration, and says what is wrong with "
               "it. It does not ask a node, so it knows nothing about the file, the account, "
               "revocations and uses. For - it reads the link from standard input, since everybody "
               "on this machine sees the arguments.",
        .children = children,
    };
    struct explain_arguments arguments = {0};
    cli_parse(&argp, argc, argv, &arguments);
    struct config *config;
    int code = cli_config_load(argv[0], &arguments.location, &config);
    if (code != EX_OK)
        return code;
    code = cli_read_link(argv[0], &arguments.link);
    if (code != EX_OK) {
        config_destroy(&config);
        return code;
    }
    char error[2048];
    struct token_trust *trust;
    if (trust_load(config, &trust, NULL, error, sizeof(error)) < 0) {
        code = cli_fail(EX_CONFIG, argv[0], "%s: %s", cli_config_path(&arguments.location), error);
    } else {
        code = explain(argv[0], &arguments, config, trust);
        token_trust_drop(&trust);
    }
    config_destroy(&config);
    return code;
}
