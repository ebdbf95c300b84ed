/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading all keys of an account in Redis, to say whether they are as the functions write them and add
 * up. An admin thread calls it through release.c, on a connection of its own.
 */
#ifndef TOLLGATE_LEDGER_INSPECT_H
#define TOLLGATE_LEDGER_INSPECT_H

#include "storage/ledger/redis.h"

/* The names of an account's keys, as SCAN finds them. */
struct account_keys {
    char **names; /* owns */
    size_t count, room;
};
/* 0, -ENOMEM, or -EAGAIN with the cause in redis->error. Empties the list first. */
int account_keys_read(struct redis *redis, const struct ledger_account *account,
                      struct account_keys *out);
void account_keys_free(struct account_keys *keys);

struct inspection {
    bool is_open;             /* it has a plan */
    char key[LEDGER_KEY_MAX]; /* the first one that is damaged; "": none */
    char said
        [LEDGER_SAID_MAX]; /* what is wrong with it, or that the keys do not add up; "": nothing */
};
/*
 * Reads the keys. Where an account is posted meanwhile, it is read again, and after some times the sums
 * are not judged. 0, -ENOMEM, or -EAGAIN with the cause in redis->error.
 */
int account_inspect(struct redis *redis, const struct ledger_account *account,
                    struct inspection *out);

#endif
