/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amounts of bytes as people write and read them: "500MB", "1.5GiB", "1.61 GB". The commands, the
 * configuration and the doctor use it; nothing that is billed passes through the short form.
 */
#ifndef TOLLGATE_SERVER_BASE_BYTE_COUNT_H
#define TOLLGATE_SERVER_BASE_BYTE_COUNT_H

#include <stdint.h>

#define BYTE_COUNT_SIZE 24

/*
 * Reads [+-]NUMBER[ ][UNIT]: k, M, G, T with or without B are powers of 1000; KiB, MiB, GiB, TiB of
 * 1024. A fraction must come out in whole bytes. A unit may also be all in lower or all in upper
 * case, but not Mb, which is a megabit to many. 0, -EINVAL (not an amount), or -ERANGE (2^53 or
 * more, or a part of a byte).
 */
int byte_count_read(const char *text, int64_t *out);

/* The unit that a refused suffix spells in another case ("MB" for "Mb"), a constant; or NULL. */
const char *byte_count_meant(const char *suffix);

/* Writes the short form, in powers of 1000: "999 B", "1.61 GB". It is truncated, so that it never
 * shows more than there is. */
void byte_count_write(int64_t bytes, char out[static BYTE_COUNT_SIZE]);

#endif
