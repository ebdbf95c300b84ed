/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the configuration file into struct config: each value of the document that config_table.h
 * names is converted, held against its bounds and, where it is a path, resolved. A mistake does not
 * end the reading: the default stands in, so that further mistakes are found, too. Called by the
 * commands that need a configuration when they start, and by a node at SIGHUP. It never opens the
 * files that the values name.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/byte_count.h"
#include "server/base/check.h"
#include "server/base/file_read.h"
#include "server/base/nearest.h"
#include "server/config/config_internal.h"

/* ---- converting ---- */

/* The path, taken from the directory of `file` where it is relative; malloc'ed. */
static char *resolve(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    char *resolved = NULL;
    if (path[0] == '/' || path[0] == '\0' || slash == NULL)
        return strdup(path);
    if (asprintf(&resolved, "%.*s%s", (int)(slash - file + 1), file, path) < 0)
        return NULL;
    return resolved;
}

struct reading {
    const char *file;
    struct config_document *document;
    bool exhausted; /* out of memory: some field is NULL */
};

static void validate_length(const struct reading *reading, int issuer, const char *key,
                            const char *value, uint64_t minimum, uint64_t maximum)
{
    size_t length = strlen(value);
    if (length >= minimum && length <= maximum)
        return;
    if (length == 0)
        config_refuse(reading->document, issuer, key, -1, "is empty; give a value");
    else
        config_refuse(reading->document, issuer, key, -1,
                      "is %zu bytes long; give %" PRIu64 " to %" PRIu64 " bytes", length, minimum,
                      maximum);
}

static void convert_number(const struct reading *reading, int issuer, const struct config_key *key,
                           const char *value, uint64_t *out)
{
    const char *automatic = key->type == CONFIG_AUTO ? ", or auto" : "";
    if (key->type == CONFIG_AUTO && strcmp(value, "auto") == 0) {
        *out = 0;
        return;
    }
    uint64_t number = 0;
    int result = config_amount_read(value, key->unit, &number);
    const char *suffix = value + strspn(value, "0123456789. ");
    const char *meant =
        strncmp(key->unit, "bytes", 5) == 0 && suffix > value ? byte_count_meant(suffix) : NULL;
    if (result == -EINVAL && meant != NULL) {
        config_refuse(reading->document, issuer, key->name, -1,
                      "\"%.64s\" has no unit of bytes; did you mean %.*s%s?", value,
                      (int)strspn(value, "0123456789."), value, meant);
        return;
    }
    if (result == -EINVAL || result == -EDOM) {
        config_refuse(reading->document, issuer, key->name, -1,
                      "\"%.64s\" is not a whole number of %s; give %" PRIu64 " to %" PRIu64 "%s%s",
                      value, key->unit, key->minimum, key->maximum, config_amount_hint(key->unit),
                      automatic);
        return;
    }
    if (result < 0 || number < key->minimum || number > key->maximum) {
        config_refuse(reading->document, issuer, key->name, -1,
                      "%.64s is %s; give %" PRIu64 " to %" PRIu64 " %s (default %s)%s", value,
                      result == 0 && number < key->minimum ? "less than the minimum"
                                                           : "more than the maximum",
                      key->minimum, key->maximum, key->unit, key->standard, automatic);
        return;
    }
    *out = number;
}

/* A malloc'ed copy of `value`; a path is resolved. */
static char *copy_of(struct reading *reading, enum config_type type, const char *value)
{
    char *copy = type == CONFIG_PATH ? resolve(reading->file, value) : strdup(value);
    reading->exhausted = reading->exhausted || copy == NULL;
    return copy;
}

/* Refuses a key that is missing, with an example value and the beginning of its help. */
static void refuse_missing(struct reading *reading, int issuer, const char *name, const char *help)
{
    static const char *const examples[][2] = {{"media_root", "/srv/media"},
                                              {"state_dir", "/var/lib/tollgate"},
                                              {"id", "shop"},
                                              {"iss", "shop"},
                                              {"keys", "keys/shop-public.jwks"}};
    const char *example = "VALUE";
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        if (strcmp(examples[i][0], name) == 0)
            example = examples[i][1];
    }
    config_refuse(reading->document, issuer, name, -1, "missing; add it, such as %s: %s (%.*s)",
                  name, example, (int)strcspn(help, ".;"), help);
}

/* The choice that `value` spells, in upper or lower case; NULL, after a refusal, where
 * it spells none. */
