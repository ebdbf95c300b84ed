/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content hash: XXH3-128 of a whole file, read in chunks. The hasher's thread and the scan use
 * it, each with a reader of its own; it waits for the disk, so no worker may.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_CONTENT_HASH_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_CONTENT_HASH_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/media/media.h"
#include "storage/media/mp3_internal.h"
#include "storage/media/path_internal.h"

/* XXH3-128, seed 0, in the canonical (big-endian) form that xxhsum prints: every node agrees on it.
 */
struct content_hash {
    unsigned char digest[16];
    struct mp3_facts facts; /* of the same content */
};

/* `"` + 32 lower-case hex digits + `"`: a strong validator (RFC 9110 8.8.3). */
void content_hash_etag(const struct content_hash *hash, char etag[static MEDIA_ETAG_SIZE]);

/*
 * How many ns to wait until hashing this version is safe; 0: it is now. A write that follows
 * another within one tick of the clock leaves the same change time: a hash taken in that tick could
 * be remembered for the content after it.
 */
uint64_t content_settle_ns(const struct file_identity *identity, uint64_t now_ns);

/* The clock that files are stamped from, for content_settle_ns. */
uint64_t content_now_ns(void);

/* One chunk's buffer and the state of the hash; for one thread. */
struct content_reader;

/* 0 or -ENOMEM. */
int content_reader_create(struct content_reader **out);
void content_reader_destroy(struct content_reader **reader);

/*
 * Hashes an open file that must be, and stay, the version `expected`, and tells its MP3 facts.
 *   through_cache_bytes_max  a longer file is read past the page cache: O_DIRECT is set on the
 *                            descriptor, so that nobody else may use it
 *   go_on                    called after each chunk with the bytes it brought; false stops
 * Returns 0, -EBUSY (another version, or it changed meanwhile), -ECANCELED (stopped), or read's
 * errno.
 */
int content_reader_hash(struct content_reader *reader, int fd, const struct file_identity *expected,
                        uint64_t through_cache_bytes_max,
                        bool (*go_on)(void *context, uint64_t bytes), void *context,
                        struct content_hash *out);

#endif
