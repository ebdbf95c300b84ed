/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files: allocation, whole reads and writes. Called by the writer thread and by readers. It never moves a file position, so one file may be read and written at once.
 */
#include "storage/ledger/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

void segment_name(uint32_t number, char name[SEGMENT_NAME_MAX])
{
    snprintf(name, SEGMENT_NAME_MAX, "%08u.seg", number);
}

uint32_t segment_number(const char *name)
{
    uint64_t number = 0;
    size_t digits = strspn(name, "0123456789");
    if (digits < 8 || digits > 10 || strcmp(name + digits, ".seg") != 0)
        return 0;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)(name[i] - '0');
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

/*      error    cure                                                               */
#define CURES(X)                                                                                   \
    X(ENOSPC, "make room on its disk")                                                             \
    X(EDQUOT, "raise the quota of the user that runs the node")                                    \
    X(EFBIG, "raise the limit of file sizes (ulimit -f)")                                          \
    X(EMFILE, "raise the limit of open files (ulimit -n)")                                         \
    X(ENFILE, "raise fs.file-max")                                                                 \
    X(ENOMEM, "give the node more memory")                                                         \
    X(EROFS, "mount its disk for writing")                                                         \
    X(EACCES, "let the user that runs the node own the directory")                                 \
    X(EPERM, "let the user that runs the node own the directory")                                  \
    X(EEXIST, "move the file of that name away")                                                   \
    X(ENOENT, "bring the directory back and start the node again")

const char *segment_cure(int error)
{
    switch (error) {
#define X(value, cure)                                                                             \
    case value:                                                                                    \
        return cure;
        CURES(X)
#undef X
    default:
        return "check its disk";
    }
}

/* Asked first because an allocation that fails takes the last space for a moment, while others
 * write to this disk, too. */
static bool has_space(int directory, uint64_t bytes)
{
    struct statvfs status;
    if (fstatvfs(directory, &status) != 0 || status.f_blocks == 0) /* it does not say */
        return true;
    return (uint64_t)status.f_bavail * status.f_frsize >= bytes;
}

/* Removes a file that a failed attempt left behind; one without a first record holds no data. */
static bool remove_leftover(int directory, const char *name)
{
    uint8_t first[JOURNAL_RECORD_BYTES];
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, first, sizeof(first), 0);
    if (fd >= 0)
        close(fd);
    return got >= 0 && journal_is_zero(first, (size_t)got) && unlinkat(directory, name, 0) == 0;
}

int segment_create(int directory, uint32_t number, uint64_t bytes)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    char name[SEGMENT_NAME_MAX];
    segment_name(number, name);
    if (!has_space(directory, bytes))
        return -ENOSPC;
    int fd = openat(directory, name, flags, 0600);
    if (fd < 0 && errno == EEXIST) {
        if (!remove_leftover(directory, name))
            return -EEXIST;
        fd = openat(directory, name, flags, 0600);
    }
    if (fd < 0)
        return -errno;
    int error = posix_fallocate(fd, 0, (off_t)bytes);
    if (error == 0 && (fsync(fd) != 0 || fsync(directory) != 0))
        error = errno;
    if (error != 0) {
        close(fd);
        unlinkat(directory, name, 0);
        return -error;
    }
    return fd;
}

int segment_open(int directory, uint32_t number, bool writable, uint64_t *size)
{
    char name[SEGMENT_NAME_MAX];
    struct stat status;
    segment_name(number, name);
    int fd = openat(directory, name, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *size = (uint64_t)status.st_size;
    return fd;
}

int segment_write(int fd, uint64_t offset, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, bytes, length, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        bytes += written;
        offset += (uint64_t)written;
        length -= (size_t)written;
    }
    return 0;
}

int segment_read(int fd, uint64_t offset, uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t got = pread(fd, bytes, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        bytes += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

int segment_sync(int fd)
{
    return fdatasync(fd) == 0 ? 0 : -errno;
}

int segment_list(int directory, struct ledger_disk_list *out)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = copy < 0 ? NULL : fdopendir(copy);
    *out = (struct ledger_disk_list){0};
    if (names == NULL)
        return -errno;
    for (struct dirent *entry; (entry = readdir(names)) != NULL;) {
        uint32_t number = segment_number(entry->d_name);
        if (number == 0)
            continue;
        out->count++;
        if (out->first == 0 || number < out->first)
            out->first = number;
        if (number > out->last)
            out->last = number;
    }
    closedir(names);
    return 0;
}

int segment_remove(int directory, uint32_t number)
{
    char name[SEGMENT_NAME_MAX];
    segment_name(number, name);
    return unlinkat(directory, name, 0) == 0 && fsync(directory) == 0 ? 0 : -errno;
}
