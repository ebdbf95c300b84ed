/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger release ISSUER/NAME`: says what is wrong with an account that is set aside, tries it
 * again, or has it rebuilt from the journals. tollgate_main calls it. It asks a running node, never
 * Redis.
 */
#include <stdbool.h>
#include <stdio.h>

#include "server/command/cli.h"
#include "server/command/command_admin.h"

enum { OPTION_REBUILD = 256 };

struct arguments {
    struct cli_location location;
    struct account_name name;
    bool rebuild;
};

static const struct argp_option options[] = {
    {"rebuild", OPTION_REBUILD, NULL, 0,
     "Delete all keys of the account in Redis, and rebuild them from the journals of all nodes", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->name;
        state->child_inputs[1] = &arguments->location;
        return 0;
    case OPTION_REBUILD:
        arguments->rebuild = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {ACCOUNT_NAME_CHILD, CLI_LOCATION_CHILD, {0}};
static const struct argp release_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "ISSUER/NAME",
    .doc =
        "Releases an account that is set aside because what Redis holds of it is damaged, through "
        "a "
        "running node. Its links are refused until then (503, account_set_aside), and what was "
        "delivered stays in the journal; other accounts go on."
        "\v"
        "`tollgate health` names the accounts. Read all that Redis holds of one, and post what "
        "waits if that is in order; otherwise the command says which key is damaged, and ends with "
        "1:\n"
        "  tollgate ledger release shop/alice\n"
        "\n"
        "Where the key's contents are lost, have the account rebuilt, while every node runs:\n"
        "  tollgate ledger release shop/alice --rebuild\n"
        "\n"
        "That restores the bill, the money, the limits and the revocations exactly, since the "
        "journals hold them. What a node holds that is stopped comes in when it starts. Where the "
        "state directory of a node is lost, so is what only Redis knew of it: bring the keys back "
        "from a backup of Redis instead.\n",
    .children = children,
};

static void print_released(const json_t *answer)
{
    printf("%s/", command_text(answer, "issuer"));
    command_print_text(stdout, command_text(answer, "account"));
    if (json_is_true(json_object_get(answer, "pending")))
        printf(": %s\n", command_text(answer, "detail"));
    else if (json_is_true(json_object_get(answer, "rebuilt")))
        puts(": rebuilt from the journals");
    else if (json_is_true(json_object_get(answer, "was_set_aside")))
        puts(": released, all that the journal holds of it is in Redis");
    else
        puts(": in order, and not set aside at this node");
}

int command_ledger_release(int argc, char **argv)
{
    struct arguments arguments = {0};
    char target[ACCOUNT_TARGET_SIZE];
    json_t *body = NULL, *answer = NULL;
    unsigned status = 0;
    cli_parse(&release_argp, argc, argv, &arguments);
    int code = account_name_settle(argv[0], &arguments.name);
    if (code == EX_OK) {
        account_name_target(&arguments.name, "/release", target);
        body = json_pack("{s:b}", "rebuild", arguments.rebuild);
        code = command_call(argv[0], &arguments.location, "POST", target, body, &status, &answer);
    }
    if (code == EX_OK && status >= 300)
        code = account_refused(argv[0], &arguments.name, status, answer);
    else if (code == EX_OK && cli_wants_json())
        code = cli_print_json(argv[0], answer);
    else if (code == EX_OK)
        print_released(answer);
    json_decref(body);
    json_decref(answer);
    return code;
}
