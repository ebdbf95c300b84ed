/*
 * Reads the configuration file into struct config: libcyaml loads the text by a schema made from
 * config_table.h, then each value is converted, held against its bounds and, where it is a path,
 * resolved. Called once at start by the commands that need a configuration. It never opens what the
 * values name.
 */
#include <cyaml/cyaml.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "server/config_internal.h"
#include "server/config_table.h"

const struct config_key config_keys[] = {
#define X(name, type, standard, minimum, maximum, unit, help)                                      \
    {#name, CONFIG_##type, standard, minimum, maximum, unit, help, offsetof(struct config, name)},
    CONFIG_KEYS(X)
#undef X
};
const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

const struct config_issuer_key config_issuer_keys[] = {
#define X(name, type, minimum, maximum, help) {#name, CONFIG_##type, minimum, maximum, help},
    CONFIG_ISSUER_KEYS(X)
#undef X
};
const size_t config_issuer_key_count = sizeof(config_issuer_keys) / sizeof(config_issuer_keys[0]);

/*
 * What libcyaml loads: every scalar as the text that was written, so that "not given" differs from
 * 0 and the messages can quote it. The issuers are loaded into their final struct.
 */
struct config_text {
#define X(name, type, standard, minimum, maximum, unit, help) char *name;
    CONFIG_KEYS(X)
#undef X
    struct config_issuer *issuers;
    unsigned issuers_count;
};

#define TEXT_FLAGS ((enum cyaml_flag)(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL))

static const cyaml_schema_value_t schema_string = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};

