/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access logs of `tollgate ledger reconcile`: files that are read line by line, and again from where
 * they ended, since a node may write on.
 */
#ifndef TOLLGATE_SERVER_COMMAND_RECONCILE_LOGS_H
#define TOLLGATE_SERVER_COMMAND_RECONCILE_LOGS_H

#include <stdio.h>

#include "storage/ledger/reconcile.h"

struct reconcile_log {
    const char *path; /* borrows */
    FILE *file;       /* owns; NULL: not open */
    uint64_t lines;
    uint64_t malformed, malformed_first; /* lines that are none, and the number of the first */
    uint64_t unnamed;                    /* bytes of lines without an account */
};

/* EX_OK, or an exit code after printing why: it cannot be read, or is compressed. */
int reconcile_log_open(const char *command, struct reconcile_log *log);
void reconcile_log_close(struct reconcile_log *log);
/* Reads all whole lines from where it ended before. EX_OK, or an exit code after printing why. */
int reconcile_log_read(const char *command, struct reconcile_log *log,
                       struct ledger_reconcile *reconcile, bool before);

#endif
