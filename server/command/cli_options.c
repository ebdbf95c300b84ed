/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a command line. argp does the parsing, but this file looks at the options first, because
 * getopt's messages name no cure: an unknown option is answered with the name that was probably
 * meant, and a value without its option with that option. The commands call it through cli_parse;
 * it never judges what an option's value means.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/byte_count.h"
#include "server/base/check.h"
#include "server/base/nearest.h"
#include "server/command/cli.h"

#define OPTIONS_MAX  64
#define CHILDREN_MAX 8
#define TEXT_SIZE    512

/* ---- the options of the command that is parsed ---- */

/* One name of an option, and the row with its key and argument: for an alias, an earlier row. */
struct named_option {
    const struct argp_option *name, *row;
};

static struct {
    struct named_option options[OPTIONS_MAX];
    size_t count;
} known;

enum { OPTION_JSON = 0x10000, OPTION_USAGE };

static const struct argp_option json_options[] = {
    {"json", OPTION_JSON, NULL, 0,
     "Print the answer as JSON on standard output, and errors as JSON on standard error", -1},
    {0},
};
/* The options that argp adds by itself; only their names and keys are used here. */
static const struct argp_option builtin_options[] = {
    {"help", '?', NULL, 0, NULL, 0}, {"usage", OPTION_USAGE, NULL, 0, NULL, 0}, {0}};

static error_t parse_json(int key, char *argument, struct argp_state *state)
{
    (void)argument, (void)state;
    return key == OPTION_JSON ? 0 : ARGP_ERR_UNKNOWN; /* look_at_long has noted it already */
}
static const struct argp json_argp = {.options = json_options, .parser = parse_json};

static bool ends_table(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

static void add_options(const struct argp_option *option)
{
    const struct argp_option *row = option;
    for (; option != NULL && !ends_table(option); option++) {
        if ((option->flags & OPTION_ALIAS) == 0)
            row = option;
        if (option->name == NULL || (option->flags & OPTION_DOC) != 0)
            continue;
        check(known.count < OPTIONS_MAX);
        known.options[known.count++] = (struct named_option){option, row};
    }
}

static void add_argp(const struct argp *argp)
{
    add_options(argp->options);
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++)
        add_argp(child->argp);
}

static bool is_shown(const struct named_option *option)
{
    return ((option->name->flags | option->row->flags) & OPTION_HIDDEN) == 0;
}

/* Whether the next word is the option's value. */
static bool takes_value(const struct named_option *option)
{
    return option->row->arg != NULL && (option->row->flags & OPTION_ARG_OPTIONAL) == 0;
}

/* Finds an option by its whole name or, like getopt, by a beginning that no other option has. NULL
 * otherwise; *several: the beginning is that of more than one. */
static const struct named_option *find_long(const char *name, size_t length, bool *several)
{
    const struct named_option *found = NULL;
    *several = false;
    for (size_t i = 0; i < known.count; i++) {
        const struct named_option *option = &known.options[i];
        if (strncmp(option->name->name, name, length) != 0)
            continue;
        if (option->name->name[length] == '\0') {
            *several = false;
            return option;
        }
        *several = *several || (found != NULL && found->row != option->row);
        found = option;
    }
    return *several ? NULL : found;
}

static const struct named_option *find_short(char letter)
{
    for (size_t i = 0; i < known.count; i++) {
        const struct argp_option *name = known.options[i].name;
        if ((name->flags & OPTION_ALIAS) == 0 && name->key == letter)
            return &known.options[i];
    }
    return NULL;
}

static const char *nearest_option(const char *name)
{
    const char *names[OPTIONS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < known.count; i++) {
        if (is_shown(&known.options[i]))
            names[count++] = known.options[i].name->name;
    }
    return nearest_name(name, names, count);
}

/* ---- words that stand without their option ---- */

static bool is_amount(const char *word)
{
    int64_t bytes;
    size_t length = strlen(word);
    char text[64];
    bool per_second = length > 2 && strcmp(word + length - 2, "/s") == 0;
    snprintf(text, sizeof(text), "%.*s", (int)(per_second ? length - 2 : length), word);
    return length < sizeof(text) && byte_count_read(text, &bytes) != -EINVAL;
}

