/*
 * server: the folder's public header. What main.c and the tests need: the command line, and a node
 * that can be started, asked and stopped. Everything else in the folder is private to it.
 */
#ifndef TOLLGATE_SERVER_SERVER_H
#define TOLLGATE_SERVER_SERVER_H

/* The whole program: dispatches the subcommands. Returns the exit code (see cli.h for the classes).
 */
int tollgate_main(int argc, char **argv);

#endif
