/* SPDX-License-Identifier: Apache-2.0 */
/* The man pages: the tables in roff's man macros. See manual.h. */
#include "server/manual/manual.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "server/admin/admin_metrics.h"
#include "server/command/cli.h"
#include "server/config/config_internal.h"
#include "server/http/refusal.h"

/* ---- roff ---- */

/* Prints text that roff is to show as it is; no line of it begins as a request of roff would. */
static void print_text(FILE *out, const char *text)
{
    fputs("\\&", out);
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        case '`':
            fputs("\\(ga", out);
            break;
        case '^':
            fputs("\\(ha", out);
            break;
        case '~':
            fputs("\\(ti", out);
            break;
        case ':': /* a list of ciphers is longer than a line, and may be broken here */
            fputs(":\\:", out);
            break;
        case '\n':
            fputs("\n\\&", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

static void print_line(FILE *out, const char *text)
{
    print_text(out, text);
    fputc('\n', out);
}

static void print_paragraph(FILE *out, const char *text)
{
    fputs(".PP\n", out);
    print_line(out, text);
}

/* Prints text in a font, as part of a line. */
static void print_styled(FILE *out, char font, const char *text)
{
    fprintf(out, "\\f%c", font);
    print_text(out, text);
    fputs("\\fR", out);
}

static void print_title(FILE *out, const char *name, int section, const char *manual)
{
    fprintf(out,
            ".\\\" Made by tollgate-manual from the program's own tables.\n"
            ".TH %s %d \"\" \"tollgate %s\" \"%s\"\n"
            ".ad l\n", /* a line that holds a list of ciphers cannot be justified */
            name, section, TOLLGATE_VERSION, manual);
}

/* ---- commands and their options ---- */

/* Whether an entry of argp's table is an option to type: not hidden, and not a group's heading. */
static bool is_option(const struct argp_option *option)
{
    return option->name != NULL && (option->flags & (OPTION_HIDDEN | OPTION_DOC)) == 0;
}

static void print_option_names(FILE *out, const struct argp_option *option, const char *argument)
{
    if ((option->flags & OPTION_ALIAS) == 0 && option->key > 0 && option->key < 128 &&
        isgraph(option->key)) {
        fprintf(out, "\\fB\\-%c\\fR, ", option->key);
    }
    fputs("\\fB\\-\\-", out);
    print_text(out, option->name);
    fputs("\\fR", out);
    if (argument != NULL) {
        fputs("=", out);
        print_styled(out, 'I', argument);
    }
}

static void print_options(FILE *out, const struct argp *argp)
{
    const struct argp_option *option = argp->options;
    while (option != NULL && (option->name != NULL || option->key != 0 || option->doc != NULL)) {
        const struct argp_option *first = option++;
        if (!is_option(first))
            continue;
        fputs(".TP\n", out);
        print_option_names(out, first, first->arg);
        for (; option->name != NULL && (option->flags & OPTION_ALIAS) != 0; option++) {
            if (!is_option(option))
                continue;
            fputs(", ", out);
            print_option_names(out, option, first->arg);
        }
        fputc('\n', out);
        print_line(out, first->doc != NULL ? first->doc : "");
    }
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++)
        print_options(out, child->argp);
}

/* Prints the text behind the options. Lines that begin with a space are commands to type, and stay
 * lines of their own. */
static void print_rest(FILE *out, char *text)
{
    bool verbatim = false;
    fputs(".PP\n", out);
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if ((line[0] == ' ') != verbatim) {
            verbatim = !verbatim;
            fputs(verbatim ? ".nf\n" : ".fi\n", out);
        }
        if (line[0] == '\0')
            fputs(".PP\n", out);
        else
            print_line(out, line);
    }
    if (verbatim)
        fputs(".fi\n", out);
}

