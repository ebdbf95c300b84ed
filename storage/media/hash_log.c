/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads, appends and rewrites the file of hashes for the hash store. Every process that has the
 * file open holds a shared flock on it, and rewriting needs the exclusive one, so nobody appends to
 * a file that has been replaced. An append is never synced: a hash that a loss of power takes is
 * computed again.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "storage/media/hash_log_internal.h"

#define BLOCK_BYTES    72 /* the header and each record */
#define SUMMED_BYTES   64
#define BATCH_BLOCKS   1024
#define VERSION        3U /* 2: with MP3 facts; 3: facts from all frames */
#define NAME           "hashes"
#define NAME_NEW       "hashes.new"
#define NAME_SET_ASIDE "hashes.unreadable"

struct hash_log {
    int directory_fd; /* owns */
    int fd;           /* owns */
    bool writable, exclusive;
    off_t read_to; /* all records before it have been visited */
};

/* ---- blocks ---- */

static void put_u32(unsigned char *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static void put_u64(unsigned char *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t get_u64(const unsigned char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

static void seal(unsigned char block[static BLOCK_BYTES])
{
    put_u64(block + SUMMED_BYTES, XXH3_64bits(block, SUMMED_BYTES));
}

static void encode_header(unsigned char block[static BLOCK_BYTES])
{
    static const unsigned char magic[8] = {'t', 'o', 'l', 'l', 'h', 'a', 's', 'h'};
    memset(block, 0, BLOCK_BYTES);
    memcpy(block, magic, sizeof(magic));
    put_u32(block + 8, VERSION);
    put_u32(block + 12, BLOCK_BYTES);
    seal(block);
}

static void encode_record(unsigned char block[static BLOCK_BYTES], const struct hash_record *record)
{
    const struct file_identity *identity = &record->identity;
    const uint64_t words[] = {identity->device, identity->inode, identity->size, identity->mtime_ns,
                              identity->ctime_ns};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        put_u64(block + 8 * i, words[i]);
    _Static_assert(sizeof(words) + sizeof(record->hash.digest) + 8 == SUMMED_BYTES,
                   "a record's layout");
    memcpy(block + sizeof(words), record->hash.digest, sizeof(record->hash.digest));
    put_u32(block + 56, record->hash.facts.duration_ms);
    put_u32(block + 60, record->hash.facts.bitrate);
    seal(block);
}

/* False where the checksum is wrong; a block of zeros has a wrong one too. */
static bool decode_record(struct hash_record *record, const unsigned char block[static BLOCK_BYTES])
{
    if (get_u64(block + SUMMED_BYTES) != XXH3_64bits(block, SUMMED_BYTES))
        return false;
    record->identity = (struct file_identity){
        .device = get_u64(block),
        .inode = get_u64(block + 8),
        .size = get_u64(block + 16),
        .mtime_ns = get_u64(block + 24),
        .ctime_ns = get_u64(block + 32),
    };
    memcpy(record->hash.digest, block + 40, sizeof(record->hash.digest));
    record->hash.facts.duration_ms = get_u32(block + 56);
    record->hash.facts.bitrate = get_u32(block + 60);
    return true;
}

/* ---- input and output ---- */

static ssize_t read_all(int fd, void *buffer, size_t size, off_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, (char *)buffer + done, size - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int write_all(int fd, const void *buffer, size_t size, off_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(fd, (const char *)buffer + done, size - done, offset + (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (put == 0)
            return -ENOSPC;
        done += (size_t)put;
    }
    return 0;
}

static int lock(int fd, int operation)
{
    int failed;
    do
        failed = flock(fd, operation);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

/* ---- opening ---- */

/* Opens and locks the file that has the name now. 0, -EAGAIN (it was replaced meanwhile), or a
 * negative errno. */
static int open_and_lock(struct hash_log *log)
{
    log->writable = true;
    log->fd = openat(log->directory_fd, NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0 && (errno == EACCES || errno == EROFS)) {
        /* A log that cannot be written is still worth reading. */
        log->writable = false;
        log->fd = openat(log->directory_fd, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (log->fd < 0)
        return -errno;

    log->exclusive = lock(log->fd, LOCK_EX | LOCK_NB) == 0;
    int error = log->exclusive ? 0 : lock(log->fd, LOCK_SH);
    if (error)
        return error;

    struct stat opened, named;
    if (fstat(log->fd, &opened))
        return -errno;
    if (!S_ISREG(opened.st_mode))
        return -EINVAL;
    if (fstatat(log->directory_fd, NAME, &named, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? -EAGAIN : -errno;
    return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino ? 0 : -EAGAIN;
}

/* 0 where the header is right, also for a file without a whole one, which the first append writes;
 * -EAGAIN: the file was set aside. */
static int verify_header(struct hash_log *log)
{
    unsigned char expected[BLOCK_BYTES], found[BLOCK_BYTES];
    encode_header(expected);
    ssize_t got = read_all(log->fd, found, sizeof(found), 0);
    if (got < 0)
        return (int)got;
    if (memcmp(expected, found, (size_t)got) == 0)
        return 0;
    /* A file that another process uses may not be moved. */
    if (!log->exclusive || !log->writable)
        return -EBADMSG;
    if (renameat(log->directory_fd, NAME, log->directory_fd, NAME_SET_ASIDE))
        return -errno;
    return -EAGAIN;
}

int hash_log_open(struct hash_log **out, const char *state_dir)
{
    struct hash_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return -ENOMEM;
    log->fd = -1;
    log->read_to = BLOCK_BYTES;
    log->directory_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = log->directory_fd < 0 ? -errno : -EAGAIN;

    /* Each turn means that another process replaced the file, or that this one set it aside. */
    for (int turn = 0; error == -EAGAIN && turn < 16; turn++) {
        if (log->fd >= 0)
            close(log->fd);
        error = open_and_lock(log);
        if (!error)
            error = verify_header(log);
    }
    if (error) {
        hash_log_close(&log);
        return error;
    }
    *out = log;
    return 0;
}

void hash_log_close(struct hash_log **log)
{
    if (*log == NULL)
        return;
    if ((*log)->fd >= 0)
        close((*log)->fd);
    if ((*log)->directory_fd >= 0)
        close((*log)->directory_fd);
    free(*log);
    *log = NULL;
}

void hash_log_share(struct hash_log *log)
{
    if (log->exclusive)
        (void)lock(log->fd, LOCK_SH);
    log->exclusive = false;
}

/* ---- records ---- */

int hash_log_read(struct hash_log *log,
                  void (*visit)(void *context, const struct hash_record *record), void *context,
                  uint64_t *damaged)
{
    unsigned char *batch = malloc((size_t)BATCH_BLOCKS * BLOCK_BYTES);
    if (batch == NULL)
        return -ENOMEM;
    ssize_t got;
    do {
        got = read_all(log->fd, batch, (size_t)BATCH_BLOCKS * BLOCK_BYTES, log->read_to);
        size_t blocks = got > 0 ? (size_t)got / BLOCK_BYTES : 0;
        for (size_t i = 0; i < blocks; i++) {
            struct hash_record record;
            if (decode_record(&record, batch + i * BLOCK_BYTES))
                visit(context, &record);
            else
                ++*damaged;
        }
        log->read_to += (off_t)(blocks * BLOCK_BYTES);
    } while (got == (ssize_t)BATCH_BLOCKS * BLOCK_BYTES);
    free(batch);
    return got < 0 ? (int)got : 0;
}

uint64_t hash_log_length(const struct hash_log *log)
{
    return (uint64_t)(log->read_to / BLOCK_BYTES) - 1;
}

/*
 * The record is written at the end of the last whole one rather than with O_APPEND: this overwrites
 * a torn tail of a full disk or a loss of power, so records stay aligned. Should two processes meet
 * at the same offset, one of the two hashes is lost and computed again some day.
 */
int hash_log_append(struct hash_log *log, const struct hash_record *record)
{
    if (!log->writable)
        return -EROFS;
    struct stat status;
    if (fstat(log->fd, &status))
        return -errno;

    unsigned char block[BLOCK_BYTES];
    if (status.st_size < BLOCK_BYTES) {
        encode_header(block);
        int error = write_all(log->fd, block, sizeof(block), 0);
        if (error)
            return error;
        status.st_size = BLOCK_BYTES;
    }
    encode_record(block, record);
    off_t offset = status.st_size - status.st_size % BLOCK_BYTES;
    int error = write_all(log->fd, block, sizeof(block), offset);
    if (!error && offset == log->read_to)
        log->read_to += BLOCK_BYTES; /* our own record, already in memory */
    return error;
}

/* Writes header and records to `fd` in batches; the length, or a negative errno. */
static off_t write_records(int fd, bool (*next)(void *context, struct hash_record *record),
                           void *context)
{
    unsigned char *batch = malloc((size_t)BATCH_BLOCKS * BLOCK_BYTES);
    if (batch == NULL)
        return -ENOMEM;
    encode_header(batch);
    size_t blocks = 1;
    off_t written = 0;
    int error = 0;
    struct hash_record record;
    bool more;
    do {
        more = next(context, &record);
        if (more)
            encode_record(batch + blocks++ * BLOCK_BYTES, &record);
        if (blocks == BATCH_BLOCKS || !more) {
            error = write_all(fd, batch, blocks * BLOCK_BYTES, written);
            written += (off_t)(blocks * BLOCK_BYTES);
            blocks = 0;
        }
    } while (more && !error);
    free(batch);
    return error ? error : written;
}

int hash_log_rewrite(struct hash_log *log, bool (*next)(void *context, struct hash_record *record),
                     void *context)
{
    if (!log->exclusive)
        return -EBUSY;
    if (!log->writable)
        return -EROFS;
    (void)unlinkat(log->directory_fd, NAME_NEW, 0); /* left by a rewrite that was killed */
    int fd = openat(log->directory_fd, NAME_NEW, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;

    /* Locked before it has the name, so that a process that opens it next
     * waits until hash_log_share. */
    off_t written = 0;
    int error = lock(fd, LOCK_EX | LOCK_NB);
    if (!error) {
        written = write_records(fd, next, context);
        error = written < 0 ? (int)written : 0;
    }
    /* Synced before the rename: after a loss of power there is the old file or the whole new one.
     */
    if (!error && fdatasync(fd))
        error = -errno;
    if (!error && renameat(log->directory_fd, NAME_NEW, log->directory_fd, NAME))
        error = -errno;
    if (error) {
        (void)unlinkat(log->directory_fd, NAME_NEW, 0);
        close(fd);
        return error;
    }
    (void)fsync(log->directory_fd);
    close(log->fd);
    log->fd = fd;
    log->read_to = written;
    return 0;
}
