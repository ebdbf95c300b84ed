/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes the whole library ahead of its first requests for `tollgate media scan`, or one file for
 * `tollgate media show`. It works in the calling thread and opens everything as a request would, so
 * it sees exactly the files that can be served, and never reads outside the root.
 *
 * The walk follows no symbolic link, even where requests do: the target of a link lies beneath the
 * root and is met there, so that loops of links do no harm, and the hash is the file's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "storage/media/media_internal.h"

/* ---- the walk ---- */

/*
 * Directories that wait to be listed: their absolute paths, the latest first. Only one directory is
 * open at a time, so neither depth nor breadth costs descriptors; the number of directories bounds
 * the list.
 */
struct pending {
    struct pending *next;
    size_t path_length;
    char path[]; /* "" for the root, else without a slash at the end */
};

struct walk {
    const struct path_root *root;
    struct pending *pending; /* owns */
    /* Each may return non-zero, which ends the walk and is its result. */
    int (*on_file)(void *context, const char *path, uint64_t size);
    int (*on_link)(void *context, const char *path);
    int (*on_unreadable)(void *context, const char *path, int error);
    void *context;
};

static int walk_later(struct walk *walk, const char *path, size_t path_length)
{
    struct pending *directory = malloc(sizeof(*directory) + path_length + 1);
    if (directory == NULL)
        return -ENOMEM;
    memcpy(directory->path, path, path_length);
    directory->path[path_length] = '\0';
    directory->path_length = path_length;
    directory->next = walk->pending;
    walk->pending = directory;
    return 0;
}

static int walk_entry(struct walk *walk, int directory_fd, const struct pending *directory,
                      const char *name)
{
    size_t name_length = strlen(name);
    /* A longer path cannot be asked for either; `.` and `..` are not servable. */
    if (directory->path_length + 1 + name_length > MEDIA_PATH_MAX)
        return 0;
    char path[MEDIA_PATH_MAX + 1];
    memcpy(path, directory->path, directory->path_length);
    path[directory->path_length] = '/';
    memcpy(path + directory->path_length + 1, name, name_length + 1);
    size_t path_length = directory->path_length + 1 + name_length;
    if (!path_is_servable(path, path_length))
        return 0;

    /* One segment, so there is no intermediate link to follow. */
    struct stat status;
    if (fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW))
        return 0; /* gone since it was listed */
    if (S_ISDIR(status.st_mode))
        return walk_later(walk, path, path_length);
    if (S_ISREG(status.st_mode))
        return walk->on_file(walk->context, path, (uint64_t)status.st_size);
    if (S_ISLNK(status.st_mode))
        return walk->on_link(walk->context, path);
    return 0;
}

static int walk_directory(struct walk *walk, const struct pending *directory)
{
    bool is_root = directory->path_length == 0;
    int fd = path_open_directory(walk->root, is_root ? "." : media_relative_path(directory->path));
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        int error = fd < 0 ? fd : -errno;
        if (fd >= 0)
            close(fd);
        return is_root ? error : walk->on_unreadable(walk->context, directory->path, error);
    }

    int result = 0;
    while (!result) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            if (errno)
                result =
                    walk->on_unreadable(walk->context, is_root ? "/" : directory->path, -errno);
            break;
        }
        result = walk_entry(walk, fd, directory, entry->d_name);
    }
    closedir(stream);
    return result;
}

static int walk_all(struct walk *walk)
{
    int result = walk_later(walk, "", 0);
    while (walk->pending != NULL) {
        struct pending *directory = walk->pending;
        walk->pending = directory->next;
        if (!result)
            result = walk_directory(walk, directory);
        free(directory);
    }
    return result;
}

/* ---- hashing ---- */

struct scan {
    struct media *media;
    struct content_reader *reader; /* owns */
    int (*progress)(void *context, const struct media_scan_progress *progress);
    void *context;
    struct media_scan_progress so_far;
};

static bool go_on(void *context, uint64_t bytes)
{
    const struct scan *scan = context;
    hasher_count_bytes(scan->media->hasher, bytes);
    return true;
}

static void settle(const struct file_identity *identity)
{
    uint64_t wait_ns = content_settle_ns(identity, content_now_ns());
    struct timespec left = {.tv_sec = (time_t)(wait_ns / 1000000000U),
                            .tv_nsec = (long)(wait_ns % 1000000000U)};
    while (wait_ns && nanosleep(&left, &left) && errno == EINTR)
        ;
}

/* 1 where it had to be hashed, 0 where the hash was known, or a negative errno. */
static int hash_unknown(struct scan *scan, int fd, struct content_hash *hash)
{
    struct file_identity identity;
    int error = file_identify(fd, &identity, NULL);
    if (error)
        return error;
    if (hash_store_find(scan->media->hashes, &identity, hash))
        return 0;
    settle(&identity);
    /* With 0 every file is read past the page cache, because a library is larger than memory. */
    error = content_reader_hash(scan->reader, fd, &identity, 0, go_on, scan, hash);
    hasher_count_file(scan->media->hasher, error == 0);
    if (error)
        return error;
    hash_store_put(scan->media->hashes, &identity, hash);
    return 1;
}

