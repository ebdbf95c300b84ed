/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to a descriptor until all is written. It opens and syncs nothing.
 */
#include "server/base/file_write.h"

#include <errno.h>
#include <unistd.h>

int file_write_all(int fd, const void *bytes, size_t length)
{
    const char *next = bytes;
    while (length > 0) {
        ssize_t written = write(fd, next, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        next += written;
        length -= (size_t)written;
    }
    return 0;
}
