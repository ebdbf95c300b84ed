/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Days and spans of days in UTC as the command line names them: --day, --from and --to. Used by command_usage.c,
 * command_download_list.c and command_ledger_verify.c.
 */
#ifndef TOLLGATE_SERVER_COMMAND_DAYS_H
#define TOLLGATE_SERVER_COMMAND_DAYS_H

#include <stdint.h>

#define DAYS_S 86400 /* seconds of one */

/* Days since 1970, both inclusive. */
struct days {
    int64_t first, last;
};

/* Reads one day, the value of `option`, as days since 1970. As days_read. */
int days_read_one(const char *command, const char *option, const char *text, int64_t *out);

/*
 * Reads --from and --to, such as 2026-11-23; NULL: not given. The last day is today then, and the first one such
 * that there are `count`. EX_OK, or EX_USAGE after printing why.
 */
int days_read(const char *command, const char *from, const char *to, unsigned count,
              struct days *out);

#endif
