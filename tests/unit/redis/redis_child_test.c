/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded Redis with a real redis-server: how it starts, dies, is left behind by a dead node,
 * and what it must refuse. Each test has a state directory of its own and waits for events, never
 * for a length of time.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/redis/redis_child.h"

#define PATIENCE_MS 20000 /* reached by a failure alone */

static char state_dir[64];
static char address[256];
static char error[512];

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void set_up(void)
{
    (void)snprintf(state_dir, sizeof(state_dir),
                   "/tmp/tollgate test XXXXXX"); /* a space, on purpose */
    cr_assert(mkdtemp(state_dir) != NULL);
}

static void tear_down(void)
{
    (void)nftw(state_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(redis_child, .init = set_up, .fini = tear_down, .timeout = 60);

static struct redis_child *start(void)
{
    struct redis_child *child = NULL;
    int failure =
        redis_child_start(&child, state_dir, address, sizeof(address), error, sizeof(error));
    cr_assert(failure == 0, "%s", error);
    return child;
}

/* True once the process has ended. */
static bool has_ended(pid_t pid, int wait_ms)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0) {
        return errno == ESRCH;
    }
    struct pollfd item = {.fd = fd, .events = POLLIN};
    bool ended = poll(&item, 1, wait_ms) == 1;
    close(fd);
    return ended;
}

/* Sends one command; `out` gets the answer as text, empty where Redis cannot be asked. */
static void ask(char *out, size_t size, const char *command)
{
    out[0] = '\0';
    redisContext *context = redisConnectUnix(address + strlen("unix:"));
    cr_assert(context != NULL);
    redisReply *reply = context->err == 0 ? redisCommand(context, command) : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        (void)snprintf(out, size, "%s", reply->element[1]->str);
    } else if (reply != NULL && reply->str != NULL) {
        (void)snprintf(out, size, "%s", reply->str);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    redisFree(context);
}

static pid_t await_other_pid(struct redis_child *child, pid_t before)
{
    for (int tried_ms = 0; tried_ms < PATIENCE_MS; tried_ms += 10) {
        pid_t now = redis_child_pid(child);
        if (now != 0 && now != before) {
            return now;
        }
        (void)poll(NULL, 0, 10);
    }
    return 0;
}

static void path_below(char *out, size_t size, const char *name)
{
    (void)snprintf(out, size, "%s/%s", state_dir, name);
}

Test(redis_child, answers_on_a_socket_in_the_state_directory)
{
    struct redis_child *child = start();
    char expected[128];
    (void)snprintf(expected, sizeof(expected), "unix:%s/redis.sock", state_dir);
    cr_assert_str_eq(address, expected);
    char answer[128];
    ask(answer, sizeof(answer), "PING");
    cr_assert_str_eq(answer, "PONG");
    cr_assert(redis_child_pid(child) > 0);
    redis_child_stop(&child);
}

Test(redis_child, keeps_what_it_is_told_and_evicts_nothing)
{
    static const char *const settings[][2] = {
        {"CONFIG GET appendonly", "yes"}, {"CONFIG GET appendfsync", "everysec"},
        {"CONFIG GET save", ""},          {"CONFIG GET maxmemory-policy", "noeviction"},
        {"CONFIG GET port", "0"},         {"CONFIG GET unixsocketperm", "700"},
    };
    struct redis_child *child = start();
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        char answer[128];
        ask(answer, sizeof(answer), settings[i][0]);
        cr_assert_str_eq(answer, settings[i][1], "%s", settings[i][0]);
    }
    redis_child_stop(&child);
}

Test(redis_child, starts_again_with_its_data_when_it_is_killed)
{
    struct redis_child *child = start();
    char answer[128];
    ask(answer, sizeof(answer), "SET paid 42");
    cr_assert_str_eq(answer, "OK");
    pid_t first = redis_child_pid(child);
    cr_assert(kill(first, SIGKILL) == 0);
    pid_t second = await_other_pid(child, first);
    cr_assert(second > 0);
    for (int tried_ms = 0; tried_ms < PATIENCE_MS; tried_ms += 10) {
        ask(answer, sizeof(answer), "GET paid");
        if (strcmp(answer, "42") == 0) {
            break;
        }
        (void)poll(NULL, 0, 10);
    }
    cr_assert_str_eq(answer, "42");
    redis_child_stop(&child);
    cr_assert(has_ended(second, 0));
}

