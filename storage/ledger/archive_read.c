/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads segments from the archive: verifies their records, unpacks them, and shows them as a part of the journal
 * that they have left. See archive.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "storage/ledger/archive_internal.h"
#include "storage/ledger/segment.h"

#define FD_BASE (1 << 24) /* above it are descriptors of unpacked segments, below it the base's */

/* Takes the next bytes of the segment. 0 or a negative errno. */
typedef int take_bytes(void *context, const uint8_t *bytes, size_t length);

struct stream {
    int fd; /* borrows */
    const _Atomic bool *stop;
    uint8_t *in, *out; /* own */
    ZSTD_DCtx *zstd;   /* owns */
    take_bytes *take;
    void *context;
};

/* Decompresses what was read, as far as it goes. `left` is 0 where a frame has ended. */
static int decompress(struct stream *stream, size_t length, size_t *left)
{
    ZSTD_inBuffer in = {.src = stream->in, .size = length};
    bool is_full = false;
    while (in.pos < in.size || is_full) {
        ZSTD_outBuffer out = {.dst = stream->out, .size = ARCHIVE_PIECE};
        *left = ZSTD_decompressStream(stream->zstd, &out, &in);
        if (ZSTD_isError(*left))
            return -EBADMSG;
        is_full = out.pos == out.size;
        int result = stream->take(stream->context, stream->out, out.pos);
        if (result != 0)
            return result;
    }
    return 0;
}

