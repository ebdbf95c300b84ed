/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the command line share. Each test of the suite server_cli stands in a directory
 * of its own, runs the program's own entry in a child process and reads what it printed. Neither a
 * node nor a Redis runs here. Used by tests/unit/command/ only.
 */
#ifndef TOLLGATE_TESTS_COMMAND_FIXTURE_H
#define TOLLGATE_TESTS_COMMAND_FIXTURE_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

struct token_claims;

extern char cli_directory[64];              /* where the test stands */
extern char cli_out[65536], cli_err[65536]; /* what the last run printed */
extern const char *cli_input; /* standard input of the next run; NULL: the test's own */
extern bool cli_as_nobody;    /* run as nobody from now on, because root may read everything */

/* Runs `tollgate ARGUMENTS...`, which end in NULL. Returns the exit code; cli_out and cli_err get
 * what it printed. */
int cli_run(const char *first, ...);
/* The same for a line of words with spaces between them. */
int cli_run_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

void cli_read_back(const char *name, char *text, size_t size);
void cli_write_text(const char *path, const char *text);

/* Makes tollgate.yaml for the issuers of cli_make_node. */
void cli_make_configuration(void);
/* Makes a configuration with an ES256 issuer "shop", and an HS256 issuer "radio" that may sign for
 * /radio/ only. */
void cli_make_node(void);
/* Puts lines before those of the configuration of cli_make_node. */
void cli_configure(const char *lines);

/* The URL that `link sign` prints, without its newline. The caller frees it. */
char *cli_sign(const char *key, const char *issuer, const char *path);
/* A link with claims that `link sign` would not make. The caller frees it. */
char *cli_sign_by_hand(const char *key, const struct token_claims *claims, const char *target);

#define EXPECT_IN(text, part)     cr_expect_not_null(strstr(text, part), "no \"%s\" in: %s", part, text)
#define EXPECT_NOT_IN(text, part) cr_expect_null(strstr(text, part), "\"%s\" in: %s", part, text)

#endif
