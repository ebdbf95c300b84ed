/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public header of the command line, with the one function that main.c and its tests call. It
 * runs no node itself: `tollgate serve` calls node_run (node/run.h).
 */
#ifndef TOLLGATE_SERVER_COMMAND_SERVER_H
#define TOLLGATE_SERVER_COMMAND_SERVER_H

/* The whole program: dispatches the subcommands. Returns the exit code; cli.h has the classes. */
int tollgate_main(int argc, char **argv);

#endif
