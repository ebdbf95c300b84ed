/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The media: the files that are served. It opens paths beneath the media root and nowhere else,
 * keeps hot files open, and knows each file's content hash (its strong validator). The server's
 * workers use it, and the commands `media scan`, `media show` and those that explain a link's path.
 * It knows nothing of tokens, accounts or HTTP, and never blocks a worker on a cold disk: what
 * might block is handed back for the ring (openat2) or done on the hasher's thread.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_H
#define TOLLGATE_STORAGE_MEDIA_H

#include <linux/openat2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "server/base/metric.h"

#define MEDIA_PATH_MAX  1024 /* bytes of a decoded path, with its leading slash */
#define MEDIA_ETAG_SIZE 35   /* quote, 32 hex digits of XXH3-128, quote, NUL */

/* Shared by all threads of the process: the root, the store of hashes, the hasher's thread. */
struct media;

struct media_options {
    const char *root;        /* directory; opened once, with O_PATH */
    bool follow_links;       /* follow symbolic links that stay within the root all the way */
    const char *state_dir;   /* must exist; holds the store, `hashes`; NULL: memory only */
    uint32_t hash_queue_max; /* files that may wait for the hasher; others ask again later */
    uint32_t hash_first_max; /* files that may wait through media_file_hash_first */
    /* Called on the hasher's thread after each file of media_file_hash_first; may be NULL. */
    void (*hashed)(void *context);
    void *context;
    uint32_t hash_entries_max; /* hashes remembered; at the bound the oldest goes */
};

/*
 * Opens the root and the hash store, starts the hasher. 0; on failure a negative errno and, in
 * `error`, one sentence with the thing and the cure. A hash store that cannot be read or written is
 * not a failure: hashes then stay in memory, and media_hash_stats.store_error says why. Several
 * processes may have the same store open (a node and a scan): each learns what the others append.
 */
int media_open(struct media **out, const struct media_options *options, char *error,
               size_t error_size);
/*
 * Stops the hasher (which leaves its file half way) and frees. All caches must have been destroyed.
 */
void media_close(struct media **media);

/* Those that a node tells; the columns are explained in server/base/metric.h. */
#define MEDIA_METRICS(X)                                                                           \
    X(files_hashed, COUNTER, "files", "", files_hashed, "Files that this process has hashed.")     \
    X(bytes_hashed, COUNTER, "bytes", "", bytes_hashed,                                            \
      "Bytes that were read to hash files, those that changed meanwhile included.")                \
    X(queue_length, GAUGE, "files", "", queue_length,                                              \
      "Files that wait to be hashed, or that are being hashed.")                                   \
    X(queue_refused, COUNTER, "files", "", queue_refused,                                          \
      "Times that a file found the queue full.")                                                   \
    X(entries, GAUGE, "hashes", "", entries, "Hashes that are known.")

struct media_hash_stats {
    MEDIA_METRICS(METRIC_FIELD)
    uint64_t files_abandoned; /* changed while they were read, or unreadable; asked again later */
    uint64_t entries_loaded;  /* hashes read from the disk, other processes' included */
    uint64_t records_damaged; /* records on disk whose checksum was wrong: ignored */
    uint64_t store_failures;  /* hashes that could not be written to the disk */
    int store_error; /* negative errno of the store's latest read or write, 0 when it worked */
};
void media_stats(const struct media *media, struct media_hash_stats *out);

/* ---- the open-file cache: one per worker, not thread-safe ---- */

struct media_cache;

/* Whether a file's file system tells, by RWF_NOWAIT, what is in memory. */
enum media_telling {
    MEDIA_TELLS,            /* ext4, XFS, btrfs; assumed until it refuses */
    MEDIA_CANNOT_TELL,      /* FUSE, NFS: only what was brought in a moment ago is known */
    MEDIA_ALWAYS_IN_MEMORY, /* tmpfs, ramfs */
};

/*
 * One version of one file, open. Reference counted without atomics: it belongs to the worker whose
 * cache opened it. The descriptor stays open until the last reference is dropped, so a file that is
 * replaced by rename keeps serving its old bytes to responses under way. (A file that is rewritten
 * in place cannot: its bytes change under them. New versions belong under the name by rename.) Use
 * the descriptor for positioned reads only: its offset and read-ahead are shared by all holders.
 */