/* Puts a redis-server into PATH that starts the real one with these further arguments. */
static void wrap_program(const char *arguments)
{
    char program[128], path[512];
    path_below(program, sizeof(program), "redis-server");
    FILE *file = fopen(program, "w");
    cr_assert(file != NULL);
    (void)fprintf(file, "#!/bin/sh\nPATH='%s' exec redis-server \"$@\" %s\n", getenv("PATH"),
                  arguments);
    cr_assert_eq(fchmod(fileno(file), 0700), 0);
    (void)fclose(file);
    (void)snprintf(path, sizeof(path), "%s:%s", state_dir, getenv("PATH"));
    cr_assert_eq(setenv("PATH", path, 1), 0);
}

/* Sends a command without waiting for its answer; returns the connection's descriptor. */
static int send_command(const char *command)
{
    redisContext *context = redisConnectUnix(address + strlen("unix:"));
    cr_assert(context != NULL && context->err == 0);
    int fd = redisFreeKeepFd(context);
    cr_assert(dprintf(fd, "%s\r\n", command) > 0);
    return fd;
}

/* Chooses one of several state directories beneath `top`, for the next calls of start and ask. */
static void use_place(const char *top, const char *name)
{
    (void)snprintf(state_dir, sizeof(state_dir), "%.40s/%s", top, name);
    (void)mkdir(state_dir, 0700);
    (void)snprintf(address, sizeof(address), "unix:%s/redis.sock", state_dir);
}

/*
 * Three servers at once, because each case takes ten seconds: one is stopped, one runs a script for
 * longer than that (BUSY), one reads its append-only file for longer (LOADING).
 */
Test(redis_child, is_replaced_where_it_answers_nothing_and_not_where_it_is_busy_or_loading)
{
    char answer[128], top[64];
    (void)snprintf(top, sizeof(top), "%s", state_dir);
    use_place(top, "stopped");
    struct redis_child *stopped = start();
    use_place(top, "busy");
    struct redis_child *busy = start();
    use_place(top, "loading");
    struct redis_child *loading = start();
    /* Its file gets 80,000 commands, each of which will take half a millisecond to read. */
    ask(answer, sizeof(answer), "EVAL for\ti=1,80000\tdo\tredis.call('incr','a')\tend 0");
    redis_child_stop(&loading);

    pid_t stopped_pid = redis_child_pid(stopped), busy_pid = redis_child_pid(busy);
    use_place(top, "busy");
    int script = send_command("EVAL \"while true do end\" 0");
    cr_assert_eq(kill(stopped_pid, SIGSTOP), 0);
    (void)snprintf(state_dir, sizeof(state_dir), "%s", top);
    wrap_program("--key-load-delay 500");
    use_place(top, "loading");
    loading = start(); /* returns after ten seconds of LOADING */
    pid_t loading_pid = redis_child_pid(loading);

    cr_assert_gt(await_other_pid(stopped, stopped_pid), 0, "it is never replaced");
    use_place(top, "stopped");
    for (int tried_ms = 0; tried_ms < PATIENCE_MS && strcmp(answer, "PONG") != 0; tried_ms += 10) {
        (void)poll(NULL, 0, 10);
        ask(answer, sizeof(answer), "PING");
    }
    cr_assert_str_eq(answer, "PONG");
    cr_assert(!has_ended(loading_pid, 2000), "it was killed while it read its file");
    use_place(top, "loading");
    ask(answer, sizeof(answer), "PING");
    cr_assert_eq(strncmp(answer, "LOADING", 7), 0, "%s", answer);
    cr_assert_eq(redis_child_pid(loading), loading_pid);
    cr_assert(!has_ended(busy_pid, 0), "it was killed while its script ran");
    use_place(top, "busy");
    ask(answer, sizeof(answer), "PING");
    cr_assert_eq(strncmp(answer, "BUSY", 4), 0, "%s", answer);

    (void)close(script);
    (void)kill(busy_pid, SIGKILL); /* it ignores SIGTERM while its script runs */
    redis_child_stop(&busy);
    redis_child_stop(&loading);
    redis_child_stop(&stopped);
    (void)snprintf(state_dir, sizeof(state_dir), "%s", top);
}

