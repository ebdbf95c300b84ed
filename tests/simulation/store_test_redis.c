/* SPDX-License-Identifier: Apache-2.0 */
/* The real redis-server of simulation_store_test: a child at a clock of the test's, on a socket in
 * a directory of its own. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/check.h"
#include "tests/simulation/store_test.h"

#define START_MS_MAX 10000

static void run_server(const struct real *real, const char *clock_path)
{
    char socket_path[128], log_path[128];
    snprintf(socket_path, sizeof(socket_path), "%s/socket", real->directory);
    snprintf(log_path, sizeof(log_path), "%s/log", real->directory);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("LD_PRELOAD", WALL_CLOCK, 1);
    setenv("CLOCK_TOLD_FILE", clock_path, 1);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path, "--logfile",
           log_path, "--dir", real->directory, "--save", "", "--appendonly", "no",
           "--enable-debug-command", "yes", (char *)NULL);
    _exit(127);
}

static redisContext *dial(const struct real *real)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/socket", real->directory);
    for (int waited_ms = 0; waited_ms < START_MS_MAX; waited_ms += 10) {
        redisContext *context = redisConnectUnix(path);
        if (context != NULL && context->err == 0)
            return context;
        redisFree(context);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fprintf(stderr, "redis-server does not accept connections at %s\n", path);
    exit(1);
}

void real_start(struct real *real)
{
    char clock_path[128];
    snprintf(real->directory, sizeof(real->directory), "/tmp/tollgate-store-XXXXXX");
    check(mkdtemp(real->directory) != NULL);
    snprintf(clock_path, sizeof(clock_path), "%s/clock", real->directory);
    int fd = open(clock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(fd >= 0 && ftruncate(fd, sizeof(uint64_t)) == 0);
    void *page = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(page != MAP_FAILED);
    close(fd);
    real->clock_us = page;
    *real->clock_us = 1764000000000000;
    real->pid = fork();
    check(real->pid >= 0);
    if (real->pid == 0)
        run_server(real, clock_path);
    real->context = dial(real);
    real->listener = dial(real);
    /* Keys then go when they are looked at, and not before: a clock that goes back revives them. */
    const char *const keeps[] = {"DEBUG", "SET-ACTIVE-EXPIRE", "0"};
    const char *const hears[] = {"PSUBSCRIBE", "*"};
    redisReply *reply = real_words(real, 3, keeps);
    check(reply->type == REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    check(redisAppendCommandArgv(real->listener, 2, (const char **)(uintptr_t)hears, NULL) ==
              REDIS_OK &&
          redisGetReply(real->listener, (void **)&reply) == REDIS_OK);
    freeReplyObject(reply);
}

void real_stop(struct real *real)
{
    static const char *const files[] = {"socket", "log", "clock"};
    char path[128];
    int status;
    redisFree(real->context);
    redisFree(real->listener);
    kill(real->pid, SIGKILL);
    waitpid(real->pid, &status, 0);
    munmap((void *)(uintptr_t)real->clock_us, sizeof(uint64_t));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", real->directory, files[i]);
        unlink(path);
    }
    rmdir(real->directory);
}

void real_send(struct real *real, const struct call *call)
{
    /* hiredis takes pointers to non-const and writes through none of them. */
    check(redisAppendCommandArgv(real->context, call->count, (const char **)(uintptr_t)call->words,
                                 call->lengths) == REDIS_OK);
}

redisReply *real_next(struct real *real)
{
    void *reply = NULL;
    if (redisGetReply(real->context, &reply) == REDIS_OK)
        return reply;
    fprintf(stderr, "redis-server is gone: %s\n", real->context->errstr);
    exit(1);
}

redisReply *real_words(struct real *real, int count, const char *const words[])
{
    check(redisAppendCommandArgv(real->context, count, (const char **)(uintptr_t)words, NULL) ==
          REDIS_OK);
    return real_next(real);
}