static const char *choose(const struct reading *reading, const struct config_key *key,
                          struct config_choices *choices, const char *value)
{
    config_choices_of(choices, key);
    for (size_t i = 0; i < choices->count; i++)
        if (strcasecmp(choices->values[i], value) == 0)
            return choices->values[i];
    if (strcmp(value, key->standard) == 0) /* an empty default, which is not among the choices */
        return value;
    const char *empty = key->standard[0] == '\0' ? ", or leave it empty" : "";
    const char *near = nearest_name(value, choices->values, choices->count);
    if (near != NULL)
        config_refuse(reading->document, -1, key->name, -1,
                      "\"%.64s\" is not one of its values; did you mean %s? Write %s%s", value,
                      near, choices->sentence, empty);
    else
        config_refuse(reading->document, -1, key->name, -1,
                      "\"%.64s\" is not one of its values; write %s%s", value, choices->sentence,
                      empty);
    return NULL;
}

static void convert_key(struct reading *reading, const struct config_key *key,
                        struct config *config)
{
    void *field = (char *)config + key->offset;
    const char *written = config_document_value(reading->document, -1, key->name, -1);
    const char *value = written != NULL ? written : key->standard;
    if (key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO) {
        convert_number(reading, -1, key, key->standard, field);
        if (written != NULL)
            convert_number(reading, -1, key, written, field);
        return;
    }
    struct config_choices choices; /* holds what `value` points to after choose() */
    if (key->type == CONFIG_CHOICE) {
        value = choose(reading, key, &choices, value);
        value = value != NULL ? value : key->standard;
    } else if (value == NULL)
        refuse_missing(reading, -1, key->name, key->help);
    else
        validate_length(reading, -1, key->name, value, key->minimum, key->maximum);
    *(char **)field = copy_of(reading, key->type, value != NULL ? value : "");
}

static void convert_issuer_number(const struct reading *reading, int index,
                                  const struct config_issuer_key *key, uint64_t *out)
{
    const struct config_key number = {.name = key->name,
                                      .type = CONFIG_NUMBER,
                                      .standard = "0",
                                      .minimum = key->minimum,
                                      .maximum = key->maximum,
                                      .unit = "seconds"};
    const char *written = config_document_value(reading->document, index, key->name, -1);
    if (written != NULL)
        convert_number(reading, index, &number, written, out);
}

/* An entry that is not a single value stays NULL; config_shape.c has refused it. */
static void convert_list(struct reading *reading, int index, const struct config_issuer_key *key,
                         struct config_issuer *issuer)
{
    unsigned count = config_document_count(reading->document, index, key->name);
    void *kept = (char *)issuer + key->count_offset, *field = (char *)issuer + key->offset;
    char ***list = field;
    if (count < key->minimum)
        config_refuse(
            reading->document, index, key->name, -1,
            "missing; add %s: [/] to let it sign for every path, or name directories such "
            "as [/music/]",
            key->name);
    else if (count > key->maximum)
        config_refuse(reading->document, index, key->name, -1,
                      "has %u entries; give %" PRIu64 " at most", count, key->maximum);
    *list = calloc(count > 0 ? count : 1, sizeof(**list));
    if (*list == NULL) {
        reading->exhausted = true;
        return;
    }
    *(unsigned *)kept = count;
    for (unsigned i = 0; i < count; i++) {
        const char *entry = config_document_value(reading->document, index, key->name, (int)i);
        if (entry != NULL)
            (*list)[i] = copy_of(reading, CONFIG_TEXT, entry);
    }
}

static void convert_issuer(struct reading *reading, int index, struct config_issuer *issuer)
{
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        const struct config_issuer_key *key = &config_issuer_keys[i];
        void *field = (char *)issuer + key->offset;
        if (key->type == CONFIG_LIST) {
            convert_list(reading, index, key, issuer);
        } else if (key->type == CONFIG_NUMBER) {
            convert_issuer_number(reading, index, key, field);
        } else {
            const char *value = config_document_value(reading->document, index, key->name, -1);
            if (value != NULL)
                validate_length(reading, index, key->name, value, key->minimum, key->maximum);
            else if (key->minimum > 0)
                refuse_missing(reading, index, key->name, key->help);
            *(char **)field = copy_of(reading, key->type, value != NULL ? value : "");
        }
    }
}

