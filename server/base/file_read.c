/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small file, read whole: the configuration, a key set, a key. It interprets nothing.
 */
#include "server/base/file_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read_descriptor(int fd, size_t size_max, char **text, size_t *length)
{
    struct stat facts;
    *text = NULL;
    *length = 0;
    int result = fstat(fd, &facts) < 0 ? -errno : S_ISDIR(facts.st_mode) ? -EISDIR : 0;
    size_t capacity = 4096, used = 0;
    char *bytes = result == 0 ? malloc(capacity) : NULL;
    if (result == 0 && bytes == NULL)
        result = -ENOMEM;
    while (result == 0) {
        ssize_t got = read(fd, bytes + used, capacity - used - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            result = -errno;
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used > size_max)
            result = -EFBIG;
        if (result == 0 && used + 1 == capacity) {
            char *grown = realloc(bytes, capacity * 2);
            if (grown == NULL) {
                result = -ENOMEM;
                break;
            }
            bytes = grown;
            capacity *= 2;
        }
    }
    if (result != 0) {
        free(bytes);
        return result;
    }
    bytes[used] = '\0';
    *text = bytes;
    *length = used;
    return 0;
}

int file_read(const char *path, size_t size_max, char **text, size_t *length)
{
    *text = NULL;
    *length = 0;
    /* Without O_NONBLOCK a path that names a FIFO would hang the start. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int result = file_read_descriptor(fd, size_max, text, length);
    close(fd);
    return result;
}
