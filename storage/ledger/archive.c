/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts segments into the archive, and removes them when they are old. See archive.h; archive_read.c reads them.
 */
#include "storage/ledger/archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "server/base/file_write.h"
#include "storage/ledger/archive_internal.h"
#include "storage/ledger/segment.h"

#define LEVEL                                                                                      \
    6 /* records shrink to a tenth; higher ones take several times as long for little more */
#define SUFFIX ".zst"

/* ---- names ---- */

void archive_name(const char instance[LEDGER_HEX_SIZE], uint32_t number,
                  char out[ARCHIVE_NAME_SIZE])
{
    char segment[SEGMENT_NAME_MAX];
    segment_name(number, segment);
    snprintf(out, ARCHIVE_NAME_SIZE, "%s-%s" SUFFIX, instance, segment);
}

void archive_part_name(const char instance[LEDGER_HEX_SIZE], uint32_t number,
                       char out[ARCHIVE_PART_SIZE])
{
    char name[ARCHIVE_NAME_SIZE];
    archive_name(instance, number, name);
    snprintf(out, ARCHIVE_PART_SIZE, ".%s" ARCHIVE_PART, name);
}

uint32_t archive_number(const char *name, char instance[LEDGER_HEX_SIZE])
{
    char segment[SEGMENT_NAME_MAX] = "";
    size_t length = strlen(name), head = LEDGER_HEX_SIZE, tail = sizeof(SUFFIX) - 1;
    if (length <= head + tail || length - head - tail >= sizeof(segment) ||
        strspn(name, "0123456789abcdef") != LEDGER_HEX_SIZE - 1 || name[head - 1] != '-' ||
        strcmp(name + length - tail, SUFFIX) != 0)
        return 0;
    memcpy(segment, name + head, length - head - tail);
    memcpy(instance, name, LEDGER_HEX_SIZE - 1);
    instance[LEDGER_HEX_SIZE - 1] = '\0';
    return segment_number(segment);
}

/* ---- packing ---- */

struct packing {
    const struct archive_segment *segment;
    ZSTD_CCtx *context; /* owns, as the two below */
    uint8_t *in, *out;
    int from, to; /* `from` is the disk's */
    uint64_t size, written;
};

