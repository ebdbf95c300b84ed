/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector of what is wrong with a configuration. Called by config_load and its parts; it
 * interprets nothing.
 */
#include <stdarg.h>
#include <string.h>

#include "server/config/config_internal.h"

/* Kept free for the line of config_errors_end. */
#define OMITTED_BYTES ((size_t)480)

void config_error(struct config_errors *errors, unsigned line, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    errors->count++;
    char text[1024 + 512];
    const char *newline = errors->length > 0 ? "\n" : "";
    if (line > 0)
        snprintf(text, sizeof(text), "%s%.400s:%u: %s", newline, errors->file, line, message);
    else
        snprintf(text, sizeof(text), "%s%.400s: %s", newline, errors->file, message);
    size_t length = strlen(text);
    /* The first message is kept in part where it does not fit; later ones go whole or not at all. */
    if (errors->length > 0 && errors->length + length + OMITTED_BYTES >= errors->size) {
        errors->omitted++;
        return;
    }
    if (errors->size == 0)
        return;
    snprintf(errors->text + errors->length, errors->size - errors->length, "%s", text);
    errors->length = strlen(errors->text);
}

void config_errors_end(struct config_errors *errors)
{
    if (errors->omitted > 0 && errors->length + OMITTED_BYTES < errors->size)
        snprintf(errors->text + errors->length, errors->size - errors->length,
                 "\n%.400s: and %u more mistakes; mend these first", errors->file, errors->omitted);
}