Test(redis_child, stop_ends_it_and_a_later_start_finds_the_data)
{
    struct redis_child *child = start();
    char answer[128];
    ask(answer, sizeof(answer), "SET paid 42");
    pid_t pid = redis_child_pid(child);
    redis_child_stop(&child);
    cr_assert(child == NULL);
    cr_assert(has_ended(pid, 0));
    char socket_path[128];
    path_below(socket_path, sizeof(socket_path), "redis.sock");
    cr_assert(access(socket_path, F_OK) != 0 && errno == ENOENT);
    child = start();
    ask(answer, sizeof(answer), "GET paid");
    cr_assert_str_eq(answer, "42");
    redis_child_stop(&child);
}

Test(redis_child, dies_with_the_node_however_that_dies)
{
    int report[2];
    cr_assert(pipe(report) == 0);
    pid_t node = fork();
    if (node == 0) {
        struct redis_child *child = NULL;
        pid_t pid = 0;
        if (redis_child_start(&child, state_dir, address, sizeof(address), error, sizeof(error)) ==
            0) {
            pid = redis_child_pid(child);
        }
        ssize_t ignored = write(report[1], &pid, sizeof(pid));
        (void)ignored;
        for (;;) {
            (void)pause();
        }
    }
    pid_t redis = 0;
    cr_assert(read(report[0], &redis, sizeof(redis)) == sizeof(redis));
    cr_assert(redis > 0);
    cr_assert(!has_ended(redis, 0));
    cr_assert(kill(node, SIGKILL) == 0);
    cr_assert(has_ended(redis, PATIENCE_MS));
    (void)waitpid(node, NULL, 0);
}

/* Starts a redis-server on the state directory as a dead node leaves one: it runs, its pid is in
 * the pid file, and no process watches it. */
static pid_t leave_behind(const char *socket_name)
{
    char socket_path[128];
    char directory[128];
    char pid_file[128];
    path_below(socket_path, sizeof(socket_path), socket_name);
    path_below(directory, sizeof(directory), "redis");
    path_below(pid_file, sizeof(pid_file), "redis/redis.pid");
    (void)mkdir(directory, 0700);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path,
                     "--dir", directory, "--save", "", "--set-proc-title", "no", "--logfile",
                     "redis.log", (char *)NULL);
        _exit(127);
    }
    (void)snprintf(address, sizeof(address), "unix:%s", socket_path);
    char answer[16] = "";
    for (int tried_ms = 0; tried_ms < PATIENCE_MS && strcmp(answer, "PONG") != 0; tried_ms += 10) {
        (void)poll(NULL, 0, 10);
        ask(answer, sizeof(answer), "PING");
    }
    cr_assert_str_eq(answer, "PONG");
    FILE *file = fopen(pid_file, "w");
    cr_assert(file != NULL);
    (void)fprintf(file, "%d\n", pid);
    (void)fclose(file);
    return pid;
}

Test(redis_child, ends_the_one_that_a_killed_node_left_behind)
{
    pid_t left = leave_behind("redis.sock");
    struct redis_child *child = start();
    cr_assert(has_ended(left, 0));
    cr_assert(redis_child_pid(child) != left);
    char answer[128];
    ask(answer, sizeof(answer), "CONFIG GET appendonly");
    cr_assert_str_eq(answer, "yes", "the new one answers, not the old");
    redis_child_stop(&child);
    (void)waitpid(left, NULL, 0);
}

Test(redis_child, leaves_another_directorys_redis_alone_whatever_the_pid_file_says)
{
    pid_t stranger = leave_behind("other.sock");
    struct redis_child *child = start();
    cr_assert(!has_ended(stranger, 0));
    redis_child_stop(&child);
    cr_assert(!has_ended(stranger, 0));
    (void)kill(stranger, SIGKILL);
    (void)waitpid(stranger, NULL, 0);
}

