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

enum config_type {
    CONFIG_TEXT,
    CONFIG_PATH,
    CONFIG_CHOICE,
    CONFIG_NUMBER,
    CONFIG_AUTO,
    CONFIG_LIST
};

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

/* A row of CONFIG_ISSUER_KEYS; the offsets are in struct config_issuer, that of the count a list's. */
struct config_issuer_key {
    const char *name;
    enum config_type type;
    uint64_t minimum, maximum;
    const char *help;
    size_t offset, count_offset;
};
extern const struct config_issuer_key config_issuer_keys[];
extern const size_t config_issuer_key_count;

/*
 * Reads a number of `unit`: digits, or where the unit is one of time or of bytes, digits with a
 * suffix (250ms, 5s, 15m, 1h, 7d; 64KiB, 16MB). 0, -EINVAL (none of these), -EDOM (part of the unit
 * is left over) or -ERANGE (too large for any key).
 */
int config_amount_read(const char *text, const char *unit, uint64_t *out);
/* What a message adds to "give plain digits": " or a unit (250ms, 5s, 15m, 7d)", or "". */
const char *config_amount_hint(const char *unit);

#define CONFIG_CHOICES_MAX 8

/* The values of a CHOICE. */
struct config_choices {
    char words[128];    /* what `values` points into */
    char sentence[128]; /* "error, warning, info or debug" */
    const char *values[CONFIG_CHOICES_MAX];
    size_t count;
};
void config_choices_of(struct config_choices *choices, const struct config_key *key);

/*
 * Collects "FILE:LINE: message" lines into the caller's buffer. What does not fit is left out whole
 * and counted; config_errors_end says how many those are.
 */
struct config_errors {
    const char *file;
    char *text;
    size_t size, length;
    unsigned count, omitted;
};
/* line 0: of the file as a whole. */
void config_error(struct config_errors *errors, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_errors_end(struct config_errors *errors);

#define CONFIG_MESSAGE_SIZE  1024
#define CONFIG_VARIABLE_SIZE 72 /* "${", 64 bytes of a name, "}", with room */

/* The variables of the environment that a file's values name. */
struct config_variables {
    struct config_variable {
        char *name;
        const char *value; /* borrows the environment's */
        const void *place; /* that names it */
    } * list;
    size_t count;
    const void *place; /* that is expanded, or that a message is about */
};
/*
 * `text` with the value of each ${NAME} in its place, $$ as $, and \${ as ${; *out is the
 * caller's. 0, -ENOENT (unset) or -EINVAL (no name, or no } after it), both with the name in
 * `wrong`, or -ENOMEM.
 */
int config_variables_expand(struct config_variables *variables, const char *text, char **out,
                            char wrong[static CONFIG_VARIABLE_SIZE]);
/* Puts ${NAME} in place of what a variable holds, or of a part of one that the place names, in the first `head` bytes. */
void config_variables_conceal(const struct config_variables *variables, char *message, size_t size,
                              size_t head);
void config_variables_destroy(struct config_variables *variables);

/* The stages of reading, in order. Each goes through the whole file, whatever an earlier one found. */
enum config_stage { CONFIG_SHAPE = 1, CONFIG_VALUE, CONFIG_MEANING };

/*
 * The YAML text as a tree with line numbers, which also knows the keys that were refused. Creating
 * it checks the shape against the tables: syntax, one document, known keys, no duplicates, no
 * aliases, strings where strings belong. NULL where the text is not a tree of keys and values; what is
 * wrong is in `errors` in any case. It borrows `errors`.
 *
 * A place in it is a root key where issuer is below 0, else a key of that issuer; entry is of a
 * list, or -1.
 */
struct config_document;
struct config_document *config_document_create(const char *text, size_t length,
                                               struct config_errors *errors);
void config_document_destroy(struct config_document **document);
void config_document_enter(struct config_document *document, enum config_stage stage);

/* The line of a value. What is absent has the line of what should hold it. */
unsigned config_document_line(const struct config_document *document, int issuer, const char *key,
                              int entry);
/* A value's text, or an entry's; NULL where it is absent or no single value. Borrowed. */
const char *config_document_value(const struct config_document *document, int issuer,
                                  const char *key, int entry);
/* How many entries a list has, `issuers` included; 0 where it is absent or no list. */
unsigned config_document_count(const struct config_document *document, int issuer, const char *key);

/*
 * Tells a mistake as "FILE:LINE: KEY: message", unless an earlier stage has refused the same key:
 * what follows from that mistake is not a mistake of its own. What the message quotes of the file must stand
 * before the format's first semicolon: variables of the environment are concealed up to there.
 */
void config_refuse(struct config_document *document, int issuer, const char *key, int entry,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
/* False where the key was refused: its value proves nothing about another key. */
bool config_document_is_sound(const struct config_document *document, int issuer, const char *key);

/* The checks that look at more than a length or a bound. */
void config_check(const struct config *config, struct config_document *document, const char *file);
/* Of these: that nothing lies beneath media_root which links must not reach. */
void config_check_exposure(const struct config *config, struct config_document *document,
                           const char *file);
/* NULL, or what is wrong with it and the cure. */
const char *config_check_listen(const char *listen);
/* The scheme, "://" and listen, with 127.0.0.1 for all addresses; malloc'ed, NULL without memory. */
char *config_origin_of(const char *scheme, const char *listen);
/* The public_origin of a configuration that gives none, likewise. */
char *config_origin_default(const struct config *config);

#endif
