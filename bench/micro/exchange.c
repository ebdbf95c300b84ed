/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole exchanges over loopback, and an admission from a grant, in a real node with one worker.
 * main.c calls it for run.sh.
 *
 * The client runs in the worker's own thread: where the worker would wait on its ring, the function
 * of this file runs instead of liburing's. It polls, and while nothing has come it lets the client
 * read and ask again. So each exchange takes the same way, and only the worker's turns are counted.
 * Four functions here replace those of the libraries, each for the reason given with it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/micro/client.h"
#include "bench/micro/micro.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/config/config.h"
#include "server/delivery/node.h"
#include "server/delivery/readiness.h"
#include "server/delivery/worker.h"
#include "server/grant/coverage.h"
#include "server/grant/demand.h"
#include "server/node/run.h"

#define ADMITTED 10000
#define TURN_NS  20000

/* The kinds of request, asked one after the other. Those of one listener share a connection. */
struct kind {
    const char *name, *fields;
    enum listener listener;
    unsigned warm_up, measured, blocks; /* `measured` of each block; run.sh takes the least */
    const char *target;
    unsigned done, skipped;
};

#define OF_64_KIB "Range: bytes=0-65535\r\n"

enum { KIND_4_KIB, KIND_64_KIB, KIND_4_KIB_TLS, KIND_64_KIB_TLS, KINDS };

static struct kind kinds[KINDS] = {
    [KIND_4_KIB] = {"exchange-4KiB", "", LISTENER_PLAIN, 200, 1000, 10},
    [KIND_64_KIB] = {"exchange-64KiB", OF_64_KIB, LISTENER_PLAIN, 200, 1000, 10},
    [KIND_4_KIB_TLS] = {"exchange-4KiB-TLS", "", LISTENER_TLS, 200, 100, 10},
    [KIND_64_KIB_TLS] = {"exchange-64KiB-TLS", OF_64_KIB, LISTENER_TLS, 50, 1, 100},
};
static unsigned at; /* index of the current kind */
static bool counting;
static bool counts_turn; /* whether the turn under way is counted */

/* valgrind does not know openat2, which node and doctor call in this way. Opening without its
 * bounds does no harm, since this process opens only run.sh's own files. */
long syscall(long number, ...)
{
    static long (*next)(long, long, long, long, long, long, long);
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_openat2) {
        const struct open_how *how = (const struct open_how *)a[2];
        return openat((int)a[0], (const char *)a[1], (int)how->flags, (mode_t)how->mode);
    }
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Ignored, so that each thread keeps an arena of its own and addresses are the same in each run:
 * the cost of comparing two texts depends on how they lie to a page's end. */
int mallopt(int parameter, int value)
{
    (void)parameter, (void)value;
    return 1;
}

/* The worker's clock: it advances by TURN_NS each turn, however long the turn takes. Otherwise
 * timers would run more often on a busy machine. */
static __thread struct timespec
    turn_time[2]; /* by clock id, realtime and monotonic; 0: the real clock */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if ((clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) && turn_time[clock].tv_sec != 0) {
        *now = turn_time[clock];
        return 0;
    }
    long status = syscall(SYS_clock_gettime, clock, now);
    return (int)status;
}

static void clock_turn(void)
{
    for (clockid_t clock = CLOCK_REALTIME; clock <= CLOCK_MONOTONIC; clock++) {
        struct timespec *now = &turn_time[clock];
        if (now->tv_sec == 0)
            clock_gettime(clock, now);
        now->tv_nsec += TURN_NS;
        if (now->tv_nsec >= 1000000000) {
            now->tv_nsec -= 1000000000;
            now->tv_sec++;
        }
    }
}

/* Measures an admission from a grant, done as admission.c does it where Redis need not be asked. */
static void admit(struct worker *worker)
{
    static const unsigned char link_id[LEDGER_LINK_ID_BYTES] = {7};
    struct window_key key = {.link_id = link_id, .size = 4096};
    struct window *window, *first;
    struct windows_made made;
    /* Another account than the exchanges', which have funds and a grant of Redis. */
    check(ledger_account_get(worker->node->ledger, "shop", "bob", 3, &key.account) == 0);
    check(ledger_file_get(worker->node->ledger, "/song.mp3", 9, &key.file) == 0);
    check(window_open(worker->node->windows, &key, worker->now_ms, &first, &made) == 0 &&
          made.window == first);
    const struct ledger_credit credit = {
        .bounds = LEDGER_BY_BALANCE, .ceiling = 1 << 20, .bound = 1 << 20};
    struct pool *pool = &first->account_group->pool;
    pool_take(pool, pool->number, &credit, UINT64_MAX);
    const struct ledger_heard heard = ledger_heard(worker->node->ledger, key.account);
    cover_confirm(&first->account_group->cover, &heard, UINT64_MAX);
    micro_begin();
    micro_toggle();
    for (int i = 0; i < ADMITTED; i++) {
        struct claim claim = {0};
        check(window_open(worker->node->windows, &key, worker->now_ms, &window, &made) == 0);
        const struct demand demand = {
            .window = window, .claim = &claim, .need = key.size, .size = key.size};
        check(demand_claim_unasked(worker->node->ledger, &demand, worker->now_ms));
        claim_end(&claim, window);
        window_drop(&window, worker->now_ms);
    }
    micro_toggle();
    micro_end("admission-from-a-grant", ADMITTED);
    window_drop(&first, worker->now_ms);
    ledger_account_drop(&key.account);
    ledger_file_drop(&key.file);
}