static bool is_duration(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    return digits > 0 && word[digits] != '\0' && strchr("smhd", word[digits]) != NULL &&
           word[digits + 1] == '\0';
}

/* A day or a month. */
static bool is_date(const char *word)
{
    size_t digits = strspn(word, "0123456789-");
    return word[digits] == '\0' && (digits == 10 || digits == 7) && word[4] == '-' &&
           (digits == 7 || word[7] == '-');
}

static bool is_plan(const char *word)
{
    return strcmp(word, "prepaid") == 0 || strcmp(word, "postpaid") == 0;
}

static bool is_address(const char *word)
{
    const char *colon = strrchr(word, ':');
    return colon != NULL && colon[1] != '\0' && colon[1 + strspn(colon + 1, "0123456789")] == '\0';
}

static bool is_socket(const char *word)
{
    size_t length = strlen(word);
    return length > 5 && strcmp(word + length - 5, ".sock") == 0;
}

static bool is_algorithm(const char *word)
{
    return strcasecmp(word, "ES256") == 0 || strcasecmp(word, "EdDSA") == 0 ||
           strcasecmp(word, "HS256") == 0;
}

static bool is_absolute(const char *word)
{
    return word[0] == '/';
}

/* Writes "--rate 1MB or --max-bytes 1MB", of the options whose value is called so. False: none. */
static bool means_value(const char *word, const char *value, char text[static TEXT_SIZE])
{
    size_t length = 0;
    for (size_t i = 0; i < known.count && length < TEXT_SIZE; i++) {
        const struct named_option *option = &known.options[i];
        if (option->name != option->row || !is_shown(option) || option->row->arg == NULL ||
            strcmp(option->row->arg, value) != 0)
            continue;
        length += (size_t)snprintf(text + length, TEXT_SIZE - length, "%s--%s %s",
                                   length > 0 ? " or " : "", option->name->name, word);
    }
    return length > 0;
}

/* Writes the option where the word is its name without the dashes: "bytes=1GB" or "bytes". */
static bool means_name(const char *word, char text[static TEXT_SIZE])
{
    char name[64];
    size_t length = strcspn(word, "=");
    bool several;
    if (length == 0 || length >= sizeof(name))
        return false;
    snprintf(name, sizeof(name), "%.*s", (int)length, word);
    const struct named_option *option = find_long(name, length, &several);
    if (option == NULL || option->name->name[length] != '\0')
        return false;
    if (word[length] == '=' && option->row->arg != NULL)
        snprintf(text, TEXT_SIZE, "--%s %s", name, word + length + 1);
    else
        snprintf(text, TEXT_SIZE, "--%s%s%s", name, option->row->arg != NULL ? " " : "",
                 option->row->arg != NULL ? option->row->arg : "");
    return true;
}

/* Writes the option that was probably meant by a word that stands without one. False: none. */
static bool means_option(const char *word, char text[static TEXT_SIZE])
{
    static const struct {
        bool (*is)(const char *word);
        const char *value; /* what the options' tables call such a value */
    } kinds[] = {{is_duration, "DURATION"},   {is_amount, "AMOUNT"},   {is_date, "DAY"},
                 {is_plan, "PLAN"},           {is_address, "ADDRESS"}, {is_socket, "PATH"},
                 {is_algorithm, "ALGORITHM"}, {is_absolute, "/FILE"}};
    if (means_name(word, text))
        return true;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].is(word) && means_value(word, kinds[i].value, text))
            return true;
    }
    return false;
}

bool cli_belongs_to_option(const char *word)
{
    char text[TEXT_SIZE];
    return means_option(word, text);
}

/* ---- refusing ---- */

static _Noreturn void refuse(const char *command, const char *text)
{
    int code = cli_fail_with(EX_USAGE, command, NULL, text);
    if (!cli_wants_json())
        fprintf(stderr, "Try `%s --help' for more information.\n", command);
    exit(code);
}

