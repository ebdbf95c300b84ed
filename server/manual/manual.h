/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual and the shell completion, written from the tables that the program itself runs by: the
 * commands and their options, the configuration keys, the exit codes, the refusals, the metrics.
 * Linked into tollgate-manual alone, a program of the build; nothing of it is in tollgate.
 */
#ifndef TOLLGATE_SERVER_MANUAL_MANUAL_H
#define TOLLGATE_SERVER_MANUAL_MANUAL_H

#include <argp.h>
#include <stddef.h>
#include <stdio.h>

struct manual_command {
    const char *words, *summary, *usage;
    const struct argp *argp; /* borrows the command's own */
};

/* Every row of CLI_COMMANDS with the argp that it parses its command line by. */
const struct manual_command *manual_commands(size_t *count);

/* Print tollgate(1), tollgate.yaml(5), and a completion for bash. */
void manual_print_program(FILE *out);
void manual_print_configuration(FILE *out);
void manual_print_completion(FILE *out);

#endif
