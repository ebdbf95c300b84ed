/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts, asks and ends one redis-server (redis_process.h). Called by redis_child.c. Between fork
 * and exec it calls async-signal-safe functions alone: the node has other threads, whose locks the
 * child may have copied.
 */
#include "server/redis/redis_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/waiting.h"

#define COMMAND_LINE_MAX 8192 /* ours is some 600 bytes and two paths */
#define KILL_WAIT_MS     5000 /* for the kernel to take a killed process down */

/*
 * What redis-server is told. noeviction: an evicted account would be an account that owes nothing.
 * No snapshots: the append-only file alone is what a restart reads. The title stays the command
 * line, by which a later node proves a left-over process to be this directory's.
 */
#define REDIS_ARGUMENTS(X)                                                                         \
    X("--port", "0")                                                                               \
    X("--unixsocket", place->socket)                                                               \
    X("--unixsocketperm", "700")                                                                   \
    X("--dir", place->directory)                                                                   \
    X("--logfile", place->log)                                                                     \
    X("--daemonize", "no")                                                                         \
    X("--supervised", "no")                                                                        \
    X("--set-proc-title", "no")                                                                    \
    X("--appendonly", "yes")                                                                       \
    X("--appendfsync", "everysec")                                                                 \
    X("--save", "")                                                                                \
    X("--maxmemory", "0")                                                                          \
    X("--maxmemory-policy", "noeviction")                                                          \
    X("--protected-mode", "yes")                                                                   \
    X("--enable-debug-command", "no")                                                              \
    X("--enable-module-command", "no")

/* ---- the place ---- */

int redis_program_find(char *out, size_t size)
{
    const char *path = getenv("PATH");
    if (path == NULL || path[0] == '\0') {
        path = "/usr/local/bin:/usr/bin:/bin";
    }
    while (*path != '\0') {
        size_t length = strcspn(path, ":");
        int written = snprintf(out, size, "%.*s/redis-server", (int)length, path);
        /* A relative entry would run what lies in the working directory. */
        if (path[0] == '/' && written > 0 && (size_t)written < size && access(out, X_OK) == 0) {
            return 0;
        }
        path += length + (path[length] == ':');
    }
    return -ENOENT;
}

static int make_directory(const char *path, char *error, size_t error_size)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return 0;
    }
    int failure = -errno;
    (void)snprintf(error, error_size, "create %s: %s; choose a state_dir that this user may write",
                   path, strerrordesc_np(-failure));
    return failure;
}

/* state_dir made absolute into `out`: redis-server changes its directory before it binds the
 * socket. */
static int absolute_path(const char *state_dir, char *out, size_t size)
{
    char here[PATH_MAX] = "";
    if (state_dir[0] != '/' && getcwd(here, sizeof(here)) == NULL) {
        return -errno;
    }
    int written = snprintf(out, size, "%s%s%s", here, here[0] == '\0' ? "" : "/", state_dir);
    return written < 0 || (size_t)written >= size ? -ENAMETOOLONG : 0;
}

static int lock_pid_file(struct redis_place *place, char *error, size_t error_size)
{
    int fd = open(place->pid_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        int failure = -errno;
        (void)snprintf(error, error_size, "open %s: %s; let this user own the state directory",
                       place->pid_file, strerrordesc_np(-failure));
        return failure;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int failure = errno == EWOULDBLOCK ? -EALREADY : -errno;
        (void)snprintf(error, error_size,
                       "lock %s: %s; stop the other node or give this one a state_dir of its own",
                       place->pid_file,
                       failure == -EALREADY ? "another node holds it" : strerrordesc_np(-failure));
        (void)close(fd);
        return failure;
    }
    place->pid_fd = fd;
    return 0;
}

static int name_files(struct redis_place *place, const char *state_dir, char *error, size_t size)
{
    char absolute[PATH_MAX - 64]; /* room for the names below */
    int failure = absolute_path(state_dir, absolute, sizeof(absolute));
    int length = snprintf(place->socket, sizeof(place->socket), "%s/redis.sock",
                          failure == 0 ? absolute : state_dir);
    if (failure != 0 || length < 0 || (size_t)length >= sizeof(place->socket)) {
        (void)snprintf(error, size,
                       "%s/redis.sock has %d bytes and a Unix socket's path may have %d; choose a "
                       "shorter state_dir, or name a running Redis with `redis: HOST:PORT`",
                       state_dir, length, REDIS_SOCKET_PATH_MAX);
        return failure != 0 ? failure : -ENAMETOOLONG;
    }
    (void)snprintf(place->directory, sizeof(place->directory), "%s/redis", absolute);
    (void)snprintf(place->log, sizeof(place->log), "%s/redis/redis.log", absolute);
    (void)snprintf(place->pid_file, sizeof(place->pid_file), "%s/redis/redis.pid", absolute);
    failure = make_directory(absolute, error, size);
    return failure != 0 ? failure : make_directory(place->directory, error, size);
}

