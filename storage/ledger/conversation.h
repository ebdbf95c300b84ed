/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to Redis for a thread of the ledger's own: the table `struct ledger_redis` over a
 * socket that never blocks. The poster and push each have one, and wait in conversation_wait alone.
 * All calls come from one thread, which has SIGPIPE blocked, since hiredis writes without
 * MSG_NOSIGNAL.
 *
 *   closed --open--> connecting --> introducing (AUTH) --> ready
 *      ^                 |               |                   |
 *      '---- close ---- broken <-- refused, cut, or too late-'
 */
#ifndef TOLLGATE_LEDGER_CONVERSATION_H
#define TOLLGATE_LEDGER_CONVERSATION_H

#include "storage/ledger/outside.h"
#include "storage/ledger/where.h"

struct conversation;

/* All that is given is borrowed. `wake_fd` is an eventfd that ends a wait. 0 or -ENOMEM. */
int conversation_create(struct conversation **out, struct where *where,
                        const struct ledger_options *options, const struct ledger_clock *clock,
                        int wake_fd);
void conversation_destroy(struct conversation **conversation);
/* Its table of functions, which lives as long as the conversation. */
const struct ledger_redis *conversation_redis(struct conversation *conversation);
/* As its `open`, to another address than that in force. */
int conversation_open_at(struct conversation *conversation,
                         const struct ledger_redis_address *address);
/*
 * Waits until Redis can be read or written, wake_fd is written, a deadline of the connection has
 * passed, or it is `until_ms`; then moves what can be moved, and calls `done` of what was answered.
 */
void conversation_wait(struct conversation *conversation, uint64_t until_ms);

#endif
