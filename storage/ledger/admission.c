/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands by which a worker's own connection asks for grants, and what their replies mean.
 * Called by workers. It sends nothing and keeps nothing.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/keys.h"
#include "storage/ledger/ledger_internal.h"

static void add(struct ledger_command *command, const char *text)
{
    command->argv[command->argc] = text;
    command->lengths[command->argc++] = strlen(text);
}

static void add_bytes(struct ledger_command *command, const char *text, size_t length)
{
    command->argv[command->argc] = text;
    command->lengths[command->argc++] = length;
}

static void add_number(struct ledger_command *command, int slot, uint64_t number)
{
    snprintf(command->numbers[slot], sizeof(command->numbers[slot]), "%" PRIu64, number);
    add(command, command->numbers[slot]);
}

/* Adds the arguments of a list: each is a variable of that name, or two where it is of bytes. */
#define ADD(name, type)    ADD_##type(name)
#define ADD_text(name)     add(out, name);
#define ADD_bytes(name)    add_bytes(out, name, name##_length);
#define ADD_number(name)   add_number(out, slot++, name);

#define NUMBER(name, type) NUMBER_##type
#define NUMBER_text
#define NUMBER_bytes
#define NUMBER_number 0,

_Static_assert(sizeof((const char[]){LEDGER_ADMIT_ARGUMENTS(NUMBER)
                                         LEDGER_TERMS_ARGUMENTS(NUMBER)}) <=
                   sizeof(((struct ledger_command *)NULL)->numbers) / sizeof(char[24]),
               "a command has room for its numbers");
_Static_assert(3 + LEDGER_COUNT(LEDGER_GRANT_KEYS) + LEDGER_COUNT(LEDGER_ADMIT_ARGUMENTS) +
                       LEDGER_COUNT(LEDGER_TERMS_ARGUMENTS) <=
                   LEDGER_ARGUMENTS_MAX,
               "a command has room for its words");

/* Adds the function and its keys, those of LEDGER_GRANT_KEYS. */
static void begin(const struct ledger_account *payer,
                  const unsigned char link_id[LEDGER_LINK_ID_BYTES], const char *function,
                  struct ledger_command *out)
{
    static const char count[] = {'0' + LEDGER_COUNT(LEDGER_GRANT_KEYS), '\0'};
    char *const account = out->keys[0], *const grants = out->keys[1];
    char *const link = out->keys[2], *const link_grants = out->keys[3];
    ledger_key(account, payer, "account");
    ledger_key(grants, payer, "grants");
    ledger_link_key(link, payer, link_id, "");
    ledger_link_key(link_grants, payer, link_id, ":grants");
    out->argc = 0;
    add(out, "FCALL");
    add(out, function);
    add(out, count);
#define X(name) add(out, name);
    LEDGER_GRANT_KEYS(X)
#undef X
}

static void add_terms(const struct ledger_terms *terms, const struct ledger_told *told, int slot,
                      struct ledger_command *out)
{
    const char *path = terms->path;
    size_t path_length = terms->path_length;
    uint64_t size = terms->size, max_uses = terms->max_uses, max_bytes = terms->max_bytes;
    uint64_t till_ms = terms->till_ms, use_period_ms = terms->use_period_ms,
             keep_ms = terms->keep_ms;
    uint64_t stage = terms->stage, link_count = told->count, link_is_new = told->is_new;
    uint64_t link_ceiling = told->ceiling, link_least = told->least, link_want = told->want;
    uint64_t link_spare = told->spare;
    LEDGER_TERMS_ARGUMENTS(ADD)
}

void ledger_admit_command(struct ledger *ledger, const struct ledger_ask *ask,
                          struct ledger_command *out)
{
    const char *instance = ledger->instance;
    uint64_t lease = ledger_lease_number(ledger);
    uint64_t validity_ms = ask->validity_ms, iat = (uint64_t)ask->iat, need = ask->need;
    uint64_t count = ask->funds.count, ceiling = ask->funds.ceiling, least = ask->funds.least;
    uint64_t want = ask->funds.want, spare = ask->funds.spare;
    int slot = 0;
    begin(ask->account, ask->link_id, ask->takes_nothing ? "tollgate_judge" : "tollgate_admit",
          out);
    LEDGER_ADMIT_ARGUMENTS(ADD)
    if (ask->terms != NULL)
        add_terms(ask->terms, &ask->link_funds, slot, out);
}

void ledger_tell_command(struct ledger *ledger, const struct ledger_account *account,
                         const unsigned char *link_id, const struct ledger_told *told,
                         uint32_t validity, struct ledger_command *out)
{
    static const char keys[] = {'0' + LEDGER_COUNT(LEDGER_TELL_KEYS), '\0'};
    const char *instance = ledger->instance;
    uint64_t lease = ledger_lease_number(ledger), validity_ms = validity, count = told->count;
    uint64_t is_new = told->is_new, ceiling = told->ceiling, least = told->least;
    char *const pool = out->keys[0];
    int slot = 0;
    if (link_id != NULL)
        ledger_link_key(pool, account, link_id, ":grants");
    else
        ledger_key(pool, account, "grants");
    out->argc = 0;
    add(out, "FCALL");
    add(out, "tollgate_tell");
    add(out, keys);
#define X(name) add(out, name);
    LEDGER_TELL_KEYS(X)
#undef X
    LEDGER_TELL_ARGUMENTS(ADD)
}

