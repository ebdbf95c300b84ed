/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that ask a running node share (command_admin.h). It puts into words what goes
 * wrong between the command line and the node; it does not know what an answer means.
 */
#include "server/command/command_admin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include "server/base/check.h"
#include "server/command/admin_client.h"

#define HEALTH_WAIT_MS 3000 /* a node answers health at once, or is as good as gone */

/* ---- naming an account ---- */

static void take_argument(struct account_name *name, char *argument, const struct argp_state *state)
{
    /* An account has a slash; an argument without one may be an option's value: 1GB, prepaid. */
    if (name->both == NULL && (strchr(argument, '/') != NULL || !cli_belongs_to_option(argument))) {
        name->both = argument;
    } else {
        cli_surplus(state, argument, NULL,
                    strchr(argument, '/') != NULL
                        ? "is a second account; name one at a time"
                        : "is one argument too many; write the account alone, as ISSUER/NAME");
    }
}

static error_t parse_name(int key, char *argument, struct argp_state *state)
{
    struct account_name *name = state->input;
    switch (key) {
    case 'i':
        name->issuer = argument;
        return 0;
    case 'a':
        name->account = argument;
        return 0;
    case ARGP_KEY_ARG: /* which the command itself has not taken */
        take_argument(name, argument, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option name_options[] = {
    {"issuer", 'i', "ID", 0, "The issuer's short id, as in the configuration", 0},
    {"account", 'a', "NAME", 0,
     "The account's name, as in the links' acct; or give ISSUER/NAME as one argument", 0},
    {0},
};
const struct argp account_name_argp = {.options = name_options, .parser = parse_name};

int account_name_settle(const char *command, struct account_name *name)
{
    if (name->both != NULL) {
        size_t length = strcspn(name->both, "/");
        if (name->issuer != NULL || name->account != NULL) {
            return cli_fail(EX_USAGE, command,
                            "%s: the account is named twice; write ISSUER/NAME, or --issuer and "
                            "--account",
                            name->both);
        }
        if (name->both[length] != '/' || length > LEDGER_ISSUER_MAX) {
            return cli_fail(EX_USAGE, command,
                            "%s lacks its issuer; write the account as ISSUER/NAME, such as "
                            "shop/alice",
                            name->both);
        }
        (void)snprintf(name->issuer_cut, sizeof(name->issuer_cut), "%.*s", (int)length, name->both);
        name->issuer = name->issuer_cut;
        name->account = name->both + length + 1;
    }
    if (name->issuer == NULL || name->account == NULL || name->issuer[0] == '\0' ||
        name->account[0] == '\0') {
        return cli_fail(
            EX_USAGE, command,
            "the account is missing; write ISSUER/NAME, such as shop/alice, or --issuer "
            "ID --account NAME");
    }
    if (strlen(name->issuer) > LEDGER_ISSUER_MAX || strlen(name->account) > LEDGER_ACCOUNT_MAX) {
        return cli_fail(EX_USAGE, command,
                        "the account's name is too long; an issuer's id has at most %d bytes, an "
                        "account %d",
                        LEDGER_ISSUER_MAX, LEDGER_ACCOUNT_MAX);
    }
    return EX_OK;
}

/* Percent-encodes all but the unreserved characters (RFC 3986 2.3); returns the end of `out`. */
static char *encode_segment(char *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            *out++ = *text;
        } else {
            out += sprintf(out, "%%%02X", (unsigned char)*text);
        }
    }
    *out = '\0';
    return out;
}

void account_name_target(const struct account_name *name, const char *suffix,
                         char out[static ACCOUNT_TARGET_SIZE])
{
    check(strlen(name->issuer) <= LEDGER_ISSUER_MAX && strlen(name->account) <= LEDGER_ACCOUNT_MAX);
    check(strlen(suffix) < 96);
    out = stpcpy(out, "/v1/accounts/");
    out = encode_segment(out, name->issuer);
    out = stpcpy(out, "/");
    out = encode_segment(out, name->account);
    (void)stpcpy(out, suffix);
}

/* ---- the call ---- */

static int report_failure(const char *command, const char *socket_path, int failure)
{
    switch (failure) {
    case -ENOENT:
    case -ECONNREFUSED:
        return cli_fail(EX_UNAVAILABLE, command,
                        "no node answers on %s; start one with `tollgate serve --config FILE`",
                        socket_path);
    case -EACCES:
    case -EPERM:
        return cli_fail(EX_NOPERM, command, "%s: %s; run this as the node's user", socket_path,
                        strerrordesc_np(-failure));
    case -ETIMEDOUT:
        return cli_fail(EX_UNAVAILABLE, command,
                        "the node on %s did not answer in time; see its log", socket_path);
    case -ECONNRESET:
    case -EPIPE:
        return cli_fail(
            EX_UNAVAILABLE, command,
            "%s: %s; name a node's admin socket (state_dir/admin.sock), and where it is "
            "one, see the node's log",
            socket_path, strerrordesc_np(-failure));
    case -EPROTO:
        return cli_fail(EX_UNAVAILABLE, command,
                        "what listens on %s is not a tollgate node; name state_dir/admin.sock",
                        socket_path);
    default:
        return cli_fail(EX_UNAVAILABLE, command, "%s: %s; ask again", socket_path,
                        strerrordesc_np(-failure));
    }
}

static int call_within(unsigned wait_ms, const char *command, const struct cli_location *location,
                       const char *method, const char *target, const json_t *body, unsigned *status,
                       json_t **answer)
{
    char socket_path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    int code = cli_socket_path(command, location, socket_path, sizeof(socket_path));
    if (code != EX_OK) {
        return code;
    }
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body != NULL && text == NULL) {
        return cli_fail(EX_SOFTWARE, command, "out of memory");
    }
    struct admin_response response;
    int failure = admin_client_call_within(wait_ms, socket_path, method, target, text, &response);
    free(text);
    if (failure != 0) {
        return report_failure(command, socket_path, failure);
    }
    *answer = json_loadb(response.body, response.length, JSON_REJECT_DUPLICATES, NULL);
    *status = response.status;
    free(response.body);
    return json_is_object(*answer) ? EX_OK : report_failure(command, socket_path, -EPROTO);
}

