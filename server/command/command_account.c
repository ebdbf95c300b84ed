/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate account ACTION ISSUER/NAME`: opens, shows, tops up, adjusts, limits, suspends and
 * activates accounts. tollgate_main calls it. It asks a running node over its admin socket, never
 * Redis: a change that a node acknowledged is in the node's journal and cannot be lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/byte_count.h"
#include "server/base/nearest.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"

#define TRANSACTION_BYTES 16

/*
 * The actions: word, method, suffix of the path, whether it moves money, whether it needs --bytes.
 * An action's options and help are variables named after its word (open_options, open_doc).
 */
#define ACTIONS(X)                                                                                 \
    X(open, "PUT", "", true, false)                                                                \
    X(show, "GET", "", false, false)                                                               \
    X(top_up, "POST", "/top-up", true, true)                                                       \
    X(adjust, "POST", "/adjust", true, true)                                                       \
    X(limit, "PUT", "/limits", false, false)                                                       \
    X(suspend, "POST", "/suspend", false, false)                                                   \
    X(activate, "POST", "/activate", false, false)

enum action_kind {
#define X(name, method, suffix, moves_money, needs_bytes) ACTION_##name,
    ACTIONS(X)
#undef X
};

static const struct action {
    const char *method, *suffix;
    enum action_kind kind;
    bool moves_money, needs_bytes;
} actions[] = {
#define X(name, method, suffix, moves_money, needs_bytes)                                          \
    {method, suffix, ACTION_##name, moves_money, needs_bytes},
    ACTIONS(X)
#undef X
};

enum { OPTION_PLAN = 256, OPTION_ALLOW_NEGATIVE, OPTION_RATE, OPTION_MAX_BYTES, OPTION_MAX_CONNS };

struct arguments {
    struct cli_location location;
    struct account_name name;
    const char *plan, *bytes, *transaction; /* borrow argv */
    const char *limits[3];                  /* rate, max_bytes, max_conns; likewise */
    bool allow_negative;
};

/* ---- what each action takes ---- */

#define BYTES_OPTION(help)                                                                          \
    {                                                                                               \
        "bytes", 'b', "AMOUNT", 0, help ": 5000000, 500MB, 1.5GB (powers of 1000), 1GiB (of 1024)", \
        0},                                                                                         \
        {"credit", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},                                 \
    {                                                                                               \
        "balance", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0                                   \
    }
#define TRANSACTION_OPTION                                                                         \
    {                                                                                              \
        "transaction", 't', "ID", 0,                                                               \
            "Your name for this change, [A-Za-z0-9._:-]{1,64}: repeated with the same ID it is "   \
            "done once. Where it is left out, one is made and printed",                            \
            0                                                                                      \
    }
#define ORDER_DOC                                                                                  \
    "\n"                                                                                           \
    "The last order counts, at whichever node it was given. Where another one was given later, "   \
    "while this one was on its way, the command says what counts, and ends with 1.\n"
#define TRANSACTION_DOC                                                                            \
    "\n"                                                                                           \
    "The transaction makes a repeat harmless: the same ID with the same amount is done once and "  \
    "answered as the first time; with another amount it is refused."

static const struct argp_option open_options[] = {
    BYTES_OPTION("How many bytes are paid for (default: 0)"),
    {"plan", OPTION_PLAN, "PLAN", 0,
     "prepaid (the balance is a limit; the default) or postpaid (it is not)", 0},
    TRANSACTION_OPTION,
    {0},
};
static const struct argp_option top_up_options[] = {
    BYTES_OPTION("How many bytes are paid for (required)"),
    TRANSACTION_OPTION,
    {0},
};
static const struct argp_option adjust_options[] = {
    BYTES_OPTION("How many bytes to add, or with a minus sign to take away (required)"),
    {"allow-negative", OPTION_ALLOW_NEGATIVE, NULL, 0,
     "Let the balance fall below zero, which is refused otherwise", 0},
    TRANSACTION_OPTION,
    {0},
};
static const struct argp_option limit_options[] = {
    {"rate", OPTION_RATE, "AMOUNT", 0,
     "Bytes per second at each node, over all of the account's connections: 1MB, 500KiB; 0: no "
     "limit",
     0},
    {"max-bytes", OPTION_MAX_BYTES, "AMOUNT", 0,
     "How many bytes the account may receive in all; 0: no limit", 0},
    {"max-conns", OPTION_MAX_CONNS, "N", 0,
     "How many downloads the account may have at once at each node; 0: no limit", 0},
    {0},
};
static const struct argp_option no_options[] = {{0}};
#define show_options     no_options
#define suspend_options  no_options
#define activate_options no_options

static const char open_doc[] =
    "Opens an account, through a running node."
    "\v"
    "A storefront sells an order of 1 GB:\n"
    "  tollgate account open shop/alice --bytes 1GB --transaction order-1\n" TRANSACTION_DOC;
static const char show_doc[] =
    "Shows an account: plan, status, balance, what is reserved, what was "
    "used, and its limits. It asks a running node."
    "\v"
    "  tollgate account show shop/alice\n";
static const char top_up_doc[] =
    "Adds bytes that were paid for to an account, through a running node."
    "\v"
    "A storefront sells another 1 GB:\n"
    "  tollgate account top-up shop/alice --bytes 1GB --transaction order-2\n" TRANSACTION_DOC;
static const char adjust_doc[] =
    "Corrects an account's balance, up or down, through a running node."
    "\v"
    "A refund:\n"
    "  tollgate account adjust shop/alice --bytes -500MB --transaction refund-1\n" TRANSACTION_DOC;
static const char limit_doc[] =
    "Sets an account's limits, through a running node. A limit that is not given stays as it is; 0 "
    "lifts it."
    "\v"
    "No more than 1 MB/s, and four downloads at once:\n"
    "  tollgate account limit shop/alice --rate 1MB --max-conns 4\n" ORDER_DOC;
static const char suspend_doc[] = "Suspends an account, through a running node: downloads under "
                                  "way are cut, and none begins until "
                                  "it is activated again."
                                  "\v"
                                  "  tollgate account suspend shop/alice\n" ORDER_DOC;
static const char activate_doc[] = "Ends an account's suspension, through a running node."
                                   "\v"
                                   "  tollgate account activate shop/alice\n" ORDER_DOC;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->name;
        state->child_inputs[1] = &arguments->location;
        return 0;
    case 'b':
        arguments->bytes = argument;
        return 0;
    case 't':
        arguments->transaction = argument;
        return 0;
    case OPTION_ALLOW_NEGATIVE:
        arguments->allow_negative = true;
        return 0;
    case OPTION_PLAN:
        arguments->plan = argument;
        return 0;
    case OPTION_RATE:
        arguments->limits[0] = argument;
        return 0;
    case OPTION_MAX_BYTES:
        arguments->limits[1] = argument;
        return 0;
    case OPTION_MAX_CONNS:
        arguments->limits[2] = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {ACCOUNT_NAME_CHILD, CLI_LOCATION_CHILD, {0}};
static const struct argp argps[] = {
#define X(name, method, suffix, moves_money, needs_bytes)                                          \
    {.options = name##_options,                                                                    \
     .parser = parse,                                                                              \
     .args_doc = "ISSUER/NAME",                                                                    \
     .doc = name##_doc,                                                                            \
     .children = children},
    ACTIONS(X)
#undef X
};

/* ---- judging what was given ---- */

static int make_transaction(const char *command, char *out, size_t size)
{
    unsigned char random[TRANSACTION_BYTES];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return cli_fail(EX_SOFTWARE, command,
                        "the kernel gave no random bytes: %s; give --transaction ID",
                        strerrordesc_np(errno));
    }
    int length = snprintf(out, size, "cli-");
    for (size_t i = 0; i < sizeof(random); i++) {
        length += snprintf(out + length, size - (size_t)length, "%02x", random[i]);
    }
    return EX_OK;
}

/* The node's own rule, applied here so that the message can name the option that breaks it. */
static bool is_transaction(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "._:-");
    return length > 0 && length <= 64 && text[length] == '\0';
}

static int validate_arguments(const char *command, const struct action *action,
                              const struct arguments *arguments, int64_t *bytes)
{
    if (arguments->plan != NULL && strcmp(arguments->plan, "prepaid") != 0 &&
        strcmp(arguments->plan, "postpaid") != 0) {
        static const char *const plans[] = {"prepaid", "postpaid"};
        const char *near = nearest_name(arguments->plan, plans, 2);
        return cli_fail(EX_USAGE, command, "--plan %s is not a plan; %s%s%s", arguments->plan,
                        near != NULL ? "did you mean " : "write prepaid or postpaid",
                        near != NULL ? near : "", near != NULL ? "?" : "");
    }
    if (action->needs_bytes && arguments->bytes == NULL) {
        return cli_fail(EX_USAGE, command,
                        "--bytes is missing; give an amount, such as --bytes 500MB");
    }
    if (arguments->transaction != NULL && !is_transaction(arguments->transaction)) {
        return cli_fail(EX_USAGE, command,
                        "--transaction '%s' is not an ID; write 1 to 64 of letters, digits, . _ : "
                        "and -",
                        arguments->transaction);
    }
    if (arguments->bytes == NULL) {
        return EX_OK;
    }
    int failure = byte_count_read(arguments->bytes, bytes);
    if (failure != 0) {
        return cli_fail(EX_USAGE, command, "--bytes '%s' is not an amount; %s", arguments->bytes,
                        failure == -ERANGE ? "give a whole number of bytes below 2^53"
                                           : "write it as 5000000, 500MB, 1.5GB or 1GiB");
    }
    if (action->kind == ACTION_open && *bytes < 0) {
        return cli_fail(EX_USAGE, command,
                        "--bytes %s is below zero; open the account with 0 bytes or more",
                        arguments->bytes);
    }
    if (action->kind == ACTION_top_up && *bytes < 1) {
        return cli_fail(EX_USAGE, command,
                        "--bytes %s is less than 1 byte; to take bytes away, use `tollgate account "
                        "adjust`",
                        arguments->bytes);
    }
    return EX_OK;
}

