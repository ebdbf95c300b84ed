/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Media types by the extensions of file names: the configuration's `content_types` as a table that
 * is searched for each response. The node makes it once, and all workers read it. It opens no file.
 */
#ifndef TOLLGATE_SERVER_CONFIG_CONTENT_TYPES_H
#define TOLLGATE_SERVER_CONFIG_CONTENT_TYPES_H

#include <stdbool.h>
#include <stddef.h>

struct content_types;

/*
 * Reads ".mp3=audio/mpeg .txt=text/plain;charset=utf-8": entries of an extension and a media type
 * (RFC 9110 8.3.1, written without spaces), separated by spaces or commas. 0; -EINVAL, with the
 * first bad or repeated entry in *bad (borrowed from `text`, up to the next separator); or -ENOMEM.
 */
int content_types_create(struct content_types **out, const char *text, const char **bad);
void content_types_destroy(struct content_types **types);

/* Whether the text has the form of a media type. */
bool content_type_is_valid(const char *type);

/* The media type of a path (not NUL-terminated) by its last segment's last extension, compared
 * without case; NULL where the table has none. Borrowed from the table. */
const char *content_types_find(const struct content_types *types, const char *path, size_t length);

#endif
