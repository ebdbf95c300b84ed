/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a checkpoint: STATE_DIR/lane-a/checkpoints/00000012.seg says what the segments 1 to 12 of
 * the journal beside it come to. Used by checkpoint_make.c and by the scan.
 *
 *   head         512 bytes, written last, so that a file without it is none: CHECKPOINT_MAGIC, the
 *                fields of struct checkpoint_head, and XXH3-64 of the head before it
 *   body         accounts (checkpoint_format.c) by checkpoint_hash and text; for each segment how many
 *                records stand before it; each download that is open; the index, for each block of
 *                accounts its first one's hash, its place in the file and its XXH3-64. The XXH3-64 of all
 *                that, and of the index alone, stand in the head
 */
#ifndef TOLLGATE_LEDGER_CHECKPOINT_FILE_H
#define TOLLGATE_LEDGER_CHECKPOINT_FILE_H

#include <xxhash.h>

#include "storage/ledger/checkpoint.h"
#include "storage/ledger/sums.h"

#define CHECKPOINT_FORMAT     (2u + TOLLGATE_VERSION_STEP)
#define CHECKPOINT_OLDEST     2u /* the oldest format that is read */
#define CHECKPOINT_HEAD_BYTES 512u
#define CHECKPOINT_SUM_BYTES  24u /* of an open download */
#define CHECKPOINT_BLOCK_BYTES                                                                     \
    ((size_t)16 * 1024)            /* a block of accounts ends with the one that fills so much */
#define CHECKPOINT_ENTRY_BYTES 24u /* of a block, in the index */

struct checkpoint_head {
    uint8_t instance[JOURNAL_ID_BYTES];
    uint64_t segment;          /* the last one that it covers */
    uint64_t time_ms;          /* of the newest record */
    uint64_t chain;            /* of the last record */
    uint64_t records, entries; /* all of them; those of usage and money */
    uint64_t vouched, vouches; /* as in struct journal */
    uint64_t found_lease, found_download;
    uint64_t bytes, responses; /* of all accounts */
    uint64_t accounts, downloads;
    uint64_t body_bytes, body_hash;
    uint64_t blocks, index_hash;
};

/* A block of accounts: the hash of its first one, where it begins in the file, its XXH3-64. */
struct checkpoint_block {
    uint64_t hash, offset, sum;
};

struct checkpoint_blocks {
    struct checkpoint_block *list; /* owns */
    size_t count, room;
};

/* What a start needs of a checkpoint beside the accounts. */
struct checkpoint {
    struct checkpoint_head head;
    uint64_t *bases;                /* owns: records before segment i + 1 */
    struct download_sum *downloads; /* owns */
};

void checkpoint_clear(struct checkpoint *checkpoint);

/* Writes a file from its begin to its end. */
struct checkpoint_writer {
    const struct ledger_disk *disk; /* borrows */
    int fd;
    uint64_t offset; /* in the file, of the buffer's begin */
    uint64_t length; /* of the file as it was made */
    uint8_t *buffer; /* owns */
    size_t buffered;
    XXH3_state_t *hash; /* owns */
    uint64_t accounts;
    struct checkpoint_blocks blocks;
    XXH3_state_t *block_hash; /* owns: of the block that is open */
    size_t block_bytes;       /* of that one; 0: none is open */
};

/* Makes the file, of at most `length` bytes of accounts, segments and downloads behind its head, and of
 * what its index takes. 0 or a negative errno, as segment_create. */
int checkpoint_create(struct checkpoint_writer *writer, const struct ledger_disk *disk,
                      int directory, uint32_t segment, uint64_t length);
/* Appends an account, encoded, in the file's order. 0 or a negative errno; -EFBIG where it passes the
 * file's length. */
int checkpoint_write(struct checkpoint_writer *writer, const uint8_t *bytes, uint32_t length);
/* Appends what is behind the accounts, and the head, and waits until both are on disk. Fills the
 * fields of the head that describe the body. 0 or a negative errno. */
int checkpoint_finish(struct checkpoint_writer *writer, struct checkpoint *checkpoint);
/* Closes the file, finished or not. */
void checkpoint_writer_close(struct checkpoint_writer *writer);

/* Reads a file from its begin to its end. */
struct checkpoint_reader {
    const struct ledger_disk *disk; /* borrows */
    int fd;
    uint64_t offset, end; /* of the body, in the file: behind the buffer */
    uint8_t *buffer;      /* owns */
    size_t room, buffered, at;
    XXH3_state_t *hash; /* owns */
    struct checkpoint_head head;
    uint64_t accounts; /* that were read */
};

/* Opens the checkpoint of the segment and reads its head. 0; -EBADMSG: it was not finished, or is damaged;
 * -EPROTONOSUPPORT: a newer version has made it; or a negative errno. Close the reader in any case. */
int checkpoint_open(struct checkpoint_reader *reader, const struct ledger_disk *disk, int directory,
                    uint32_t segment);
/* Reads the next account, encoded; it stays until the next call. 1 with one; 0: there are no more; or
 * a negative errno. What was read counts only once checkpoint_end said 0. */
int checkpoint_next(struct checkpoint_reader *reader, const uint8_t **bytes, uint32_t *length);
/* Reads what stands behind the accounts into `out`, and verifies the body's hash. 0, -EBADMSG, or
 * another negative errno. */
int checkpoint_end(struct checkpoint_reader *reader, struct checkpoint *out);
void checkpoint_reader_close(struct checkpoint_reader *reader);

#endif