int media_show(struct media *media, const char *path, struct media_facts *out)
{
    struct scan scan = {.media = media};
    struct content_hash hash = {0};
    struct file_identity identity = {0};
    *out = (struct media_facts){0};
    if (!path_is_servable(path, strlen(path)))
        return -EINVAL;
    int error = content_reader_create(&scan.reader);
    if (error)
        return error;
    int fd = path_open(&media->root, media_relative_path(path), 0);
    error = fd < 0 ? fd : file_identify(fd, &identity, &out->mtime_s);
    if (!error)
        error = hash_unknown(&scan, fd, &hash);
    if (error >= 0) {
        out->size = identity.size;
        out->duration_ms = hash.facts.duration_ms;
        out->bitrate = hash.facts.bitrate;
        content_hash_etag(&hash, out->etag);
    }
    if (fd >= 0)
        close(fd);
    content_reader_destroy(&scan.reader);
    return error < 0 ? error : 0;
}

int media_find(const struct media *media, const char *path)
{
    size_t length = strlen(path);
    struct file_identity identity;
    int64_t mtime_s;
    bool is_directory = length > 0 && path[length - 1] == '/';
    /* The media root itself, "/", has no segment that could be unservable. */
    if (length > 1 && !path_is_servable(path, is_directory ? length - 1 : length))
        return -EINVAL;
    const char *relative = length > 1 ? media_relative_path(path) : ".";
    int fd = is_directory ? path_open_directory(&media->root, relative)
                          : path_open(&media->root, relative, 0);
    if (fd < 0)
        return fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV ? -ENOENT : fd;
    int error = is_directory ? 0 : file_identify(fd, &identity, &mtime_s);
    close(fd);
    return error;
}

/* Calls `progress`. The path is the walk's, and lives no longer than this call. */
static int tell(struct scan *scan, const char *path, const char *etag, int error, bool passed_over)
{
    struct media_scan_progress *so_far = &scan->so_far;
    so_far->path = path;
    so_far->etag = etag;
    so_far->error = error;
    so_far->passed_over = passed_over;
    int stop = scan->progress != NULL && scan->progress(scan->context, so_far) ? 1 : 0;
    so_far->path = NULL;
    return stop;
}

static int report(struct scan *scan, const char *path, const char *etag, int error)
{
    struct media_scan_progress *so_far = &scan->so_far;
    /* The library may have grown since it was counted. */
    if (so_far->files_total < so_far->files_done)
        so_far->files_total = so_far->files_done;
    if (so_far->bytes_total < so_far->bytes_done)
        so_far->bytes_total = so_far->bytes_done;
    return tell(scan, path, etag, error, false);
}

static int scan_file(void *context, const char *path, uint64_t size)
{
    struct scan *scan = context;
    char etag[MEDIA_ETAG_SIZE] = "";
    int fd = path_open(&scan->media->root, media_relative_path(path), 0);
    int result = fd;
    if (fd >= 0) {
        struct content_hash hash;
        result = hash_unknown(scan, fd, &hash);
        close(fd);
        if (result >= 0)
            content_hash_etag(&hash, etag);
    }
    scan->so_far.files_done++;
    scan->so_far.files_hashed += result == 1;
    scan->so_far.bytes_done += size;
    return report(scan, path, etag, result < 0 ? result : 0);
}

/* Reports a link that leads to nothing that is served. */
static int scan_link(void *context, const char *path)
{
    struct scan *scan = context;
    struct stat status;
    int fd = path_open(&scan->media->root, media_relative_path(path), 0);
    bool reached =
        fd >= 0 && !fstat(fd, &status) && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
    if (fd >= 0)
        close(fd);
    if (reached)
        return 0;
    scan->so_far.links_passed_over++;
    return tell(scan, path, "", 0, true);
}

static int scan_unreadable(void *context, const char *path, int error)
{
    return report(context, path, "", error);
}

static int count_file(void *context, const char *path, uint64_t size)
{
    struct scan *scan = context;
    (void)path;
    scan->so_far.files_total++;
    scan->so_far.bytes_total += size;
    return 0;
}

/* Both are reported when they are scanned, not when they are counted. */
static int count_link(void *context, const char *path)
{
    (void)context;
    (void)path;
    return 0;
}

static int count_unreadable(void *context, const char *path, int error)
{
    (void)context;
    (void)path;
    (void)error;
    return 0;
}

int media_scan(struct media *media,
               int (*progress)(void *context, const struct media_scan_progress *), void *context)
{
    struct scan scan = {.media = media, .progress = progress, .context = context};
    int result = content_reader_create(&scan.reader);
    if (result)
        return result;
    hash_store_refresh(media->hashes);

    struct walk walk = {
        .root = &media->root,
        .on_file = count_file,
        .on_link = count_link,
        .on_unreadable = count_unreadable,
        .context = &scan,
    };
    result = walk_all(&walk);
    if (!result) {
        walk.on_file = scan_file;
        walk.on_link = scan_link;
        walk.on_unreadable = scan_unreadable;
        result = walk_all(&walk);
    }
    content_reader_destroy(&scan.reader);
    return result;
}
