/*
 * Amounts of bytes as people write and read them: "500MB", "1.5GiB", "1.61 GB". For the commands;
 * nothing that is billed passes through the short form.
 */
#ifndef TOLLGATE_SERVER_BYTE_COUNT_H
#define TOLLGATE_SERVER_BYTE_COUNT_H

#include <stdint.h>

#define BYTE_COUNT_SIZE 24

/*
 * Reads [+-]NUMBER[UNIT]: k, M, G, T with or without B are powers of 1000; KiB, MiB, GiB, TiB of
 * 1024; a fraction must come out in whole bytes. A unit may be in lower or in upper case as a whole, but not Mb,
 * which is a megabit to many. 0, -EINVAL (not an amount), -ERANGE (2^53 or more,
 * or a part of a byte).
 */
int byte_count_read(const char *text, int64_t *out);

/* The unit that a suffix which byte_count_read refuses spells in another case ("MB" for "Mb"), or NULL. */
const char *byte_count_meant(const char *suffix);

/* Writes the short form, in powers of 1000: "999 B", "1.61 GB". Truncated, so never more than there
 * is. */
void byte_count_write(int64_t bytes, char out[static BYTE_COUNT_SIZE]);

#endif
