/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints config_table.h as commented YAML, in a form that config_load accepts as it stands, or for
 * programs as JSON: every key with its default, bounds, unit and help. Called by `tollgate serve
 * --print-config-reference`; it reads no file.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"

#define COLUMNS 100

/* `text` as comment lines, broken between words. */
static void print_comment(FILE *out, const char *indent, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column == 0 || column + 1 + word > COLUMNS) {
            column = (size_t)fprintf(out, "%s%s#", column == 0 ? "" : "\n", indent);
        }
        fprintf(out, " %.*s", (int)word, text);
        column += 1 + word;
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}

static void print_help(FILE *out, const char *indent, const char *help, enum config_reload reload)
{
    print_comment(out, indent, help);
    if (config_reload_help(reload) != NULL)
        print_comment(out, indent, config_reload_help(reload));
}

/* The example's value of a key that has no default. */
static const char *example_of(const char *key)
{
    return strcmp(key, "media_root") == 0 ? "/srv/media" : "/var/lib/tollgate";
}

static void print_key(FILE *out, const struct config_key *key)
{
    print_help(out, "", key->help, key->reload);
    if (key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO) {
        fprintf(out, "# %s: %" PRIu64 " to %" PRIu64 "%s; default %s\n%s: %s\n\n", key->unit,
                key->minimum, key->maximum, key->type == CONFIG_AUTO ? ", or auto" : "",
                key->standard, key->name, key->standard);
        return;
    }
    struct config_choices choices;
    const char *kind = key->type == CONFIG_PATH ? "path, relative to this file" : "text";
    if (key->type == CONFIG_CHOICE) {
        config_choices_of(&choices, key);
        kind = choices.sentence;
    }
    if (key->standard == NULL)
        fprintf(out, "# %s; required\n%s: %s\n\n", kind, key->name, example_of(key->name));
    else
        fprintf(out, "# %s; default \"%s\"\n%s: \"%s\"\n\n", kind, key->standard, key->name,
                key->standard);
}

void config_print_reference(FILE *out)
{
    fputs(
        "# Tollgate's configuration: every key with its default. Only media_root, state_dir and\n"
        "# issuers must be given; delete what you do not change. Milliseconds and seconds may\n"
        "# also be written as durations (250ms, 5s, 15m, 1h, 7d), and bytes as sizes (64KiB, "
        "16MB,\n"
        "# 1GiB; MB is a million, MiB is 1048576). ${NAME} in a value stands for the environment\n"
        "# variable NAME, and $$ for a dollar sign. A new value takes effect after a restart; "
        "where\n"
        "# a key names a file that is read again before, this is said.\n\n",
        out);
    for (size_t i = 0; i < config_key_count; i++)
        print_key(out, &config_keys[i]);
    static const char *const examples[][2] = {
        {"id", "shop"},          {"iss", "shop"},     {"keys", "keys/shop-public.jwks"},
        {"prefixes", "[\"/\"]"}, {"audiences", "[]"}, {"resume_s", "0"},
    };
    fputs("# Who may sign links; one entry for each storefront. Required.\nissuers:\n", out);
    const char *lead = "  - ";
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        const struct config_issuer_key *key = &config_issuer_keys[i];
        const char *value = key->type == CONFIG_LIST ? "[]" : "\"\"";
        for (size_t j = 0; j < sizeof(examples) / sizeof(examples[0]); j++)
            value = strcmp(examples[j][0], key->name) == 0 ? examples[j][1] : value;
        print_help(out, "    ", key->help, key->reload);
        fprintf(out, "%s%s: %s\n", lead, key->name, value);
        lead = "    ";
    }
}

/* ---- for programs ---- */

static json_t *key_json(const struct config_key *key)
{
    static const char *const types[] = {[CONFIG_TEXT] = "text",
                                        [CONFIG_PATH] = "path",
                                        [CONFIG_NUMBER] = "number",
                                        [CONFIG_AUTO] = "number or auto",
                                        [CONFIG_CHOICE] = "choice"};
    bool number = key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO;
    json_t *value = json_pack("{s:s, s:s, s:b, s:b, s:s*, s:s}", "name", key->name, "type",
                              types[key->type], "reload", key->reload != CONFIG_RESTART, "required",
                              key->standard == NULL, "default", key->standard, "help", key->help);
    if (number) {
        (void)json_object_set_new(value, "minimum", json_integer((json_int_t)key->minimum));
        (void)json_object_set_new(value, "maximum", json_integer((json_int_t)key->maximum));
        (void)json_object_set_new(value, "unit", json_string(key->unit));
    }
    if (key->type == CONFIG_CHOICE) {
        struct config_choices choices;
        config_choices_of(&choices, key);
        json_t *values = json_array();
        for (size_t i = 0; i < choices.count; i++)
            (void)json_array_append_new(values, json_string(choices.values[i]));
        (void)json_object_set_new(value, "values", values);
    }
    return value;
}

json_t *config_reference_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config_key_count; i++)
        (void)json_array_append_new(list, key_json(&config_keys[i]));
    return list;
}
