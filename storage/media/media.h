/*
 * media: what is served. Opens paths beneath the media root and nowhere else, keeps hot files open,
 * and knows each file's content hash (its strong validator). Used by the server's workers and by
 * `tollgate media scan`. It knows nothing of tokens, accounts or HTTP, and never blocks a worker on
 * a cold disk: what might block is handed back for the ring (openat2) or done on the hasher's
 * thread.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_H
#define TOLLGATE_STORAGE_MEDIA_H

#include <linux/openat2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define MEDIA_PATH_MAX  1024 /* bytes of a decoded path, the leading slash included */
#define MEDIA_ETAG_SIZE 35   /* quote, 32 hex digits of XXH3-128, quote, NUL */

/* Shared by all threads of the process: the root, the store of hashes, the hasher's thread. */
struct media;

struct media_options {
    const char *root;        /* directory; opened once, with O_PATH */
    bool follow_links;       /* symbolic ones that stay within the root on their whole way */
    const char *state_dir;   /* exists; the hash store is its file `hashes`; NULL: memory only */
    uint32_t hash_queue_max; /* files that may wait for the hasher; at the bound a file is asked
                                  again later */
    uint32_t hash_first_max; /* files that may wait likewise for media_file_hash_first */
    /* Called on the hasher's thread when it is through with one of these; may be NULL. */
    void (*hashed)(void *context);
    void *context;
    uint32_t hash_entries_max; /* hashes remembered; at the bound the oldest go */
};

/*
 * Opens the root and the hash store, starts the hasher. On failure a negative errno and one
 * sentence, naming the thing and the cure, in `error`. A hash store that cannot be read or written
 * is not a failure: hashes then stay in memory, and media_hash_stats.store_error says why. Several
 * processes may have the same store open (a node and a scan): each learns what the others append.
 */
int media_open(struct media **out, const struct media_options *options, char *error,
               size_t error_size);
/* Stops the hasher (it leaves a file half way) and frees. All caches must be gone. */
void media_close(struct media **media);

struct media_hash_stats {
    uint64_t files_hashed;    /* by this process, the scan's included */
    uint64_t bytes_hashed;    /* read for it so far, files under way and abandoned included */
    uint64_t files_abandoned; /* changed while they were read, or unreadable; asked again later */
    uint64_t queue_length;    /* waiting for the hasher or under way with it */
    uint64_t queue_refused;   /* times a file found the queue full */
    uint64_t entries;         /* hashes known */
    uint64_t entries_loaded;  /* hashes taken over from the disk, other processes' included */
    uint64_t records_damaged; /* records on disk whose checksum was wrong: ignored */
    uint64_t store_failures;  /* hashes that could not be written to the disk */
    int store_error; /* negative errno of the store's latest read or write, 0 when it worked */
};
void media_stats(const struct media *media, struct media_hash_stats *out);

/* ---- the open-file cache: one per worker, not thread-safe ---- */

struct media_cache;

/* Whether a file's system says what is in memory: by RWF_NOWAIT. */
enum media_telling {
    MEDIA_TELLS,            /* ext4, XFS, btrfs; so taken until it refuses */
    MEDIA_CANNOT_TELL,      /* FUSE, NFS: known is only what was brought in a moment ago */
    MEDIA_ALWAYS_IN_MEMORY, /* tmpfs, ramfs */
};

/*
 * One version of one file, open. Reference counted without atomics: it belongs to the worker whose
 * cache opened it. The descriptor stays open until the last reference is dropped, so a file that is
 * replaced by rename keeps serving its old bytes to those under way. (One that is rewritten in
 * place cannot: its bytes change under them. New versions belong under the name by rename.) Borrow
 * the descriptor for positioned reads only: its offset and read-ahead are shared by all holders.
 */
