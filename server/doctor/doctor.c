/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of the host and of Redis, and the run of all checks (doctor.h). A check tries the
 * thing itself where that is possible (it makes rings, it asks Redis), and reads a limit only where
 * it is not.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "server/delivery/node.h"
#include "server/doctor/descriptor_needs.h"
#include "server/doctor/doctor_internal.h"
#include "server/loop/ring.h"
#include "server/redis/redis_address.h"
#include "server/redis/redis_process.h"

#define REDIS_MAJOR    7
#define CLOCK_AHEAD_MS 2000
#define BUILD_SLACK_S  86400 /* the program's file may have its time from another machine */
#define BUFFERS_PROBED 8

void doctor_find(struct doctor_finding *out, enum doctor_verdict verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out->text, sizeof(out->text), format, arguments);
    va_end(arguments);
    out->verdict = verdict;
}

void doctor_report(const struct doctor_finding *out, const struct doctor_finding *also)
{
    const struct doctor_run *run = (const struct doctor_run *)out;
    run->report(run->context, also);
}

void doctor_fail(struct doctor_finding *out, const char *text)
{
    if (out->verdict == DOCTOR_FAILURE)
        doctor_report(out, out);
    doctor_find(out, DOCTOR_FAILURE, "%s", text);
}

void doctor_warn(void *context, const char *text)
{
    const struct doctor_finding *out = context;
    struct doctor_finding also = *out;
    doctor_find(&also, DOCTOR_WARNING, "%s", text);
    ((struct doctor_run *)context)->warned = true;
    doctor_report(out, &also);
}

enum doctor_asker doctor_asker(const struct doctor_finding *out)
{
    return ((const struct doctor_run *)out)->asker;
}

/* ---- the host ---- */

void doctor_check_kernel(const struct config *config, struct doctor_finding *out)
{
    struct ring_host host;
    (void)config;
    ring_host_read(&host);
    bool old = host.kernel_major < RING_KERNEL_MAJOR ||
               (host.kernel_major == RING_KERNEL_MAJOR && host.kernel_minor < RING_KERNEL_MINOR);
    doctor_find(out, old ? DOCTOR_FAILURE : DOCTOR_OK, "Linux %u.%u%s", host.kernel_major,
                host.kernel_minor, old ? "; boot 6.1 or later (Debian 12 has it)" : "");
}

/* Does with a ring what a worker does: makes it, gives it buffers, enables it, uses it once. 0, or
 * a negative errno with its cause in `error`. */
static int try_ring(char *error, size_t error_size)
{
    struct io_uring ring;
    struct io_uring_cqe *cqe;
    struct io_uring_buf_ring *buffers = NULL;
    char *memory = NULL;
    int status = ring_open(&ring, error, error_size);
    if (status < 0)
        return status;
    status = ring_add_buffers(&ring, BUFFERS_PROBED, 4096, 0, &buffers, &memory, error, error_size);
    if (status == 0)
        status = ring_enable(&ring, error, error_size);
    if (status == 0) {
        io_uring_prep_nop(io_uring_get_sqe(&ring));
        status = io_uring_submit_and_wait(&ring, 1);
        if (status >= 0)
            status = io_uring_peek_cqe(&ring, &cqe);
        if (status < 0) {
            struct ring_host host;
            ring_host_read(&host);
            ring_explain(&host, "io_uring_enter", status, error, error_size);
        }
    }
    io_uring_queue_exit(&ring);
    if (buffers != NULL)
        munmap(buffers, BUFFERS_PROBED * sizeof(struct io_uring_buf));
    free(memory);
    return status < 0 ? status : 0;
}

void doctor_check_io_uring(const struct config *config, struct doctor_finding *out)
{
    (void)config;
    if (try_ring(out->text, sizeof(out->text)) < 0)
        out->verdict = DOCTOR_FAILURE;
    else
        doctor_find(out, DOCTOR_OK, "a ring was made, enabled and used");
}

/* Kernels since 5.12 count a ring as the process' memory, earlier ones as locked memory. To make as
 * many rings as the workers will have shows whether either limit is too low. */
void doctor_check_memlock(const struct config *config, struct doctor_finding *out)
{
    struct rlimit limit = {0};
    struct io_uring rings[CONFIG_WORKERS_MAX];
    unsigned wanted = config != NULL ? node_workers(config) : 1, made = 0;
    while (made < wanted && ring_open(&rings[made], out->text, sizeof(out->text)) == 0)
        made++;
    for (unsigned i = 0; i < made; i++)
        io_uring_queue_exit(&rings[i]);
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (made < wanted)
        out->verdict = DOCTOR_FAILURE;
    else if (limit.rlim_cur == RLIM_INFINITY)
        doctor_find(out, DOCTOR_OK, "%u rings fit; no limit", made);
    else
        doctor_find(out, DOCTOR_OK, "%u ring%s fit%s within %llu KiB", made, made == 1 ? "" : "s",
                    made == 1 ? "s" : "", (unsigned long long)limit.rlim_cur / 1024);
}

