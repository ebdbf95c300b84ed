/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of media types by extension, sorted because it is searched for each
 * response. See content_types.h.
 */
#include "server/config/content_types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SEPARATORS ", "

struct content_type {
    const char *extension; /* borrows the table's text; with its dot */
    const char *type;      /* likewise */
    size_t at;             /* offset of the entry in the text, for messages */
};

struct content_types {
    size_t count;
    struct content_type *entries; /* owns; sorted by extension, without case */
    char *text;                   /* owns */
};

static int compare(const void *one, const void *other)
{
    const struct content_type *left = one, *right = other;
    return strcasecmp(left->extension, right->extension);
}

bool content_type_is_valid(const char *type)
{
    /* RFC 9110 8.3.1: type "/" subtype, perhaps with parameters. */
    const char *slash = strchr(type, '/');
    return slash != NULL && slash != type && slash[1] != '\0' && slash[1] != ';' &&
           type[strspn(type, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "!#$&^_.+-/;= \"")] == '\0';
}

/* Cuts ".mp3=audio/mpeg" in two. */
static bool read_entry(char *text, struct content_type *out)
{
    char *equals = strchr(text, '=');
    if (text[0] != '.' || equals == NULL || equals == text + 1)
        return false;
    *equals = '\0';
    out->extension = text;
    out->type = equals + 1;
    return strpbrk(text + 1, "./") == NULL && content_type_is_valid(out->type);
}

static const char *repeated(const struct content_types *types, const char *text)
{
    for (size_t i = 1; i < types->count; i++) {
        if (compare(&types->entries[i - 1], &types->entries[i]) == 0)
            return text + types->entries[i].at;
    }
    return NULL;
}

int content_types_create(struct content_types **out, const char *text, const char **bad)
{
    struct content_types *types = calloc(1, sizeof(*types));
    *out = NULL;
    *bad = NULL;
    if (types == NULL)
        return -ENOMEM;
    types->text = strdup(text);
    /* An entry and its separator take at least two bytes. */
    types->entries = calloc(strlen(text) / 2 + 1, sizeof(*types->entries));
    if (types->text == NULL || types->entries == NULL) {
        content_types_destroy(&types);
        return -ENOMEM;
    }
    char *rest = NULL;
    for (char *entry = strtok_r(types->text, SEPARATORS, &rest); entry != NULL && *bad == NULL;
         entry = strtok_r(NULL, SEPARATORS, &rest)) {
        struct content_type *next = &types->entries[types->count++];
        next->at = (size_t)(entry - types->text);
        if (!read_entry(entry, next))
            *bad = text + next->at;
    }
    if (*bad == NULL) {
        qsort(types->entries, types->count, sizeof(*types->entries), compare);
        *bad = repeated(types, text);
    }
    if (*bad != NULL) {
        content_types_destroy(&types);
        return -EINVAL;
    }
    *out = types;
    return 0;
}

void content_types_destroy(struct content_types **types)
{
    if (*types == NULL)
        return;
    free((*types)->entries);
    free((*types)->text);
    free(*types);
    *types = NULL;
}

const char *content_types_find(const struct content_types *types, const char *path, size_t length)
{
    char extension[64];
    size_t at = length;
    while (at > 0 && path[at - 1] != '.' && path[at - 1] != '/')
        at--;
    if (at == 0 || path[at - 1] == '/' || length - at + 1 >= sizeof(extension))
        return NULL;
    memcpy(extension, path + at - 1, length - at + 1);
    extension[length - at + 1] = '\0';
    const struct content_type wanted = {.extension = extension};
    const struct content_type *found =
        bsearch(&wanted, types->entries, types->count, sizeof(*types->entries), compare);
    return found != NULL ? found->type : NULL;
}
