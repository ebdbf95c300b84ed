/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis that a test plays itself: it sees each command that a step sends, and answers when it
 * likes, late, never, or with the end of the connection. Nothing here waits.
 */
#ifndef TOLLGATE_TESTS_LEDGER_SCRIPT_H
#define TOLLGATE_TESTS_LEDGER_SCRIPT_H

#include <stdbool.h>

#include "storage/ledger/outside.h"

#define SCRIPT_COMMANDS_MAX 1024
#define SCRIPT_TEXT_MAX     700

struct script_command {
    char text[SCRIPT_TEXT_MAX]; /* its words, with blanks between them, cut where it is longer */
    ledger_redis_done *done;
    void *context;
};

struct script {
    struct ledger_redis table;
    bool is_open, is_ready, is_introduced;
    unsigned opens, closes;
    const char *error;
    ledger_redis_done *heard;
    void *heard_context;
    struct script_command commands[SCRIPT_COMMANDS_MAX]; /* a ring */
    unsigned first, count;
};

void script_init(struct script *script);
/* Takes the connection that is being made. */
void script_accept(struct script *script);
/* The oldest command without an answer; "" where there is none. */
const char *script_next(const struct script *script);
/* Answers it, in Redis' protocol: "+OK\r\n", ":1\r\n", "*2\r\n...". */
void script_answer(struct script *script, const char *protocol);
/* Brings a message that a subscription hears. */
void script_publish(struct script *script, const char *protocol);
/* Ends the connection: whatever has no answer gets none. */
void script_cut(struct script *script, const char *error);

#endif