static _Noreturn void __attribute__((format(printf, 2, 3)))
refuse_word(const char *command, const char *format, ...)
{
    char text[2 * TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    refuse(command, text);
}

void cli_usage(const struct argp_state *state, const char *format, ...)
{
    char text[2 * TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    refuse(state->name, text);
}

void cli_surplus(const struct argp_state *state, const char *word, const char *option,
                 const char *otherwise)
{
    char meant[TEXT_SIZE];
    bool is_known = means_option(word, meant);
    if (!is_known && option != NULL)
        snprintf(meant, sizeof(meant), "--%s %s", option, word);
    if (is_known || option != NULL)
        cli_usage(state, "%s stands without its option; did you mean %s?", word, meant);
    cli_usage(state, "%s %s", word, otherwise);
}

static _Noreturn void refuse_long(const char *command, const char *word, size_t length,
                                  bool several)
{
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)length, word + 2);
    if (several)
        refuse_word(command, "--%s may be more than one option; write its whole name", name);
    const char *near = nearest_option(name);
    if (near != NULL)
        refuse_word(command, "--%s is not an option here; did you mean --%s?", name, near);
    refuse_word(command, "--%s is not an option here; `%s --help` lists those that are", name,
                command);
}

/* Refuses a word with one dash, of which the letter at `at` is not an option. */
static _Noreturn void refuse_short(const char *command, const char *word, size_t at)
{
    char meant[TEXT_SIZE];
    if (isdigit((unsigned char)word[1]) && means_option(word, meant))
        refuse_word(command, "%s stands without its option; did you mean %s?", word, meant);
    if (strlen(word) > 2) {
        const char *near = nearest_option(word + 1);
        if (near != NULL)
            refuse_word(command, "%s is not an option here; did you mean --%s?", word, near);
    }
    refuse_word(command, "-%c is not an option here; `%s --help` lists those that are", word[at],
                command);
}

static _Noreturn void refuse_no_value(const char *command, const char *word, size_t length,
                                      const struct named_option *option)
{
    refuse_word(command, "%.*s lacks its value; write %.*s %s", (int)length, word, (int)length,
                word, option->row->arg);
}

/* ---- looking ahead of argp ---- */

enum mistake { MISTAKE_LONG, MISTAKE_SEVERAL, MISTAKE_SHORT, MISTAKE_NO_VALUE, MISTAKE_VALUE };

/* What was found among the words. The first mistake is told only when all words were looked at, as
 * a later --json changes its form and --help overrides it. */
struct look {
    const char *command;
    const char *mistaken; /* the first mistaken word; NULL: none */
    size_t at;            /* how many bytes of it, or which, the message quotes */
    const struct named_option *option;
    enum mistake mistake;
    bool json, help;
};

static void note(struct look *look, enum mistake mistake, const char *word, size_t at,
                 const struct named_option *option)
{
    if (look->mistaken != NULL)
        return;
    look->mistake = mistake;
    look->mistaken = word;
    look->at = at;
    look->option = option;
}

/* Both functions return whether the next word is the option's value. */
static bool look_at_long(struct look *look, const char *word)
{
    size_t length = strcspn(word + 2, "=");
    bool several, has_value = word[2 + length] == '=';
    const struct named_option *option = find_long(word + 2, length, &several);
    if (option == NULL) {
        note(look, several ? MISTAKE_SEVERAL : MISTAKE_LONG, word, length, NULL);
        return false;
    }
    look->json = look->json || option->row->key == OPTION_JSON;
    look->help = look->help || option->row == &builtin_options[0];
    if (has_value && option->row->arg == NULL)
        note(look, MISTAKE_VALUE, word, length + 2, option);
    return !has_value && takes_value(option);
}

