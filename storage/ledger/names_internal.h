/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What names.c and names_records.c share. Nobody else includes this.
 */
#ifndef TOLLGATE_STORAGE_LEDGER_NAMES_INTERNAL_H
#define TOLLGATE_STORAGE_LEDGER_NAMES_INTERNAL_H

#include "storage/ledger/names.h"

/* The length of the issuer in "issuer/account"; 0 where the text is not such a name. */
size_t names_split(const char *text, size_t length);
/* Finds the issuer, or makes it. NULL without memory. */
struct names_issuer *names_issuer_of(struct names *names, const char *id, size_t length);
/* Takes a name out of its bucket. The caller has the lock. */
void names_take_out(struct names *names, struct ledger_name *name);
void names_free_one(struct ledger_name *name, enum journal_kind kind);

#endif