int redis_place_open(struct redis_place *out, const char *state_dir, char *error, size_t error_size)
{
    *out = (struct redis_place){.pid_fd = -1};
    if (redis_program_find(out->program, sizeof(out->program)) != 0) {
        (void)snprintf(error, error_size,
                       "redis-server is not in PATH; install the package redis-server, or name a "
                       "running Redis with `redis: HOST:PORT`");
        return -ENOENT;
    }
    int failure = name_files(out, state_dir, error, error_size);
    return failure != 0 ? failure : lock_pid_file(out, error, error_size);
}

void redis_place_close(struct redis_place *place)
{
    if (place->pid_fd >= 0) {
        /* The file stays: were it removed, two nodes could each lock one of that name. */
        (void)close(place->pid_fd);
        place->pid_fd = -1;
    }
}

/*
 * The node writes the pid file, not redis-server, which would remove it while it is still syncing
 * its files: a node started in that moment would put a second one on the same directory.
 */
static int write_pid(const struct redis_place *place, pid_t pid)
{
    char text[24];
    int length = snprintf(text, sizeof(text), "%d\n", pid);
    if (ftruncate(place->pid_fd, 0) != 0) {
        return -errno;
    }
    return pwrite(place->pid_fd, text, (size_t)length, 0) == length ? 0 : -EIO;
}

