/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of the files are in memory, so that a worker neither waits for the disk nor asks the
 * kernel about a hot file with each chunk. Workers call it before they send. It looks at one byte
 * of each block, since a block comes and goes with its neighbours: files are read and dropped in
 * the order of their pages.
 *
 * Looking changes what is seen: a read with RWF_NOWAIT of a page that is not there starts to read
 * that one page. The next look would find the page, and nothing around it. So a block that was
 * found cold counts as cold until a reader has brought it in whole, and is then looked at
 * elsewhere; its reader brings it in at once (media_reader.cold_from).
 *
 * The findings are kept in a table of fixed size, in which a newer block takes the place of an
 * older one. One thread owns it; nothing here ever blocks.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

#include "server/base/check.h"
#include "storage/media/media.h"

#define SLOTS_BITS  13 /* 8,192 blocks: 1 GiB of hot files, in 192 KiB */
#define BLOCK_BITS  24 /* of a key; blocks 2 TiB apart in one file share a key and its state */
#define PAGE_SIZE   4096
#define LOOK_NS_MAX 5000 /* a look at memory takes no longer; no disk is as quick */

/*
 * A block that was found in memory for RUN_MS is taken to be there for HOT_MS more, since the
 * kernel drops last what is in use. GAP_MS without a look ends the run, and so does any block of
 * the same file that was not there: while a file is being evicted, each look asks the kernel.
 */
#define RUN_MS      100
#define HOT_MS      100
#define GAP_MS      1000
#define COLD_MS                                                                                    \
    1000 /* a block found cold counts as cold so long: its first byte comes before the others */
#define BROUGHT_MS 5000 /* a block that was brought in counts as hot so long, if nothing tells */
#define READER_MS  100  /* a reader trusts its findings so long: a socket takes them in parts */

struct slot {
    uint64_t key; /* 0: free */
    uint64_t since_ms, seen_ms;
    bool cold;
};

struct media_residency {
    struct slot slots[1 << SLOTS_BITS];
    long blocks_read; /* the thread's ru_inblock at its last look; -1: never looked */
};

int media_residency_create(struct media_residency **out)
{
    *out = calloc(1, sizeof(**out));
    if (*out == NULL)
        return -ENOMEM;
    (*out)->blocks_read = -1;
    return 0;
}

void media_residency_destroy(struct media_residency **residency)
{
    free(*residency);
    *residency = NULL;
}

/* ---- blocks ---- */

static uint64_t key_of(const struct media_file *file, uint64_t block)
{
    return file->serial << BLOCK_BITS | (block & ((UINT64_C(1) << BLOCK_BITS) - 1));
}

static struct slot *slot_of(struct media_residency *residency, uint64_t key)
{
    return &residency->slots[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOTS_BITS)];
}

static void found(struct slot *slot, uint64_t key, const struct media_file *file, uint64_t now_ms)
{
    bool goes_on = slot->key == key && !slot->cold && now_ms < slot->seen_ms + GAP_MS &&
                   slot->since_ms > file->cold_ms;
    *slot =
        (struct slot){.key = key, .since_ms = goes_on ? slot->since_ms : now_ms, .seen_ms = now_ms};
}

static bool is_known_hot(const struct slot *slot, uint64_t key, const struct media_file *file,
                         uint64_t now_ms)
{
    return slot->key == key && !slot->cold && now_ms < slot->seen_ms + HOT_MS &&
           slot->seen_ms - slot->since_ms >= RUN_MS && slot->since_ms > file->cold_ms;
}

static bool is_known_cold(const struct slot *slot, uint64_t key, uint64_t now_ms)
{
    return slot->key == key && slot->cold && now_ms < slot->seen_ms + COLD_MS;
}

