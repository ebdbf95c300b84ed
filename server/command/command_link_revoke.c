/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate link revoke`: ends a link, by its URL or by account and jti, or all links of an account
 * that were issued before an instant. tollgate_main calls it. It asks a running node, never Redis:
 * the node journals a revocation before it acknowledges it, so that it cannot be lost and reaches
 * every node.
 */
#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/command/cli.h"
#include "server/command/command_admin.h"

enum { OPTION_JTI = 256, OPTION_BEFORE };

struct arguments {
    struct cli_location location;
    struct account_name name;
    const char *link, *jti, *before; /* borrow argv */
};

static const struct argp_option options[] = {
    {"jti", OPTION_JTI, "ID", 0, "The link of ISSUER/NAME with this jti", 0},
    {"issued-before", OPTION_BEFORE, "TIME", 0,
     "All links of ISSUER/NAME whose iat is earlier, or absent: seconds since 1970, or "
     "2026-11-25T10:00:00Z; or now, for all that are in use, see below",
     0},
    {0},
};

static bool is_link(const char *text)
{
    return text[0] == '/' || strcmp(text, "-") == 0 || strstr(text, "://") != NULL;
}

/* Whether a message may repeat the text: no token is so short. */
static bool is_jti(const char *text)
{
    return strlen(text) < 64 && strchr(text, '/') == NULL;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->name;
        state->child_inputs[1] = &arguments->location;
        return 0;
    case OPTION_JTI:
        arguments->jti = argument;
        return 0;
    case OPTION_BEFORE:
        arguments->before = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0 && is_jti(argument))
            cli_surplus(state, argument, "jti", NULL);
        else if (state->arg_num > 0) /* the message does not repeat it, as it may be a token */
            cli_usage(state,
                      "there is more than one link or account; name one at a time, and put a "
                      "URL in single quotes");
        else if (is_link(argument))
            arguments->link = argument;
        else
            arguments->name.both = argument;
        return 0;
    case ARGP_KEY_END:
        if ((arguments->link != NULL) + (arguments->jti != NULL) + (arguments->before != NULL) != 1)
            cli_usage(state,
                      "%s; give one of a URL in single quotes, ISSUER/NAME --jti ID, and "
                      "ISSUER/NAME --issued-before TIME",
                      arguments->link != NULL || arguments->jti != NULL || arguments->before
                          ? "more than one thing is to be revoked"
                          : "what is to be revoked is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {ACCOUNT_NAME_CHILD, CLI_LOCATION_CHILD, {0}};
static const struct argp revoke_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "URL | -\nISSUER/NAME --jti ID\nISSUER/NAME --issued-before TIME",
    .doc =
        "Revokes links, on every node; downloads under way are cut. For - it reads the link from "
        "standard input, since everybody on this machine sees the arguments."
        "\v"
        "  tollgate link revoke 'https://media.example/song.mp3?URISigningPackage=...'\n"
        "  tollgate link revoke shop/alice --jti order-1\n"
        "  tollgate link revoke shop/alice --issued-before now\n"
        "\n"
        "`--issued-before now` also revokes links whose signer's clock runs ahead by up to a "
        "minute "
        "plus nbf_leeway_s. So it also revokes links that are signed for the account during the "
        "next minute; links that are signed from the printed time on are good again.\n"
        "\n"
        "--jti revokes all links with that jti, for twice link_lifetime_max_s. Revoke a link that "
        "was signed for longer than link_lifetime_max_s by its URL.\n"
        "\n"
        "To stop an account as a whole: `tollgate account suspend`.",
    .children = children,
};

/* Makes the target, and the body for the caller to drop. EX_OK, or an exit code with a message. */
static int make_request(const char *command, struct arguments *arguments,
                        char target[ACCOUNT_TARGET_SIZE], json_t **body)
{
    if (arguments->link != NULL) {
        (void)snprintf(target, ACCOUNT_TARGET_SIZE, "/v1/links/revoke");
        *body = json_pack("{s:s}", "url", arguments->link);
        return *body != NULL ? EX_OK
                             : cli_fail(EX_DATAERR, command,
                                        "the URL is not UTF-8; give the link as it was signed");
    }
    int code = account_name_settle(command, &arguments->name);
    if (code != EX_OK)
        return code;
    account_name_target(&arguments->name, "/revoke", target);
    if (arguments->jti != NULL) {
        *body = json_pack("{s:s}", "jti", arguments->jti);
        return *body != NULL ? EX_OK
                             : cli_fail(EX_USAGE, command,
                                        "--jti is not UTF-8; give the jti as it was signed");
    }
    if (strcmp(arguments->before, "now") == 0) { /* the node knows how far ahead an iat may be */
        *body = json_pack("{s:b}", "issued_by_now", true);
        return *body != NULL ? EX_OK : cli_fail(EX_SOFTWARE, command, "out of memory");
    }
    int64_t before = command_read_time(arguments->before);
    if (before <= 0)
        return cli_fail(
            EX_USAGE, command,
            "--issued-before %s is not a time; write now, seconds since 1970, or a time such as "
            "2026-11-25T10:00:00Z",
            arguments->before);
    *body = json_pack("{s:I}", "issued_before", (json_int_t)before);
    return *body != NULL ? EX_OK : cli_fail(EX_SOFTWARE, command, "out of memory");
}

static void print_before(int64_t instant)
{
    char date[64];
    time_t seconds = (time_t)instant;
    struct tm broken_down;
    printf(" issued before %lld", (long long)instant);
    if (gmtime_r(&seconds, &broken_down) != NULL &&
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &broken_down) > 0)
        printf(" (%s); those that are signed from then on are good", date);
}

static void print_revoked(const json_t *answer)
{
    printf("revoked: ");
    if (json_object_get(answer, "issued_before") != NULL)
        printf("all links of %s/", command_text(answer, "issuer"));
    else
        printf("a link of %s/", command_text(answer, "issuer"));
    command_print_text(stdout, command_text(answer, "account"));
    if (json_object_get(answer, "jti") != NULL) {
        printf(", jti ");
        command_print_text(stdout, command_text(answer, "jti"));
    }
    if (json_object_get(answer, "issued_before") != NULL)
        print_before(command_number(answer, "issued_before"));
    puts(json_is_true(json_object_get(answer, "pending"))
             ? "; journalled, and told to the nodes once Redis answers"
             : "");
}

int command_link_revoke(int argc, char **argv)
{
    struct arguments arguments = {0};
    char target[ACCOUNT_TARGET_SIZE];
    json_t *body = NULL, *answer = NULL;
    unsigned status = 0;
    cli_parse(&revoke_argp, argc, argv, &arguments);
    int code = arguments.link != NULL ? cli_read_link(argv[0], &arguments.link) : EX_OK;
    if (code == EX_OK)
        code = make_request(argv[0], &arguments, target, &body);
    if (code == EX_OK)
        code = command_call(argv[0], &arguments.location, "POST", target, body, &status, &answer);
    if (code == EX_OK && status >= 300)
        code = command_refused(argv[0], status, answer);
    else if (code == EX_OK && cli_wants_json())
        code = cli_print_json(argv[0], answer);
    else if (code == EX_OK)
        print_revoked(answer);
    if (code == EX_OK && json_is_false(json_object_get(answer, "account_open")))
        cli_warn(argv[0], "the account %s/%s is not open; look whether the name is right",
                 command_text(answer, "issuer"), command_text(answer, "account"));
    json_decref(body);
    json_decref(answer);
    return code;
}
