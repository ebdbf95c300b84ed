/*
 * The commands by which a worker's own connection asks for grants, and what their replies mean.
 * Called by workers. It sends nothing and keeps nothing.
 */
#include "keys.h"
#include "ledger_internal.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add(struct ledger_command *command, const char *text)
{
    command->argv[command->argc] = text;
    command->lengths[command->argc++] = strlen(text);
}

static void add_number(struct ledger_command *command, int slot, uint64_t number)
{
    snprintf(command->numbers[slot], sizeof command->numbers[slot], "%" PRIu64, number);
    add(command, command->numbers[slot]);
}

static void begin(struct ledger *ledger, const struct ledger_account *account, const char *function,
                  struct ledger_command *out)
{
    out->argc = 0;
    ledger_key(out->keys[0], account, "account");
    ledger_key(out->keys[1], account, "grants");
    add(out, "FCALL");
    add(out, function);
    add(out, "2");
    add(out, out->keys[0]);
    add(out, out->keys[1]);
    add(out, ledger->options.node);
    add(out, ledger->epoch);
}

void ledger_admit_command(struct ledger *ledger, const struct ledger_account *account,
                          uint64_t need, uint64_t want, uint32_t validity_ms,
                          struct ledger_command *out)
{
    begin(ledger, account, "tollgate_admit", out);
    add_number(out, 0, need);
    add_number(out, 1, want);
    add_number(out, 2, validity_ms);
}

void ledger_release_command(struct ledger *ledger, const struct ledger_account *account,
                            uint64_t bytes, struct ledger_command *out)
{
    begin(ledger, account, "tollgate_release", out);
    add_number(out, 0, bytes);
}

int ledger_admit_reply(const struct redisReply *reply, struct ledger_grant *out)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)
        return -EPROTO;
    for (size_t i = 0; i < 4; i++)
        if (reply->element[i]->type != REDIS_REPLY_INTEGER || reply->element[i]->integer < 0)
            return -EPROTO;
    if (reply->element[0]->integer > LEDGER_INSUFFICIENT || reply->element[2]->integer > 1)
        return -EPROTO;
    out->admission = (enum ledger_admission)reply->element[0]->integer;
    out->granted = (uint64_t)reply->element[1]->integer;
    out->prepaid = reply->element[2]->integer == 1;
    out->revision = (uint64_t)reply->element[3]->integer;
    return 0;
}
