/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a command, and what Redis' answers mean. Whoever talks to Redis from the ledger's
 * folder uses it, over whatever connection.
 */
#ifndef TOLLGATE_LEDGER_REDIS_TALK_H
#define TOLLGATE_LEDGER_REDIS_TALK_H

#include <hiredis/hiredis.h>

#include "storage/ledger/ledger.h"

#define REDIS_ARGUMENTS_MAX 4096

/* A command under construction. The texts are borrowed until the command is sent. */
struct redis_arguments {
    int count;
    const char *text[REDIS_ARGUMENTS_MAX];
    size_t lengths[REDIS_ARGUMENTS_MAX];
};
void redis_add(struct redis_arguments *arguments, const char *text);
void redis_add_bytes(struct redis_arguments *arguments, const char *text, size_t length);

/* What INFO says of the server. */
struct redis_facts {
    char run_id[64], replication_id[64];
    bool noeviction, append_only, loading, replica;
    char policy[32], version[32];
};

/* Reads the reply to INFO. False with the cause in `error` where Redis refuses it, or says too
 * little. */
bool redis_read_facts(const redisReply *reply, const struct ledger_options *options,
                      struct redis_facts *out, char *error, size_t error_size);

/* Reads the reply to TIME, in ms since 1970. False where it is something else. */
bool redis_read_time(const redisReply *reply, int64_t *out);

/* The commands that ask for the library's version (an integer; an error where Redis has no library)
 * and for its text, the text of this program, and whether a reply to the second (or NULL) has exactly
 * this text: another build may have the same version. */
extern const char *const redis_version_words[3];
extern const char *const redis_library_words[5];
const char *redis_library_text(void);
bool redis_is_this_library(const redisReply *reply);

#endif
