/*
 * The embedded Redis' supervisor: one thread that starts redis-server, watches it and starts it
 * again when it dies. `tollgate serve` calls it where the configuration says `redis: embedded`. It
 * never speaks to Redis beyond the first PING, and never touches what Redis keeps on disk.
 *
 *   starting --first PING--> kept --dies--> waiting (backoff) --> kept ...
 *      '--dies--> failed                                      any --stop--> ended
 */
#include "server/redis_child.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"
#include "server/redis_process.h"

#define ANSWER_DEADLINE_MS    10000 /* for the first PING */
#define ANSWER_RETRY_MS       10
#define PING_TIMEOUT_MS       1000
#define BACKOFF_MS_MIN        100
#define BACKOFF_MS_MAX        5000
#define STEADY_MS             10000 /* alive for so long: the next death starts the backoff anew */
#define STOP_DEADLINE_MS      10000 /* an append-only file is synced in far less */
#define LEFT_OVER_DEADLINE_MS 10000

struct redis_child {
    struct redis_place place;
    pthread_t thread;
    int stop_fd; /* owns: an eventfd, written once */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    /* Under the mutex: */
    pid_t pid;     /* 0: none runs */
    bool kept;     /* it answered once: from here on it is started again when it dies */
    int failure;   /* why the first start failed: a negative errno */
    char how[128]; /* and in words */
};

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the supervising thread ------------------------------------------------------------------ */

static void set_pid(struct redis_child *child, pid_t pid)
{
    (void)pthread_mutex_lock(&child->mutex);
    child->pid = pid;
    (void)pthread_cond_broadcast(&child->changed);
    (void)pthread_mutex_unlock(&child->mutex);
}

/* Whether to go on after the end that `how` describes. A first start that failed is the caller's to
 * report. */
static bool goes_on(struct redis_child *child, int failure, const char *how)
{
    (void)pthread_mutex_lock(&child->mutex);
    bool kept = child->kept;
    child->pid = 0;
    if (!kept) {
        child->failure = failure;
        (void)snprintf(child->how, sizeof child->how, "%s", how);
    }
    (void)pthread_cond_broadcast(&child->changed);
    (void)pthread_mutex_unlock(&child->mutex);
    return kept;
}

/* Waits until `fd` (or nothing, where it is -1) is readable, the time is over or stop is asked:
 * true then. */
