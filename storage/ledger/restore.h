/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a state directory of what an archive has of a journal, where the node's own is lost: `tollgate ledger replay`
 * posts it to a Redis that lost its data, too. It needs no open ledger, and changes nothing in the archive.
 */
#ifndef TOLLGATE_LEDGER_RESTORE_H
#define TOLLGATE_LEDGER_RESTORE_H

#include <stddef.h>
#include <stdint.h>

#define LEDGER_ARCHIVED_MAX 1000u /* journals in one archive */

/* A journal in an archive. */
struct ledger_archived {
    char instance[33];
    uint32_t first, last,
        count; /* segments; those from the first to the last, unless some are missing */
};

/*
 * Lists the journals of an archive. *out is the caller's (free). Returns how many there are; or -E2BIG (more than
 * LEDGER_ARCHIVED_MAX), -ENOMEM, or another negative errno of the directory.
 */
int ledger_archive_list(const char *archive, struct ledger_archived **out);

/*
 * Makes a lane-a of the journal in the directory `state_dir`, which is empty: its instance, and its last segment, to
 * which a process may append. The others are read in the archive (ledger_options.reads_archive). 0, or a negative
 * errno and one sentence with the cure in `error`: -ENODATA (its first segments have ended, or one is missing), or what
 * the system says.
 */
int ledger_archive_restore(const char *archive, const struct ledger_archived *archived,
                           const char *state_dir, char *error, size_t error_size);

#endif
