/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forged checkpoint of many accounts that no traffic has made, in a state directory that a node can be
 * started on.
 */
#ifndef TOLLGATE_TESTS_LEDGER_FORGE_MANY_H
#define TOLLGATE_TESTS_LEDGER_FORGE_MANY_H

#include "tests/unit/ledger/forge.h"

#define FORGE_FILES    5   /* that each account has downloaded on each of its days */
#define FORGE_RECORDS  100 /* of each account, beside its opening and its top-up */
#define FORGE_BYTES    1000
#define FORGE_MONEY    1000000
#define FORGE_DAYS_MAX 20

/* Leaves a state directory whose checkpoint has so many accounts more than its journal, which has shop/bob. */
void forge_many(struct forge *forge, const char *state, unsigned accounts, unsigned days);
/* The name of one of them, "shop/listener-0" and so on. Its length. */
int forge_many_name(unsigned number, char out[32]);

#endif
