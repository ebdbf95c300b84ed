/*
 * What the commands that ask a running node share: naming an account, the call, and the words for
 * its refusals. Used by command_account.c, command_usage.c and command_health.c.
 */
#ifndef TOLLGATE_SERVER_COMMAND_ADMIN_H
#define TOLLGATE_SERVER_COMMAND_ADMIN_H

#include <argp.h>
#include <jansson.h>
#include <stdio.h>

#include "server/cli.h"
#include "storage/ledger/ledger.h"

/* --issuer and --account, or ISSUER/NAME as one argument. */
struct account_name {
    const char *issuer, *account; /* borrow argv */
    const char *both;             /* borrows argv */
    char issuer_cut[LEDGER_ISSUER_MAX + 2];
};
extern const struct argp account_name_argp;
#define ACCOUNT_NAME_CHILD                                                                         \
    {                                                                                              \
        &account_name_argp, 0, "Which account:", 0                                                 \
    }

/* Takes an argument that stands without an option: the account, or refuses it. */
void account_name_take(struct account_name *name, char *argument, const struct argp_state *state);

/* Settles the two ways of naming it. EX_OK, or EX_USAGE after saying what is missing. */
int account_name_settle(const char *command, struct account_name *name);

#define ACCOUNT_TARGET_SIZE (LEDGER_TAG_MAX + 3 * LEDGER_ISSUER_MAX + 128)
/* "/v1/accounts/I/A" and `suffix`, percent-encoded. The name must have been settled. */
void account_name_target(const struct account_name *name, const char *suffix,
                         char out[static ACCOUNT_TARGET_SIZE]);

/*
 * Calls the node. EX_OK with the status and the JSON answer (the caller's), whatever the status;
 * else an exit code after printing why and the cure. `body` may be NULL and is borrowed.
 */
int command_call(const char *command, const struct cli_location *location, const char *method,
                 const char *target, const json_t *body, unsigned *status, json_t **answer);
/* GET /v1/health, likewise, with the patience of a supervisor: some seconds. */
int command_call_health(const char *command, const struct cli_location *location, unsigned *status,
                        json_t **answer);

/* Prints a refusal's detail and returns the exit code of its status. */
int command_refused(const char *command, unsigned status, const json_t *answer);
/* Likewise, of an account, which is named before the detail. */
int account_refused(const char *command, const struct account_name *name, unsigned status,
                    const json_t *answer);

/* A member's text or number, "" or 0 where it is absent or of another type. */
const char *command_text(const json_t *object, const char *member);
json_int_t command_number(const json_t *object, const char *member);

/* Prints text with control bytes as \xNN: a name must not steer the terminal. */
void command_print_text(FILE *out, const char *text);

#endif
