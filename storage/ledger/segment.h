/*
 * One segment file of the journal: create with its space allocated, open, read and write in full.
 * Used by the journal, its reader and the scan. It knows nothing of what a record means.
 */
#ifndef TOLLGATE_LEDGER_SEGMENT_H
#define TOLLGATE_LEDGER_SEGMENT_H

#include "storage/ledger/journal_format.h"

#define SEGMENT_NAME_MAX 24

void segment_name(uint32_t number, char name[SEGMENT_NAME_MAX]);
/* The number of a file of that name, 0 where it is not a segment's. */
uint32_t segment_number(const char *name);
/* A descriptor with `bytes` allocated, zero and on disk, or a negative errno with nothing left
 * behind. It takes no space where there is too little. */
int segment_create(int directory, uint32_t number, uint64_t bytes);
/* What to do where a segment cannot be made, opened or read for this errno (positive): the cure, to
 * stand behind strerror. */
const char *segment_cure(int error);
/* A descriptor, and how many records the file holds. */
int segment_open(int directory, uint32_t number, bool writable, uint32_t *records);
int segment_write(int fd, uint32_t first, const uint8_t *records, uint32_t count);
int segment_read(int fd, uint32_t first, uint8_t *records, uint32_t count);

#endif
