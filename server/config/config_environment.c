/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables of the environment in the values of the configuration. A value is expanded once, after
 * YAML has been read, so that what a variable holds is never read as YAML, nor expanded again.
 * Messages show the variable's name, never what it holds, which may be a secret. Called by
 * config_document.c alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"

#define NAME_START    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
/* Shorter parts of a value are not concealed: they would be found within words of the message. */
#define CONCEALED_MIN 4

/* Adds the variable to those to be concealed, and puts its value into *out. 0, -ENOENT where it is
 * unset, or -ENOMEM. */
static int use(struct config_variables *variables, const char *name, size_t length,
               const char **out)
{
    char *copy = strndup(name, length);
    if (copy == NULL)
        return -ENOMEM;
    *out = getenv(copy);
    struct config_variable *list =
        *out != NULL ? realloc(variables->list, (variables->count + 1) * sizeof(*list)) : NULL;
    if (list == NULL) {
        free(copy);
        return *out == NULL ? -ENOENT : -ENOMEM;
    }
    list[variables->count].name = copy;
    list[variables->count].value = *out;
    list[variables->count].place = variables->place;
    variables->list = list;
    variables->count++;
    return 0;
}

/* Copies from `text` to `out` up to the next variable, $$ as $ and \${ as ${. Returns where the
 * variable begins, or the end of the text. */
static const char *copy_plain(const char *text, FILE *out)
{
    while (*text != '\0' && strncmp(text, "${", 2) != 0) {
        if (strncmp(text, "$$", 2) == 0 || strncmp(text, "\\${", 3) == 0)
            text++;
        fputc(*text++, out);
        if (text[-1] == '$' && *text == '{')
            fputc(*text++, out); /* the brace of $${ or \${, which begins no variable */
    }
    return text;
}

int config_variables_expand(struct config_variables *variables, const char *text, char **out,
                            char wrong[static CONFIG_VARIABLE_SIZE])
{
    size_t size;
    int result = 0;
    *out = NULL;
    FILE *expanded = open_memstream(out, &size);
    if (expanded == NULL)
        return -ENOMEM;
    for (text = copy_plain(text, expanded); *text != '\0' && result == 0;
         text = copy_plain(text, expanded)) {
        const char *name = text + 2;
        size_t length = strspn(name, NAME_START "0123456789");
        snprintf(wrong, CONFIG_VARIABLE_SIZE, "%.*s", (int)(length < 64 ? length : 64), name);
        if (length == 0 || name[length] != '}' || strspn(name, NAME_START) == 0) {
            result = -EINVAL;
            break;
        }
        const char *value;
        result = use(variables, name, length, &value);
        if (result == 0)
            fputs(value, expanded);
        text = name + length + 1;
    }
    bool failed = ferror(expanded) != 0;
    failed = fclose(expanded) != 0 || failed;
    if (result == 0 && failed)
        result = -ENOMEM;
    if (result < 0) {
        free(*out);
        *out = NULL;
    }
    return result;
}

/* The variable that holds the longest beginning of `text`, which is a place in `message`; NULL
 * where none does. *length is how much of `text` it holds. */
static const struct config_variable *held_by(const struct config_variables *variables,
                                             const char *message, const char *text, const char *end,
                                             size_t *length)
{
    const struct config_variable *found = NULL;
    *length = 0;
    for (size_t i = 0; i < variables->count; i++) {
        for (const char *from = variables->list[i].value; *from != '\0'; from++) {
            size_t same = 0;
            while (text + same < end && from[same] != '\0' && from[same] == text[same])
                same++;
            bool whole = from == variables->list[i].value && from[same] == '\0' &&
                         text + same < end && text[same] == '"' && text > message &&
                         text[-1] == '"';
            /* Messages quote parts of their own key's value only. A part of another variable's
             * value may be any common word of the message. */
            bool long_enough =
                same >= CONCEALED_MIN && (variables->list[i].place == variables->place ||
                                          same == strlen(variables->list[i].value));
            if (same > *length && (long_enough || whole)) {
                *length = same;
                found = &variables->list[i];
            }
        }
    }
    return found;
}

void config_variables_conceal(const struct config_variables *variables, char *message, size_t size,
                              size_t head)
{
    char shown[CONFIG_MESSAGE_SIZE];
    size_t used = 0;
    const char *end = message + (head < size ? head : strlen(message)), *at = message;
    if (variables->count == 0)
        return;
    shown[0] = '\0';
    while (at < end && used + CONFIG_VARIABLE_SIZE < sizeof(shown)) {
        size_t length = 0;
        const struct config_variable *variable = held_by(variables, message, at, end, &length);
        if (variable != NULL)
            used +=
                (size_t)snprintf(shown + used, CONFIG_VARIABLE_SIZE, "${%.64s}", variable->name);
        else
            shown[used++] = *at++;
        at += length;
    }
    snprintf(shown + used, sizeof(shown) - used, "%s", end);
    snprintf(message, size, "%s", shown);
}

void config_variables_destroy(struct config_variables *variables)
{
    for (size_t i = 0; i < variables->count; i++)
        free(variables->list[i].name);
    free(variables->list);
}
