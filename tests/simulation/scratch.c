/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the directory in which a run's nodes have their state, and removes it at the end, whatever
 * the end is. What a signal's handler calls is safe there. See scratch.h.
 */
#include "tests/simulation/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "server/base/check.h"

#define CHILDREN_MAX 64

static char made[64], own[80];
static pid_t maker, children[CHILDREN_MAX];

static void remove_tree(int parent, const char *name);

static void name_of(unsigned number, char out[3])
{
    out[0] = (char)('0' + number / 10);
    out[1] = (char)('0' + number % 10);
    out[2] = '\0';
}

/* A directory's entry, as getdents64 gives it. */
struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static void remove_entries(int directory)
{
    _Alignas(struct entry) char bytes[1024];
    long got;
    while ((got = syscall(SYS_getdents64, directory, bytes, sizeof(bytes))) > 0)
        for (long at = 0; at < got;) {
            const struct entry *entry = (const void *)(bytes + at);
            at += entry->length;
            if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0)
                remove_tree(directory, entry->name);
        }
}

static void remove_tree(int parent, const char *name)
{
    int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0) {
        (void)unlinkat(parent, name, 0);
        return;
    }
    remove_entries(directory);
    close(directory);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

void scratch_remove(const char *path)
{
    remove_tree(AT_FDCWD, path);
}

static void remove_all(void)
{
    if (maker == getpid())
        remove_tree(AT_FDCWD, made);
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