Test(redis_child, refuses_a_directory_that_another_node_has)
{
    struct redis_child *child = start();
    pid_t pid = redis_child_pid(child);
    struct redis_child *second = NULL;
    char other[256];
    cr_assert_eq(redis_child_start(&second, state_dir, other, sizeof(other), error, sizeof(error)),
                 -EALREADY);
    cr_assert(strstr(error, "another node") != NULL, "%s", error);
    cr_assert(!has_ended(pid, 0));
    redis_child_stop(&child);
}

Test(redis_child, names_the_cure_for_a_path_that_no_socket_can_have)
{
    char longer[192];
    (void)snprintf(longer, sizeof(longer), "%s/%0100d", state_dir, 0);
    struct redis_child *child = NULL;
    cr_assert_eq(redis_child_start(&child, longer, address, sizeof(address), error, sizeof(error)),
                 -ENAMETOOLONG);
    cr_assert(strstr(error, "shorter state_dir") != NULL, "%s", error);
}

Test(redis_child, names_the_package_where_redis_server_is_not_installed)
{
    cr_assert(setenv("PATH", state_dir, 1) == 0);
    struct redis_child *child = NULL;
    cr_assert_eq(
        redis_child_start(&child, state_dir, address, sizeof(address), error, sizeof(error)),
        -ENOENT);
    cr_assert(strstr(error, "install the package redis-server") != NULL, "%s", error);
}

Test(redis_child, reports_a_first_start_that_fails_instead_of_trying_for_ever)
{
    char directory[128];
    char manifest[160];
    path_below(directory, sizeof(directory), "redis");
    cr_assert(mkdir(directory, 0700) == 0);
    path_below(directory, sizeof(directory), "redis/appendonlydir");
    cr_assert(mkdir(directory, 0700) == 0);
    (void)snprintf(manifest, sizeof(manifest), "%s/appendonly.aof.manifest", directory);
    FILE *file = fopen(manifest, "w");
    cr_assert(file != NULL);
    (void)fputs("not a manifest\n", file);
    (void)fclose(file);
    struct redis_child *child = NULL;
    cr_assert_lt(
        redis_child_start(&child, state_dir, address, sizeof(address), error, sizeof(error)), 0);
    cr_assert(child == NULL);
    cr_assert(strstr(error, "exited with status 1") != NULL, "%s", error);
    cr_assert(strstr(error, "redis.log") != NULL, "%s", error);
}

Test(redis_child, is_not_ended_by_a_terminals_interrupt_and_blocks_no_signal)
{
    sigset_t blocked;
    sigset_t before;
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigaddset(&blocked, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
    struct redis_child *child = start();
    pid_t pid = redis_child_pid(child);
    cr_assert_eq(getpgid(pid), pid, "a group of its own");
    char path[64];
    char line[256];
    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    bool seen = false;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "SigBlk:", 7) == 0) {
            cr_assert_eq(strtoull(line + 7, NULL, 16), 0);
            seen = true;
        }
    }
    (void)fclose(file);
    cr_assert(seen);
    redis_child_stop(&child);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

Test(redis_child, inherits_no_descriptor_of_the_node)
{
    char held[128];
    path_below(held, sizeof(held), "held");
    int fd = open(held, O_RDWR | O_CREAT, 0600); /* without O_CLOEXEC, on purpose */
    cr_assert(fd >= 0);
    struct redis_child *child = start();
    char directory[64];
    (void)snprintf(directory, sizeof(directory), "/proc/%d/fd", redis_child_pid(child));
    DIR *descriptors = opendir(directory);
    cr_assert(descriptors != NULL);
    int count = 0;
    for (struct dirent *entry = readdir(descriptors); entry != NULL; entry = readdir(descriptors)) {
        char target[256] = "";
        if (readlinkat(dirfd(descriptors), entry->d_name, target, sizeof(target) - 1) > 0) {
            cr_assert_str_neq(target, held);
            cr_assert(strstr(target, "redis.pid") == NULL, "the lock is the node's");
            count++;
        }
    }
    (void)closedir(descriptors);
    cr_assert_gt(count, 3);
    (void)close(fd);
    redis_child_stop(&child);
}
