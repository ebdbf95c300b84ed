/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two files of the archive share.
 */
#ifndef TOLLGATE_LEDGER_ARCHIVE_INTERNAL_H
#define TOLLGATE_LEDGER_ARCHIVE_INTERNAL_H

#include "storage/ledger/archive.h"

#define ARCHIVE_PIECE     ((size_t)256 * 1024) /* that is compressed or read at once */
#define ARCHIVE_PART      ".part"
#define ARCHIVE_PART_SIZE (ARCHIVE_NAME_SIZE + 8)

/* The name of the file until it is whole. */
void archive_part_name(const char instance[LEDGER_HEX_SIZE], uint32_t number,
                       char out[ARCHIVE_PART_SIZE]);

#endif
