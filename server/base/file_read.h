/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small file, read whole. Called for the configuration, key sets, keys and secrets.
 */
#ifndef TOLLGATE_SERVER_BASE_FILE_READ_H
#define TOLLGATE_SERVER_BASE_FILE_READ_H

#include <stddef.h>

/*
 * Reads a small file whole: the configuration, a key set, a key. *text is NUL-terminated and the
 * caller's (free()). 0 or a negative errno; -EFBIG past size_max bytes.
 */
int file_read(const char *path, size_t size_max, char **text, size_t *length);
/* Likewise, what an open descriptor still has to give. */
int file_read_descriptor(int fd, size_t size_max, char **text, size_t *length);

#endif