/* preadv2 refused RWF_NOWAIT: either nothing ever waits on this file system, or it cannot tell. */
static void learn(struct media_file *file)
{
    struct statfs system;
    bool memory = fstatfs(file->fd, &system) == 0 &&
                  (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
    file->telling = memory ? MEDIA_ALWAYS_IN_MEMORY : MEDIA_CANNOT_TELL;
}

/* The byte to look at: in the block's last page or, after the block was brought in, in
 * the page before. */
static uint64_t look_at(const struct media_file *file, uint64_t block, bool brought)
{
    uint64_t end = (block + 1) * MEDIA_BLOCK;
    uint64_t last = (end < file->size ? end : file->size) - 1;
    return brought && last >= block * MEDIA_BLOCK + PAGE_SIZE ? last - PAGE_SIZE : last;
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Whether the disk was read for this thread since the last call. */
static bool has_read(struct media_residency *residency)
{
    struct rusage usage = {0};
    (void)getrusage(RUSAGE_THREAD, &usage);
    bool changed = usage.ru_inblock != residency->blocks_read;
    residency->blocks_read = usage.ru_inblock;
    return changed;
}

/*
 * Reads one byte without waiting, and returns what preadv2 does. A quick disk, or a thread that was
 * held up, may let the page arrive before the call ends: then the look finds a page that it brought
 * in itself. Such a call takes longer than a look at memory, and only then is the kernel asked what
 * was read.
 */
static ssize_t look(struct media_residency *residency, const struct media_file *file, uint64_t at)
{
    char byte;
    struct iovec vector = {&byte, 1};
    if (residency->blocks_read < 0)
        (void)has_read(residency);
    uint64_t began_ns = clock_ns();
    ssize_t got = preadv2(file->fd, &vector, 1, (off_t)at, RWF_NOWAIT);
    if (got < 0 && errno == EAGAIN) {
        (void)has_read(residency);
        errno = EAGAIN;
    } else if (got == 1 && clock_ns() - began_ns > LOOK_NS_MAX && has_read(residency)) {
        errno = EAGAIN;
        got = -1;
    }
    return got;
}

static bool is_ready(struct media_residency *residency, struct media_file *file, uint64_t block,
                     bool brought, uint64_t now_ms)
{
    uint64_t key = key_of(file, block);
    struct slot *slot = slot_of(residency, key);
    if (file->telling == MEDIA_ALWAYS_IN_MEMORY || is_known_hot(slot, key, file, now_ms))
        return true;
    if (file->telling == MEDIA_CANNOT_TELL || (!brought && is_known_cold(slot, key, now_ms)))
        return false;
    ssize_t got = look(residency, file, look_at(file, block, brought));
    if (got < 0 && errno == EOPNOTSUPP) {
        learn(file);
        return file->telling == MEDIA_ALWAYS_IN_MEMORY;
    }
    if (got < 0 && errno == EAGAIN) {
        file->cold_ms = now_ms;
        *slot = (struct slot){.key = key, .seen_ms = now_ms, .cold = true};
        return false;
    }
    found(slot, key, file, now_ms);
    return true; /* true also at the end or on an error, which the send meets without waiting */
}

/* ---- readers ---- */

void media_reader_begin(struct media_reader *reader)
{
    *reader = (struct media_reader){.cold_from = UINT64_MAX};
}

size_t media_reader_ready(struct media_residency *residency, struct media_file *file,
                          struct media_reader *reader, uint64_t offset, size_t length,
                          uint64_t now_ms)
{
    uint64_t end = offset + length;
    if (reader->cold_from <= offset)
        return 0;
    if (reader->ready_end <= offset || now_ms - reader->ready_ms >= READER_MS) {
        reader->ready_end = offset;
        reader->ready_ms = now_ms;
    }
    while (reader->ready_end < end && reader->ready_end < reader->cold_from) {
        uint64_t block = reader->ready_end / MEDIA_BLOCK;
        if (is_ready(residency, file, block, reader->ready_end < reader->brought_end, now_ms))
            reader->ready_end = (block + 1) * MEDIA_BLOCK;
        else
            reader->cold_from = reader->ready_end;
    }
    return (size_t)((reader->ready_end < end ? reader->ready_end : end) - offset);
}

/* `wanted`, or the end of the last block that the reader needs, whichever comes first. */
static uint64_t blocks_end(const struct media_file *file, uint64_t needed, uint64_t wanted)
{
    uint64_t end = (needed + MEDIA_BLOCK - 1) / MEDIA_BLOCK * MEDIA_BLOCK;
    end = end < wanted ? end : wanted;
    return end < file->size ? end : file->size;
}

struct media_need media_reader_need(const struct media_file *file, struct media_reader *reader,
                                    uint64_t offset, uint64_t needed)
{
    uint64_t from = offset / MEDIA_BLOCK * MEDIA_BLOCK;
    struct media_need need = {.from = from,
                              .end = blocks_end(file, needed, from + MEDIA_AHEAD_MAX)};
    bool again = reader->tries > 0;
    reader->brought_end = blocks_end(file, needed, from + (again ? MEDIA_BLOCK : MEDIA_BRING_MAX));
    reader->tries++;
    if (again || file->telling == MEDIA_CANNOT_TELL) {
        need.read_from = offset;
        need.read_length = (size_t)(reader->brought_end - offset);
    } else {
        need.read_from = look_at(file, (reader->brought_end - 1) / MEDIA_BLOCK, true);
        need.read_length = 1;
    }
    check(need.read_length > 0 && need.read_length <= MEDIA_BRING_MAX);
    return need;
}

void media_reader_brought(struct media_residency *residency, const struct media_file *file,
                          struct media_reader *reader, uint64_t offset, uint64_t now_ms)
{
    reader->ready_end = 0;
    reader->cold_from = UINT64_MAX;
    if (file->telling != MEDIA_CANNOT_TELL)
        return;
    for (uint64_t block = offset / MEDIA_BLOCK; block * MEDIA_BLOCK < reader->brought_end;
         block++) {
        uint64_t key = key_of(file, block);
        *slot_of(residency, key) =
            (struct slot){.key = key, .since_ms = now_ms, .seen_ms = now_ms + BROUGHT_MS - HOT_MS};
    }
}

void media_reader_sent(struct media_reader *reader)
{
    reader->tries = 0;
}

ssize_t media_file_read(struct media_file *file, void *out, size_t length, uint64_t offset)
{
    struct iovec vector = {out, length};
    ssize_t got = -1;
    if (file->telling == MEDIA_TELLS) {
        got = preadv2(file->fd, &vector, 1, (off_t)offset, RWF_NOWAIT);
        if (got < 0 && errno == EOPNOTSUPP)
            learn(file);
    }
    if (file->telling == MEDIA_CANNOT_TELL)
        return -ENODATA;
    if (file->telling == MEDIA_ALWAYS_IN_MEMORY)
        got = preadv(file->fd, &vector, 1, (off_t)offset);
    if (got < 0)
        return errno == EAGAIN ? -ENODATA : -errno;
    return got;
}
