/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads files, hashes them with XXH3-128 and walks over the frames of MP3s on the way. It runs on
 * the hasher's thread and on a thread that scans, never on a worker, for it waits for the disk. A
 * large file is read past the page cache, so that hashing does not push out what is being served.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "storage/media/content_hash_internal.h"

#define CHUNK_BYTES      ((size_t)1024 * 1024)
/* Of buffer, offset and size of direct reads: no disk that Linux supports has larger blocks. */
#define DIRECT_ALIGNMENT ((size_t)4096)

/* The kernel stamps files from a clock that ticks each 10 ms at the slowest (HZ=100). */
#define SETTLE_NS        50000000U
/* File systems that store whole seconds, or two of them, show no fraction. */
#define SETTLE_COARSE_NS 2100000000U

struct content_reader {
    XXH3_state_t *state;   /* owns */
    unsigned char *buffer; /* owns; CHUNK_BYTES */
    struct mp3_walk walk;
};

void content_hash_etag(const struct content_hash *hash, char etag[static MEDIA_ETAG_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    _Static_assert(MEDIA_ETAG_SIZE == 2 * sizeof(hash->digest) + 3, "quotes, digits, NUL");
    char *at = etag;
    *at++ = '"';
    for (size_t i = 0; i < sizeof(hash->digest); i++) {
        *at++ = digits[hash->digest[i] >> 4];
        *at++ = digits[hash->digest[i] & 15];
    }
    *at++ = '"';
    *at = '\0';
}

uint64_t content_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t content_settle_ns(const struct file_identity *identity, uint64_t now_ns)
{
    uint64_t settle_ns = identity->ctime_ns % 1000000000U == 0 ? SETTLE_COARSE_NS : SETTLE_NS;
    /* A change time in the future comes from another machine's clock: waiting for it
     * would tell nothing. */
    if (identity->ctime_ns > now_ns || now_ns - identity->ctime_ns >= settle_ns)
        return 0;
    return settle_ns - (now_ns - identity->ctime_ns);
}

int content_reader_create(struct content_reader **out)
{
    struct content_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return -ENOMEM;
    reader->state = XXH3_createState();
    reader->buffer = aligned_alloc(DIRECT_ALIGNMENT, CHUNK_BYTES);
    if (reader->state == NULL || reader->buffer == NULL) {
        content_reader_destroy(&reader);
        return -ENOMEM;
    }
    *out = reader;
    return 0;
}

void content_reader_destroy(struct content_reader **reader)
{
    if (*reader == NULL)
        return;
    XXH3_freeState((*reader)->state);
    free((*reader)->buffer);
    free(*reader);
    *reader = NULL;
}

/*
 * Fills the buffer from `offset`; fewer than CHUNK_BYTES only at the end of the file. *direct is
 * cleared, and the page cache used, where the file system takes no direct reads after all.
 */
static ssize_t read_chunk(const struct content_reader *reader, int fd, uint64_t offset,
                          bool *direct)
{
    size_t filled = 0;
    while (filled < CHUNK_BYTES) {
        ssize_t got =
            pread(fd, reader->buffer + filled, CHUNK_BYTES - filled, (off_t)(offset + filled));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EINVAL && *direct) {
            *direct = false;
            if (fcntl(fd, F_SETFL, 0) == 0)
                continue;
        }
        if (got < 0)
            return -errno;
        filled += (size_t)got;
        /* A direct read that ends within a block has met the end of the file. */
        if (got == 0 || (*direct && filled % DIRECT_ALIGNMENT != 0))
            break;
    }
    return (ssize_t)filled;
}

/* -EBUSY unless the file is still that version. */
static int verify_version(int fd, const struct file_identity *expected)
{
    struct file_identity current;
    int error = file_identify(fd, &current, NULL);
    if (error)
        return error;
    return file_identity_equal(&current, expected) ? 0 : -EBUSY;
}

int content_reader_hash(struct content_reader *reader, int fd, const struct file_identity *expected,
                        uint64_t through_cache_bytes_max,
                        bool (*go_on)(void *context, uint64_t bytes), void *context,
                        struct content_hash *out)
{
    int error = verify_version(fd, expected);
    if (error)
        return error;

    /* Not through the page cache: dropping the pages afterwards could not tell which were hot
     * before, since even a read that does not wait starts to bring pages in. */
    bool direct = expected->size > through_cache_bytes_max && fcntl(fd, F_SETFL, O_DIRECT) == 0;

    if (XXH3_128bits_reset(reader->state) != XXH_OK)
        return -EIO;
    mp3_walk_begin(&reader->walk);
    for (uint64_t offset = 0; offset < expected->size;) {
        uint64_t left = expected->size - offset;
        size_t size = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        ssize_t got = read_chunk(reader, fd, offset, &direct);
        if (got < 0)
            return (int)got;
        if ((size_t)got < size)
            return -EBUSY; /* the file was cut short meanwhile */
        if (XXH3_128bits_update(reader->state, reader->buffer, size) != XXH_OK)
            return -EIO;
        mp3_walk_feed(&reader->walk, reader->buffer, size);
        offset += size;
        if (!go_on(context, size))
            return -ECANCELED;
        /* After each chunk, not only at the end: otherwise a file that is being written would be
         * read to its end for nothing. */
        error = verify_version(fd, expected);
        if (error)
            return error;
    }

    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(reader->state));
    _Static_assert(sizeof(canonical.digest) == sizeof(out->digest), "128 bits");
    memcpy(out->digest, canonical.digest, sizeof(out->digest));
    mp3_walk_end(&reader->walk, &out->facts);
    return verify_version(fd, expected);
}