static const char *const limit_names[] = {"rate", "max_bytes", "max_conns"};
static const char *const limit_flags[] = {"--rate", "--max-bytes", "--max-conns"};

/* Reads one limit. EX_OK, or an exit code after printing what is wrong with it. */
static int read_limit(const char *command, size_t index, const char *text, int64_t *out)
{
    int failure = byte_count_read(text, out);
    bool is_count = strcmp(limit_names[index], "max_conns") == 0;
    if (failure == 0 && *out >= 0 && (!is_count || *out <= UINT32_MAX)) {
        return EX_OK;
    }
    return cli_fail(EX_USAGE, command, "%s '%s' is not a limit; %s", limit_flags[index], text,
                    failure == -ERANGE || (failure == 0 && *out > 0)
                        ? "give less than 2^53 (--max-conns: 2^32)"
                    : is_count ? "write a whole number, such as 4; 0 lifts the limit"
                               : "write an amount such as 1MB, 500KiB or 1000000, without a /s; 0 "
                                 "lifts the limit");
}

/* Makes the body of `account limit`; *body stays as it is for other actions. The node sets all
 * three limits together, so those that were not given are read from it first. */
static int make_limits(const char *command, const struct action *action,
                       const struct arguments *arguments, json_t **body)
{
    bool any = false;
    if (action->kind != ACTION_limit) {
        return EX_OK;
    }
    for (size_t i = 0; i < 3; i++) {
        any = any || arguments->limits[i] != NULL;
    }
    if (!any) {
        return cli_fail(EX_USAGE, command,
                        "the limit is missing; give --rate, --max-bytes or --max-conns. 0 lifts "
                        "one, those that are left out stay");
    }
    *body = json_object();
    for (size_t i = 0; i < 3; i++) {
        int64_t amount;
        if (arguments->limits[i] == NULL) {
            continue;
        }
        int code = read_limit(command, i, arguments->limits[i], &amount);
        if (code != EX_OK) {
            return code;
        }
        (void)json_object_set_new(*body, limit_names[i], json_integer((json_int_t)amount));
    }
    char target[ACCOUNT_TARGET_SIZE];
    unsigned status = 0;
    json_t *answer = NULL;
    account_name_target(&arguments->name, "", target);
    int code = command_call(command, &arguments->location, "GET", target, NULL, &status, &answer);
    const json_t *limits = json_object_get(answer, "limits");
    if (code == EX_OK && status != 200) {
        code = account_refused(command, &arguments->name, status, answer);
    }
    for (size_t i = 0; code == EX_OK && i < 3; i++) {
        json_t *limit = json_object_get(limits, limit_names[i]);
        if (!json_is_integer(limit)) {
            code = cli_fail(EX_SOFTWARE, command,
                            "the node's answer has no %s of the account; nothing was changed",
                            limit_names[i]);
        } else if (arguments->limits[i] == NULL) {
            (void)json_object_set(*body, limit_names[i], limit);
        }
    }
    json_decref(answer);
    return code;
}