/* clang-format off */
static const cyaml_schema_field_t schema_issuer_fields[] = {
    CYAML_FIELD_STRING_PTR("id", CYAML_FLAG_OPTIONAL, struct config_issuer, id, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("iss", CYAML_FLAG_OPTIONAL, struct config_issuer, iss, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("keys", CYAML_FLAG_OPTIONAL, struct config_issuer, keys, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("prefixes", TEXT_FLAGS, struct config_issuer, prefixes, &schema_string, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("audiences", TEXT_FLAGS, struct config_issuer, audiences, &schema_string, 0, CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE("origins", TEXT_FLAGS, struct config_issuer, origins, &schema_string, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("refusal_url", CYAML_FLAG_OPTIONAL, struct config_issuer, refusal_url, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("resume_s", CYAML_FLAG_OPTIONAL, struct config_issuer, resume_text, 0, CYAML_UNLIMITED),
    CYAML_FIELD_STRING_PTR("admin_secret_file", CYAML_FLAG_OPTIONAL, struct config_issuer, admin_secret_file, 0, CYAML_UNLIMITED),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema_issuer = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_issuer, schema_issuer_fields)};

static const cyaml_schema_field_t schema_fields[] = {
#define X(name, type, standard, minimum, maximum, unit, help) \
    CYAML_FIELD_STRING_PTR(#name, CYAML_FLAG_OPTIONAL, struct config_text, name, 0, CYAML_UNLIMITED),
    CONFIG_KEYS(X)
#undef X
    CYAML_FIELD_SEQUENCE("issuers", TEXT_FLAGS, struct config_text, issuers, &schema_issuer, 0, CONFIG_ISSUERS_MAX),
    CYAML_FIELD_END};
/* clang-format on */

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_text, schema_fields)};

/* ---- converting ---------------------------------------------------------------------------------
 */

/* A relative path taken from the directory of `file`; malloc'ed. */
static char *resolve(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    char *resolved = NULL;
    if (path[0] == '/' || path[0] == '\0' || !slash)
        return strdup(path);
    if (asprintf(&resolved, "%.*s%s", (int)(slash - file + 1), file, path) < 0)
        return NULL;
    return resolved;
}

struct reading {
    const char *file;
    const struct config_document *document;
    struct config_errors *errors;
};

static bool check_length(const struct reading *reading, unsigned line, const char *name,
                         const char *value, uint64_t minimum, uint64_t maximum)
{
    size_t length = strlen(value);
    if (length >= minimum && length <= maximum)
        return true;
    if (length == 0)
        config_error(reading->errors, line, "%s: is empty; give a value", name);
    else
        config_error(reading->errors, line,
                     "%s: is %zu bytes long; give %" PRIu64 " to %" PRIu64 " bytes", name, length,
                     minimum, maximum);
    return false;
}

static void convert_number(const struct reading *reading, unsigned line,
                           const struct config_key *key, const char *value, uint64_t *out)
{
    const char *automatic = key->type == CONFIG_AUTO ? ", or auto" : "";
    if (key->type == CONFIG_AUTO && strcmp(value, "auto") == 0) {
        *out = 0;
        return;
    }
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || value[digits] != '\0') {
        config_error(reading->errors, line,
                     "%s: \"%.64s\" is no whole number; give %s as plain digits (%" PRIu64
                     " to %" PRIu64 ", default %s)%s",
                     key->name, value, key->unit, key->minimum, key->maximum, key->standard,
                     automatic);
        return;
    }
    errno = 0;
    uint64_t number = strtoull(value, NULL, 10);
    if (errno == ERANGE || number < key->minimum || number > key->maximum) {
        config_error(
            reading->errors, line,
            "%s: %.64s is out of bounds; give %" PRIu64 " to %" PRIu64 " %s (default %s)%s",
            key->name, value, key->minimum, key->maximum, key->unit, key->standard, automatic);
        return;
    }
    *out = number;
}

static void convert_key(const struct reading *reading, const struct config_key *key,
                        const char *written, struct config *config)
{
    void *field = (char *)config + key->offset;
    const char *value = written ? written : key->standard;
    unsigned line = config_document_line(reading->document, -1, key->name, -1);
    if (key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO) {
        convert_number(reading, line, key, value, field);
        return;
    }
    if (!value) {
        config_error(reading->errors, line, "%s: missing; add %s: VALUE (%s)", key->name, key->name,
                     key->help);
        value = "";
    } else {
        check_length(reading, line, key->name, value, key->minimum, key->maximum);
    }
    char *copy = key->type == CONFIG_PATH ? resolve(reading->file, value) : strdup(value);
    if (!copy)
        config_error(reading->errors, 0, "out of memory");
    *(char **)field = copy;
}

static void convert_issuer_key(const struct reading *reading, int index,
                               const struct config_issuer_key *key, char **field)
{
    char name[64];
    snprintf(name, sizeof(name), "issuers[%d].%s", index, key->name);
    unsigned line = config_document_line(reading->document, index, key->name, -1);
    if (!*field && key->minimum > 0) {
        config_error(reading->errors, line, "%s: missing; add %s: VALUE (%s)", name, key->name,
                     key->help);
    } else if (*field) {
        check_length(reading, line, name, *field, key->minimum, key->maximum);
    }
    char *value = key->type == CONFIG_PATH && *field ? resolve(reading->file, *field)
                                                     : strdup(*field ? *field : "");
    if (!value)
        config_error(reading->errors, 0, "out of memory");
    free(*field);
    *field = value;
}

static void convert_issuer_number(const struct reading *reading, int index,
                                  const struct config_issuer_key *key, const char *text,
                                  uint64_t *out)
{
    char name[64];
    snprintf(name, sizeof(name), "issuers[%d].%s", index, key->name);
    const struct config_key number = {.name = name,
                                      .type = CONFIG_NUMBER,
                                      .standard = "0",
                                      .minimum = key->minimum,
                                      .maximum = key->maximum,
                                      .unit = "seconds"};
    if (text)
        convert_number(reading, config_document_line(reading->document, index, key->name, -1),
                       &number, text, out);
}

static void check_list_count(const struct reading *reading, int index,
                             const struct config_issuer_key *key, unsigned count)
{
    unsigned line = config_document_line(reading->document, index, key->name, -1);
    if (count < key->minimum)
        config_error(reading->errors, line,
                     "issuers[%d].%s: missing; add %s: [/] to let it sign for every path, or name "
                     "directories such as [/music/]",
                     index, key->name, key->name);
    else if (count > key->maximum)
        config_error(reading->errors, line,
                     "issuers[%d].%s: has %u entries; give %" PRIu64 " at most", index, key->name,
                     count, key->maximum);
}

static void convert_issuer(const struct reading *reading, int index, struct config_issuer *issuer)
{
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        const struct config_issuer_key *key = &config_issuer_keys[i];
        if (strcmp(key->name, "id") == 0)
            convert_issuer_key(reading, index, key, &issuer->id);
        else if (strcmp(key->name, "iss") == 0)
            convert_issuer_key(reading, index, key, &issuer->iss);
        else if (strcmp(key->name, "keys") == 0)
            convert_issuer_key(reading, index, key, &issuer->keys);
        else if (strcmp(key->name, "prefixes") == 0)
            check_list_count(reading, index, key, issuer->prefixes_count);
        else if (strcmp(key->name, "audiences") == 0)
            check_list_count(reading, index, key, issuer->audiences_count);
        else if (strcmp(key->name, "origins") == 0)
            check_list_count(reading, index, key, issuer->origins_count);
        else if (strcmp(key->name, "refusal_url") == 0)
            convert_issuer_key(reading, index, key, &issuer->refusal_url);
        else if (strcmp(key->name, "resume_s") == 0)
            convert_issuer_number(reading, index, key, issuer->resume_text, &issuer->resume_s);
        else
            convert_issuer_key(reading, index, key, &issuer->admin_secret_file);
    }
}

/* "unix:run/redis.sock" is a path too, though not the whole value is. */
static void resolve_redis(const struct reading *reading, struct config *config)
{
    if (!config->redis || strncmp(config->redis, "unix:", 5) != 0)
        return;
    char *path = resolve(reading->file, config->redis + 5), *address = NULL;
    if (!path || asprintf(&address, "unix:%s", path) < 0) {
        config_error(reading->errors, 0, "out of memory");
    } else {
        free(config->redis);
        config->redis = address;
    }
    free(path);
}

static struct config *convert(const struct reading *reading, struct config_text *text)
{
    struct config *config = calloc(1, sizeof(*config));
    if (!config) {
        config_error(reading->errors, 0, "out of memory");
        return NULL;
    }
    const char *const written[] = {
#define X(name, type, standard, minimum, maximum, unit, help) text ? text->name : NULL,
        CONFIG_KEYS(X)
#undef X
    };
    for (size_t i = 0; i < config_key_count; i++)
        convert_key(reading, &config_keys[i], written[i], config);
    if (text) {
        config->issuers = text->issuers;
        config->issuers_count = text->issuers_count;
        text->issuers = NULL;
        text->issuers_count = 0;
    }
    for (unsigned i = 0; i < config->issuers_count; i++)
        convert_issuer(reading, (int)i, &config->issuers[i]);
    resolve_redis(reading, config);
    return config;
}

/* ---- loading ------------------------------------------------------------------------------------
 */

/* libcyaml's words, for what the document's own check has let pass. */
struct cyaml_words {
    char text[256];
};

static __attribute__((format(printf, 3, 0))) void keep_words(cyaml_log_t level, void *context,
                                                             const char *format, va_list arguments)
{
    struct cyaml_words *words = context;
    (void)level;
    if (words->text[0] != '\0') /* the first line says what, the backtrace only where */
        return;
    vsnprintf(words->text, sizeof(words->text), format, arguments);
    words->text[strcspn(words->text, "\n")] = '\0';
}

static int load_text(struct config **out, const char *text, size_t length,
                     const struct reading *reading)
{
    struct cyaml_words words = {""};
    const cyaml_config_t options = {
        .log_fn = keep_words,
        .log_ctx = &words,
        .mem_fn = cyaml_mem, /* realloc and free: what it loads may be freed by free() */
        .log_level = CYAML_LOG_WARNING,
        .flags = CYAML_CFG_NO_ALIAS,
    };
    cyaml_data_t *loaded = NULL;
    cyaml_err_t failure =
        cyaml_load_data((const uint8_t *)text, length, &options, &schema, &loaded, NULL);
    if (failure != CYAML_OK) {
        config_error(reading->errors, 0,
                     "%s (%s); compare it with `tollgate serve "
                     "--print-config-reference`",
                     cyaml_strerror(failure), words.text);
        return failure == CYAML_ERR_OOM ? -ENOMEM : -EINVAL;
    }
    struct config *config = convert(reading, loaded);
    if (loaded)
        cyaml_free(&options, &schema, loaded, 0);
    if (config && reading->errors->count == 0)
        config_check(config, reading->document, reading->errors);
    if (config && reading->errors->count == 0 && config->public_origin[0] == '\0') {
        free(config->public_origin);
        bool tls = config->listen_tls[0] != '\0';
        config->public_origin =
            config_origin_of(tls ? "https" : "http", tls ? config->listen_tls : config->listen);
        if (!config->public_origin)
            config_error(reading->errors, 0, "out of memory");
    }
    if (reading->errors->count > 0) {
        config_destroy(&config);
        return -EINVAL;
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
    int result = config_read_file(path, CONFIG_FILE_BYTES_MAX, &text, &length);
    if (result == -EFBIG) {
        config_error(&errors, 0, "longer than 1 MiB; is this a configuration file?");
        return result;
    }
    if (result < 0) {
        config_error(&errors, 0,
                     "%s; name a configuration file with --config, or write one from `tollgate "
                     "serve --print-config-reference`",
                     strerror(-result));
        return result;
    }
    struct config_document *document = config_document_create(text, length, &errors);
    struct reading reading = {.file = path, .document = document, .errors = &errors};
    result = document && errors.count == 0 ? load_text(out, text, length, &reading) : -EINVAL;
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

void config_destroy(struct config **config)
{
    if (!*config)
        return;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        void *field = (char *)*config + key->offset;
        if (key->type == CONFIG_TEXT || key->type == CONFIG_PATH)
            free(*(char **)field);
    }
    for (unsigned i = 0; i < (*config)->issuers_count; i++) {
        struct config_issuer *issuer = &(*config)->issuers[i];
        free(issuer->id);
        free(issuer->iss);
        free(issuer->keys);
        strings_free(issuer->prefixes, issuer->prefixes_count);
        strings_free(issuer->audiences, issuer->audiences_count);
        strings_free(issuer->origins, issuer->origins_count);
        free(issuer->refusal_url);
        free(issuer->resume_text);
        free(issuer->admin_secret_file);
    }
    free((*config)->issuers);
    free(*config);
    *config = NULL;
}

int config_admin_socket(const struct config *config, char *path, size_t size)
{
    int length = snprintf(path, size, "%s/admin.sock", config->state_dir);
    /* sun_path holds 108 bytes with its NUL. */
    return length < 0 || (size_t)length >= size || length > 107 ? -ENAMETOOLONG : 0;
}