static bool look_at_short(struct look *look, const char *word)
{
    bool several;
    const struct named_option *whole = find_long(word + 1, strlen(word + 1), &several);
    if (word[2] != '\0' && whole != NULL && strcmp(whole->name->name, word + 1) == 0) {
        note(look, MISTAKE_SHORT, word, 1, NULL); /* -bytes for --bytes */
        return takes_value(whole);
    }
    for (size_t at = 1; word[at] != '\0'; at++) {
        const struct named_option *option = find_short(word[at]);
        if (option == NULL && strcmp(word, "-h") == 0) {
            look->help = true;
            return false;
        }
        if (option == NULL) {
            note(look, MISTAKE_SHORT, word, at, NULL);
            return false;
        }
        look->help = look->help || option->row == &builtin_options[0];
        if (option->row->arg != NULL)
            return word[at + 1] == '\0' && takes_value(option);
    }
    return false;
}

static void look_at_options(struct look *look, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        bool is_long = strncmp(word, "--", 2) == 0;
        if (word[0] != '-' || word[1] == '\0')
            continue;
        bool takes_next = is_long ? look_at_long(look, word) : look_at_short(look, word);
        if (takes_next && ++i == argc) {
            bool several;
            size_t length = strlen(word);
            note(look, MISTAKE_NO_VALUE, word, length,
                 is_long ? find_long(word + 2, length - 2, &several)
                         : find_short(word[length - 1]));
        }
    }
}

static void refuse_mistake(const struct look *look)
{
    switch (look->mistake) {
    case MISTAKE_LONG:
    case MISTAKE_SEVERAL:
        refuse_long(look->command, look->mistaken, look->at, look->mistake == MISTAKE_SEVERAL);
    case MISTAKE_SHORT:
        refuse_short(look->command, look->mistaken, look->at);
    case MISTAKE_NO_VALUE:
        if (look->option == NULL) /* -bytes, the last word */
            refuse_short(look->command, look->mistaken, 1);
        refuse_no_value(look->command, look->mistaken, look->at, look->option);
    case MISTAKE_VALUE:
        refuse_word(look->command, "%.*s takes no value; leave out %s", (int)look->at,
                    look->mistaken, look->mistaken + look->at);
    }
}

void (*cli_argp_observer)(const struct argp *argp);

/* Copies the command's argp into `whole` and adds --json as its last child: the command knows its
 * own children by their places. */
static void add_json(const struct argp *argp, struct argp *whole,
                     struct argp_child children[static CHILDREN_MAX])
{
    size_t count = 0;
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++) {
        check(count + 2 < CHILDREN_MAX);
        children[count++] = *child;
    }
    children[count++] = (struct argp_child){&json_argp, 0, NULL, 0};
    children[count] = (struct argp_child){0};
    *whole = *argp;
    whole->children = children;
    /* argp_help leaks the memory that it takes for an empty table of options. */
    if (whole->options != NULL && whole->options->name == NULL && whole->options->key == 0 &&
        whole->options->doc == NULL)
        whole->options = NULL;
}

/* The same on the heap, never freed: the observer uses it until the process ends. */
static const struct argp *argp_to_keep(const struct argp *argp)
{
    struct kept {
        struct argp whole;
        struct argp_child children[CHILDREN_MAX];
    } *kept = calloc(1, sizeof(*kept));
    check(kept != NULL);
    add_json(argp, &kept->whole, kept->children);
    return &kept->whole;
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    struct argp_child children[CHILDREN_MAX];
    struct argp whole;
    add_json(argp, &whole, children);
    if (cli_argp_observer != NULL)
        cli_argp_observer(argp_to_keep(argp));
    known.count = 0;
    add_argp(&whole);
    add_options(builtin_options);
    struct look look = {.command = argv[0]};
    look_at_options(&look, argc, argv);
    cli_set_json(look.json);
    if (look.help) {
        argp_help(&whole, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, argv[0]);
        exit(fflush(stdout) == 0
                 ? EX_OK
                 : cli_fail(EX_IOERR, argv[0], "the help: %s", strerrordesc_np(errno)));
    }
    if (look.mistaken != NULL)
        refuse_mistake(&look);
    error_t failure = argp_parse(&whole, argc, argv, 0, NULL, input);
    if (failure != 0) /* not a mistake of the user: refuse_mistake would have told it */
        exit(cli_fail(failure == ENOMEM ? EX_SOFTWARE : EX_USAGE, argv[0], "%s",
                      strerrordesc_np(failure)));
}
