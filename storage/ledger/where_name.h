/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is configured as Redis' place, taken apart: an address, a name to be resolved, or the
 * Sentinels that know it. Only this folder includes it.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_WHERE_NAME_H
#define TOLLGATE_STORAGE_LEDGER_WHERE_NAME_H

#include "storage/ledger/ledger.h"

#define WHERE_SENTINELS_MAX 16

struct where_name {
    char master[65]; /* by which the Sentinels know the master; "": at[0] is Redis' own place */
    struct ledger_redis_address at[WHERE_SENTINELS_MAX];
    unsigned count;
};

/* `text` is as ledger_redis_validate takes it. 0, or -EINVAL with a sentence that has the cure and
 * no secret. */
int where_name_parse(struct where_name *name, const char *text, char *error, size_t size);

#endif
