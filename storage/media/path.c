/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that opens anything beneath the media root (workers pass the same flags to
 * their ring), always by openat2, so that the kernel itself refuses ways out, and symbolic
 * links where they are not to be followed. It never waits for a FIFO's other end, and never
 * resolves a path by any other call: statx and openat would follow links in intermediate
 * segments, and out of the root.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/media/media.h"
#include "storage/media/path_internal.h"

#define RESOLVE_SAFE (RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)

struct path_root path_root_of(int fd, bool follow_links)
{
    return (struct path_root){
        .fd = fd,
        .how = {
            /* O_NONBLOCK: a FIFO opens at once (and is then refused), without a writer. */
            .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
            .resolve = RESOLVE_SAFE | (follow_links ? 0 : RESOLVE_NO_SYMLINKS),
        }};
}

bool file_identity_equal(const struct file_identity *a, const struct file_identity *b)
{
    _Static_assert(sizeof(struct file_identity) == 5 * sizeof(uint64_t), "compared as bytes");
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool path_is_servable(const char *path, size_t length)
{
    if (length < 2 || length > MEDIA_PATH_MAX || path[0] != '/' || memchr(path, 0, length) != NULL)
        return false;

    /*
     * The token's parser refuses empty, "." and ".." segments already. Here they would give one
     * file several names in the cache, and to the kernel a ".." that stays beneath the root is not
     * a way out.
     */
    const char *end = path + length;
    for (const char *segment = path + 1; segment <= end;) {
        const char *slash = memchr(segment, '/', (size_t)(end - segment));
        size_t segment_length = (size_t)((slash != NULL ? slash : end) - segment);
        /* A name with a dot in front is hidden: .git, .htpasswd, leftovers of an editor
         * or a transfer. */
        if (segment_length == 0 || segment[0] == '.')
            return false;
        segment += segment_length + 1;
    }
    return true;
}

/* By syscall, since glibc has no wrapper. */
static int open_with(int root_fd, const char *relative, struct open_how how)
{
    long fd;
    do
        fd = syscall(SYS_openat2, root_fd, relative, &how, sizeof(how));
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : (int)fd;
}

int path_open(const struct path_root *root, const char *relative, uint64_t resolve_more)
{
    struct open_how how = root->how;
    how.resolve |= resolve_more;
    return open_with(root->fd, relative, how);
}

int path_open_directory(const struct path_root *root, const char *relative)
{
    struct open_how how = root->how;
    how.flags |= O_DIRECTORY;
    return open_with(root->fd, relative, how);
}

static uint64_t nanoseconds(struct timespec time)
{
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

int file_identify(int fd, struct file_identity *out, int64_t *mtime_s)
{
    struct stat status;
    if (fstat(fd, &status))
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOENT;
    *out = (struct file_identity){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = (uint64_t)status.st_size,
        .mtime_ns = nanoseconds(status.st_mtim),
        .ctime_ns = nanoseconds(status.st_ctim),
    };
    if (mtime_s != NULL)
        *mtime_s = status.st_mtim.tv_sec;
    return 0;
}

const char *media_relative_path(const char *path)
{
    check(path[0] == '/');
    return path + 1;
}
