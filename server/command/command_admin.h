/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that ask a running node share: the naming of an account, the call, and the
 * printing of refusals. Used by command_account.c, command_usage.c, command_health.c,
 * command_ledger_release.c, command_ledger_status.c and command_link_revoke.c; the others that read
 * journals, and command_media.c, only print with it. It never talks to Redis.
 */
#ifndef TOLLGATE_SERVER_COMMAND_COMMAND_ADMIN_H
#define TOLLGATE_SERVER_COMMAND_COMMAND_ADMIN_H

#include <argp.h>
#include <jansson.h>
#include <stdio.h>

#include "server/command/cli.h"
#include "storage/ledger/ledger.h"

/* An account as the command line names it: --issuer and --account, or one argument ISSUER/NAME. */
struct account_name {
    const char *issuer, *account; /* borrow argv, or `issuer` is issuer_cut */
    const char *both;             /* borrows argv; NULL: not given */
    char issuer_cut[LEDGER_ISSUER_MAX + 2];
};
/* Takes an argument without an option as the account, unless the command's own parser has; ends the
 * process where it cannot be one. */
extern const struct argp account_name_argp;
#define ACCOUNT_NAME_CHILD                                                                         \
    {                                                                                              \
        &account_name_argp, 0, "Which account:", 0                                                 \
    }

/* Sets issuer and account, whichever way they were given. EX_OK, or EX_USAGE after printing why. */
int account_name_settle(const char *command, struct account_name *name);

#define ACCOUNT_TARGET_SIZE (LEDGER_TAG_MAX + 3 * LEDGER_ISSUER_MAX + 128)
/* Writes "/v1/accounts/ISSUER/NAME", percent-encoded, and `suffix`, of 95 bytes at most. The name
 * must have been settled. */
void account_name_target(const struct account_name *name, const char *suffix,
                         char out[static ACCOUNT_TARGET_SIZE]);

/*
 * Calls the node. EX_OK with the status, whatever it is, and the JSON object that came with it;
 * else an exit code after printing why and the cure. *answer is NULL before and the caller's after,
 * in either case. `body` is borrowed, or NULL.
 */
int command_call(const char *command, const struct cli_location *location, const char *method,
                 const char *target, const json_t *body, unsigned *status, json_t **answer);
/* The same for GET /v1/health, but waits only three seconds: supervisors are not patient. */
int command_call_health(const char *command, const struct cli_location *location, unsigned *status,
                        json_t **answer);

/* Prints a refusal's detail and returns the exit code for its status and reason. */
int command_refused(const char *command, unsigned status, const json_t *answer);
/* The same, with the account's name before the detail. */
int account_refused(const char *command, const struct account_name *name, unsigned status,
                    const json_t *answer);

/* A member's text (borrowed) or number; "" or 0 where it is absent or of another type. */
const char *command_text(const json_t *object, const char *member);
json_int_t command_number(const json_t *object, const char *member);

/* Prints text with control bytes as \xNN: a name must not steer the terminal. */
void command_print_text(FILE *out, const char *text);

#define COMMAND_TIME_SIZE 32
/* Writes seconds since 1970 as an RFC 3339 time in UTC; as a number where no date has them. */
void command_write_time(int64_t seconds, char out[static COMMAND_TIME_SIZE]);
/* Reads such a time, or a number of seconds since 1970; 0 where the text is neither. */
int64_t command_read_time(const char *text);

#endif