/* Ends a block of the current kind, and begins the next one, or the next kind. False once the last
 * kind is done. */
static bool next_block(void)
{
    struct kind *kind = &kinds[at];
    if (counting && kind->skipped < kind->measured)
        micro_end(kind->name, kind->measured - kind->skipped);
    kind->skipped = 0;
    counting = kind->done < kind->warm_up + kind->blocks * kind->measured;
    if (counting)
        micro_begin();
    else
        at++;
    return at < KINDS;
}

/* Does one step of the client; false where it can only wait. */
static bool client_step(struct worker *worker)
{
    static enum { CLIENT_NEW, CLIENT_CONNECTING, CLIENT_ASKING, CLIENT_ENDED } state;
    uint64_t now_ms = clock_monotonic_ms();
    if (state == CLIENT_ENDED || !readiness_is_granting(worker->node, now_ms) ||
        !ledger_push_is_up(worker->node->ledger, now_ms))
        return false;
    if (state == CLIENT_ASKING) {
        if (!micro_client_read())
            return false;
        struct kind *kind = &kinds[at];
        kind->done++;
        if (kind->done >= kind->warm_up && (kind->done - kind->warm_up) % kind->measured == 0) {
            if (!next_block()) {
                state = CLIENT_ENDED;
                check(kill(getpid(), SIGTERM) == 0);
                return false;
            }
            if (kinds[at].listener != kind->listener)
                state = CLIENT_NEW;
        }
    }
    if (state == CLIENT_NEW) {
        if (at == 0)
            admit(worker);
        enum listener listener = kinds[at].listener;
        micro_client_connect(worker->listen_fd[listener], listener == LISTENER_TLS);
        state = CLIENT_CONNECTING;
    }
    if (state == CLIENT_CONNECTING && !micro_client_is_ready())
        return false;
    state = CLIENT_ASKING;
    micro_client_ask(kinds[at].target, kinds[at].fields);
    return true;
}

/* Whether all completions belong to the exchange. A turn with others, such as timers, is not
 * counted, nor is an exchange that came in the same turn. One that takes several turns is counted by
 * itself, and only where no turn since it was asked for had others. */
static bool is_of_the_exchange(struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head, others = 0, own = 0;
    io_uring_for_each_cqe(ring, head, cqe)
    {
        if (cqe->user_data >> 56 >= OPERATION_RECEIVE)
            own++;
        else
            others++;
    }
    if (others > 0 && (own > 0 || kinds[at].measured == 1))
        kinds[at].skipped++;
    return others == 0;
}

/* Replaces liburing's function: valgrind lets no other thread run while one waits in
 * io_uring_enter, so this one never waits there. */
int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    const struct timespec nap = {.tv_nsec = 200000};
    struct worker *worker = (struct worker *)((char *)ring - offsetof(struct worker, ring));
    if (counts_turn)
        micro_toggle();
    int submitted = io_uring_submit(ring);
    while (wait_nr > 0) {
        io_uring_get_events(ring);
        if (io_uring_cq_ready(ring) > 0)
            break;
        if (!client_step(worker))
            nanosleep(&nap, NULL);
    }
    if (counting)
        clock_turn();
    counts_turn = counting && is_of_the_exchange(ring);
    if (counts_turn)
        micro_toggle();
    return submitted;
}

int micro_exchanges(const struct micro_exchanges *exchanges)
{
    char error[2048];
    struct config *config;
    const struct config_source source = {.file = exchanges->configuration};
    kinds[KIND_4_KIB].target = kinds[KIND_4_KIB_TLS].target = exchanges->small;
    kinds[KIND_64_KIB].target = kinds[KIND_64_KIB_TLS].target = exchanges->large;
    int status = config_load(&config, exchanges->configuration, error, sizeof(error));
    if (status == 0)
        status = node_run(config, &source, error, sizeof(error));
    if (status != 0)
        fprintf(stderr, "tollgate-micro: %s\n", error);
    return status;
}