static bool wait_or_stop(const struct redis_child *child, int fd, int timeout_ms)
{
    struct pollfd items[2] = {{.fd = child->stop_fd, .events = POLLIN},
                              {.fd = fd, .events = POLLIN}};
    int ready;
    do {
        ready = poll(items, 2, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return items[0].revents != 0;
}

/* One life of the process. False where stop was asked for; `*how` and `*failure` say how else it
 * ended. */
static bool live_once(struct redis_child *child, char *how, size_t how_size, int *failure)
{
    struct redis_process process;
    *failure = redis_process_start(&child->place, &process);
    if (*failure != 0) {
        (void)snprintf(how, how_size, "could not be started: %s", strerror(-*failure));
        return true;
    }
    log_info("redis-server started, pid %d, socket %s", process.pid, child->place.socket);
    set_pid(child, process.pid);
    pid_t pid = process.pid;
    if (wait_or_stop(child, process.fd, -1)) {
        redis_process_end(&process, STOP_DEADLINE_MS, how, how_size);
        log_info("redis-server (pid %d) %s", pid, how);
        return false;
    }
    redis_process_reap(&process, how, how_size);
    *failure = -ECHILD;
    return true;
}

static void *supervise(void *argument)
{
    struct redis_child *child = argument;
    int backoff_ms = BACKOFF_MS_MIN;
    for (;;) {
        char how[128] = "";
        int failure = 0;
        uint64_t started_ms = monotonic_ms();
        if (!live_once(child, how, sizeof how, &failure) || !goes_on(child, failure, how)) {
            break;
        }
        if (monotonic_ms() - started_ms >= STEADY_MS) {
            backoff_ms = BACKOFF_MS_MIN;
        }
        log_error("redis-server %s; it is started again in %d ms, its own words are in %s", how,
                  backoff_ms, child->place.log);
        if (wait_or_stop(child, -1, backoff_ms)) {
            break;
        }
        backoff_ms = backoff_ms * 2 < BACKOFF_MS_MAX ? backoff_ms * 2 : BACKOFF_MS_MAX;
    }
    set_pid(child, 0);
    return NULL;
}

/* ---- the caller's side -------------------------------------------------------------------------
 */

/* Waits for a change, at most ANSWER_RETRY_MS. Returns the failure of the first start, 0 while
 * there is none. */
static int await_change(struct redis_child *child, bool answered)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ANSWER_RETRY_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_mutex_lock(&child->mutex);
    if (child->failure == 0 && !answered) {
        (void)pthread_cond_timedwait(&child->changed, &child->mutex, &until);
    }
    /* Decided under the mutex: a process that dies right after its answer is either failed or kept.
     */
    child->kept = child->failure == 0 && answered;
    int failure = child->failure;
    (void)pthread_mutex_unlock(&child->mutex);
    return failure;
}

static int await_answer(struct redis_child *child, char *error, size_t error_size)
{
    uint64_t deadline_ms = monotonic_ms() + ANSWER_DEADLINE_MS;
    for (;;) {
        int answer = redis_process_ping(&child->place, PING_TIMEOUT_MS);
        bool late = monotonic_ms() >= deadline_ms;
        /* Reading a long append-only file takes its time; the ledger says when the node may serve.
         */
        bool answered = answer == 0 || (late && answer == -EINPROGRESS);
        int failure = await_change(child, answered);
        if (failure != 0) {
            (void)snprintf(error, error_size, "redis-server %s; its own words are in %s",
                           child->how, child->place.log);
            return failure;
        }
        if (answered) {
            return 0;
        }
        if (late) {
            (void)snprintf(
                error, error_size,
                "redis-server does not answer on %s within %d s; its own words are in %s",
                child->place.socket, ANSWER_DEADLINE_MS / 1000, child->place.log);
            return -ETIMEDOUT;
        }
    }
}

static int start_thread(struct redis_child *child)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&child->mutex, NULL);
    (void)pthread_cond_init(&child->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    child->stop_fd = eventfd(0, EFD_CLOEXEC);
    int failure = child->stop_fd < 0 ? errno : 0;
    if (failure == 0) {
        /* A signal to the node is the main thread's to take. */
        sigset_t all;
        sigset_t before;
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        failure = pthread_create(&child->thread, NULL, supervise, child);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (failure != 0) {
        if (child->stop_fd >= 0) {
            (void)close(child->stop_fd);
        }
        (void)pthread_cond_destroy(&child->changed);
        (void)pthread_mutex_destroy(&child->mutex);
    }
    return -failure;
}

static int end_left_over(const struct redis_place *place, char *error, size_t error_size)
{
    pid_t pid = 0;
    int ended = redis_process_end_left_over(place, LEFT_OVER_DEADLINE_MS, &pid, error, error_size);
    if (ended > 0) {
        log_warning("ended redis-server (pid %d), which a killed node had left on %s", pid,
                    place->directory);
    }
    return ended < 0 ? ended : 0;
}

int redis_child_start(struct redis_child **out, const char *state_dir, char *address,
                      size_t address_size, char *error, size_t error_size)
{
    *out = NULL;
    struct redis_child *child = calloc(1, sizeof *child);
    if (child == NULL) {
        (void)snprintf(error, error_size, "start redis-server: no memory");
        return -ENOMEM;
    }
    int failure = redis_place_open(&child->place, state_dir, error, error_size);
    if (failure == 0) {
        failure = end_left_over(&child->place, error, error_size);
    }
    if (failure == 0) {
        /* What answers from now on is the process started below: a left-over socket answers nobody.
         */
        (void)unlink(child->place.socket);
        failure = start_thread(child);
        if (failure != 0) {
            (void)snprintf(error, error_size, "start redis-server: %s", strerror(-failure));
        }
    }
    if (failure != 0) {
        redis_place_close(&child->place);
        free(child);
        return failure;
    }
    failure = await_answer(child, error, error_size);
    int written = snprintf(address, address_size, "unix:%s", child->place.socket);
    if (failure == 0 && (written < 0 || (size_t)written >= address_size)) {
        failure = -ENAMETOOLONG;
        (void)snprintf(error, error_size, "%s is too long an address; choose a shorter state_dir",
                       child->place.socket);
    }
    if (failure != 0) {
        redis_child_stop(&child);
        return failure;
    }
    *out = child;
    return 0;
}

pid_t redis_child_pid(struct redis_child *child)
{
    (void)pthread_mutex_lock(&child->mutex);
    pid_t pid = child->pid;
    (void)pthread_mutex_unlock(&child->mutex);
    return pid;
}

void redis_child_stop(struct redis_child **child)
{
    struct redis_child *gone = *child;
    if (gone == NULL) {
        return;
    }
    *child = NULL;
    if (eventfd_write(gone->stop_fd, 1) != 0) {
        abort(); /* an eventfd that was never written to cannot be full */
    }
    (void)pthread_join(gone->thread, NULL);
    (void)unlink(gone->place.socket); /* a killed one leaves it */
    redis_place_close(&gone->place);
    (void)close(gone->stop_fd);
    (void)pthread_cond_destroy(&gone->changed);
    (void)pthread_mutex_destroy(&gone->mutex);
    free(gone);
}
