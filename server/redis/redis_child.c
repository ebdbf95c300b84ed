/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded Redis' supervisor: one thread that starts redis-server, watches it and starts it
 * again when it dies or answers nothing any more. `tollgate serve` calls it where the configuration
 * says `redis: embedded`. It never says more to Redis than PING, and never touches what Redis keeps
 * on disk.
 *
 *   starting --first PING--> kept --dies, or is silent--> waiting (backoff) --> kept ...
 *      '--dies--> failed                                               any --stop--> ended
 */
#include "server/redis/redis_child.h"

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
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/waiting.h"
#include "server/redis/redis_process.h"

#define ANSWER_DEADLINE_MS    10000 /* for the first PING */
#define ANSWER_RETRY_MS       10    /* between two tries until the first answer */
#define BACKOFF_MS_MIN        100
#define BACKOFF_MS_MAX        5000
#define STEADY_MS             10000 /* alive for so long: the next death restarts the backoff */
#define STOP_DEADLINE_MS      10000 /* an append-only file is synced in far less */
#define LEFT_OVER_DEADLINE_MS 10000
#define WATCH_MS              1000  /* between two PINGs after the first answer */
#define SILENT_MS             10000 /* without an answer, and the process is killed */

struct redis_child {
    struct redis_place place;
    pthread_t thread;
    int stop_fd; /* owns: an eventfd, written once */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    /* Under the mutex: */
    pid_t pid;     /* 0: none runs */
    bool answered; /* it is alive: PONG, or another answer */
    bool ponged;   /* it has answered PONG */
    bool kept;     /* the caller knows of it: from here on it is started again when it dies */
    int failure;   /* why the first start failed: a negative errno */
    char how[128]; /* `failure` in words */
};

/* ---- the supervising thread ---- */

static void set_pid(struct redis_child *child, pid_t pid)
{
    (void)pthread_mutex_lock(&child->mutex);
    child->pid = pid;
    (void)pthread_cond_broadcast(&child->changed);
    (void)pthread_mutex_unlock(&child->mutex);
}

/* Whether to start redis-server again after the end that `how` describes. A first start that failed
 * is not repeated: the caller of redis_child_start reports it. */
static bool goes_on(struct redis_child *child, int failure, const char *how)
{
    (void)pthread_mutex_lock(&child->mutex);
    bool kept = child->kept;
    child->pid = 0;
    if (!kept) {
        child->failure = failure;
        (void)snprintf(child->how, sizeof(child->how), "%s", how);
    }
    (void)pthread_cond_broadcast(&child->changed);
    (void)pthread_mutex_unlock(&child->mutex);
    return kept;
}

enum event { LATE, STOP_ASKED, ENDED, ANSWERED };

/* Waits for the first of these: the stop, the end of the process, input on `fd` (a descriptor of -1
 * is not waited for), or the end of `wait_ms`. */
static enum event await_event(const struct redis_child *child, int process_fd, int fd, int wait_ms)
{
    struct pollfd items[] = {{.fd = child->stop_fd, .events = POLLIN},
                             {.fd = process_fd, .events = POLLIN},
                             {.fd = fd, .events = POLLIN}};
    uint64_t deadline_ms = clock_monotonic_ms() + (uint64_t)wait_ms;
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
        if (waiting_poll(items, sizeof(items) / sizeof(items[0]), left_ms) > 0) {
            return items[0].revents != 0 ? STOP_ASKED : items[1].revents != 0 ? ENDED : ANSWERED;
        }
        if (left_ms == 0) {
            return LATE;
        }
    }
}

/* Any answer shows that redis-server is alive, also LOADING (it reads a long append-only file) and
 * BUSY. */
static bool is_alive(int answer)
{
    return answer == 0 || answer == -EINPROGRESS || answer == -EBUSY || answer == -EPROTO;
}

/* Takes the answer to the PING on `*fd`, and closes the connection once it has one or is lost.
 * Returns whether there was an answer. */
static bool take_answer(struct redis_child *child, int *fd)
{
    int answer = redis_process_ping_take(*fd);
    if (answer != -EAGAIN) {
        (void)close(*fd);
        *fd = -1;
    }
    if (!is_alive(answer)) {
        return false;
    }
    (void)pthread_mutex_lock(&child->mutex);
    child->answered = true;
    child->ponged = child->ponged || answer == 0;
    (void)pthread_cond_broadcast(&child->changed);
    (void)pthread_mutex_unlock(&child->mutex);
    return true;
}

static bool is_kept(struct redis_child *child)
{
    (void)pthread_mutex_lock(&child->mutex);
    bool kept = child->kept;
    (void)pthread_mutex_unlock(&child->mutex);
    return kept;
}

/*
 * Sends one PING after the other, each once the last is answered, until the stop is asked for, the
 * process ends, or it has been silent for SILENT_MS (LATE). A turn counts as WATCH_MS of silence at
 * most, however long it took, because the whole machine may have been suspended.
 */
