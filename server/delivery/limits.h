/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that a node applies without asking Redis: how many responses of a link and an account
 * run at once, how fast they are, and how many may end unacknowledged. They wait for nothing, and
 * refuse nobody: the steps that call them do.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_LIMITS_H
#define TOLLGATE_SERVER_DELIVERY_LIMITS_H

#include "server/delivery/exchange.h"

/* Called before a paced response sends on: its file may have been hashed meanwhile, so that its
 * bitrate is known. */
void limits_learn(const struct worker *worker, struct exchange *exchange);
/* Whether the response may have to wait for the rate of its link or account, or for its pace: the
 * client is not to blame for its slowness then. */
bool limits_bind(const struct exchange *exchange);
/* Takes from every bucket as much of `want` bytes as all of them give; all of it where none limits
 * the response. What is not sent is given back by limits_give. */
uint64_t limits_take(const struct worker *worker, const struct exchange *exchange, uint64_t want);
void limits_give(const struct exchange *exchange, uint64_t bytes);
/* Gives the limits of the token to the quota of its link. */
void limits_set(const struct exchange *exchange);
/* Counts the response where link and account allow one more. Returns REFUSAL_NONE, or why not;
 * either way limits_leave is to follow. */
enum refusal limits_enter(const struct worker *worker, struct exchange *exchange);
/* Counts a response whose account was limited while it was under way; it is not cut for that. */
void limits_join(struct exchange *exchange);
/* The response is over, or was refused: link and account have one less under way. */
void limits_leave(struct exchange *exchange);

#endif
