/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor's look at the journal's archive: whether the directory is there and can be written. doctor.c runs it. A
 * node starts without it, and keeps what it cannot archive.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/doctor/doctor_internal.h"

void doctor_examine_journal_archive(const struct config *config, struct doctor_finding *out)
{
    const char *path = config->journal_archive;
    struct stat facts;
    if (path[0] == '\0' && config->journal_keep_days == 0 && config->journal_keep_bytes == 0)
        doctor_find(out, DOCTOR_OK, "none, and no journal file is ever removed");
    else if (path[0] == '\0')
        doctor_find(out, DOCTOR_OK, "none; journal files end when they leave state_dir");
    else if (stat(path, &facts) != 0)
        doctor_find(out, DOCTOR_WARNING, "%s: %s; make it, or mount its disk", path,
                    strerrordesc_np(errno));
    else if (!S_ISDIR(facts.st_mode))
        doctor_find(out, DOCTOR_WARNING, "%s: is not a directory; choose another", path);
    else if (access(path, R_OK | W_OK | X_OK) != 0)
        doctor_find(out, DOCTOR_WARNING, "%s: %s; let the node's user own it", path,
                    strerrordesc_np(errno));
    else
        doctor_find(out, DOCTOR_OK, "%s", path);
}