/* A node that starts raises its soft limit as far as the hard one, so the hard limit counts. */
void doctor_check_nofile(const struct config *config, struct doctor_finding *out)
{
    struct rlimit limit = {0};
    const struct config one = {.workers = 1};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t allowed = limit.rlim_max;
    uint64_t least = descriptor_needs_least(config != NULL ? config : &one);
    uint64_t wanted = config != NULL ? descriptor_needs_most(config) : least;
    if (allowed < least)
        doctor_find(out, DOCTOR_FAILURE,
                    "%" PRIu64 " descriptors are allowed, but a node needs at least %" PRIu64
                    "%s; raise LimitNOFILE (ulimit -n)",
                    allowed, least,
                    config != NULL && config->workers > 1 ? " with so many workers" : "");
    else if (allowed < wanted)
        doctor_find(out, DOCTOR_WARNING,
                    "%" PRIu64
                    " descriptors are allowed, but connections_max and open_files_max may "
                    "need %" PRIu64 ", and when none is left, new clients wait; raise LimitNOFILE "
                    "(ulimit -n), or lower these two keys",
                    allowed, wanted);
    else
        doctor_find(out, DOCTOR_OK,
                    "%" PRIu64 " descriptors are allowed, at most %" PRIu64 " are needed", allowed,
                    wanted);
}

void doctor_write_day(time_t when, char out[static 32])
{
    struct tm parts;
    if (gmtime_r(&when, &parts) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &parts) == 0)
        snprintf(out, 32, "%lld", (long long)when);
}

/* A clock that is behind serves links that have expired; one that is ahead refuses good ones. */
void doctor_check_clock(const struct config *config, struct doctor_finding *out)
{
    struct stat program;
    struct timex kernel = {0};
    char now[32], built[32];
    (void)config;
    time_t seconds = time(NULL);
    doctor_write_day(seconds, now);
    if (stat("/proc/self/exe", &program) == 0 && seconds < program.st_mtime - BUILD_SLACK_S) {
        doctor_write_day(program.st_mtime, built);
        doctor_find(
            out, DOCTOR_FAILURE,
            "it is %s, which is before tollgate itself was made (%s); set the clock, and keep it "
            "with chrony or systemd-timesyncd",
            now, built);
    } else if (adjtimex(&kernel) == TIME_ERROR || (kernel.status & STA_UNSYNC) != 0) {
        doctor_find(out, DOCTOR_WARNING,
                    "%s, but no time service sets this clock, by which links expire; run chrony or "
                    "systemd-timesyncd (on the host, if this is a container)",
                    now);
    } else {
        doctor_find(out, DOCTOR_OK, "%s, synchronised", now);
    }
}

/* ---- Redis ---- */

static void judge_redis(const char *address, const struct ledger_redis_report *redis,
                        struct doctor_finding *out)
{
    if (strtol(redis->version, NULL, 10) < REDIS_MAJOR)
        doctor_find(out, DOCTOR_FAILURE, "%s: version %s has no functions; run Redis 7.0 or later",
                    address, redis->version[0] != '\0' ? redis->version : "unknown");
    else if (redis->replica)
        doctor_find(out, DOCTOR_FAILURE, "%s: is a replica; give the address of the master",
                    address);
    else if (strcmp(redis->policy, "noeviction") != 0)
        doctor_find(
            out, DOCTOR_FAILURE,
            "%s: its maxmemory-policy %s may evict accounts and bills; run redis-cli CONFIG SET "
            "maxmemory-policy noeviction, and put it into redis.conf",
            address, redis->policy);
    else if (!redis->hears_revocations)
        doctor_find(out, DOCTOR_FAILURE, "%s: %s", address, redis->push_error);
    else if (redis->loading)
        doctor_find(out, DOCTOR_WARNING, "%s: is loading its data; wait", address);
    else if (!redis->append_only)
        doctor_find(out, DOCTOR_WARNING, "%s: " LEDGER_REDIS_FORGETS, address);
    else if (llabs(redis->clock_ahead_ms) > CLOCK_AHEAD_MS)
        doctor_find(out, DOCTOR_WARNING,
                    "%s: its clock is %lld s %s ours; one of the two is off, synchronise both",
                    address, llabs(redis->clock_ahead_ms) / 1000,
                    redis->clock_ahead_ms > 0 ? "ahead of" : "behind");
    else
        doctor_find(out, DOCTOR_OK, "%s: Redis %s, append-only, noeviction", address,
                    redis->version);
}

