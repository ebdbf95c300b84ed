/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The completion for bash: commands, options, and what may stand behind an option, as far as the
 * tables tell: FILE and PATH are files, DIR is a directory, and A|B|C in a command's usage are
 * words to choose from. It needs bash alone, not the bash-completion library. See manual.h.
 */
#include <stdbool.h>
#include <string.h>

#include "server/manual/manual.h"

static bool is_option(const struct argp_option *option)
{
    return option->name != NULL && (option->flags & (OPTION_HIDDEN | OPTION_DOC)) == 0;
}

static bool ends_table(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

/* Prints the first words of the commands, each once: "link" for "link sign" and "link explain". */
static void print_first_words(FILE *out, const struct manual_command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn(commands[i].words, " ");
        bool again = i > 0 && strncmp(commands[i - 1].words, commands[i].words, length) == 0 &&
                     strcspn(commands[i - 1].words, " ") == length;
        if (!again)
            fprintf(out, "%.*s ", (int)length, commands[i].words);
    }
}

/* Prints a case for each first word that needs a second one. */
static void print_second_words(FILE *out, const struct manual_command *commands, size_t count)
{
    for (size_t i = 0; i < count;) {
        const char *words = commands[i].words;
        size_t length = strcspn(words, " ");
        if (words[length] == '\0') {
            i++;
            continue;
        }
        fprintf(out, "    %.*s)\n        [ \"$COMP_CWORD\" -gt 2 ] || words='", (int)length, words);
        const char *space = "";
        for (; i < count && strncmp(commands[i].words, words, length + 1) == 0; i++) {
            fprintf(out, "%s%s", space, commands[i].words + length + 1);
            space = " ";
        }
        fputs("'\n        command=\"$command ${COMP_WORDS[2]}\"\n        ;;\n", out);
    }
}

static void print_options(FILE *out, const struct argp *argp)
{
    for (const struct argp_option *option = argp->options; option != NULL && !ends_table(option);
         option++) {
        if (is_option(option))
            fprintf(out, "--%s ", option->name);
    }
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++)
        print_options(out, child->argp);
}

/* Prints the words of "A|B|C" with spaces between them. */
static void print_choice(FILE *out, const char *token, size_t length)
{
    for (size_t i = 0; i < length; i++)
        fputc(token[i] == '|' ? ' ' : token[i], out);
}

/* What the usage has behind --NAME, where that is a choice such as A|B; else NULL. */
static const char *choice_of(const char *usage, const char *name, size_t *length)
{
    char mark[64];
    snprintf(mark, sizeof(mark), "--%s ", name);
    const char *at = strstr(usage, mark);
    if (at == NULL)
        return NULL;
    at += strlen(mark);
    *length = strcspn(at, " ]");
    return memchr(at, '|', *length) != NULL && *length > 1 ? at : NULL;
}

static void print_argument(FILE *out, const struct manual_command *command,
                           const struct argp_option *option, const char *argument)
{
    size_t length = 0;
    const char *choice = choice_of(command->usage, option->name, &length);
    fprintf(out, "    '%s --%s'", command->words, option->name);
    if ((option->flags & OPTION_ALIAS) == 0 && option->key > 0 && option->key < 128)
        fprintf(out, " | '%s -%c'", command->words, option->key);
    fputs(") ", out);
    if (choice != NULL) {
        fputs("words='", out);
        print_choice(out, choice, length);
        fputs("' options= ;;\n", out);
    } else if (strcmp(argument, "FILE") == 0 || strcmp(argument, "PATH") == 0) {
        fputs("kind=file ;;\n", out);
    } else if (strncmp(argument, "DIR", 3) == 0) {
        fputs("kind=directory ;;\n", out);
    } else {
        fputs("kind=none ;;\n", out);
    }
}

static void print_arguments(FILE *out, const struct manual_command *command,
                            const struct argp *argp)
{
    const char *argument = NULL; /* an alias has its first name's */
    for (const struct argp_option *option = argp->options; option != NULL && !ends_table(option);
         option++) {
        if ((option->flags & OPTION_ALIAS) == 0)
            argument = option->arg;
        if (is_option(option) && argument != NULL)
            print_argument(out, command, option, argument);
    }
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++)
        print_arguments(out, command, child->argp);
}

void manual_print_completion(FILE *out)
{
    size_t count;
    const struct manual_command *commands = manual_commands(&count);
    fputs("# Completion of tollgate for bash. Made by tollgate-manual from the program's own "
          "tables.\n"
          "_tollgate()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local command=${COMP_WORDS[1]} words= options= kind=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          out);
    print_first_words(out, commands, count);
    fputs("--help --version' -- \"$word\"))\n        return\n    fi\n"
          "    case $command in\n",
          out);
    print_second_words(out, commands, count);
    fputs("    esac\n    case $command in\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "    '%s')\n        options='", commands[i].words);
        print_options(out, commands[i].argp);
        fputs("--help'\n        ;;\n", out);
    }
    fputs("    esac\n    case \"$command $before\" in\n", out);
    for (size_t i = 0; i < count; i++)
        print_arguments(out, &commands[i], commands[i].argp);
    fputs("    esac\n"
          "    case $kind in\n"
          "    none) return ;;\n"
          "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "
          "\"$word\") ;;\n"
          "    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "
          "\"$word\") ;;\n"
          "    *)\n"
          "        case $word in -*) words= ;; esac\n"
          "        COMPREPLY=($(compgen -W \"$words $options\" -- \"$word\"))\n"
          "        ;;\n"
          "    esac\n"
          "}\n"
          "complete -F _tollgate tollgate\n",
          out);
}