static enum event watch(struct redis_child *child, int process_fd)
{
    enum event event = LATE;
    uint64_t silent_ms = 0;
    int fd = -1;
    while (event == LATE && silent_ms < SILENT_MS) {
        int turn_ms = is_kept(child) ? WATCH_MS : ANSWER_RETRY_MS;
        uint64_t began_ms = clock_monotonic_ms();
        if (fd < 0) {
            fd = redis_process_ping_begin(&child->place); /* below 0: no connection to wait for */
        }
        event = await_event(child, process_fd, fd, turn_ms);
        bool answered = event == ANSWERED && take_answer(child, &fd);
        if (event == ANSWERED) {
            uint64_t passed_ms = clock_monotonic_ms() - began_ms;
            event = await_event(child, process_fd, -1,
                                passed_ms < (uint64_t)turn_ms ? turn_ms - (int)passed_ms : 0);
        }
        uint64_t took_ms = clock_monotonic_ms() - began_ms;
        silent_ms = answered ? 0 : silent_ms + (took_ms < WATCH_MS ? took_ms : WATCH_MS);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return event;
}

/* Starts the process and watches it until it ends. False where the stop was asked for; else `how`
 * and `*failure` say how it ended. */
static bool live_once(struct redis_child *child, char *how, size_t how_size, int *failure)
{
    struct redis_process process;
    *failure = redis_process_start(&child->place, &process);
    if (*failure != 0) {
        (void)snprintf(how, how_size, "could not be started: %s", strerrordesc_np(-*failure));
        return true;
    }
    log_info("redis-server started, pid %d, socket %s", process.pid, child->place.socket);
    set_pid(child, process.pid);
    pid_t pid = process.pid;
    enum event event = watch(child, process.fd);
    if (event == LATE) {
        log_error("redis-server (pid %d) has answered nothing for %d s and is killed", pid,
                  SILENT_MS / 1000);
        /* Not SIGTERM, which a process that is stopped or stuck never takes. */
        (void)pidfd_send_signal(process.fd, SIGKILL, NULL, 0);
        while ((event = await_event(child, process.fd, -1, WATCH_MS)) == LATE) {
            /* the kernel keeps it for as long as its disk stands still */
        }
    }
    if (event == STOP_ASKED) {
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
        uint64_t started_ms = clock_monotonic_ms();
        if (!live_once(child, how, sizeof(how), &failure) || !goes_on(child, failure, how)) {
            break;
        }
        if (clock_monotonic_ms() - started_ms >= STEADY_MS) {
            backoff_ms = BACKOFF_MS_MIN;
        }
        log_error("redis-server %s; it is started again in %d ms; its log is %s", how, backoff_ms,
                  child->place.log);
        if (await_event(child, -1, -1, backoff_ms) == STOP_ASKED) {
            break;
        }
        backoff_ms = backoff_ms * 2 < BACKOFF_MS_MAX ? backoff_ms * 2 : BACKOFF_MS_MAX;
    }
    set_pid(child, 0);
    return NULL;
}

/* ---- the caller's side ---- */

/* Waits for the first PONG, for ANSWER_DEADLINE_MS at most. */
static int await_answer(struct redis_child *child, char *error, size_t error_size)
{
    const struct timespec until = clock_monotonic_after(ANSWER_DEADLINE_MS * UINT64_C(1000000));
    int late = 0;
    (void)pthread_mutex_lock(&child->mutex);
    while (child->failure == 0 && !child->ponged && late == 0) {
        late = pthread_cond_timedwait(&child->changed, &child->mutex, &until);
    }
    /* Reading a long append-only file takes its time; the ledger says when the node may serve.
     * Decided under the mutex: a process that dies right after its answer is either failed or kept.
     */
    child->kept = child->failure == 0 && child->answered;
    int failure = child->failure != 0 ? child->failure : child->kept ? 0 : -ETIMEDOUT;
    (void)pthread_mutex_unlock(&child->mutex);
    if (failure == -ETIMEDOUT) {
        (void)snprintf(error, error_size,
                       "redis-server does not answer on %s within %d s; its log is %s",
                       child->place.socket, ANSWER_DEADLINE_MS / 1000, child->place.log);
    } else if (failure != 0) {
        (void)snprintf(error, error_size, "redis-server %s; its log is %s", child->how,
                       child->place.log);
    }
    return failure;
}

static int start_thread(struct redis_child *child)
{
    (void)pthread_mutex_init(&child->mutex, NULL);
    clock_cond_init(&child->changed);
    child->stop_fd = eventfd(0, EFD_CLOEXEC);
    int failure = child->stop_fd < 0 ? errno : 0;
    if (failure == 0) {
        /* The thread blocks all signals: the main thread takes those to the node. */
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
    struct redis_child *child = calloc(1, sizeof(*child));
    if (child == NULL) {
        (void)snprintf(error, error_size, "start redis-server: no memory");
        return -ENOMEM;
    }
    int failure = redis_place_open(&child->place, state_dir, error, error_size);
    if (failure == 0) {
        failure = end_left_over(&child->place, error, error_size);
    }
    if (failure == 0) {
        /* Removes a left-over socket, so that only the process started below can answer. */
        (void)unlink(child->place.socket);
        failure = start_thread(child);
        if (failure != 0) {
            (void)snprintf(error, error_size, "start redis-server: %s", strerrordesc_np(-failure));
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
        (void)snprintf(error, error_size,
                       "%s is too long for the address of a socket; choose a shorter state_dir",
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
