/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a line of the access log again, of either format, as far as a bill needs it: whose it was and how
 * many bytes. access_line.c writes such lines. It opens no file.
 */
#ifndef TOLLGATE_SERVER_ACCESS_LOG_ACCESS_READ_H
#define TOLLGATE_SERVER_ACCESS_LOG_ACCESS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCESS_READ_TEXT 2049 /* access.c cuts texts at 2,048 bytes */

struct access_read {
    char issuer[ACCESS_READ_TEXT];  /* "": the request had no token that could be read */
    char account[ACCESS_READ_TEXT]; /* as it is in the token */
    size_t account_length;
    bool has_pluses; /* in the Combined format a plus may stand for a space of the name */
    uint64_t acknowledged;
};

/* Reads a line without its newline. 0; -EINVAL: it is not a line of an access log. */
int access_line_read(const char *line, size_t length, struct access_read *out);

#endif