struct media_file {
    int fd;
    uint64_t size;
    int64_t mtime_s;
    /* The second of its latest change of whatever kind: that of mtime, or of ctime where that is later.
     * mtime can be set back (cp -p, rsync -t, reproducible images) and so name two versions; ctime
     * cannot. */
    int64_t changed_s;
    /* "" until hashed; a get or media_file_learn may fill it in, and nothing changes it after. */
    char etag[MEDIA_ETAG_SIZE];
    uint32_t duration_ms, bitrate; /* of an MP3, filled in with the etag; 0: not known */
    uint8_t telling;               /* enum media_telling; private to media, as the next two */
    uint64_t serial;               /* of this version, among all that the cache has opened */
    uint64_t cold_ms;              /* when a block of it was last found not to be in memory */
    char path[MEDIA_PATH_MAX + 1];
    size_t path_length;
    uint32_t references; /* private to media and its owner thread */
    char *bytes;         /* owns; see media_file_bytes */
    void *user;          /* the owner's own: set to NULL at first; see media_cache_create */
};

/*
 * `entries_max` paths are remembered; at the bound the least recently used idle file goes, and
 * where all are in use, a further file is served without being remembered. Missing files are
 * remembered in at most a quarter of the entries and never push out an open one, so guessing names
 * does not empty the cache. A cached file is held against the disk (by a fresh openat2 and fstat,
 * since statx would follow symbolic links on its way) once `revalidate_ms` have passed since it
 * last was. On create: 0, -EINVAL (no entries), -ENOMEM. On destroy every reference must have been
 * dropped. `user_free(file->user)` is called, where not NULL, when a file with a user pointer is
 * freed.
 */
int media_cache_create(struct media_cache **out, struct media *media, uint32_t entries_max,
                       uint32_t revalidate_ms, void (*user_free)(void *user));
void media_cache_destroy(struct media_cache **cache);

/*
 * Opened files shall have descriptors below `bound` (at first INT_MAX), for those above are wanted
 * elsewhere: a further one takes the place of an idle file, or is -EMFILE.
 */
void media_cache_set_descriptor_max(struct media_cache *cache, int bound);
/* Closes the idle file that is least missed; false where none is idle. */
bool media_cache_give_back(struct media_cache *cache);

/*
 * Finds a path (decoded, absolute, NUL-terminated at path_length, as token_target_parse made it).
 * `now_ms` is a monotonic clock.
 *   0        *out holds a reference for the caller; drop it with media_file_drop
 *   -EAGAIN  not cached, and opening might block: run openat2 on the ring with media_open_how, then
 *            give the outcome to media_cache_admit
 *   -ENOENT  no such regular file (a directory, a device, a link not followed or a permission denied
 * are the same to a client); remembered for revalidate_ms -EMFILE, -ENOMEM, -EIO   for the caller
 * to answer 503 It tries the open itself first, with RESOLVE_CACHED, which never touches the disk.
 * Where descriptors or memory run out while a cached file is held against the disk, the version in
 * hand is served.
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

/* `result` is what openat2 gave: a descriptor (owned by the cache from here on) or a negative
 * errno. Returns what media_cache_get does, except -EAGAIN. */
int media_cache_admit(struct media_cache *cache, const char *path, size_t path_length,
                      uint64_t now_ms, int result, struct media_file **out);

/*
 * All bytes of a file of at most MEDIA_BYTES_MAX, kept in memory from the first call on as long as
 * this version is open: a send of them needs no system call beside itself. Borrowed. NULL where the
 * file is larger, empty, changing, or not in the page cache (it never waits for the disk), and
 * without memory.
 */
#define MEDIA_BYTES_MAX 16384
const char *media_file_bytes(struct media_file *file);

/* Fills in the etag of a file in use, and the facts of an MP3, where it has been hashed meanwhile; a
 * comparison of two numbers where no file has. */
void media_file_learn(struct media_cache *cache, struct media_file *file);

/*
 * Has a file in use, which is not hashed, hashed before those that nobody waits for: the caller does
 * until `until_ms` (monotonic). A ticket for media_hash_is_through; 0 where hash_first_max wait
 * already. With or without one it is hashed in its turn, too.
 */
uint64_t media_file_hash_first(struct media_cache *cache, struct media_file *file,
                               uint64_t until_ms);
/* True once the hasher is through with the ticket: media_file_learn finds the etag, or the file has
 * changed or cannot be read, and has none. */
