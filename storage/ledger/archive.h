/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive: a directory, on another disk if wished, with segments that have left the journal. Each is one file,
 * INSTANCE-00000012.seg.zst, which `zstd -d` makes into the segment again, byte for byte; so the directory may be
 * shared by nodes. retention.c puts segments there, and whoever reads a journal from outside may read them there.
 * Nothing here knows when a segment may leave.
 */
#ifndef TOLLGATE_LEDGER_ARCHIVE_H
#define TOLLGATE_LEDGER_ARCHIVE_H

#include <stdatomic.h>

#include "storage/ledger/journal_format.h"
#include "storage/ledger/lane.h"
#include "storage/ledger/outside.h"

#define ARCHIVE_NAME_SIZE (LEDGER_HEX_SIZE + 32)

/* The name of a segment's file. */
void archive_name(const char instance[LEDGER_HEX_SIZE], uint32_t number,
                  char out[ARCHIVE_NAME_SIZE]);
/* The segment's number in such a name, and its instance; 0 where the name is not one. */
uint32_t archive_number(const char *name, char instance[LEDGER_HEX_SIZE]);

/* A segment of a journal, and what its file must come to. All is borrowed. */
struct archive_segment {
    const struct ledger_disk *disk;
    int journal; /* its directory */
    const char *instance;
    uint32_t number;
    uint64_t records;         /* that it has */
    uint64_t chain;           /* of its last record */
    uint64_t newest_ms;       /* since 1970: the time of that; the file gets it, too */
    const _Atomic bool *stop; /* ends a call sooner, with -ECANCELED */
};

/*
 * The steps by which a segment comes into the archive; each may be repeated, and a process may be killed in
 * between. The first writes its compressed bytes to a file of another name and waits until they are on disk; `bytes`
 * says how many they are. The second reads that file back (or, with `is_kept`, the one that the third has made),
 * and says whether it is the segment: its instance and number, each record's place in the chain, their count and
 * the last one's chain. The third gives it its name, and waits until that is on disk.
 *
 * 0, or a negative errno: -EBADMSG: what was read is not the segment; -ENOENT: there is no such file.
 */
int archive_pack(int archive, const struct archive_segment *segment, uint64_t *bytes);
int archive_verify(int archive, const struct archive_segment *segment, bool is_kept);
int archive_keep(int archive, const struct archive_segment *segment);
/* Removes both files of the segment, where they are. */
void archive_discard(int archive, const struct archive_segment *segment);

/*
 * Removes the files of all instances whose newest record is older than `before_ms`, and what interrupted steps of
 * this instance have left. `removed` says how many files went. 0 or a negative errno.
 */
int archive_prune(int archive, const char *instance, uint64_t before_ms, uint32_t *removed);
/* Tells how many segments of an instance below `below` there are, and the first of them (0: none). 0 or a negative
 * errno. */
int archive_list(int archive, const char *instance, uint32_t below, uint32_t *count,
                 uint32_t *first);
/* Unpacks a segment into memory: a descriptor, and its size, or a negative errno. */
int archive_unpack(int archive, const char *instance, uint32_t number, uint64_t *size);

/*
 * A disk that has the segments of one journal and, behind them, those of its archive, so that what reads a journal
 * reads both. It writes to the journal alone.
 */
struct archive_disk {
    struct ledger_disk table;
    const struct ledger_disk *base; /* borrows */
    int journal;                    /* borrows: the directory whose segments are looked for */
    int archive;                    /* owns; -1: there is none, and all is the base's */
    char instance[LEDGER_HEX_SIZE];
};

/* Begins with the disk `base` and the archive in the directory `path` (NULL or "": none). 0, or a negative errno of
 * opening it, and then the disk is the base's alone. It must not move, and archive_disk_close follows in any case. */
int archive_disk_open(struct archive_disk *disk, const struct ledger_disk *base, int journal,
                      const uint8_t instance[JOURNAL_ID_BYTES], const char *path);
void archive_disk_close(struct archive_disk *disk);

#endif
