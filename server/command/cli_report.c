/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what is wrong: a line for people or, with --json, an object for programs. Both go to
 * standard error, so that standard output holds an answer or nothing. The commands call it; it
 * decides no exit code and ends no process.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/command/cli.h"

static bool json_wanted;

void cli_set_json(bool wanted)
{
    json_wanted = wanted;
}

bool cli_wants_json(void)
{
    return json_wanted;
}

static const char *kind_of(int exit_code)
{
    static const struct {
        int code;
        const char *kind;
    } kinds[] = {
#define X(code, kind, text) {code, kind},
        CLI_EXITS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].code == exit_code)
            return kinds[i].kind;
    }
    return "software";
}

/* A text may quote any bytes of the command line. Where it is not UTF-8, all bytes from 0x80 on
 * become "?", as JSON cannot hold them. */
static json_t *string_of(const char *text, size_t length)
{
    json_t *value = json_stringn(text, length);
    char *copy = value == NULL ? strndup(text, length) : NULL;
    if (copy != NULL) {
        for (char *c = copy; *c != '\0'; c++) {
            if ((unsigned char)*c >= 0x80)
                *c = '?';
        }
        value = json_string(copy);
        free(copy);
    }
    return value;
}

/* Splits the text at its first "; " into message and cure. */
static void set_text(json_t *object, const char *text)
{
    const char *cure = strstr(text, "; ");
    size_t length = cure != NULL ? (size_t)(cure - text) : strlen(text);
    (void)json_object_set_new(object, "message", string_of(text, length));
    if (cure != NULL)
        (void)json_object_set_new(object, "cure", string_of(cure + 2, strlen(cure + 2)));
}

/* Prints {"error": {...}} or {"warning": {...}} on a line, and takes the object over. */
static void print_line(const char *what, json_t *object)
{
    json_t *line = json_pack("{s:o}", what, object);
    if (line == NULL || json_dumpf(line, stderr, JSON_COMPACT) != 0)
        fputs("{\"error\":{\"kind\":\"software\",\"message\":\"out of memory\"}}", stderr);
    fputc('\n', stderr);
    json_decref(line);
}

int cli_fail_with(int exit_code, const char *command, json_t *members, const char *text)
{
    if (!json_wanted) {
        fprintf(stderr, "%s: %s\n", command, text);
        json_decref(members);
        return exit_code;
    }
    json_t *error = json_pack("{s:s, s:i, s:s}", "kind", kind_of(exit_code), "exit_code", exit_code,
                              "command", command);
    set_text(error, text);
    if (members != NULL)
        (void)json_object_update_missing(error, members);
    json_decref(members);
    print_line("error", error);
    return exit_code;
}

int cli_fail(int exit_code, const char *command, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    (void)cli_fail_with(exit_code, command, NULL, length >= 0 ? text : "out of memory");
    free(length >= 0 ? text : NULL);
    return exit_code;
}

void cli_warn(const char *command, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if (json_wanted) {
        json_t *warning = json_pack("{s:s}", "command", command);
        set_text(warning, text);
        print_line("warning", warning);
    } else {
        fprintf(stderr, "%s: warning: %s\n", command, text);
    }
    free(text);
}

void cli_mistakes_add(struct cli_mistakes *mistakes, const char *where, unsigned line,
                      const char *text)
{
    if (!json_wanted) {
        if (line > 0)
            fprintf(stderr, "%s:%u: %s\n", where, line, text);
        else
            fprintf(stderr, "%s: %s\n", where, text);
        return;
    }
    json_t *mistake = json_pack("{s:o}", "file", string_of(where, strlen(where)));
    if (line > 0)
        (void)json_object_set_new(mistake, "line", json_integer(line));
    set_text(mistake, text);
    if (mistakes->list == NULL)
        mistakes->list = json_array();
    (void)json_array_append_new(mistakes->list, mistake);
}

int cli_mistakes_end(struct cli_mistakes *mistakes, int exit_code, const char *command)
{
    if (!json_wanted)
        return exit_code;
    /* The error itself tells the first mistake; its list has all of them. */
    json_t *first = json_array_get(mistakes->list, 0);
    json_t *error = json_pack("{s:s, s:i, s:s}", "kind", kind_of(exit_code), "exit_code", exit_code,
                              "command", command);
    (void)json_object_update_missing(error, first);
    (void)json_object_set_new(error, "mistakes", mistakes->list);
    mistakes->list = NULL;
    print_line("error", error);
    return exit_code;
}

int cli_print_json(const char *command, const json_t *value)
{
    if (value == NULL)
        return cli_fail(EX_SOFTWARE, command, "out of memory");
    if (json_dumpf(value, stdout, JSON_INDENT(2)) != 0)
        return cli_fail(EX_IOERR, command, "standard output: %s", strerrordesc_np(errno));
    putchar('\n');
    return EX_OK;
}
