/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of the journal, as a line of text and as JSON. command_ledger_inspect.c prints with it. A
 * client's address is shown only where the caller asks for it.
 */
#ifndef TOLLGATE_SERVER_COMMAND_LEDGER_RECORD_H
#define TOLLGATE_SERVER_COMMAND_LEDGER_RECORD_H

#include <jansson.h>
#include <stdio.h>

#include "storage/ledger/walk.h"

/* The word for a record's type: "usage". */
const char *ledger_record_type(enum journal_type type);
/* Prints a line, and one more for each response that the record describes. */
void ledger_record_print(FILE *out, const char *lane, const struct ledger_walk_record *shown,
                         bool with_clients);
/* The same facts as an object; NULL: no memory. The caller drops it. */
json_t *ledger_record_json(const char *lane, const struct ledger_walk_record *shown);

#endif
