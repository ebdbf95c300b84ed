/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths beneath the media root: which may be opened, how they are opened, and what tells one
 * version of a file from another. The cache, the hasher and the scan all use it, so that they see
 * the same files.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_PATH_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_PATH_INTERNAL_H

#include <linux/openat2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One version of one file. The change time is part of it because anyone can set the
 * modification time back (rsync -t, cp -p) and nobody the change time. Five u64 without
 * padding, compared as bytes.
 */
struct file_identity {
    uint64_t device, inode, size;
    uint64_t mtime_ns, ctime_ns; /* since 1970, two's complement */
};

bool file_identity_equal(const struct file_identity *a, const struct file_identity *b);

/* The root, and the flags of every open beneath it (RESOLVE_CACHED is added for one that
 * must not wait). */
struct path_root {
    int fd; /* O_PATH */
    struct open_how how;
};

/* With `follow_links` the kernel follows symbolic links that stay beneath the root all the way
 * (RESOLVE_BENEATH: an absolute one never does); otherwise none. `fd` stays the caller's. */
struct path_root path_root_of(int fd, bool follow_links);

/* Whether a path may be served: absolute, without NUL, with no segment that is empty or begins with
 * a dot, and of at most MEDIA_PATH_MAX bytes. */
bool path_is_servable(const char *path, size_t length);

/*
 * Opens a path relative to the root (never ""). `resolve_more` is 0 or RESOLVE_CACHED. Returns a
 * descriptor, of whatever kind of object, so that file_identify must follow; or a negative errno.
 */
int path_open(const struct path_root *root, const char *relative, uint64_t resolve_more);

/* The same for a directory to be listed; "." is the root itself. */
int path_open_directory(const struct path_root *root, const char *relative);

/* Identity and modification time (`mtime_s` may be NULL) of an open regular file. 0, -ENOENT for
 * anything else, or fstat's errno. */
int file_identify(int fd, struct file_identity *out, int64_t *mtime_s);

#endif