/*
 * Reports the node's name as a finding of its own, although Redis tells it: a node whose name is
 * taken starts, but never serves.
 */
static void judge_node(const struct config *config, const struct ledger_redis_report *redis,
                       const struct doctor_finding *out)
{
    struct doctor_finding name = *out;
    name.name = "node";
    if (redis->name == LEDGER_NAME_UNKNOWN)
        doctor_find(&name, DOCTOR_WARNING,
                    "whether another node has the name %s was not found out: %s", config->node,
                    redis->name_error);
    else if (redis->name == LEDGER_NAME_FREE)
        doctor_find(&name, DOCTOR_OK, "the name %s is free", config->node);
    else if (redis->name == LEDGER_NAME_OWN)
        doctor_find(&name, DOCTOR_OK, "the name %s belongs to this state_dir", config->node);
    else if (redis->name == LEDGER_NAME_COPY)
        doctor_find(&name, DOCTOR_WARNING,
                    "the name %s is held in Redis, and no process on this machine uses %s: a node "
                    "with a copy of it runs elsewhere, or this one was killed less than %" PRId64
                    " seconds ago; stop the other node, or give another `node` and an empty "
                    "state_dir",
                    config->node, config->state_dir, redis->name_left_ms / 1000 + 1);
    else if (redis->name_left_ms > 0)
        doctor_find(&name, DOCTOR_FAILURE,
                    "the name %s is taken: another node runs under it; give another `node`",
                    config->node);
    else
        doctor_find(&name, DOCTOR_FAILURE,
                    "the name %s is taken: it belongs to a node with another state_dir, which does "
                    "not run now; give another `node`, or run redis-cli DEL 'tg:node:{%s}' if that "
                    "node will never run again",
                    config->node, config->node);
    doctor_report(out, &name);
}

void doctor_check_redis(const struct config *config, struct doctor_finding *out)
{
    struct redis_address where;
    struct ledger_redis_report redis;
    char program[PATH_MAX], error[512] = "";
    if (redis_address_read(config, &where, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    const struct ledger_options options = {
        .redis = where.address,
        .redis_user = config->redis_user[0] != '\0' ? config->redis_user : NULL,
        .redis_password = where.password[0] != '\0' ? where.password : NULL,
        .node = config->node,
        .state_dir = config->state_dir,
    };
    int status = ledger_redis_probe(&options, &redis, error, sizeof(error));
    explicit_bzero(where.password, sizeof(where.password));
    if (status == 0) {
        judge_node(config, &redis, out);
        judge_redis(where.address, &redis, out);
    } else if (!where.embedded)
        doctor_find(out, DOCTOR_FAILURE, "%s", error);
    else if (redis_program_find(program, sizeof(program)) != 0)
        doctor_find(
            out, DOCTOR_FAILURE,
            "redis-server is not in PATH; install the package redis-server, or name a running "
            "Redis with `redis: HOST:PORT`");
    else
        doctor_find(out, DOCTOR_OK, "embedded: the node will run %s", program);
}

/* ---- all of them ---- */

void doctor_run(const struct config *config, enum doctor_asker asker,
                void (*report)(void *context, const struct doctor_finding *finding), void *context)
{
    static const struct {
        const char *name;
        unsigned askers;
        int exit_code;
        void (*run)(const struct config *config, struct doctor_finding *out);
    } checks[] = {
#define X(name, askers, exit_code, about) {#name, askers, exit_code, doctor_check_##name},
        DOCTOR_CHECKS(X)
#undef X
    };
    bool ring = true;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        bool of_host =
            (checks[i].askers & DOCTOR_CONFIG) == 0 && checks[i].run != doctor_check_redis;
        if ((checks[i].askers & asker) == 0 || (config == NULL && !of_host) ||
            (checks[i].run == doctor_check_memlock && !ring)) /* it would repeat that failure */
            continue;
        struct doctor_run run = {
            .found = {.name = checks[i].name, .exit_code = checks[i].exit_code},
            .asker = asker,
            .report = report,
            .context = context,
        };
        checks[i].run(config, &run.found);
        if (checks[i].run == doctor_check_io_uring)
            ring = run.found.verdict == DOCTOR_OK;
        if (!run.warned || run.found.verdict != DOCTOR_OK)
            report(context, &run.found);
    }
}