int command_call(const char *command, const struct cli_location *location, const char *method,
                 const char *target, const json_t *body, unsigned *status, json_t **answer)
{
    return call_within(ADMIN_CLIENT_WAIT_MS, command, location, method, target, body, status,
                       answer);
}

int command_call_health(const char *command, const struct cli_location *location, unsigned *status,
                        json_t **answer)
{
    return call_within(HEALTH_WAIT_MS, command, location, "GET", "/v1/health", NULL, status,
                       answer);
}

/*
 * The exit code for a node's refusal. A value that the node refuses (422) is a mistake on the
 * command line, unless it is a link, which is an input: `link revoke` may read it from a pipe.
 */
static int exit_code_of(unsigned status, const char *reason)
{
    static const char *const values[] = {"account_invalid",    "out_of_bounds", "members_invalid",
                                         "plan_invalid",       "days_invalid",  "instant_ahead",
                                         "parameters_invalid", "limit_invalid"};
    switch (status) {
    case 401:
    case 403:
        return EX_NOPERM;
    case 404:
    case 409:
    case 410:
    case 507:
        return CLI_EXIT_NO;
    case 503:
        return EX_UNAVAILABLE;
    case 422:
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            if (strcmp(reason, values[i]) == 0) {
                return EX_USAGE;
            }
        }
        return strcmp(reason, "total_too_large") == 0 ? CLI_EXIT_NO : EX_DATAERR;
    default:
        return EX_SOFTWARE;
    }
}

static int refused(const char *command, const char *whose, unsigned status, const json_t *answer)
{
    const char *reason = command_text(answer, "reason");
    const char *detail = command_text(answer, "detail");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return cli_fail(EX_SOFTWARE, command, "out of memory");
    }
    if (whose[0] != '\0') {
        command_print_text(out, whose);
        fputs(": ", out);
    }
    command_print_text(out, detail[0] != '\0' ? detail : "the node refused, and gave no reason");
    (void)fclose(out);
    json_t *members = json_pack("{s:i, s:s, s:O*}", "status", (int)status, "reason", reason,
                                "member", json_object_get(answer, "member"));
    int code = cli_fail_with(exit_code_of(status, reason), command, members,
                             text != NULL ? text : "out of memory");
    free(text);
    return code;
}

int command_refused(const char *command, unsigned status, const json_t *answer)
{
    return refused(command, "", status, answer);
}

int account_refused(const char *command, const struct account_name *name, unsigned status,
                    const json_t *answer)
{
    char whose[LEDGER_ISSUER_MAX + LEDGER_ACCOUNT_MAX + 8];
    (void)snprintf(whose, sizeof(whose), "%s/%s", name->issuer, name->account);
    return refused(command, whose, status, answer);
}

/* ---- answers ---- */

const char *command_text(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

json_int_t command_number(const json_t *object, const char *member)
{
    return json_integer_value(json_object_get(object, member));
}

void command_print_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f) {
            fprintf(out, "\\x%02x", byte);
        } else {
            fputc(byte, out);
        }
    }
}

void command_write_time(int64_t seconds, char out[static COMMAND_TIME_SIZE])
{
    struct tm parts;
    time_t when = seconds;
    if (gmtime_r(&when, &parts) == NULL ||
        strftime(out, COMMAND_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, COMMAND_TIME_SIZE, "%" PRId64, seconds);
}

int64_t command_read_time(const char *text)
{
    struct tm date = {0};
    if (text[0] != '\0' && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 12)
        return strtoll(text, NULL, 10);
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &date);
    return end != NULL && *end == '\0' ? (int64_t)timegm(&date) : 0;
}
