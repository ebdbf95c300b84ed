/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands by which a worker's own connection asks for grants, and what their replies mean.
 * Called by workers. It sends nothing and keeps nothing.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "storage/ledger/keys.h"
#include "storage/ledger/ledger_internal.h"

static void add(struct ledger_command *command, const char *text)
{
    command->argv[command->argc] = text;
    command->lengths[command->argc++] = strlen(text);
}

static void add_number(struct ledger_command *command, int slot, uint64_t number)
{
    snprintf(command->numbers[slot], sizeof(command->numbers[slot]), "%" PRIu64, number);
    add(command, command->numbers[slot]);
}

static void begin(struct ledger *ledger, const struct ledger_account *account,
                  const unsigned char link[LEDGER_LINK_BYTES], const char *function,
                  struct ledger_command *out)
{
    out->argc = 0;
    ledger_key(out->keys[0], account, "account");
    ledger_key(out->keys[1], account, "grants");
    ledger_link_key(out->keys[2], account, link, "");
    ledger_link_key(out->keys[3], account, link, ":grants");
    add(out, "FCALL");
    add(out, function);
    add(out, "4");
    for (size_t i = 0; i < 4; i++)
        add(out, out->keys[i]);
    add(out, ledger->options.node);
    add(out, ledger->epoch);
}

void ledger_admit_command(struct ledger *ledger, const struct ledger_ask *ask,
                          struct ledger_command *out)
{
    const struct ledger_terms *terms = ask->terms;
    begin(ledger, ask->account, ask->link, ask->takes_nothing ? "tollgate_judge" : "tollgate_admit",
          out);
    add_number(out, 0, ask->need);
    add_number(out, 1, ask->want);
    add_number(out, 2, ask->validity_ms);
    add_number(out, 3, (uint64_t)ask->iat);
    if (terms == NULL)
        return;
    out->argv[out->argc] = terms->path;
    out->lengths[out->argc++] = terms->path_length;
    add_number(out, 4, terms->size);
    add_number(out, 5, terms->max_uses);
    add_number(out, 6, terms->max_bytes);
    add_number(out, 7, terms->till_ms);
    add_number(out, 8, terms->window_ms);
    add_number(out, 9, terms->stage);
    add_number(out, 10, terms->keep_ms);
}

void ledger_release_command(struct ledger *ledger, const struct ledger_account *account,
                            const unsigned char link[LEDGER_LINK_BYTES],
                            const uint64_t bytes[LEDGER_FUNDS], struct ledger_command *out)
{
    begin(ledger, account, link, "tollgate_release", out);
    for (int i = 0; i < LEDGER_FUNDS; i++)
        add_number(out, i, bytes[i]);
}

void ledger_try_command(struct ledger_command *out)
{
    out->argc = 0;
    add(out, "FCALL");
    add(out, "tollgate_version");
    add(out, "0");
}

#define ADMIT_ELEMENTS 10

int ledger_admit_reply(const struct redisReply *reply, struct ledger_grant *out)
{
    uint64_t numbers[ADMIT_ELEMENTS];
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != ADMIT_ELEMENTS)
        return -EPROTO;
    for (size_t i = 0; i < ADMIT_ELEMENTS; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER || reply->element[i]->integer < 0)
            return -EPROTO;
        numbers[i] = (uint64_t)reply->element[i]->integer;
    }
    if (numbers[0] > LEDGER_ACCOUNT_BYTES_UP || numbers[2] >= LEDGER_FUND_BIT(LEDGER_FUNDS) ||
        numbers[5] > UINT32_MAX)
        return -EPROTO;
    *out = (struct ledger_grant){.admission = (enum ledger_admission)numbers[0],
                                 .granted = numbers[1],
                                 .funds = (unsigned)numbers[2],
                                 .revision = numbers[3],
                                 .rate = numbers[4],
                                 .max_conns = (uint32_t)numbers[5],
                                 .opened_ms = numbers[6],
                                 .till_ms = numbers[7],
                                 .acknowledged = numbers[8],
                                 .left_ms = numbers[9]};
    return 0;
}