struct media_file {
    int fd;
    uint64_t size;
    int64_t mtime_s;
    /*
     * The second of its latest change of any kind: that of mtime, or of ctime where ctime is
     * later. mtime can be set back (cp -p, rsync -t, reproducible images) and so name two
     * versions; ctime cannot.
     */
    int64_t changed_s;
    /*
     * "" until hashed; a get or media_file_learn may fill it in, and nothing changes it afterwards.
     */
    char etag[MEDIA_ETAG_SIZE];
    uint32_t duration_ms, bitrate; /* of an MP3, filled in with the etag; 0: unknown */
    uint8_t telling;               /* enum media_telling; private to media, as are the next two */
    uint64_t serial;               /* the cache's number for this version */
    uint64_t cold_ms;              /* when one of its blocks was last found not to be in memory */
    char path[MEDIA_PATH_MAX + 1];
    size_t path_length;
    uint32_t references; /* private to media and its owner thread */
    char *bytes;         /* owns; see media_file_bytes */
    void *user;          /* for the worker; NULL at first; see media_cache_create */
};

/*
 * Makes a cache that remembers `entries_max` paths. At the bound the least recently used idle file
 * goes; where all are in use, a further file is served without being remembered. Missing files are
 * remembered in at most a quarter of the entries and never push out an open one, so guessing names
 * does not empty the cache. A cached file is compared with the disk (by a fresh openat2 and fstat,
 * since statx would follow symbolic links on its way) once `revalidate_ms` have passed since the
 * last comparison. `user_free(file->user)` is called, where neither is NULL, when a file is freed.
 * 0, -EINVAL (no entries), -ENOMEM, -EIO (no random numbers). Before media_cache_destroy every
 * reference must have been dropped.
 */
int media_cache_create(struct media_cache **out, struct media *media, uint32_t entries_max,
                       uint32_t revalidate_ms, void (*user_free)(void *user));
void media_cache_destroy(struct media_cache **cache);

/* Keeps the descriptors of opened files below `bound` (at first INT_MAX), because the owner needs
 * those above for something else: a further file takes the place of an idle one, or is -EMFILE. */
void media_cache_set_descriptor_max(struct media_cache *cache, int bound);
/* Closes the least recently used idle file; false where none is idle. */
bool media_cache_give_back(struct media_cache *cache);

/*
 * Finds a path (decoded, absolute, NUL-terminated at path_length, as token_target_parse made it).
 * `now_ms` is a monotonic clock.
 *   0        *out holds a reference for the caller, to be dropped with media_file_drop
 *   -EAGAIN  not cached, and opening might block: run openat2 on the ring with media_open_how, then
 *            give the outcome to media_cache_admit
 *   -ENOENT  no such regular file (a directory, a device, a link not followed or a permission
 *            denied are the same to a client); remembered for revalidate_ms
 *   -EMFILE, -ENOMEM, -EIO   the caller answers 503
 * It tries the open itself first, with RESOLVE_CACHED, which never touches the disk. Where
 * descriptors or memory run out while a cached file is compared with the disk, the cached version
 * is served.
 */
int media_cache_get(struct media_cache *cache, const char *path, size_t path_length,
                    uint64_t now_ms, struct media_file **out);

/*
 * What to pass to io_uring_prep_openat2: the root's descriptor (borrowed), the path relative to it
 * (borrowed from `path`) and the flags: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, with
 * RESOLVE_NO_SYMLINKS unless follow_links; O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY.
 */
int media_root_fd(const struct media *media);
const struct open_how *media_open_how(const struct media *media);
const char *media_relative_path(const char *path);

/* Takes what openat2 on the ring gave: a descriptor (the cache owns it from here on) or a negative
 * errno. Returns as media_cache_get does, except -EAGAIN. */
int media_cache_admit(struct media_cache *cache, const char *path, size_t path_length,
                      uint64_t now_ms, int result, struct media_file **out);

/*
 * All bytes of a file of at most MEDIA_BYTES_MAX, kept in memory from the first call on while this
 * version is open, so that sending them costs no further system call. Borrowed. NULL where the file
 * is larger, empty, changing, or not in the page cache (the call never waits for the disk), and
 * without memory.
 */
#define MEDIA_BYTES_MAX 16384
const char *media_file_bytes(struct media_file *file);

/* Fills in the etag of a file in use, and the facts of an MP3, where it was hashed meanwhile. It
 * costs a comparison of two numbers where no file was. */
void media_file_learn(struct media_cache *cache, struct media_file *file);

/*
 * Asks the hasher to hash a file in use, which is not hashed yet, before those that nobody waits
 * for; the caller waits until `until_ms` (monotonic). Returns a ticket for
 * media_hash_is_through; 0 where hash_first_max wait already. Either way the file also keeps its
 * place in the ordinary queue.
 */
uint64_t media_file_hash_first(struct media_cache *cache, struct media_file *file,
                               uint64_t until_ms);
/* True once the hasher is through with the ticket: media_file_learn then finds the etag, or the
 * file has changed or cannot be read and gets none. */
bool media_hash_is_through(const struct media *media, uint64_t ticket);

/* Take another reference, and give one back. Only the thread that owns the cache. */
void media_file_hold(struct media_file *file);
void media_file_drop(struct media_cache *cache, struct media_file **file);

