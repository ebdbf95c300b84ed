/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the config_*.c files share: the rows of config_table.h as data, the collector of errors, and
 * the document that knows on which line each value stands. Outside of them only manual.c and
 * link_origin.c include it.
 */
#ifndef TOLLGATE_SERVER_CONFIG_CONFIG_INTERNAL_H
#define TOLLGATE_SERVER_CONFIG_CONFIG_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "server/config/config.h"

#define CONFIG_FILE_BYTES_MAX ((size_t)1024 * 1024)

enum config_type {
    CONFIG_TEXT,
    CONFIG_PATH,
    CONFIG_CHOICE,
    CONFIG_NUMBER,
    CONFIG_AUTO,
    CONFIG_LIST
};

/* A row of CONFIG_KEYS; `offset` is that of the field in struct config. */
struct config_key {
    const char *name;
    enum config_type type;
    enum config_reload reload;
    const char *standard; /* the default as YAML has it; NULL: required */
    uint64_t minimum, maximum;
    const char *unit, *help;
    size_t offset;
};
extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* A row of CONFIG_ISSUER_KEYS. The offsets are in struct config_issuer; count_offset is that of a
 * LIST's count. */
struct config_issuer_key {
    const char *name;
    enum config_type type;
    enum config_reload reload;
    uint64_t minimum, maximum;
    const char *help;
    size_t offset, count_offset;
};
extern const struct config_issuer_key config_issuer_keys[];
extern const size_t config_issuer_key_count;

/*
 * Reads a number of `unit` (a key's, such as "seconds") into *out: decimal digits, which may have a
 * fraction, and, where the unit is one of time or of bytes, a suffix (250ms, 1.5s, 15m, 1h, 7d;
 * 64KiB, 16MB). 0, -EINVAL (no such number), -EDOM (not a whole number of `unit`) or -ERANGE (too
 * large for any key).
 */
int config_amount_read(const char *text, const char *unit, uint64_t *out);
/* What a message adds to bounds in digits: ", or a duration such as 5s, 15m or 7d"; "" where `unit`
 * takes no suffix. Static. */
const char *config_amount_hint(const char *unit);

/* What the reference and the manual add to the help of a key that a reload takes; NULL for those
 * that it does not take. Static. */
const char *config_reload_help(enum config_reload reload);

#define CONFIG_CHOICES_MAX 8

/* The values of a CHOICE, as config_choices_of takes them from the key's `unit`. */
struct config_choices {
    char words[128];    /* `values` points into it */
    char sentence[128]; /* "error, warning, info, debug or trace" */
    const char *values[CONFIG_CHOICES_MAX];
    size_t count;
};
void config_choices_of(struct config_choices *choices, const struct config_key *key);

/*
 * Collects "FILE:LINE: message" lines in the caller's buffer `text`; borrows it and `file`. A line
 * that does not fit is left out whole and counted.
 */
struct config_errors {
    const char *file;
    char *text;
    size_t size, length;
    unsigned count, omitted;
};
/* Adds a message. `line` 0: it is about the file as a whole. */
void config_error(struct config_errors *errors, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends the text with a line that counts the messages left out, if any. */
void config_errors_end(struct config_errors *errors);

#define CONFIG_MESSAGE_SIZE  1024
#define CONFIG_VARIABLE_SIZE 72 /* "${", 64 bytes of a name, "}", with room */

/* The variables of the environment that a file's values name. */
struct config_variables {
    struct config_variable {
        char *name;
        const char *value; /* borrows the environment's */
        const void *place; /* identifies the key whose value names the variable */
    } * list;              /* owns */
    size_t count;
    const void *place; /* identifies the key that is expanded, or that a message is about */
};
/*
 * Makes *out, which is the caller's, of `text`: each ${NAME} becomes the variable's value, $$
 * becomes $, and \${ becomes ${. 0; -ENOENT (unset) or -EINVAL (no name, or no } after it), both
 * with the name in `wrong`; or -ENOMEM.
 */
int config_variables_expand(struct config_variables *variables, const char *text, char **out,
                            char wrong[static CONFIG_VARIABLE_SIZE]);
/* In the first `head` bytes of the message, puts ${NAME} in place of each variable's value. For
 * variables that the key at `place` names, it replaces parts of the value, too: a message may quote
 * only a part. */
void config_variables_conceal(const struct config_variables *variables, char *message, size_t size,
                              size_t head);
void config_variables_destroy(struct config_variables *variables);

/* The stages of reading, in order. Each goes through the whole file, whatever mistakes an earlier
 * one found. */
enum config_stage { CONFIG_SHAPE = 1, CONFIG_VALUE, CONFIG_MEANING };

/*
 * The YAML text as a tree with line numbers, which also knows the keys that were refused. Creating
 * it validates the shape against the tables: syntax, one document, known keys, no duplicates, no
 * aliases, strings where strings belong. Mistakes go to `errors`, which it borrows; NULL where they
 * leave no tree of keys and values.
 *
 * The functions below name a value by `issuer` (an index; below 0: the key is one of the root),
 * `key`, and `entry` (the index in a list, or -1).
 */
struct config_document;
struct config_document *config_document_create(const char *text, size_t length,
                                               struct config_errors *errors);
void config_document_destroy(struct config_document **document);
/* Begins a stage: refusals count as found in it from now on. */
void config_document_enter(struct config_document *document, enum config_stage stage);

/* The line of a value; where that is absent, the line of the mapping that should hold it. */
unsigned config_document_line(const struct config_document *document, int issuer, const char *key,
                              int entry);
/* The text of a value or an entry, with variables expanded; NULL where it is absent or not a single
 * value. Borrowed. */
const char *config_document_value(const struct config_document *document, int issuer,
                                  const char *key, int entry);
/* How many entries a list (or `issuers`) has; 0 where it is absent or not a list. */
unsigned config_document_count(const struct config_document *document, int issuer, const char *key);

/*
 * Tells a mistake as "FILE:LINE: KEY: message", unless an earlier stage has refused the same key:
 * what follows from that mistake is not a mistake of its own. What the message quotes of the file
 * must stand before the format's first semicolon. Variables of the environment are concealed up to
 * there, and behind it only where the format fills something in.
 */
void config_refuse(struct config_document *document, int issuer, const char *key, int entry,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
/* False where the key was refused: its value proves nothing about another key. */
bool config_document_is_sound(const struct config_document *document, int issuer, const char *key);

/* Refuses what no length and no bound can express. `file` is the configuration's own path. */
void config_validate(const struct config *config, struct config_document *document,
                     const char *file);
/* One of these rules: nothing that links must not reach may lie beneath media_root. */
void config_validate_exposure(const struct config *config, struct config_document *document,
                              const char *file);
/* NULL where `listen` is an address and port, else what is wrong with it and the cure. Static. */
const char *config_validate_listen(const char *listen);
/* Whether two listeners would share a port and an address. The kernel would then give each of them
 * half of the clients. */
bool config_listen_is_same_place(const char *one, const char *other);
/* Whether only this host can reach the address. Bearer secrets come in unencrypted there, so the
 * admin interface may have no other. */
bool config_listen_is_loopback(const char *listen);
/* Whether the address stands for all of the machine's: none, 0.0.0.0 or [::]. */
bool config_listen_is_everywhere(const char *listen);
/* The scheme, "://" and `listen`, where an address that stands for all becomes the loopback address;
 * malloc'ed, NULL without memory. */
char *config_origin_of(const char *scheme, const char *listen);
/* The public_origin of a configuration that gives none; malloc'ed, NULL without memory. */
char *config_origin_default(const struct config *config);

#endif
