/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the directory in which a run's nodes have their state, and removes it at the end, whatever
 * the end is. What a signal's handler calls is safe there. See scratch.h.
 */
#include "tests/simulation/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"

#define CHILDREN_MAX 64

static char made[64], own[80];
static pid_t maker, children[CHILDREN_MAX];

static void name_of(unsigned number, char out[3])
{
    out[0] = (char)('0' + number / 10);
    out[1] = (char)('0' + number % 10);
    out[2] = '\0';
}

/* Removes the nodes' directories in `parent`. */
static void remove_nodes(int parent)
{
    static const char *const files[] = {"lane-a/lock", "lane-a/instance", "directory"};
    for (unsigned i = 0; i < SIM_NODES + SIM_COPIES; i++) {
        const char name[2] = {(char)('0' + i), '\0'};
        int node = openat(parent, name, O_RDONLY | O_DIRECTORY);
        if (node < 0)
            continue;
        for (unsigned j = 0; j < sizeof(files) / sizeof(files[0]); j++)
            (void)unlinkat(node, files[j], 0);
        (void)unlinkat(node, "lane-a/journal", AT_REMOVEDIR);
        (void)unlinkat(node, "lane-a", AT_REMOVEDIR);
        close(node);
        (void)unlinkat(parent, name, AT_REMOVEDIR);
    }
}

static void remove_all(void)
{
    if (maker != getpid())
        return;
    int directory = open(made, O_RDONLY | O_DIRECTORY);
    for (unsigned i = 0; directory >= 0 && i < CHILDREN_MAX; i++) {
        char name[3];
        name_of(i, name);
        int child = openat(directory, name, O_RDONLY | O_DIRECTORY);
        if (child < 0)
            continue;
        remove_nodes(child);
        close(child);
        (void)unlinkat(directory, name, AT_REMOVEDIR);
    }
    if (directory >= 0) {
        remove_nodes(directory);
        close(directory);
    }
    (void)rmdir(made);
}

/* What a child makes later would stay: the children end first. One that was waited for before is
 * no child any more, and its number may be another's. */
static void end_children(void)
{
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        if (children[i] > 0 && waitpid(children[i], NULL, WNOHANG) == 0 &&
            kill(children[i], SIGKILL) == 0)
            (void)waitpid(children[i], NULL, 0);
}

static void on_signal(int number)
{
    if (maker == getpid()) {
        end_children();
        remove_all();
    }
    raise(number); /* the handler is gone, by SA_RESETHAND: the process ends as by default */
}

static void make(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGABRT};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    snprintf(made, sizeof(made), "%s/simulation-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(made) == NULL) {
        fprintf(stderr, "simulation: make a directory %s: %s\n", made, strerrordesc_np(errno));
        exit(EX_CANTCREAT);
    }
    maker = getpid();
    snprintf(own, sizeof(own), "%s", made);
    check(atexit(remove_all) == 0);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        check(sigaction(signals[i], &action, NULL) == 0);
}

const char *scratch_directory(void)
{
    if (maker == 0)
        make();
    return own;
}

pid_t scratch_fork(unsigned number)
{
    pid_t parent = getpid();
    char name[3];
    check(number < CHILDREN_MAX && strcmp(scratch_directory(), made) == 0);
    fflush(NULL);
    pid_t child = fork();
    check(child >= 0);
    if (child > 0) {
        children[number] = child;
        return child;
    }
    check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    name_of(number, name);
    snprintf(own, sizeof(own), "%s/%s", made, name);
    check(mkdir(own, 0700) == 0 || errno == EEXIST);
    return 0;
}
