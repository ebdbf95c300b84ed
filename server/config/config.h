/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's configuration: one table of keys (config_table.h) makes the YAML schema, the defaults,
 * the validation, `tollgate serve --print-config-reference` and the manual. `serve` loads it when
 * it starts, and again at SIGHUP to say what has changed; other commands load it to find the admin
 * socket, or to sign and judge links. Loading opens no file but the configuration: the module that
 * uses a file opens it.
 */
#ifndef TOLLGATE_SERVER_CONFIG_CONFIG_H
#define TOLLGATE_SERVER_CONFIG_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "server/config/config_table.h"

#define CONFIG_PROXIES_MAX 64
#define CONFIG_WORKERS_MAX 64 /* a bit each in the waiters of a window */

/* When a change of what a key names takes effect: at a restart, or in a part of a reload. */
enum config_reload {
    CONFIG_RESTART,
#define X(name, what, help) CONFIG_##name,
    CONFIG_RELOADS(X)
#undef X
        CONFIG_RELOADS_END
};

/* The fields of a key, by its type. */
#define CONFIG_FIELD_TEXT(name)   char *name;
#define CONFIG_FIELD_PATH(name)   char *name;
#define CONFIG_FIELD_CHOICE(name) char *name;
#define CONFIG_FIELD_NUMBER(name) uint64_t name;
#define CONFIG_FIELD_AUTO(name)   uint64_t name;
#define CONFIG_FIELD_LIST(name)                                                                    \
    char **name;                                                                                   \
    unsigned name##_count;

/* Fields as CONFIG_ISSUER_KEYS has them; an optional text that was not given is "". */
struct config_issuer {
#define X(name, type, reload, minimum, maximum, help) CONFIG_FIELD_##type(name)
    CONFIG_ISSUER_KEYS(X)
#undef X
};

/*
 * Fields as CONFIG_KEYS has them. After config_load no string is NULL: an optional one that was not
 * given is "" or its default, and a CHOICE is spelt as in the table. An AUTO is 0 for `auto`.
 */
struct config {
#define X(name, type, reload, standard, minimum, maximum, unit, help) CONFIG_FIELD_##type(name)
    CONFIG_KEYS(X)
#undef X
    struct config_issuer *issuers; /* owns */
    unsigned issuers_count;
};

/*
 * Reads and validates a YAML file. Relative paths in it are taken from the file's own directory.
 * *out is the caller's; config_destroy frees it. 0, or a negative errno (-EINVAL: mistakes in the
 * file, -EFBIG: past 1 MiB, -ENOMEM, or open's) with a message of one or more lines, each
 * "FILE:LINE: what is wrong; the cure", in `error`.
 */
int config_load(struct config **out, const char *path, char *error, size_t error_size);
void config_destroy(struct config **config);

/*
 * Puts another listen address in place of the file's, as `serve --listen` does; a public_origin
 * that was derived from listen follows it. 0, or -EINVAL or -ENOMEM with one sentence in `error`.
 */
int config_set_listen(struct config *config, const char *listen, char *error, size_t error_size);

/* Where the configuration of a node comes from. Borrows both strings. */
struct config_source {
    const char *file;
    const char *listen; /* the command line's, in place of the file's; NULL: none */
};

/*
 * Names the keys that `after` gives other values than `before`, in the order of config_table.h:
 * "workers (from 2 to 3), issuers.shop.prefixes (from [/] to [/a/, /b/]), issuers.rival (removed)".
 * Issuers are told apart by their id. A public_origin that merely follows listen is not named. Long
 * values are cut. `text`, of 512 bytes or more, is never cut within a key: from its second half on
 * keys go without values, and what does not fit is counted as "and N more". No value is a secret:
 * secrets stand in files, which are not read. Returns how many keys differ.
 */
unsigned config_changes(const struct config *before, const struct config *after, char *text,
                        size_t size);

/* Prints the table (key, type, default, bounds, unit, help) as commented YAML, a whole example. */
void config_print_reference(FILE *out);
/*
 * The keys outside `issuers` as a JSON array of objects: name, type, reload (SIGHUP reads again
 * what it names), required, default, help; for a number also minimum, maximum and unit, for a
 * choice its values. The caller's; NULL without memory.
 */
json_t *config_reference_json(void);

/* Writes state_dir + "/admin.sock" into `path`. 0, or -ENAMETOOLONG past `size` or the 107 bytes of
 * a Unix socket's path. */
int config_admin_socket(const struct config *config, char *path, size_t size);

#endif
