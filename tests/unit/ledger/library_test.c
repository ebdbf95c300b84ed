/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node and function libraries of other versions, on a real Redis: it works with one that is a version
 * newer, whose answers may be longer, and loads its own over an older one, unless a node runs whose
 * calls that would not take.
 */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/redis_talk.h"
#include "tests/unit/ledger/fixture.h"

#define OTHER   "0123456789abcdef0123456789abcdef"
#define LIBRARY 131072 /* bytes of a library's text */

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_library, .init = setup, .fini = teardown, .timeout = 60);

/* ---- libraries ---- */

/* Replaces each `old` in `text`. Returns how many there were. */
static unsigned replace(char text[LIBRARY], const char *old, const char *new)
{
    static char whole[LIBRARY];
    unsigned count = 0;
    size_t used = 0;
    const char *from = text;
    for (const char *at; (at = strstr(from, old)) != NULL; from = at + strlen(old), count++)
        used +=
            (size_t)snprintf(whole + used, LIBRARY - used, "%.*s%s", (int)(at - from), from, new);
    used += (size_t)snprintf(whole + used, LIBRARY - used, "%s", from);
    cr_assert_lt(used, LIBRARY);
    memcpy(text, whole, used + 1);
    return count;
}

/* Our library under another version; `text` was set to it, or to one made of it. */
static void load_as(char text[LIBRARY], int version)
{
    char new[64];
    snprintf(new, sizeof(new), "function() return %d end", version);
    cr_assert_eq(replace(text, "function() return VERSION end", new), 1);
    redisReply *reply = fixture_redis(&fx, "FUNCTION LOAD REPLACE %s", text);
    cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s", reply->str);
    freeReplyObject(reply);
}

static void load_version(int version)
{
    static char text[LIBRARY];
    snprintf(text, sizeof(text), "%s", redis_library_text());
    load_as(text, version);
}

/* The next version, each array of whose answers has one element more; those of a scan and of a listing have
 * none, since they have no end. */
static void load_longer(void)
{
    static char text[LIBRARY];
    static const char longer[] =
        "local function register_longer(name, callback)\n"
        "    local flags = nil\n"
        "    if not callback then\n"
        "        flags, callback, name = name.flags, name.callback, name.function_name\n"
        "    end\n"
        "    redis.register_function{function_name = name, flags = flags,\n"
        "        callback = function(keys, args)\n"
        "            local out = callback(keys, args)\n"
        "            if type(out) == 'table' and name ~= 'tollgate_usage' and\n"
        "                name ~= 'tollgate_birth' then\n"
        "                while #out > 10 and #out < 19 do out[#out + 1] = 0 end\n"
        "                out[#out + 1] = 'more'\n"
        "            end\n"
        "            return out\n"
        "        end}\n"
        "end\n"
        "register_longer('tollgate_admit'";
    snprintf(text, sizeof(text), "%s", redis_library_text());
    (void)replace(text, "redis.register_function{", "register_longer{");
    (void)replace(text, "redis.register_function(", "register_longer(");
    cr_assert_eq(replace(text, "register_longer('tollgate_admit'", longer), 1);
    load_as(text, LEDGER_FUNCTIONS_FORMAT + 1);
}

static int64_t loaded_version(void)
{
    return fixture_redis_integer(&fx, "FCALL tollgate_version 0");
}

static int64_t redis_ms(void)
{
    int64_t ms;
    redisReply *reply = fixture_redis(&fx, "TIME");
    cr_assert(redis_read_time(reply, &ms));
    freeReplyObject(reply);
    return ms;
}

/* What Redis has of a node that said something so long ago. */
static void note_node(const char *directory, int64_t ago_ms, int version)
{
    char entry[160];
    int length = snprintf(entry, sizeof(entry), "old %s - - %lld %d", directory,
                          (long long)(redis_ms() - ago_ms), version);
    freeReplyObject(fixture_redis(&fx, "HSET tg:birth " OTHER " %b", entry, (size_t)length));
}

static void expect_posts(int64_t used)
{
    fixture_deliver(&fx, "a", "/f", 10);
    cr_assert_eq(ledger_settle(fx.ledger, 30000), 0);
    cr_assert_eq(fixture_account_field(&fx, "shop/a", "used"), used);
}

static void expect_refused(const char *why)
{
    char text[512];
    fixture_wait_state(&fx, LEDGER_REFUSED);
    ledger_state_text(fx.ledger, text, sizeof(text));
    cr_assert_not_null(strstr(text, why), "%s", text);
}

/* ---- a newer one ---- */

Test(ledger_library, of_the_next_version_is_kept_and_takes_posts)
{
    load_version(LEDGER_FUNCTIONS_FORMAT + 1);
    fixture_open_ready(&fx);
    expect_posts(10);
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT + 1);
}

