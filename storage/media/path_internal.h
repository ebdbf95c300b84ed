/*
 * Paths beneath the media root: which may be opened, how they are opened, and what tells one
 * version of a file from another. Used by the cache, the hasher and the scan, so that all three see
 * the same files.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_PATH_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_PATH_INTERNAL_H

#include <linux/openat2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One version of one file. The change time is in it because the modification time can be set back
 * by anyone (rsync -t, cp -p) and the change time by nobody. Five u64 without padding: compared as
 * bytes.
 */
struct file_identity {
    uint64_t device, inode, size;
    uint64_t mtime_ns, ctime_ns; /* since 1970, two's complement */
};

bool file_identity_equal(const struct file_identity *a, const struct file_identity *b);

/* The root, and the flags of every open beneath it, but for RESOLVE_CACHED. */
struct path_root {
    int fd; /* O_PATH */
    struct open_how how;
};

/* `follow_links`: symbolic links are followed where the kernel finds that they stay beneath the root on
 * their whole way (RESOLVE_BENEATH: an absolute one never does); else no link is. */
struct path_root path_root_of(int fd, bool follow_links);

/* Absolute, no empty, `.` or `..` segment, no NUL, at most MEDIA_PATH_MAX bytes. */
bool path_is_servable(const char *path, size_t length);

/*
 * Opens a path relative to the root ("" is not one). `resolve_more` is 0 or RESOLVE_CACHED. A
 * descriptor or a negative errno: whatever the object is, so file_identify must follow.
 */
int path_open(const struct path_root *root, const char *relative, uint64_t resolve_more);

/* The same for a directory to be listed; "." is the root itself. */
int path_open_directory(const struct path_root *root, const char *relative);

/* Identity and modification time of an open regular file; -ENOENT for anything else. */
int file_identify(int fd, struct file_identity *out, int64_t *mtime_s);

#endif
