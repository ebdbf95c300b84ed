/*
 * server: the folder's public header, with the one function that main.c and the tests of the
 * command line call. A node itself is run by node_run (node.h).
 */
#ifndef TOLLGATE_SERVER_COMMAND_SERVER_H
#define TOLLGATE_SERVER_COMMAND_SERVER_H

/* The whole program: dispatches the subcommands. Returns the exit code; cli.h has the classes. */
int tollgate_main(int argc, char **argv);

#endif
