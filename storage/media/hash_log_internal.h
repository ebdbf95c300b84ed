/*
 * The hashes on disk: one append-only file of fixed-size records, state_dir/hashes. Used by the
 * hash store only, which keeps them in memory.
 *
 *   header   72 bytes: "tollhash", u32 version, u32 record size, zeros, u64 XXH3 of the 64 before
 *   record   72 bytes: u64 device, inode, size, mtime_ns, ctime_ns, 16 bytes of hash, u32
 *            duration_ms, bitrate, u64 XXH3 of the 64 before
 *
 * All numbers little-endian. A later record for a device and inode replaces an earlier one.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_HASH_LOG_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_HASH_LOG_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/media/content_hash_internal.h"
#include "storage/media/path_internal.h"

struct hash_record {
    struct file_identity identity;
    struct content_hash hash;
};

/* Not locked: the hash store has one thread at a time here. */
struct hash_log;

/*
 * Opens or makes the file. Another version's file, or one that is none, is set aside as
 * hashes.unreadable: everything in it can be hashed again. Returns 0 or a negative errno.
 */
int hash_log_open(struct hash_log **out, const char *state_dir);
void hash_log_close(struct hash_log **log);

/*
 * Reads the records that were appended since the last call, by whomever, and gives each to `visit`.
 * A torn tail is left for the next call or the next append; records that fail their checksum are
 * counted.
 */
int hash_log_read(struct hash_log *log,
                  void (*visit)(void *context, const struct hash_record *record), void *context,
                  uint64_t *damaged);

/* Records in the file as far as it was read, damaged ones included. */
uint64_t hash_log_length(const struct hash_log *log);

/* 0, or a negative errno with nothing added. */
int hash_log_append(struct hash_log *log, const struct hash_record *record);

/*
 * Puts a new file with the records that `next` gives (false: no more) in the place of the old one.
 * -EBUSY while another process has the file open; on any failure the old file stands.
 */
int hash_log_rewrite(struct hash_log *log, bool (*next)(void *context, struct hash_record *record),
                     void *context);

/* Ends the time after hash_log_open in which hash_log_rewrite may succeed, and lets others open. */
void hash_log_share(struct hash_log *log);

#endif
