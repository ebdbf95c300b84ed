/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/command/fixture.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/command/server.h"
#include "tokens/tokens.h"

#define NOBODY 65534

char cli_directory[64];
char cli_out[65536], cli_err[65536];
const char *cli_input;
bool cli_as_nobody;

static void make_directory(void)
{
    strcpy(cli_directory, "/tmp/tollgate-cli-XXXXXX");
    cr_assert_not_null(mkdtemp(cli_directory));
    cr_assert_eq(chdir(cli_directory), 0);
    cr_assert_eq(mkdir("media", 0755), 0);
    cr_assert_eq(unsetenv("TOLLGATE_CONFIG"), 0);
}

static int remove_entry(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    (void)facts, (void)type, (void)place;
    return remove(path);
}

static void remove_directory(void)
{
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(nftw(cli_directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(server_cli, .init = make_directory, .fini = remove_directory);

void cli_read_back(const char *name, char *text, size_t size)
{
    FILE *file = fopen(name, "r");
    cr_assert_not_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

void cli_write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* The words of a run. The program replaces entries of `arguments`; `owned` has what to free. */
static char *arguments[32], *owned[32];

/* Skips LeakSanitizer's check at exit, which would miss the threads of the process that forked. */
static void end_at_once(int code, void *unused)
{
    (void)unused;
    fflush(NULL);
    _exit(code);
}

static int run_owned(int count)
{
    memcpy(arguments, owned, sizeof(arguments));
    arguments[count] = NULL;
    if (cli_input != NULL)
        cli_write_text("stdin.txt", cli_input);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        if (cli_input != NULL && freopen("stdin.txt", "r", stdin) == NULL)
            _exit(99);
        if (freopen("stdout.txt", "w", stdout) == NULL ||
            freopen("stderr.txt", "w", stderr) == NULL)
            _exit(99);
        if (cli_as_nobody &&
            (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(99);
        cr_assert_eq(on_exit(end_at_once, NULL), 0);
        end_at_once(tollgate_main(count, arguments), NULL);
    }
    int status;
    cli_input = NULL;
    cr_assert_eq(waitpid(child, &status, 0), child);
    for (int i = 0; i < count; i++)
        free(owned[i]);
    cli_read_back("stdout.txt", cli_out, sizeof(cli_out));
    cli_read_back("stderr.txt", cli_err, sizeof(cli_err));
    cr_assert(WIFEXITED(status), "ended by signal %d: %s", WTERMSIG(status), cli_err);
    return WEXITSTATUS(status);
}

int cli_run(const char *first, ...)
{
    int count = 0;
    owned[count++] = strdup("tollgate");
    va_list list;
    va_start(list, first);
    for (const char *a = first; a != NULL; a = va_arg(list, const char *))
        owned[count++] = strdup(a);
    va_end(list);
    return run_owned(count);
}

int cli_run_line(const char *format, ...)
{
    char line[1024], *rest;
    int count = 0;
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    owned[count++] = strdup("tollgate");
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        owned[count++] = strdup(word);
    return run_owned(count);
}

void cli_make_configuration(void)
{
    cli_write_text("tollgate.yaml",
                   "media_root: media\n"
                   "state_dir: state\n"
                   "issuers:\n"
                   "  - {id: shop, iss: shop, keys: shop-public.jwks, prefixes: [/]}\n"
                   "  - {id: radio, iss: radio, keys: radio-private.jwks, prefixes: [/radio/]}\n");
}

void cli_make_node(void)
{
    cr_assert_eq(cli_run("key", "generate", "--issuer", "shop", "--alg", "ES256", NULL), 0, "%s",
                 cli_err);
    cr_assert_eq(cli_run("key", "generate", "--issuer", "radio", "--alg", "HS256", NULL), 0, "%s",
                 cli_err);
    cli_make_configuration();
}

void cli_configure(const char *lines)
{
    char text[4096];
    cli_read_back("tollgate.yaml", text, sizeof(text));
    FILE *file = fopen("tollgate.yaml", "w");
    cr_assert_not_null(file);
    fprintf(file, "%s%s", lines, text);
    cr_assert_eq(fclose(file), 0);
}

char *cli_sign(const char *key, const char *issuer, const char *path)
{
    int code = cli_run("link", "sign", "--key", key, "--issuer", issuer, "--account", "alice",
                       "--path", path, "--expires-in", "1h", NULL);
    cr_assert_eq(code, 0, "%s", cli_err);
    cli_out[strcspn(cli_out, "\n")] = '\0';
    return strdup(cli_out);
}

char *cli_sign_by_hand(const char *key, const struct token_claims *claims, const char *target)
{
    char text[8192], error[256], *jws = NULL, *link = NULL;
    struct key_set *keys;
    cli_read_back(key, text, sizeof(text));
    cr_assert_eq(key_set_parse(&keys, text, strlen(text), error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(token_sign(keys, NULL, claims, &jws), 0);
    cr_assert_geq(asprintf(&link, "%s?URISigningPackage=%s", target, jws), 0);
    key_set_destroy(&keys);
    free(jws);
    return link;
}