Test(ledger_library, of_the_next_version_may_answer_more_behind_what_a_node_reads)
{
    struct ledger_command command;
    struct ledger_grant grant;
    struct ledger_credit credit;
    static const unsigned char link[LEDGER_LINK_ID_BYTES] = {1};
    load_longer();
    fixture_open_ready(&fx);
    cr_assert_eq(fixture_change(&fx, LEDGER_OPEN, "a", 1000, "t-1", NULL), 0);
    expect_posts(10);
    struct ledger_account *account = fixture_account(&fx, "a");
    const struct ledger_terms terms = {.path = "/f",
                                       .path_length = 2,
                                       .size = 100,
                                       .max_uses = 1,
                                       .till_ms = 9000000000000,
                                       .keep_ms = 9000000000000,
                                       .use_period_ms = 1000};
    struct ledger_ask ask = {.account = account,
                             .link_id = link,
                             .validity_ms = 60000,
                             .need = 100,
                             .funds = {.count = 1, .ceiling = 10, .least = 10, .want = 110}};
    for (int with_terms = 0; with_terms < 2; with_terms++) {
        ask.terms = with_terms ? &terms : NULL;
        ask.funds.count++;
        ledger_admit_command(fx.ledger, &ask, &command);
        redisReply *reply =
            redisCommandArgv(fx.connection, command.argc, command.argv, command.lengths);
        cr_assert_eq(reply->elements, 20);
        cr_assert_eq(ledger_admit_reply(reply, &grant), 0);
        cr_assert_eq(grant.admission, LEDGER_GRANTED);
        cr_assert_eq(grant.funds.ceiling, 110);
        cr_assert_eq(grant.opened_ms != 0, with_terms != 0);
        freeReplyObject(reply);
    }
    const struct ledger_told told = {.count = 9, .ceiling = 50, .least = 10};
    ledger_tell_command(fx.ledger, account, NULL, &told, 60000, &command);
    redisReply *reply =
        redisCommandArgv(fx.connection, command.argc, command.argv, command.lengths);
    cr_assert_eq(ledger_tell_reply(reply, &credit), 0);
    cr_assert_eq(credit.ceiling, 50);
    freeReplyObject(reply);
    ledger_account_drop(&account);
    cr_assert_eq(fixture_close(&fx), 0, "the lease is given back, too");
}

Test(ledger_library, of_two_versions_on_refuses_the_node_until_it_is_another)
{
    load_version(LEDGER_FUNCTIONS_FORMAT + 2);
    fixture_open(&fx);
    expect_refused("start a newer Tollgate on this node");
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT + 2);
    load_version(LEDGER_FUNCTIONS_FORMAT + 1);
    fixture_wait_state(&fx, LEDGER_READY);
    expect_posts(10);
}

/* ---- an older one ---- */

/* Whether a library of the version before may be there; the first version that was kept has none. A later one is
 * tried in any case, since tests/versions has this file built with TOLLGATE_VERSION_STEP, too. */
static void need_an_older_version(void)
{
    if (LEDGER_FUNCTIONS_FORMAT - 1 < LEDGER_DATA_FORMAT)
        cr_skip("what version %d stored cannot be used", LEDGER_FUNCTIONS_FORMAT - 1);
    load_version(LEDGER_FUNCTIONS_FORMAT - 1);
}

Test(ledger_library, of_the_version_before_is_replaced_while_its_nodes_run)
{
    need_an_older_version();
    note_node(OTHER, 500, LEDGER_FUNCTIONS_FORMAT - 1);
    fixture_open_ready(&fx);
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT);
    expect_posts(10);
}

Test(ledger_library, is_not_replaced_while_a_node_runs_that_is_two_versions_behind)
{
    need_an_older_version();
    note_node(OTHER, 500, LEDGER_FUNCTIONS_FORMAT - 2);
    fixture_open(&fx);
    expect_refused("upgrade that node");
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT - 1);
    note_node(OTHER, 500, LEDGER_FUNCTIONS_FORMAT - 1);
    fixture_wait_state(&fx, LEDGER_READY);
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT);
}

Test(ledger_library, is_replaced_where_a_node_that_was_two_versions_behind_runs_no_more)
{
    need_an_older_version();
    note_node(OTHER, 11000, LEDGER_FUNCTIONS_FORMAT - 2);
    fixture_open_ready(&fx);
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT);
}

Test(ledger_library, is_replaced_whatever_this_very_node_called_before)
{
    char directory[LEDGER_HEX_SIZE];
    fixture_open_ready(&fx);
    snprintf(directory, sizeof(directory), "%s", fx.ledger->lane.state_id);
    cr_assert_eq(fixture_close(&fx), 0);
    need_an_older_version();
    note_node(directory, 500, LEDGER_FUNCTIONS_FORMAT - 2);
    fixture_open_ready(&fx);
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT);
}

Test(ledger_library, is_replaced_where_its_nodes_told_no_version)
{
    need_an_older_version();
    note_node(OTHER, 500, 0);
    fixture_open_ready(&fx);
    cr_assert_eq(loaded_version(), LEDGER_FUNCTIONS_FORMAT);
}

Test(ledger_library, knows_the_version_that_each_node_calls)
{
    fixture_open_ready(&fx);
    redisReply *reply = fixture_redis(&fx, "HGET tg:birth %s", fx.ledger->instance);
    for (int i = 0; i < 5000 && reply->type != REDIS_REPLY_STRING; i++) {
        fixture_pause();
        freeReplyObject(reply);
        reply = fixture_redis(&fx, "HGET tg:birth %s", fx.ledger->instance);
    }
    cr_assert_eq(reply->type, REDIS_REPLY_STRING);
    cr_assert_eq(atoi(strrchr(reply->str, ' ') + 1), LEDGER_FUNCTIONS_FORMAT, "%s", reply->str);
    freeReplyObject(reply);
}