bool media_hash_is_through(const struct media *media, uint64_t ticket);

void media_file_hold(struct media_file *file);
void media_file_drop(struct media_cache *cache, struct media_file **file);

/* ---- what is in memory: one per worker, not thread-safe ---- */

/* A file is looked at in blocks. Of the disk are asked for AHEAD_MAX at a time, so that it works on while
 * what came is sent, and waited for is BRING_MAX. The kernel reads no more ahead for one call than the
 * device takes at once, often 512 KiB. */
#define MEDIA_BLOCK     ((uint64_t)128 * 1024)
#define MEDIA_BRING_MAX (2 * MEDIA_BLOCK)
#define MEDIA_AHEAD_MAX (4 * MEDIA_BLOCK)

struct media_residency;

/* 0 or -ENOMEM. */
int media_residency_create(struct media_residency **out);
void media_residency_destroy(struct media_residency **residency);

/* Who reads a range of a file from its first byte to its last, and what it knows. Its owner may read
 * `tries` and `cold_from`. */
struct media_reader {
    uint64_t ready_end, ready_ms; /* up to here all was in memory at that time */
    uint64_t brought_end;         /* up to here the disk was asked for it, and it has come */
    uint64_t cold_from; /* what was not in memory, and is to be brought in; or UINT64_MAX */
    uint8_t tries;      /* times that it has come since something was sent */
};

void media_reader_begin(struct media_reader *reader);
/*
 * How many of the `length` bytes from `offset` on (within the file) can be sent without waiting for
 * the disk; 0: bring them in, then ask again. `now_ms` is a monotonic clock. Of a block that has lost
 * some pages only, up to a block's worth may have to be waited for all the same.
 */
size_t media_reader_ready(struct media_residency *residency, struct media_file *file,
                          struct media_reader *reader, uint64_t offset, size_t length,
                          uint64_t now_ms);

/*
 * What brings in the block at `offset` for a reader that goes on to `needed`: POSIX_FADV_WILLNEED of
 * from..end-1, and after that, never before, a read of `read_length` bytes at `read_from` (into anywhere:
 * at most MEDIA_BRING_MAX). Once that has come, in whatever way, media_reader_brought.
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
 * Reads up to `length` bytes at `offset` without waiting for the disk: how many came (fewer where the
 * rest is not in memory), 0 at the end, -ENODATA where none is or nobody can tell, another negative
 * errno.
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
 * What is known of a servable path; hashes it first, in the calling thread, where that has not been
 * done. 0, -ENOENT (no regular file that could be served), -EINVAL (no such path can be), -EBUSY
 * (it changed meanwhile) or read's errno.
 */
int media_show(struct media *media, const char *path, struct media_facts *out);

/*
 * Whether a link would find something: for a path of a file the file, for one that ends with a
 * slash the directory. 0, -ENOENT (none that could be served), -EINVAL (no such path can be), or
 * openat2's errno. It reads nothing.
 */
int media_find(const struct media *media, const char *path);

/* ---- hashing ahead: `tollgate media scan` ---- */

struct media_scan_progress {
    uint64_t files_total, files_done, files_hashed; /* done includes those already known */
    uint64_t bytes_total, bytes_done;
    uint64_t links_passed_over; /* symbolic links by which no file can be reached */
    bool passed_over;           /* `path` is such a link */
    const char *path;           /* the file just finished */
    const char *etag;           /* its validator, or "" */
    int error; /* negative errno where this file could not be hashed (-EBUSY: it changed
                         meanwhile) or this directory could not be read */
};

/*
 * Walks the root (regular files only; what a followed link leads to is met beneath the root) and
 * hashes what is not known yet, in the calling thread; `progress` (may be NULL) is called after each
 * file, for each symbolic link that is passed over, and after each directory that could not be read, and may return non-zero to stop. Any number of threads may scan
 * while others serve. Returns 0, 1 where it was stopped, or a negative errno.
 */
int media_scan(struct media *media,
               int (*progress)(void *context, const struct media_scan_progress *), void *context);

#endif
