/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands, how one is looked up and refused, and those that are neither a hash's nor
 * a stream's nor the functions': keys and their expiry, TIME and PUBLISH.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/check.h"
#include "tests/simulation/functions.h"
#include "tests/simulation/store_internal.h"

/* ---- words ---- */

bool store_is(const struct store_words *words, int index, const char *name)
{
    return words->lengths[index] == strlen(name) &&
           strncasecmp(words->text[index], name, words->lengths[index]) == 0;
}

bool store_integer(const char *text, size_t length, long long *out)
{
    size_t at = length > 0 && text[0] == '-' ? 1 : 0;
    unsigned long long value = 0, most = (unsigned long long)LLONG_MAX + at;
    if (length == 1 && text[0] == '0') {
        *out = 0;
        return true;
    }
    if (at == length || text[at] < '1' || text[at] > '9')
        return false;
    for (size_t i = at; i < length; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (digit > 9 || value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = at == 0 ? (long long)value : (long long)(0 - value);
    return true;
}

bool store_count(const struct store_words *words, int index, long long *count, struct answer *out)
{
    bool is_count = store_is(words, index, "count") && index + 1 < words->count;
    if (is_count && store_integer(words->text[index + 1], words->lengths[index + 1], count))
        return true;
    answer_error(out,
                 is_count ? "ERR value is not an integer or out of range" : "ERR syntax error");
    return false;
}

void store_wrong_number(struct answer *out, const char *command)
{
    answer_error(out, "ERR wrong number of arguments for '%s' command", command);
}

/* ---- keys ---- */

static void key_del(struct store *store, const struct store_words *words, struct answer *out)
{
    long long removed = 0;
    for (int i = 1; i < words->count; i++) {
        if (store_find(store, words->text[i], words->lengths[i]) != NULL) {
            store_remove(store, words->text[i], words->lengths[i]);
            removed++;
        }
    }
    answer_integer(out, removed);
}

static void key_pexpiretime(struct store *store, const struct store_words *words,
                            struct answer *out)
{
    const struct store_object *object = store_find(store, words->text[1], words->lengths[1]);
    answer_integer(out, object == NULL ? -2 : object->expires_ms);
}

enum expire_flag { NX = 1, XX = 2, GT = 4, LT = 8 };

/* False where it has answered an error. */
static bool expire_flags(const struct store_words *words, unsigned *flags, struct answer *out)
{
    static const char *const names[] = {"nx", "xx", "gt", "lt"};
    *flags = 0;
    for (int i = 3; i < words->count; i++) {
        unsigned which = 0;
        while (which < 4 && !store_is(words, i, names[which]))
            which++;
        if (which == 4) {
            answer_error(out, "ERR Unsupported option %.*s", (int)words->lengths[i],
                         words->text[i]);
            return false;
        }
        *flags |= 1U << which;
    }
    if ((*flags & NX) != 0 && (*flags & (XX | GT | LT)) != 0)
        answer_error(out, "ERR NX and XX, GT or LT options at the same time are not compatible");
    else if ((*flags & GT) != 0 && (*flags & LT) != 0)
        answer_error(out, "ERR GT and LT options at the same time are not compatible");
    else
        return true;
    return false;
}

static bool expire_allows(unsigned flags, long long known, long long when)
{
    return !((flags & NX) != 0 && known != -1) && !((flags & XX) != 0 && known == -1) &&
           !((flags & GT) != 0 && (when <= known || known == -1)) &&
           !((flags & LT) != 0 && known != -1 && when >= known);
}

static void key_pexpireat(struct store *store, const struct store_words *words, struct answer *out)
{
    unsigned flags;
    long long when;
    if (!expire_flags(words, &flags, out))
        return;
    if (!store_integer(words->text[2], words->lengths[2], &when)) {
        answer_error(out, "ERR value is not an integer or out of range");
        return;
    }
    struct store_object *object = store_find(store, words->text[1], words->lengths[1]);
    if (object == NULL || !expire_allows(flags, object->expires_ms, when)) {
        answer_integer(out, 0);
        return;
    }
    if (when <= store_now_ms(store))
        store_remove(store, words->text[1], words->lengths[1]);
    else
        object->expires_ms = when;
    answer_integer(out, 1);
}

static void tell_time(struct store *store, const struct store_words *words, struct answer *out)
{
    (void)words;
    (void)answer_array(out, 2);
    answer_format(out, "%llu", (unsigned long long)(store->real_us / 1000000));
    answer_format(out, "%llu", (unsigned long long)(store->real_us % 1000000));
}

static void publish(struct store *store, const struct store_words *words, struct answer *out)
{
    if (store->published != NULL)
        store->published(store->context, words->text[1], words->lengths[1], words->text[2],
                         words->lengths[2]);
    answer_integer(out, store->published != NULL ? 1 : 0);
}

/* ---- the table ---- */

struct command {
    const char *name;
    int arity; /* of words, the name included; negative: that many at least */
    enum { READS, WRITES, NO_SCRIPT } kind;
    void (*run)(struct store *store, const struct store_words *words, struct answer *out);
};

/* The most frequent first. A function that may not write may not publish either. */
static const struct command commands[] = {
    {"hmget", -3, READS, hash_hmget},
    {"hset", -4, WRITES, hash_hset},
    {"hget", 3, READS, hash_hget},
    {"hincrby", 4, WRITES, hash_hincrby},
    {"fcall", -3, NO_SCRIPT, library_fcall},
    {"time", 1, READS, tell_time},
    {"pexpiretime", 2, READS, key_pexpiretime},
    {"pexpireat", -3, WRITES, key_pexpireat},
    {"hgetall", 2, READS, hash_hgetall},
    {"hdel", -3, WRITES, hash_hdel},
    {"hscan", -3, READS, hash_hscan},
    {"publish", 3, WRITES, publish},
    {"xadd", -5, WRITES, stream_xadd},
    {"xrange", -4, READS, stream_xrange},
    {"del", -2, WRITES, key_del},
    {"function|load", -3, NO_SCRIPT, library_load},
    {"function|list", -2, NO_SCRIPT, library_list},
    {"function|delete", 3, NO_SCRIPT, library_delete},
    {"function|flush", -2, NO_SCRIPT, library_flush},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *find_command(const struct store_words *words)
{
    static const char prefix[] = "function|";
    size_t length = sizeof(prefix) - 1;
    bool nested = words->count > 1 && store_is(words, 0, "function");
    for (size_t i = 0; i < COMMANDS; i++)
        if (nested ? strncmp(commands[i].name, prefix, length) == 0 &&
                         store_is(words, 1, commands[i].name + length)
                   : store_is(words, 0, commands[i].name) && strchr(commands[i].name, '|') == NULL)
            return &commands[i];
    return NULL;
}

static void unknown(const struct store_words *words, struct answer *out)
{
    char told[256];
    size_t used = 0;
    if (words->count > 1 && store_is(words, 0, "function")) {
        answer_error(out, "ERR unknown subcommand '%.*s'. Try FUNCTION HELP.",
                     (int)(words->lengths[1] < 128 ? words->lengths[1] : 128), words->text[1]);
        return;
    }
    if (store_is(words, 0, "function")) {
        store_wrong_number(out, "function");
        return;
    }
    told[0] = '\0';
    for (int i = 1; i < words->count && used < 128; i++) {
        size_t length = words->lengths[i] < 128 - used ? words->lengths[i] : 128 - used;
        used += (size_t)snprintf(told + used, sizeof(told) - used, "'%.*s' ", (int)length,
                                 words->text[i]);
    }
    answer_error(out, "ERR unknown command '%.*s', with args beginning with: %s",
                 (int)(words->lengths[0] < 128 ? words->lengths[0] : 128), words->text[0], told);
}

static bool arity_holds(const struct command *command, int count)
{
    return command->arity > 0 ? count == command->arity : count >= -command->arity;
}

/* Redis words its refusals otherwise for a function than for a client. */
static const char *script_refusal(const struct command *command, int count,
                                  const struct functions_function *function)
{
    if (command == NULL)
        return "ERR Unknown Redis command called from script";
    if (!arity_holds(command, count))
        return "ERR Wrong number of args calling Redis command from script";
    if (command->kind == NO_SCRIPT)
        return "ERR This Redis command is not allowed from script";
    if (command->kind == WRITES && functions_is_read_only(function))
        return "ERR Write commands are not allowed from read-only scripts.";
    return NULL;
}

bool store_execute(struct store *store, const struct store_words *words,
                   const struct functions_function *function, struct answer *out)
{
    const struct command *command = find_command(words);
    answer_clear(out);
    const char *refusal = function == NULL ? NULL : script_refusal(command, words->count, function);
    if (refusal != NULL)
        answer_error(out, "%s", refusal);
    else if (command == NULL)
        unknown(words, out);
    else if (!arity_holds(command, words->count))
        store_wrong_number(out, command->name);
    else
        command->run(store, words, out);
    check(out->count > 0);
    return out->items[0].kind != ANSWER_ERROR;
}