/* The pid in the pid file; 0 where it has none. */
static pid_t read_pid(const struct redis_place *place)
{
    char text[24] = "";
    ssize_t length = pread(place->pid_fd, text, sizeof(text) - 1, 0);
    if (length <= 0 || text[length - 1] != '\n') {
        return 0;
    }
    char *end;
    long pid = strtol(text, &end, 10);
    return *end == '\n' && pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* ---- starting ---- */

static void reset_signals(void)
{
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL); /* refused for SIGKILL and SIGSTOP, which have no handlers */
    }
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Runs in the child from fork to exec; reports the errno of a failure through `report`. */
_Noreturn static void become_redis(const struct redis_place *place, char *const *arguments,
                                   pid_t parent, int report)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(127); /* the node died before the line above: nobody would tell this process */
    }
    /* A group of its own: a terminal's ^C is for the node, which needs Redis until its ledger is
     * closed. */
    (void)setpgid(0, 0);
    (void)umask(0077);
    reset_signals();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(place->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (null >= 0 && log >= 0 && dup2(null, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2) {
        /* No descriptor of the node may stay open in redis-server: it would keep a lock or a
         * listener alive. */
        (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        (void)execv(place->program, arguments);
    }
    int failure = errno;
    ssize_t ignored = write(report, &failure, sizeof(failure));
    (void)ignored;
    _exit(127);
}

/* Blocks until the child has become redis-server (0) or failed to. */
static int await_exec(int report)
{
    int failure = 0;
    ssize_t length;
    do {
        length = read(report, &failure, sizeof(failure));
    } while (length < 0 && errno == EINTR);
    return length == (ssize_t)sizeof(failure) ? -failure : 0;
}

static pid_t fork_redis(const struct redis_place *place, int report)
{
    const char *const arguments[] = {"redis-server",
#define X(name, value) name, value,
                                     REDIS_ARGUMENTS(X)
#undef X
                                         NULL};
    char *copied[sizeof(arguments) / sizeof(arguments[0])];
    memcpy(copied, arguments,
           sizeof(arguments)); /* execv's argv is not const, for history's sake */

    /* All signals wait until the child has none of the node's handlers left. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become_redis(place, copied, parent, report);
    }
    int failure = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid > 0 ? pid : -failure;
}

int redis_process_start(const struct redis_place *place, struct redis_process *out)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        return -errno;
    }
    struct redis_process process = {.pid = fork_redis(place, report[1]), .fd = -1};
    (void)close(report[1]);
    int failure = process.pid > 0 ? await_exec(report[0]) : (int)process.pid;
    (void)close(report[0]);
    if (process.pid <= 0) {
        return failure;
    }
    /* The child is not reaped yet, so its pid cannot have passed to another process. */
    process.fd = pidfd_open(process.pid, 0);
    if (failure == 0 && process.fd < 0) {
        failure = -errno;
    }
    if (failure == 0) {
        failure = write_pid(place, process.pid);
    }
    if (failure != 0) {
        char how[64];
        (void)kill(process.pid, SIGKILL);
        redis_process_reap(&process, how, sizeof(how));
        return failure;
    }
    *out = process;
    return 0;
}

/* ---- ending ---- */

void redis_process_reap(struct redis_process *process, char *how, size_t how_size)
{
    int status = 0;
    pid_t reaped;
    do {
        reaped = waitpid(process->pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    if (reaped == process->pid && WIFEXITED(status)) {
        (void)snprintf(how, how_size, "exited with status %d", WEXITSTATUS(status));
    } else if (reaped == process->pid && WIFSIGNALED(status)) {
        (void)snprintf(how, how_size, "was ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    } else {
        (void)snprintf(how, how_size, "ended");
    }
    if (process->fd >= 0) {
        (void)close(process->fd);
    }
    *process = (struct redis_process){.fd = -1};
}

static bool wait_for_end(int pidfd, int wait_ms)
{
    struct pollfd item = {.fd = pidfd, .events = POLLIN};
    uint64_t deadline_ms = clock_monotonic_ms() + (uint64_t)wait_ms;
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
        if (waiting_poll(&item, 1, left_ms) == 1) {
            return true;
        }
        if (left_ms == 0) {
            return false;
        }
    }
}

static bool end_by_signals(int pidfd, int deadline_ms)
{
    (void)pidfd_send_signal(pidfd, SIGTERM, NULL, 0);
    if (wait_for_end(pidfd, deadline_ms)) {
        return true;
    }
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    return wait_for_end(pidfd, KILL_WAIT_MS);
}

void redis_process_end(struct redis_process *process, int deadline_ms, char *how, size_t how_size)
{
    if (end_by_signals(process->fd, deadline_ms)) {
        redis_process_reap(process, how, how_size);
        return;
    }
    (void)snprintf(how, how_size, "was killed, and the kernel has not let go of it yet");
    (void)close(process->fd);
    *process = (struct redis_process){.fd = -1};
}

/* True where the command line is redis-server's with our socket: no other program is ever
 * signalled. */
static bool is_ours(const struct redis_place *place, pid_t pid)
{
    char path[48];
    char line[COMMAND_LINE_MAX + 2];
    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t length = read(fd, line, COMMAND_LINE_MAX);
    (void)close(fd);
    if (length <= 0) {
        return false; /* a zombie has none */
    }
    line[length] = '\0';
    line[length + 1] = '\0';
    const char *end = line + length;
    const char *slash = strrchr(line, '/'); /* of the first word: a NUL ends it */
    if (strcmp(slash != NULL ? slash + 1 : line, "redis-server") != 0) {
        return false;
    }
    for (const char *word = line; word < end; word += strlen(word) + 1) {
        if (strcmp(word, "--unixsocket") == 0) {
            return strcmp(word + strlen(word) + 1, place->socket) == 0;
        }
    }
    return false;
}

int redis_process_end_left_over(const struct redis_place *place, int deadline_ms, pid_t *pid,
                                char *error, size_t error_size)
{
    *pid = read_pid(place);
    int fd = *pid > 0 ? pidfd_open(*pid, 0) : -1;
    if (fd < 0) {
        return 0;
    }
    int result = 0;
    /* Looked at after the pidfd is held: from here on the number cannot pass to another process
     * unseen. */
    if (is_ours(place, *pid)) {
        result = end_by_signals(fd, deadline_ms) ? 1 : -EBUSY;
    }
    if (result < 0) {
        (void)snprintf(
            error, error_size,
            "redis-server (pid %d) of an earlier node is still on %s and cannot be ended; "
            "end it and start again",
            *pid, place->directory);
    }
    (void)close(fd);
    return result;
}

/* ---- asking ---- */

static int send_ping(int fd, const char *socket_path)
{
    static const char ping[] = "PING\r\n"; /* Redis takes a line of words as a command */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return -errno;
    }
    ssize_t sent = send(fd, ping, sizeof(ping) - 1, MSG_NOSIGNAL);
    return sent == (ssize_t)sizeof(ping) - 1 ? 0 : sent < 0 ? -errno : -EIO;
}

int redis_process_ping_begin(const struct redis_place *place)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int failure = send_ping(fd, place->socket);
    if (failure != 0) {
        (void)close(fd);
        return failure;
    }
    return fd;
}

int redis_process_ping_take(int fd)
{
    static const struct {
        const char *begin;
        int result;
    } answers[] = {{"+PONG", 0}, {"-LOADING", -EINPROGRESS}, {"-BUSY", -EBUSY}};
    char text[16] = ""; /* Redis writes an answer's line at once */
    ssize_t got = recv(fd, text, sizeof(text) - 1, 0);
    if (got <= 0) {
        return got == 0 ? -ECONNRESET : errno == EINTR ? -EAGAIN : -errno;
    }
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (strncmp(text, answers[i].begin, strlen(answers[i].begin)) == 0) {
            return answers[i].result;
        }
    }
    return -EPROTO;
}