void ledger_try_command(struct ledger_command *out)
{
    out->argc = 0;
    add(out, "FCALL");
    add(out, "tollgate_version");
    add(out, "0");
}

/* The command by which anybody asks for the birth id. */
static const char *const birth_words[] = {"HGET", "tg:birth", "id"};

void ledger_confirm_command(struct ledger_command *out)
{
    out->argc = 0;
    for (size_t i = 0; i < sizeof(birth_words) / sizeof(birth_words[0]); i++)
        add(out, birth_words[i]);
}

int ledger_confirm_reply(struct ledger *ledger, const struct redisReply *reply)
{
    char *rest = NULL;
    if (reply == NULL || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL))
        return -EPROTO;
    uint64_t id = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, &rest, 16) : 0;
    if (id != 0 && *rest == '\0' && id == atomic_load(&ledger->birth_id))
        return 0;
    ledger_birth_is_doubted(ledger);
    return -ESTALE;
}

/* Elements of an answer: of the account, and in all where the link has terms. What a newer library
 * adds stands behind both, with zeros between where the link has none. */
#define ADMIT_ELEMENTS 11
#define TERMS_ELEMENTS 19

/* A library of a newer version may answer an admission that this program does not know. */
static bool is_admission(uint64_t number)
{
    switch (number) {
#define X(name, value) case value:
        LEDGER_ADMISSIONS(X)
#undef X
        return true;
    default:
        return false;
    }
}

bool ledger_reply_is_damage(const struct redisReply *reply)
{
    return reply != NULL && reply->type == REDIS_REPLY_ERROR &&
           (strncmp(reply->str, "DAMAGED ", 8) == 0 || strncmp(reply->str, "WRONGTYPE ", 10) == 0);
}

static bool is_bounds(uint64_t number)
{
    switch (number) {
#define X(name, value) case value:
        LEDGER_BOUNDS(X)
#undef X
        return true;
    default:
        return false;
    }
}

/* Reads the first numbers of an array, which are not negative, `most` of them; behind them a newer
 * library may answer more. Returns how many, 0 where it is something else. */
static size_t read_numbers(const struct redisReply *reply, uint64_t *out, size_t most)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
        return 0;
    size_t count = reply->elements < most ? reply->elements : most;
    for (size_t i = 0; i < count; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER || reply->element[i]->integer < 0)
            return 0;
        out[i] = (uint64_t)reply->element[i]->integer;
    }
    return count;
}

static struct ledger_credit credit_of(const uint64_t numbers[4])
{
    return (struct ledger_credit){.bounds = (enum ledger_bounds)numbers[0],
                                  .posted = numbers[1],
                                  .ceiling = numbers[2],
                                  .bound = numbers[3]};
}

int ledger_admit_reply(const struct redisReply *reply, struct ledger_grant *out)
{
    uint64_t numbers[TERMS_ELEMENTS] = {0};
    if (ledger_reply_is_damage(reply)) {
        *out = (struct ledger_grant){.admission = LEDGER_SET_ASIDE, .revision = LEDGER_NUMBER_MAX};
        return 0;
    }
    size_t count = read_numbers(reply, numbers, TERMS_ELEMENTS);
    if ((count != ADMIT_ELEMENTS && count != TERMS_ELEMENTS) || !is_admission(numbers[0]) ||
        !is_bounds(numbers[7]) || !is_bounds(numbers[15]) || numbers[3] > UINT32_MAX ||
        numbers[4] < 1 || numbers[4] > UINT32_MAX || numbers[5] > INT64_MAX)
        return -EPROTO;
    *out = (struct ledger_grant){.admission = (enum ledger_admission)numbers[0],
                                 .revision = numbers[1],
                                 .rate = numbers[2],
                                 .max_conns = (uint32_t)numbers[3],
                                 .sharers = (uint32_t)numbers[4],
                                 .revoked_before = (int64_t)numbers[5],
                                 .revoked_left_ms = numbers[6],
                                 .funds = credit_of(numbers + 7),
                                 .opened_ms = numbers[11],
                                 .till_ms = numbers[12],
                                 .acknowledged = numbers[13],
                                 .left_ms = numbers[14],
                                 .link_funds = credit_of(numbers + 15)};
    return 0;
}

int ledger_tell_reply(const struct redisReply *reply, struct ledger_credit *out)
{
    uint64_t numbers[3];
    if (read_numbers(reply, numbers, 3) != 3 || numbers[0] > 1)
        return -EPROTO;
    *out = (struct ledger_credit){.posted = numbers[1], .ceiling = numbers[2]};
    return numbers[0] == 0 ? 0 : -ESTALE;
}
