/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of config_table.h as data, with the place of each key's field in struct config. All other
 * config_*.c files, and the manual, read keys from here; it holds no value of any file.
 */
#include <stddef.h>

#include "server/config/config_internal.h"

const struct config_key config_keys[] = {
#define X(name, type, reload, standard, minimum, maximum, unit, help)                              \
    {#name,    CONFIG_##type, CONFIG_##reload,                                                     \
     standard, minimum,       maximum,                                                             \
     unit,     help,          offsetof(struct config, name)},
    CONFIG_KEYS(X)
#undef X
};
const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

const struct config_issuer_key config_issuer_keys[] = {
#define COUNT_OFFSET_TEXT(name)   0
#define COUNT_OFFSET_PATH(name)   0
#define COUNT_OFFSET_NUMBER(name) 0
#define COUNT_OFFSET_LIST(name)   offsetof(struct config_issuer, name##_count)
#define X(name, type, reload, minimum, maximum, help)                                              \
    {#name,                                                                                        \
     CONFIG_##type,                                                                                \
     CONFIG_##reload,                                                                              \
     minimum,                                                                                      \
     maximum,                                                                                      \
     help,                                                                                         \
     offsetof(struct config_issuer, name),                                                         \
     COUNT_OFFSET_##type(name)},
    CONFIG_ISSUER_KEYS(X)
#undef X
};
const size_t config_issuer_key_count = sizeof(config_issuer_keys) / sizeof(config_issuer_keys[0]);

const char *config_reload_help(enum config_reload reload)
{
    static const char *const helps[] = {
#define X(name, what, help) [CONFIG_##name] = (help),
        CONFIG_RELOADS(X)
#undef X
    };
    return helps[reload];
}