static void print_amount(const char *label, json_int_t bytes)
{
    char text[BYTE_COUNT_SIZE];
    byte_count_write(bytes, text);
    printf("%-12s %" PRIdMAX " bytes (%s)\n", label, (intmax_t)bytes, text);
}

static void print_account(const json_t *answer)
{
    printf("%-12s %s/", "account", command_text(answer, "issuer"));
    command_print_text(stdout, command_text(answer, "account"));
    putchar('\n');
    if (json_is_true(json_object_get(answer, "pending"))) {
        printf("%-12s %s\n", "pending", command_text(answer, "detail"));
    } else {
        printf("%-12s %s\n", "plan", command_text(answer, "plan"));
        printf("%-12s %s\n", "status", command_text(answer, "status"));
        print_amount("balance", command_number(answer, "balance"));
        print_amount("reserved", command_number(answer, "reserved"));
        if (json_is_integer(json_object_get(answer, "available"))) {
            print_amount("available", command_number(answer, "available"));
        }
        print_amount("used", command_number(answer, "used"));
        const json_t *limits = json_object_get(answer, "limits");
        for (size_t i = 0; i < 3; i++) {
            json_int_t limit = json_integer_value(json_object_get(limits, limit_names[i]));
            if (limit > 0 && i == 0) {
                printf("%-12s %" PRIdMAX " bytes per second\n", limit_names[i], (intmax_t)limit);
            } else if (limit > 0 && i == 1) {
                print_amount(limit_names[i], limit);
            } else if (limit > 0) {
                printf("%-12s %" PRIdMAX "\n", limit_names[i], (intmax_t)limit);
            }
        }
    }
    const char *transaction = command_text(answer, "transaction");
    if (transaction[0] != '\0') {
        bool repeated = json_is_true(json_object_get(answer, "repeated"));
        printf("%-12s %s%s\n", "transaction", transaction,
               repeated ? " (done before; nothing was done again)" : "");
    }
}

