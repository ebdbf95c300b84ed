/*
 * What the config_*.c files share: the rows of config_table.h as data, the collector of errors, and
 * the document that knows on which line each value stands. Included elsewhere by manual.c alone.
 */
#ifndef TOLLGATE_SERVER_CONFIG_INTERNAL_H
#define TOLLGATE_SERVER_CONFIG_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "server/config.h"

#define CONFIG_FILE_BYTES_MAX ((size_t)1024 * 1024)

enum config_type { CONFIG_TEXT, CONFIG_PATH, CONFIG_NUMBER, CONFIG_AUTO, CONFIG_LIST };

/* A row of CONFIG_KEYS; `offset` is the field's in struct config. */
struct config_key {
    const char *name;
    enum config_type type;
    const char *standard; /* the default as YAML has it; NULL: required */
    uint64_t minimum, maximum;
    const char *unit, *help;
    size_t offset;
};
extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* A row of CONFIG_ISSUER_KEYS. */
struct config_issuer_key {
    const char *name;
    enum config_type type;
    uint64_t minimum, maximum;
    const char *help;
};
extern const struct config_issuer_key config_issuer_keys[];
extern const size_t config_issuer_key_count;

/* Collects "FILE:LINE: message" lines into the caller's buffer; what does not fit is cut off whole.
 */
struct config_errors {
    const char *file;
    char *text;
    size_t size, length;
    unsigned count;
};
/* line 0: of the file as a whole. */
void config_error(struct config_errors *errors, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The YAML text as a tree with line numbers. Creating it checks the shape against the tables:
 * syntax, one document, known keys, no duplicates, no aliases, strings where strings belong. NULL
 * where the text is no YAML; what is wrong is in `errors` in any case.
 */
struct config_document;
struct config_document *config_document_create(const char *text, size_t length,
                                               struct config_errors *errors);
void config_document_destroy(struct config_document **document);

/*
 * The line of a value: of root key `key` where issuer is below 0, else of that issuer's key, and of
 * entry `entry` of a list where it is 0 or more. What is absent has the line of what should hold
 * it.
 */
unsigned config_document_line(const struct config_document *document, int issuer, const char *key,
                              int entry);

/* The checks that look at more than a length or a bound. */
void config_check(const struct config *config, const struct config_document *document,
                  struct config_errors *errors);
/* Of these: that nothing lies beneath media_root which links must not reach. */
void config_check_exposure(const struct config *config, const struct config_document *document,
                           struct config_errors *errors);
/* NULL, or what is wrong with it and the cure. */
const char *config_check_listen(const char *listen);
/* The scheme, "://" and listen, with 127.0.0.1 for all addresses; malloc'ed, NULL without memory. */
char *config_origin_of(const char *scheme, const char *listen);

#endif
