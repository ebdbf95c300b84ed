/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to a descriptor until all is written. Called for keys, copies of state directories and
 * archives. The ring and hash_log.c, which write at a place, do not use it.
 */
#ifndef TOLLGATE_SERVER_BASE_FILE_WRITE_H
#define TOLLGATE_SERVER_BASE_FILE_WRITE_H

#include <stddef.h>

/* Writes `length` bytes at the descriptor's offset. 0 or a negative errno: some of them may then be
 * written. A write that takes none is -EIO. It does not sync. */
int file_write_all(int fd, const void *bytes, size_t length);

#endif