/* The path in "unix:run/redis.sock" is resolved, too, although the key's type is TEXT. */
static void resolve_redis(struct reading *reading, struct config *config)
{
    if (config->redis == NULL || strncmp(config->redis, "unix:", 5) != 0)
        return;
    char *path = resolve(reading->file, config->redis + 5), *address = NULL;
    if (path == NULL || asprintf(&address, "unix:%s", path) < 0) {
        reading->exhausted = true;
    } else {
        free(config->redis);
        config->redis = address;
    }
    free(path);
}

static void convert(struct reading *reading, struct config *config)
{
    for (size_t i = 0; i < config_key_count; i++)
        convert_key(reading, &config_keys[i], config);
    resolve_redis(reading, config);
    unsigned count = config_document_count(reading->document, -1, "issuers");
    count = count > CONFIG_ISSUERS_MAX ? CONFIG_ISSUERS_MAX : count;
    config->issuers = calloc(count > 0 ? count : 1, sizeof(*config->issuers));
    if (config->issuers == NULL) {
        reading->exhausted = true;
        return;
    }
    config->issuers_count = count;
    for (unsigned i = 0; i < count; i++)
        convert_issuer(reading, (int)i, &config->issuers[i]);
}

/* ---- loading ---- */

/* Gives an empty public_origin its default. False without memory. */
static bool derive_origin(struct config *config)
{
    check(config->public_origin != NULL); /* convert has read every row of the table */
    if (config->public_origin[0] != '\0')
        return true;
    free(config->public_origin);
    config->public_origin = config_origin_default(config);
    return config->public_origin != NULL;
}

static int read_document(struct config **out, struct reading *reading, struct config_errors *errors)
{
    struct config *config = calloc(1, sizeof(*config));
    reading->exhausted = config == NULL;
    if (config != NULL) {
        config_document_enter(reading->document, CONFIG_VALUE);
        convert(reading, config);
    }
    if (!reading->exhausted) {
        config_document_enter(reading->document, CONFIG_MEANING);
        config_validate(config, reading->document, reading->file);
    }
    if (!reading->exhausted && errors->count == 0)
        reading->exhausted = !derive_origin(config);
    if (reading->exhausted)
        config_error(errors, 0, "out of memory");
    if (errors->count > 0) {
        config_destroy(&config);
        return reading->exhausted ? -ENOMEM : -EINVAL;
    }
    *out = config;
    return 0;
}

int config_load(struct config **out, const char *path, char *error, size_t error_size)
{
    *out = NULL;
    if (error_size > 0)
        error[0] = '\0';
    struct config_errors errors = {.file = path, .text = error, .size = error_size};
    char *text;
    size_t length;
    int result = file_read(path, CONFIG_FILE_BYTES_MAX, &text, &length);
    if (result == -EFBIG) {
        config_error(&errors, 0, "longer than 1 MiB; is this a configuration file?");
        return result;
    }
    if (result == -EACCES || result == -EPERM) {
        config_error(&errors, 0, "%s; let user id %u read it, or run this as the node's user",
                     strerrordesc_np(-result), (unsigned)geteuid());
        return result;
    }
    if (result < 0) {
        config_error(&errors, 0,
                     "%s; correct the path, or write the file: tollgate serve "
                     "--print-config-reference >%s",
                     strerrordesc_np(-result), path);
        return result;
    }
    struct config_document *document = config_document_create(text, length, &errors);
    struct reading reading = {.file = path, .document = document};
    result = document != NULL ? read_document(out, &reading, &errors) : -EINVAL;
    config_errors_end(&errors);
    config_document_destroy(&document);
    free(text);
    return result;
}

static void strings_free(char **strings, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(strings[i]);
    free(strings);
}

static void issuer_clear(struct config_issuer *issuer)
{
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        const struct config_issuer_key *key = &config_issuer_keys[i];
        void *field = (char *)issuer + key->offset;
        const void *count = (const char *)issuer + key->count_offset;
        if (key->type == CONFIG_LIST)
            strings_free(*(char ***)field, *(const unsigned *)count);
        else if (key->type == CONFIG_TEXT || key->type == CONFIG_PATH)
            free(*(char **)field);
    }
}

void config_destroy(struct config **config)
{
    if (*config == NULL)
        return;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        void *field = (char *)*config + key->offset;
        if (key->type == CONFIG_TEXT || key->type == CONFIG_PATH || key->type == CONFIG_CHOICE)
            free(*(char **)field);
    }
    for (unsigned i = 0; i < (*config)->issuers_count; i++)
        issuer_clear(&(*config)->issuers[i]);
    free((*config)->issuers);
    free(*config);
    *config = NULL;
}
