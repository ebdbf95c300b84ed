/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the harness asks of the system: time, whole files, child processes. A janitor process outlives
 * the test, however the test ends, and removes the site's directory. The other children die with the
 * test by PDEATHSIG. The harness's other files call it; it knows no node.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"

uint64_t harness_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void harness_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

char *harness_read_file(const char *path, size_t *length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) < 0 || status.st_size < 0) {
        close(fd);
        return NULL;
    }
    size_t size = (size_t)status.st_size;
    char *text = malloc(size + 1);
    size_t have = 0;
    while (text != NULL && have < size) {
        ssize_t got = read(fd, text + have, size - have);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    close(fd);
    if (text != NULL)
        text[have] = '\0';
    if (length != NULL)
        *length = have;
    return text;
}

void harness_write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    cr_assert(file, "%s: %s", path, strerrordesc_np(errno));
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
}

pid_t harness_spawn(const char *const *words, int output, int errors)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    cr_assert(pid >= 0, "fork: %s", strerrordesc_np(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126); /* the test died before the line above */
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null_fd, 0);
    dup2(output >= 0 ? output : null_fd, 1);
    dup2(errors >= 0 ? errors : null_fd, 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(words[0], (char *const *)(uintptr_t)words);
    dprintf(2, "%s: %s\n", words[0], strerrordesc_np(errno));
    _exit(127);
}

/* Prints the end of the node's log, because the test has failed. */
static void janitor_print_log(const struct site *site)
{
    size_t length = 0;
    char *log = harness_read_file(site->log, &length);
    if (log == NULL)
        return;
    size_t from = length > 6000 ? length - 6000 : 0;
    dprintf(2, "---- the node's log, %s ----\n%s\n----\n", site->log, log + from);
    free(log);
}

/*
 * The child that cleans up. Its pipe ends when the test ends; a byte before the end says that the
 * test passed. Processes that are still dying write into the directory, so removing it may take
 * more than one try.
 */
static void janitor_run(const struct site *site, int pipe_fd)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    char byte = 0;
    bool well = read(pipe_fd, &byte, 1) == 1;
    if (!well)
        janitor_print_log(site);
    for (int attempt = 0; attempt < 100; attempt++) {
        pid_t remover = fork();
        if (remover == 0) {
            execlp("rm", "rm", "-rf", site->directory, (char *)NULL);
            _exit(127);
        }
        waitpid(remover, NULL, 0);
        if (access(site->directory, F_OK) < 0)
            break;
        harness_pause();
    }
    _exit(0);
}

void site_janitor_start(struct site *site)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    site->janitor = fork();
    cr_assert(site->janitor >= 0);
    if (site->janitor == 0) {
        close(ends[1]);
        setsid();
        janitor_run(site, ends[0]);
    }
    close(ends[0]);
    site->janitor_pipe = ends[1];
}
