/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hashes on disk: one append-only file of fixed-size records, state_dir/hashes. Only
 * the hash store uses it and keeps the hashes in memory; nothing here decides which hashes
 * are worth keeping.
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

/* Without a lock: the hash store lets one thread at a time in. */
struct hash_log;

/*
 * Opens or makes the file. A file of another version, or one that is not a hash log, is set aside
 * as hashes.unreadable: everything in it can be hashed again. Returns 0 or a negative errno
 * (-EBADMSG: it must stay, for another process uses it or it is read-only).
 */
int hash_log_open(struct hash_log **out, const char *state_dir);
void hash_log_close(struct hash_log **log);

/*
 * Reads the records that any process appended since the last call and gives each to `visit`. A torn
 * tail is left for the next call or the next append; records that fail their checksum are counted.
 * 0 or a negative errno.
 */
int hash_log_read(struct hash_log *log,
                  void (*visit)(void *context, const struct hash_record *record), void *context,
                  uint64_t *damaged);

/* How many records have been read so far, damaged ones included. */
uint64_t hash_log_length(const struct hash_log *log);

/* Appends a record. 0, or a negative errno with nothing added (-EROFS: the file is open
 * for reading only). */
int hash_log_append(struct hash_log *log, const struct hash_record *record);

/* Replaces the file by a new one with the records that `next` gives (false: no more). -EBUSY while
 * another process has the file open; on any failure the old file stands. */
int hash_log_rewrite(struct hash_log *log, bool (*next)(void *context, struct hash_record *record),
                     void *context);

/* Ends the time after hash_log_open in which hash_log_rewrite may succeed, and lets other processes
 * open the file. */
void hash_log_share(struct hash_log *log);

#endif
