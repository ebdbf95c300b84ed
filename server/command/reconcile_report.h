/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `tollgate ledger reconcile` prints: a line for each account that differs, totals, and what the
 * comparison could not see; or the same as JSON.
 */
#ifndef TOLLGATE_SERVER_COMMAND_RECONCILE_REPORT_H
#define TOLLGATE_SERVER_COMMAND_RECONCILE_REPORT_H

#include <jansson.h>

#include "server/command/reconcile_logs.h"

struct reconcile_report {
    bool with_all, with_redis, with_logs; /* the caller's, as the next two */
    const struct reconcile_log *logs;     /* borrows */
    size_t logs_count;
    json_t *rows; /* owns; NULL: text is printed */

    uint64_t accounts, differing;
    bool redis_differs, redis_lacks, journals_lack, logs_lack, logs_exceed;
    struct ledger_figures sums;
};

/* Takes an account, of a struct reconcile_report. */
void reconcile_report_take(void *report, const struct ledger_reconciled *account);
/* Prints totals, or the JSON. Returns the exit code: CLI_EXIT_NO where an account differs. */
int reconcile_report_end(const char *command, const struct reconcile_report *report,
                         const struct ledger_reconcile *reconcile);

#endif