static int read_stream(struct stream *stream)
{
    size_t left = 1;
    for (;;) {
        if (stream->stop != NULL && atomic_load_explicit(stream->stop, memory_order_relaxed))
            return -ECANCELED;
        ssize_t got = read(stream->fd, stream->in, ARCHIVE_PIECE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : left == 0 ? 0 : -EBADMSG;
        int result = decompress(stream, (size_t)got, &left);
        if (result != 0)
            return result;
    }
}

/* Reads a file of the archive whole. 0, -EBADMSG: it is cut short or damaged; or another negative errno. */
static int read_file(int archive, const char *name, const _Atomic bool *stop, take_bytes *take,
                     void *context)
{
    struct stream stream = {.stop = stop, .take = take, .context = context};
    stream.fd = openat(archive, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (stream.fd < 0)
        return -errno;
    stream.in = malloc(ARCHIVE_PIECE);
    stream.out = malloc(ARCHIVE_PIECE);
    stream.zstd = ZSTD_createDCtx();
    int result = stream.in == NULL || stream.out == NULL || stream.zstd == NULL
                     ? -ENOMEM
                     : read_stream(&stream);
    (void)ZSTD_freeDCtx(stream.zstd);
    free(stream.in);
    free(stream.out);
    close(stream.fd);
    return result;
}

/* ---- verifying ---- */

struct verifying {
    const struct archive_segment *segment;
    uint8_t
        record[JOURNAL_RECORD_BYTES]; /* the begin of one whose rest comes with the next bytes */
    size_t held, size;                /* bytes of it; of each record, 0 until that is known */
    uint64_t records, chain;
    bool has_ended; /* only zeros follow */
};

/* The first record says the segment's format, and what it is seeded with. */
static int take_header(struct verifying *verifying)
{
    struct journal_record header = {0};
    uint32_t format = journal_format_of(verifying->record);
    char instance[LEDGER_HEX_SIZE];
    if (!journal_decode(verifying->record, format, &header) || header.type != JOURNAL_SEGMENT ||
        header.number != verifying->segment->number)
        return -EBADMSG;
    lane_to_hex(header.instance, instance);
    verifying->chain = header.previous;
    return strcmp(instance, verifying->segment->instance) == 0 ? 0 : -EBADMSG;
}

static int take_record(struct verifying *verifying)
{
    const uint8_t *record = verifying->record;
    if (verifying->has_ended || journal_is_zero(record, verifying->size)) {
        verifying->has_ended = true;
        return journal_is_zero(record, verifying->size) ? 0 : -EBADMSG;
    }
    if (!journal_chained(record, verifying->size, verifying->chain))
        return -EBADMSG;
    verifying->chain = journal_chain(record);
    verifying->records++;
    return 0;
}

static int verify_bytes(void *context, const uint8_t *bytes, size_t length)
{
    struct verifying *verifying = context;
    while (length > 0) {
        size_t wanted = verifying->size != 0 ? verifying->size : JOURNAL_HEADER_BYTES;
        size_t part = wanted - verifying->held < length ? wanted - verifying->held : length;
        memcpy(verifying->record + verifying->held, bytes, part);
        verifying->held += part;
        bytes += part;
        length -= part;
        if (verifying->held < wanted)
            continue;
        if (verifying->size == 0) { /* the first record's begin says how long records are */
            verifying->size = journal_record_bytes(journal_format_of(verifying->record));
            continue;
        }
        int result = verifying->records == 0 ? take_header(verifying) : 0;
        if (result == 0)
            result = take_record(verifying);
        if (result != 0)
            return result;
        verifying->held = 0;
    }
    return 0;
}

int archive_verify(int archive, const struct archive_segment *segment, bool is_kept)
{
    struct verifying verifying = {.segment = segment};
    char part[ARCHIVE_PART_SIZE];
    if (is_kept)
        archive_name(segment->instance, segment->number, part);
    else
        archive_part_name(segment->instance, segment->number, part);
    int result = read_file(archive, part, segment->stop, verify_bytes, &verifying);
    if (result == 0 && (verifying.records != segment->records || verifying.chain != segment->chain))
        result = -EBADMSG;
    return result;
}

/* ---- unpacking ---- */

struct unpacking {
    int fd;
    uint64_t size;
};

static int unpack_bytes(void *context, const uint8_t *bytes, size_t length)
{
    struct unpacking *unpacking = context;
    /* Zeros, of which the end of a segment may have many, take no memory. */
    int result = length == 0 || journal_is_zero(bytes, length)
                     ? 0
                     : segment_write(unpacking->fd, unpacking->size, bytes, length);
    unpacking->size += length;
    return result;
}

int archive_unpack(int archive, const char *instance, uint32_t number, uint64_t *size)
{
    char name[ARCHIVE_NAME_SIZE];
    archive_name(instance, number, name);
    struct unpacking unpacking = {.fd = memfd_create(name, MFD_CLOEXEC)};
    if (unpacking.fd < 0)
        return -errno;
    int result = read_file(archive, name, NULL, unpack_bytes, &unpacking);
    if (result == 0 && ftruncate(unpacking.fd, (off_t)unpacking.size) != 0)
        result = -errno;
    if (result != 0)
        close(unpacking.fd);
    *size = unpacking.size;
    return result == 0 ? unpacking.fd : result;
}

/* ---- the disk ---- */

static int create_segment(void *self, int directory, uint32_t number, uint64_t bytes)
{
    const struct archive_disk *disk = self;
    return disk->base->create(disk->base->self, directory, number, bytes);
}

static int open_segment(void *self, int directory, uint32_t number, bool writable, uint64_t *size)
{
    const struct archive_disk *disk = self;
    int fd = disk->base->open(disk->base->self, directory, number, writable, size);
    if (fd != -ENOENT || disk->archive < 0 || directory != disk->journal || writable)
        return fd;
    fd = archive_unpack(disk->archive, disk->instance, number, size);
    return fd < 0 ? fd : fd + FD_BASE;
}

static int write_segment(void *self, int fd, uint64_t offset, const uint8_t *bytes, size_t length)
{
    const struct archive_disk *disk = self;
    return fd >= FD_BASE ? -EROFS : disk->base->write(disk->base->self, fd, offset, bytes, length);
}

static int read_segment(void *self, int fd, uint64_t offset, uint8_t *bytes, size_t length)
{
    const struct archive_disk *disk = self;
    return fd >= FD_BASE ? segment_read(fd - FD_BASE, offset, bytes, length)
                         : disk->base->read(disk->base->self, fd, offset, bytes, length);
}

static int sync_segment(void *self, int fd)
{
    const struct archive_disk *disk = self;
    return fd >= FD_BASE ? -EROFS : disk->base->sync(disk->base->self, fd);
}

static void close_segment(void *self, int fd)
{
    const struct archive_disk *disk = self;
    if (fd >= FD_BASE)
        close(fd - FD_BASE);
    else
        disk->base->close(disk->base->self, fd);
}

static int list_segments(void *self, int directory, struct ledger_disk_list *out)
{
    const struct archive_disk *disk = self;
    uint32_t count, first;
    int result = disk->base->list(disk->base->self, directory, out);
    if (result != 0 || disk->archive < 0 || directory != disk->journal)
        return result;
    result = archive_list(disk->archive, disk->instance, out->count > 0 ? out->first : UINT32_MAX,
                          &count, &first);
    if (result != 0 || count == 0)
        return result;
    out->last = out->count > 0 ? out->last : first + count - 1;
    out->count += count;
    out->first = first;
    return 0;
}

static int remove_segment(void *self, int directory, uint32_t number)
{
    const struct archive_disk *disk = self;
    return disk->base->remove(disk->base->self, directory, number);
}

int archive_disk_open(struct archive_disk *disk, const struct ledger_disk *base, int journal,
                      const uint8_t instance[JOURNAL_ID_BYTES], const char *path)
{
    *disk = (struct archive_disk){.table = {.self = disk,
                                            .create = create_segment,
                                            .open = open_segment,
                                            .write = write_segment,
                                            .read = read_segment,
                                            .sync = sync_segment,
                                            .close = close_segment,
                                            .list = list_segments,
                                            .remove = remove_segment},
                                  .base = base,
                                  .journal = journal,
                                  .archive = -1};
    lane_to_hex(instance, disk->instance);
    if (path == NULL || path[0] == '\0')
        return 0;
    disk->archive = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return disk->archive < 0 ? -errno : 0;
}

void archive_disk_close(struct archive_disk *disk)
{
    if (disk->archive >= 0)
        close(disk->archive);
    disk->archive = -1;
}