static void print_command(FILE *out, const struct manual_command *command)
{
    char doc[4096];
    fputs(".SS \"", out);
    print_text(out, "tollgate ");
    print_text(out, command->words);
    fputs("\"\n.nh\n", out);
    fputs("\\fBtollgate ", out);
    print_text(out, command->words);
    fputs("\\fR ", out);
    print_line(out, command->usage);
    fputs(".hy\n", out);
    /* As argp does: what stands before a vertical tab comes before the options, the rest after. */
    snprintf(doc, sizeof(doc), "%s",
             command->argp->doc != NULL ? command->argp->doc : command->summary);
    char *rest = strchr(doc, '\v');
    if (rest != NULL)
        *rest++ = '\0';
    print_paragraph(out, doc);
    print_options(out, command->argp);
    if (rest != NULL)
        print_rest(out, rest);
}

/* ---- tollgate(1) ---- */

static void print_term(FILE *out, const char *term, const char *text)
{
    fputs(".TP\n", out);
    print_styled(out, 'B', term);
    fputc('\n', out);
    print_line(out, text);
}

static void print_exits(FILE *out)
{
    char term[48];
    fputs(".SH \"EXIT STATUS\"\n", out);
    print_line(out,
               "The same kind of mistake has the same number in every command. Behind it stands "
               "the word by which --json names it.");
#define X(code, kind, text)                                                                        \
    snprintf(term, sizeof(term), "%d (%s)", code, kind);                                           \
    print_term(out, term, text);
    CLI_EXITS(X)
#undef X
}

static void print_json(FILE *out)
{
    fputs(".SH JSON\n", out);
    print_line(out,
               "Every command takes --json. Standard output is then one JSON value, the answer; "
               "\"no\" is an answer, too, of health, doctor and link explain. Where a command "
               "fails, standard output is empty. Each line of standard error is then a JSON "
               "object with one member, error or warning; the log of a running node stays as it "
               "is. An error has kind and exit_code (see EXIT STATUS), command and message, and "
               "where there is one, cure. Where a node refused, it has the node's status and "
               "reason, too. Where several mistakes were found, as in a configuration, it has "
               "mistakes: a list with file, line, message and cure of each. For example:");
    fputs(".PP\n.nf\n", out);
    print_line(
        out,
        "  {\"error\":{\"kind\":\"no\",\"exit_code\":1,\"command\":\"tollgate account show\",");
    print_line(out, "  \"message\":\"shop/bob: no such account\",\"cure\":\"open it first\",");
    print_line(out, "  \"status\":404,\"reason\":\"account_unknown\"}}");
    fputs(".fi\n", out);
}

static void print_refusals(FILE *out)
{
    char term[96];
    fputs(".SH REFUSALS\n", out);
    print_line(out, "A request that is not answered with the file is answered with "
                    "application/problem+json; its member reason is one of these, and so is the "
                    "log's. With each stands the status of the answer.");
    for (unsigned i = 1; i < REFUSAL_COUNT; i++) {
        snprintf(term, sizeof(term), "%s (%u)", refusal_name((enum refusal)i),
                 refusal_status((enum refusal)i));
        print_term(out, term, refusal_text((enum refusal)i));
    }
}

static void print_metrics(FILE *out)
{
    static const char *const kinds[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge"};
    char text[128];
    fputs(".SH METRICS\n", out);
    print_line(out, "tollgate health --json, and GET /v1/health of the admin interface, tell these "
                    "numbers, each group as a member of its own. A counter only grows while the "
                    "node runs, and begins at 0 with it. A gauge is a level, which also falls.");
    for (size_t i = 0; i < METRIC_GROUPS_COUNT; i++) {
        const struct metric_group *group = &metric_groups[i];
        fprintf(out, ".SS %s\n", group->name);
        print_line(out, group->about);
        for (size_t j = 0; j < group->count; j++) {
            const struct metric *metric = &group->metrics[j];
            snprintf(text, sizeof(text), "%s (%s, %s)", metric->field, kinds[metric->kind],
                     metric->unit);
            print_term(out, text, metric->help);
        }
    }
}

static void print_files(FILE *out)
{
    fputs(".SH FILES\n", out);
    print_term(out, "./tollgate.yaml", "The configuration, where none is named and this exists.");
    print_term(out, "/etc/tollgate/tollgate.yaml", "The configuration otherwise.");
    print_term(out, "/var/lib/tollgate",
               "The state directory of the packaged service: the journal, the admin socket and the "
               "embedded Redis.");
}

static void print_environment(FILE *out)
{
    fputs(".SH ENVIRONMENT\n", out);
    print_term(out, "TOLLGATE_CONFIG", "The configuration's path, where --config does not say it.");
}

void manual_print_program(FILE *out)
{
    size_t count;
    const struct manual_command *commands = manual_commands(&count);
    print_title(out, "TOLLGATE", 1, "User Commands");
    fputs(".SH NAME\ntollgate \\- deliver files that have been paid for\n"
          ".SH SYNOPSIS\n\\fBtollgate\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n.br\n"
          "\\fBtollgate \\-\\-help\\fR | \\fB\\-\\-version\\fR\n"
          ".SH DESCRIPTION\n",
          out);
    print_line(
        out,
        "A storefront signs a link, a client downloads the file with it, and the account behind "
        "the link is billed for the bytes that arrived. Every command has a --help of its own.");
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < count; i++)
        print_command(out, &commands[i]);
    print_json(out);
    print_exits(out);
    print_refusals(out);
    print_metrics(out);
    print_environment(out);
    print_files(out);
    fputs(".SH \"SEE ALSO\"\n\\fBtollgate.yaml\\fR(5), \\fBredis\\-server\\fR(1), "
          "\\fBsystemd.socket\\fR(5)\n",
          out);
}