/* Makes the body of an action that moves money; *body stays as it is for other actions. */
static int make_body(const char *command, const struct action *action,
                     const struct arguments *arguments, const char *transaction, int64_t bytes,
                     json_t **body)
{
    if (!action->moves_money) {
        return EX_OK;
    }
    *body = json_pack("{s:I, s:s}", "bytes", (json_int_t)bytes, "transaction", transaction);
    if (*body != NULL && arguments->plan != NULL) {
        (void)json_object_set_new(*body, "plan", json_string(arguments->plan));
    }
    if (*body != NULL && arguments->allow_negative) {
        (void)json_object_set_new(*body, "allow_negative", json_true());
    }
    return *body != NULL ? EX_OK : cli_fail(EX_SOFTWARE, command, "out of memory");
}

static int run(const char *command, const struct action *action, const struct arguments *arguments,
               const char *transaction, int64_t bytes)
{
    char target[ACCOUNT_TARGET_SIZE];
    account_name_target(&arguments->name, action->suffix, target);
    json_t *body = NULL;
    json_t *answer = NULL;
    unsigned status = 0;
    int code = make_limits(command, action, arguments, &body);
    if (code == EX_OK) {
        code = make_body(command, action, arguments, transaction, bytes, &body);
    }
    if (code == EX_OK) {
        code = command_call(command, &arguments->location, action->method, target, body, &status,
                            &answer);
    }
    if (code == EX_OK && status >= 300) {
        code = account_refused(command, &arguments->name, status, answer);
    } else if (code == EX_OK && cli_wants_json()) {
        code = cli_print_json(command, answer);
    } else if (code == EX_OK) {
        print_account(answer);
    }
    /* The node may have done it or not. With the same ID the user can repeat it without harm. */
    if (code == EX_UNAVAILABLE && action->moves_money) {
        cli_warn(command, "whether it was done is not known; repeat it with --transaction %s",
                 transaction);
    }
    json_decref(body);
    json_decref(answer);
    return code;
}

static int act(const struct action *action, int argc, char **argv)
{
    struct arguments arguments = {0};
    char made[sizeof("cli-") + 2 * (size_t)TRANSACTION_BYTES];
    int64_t bytes = 0;
    cli_parse(&argps[action->kind], argc, argv, &arguments);
    int code = account_name_settle(argv[0], &arguments.name);
    if (code == EX_OK) {
        code = validate_arguments(argv[0], action, &arguments, &bytes);
    }
    const char *transaction = arguments.transaction;
    if (code == EX_OK && transaction == NULL) {
        code = make_transaction(argv[0], made, sizeof(made));
        transaction = made;
    }
    return code == EX_OK ? run(argv[0], action, &arguments, transaction, bytes) : code;
}

#define X(name, method, suffix, moves_money, needs_bytes)                                          \
    int command_account_##name(int argc, char **argv)                                              \
    {                                                                                              \
        return act(&actions[ACTION_##name], argc, argv);                                           \
    }
ACTIONS(X)
#undef X
