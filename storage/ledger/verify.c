/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a lane for reading alone, and has its journal verified. See verify.h.
 */
#include "storage/ledger/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/archive.h"
#include "storage/ledger/journal.h"
#include "storage/ledger/lane.h"
#include "storage/ledger/names.h"

#define FILES_HINT 4096

_Static_assert(LEDGER_LANES_MAX == LANES_MAX, "each lane is verified");
_Static_assert(sizeof(((struct ledger_verification *)NULL)->lane) == LANE_NAME_SIZE, "as lane.h");
_Static_assert(sizeof(((struct ledger_verification *)NULL)->instance) == LEDGER_HEX_SIZE,
               "likewise");

static int verify_journal(int directory, const uint8_t instance[JOURNAL_ID_BYTES],
                          struct ledger_verification *out, char *error, size_t error_size)
{
    struct names names;
    struct archive_disk disk;
    int result = names_init(&names, FILES_HINT, FILES_HINT);
    if (result != 0) {
        close(directory);
        return result;
    }
    result = archive_disk_open(&disk, &ledger_system_disk, directory, instance, out->archive);
    if (result == 0)
        result = journal_verify(&disk.table, &names, directory, instance, out, error, error_size);
    else {
        snprintf(error, error_size,
                 "the archive %s cannot be read: %s; name another one by --archive", out->archive,
                 strerrordesc_np(-result));
        close(directory);
    }
    archive_disk_close(&disk);
    for (struct ledger_account *account = names_recorded(&names); account != NULL;
         account = names_recorded_next(account))
        out->accounts++;
    names_free(&names);
    /* A segment that was listed and cannot be opened: the lane itself is there. */
    return result == -ENOENT ? -EIO : result;
}

static const char *cure(int error)
{
    switch (error) {
    case EBADMSG:
        return "its file `instance` is damaged, or its directory `journal` is missing: take "
               "another copy";
    case EACCES:
    case EPERM:
        return "run this as the user that runs the node, or as root";
    case ENOMEM:
        return "it needs memory for the name of each account and file there";
    default:
        return "see what the kernel's log says of the disk, and take another copy";
    }
}

static int verify_once(const char *state_dir, unsigned lane, struct ledger_verification *out,
                       char *error, size_t error_size)
{
    uint8_t instance[JOURNAL_ID_BYTES];
    int directory = -1;
    *out = (struct ledger_verification){.progress = out->progress,
                                        .take = out->take,
                                        .context = out->context,
                                        .day_end_ms = out->day_end_ms,
                                        .archive = out->archive};
    error[0] = '\0';
    lane_name(lane, out->lane);
    out->is_written = lane_is_locked(state_dir, lane);
    int result = lane_look(state_dir, lane, instance, &directory);
    if (result == 0) {
        lane_to_hex(instance, out->instance);
        result = verify_journal(directory, instance, out, error, error_size);
    }
    if (result != 0 && result != -ENOENT && error[0] == '\0')
        snprintf(error, error_size,
                 "%s/%s cannot be read beyond byte %" PRIu64 " of segment %" PRIu32 ": %s; %s",
                 state_dir, out->lane, out->position, out->segment, strerrordesc_np(-result),
                 cure(-result));
    return result;
}

int ledger_verify(const char *state_dir, unsigned lane, struct ledger_verification *out,
                  char *error, size_t error_size)
{
    int result = verify_once(state_dir, lane, out, error, error_size);
    /* A process began to write meanwhile: what it appended looks like a torn tail, or like damage. */
    bool has_begun = !out->is_written && lane_is_locked(state_dir, lane);
    if (has_begun && out->take != NULL && result != 0) {
        snprintf(error, error_size, "%s/%s: a process began to write meanwhile; ask again",
                 state_dir, out->lane);
        result = -EAGAIN; /* `take` has had the records, and must not get them twice */
    } else if (has_begun && out->take == NULL)
        result = verify_once(state_dir, lane, out, error, error_size);
    return result;
}
