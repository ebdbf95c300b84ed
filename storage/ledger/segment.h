/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment file of the journal: it is created with its space allocated, opened, read and
 * written. Used by the journal, its reader and the scan. It knows nothing of what a record means.
 */
#ifndef TOLLGATE_LEDGER_SEGMENT_H
#define TOLLGATE_LEDGER_SEGMENT_H

#include "storage/ledger/journal_format.h"
#include "storage/ledger/outside.h"

#define SEGMENT_NAME_MAX 24

void segment_name(uint32_t number, char name[SEGMENT_NAME_MAX]);
/* The number in a segment file's name; 0 where the name is not one. */
uint32_t segment_number(const char *name);
/*
 * Makes a segment: returns a descriptor with `bytes` allocated, zero and on disk, or a negative
 * errno with nothing left behind. Where the disk has less free space, it is -ENOSPC and takes none.
 */
int segment_create(int directory, uint32_t number, uint64_t bytes);
/* The cure where a segment cannot be made, opened or read for this errno (positive), to stand
 * behind strerror. */
const char *segment_cure(int error);
/* Returns a descriptor, and how many bytes the file has; or a negative errno. The two below
 * transfer `length` bytes from `offset` on: 0 or a negative errno, -EIO at the file's end. */
int segment_open(int directory, uint32_t number, bool writable, uint64_t *size);
int segment_write(int fd, uint64_t offset, const uint8_t *bytes, size_t length);
int segment_read(int fd, uint64_t offset, uint8_t *bytes, size_t length);
/* Waits until what was written is on disk. 0, or a negative errno: it may be lost. */
int segment_sync(int fd);
/* Tells how many segments there are, and the lowest and the highest number. 0 or a negative errno. */
int segment_list(int directory, struct ledger_disk_list *out);
/* Removes a segment, and waits until that is on disk. 0, -ENOENT, or another negative errno. */
int segment_remove(int directory, uint32_t number);

#endif
