/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists the keys in which two configurations differ, for a sentence of the log. Called by the node
 * at SIGHUP, which compares the configuration in force with the file. It goes through the rows of
 * config_table.h, so a new key needs no code here. It changes neither configuration.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/check.h"
#include "server/config/config_internal.h"

enum {
    VALUE_BYTES = 64, /* of a value as it is shown */
    NAME_BYTES = 96,  /* "issuers.", an id of 32 and the longest key */
    ITEM_BYTES = NAME_BYTES + 2 * VALUE_BYTES + 16,
    MORE_BYTES = 24, /* ", and 4294967295 more" */
};

/* A value of either table: its type, and the field that holds it. */
struct value {
    enum config_type type;
    const void *field;
    unsigned count; /* of a list */
};

struct listing {
    char *text;
    size_t size, length;
    unsigned count, named;
};

static bool is_same(const struct value *one, const struct value *other)
{
    if (one->type == CONFIG_NUMBER || one->type == CONFIG_AUTO)
        return *(const uint64_t *)one->field == *(const uint64_t *)other->field;
    if (one->type != CONFIG_LIST)
        return strcmp(*(char *const *)one->field, *(char *const *)other->field) == 0;
    char *const *ones = *(char *const *const *)one->field;
    char *const *others = *(char *const *const *)other->field;
    bool same = one->count == other->count;
    for (unsigned i = 0; same && i < one->count; i++)
        same = strcmp(ones[i], others[i]) == 0;
    return same;
}

/* Ends a value that did not fit in dots, never within a character of UTF-8. */
static void end_in_dots(char out[VALUE_BYTES])
{
    size_t end = VALUE_BYTES - sizeof("...");
    while (end > 0 && ((unsigned char)out[end] & 0xc0) == 0x80)
        end--;
    memcpy(out + end, "...", sizeof("..."));
}

static void show(const struct value *value, char out[VALUE_BYTES])
{
    size_t length = 0;
    if (value->type == CONFIG_LIST) {
        char *const *entries = *(char *const *const *)value->field;
        for (unsigned i = 0; i < value->count && length < VALUE_BYTES; i++)
            length += (size_t)snprintf(out + length, VALUE_BYTES - length, "%s%s",
                                       i == 0 ? "[" : ", ", entries[i]);
        if (length < VALUE_BYTES)
            length += (size_t)snprintf(out + length, VALUE_BYTES - length, "%s",
                                       value->count == 0 ? "[]" : "]");
    } else if (value->type == CONFIG_AUTO && *(const uint64_t *)value->field == 0) {
        length = (size_t)snprintf(out, VALUE_BYTES, "auto");
    } else if (value->type == CONFIG_AUTO || value->type == CONFIG_NUMBER) {
        length = (size_t)snprintf(out, VALUE_BYTES, "%" PRIu64, *(const uint64_t *)value->field);
    } else {
        const char *text = *(char *const *)value->field;
        length = (size_t)snprintf(out, VALUE_BYTES, "%s", text[0] != '\0' ? text : "\"\"");
    }
    if (length >= VALUE_BYTES)
        end_in_dots(out);
}

/* Adds a name and how it changed. In the second half of the text `how` is left out, so that more
 * names fit; after the first name that does not fit, the others are only counted. */
static void add(struct listing *listing, const char *name, const char *how)
{
    char item[ITEM_BYTES];
    listing->count++;
    if (listing->named + 1 < listing->count)
        return;
    int length = snprintf(item, sizeof(item), "%s%s%s", listing->named > 0 ? ", " : "", name,
                          listing->length < listing->size / 2 ? how : "");
    if (listing->length + (size_t)length + MORE_BYTES >= listing->size)
        return;
    memcpy(listing->text + listing->length, item, (size_t)length + 1);
    listing->length += (size_t)length;
    listing->named++;
}

static void compare(struct listing *listing, const char *name, const struct value *before,
                    const struct value *after)
{
    char from[VALUE_BYTES], to[VALUE_BYTES], how[2 * VALUE_BYTES + 16] = "";
    if (is_same(before, after))
        return;
    show(before, from);
    show(after, to);
    if (strcmp(from, to) != 0) /* else they differ past what is shown of them */
        snprintf(how, sizeof(how), " (from %s to %s)", from, to);
    add(listing, name, how);
}

static struct value value_of_issuer(const struct config_issuer *issuer,
                                    const struct config_issuer_key *key)
{
    struct value value = {.type = key->type, .field = (const char *)issuer + key->offset};
    const void *count = (const char *)issuer + key->count_offset;
    if (key->type == CONFIG_LIST)
        value.count = *(const unsigned *)count;
    return value;
}

static const struct config_issuer *find_issuer(const struct config *config, const char *id)
{
    for (unsigned i = 0; i < config->issuers_count; i++) {
        if (strcmp(config->issuers[i].id, id) == 0)
            return &config->issuers[i];
    }
    return NULL;
}

static void compare_issuers(struct listing *listing, const struct config *before,
                            const struct config *after)
{
    char name[NAME_BYTES];
    for (unsigned i = 0; i < before->issuers_count; i++) {
        const struct config_issuer *old = &before->issuers[i];
        const struct config_issuer *new = find_issuer(after, old->id);
        snprintf(name, sizeof(name), "issuers.%s", old->id);
        if (new == NULL)
            add(listing, name, " (removed)");
        for (size_t j = 0; new != NULL &&j < config_issuer_key_count; j++) {
            const struct config_issuer_key *key = &config_issuer_keys[j];
            struct value from = value_of_issuer(old, key), to = value_of_issuer(new, key);
            snprintf(name, sizeof(name), "issuers.%s.%s", old->id, key->name);
            compare(listing, name, &from, &to);
        }
    }
    for (unsigned i = 0; i < after->issuers_count; i++) {
        snprintf(name, sizeof(name), "issuers.%s", after->issuers[i].id);
        if (find_issuer(before, after->issuers[i].id) == NULL)
            add(listing, name, " (added)");
    }
}

static bool has_default_origin(const struct config *config)
{
    char *origin = config_origin_default(config);
    bool is = origin != NULL && strcmp(origin, config->public_origin) == 0;
    free(origin);
    return is;
}

unsigned config_changes(const struct config *before, const struct config *after, char *text,
                        size_t size)
{
    check(size >= ITEM_BYTES + MORE_BYTES);
    struct listing listing = {.text = text, .size = size};
    bool follows_listen = has_default_origin(before) && has_default_origin(after);
    text[0] = '\0';
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        struct value from = {.type = key->type, .field = (const char *)before + key->offset};
        struct value to = {.type = key->type, .field = (const char *)after + key->offset};
        if (follows_listen && key->offset == offsetof(struct config, public_origin))
            continue;
        compare(&listing, key->name, &from, &to);
    }
    compare_issuers(&listing, before, after);
    if (listing.named < listing.count)
        snprintf(text + listing.length, size - listing.length, "%s%u more",
                 listing.named > 0 ? ", and " : "", listing.count - listing.named);
    return listing.count;
}