/* Compresses so many bytes of `in`, the last ones of the segment where `ends`. */
static int compress(struct packing *packing, size_t length, bool ends)
{
    ZSTD_inBuffer in = {.src = packing->in, .size = length};
    size_t left = 1;
    while (in.pos < in.size || (ends && left > 0)) {
        ZSTD_outBuffer out = {.dst = packing->out, .size = ARCHIVE_PIECE};
        left =
            ZSTD_compressStream2(packing->context, &out, &in, ends ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
        int result = file_write_all(packing->to, packing->out, out.pos);
        if (result != 0)
            return result;
        packing->written += out.pos;
    }
    return 0;
}

static int pack_all(struct packing *packing)
{
    const struct archive_segment *segment = packing->segment;
    uint64_t at = 0;
    do {
        size_t length =
            packing->size - at < ARCHIVE_PIECE ? (size_t)(packing->size - at) : ARCHIVE_PIECE;
        int result =
            atomic_load_explicit(segment->stop, memory_order_relaxed)
                ? -ECANCELED
                : segment->disk->read(segment->disk->self, packing->from, at, packing->in, length);
        at += length;
        if (result == 0)
            result = compress(packing, length, at == packing->size);
        if (result != 0)
            return result;
    } while (at < packing->size);
    return 0;
}

/* The file's time is that of its newest record: it says how old the segment is. */
static int settle_file(int fd, uint64_t newest_ms)
{
    const struct timespec time = {.tv_sec = (time_t)(newest_ms / 1000),
                                  .tv_nsec = (long)(newest_ms % 1000) * 1000000L};
    const struct timespec times[] = {time, time};
    if (futimens(fd, times) != 0 || fsync(fd) != 0)
        return -errno;
    /* So that what is verified is what the disk has. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

static int begin(struct packing *packing, int archive)
{
    const struct archive_segment *segment = packing->segment;
    char name[ARCHIVE_PART_SIZE];
    archive_part_name(segment->instance, segment->number, name);
    packing->context = ZSTD_createCCtx();
    packing->in = malloc(ARCHIVE_PIECE);
    packing->out = malloc(ARCHIVE_PIECE);
    if (packing->context == NULL || packing->in == NULL || packing->out == NULL)
        return -ENOMEM;
    packing->from = segment->disk->open(segment->disk->self, segment->journal, segment->number,
                                        false, &packing->size);
    if (packing->from < 0)
        return packing->from;
    packing->to =
        openat(archive, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (packing->to < 0)
        return -errno;
    bool set =
        !ZSTD_isError(ZSTD_CCtx_setParameter(packing->context, ZSTD_c_compressionLevel, LEVEL)) &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(packing->context, ZSTD_c_checksumFlag, 1)) &&
        !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(packing->context, packing->size));
    return set ? 0 : -EINVAL;
}

int archive_pack(int archive, const struct archive_segment *segment, uint64_t *bytes)
{
    struct packing packing = {.segment = segment, .from = -1, .to = -1};
    int result = begin(&packing, archive);
    if (result == 0)
        result = pack_all(&packing);
    if (result == 0)
        result = settle_file(packing.to, segment->newest_ms);
    if (packing.to >= 0 && close(packing.to) != 0 && result == 0)
        result = -errno;
    if (packing.from >= 0)
        segment->disk->close(segment->disk->self, packing.from);
    (void)ZSTD_freeCCtx(packing.context);
    free(packing.in);
    free(packing.out);
    *bytes = packing.written;
    return result;
}

int archive_keep(int archive, const struct archive_segment *segment)
{
    char part[ARCHIVE_PART_SIZE], name[ARCHIVE_NAME_SIZE];
    archive_part_name(segment->instance, segment->number, part);
    archive_name(segment->instance, segment->number, name);
    return renameat(archive, part, archive, name) == 0 && fsync(archive) == 0 ? 0 : -errno;
}

void archive_discard(int archive, const struct archive_segment *segment)
{
    char part[ARCHIVE_PART_SIZE], name[ARCHIVE_NAME_SIZE];
    archive_part_name(segment->instance, segment->number, part);
    archive_name(segment->instance, segment->number, name);
    (void)unlinkat(archive, part, 0);
    (void)unlinkat(archive, name, 0);
}

/* ---- what is there ---- */

/* Calls `each` with each name in the directory. 0, or what the first one that failed says. */
static int each_name(int archive, int (*each)(void *context, const char *name), void *context)
{
    int copy = openat(archive, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = copy < 0 ? NULL : fdopendir(copy);
    int result = 0;
    if (names == NULL) {
        int error = errno;
        if (copy >= 0)
            close(copy);
        return -error;
    }
    for (struct dirent *entry; result == 0 && (entry = readdir(names)) != NULL;)
        result = each(context, entry->d_name);
    closedir(names);
    return result;
}

struct pruning {
    int archive;
    const char *instance;
    uint64_t before_ms;
    uint32_t removed;
};

/* Whether the name is of a file that an interrupted step of this instance has left. */
static bool is_left(const struct pruning *pruning, const char *name)
{
    size_t length = strlen(name), tail = sizeof(ARCHIVE_PART) - 1;
    return name[0] == '.' && length > LEDGER_HEX_SIZE + tail &&
           memcmp(name + 1, pruning->instance, LEDGER_HEX_SIZE - 1) == 0 &&
           strcmp(name + length - tail, ARCHIVE_PART) == 0;
}

static int prune(void *context, const char *name)
{
    struct pruning *pruning = context;
    char instance[LEDGER_HEX_SIZE];
    struct stat status;
    bool is_old = false;
    if (archive_number(name, instance) != 0 &&
        fstatat(pruning->archive, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        is_old = S_ISREG(status.st_mode) && status.st_mtime >= 0 &&
                 (uint64_t)status.st_mtime * 1000 < pruning->before_ms;
    if (!is_old && !is_left(pruning, name))
        return 0;
    /* Another node that shares the archive may have been sooner. */
    if (unlinkat(pruning->archive, name, 0) != 0)
        return errno == ENOENT ? 0 : -errno;
    pruning->removed += is_old;
    return 0;
}

int archive_prune(int archive, const char *instance, uint64_t before_ms, uint32_t *removed)
{
    struct pruning pruning = {.archive = archive, .instance = instance, .before_ms = before_ms};
    int result = each_name(archive, prune, &pruning);
    *removed = pruning.removed;
    return result;
}

struct listing {
    const char *instance;
    uint32_t below, count, first;
};

static int list(void *context, const char *name)
{
    struct listing *listing = context;
    char instance[LEDGER_HEX_SIZE];
    uint32_t number = archive_number(name, instance);
    if (number == 0 || number >= listing->below || strcmp(instance, listing->instance) != 0)
        return 0;
    listing->count++;
    if (listing->first == 0 || number < listing->first)
        listing->first = number;
    return 0;
}

int archive_list(int archive, const char *instance, uint32_t below, uint32_t *count,
                 uint32_t *first)
{
    struct listing listing = {.instance = instance, .below = below};
    int result = each_name(archive, list, &listing);
    *count = listing.count;
    *first = listing.first;
    return result;
}