/* ---- what is in memory: one per worker, not thread-safe ---- */

/*
 * Memory is looked at in blocks of a file. AHEAD_MAX bytes at a time are asked of the disk, so that
 * it works on while those that came are sent; BRING_MAX are waited for. For one call the kernel
 * reads no more ahead than the device takes at once, often 512 KiB.
 */
#define MEDIA_BLOCK     ((uint64_t)128 * 1024)
#define MEDIA_BRING_MAX (2 * MEDIA_BLOCK)
#define MEDIA_AHEAD_MAX (4 * MEDIA_BLOCK)

struct media_residency;

/* 0 or -ENOMEM. */
int media_residency_create(struct media_residency **out);
void media_residency_destroy(struct media_residency **residency);

/* One reader of a range of a file, from its first byte to its last, and what it knows of the range.
 * Its owner may read `tries` and `cold_from`. */
struct media_reader {
    uint64_t ready_end, ready_ms; /* all up to here was in memory at that time */
    uint64_t brought_end;         /* the disk brought all up to here for it */
    uint64_t cold_from;           /* first byte to be brought in from the disk; UINT64_MAX: none */
    uint8_t tries;                /* times that bytes were brought since some were sent */
};

/* Begins a range, of which nothing is known. */
void media_reader_begin(struct media_reader *reader);
/*
 * How many of the `length` bytes from `offset` on (within the file) can be sent without waiting for
 * the disk; 0: bring them in, then ask again. `now_ms` is a monotonic clock. Where only some pages
 * of a block were evicted, sending may still wait for up to a block.
 */
size_t media_reader_ready(struct media_residency *residency, struct media_file *file,
                          struct media_reader *reader, uint64_t offset, size_t length,
                          uint64_t now_ms);

/*
 * Says how to bring in the block at `offset` for a reader that goes on to `needed`: first
 * POSIX_FADV_WILLNEED of from..end-1, then, never before, a read of `read_length` bytes (at most
 * MEDIA_BRING_MAX) at `read_from`, whose bytes may be thrown away. Once that read has ended,
 * whatever its result, call media_reader_brought. After bytes were sent, call media_reader_sent.
 */
struct media_need {
    uint64_t from, end, read_from;
    size_t read_length;
};
struct media_need media_reader_need(const struct media_file *file, struct media_reader *reader,
                                    uint64_t offset, uint64_t needed);
void media_reader_brought(struct media_residency *residency, const struct media_file *file,
                          struct media_reader *reader, uint64_t offset, uint64_t now_ms);
void media_reader_sent(struct media_reader *reader);

/*
 * Reads up to `length` bytes at `offset` without waiting for the disk. Returns how many came (fewer
 * where the rest is not in memory); 0 at the end; -ENODATA where none is in memory or the file
 * system cannot tell; another negative errno.
 */
ssize_t media_file_read(struct media_file *file, void *out, size_t length, uint64_t offset);

/* ---- one file: `tollgate media show` ---- */

struct media_facts {
    uint64_t size;
    int64_t mtime_s;
    char etag[MEDIA_ETAG_SIZE];
    uint32_t duration_ms, bitrate; /* of an MP3, bits per second on average; 0: not known */
};

/*
 * Tells the facts of a servable path. A file without a hash is hashed first, in the calling thread.
 * 0, -ENOENT (no regular file that could be served), -EINVAL (such a path is never served), -EBUSY
 * (the file changed meanwhile) or the errno of opening or reading it.
 */
int media_show(struct media *media, const char *path, struct media_facts *out);

/*
 * Whether a link would find something: the file or, for a path that ends with a slash, the
 * directory. 0, -ENOENT (none that could be served), -EINVAL (such a path is never served), or
 * openat2's errno. It reads no content.
 */
int media_find(const struct media *media, const char *path);

/* ---- hashing ahead: `tollgate media scan` ---- */

struct media_scan_progress {
    uint64_t files_total, files_done, files_hashed; /* done includes those already known */
    uint64_t bytes_total, bytes_done;
    uint64_t links_passed_over; /* symbolic links that lead to nothing that is served */
    bool passed_over;           /* `path` is such a link */
    const char *path;           /* the file just finished */
    const char *etag;           /* its validator, or "" */
    int error; /* negative errno where this file could not be hashed (-EBUSY: it changed) or this
                  directory not be read */
};

/*
 * Walks the root (regular files only; the target of a followed link is met at its own place beneath
 * the root) and hashes each file that has no hash yet, in the calling thread. `progress` (may be
 * NULL) is called after each file, each symbolic link that is passed over and each directory that
 * could not be read; it may return non-zero to stop. Any number of threads may scan while others
 * serve. Returns 0, 1 where it was stopped, or a negative errno.
 */
int media_scan(struct media *media,
               int (*progress)(void *context, const struct media_scan_progress *), void *context);

#endif