/* ---- tollgate.yaml(5) ---- */

static void print_reload(FILE *out, enum config_reload reload)
{
    if (config_reload_help(reload) != NULL)
        print_line(out, config_reload_help(reload));
}

static void print_key(FILE *out, const struct config_key *key)
{
    bool number = key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO;
    print_term(out, key->name, key->help);
    print_reload(out, key->reload);
    fputs(".br\n", out);
    if (number)
        fprintf(out, "%" PRIu64 " to %" PRIu64 " %s%s; ", key->minimum, key->maximum, key->unit,
                key->type == CONFIG_AUTO ? ", or auto" : "");
    else if (key->type == CONFIG_CHOICE) {
        struct config_choices choices;
        config_choices_of(&choices, key);
        print_text(out, choices.sentence);
        fputs("; ", out);
    } else
        fputs(key->type == CONFIG_PATH ? "A path; " : "A text; ", out);
    if (key->standard == NULL)
        fputs("required", out);
    else
        fputs("default: ", out);
    if (key->standard != NULL)
        print_text(out, key->standard[0] != '\0' ? key->standard : "empty");
    fputs(".\n", out);
}

void manual_print_configuration(FILE *out)
{
    print_title(out, "TOLLGATE.YAML", 5, "File Formats");
    fputs(".SH NAME\ntollgate.yaml \\- the configuration of a Tollgate node\n.SH DESCRIPTION\n",
          out);
    print_line(
        out,
        "A YAML mapping of the keys below. media_root, state_dir and issuers must be given. "
        "Relative paths are taken from the file's own directory. Milliseconds and seconds "
        "may also be written as durations (250ms, 5s, 15m, 1h, 7d), and bytes as sizes (64KiB, "
        "16MB, 1GiB). ${NAME} in a value stands for the environment variable NAME, and $$ for a "
        "dollar sign. A new value takes effect after a restart; where a key names a file that is "
        "read again before, this is said. `tollgate serve "
        "--print-config-reference` prints a complete file, and `tollgate serve "
        "--check-config` says what is wrong with one, and in which line.");
    fputs(".SH KEYS\n", out);
    for (size_t i = 0; i < config_key_count; i++)
        print_key(out, &config_keys[i]);
    print_term(out, "issuers",
               "Who may sign links: a list with one entry for each storefront; required.");
    fputs(".SH \"KEYS OF AN ISSUER\"\n", out);
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        print_term(out, config_issuer_keys[i].name, config_issuer_keys[i].help);
        print_reload(out, config_issuer_keys[i].reload);
    }
    fputs(".SH FILES\n", out);
    print_term(out, "/usr/share/doc/tollgate/examples/tollgate.yaml",
               "Every key with its default, as the package brings it.");
    fputs(".SH \"SEE ALSO\"\n\\fBtollgate\\fR(1)\n", out);
}
