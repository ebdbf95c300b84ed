/*
 * The checks of doctor.h. Each tries the thing itself where that is possible (a ring is made, a
 * file is created where the journal will be) and reads a limit only where it is not.
 */
#include "server/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <string.h> /* after libgen.h, which would take its basename */

#include "server/admin_internal.h"
#include "server/byte_count.h"
#include "server/descriptors.h"
#include "server/node.h"
#include "server/redis_address.h"
#include "server/redis_process.h"
#include "server/ring.h"
#include "server/tls.h"
#include "server/trust.h"

#define REDIS_MAJOR        7
#define CLOCK_AHEAD_MS     2000
#define BUILD_SLACK_S      86400 /* a file's time may come from another machine */
#define BUFFERS_PROBED     8
#define SEGMENTS_WANTED    2
#define CERTIFICATE_LEFT_S (14L * 86400)

typedef struct doctor_finding finding;

/* A check that runs: its result, and the function to which it reports more on the way. */
struct check_run {
    finding found; /* first: what a check is given points to it */
    void (*report)(void *context, const struct doctor_finding *finding);
    void *context;
};

static void __attribute__((format(printf, 3, 4)))
find(finding *out, enum doctor_verdict verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out->text, sizeof(out->text), format, arguments);
    va_end(arguments);
    out->verdict = verdict;
}

/* One warning of several, each a line of its own. */
static void warn_also(const finding *out, const char *text)
{
    const struct check_run *run = (const struct check_run *)out;
    finding also = *out;
    find(&also, DOCTOR_WARNING, "%s", text);
    run->report(run->context, &also);
}

/* ---- the host ---- */

static void check_kernel(const struct config *config, finding *out)
{
    struct ring_host host;
    (void)config;
    ring_host_read(&host);
    bool old = host.kernel_major < RING_KERNEL_MAJOR ||
               (host.kernel_major == RING_KERNEL_MAJOR && host.kernel_minor < RING_KERNEL_MINOR);
    find(out, old ? DOCTOR_FAILURE : DOCTOR_OK, "Linux %u.%u%s", host.kernel_major,
         host.kernel_minor, old ? "; boot 6.1 or later (Debian 12 has it)" : "");
}

/* All that a worker's ring goes through: made, given buffers, enabled, used once. */
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

static void check_io_uring(const struct config *config, finding *out)
{
    (void)config;
    if (try_ring(out->text, sizeof(out->text)) < 0)
        out->verdict = DOCTOR_FAILURE;
    else
        find(out, DOCTOR_OK, "a ring was made, enabled and used");
}

/* Kernels since 5.12 count a ring as the process' memory, not as locked; a low limit of either is
 * met by making as many as the workers will have. */
static void check_memlock(const struct config *config, finding *out)
{
    struct rlimit limit = {0};
    struct io_uring rings[NODE_WORKERS_MAX];
    unsigned wanted = config != NULL ? node_workers(config) : 1, made = 0;
    while (made < wanted && ring_open(&rings[made], out->text, sizeof(out->text)) == 0)
        made++;
    for (unsigned i = 0; i < made; i++)
        io_uring_queue_exit(&rings[i]);
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (made < wanted)
        out->verdict = DOCTOR_FAILURE;
    else if (limit.rlim_cur == RLIM_INFINITY)
        find(out, DOCTOR_OK, "%u rings fit; no limit", made);
    else
        find(out, DOCTOR_OK, "%u ring%s fit%s within %llu KiB", made, made == 1 ? "" : "s",
             made == 1 ? "s" : "", (unsigned long long)limit.rlim_cur / 1024);
}

/* The start raises the soft limit to the hard one, which is therefore what counts. */
static void check_nofile(const struct config *config, finding *out)
{
    struct rlimit limit = {0};
    const struct config one = {.workers = 1};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t allowed = limit.rlim_max;
    uint64_t least = descriptors_least(config != NULL ? config : &one);
    uint64_t wanted = config != NULL ? descriptors_wanted(config) : least;
    if (allowed < least)
        find(out, DOCTOR_FAILURE,
             "%" PRIu64 " descriptors are allowed, a node needs %" PRIu64 " at least%s; raise "
             "LimitNOFILE= of its unit or ulimit -n",
             allowed, least, config != NULL && config->workers > 1 ? " with so many workers" : "");
    else if (allowed < wanted)
        find(out, DOCTOR_WARNING,
             "%" PRIu64 " descriptors are allowed, %" PRIu64 " may be needed (connections_max, "
             "open_files_max), and where none is left clients wait; raise LimitNOFILE or "
             "ulimit -n, or lower those",
             allowed, wanted);
    else
        find(out, DOCTOR_OK, "%" PRIu64 " descriptors are allowed, at most %" PRIu64 " are needed",
             allowed, wanted);
}

static void write_day(time_t when, char out[static 32])
{
    struct tm parts;
    if (gmtime_r(&when, &parts) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &parts) == 0)
        snprintf(out, 32, "%lld", (long long)when);
}

/* A clock that is behind would serve links that have expired, one that is ahead refuses good ones. */
static void check_clock(const struct config *config, finding *out)
{
    struct stat program;
    struct timex kernel = {0};
    char now[32], built[32];
    (void)config;
    time_t seconds = time(NULL);
    write_day(seconds, now);
    if (stat("/proc/self/exe", &program) == 0 && seconds < program.st_mtime - BUILD_SLACK_S) {
        write_day(program.st_mtime, built);
        find(out, DOCTOR_FAILURE,
             "it is %s, which is before tollgate itself was made (%s); set the clock, and keep it "
             "with chrony or systemd-timesyncd",
             now, built);
    } else if (adjtimex(&kernel) == TIME_ERROR || (kernel.status & STA_UNSYNC) != 0) {
        find(out, DOCTOR_WARNING,
             "%s, and nothing keeps it right: links end by this clock; run chrony or "
             "systemd-timesyncd (on the host, where this is a container)",
             now);
    } else {
        find(out, DOCTOR_OK, "%s, synchronised", now);
    }
}

/* ---- what the configuration names ---- */

static void check_media_root(const struct config *config, finding *out)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    int root = open(config->media_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        find(out, DOCTOR_FAILURE, "%s: %s; name a directory that the node may read",
             config->media_root, strerrordesc_np(errno));
        return;
    }
    /* As every file is opened: filters refuse this call more often than any other but io_uring's. */
    long beneath = syscall(SYS_openat2, root, ".", &how, sizeof(how));
    if (beneath < 0)
        find(out, DOCTOR_FAILURE,
             "%s: openat2: %s; allow openat2 in the seccomp filter (systemd: leave "
             "RestrictSUIDSGID out)",
             config->media_root, strerrordesc_np(errno));
    else
        find(out, DOCTOR_OK, "%s", config->media_root);
    if (beneath >= 0)
        close((int)beneath);
    close(root);
}

/* What is wrong with the directory, or NULL. The node makes it itself, but not its parent. */
static const char *state_dir_fault(const char *path, char parent[static PATH_MAX])
{
    struct stat facts;
    snprintf(parent, PATH_MAX, "%s", path);
    /* Whoever may write there can have the node bill what he likes. */
    if (stat(path, &facts) == 0)
        return !S_ISDIR(facts.st_mode)      ? "is not a directory; choose another"
               : (facts.st_mode & 022) != 0 ? "may be written by others; run chmod go-w on it"
               : facts.st_uid != geteuid() && facts.st_uid != 0
                   ? "belongs to another user, who may write there; let the node's user own it"
               : access(path, W_OK | X_OK) < 0 ? "cannot be written; let the node's user own it"
                                               : NULL;
    char *above = dirname(parent);
    memmove(parent, above, strlen(above) + 1);
    if (access(parent, W_OK | X_OK) == 0)
        return NULL;
    return errno == ENOENT ? "has no parent directory; make it first"
                           : "cannot be made there; make it for the node's user";
}

static void check_state_dir(const struct config *config, finding *out)
{
    char where[PATH_MAX], space[BYTE_COUNT_SIZE], needed[BYTE_COUNT_SIZE];
    struct statvfs disk;
    const char *fault = state_dir_fault(config->state_dir, where);
    uint64_t least = SEGMENTS_WANTED * config->journal_segment_bytes;
    if (fault != NULL) {
        find(out, DOCTOR_FAILURE, "%s: %s", config->state_dir, fault);
        return;
    }
    if (statvfs(where, &disk) != 0) {
        find(out, DOCTOR_WARNING, "%s: statvfs: %s", config->state_dir, strerrordesc_np(errno));
        return;
    }
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    byte_count_write((int64_t)(room < INT64_MAX ? room : INT64_MAX), space);
    byte_count_write((int64_t)least, needed);
    if ((disk.f_flag & ST_RDONLY) != 0)
        find(out, DOCTOR_FAILURE, "%s: is on a read-only file system; choose another",
             config->state_dir);
    else if (room < least)
        find(out, DOCTOR_WARNING,
             "%s: %s are free and the journal wants %s next; a full disk stops the serving",
             config->state_dir, space, needed);
    else
        find(out, DOCTOR_OK, "%s, %s free", config->state_dir, space);
}

static void check_redis_password_file(const struct config *config, finding *out)
{
    if (config->redis_password_file[0] == '\0')
        find(out, DOCTOR_OK, "none");
    else if (access(config->redis_password_file, R_OK) < 0)
        find(out, DOCTOR_FAILURE, "%s: %s; let the node's user read it",
             config->redis_password_file, strerrordesc_np(errno));
    else
        find(out, DOCTOR_OK, "%s", config->redis_password_file);
}

/* As many warnings as the finding has room for. */
static void add_warning(void *context, const char *text)
{
    finding *out = context;
    size_t length = out->verdict == DOCTOR_WARNING ? strlen(out->text) : 0;
    snprintf(out->text + length, sizeof(out->text) - length, "%s%s", length > 0 ? ". Also: " : "",
             text);
    out->verdict = DOCTOR_WARNING;
}

static void check_keys(const struct config *config, finding *out)
{
    struct token_trust *trust;
    const struct trust_warner warner = {.warn = add_warning, .context = out};
    if (trust_load(config, &trust, &warner, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    token_trust_drop(&trust);
    if (out->verdict == DOCTOR_WARNING)
        return;
    find(out, DOCTOR_OK, "of %u issuer%s", config->issuers_count,
         config->issuers_count == 1 ? "" : "s");
}

static void check_admin_secrets(const struct config *config, finding *out)
{
    struct admin_secrets *secrets;
    if (config->admin_listen[0] == '\0') {
        find(out, DOCTOR_OK, "none; shops have no access");
        return;
    }
    if (admin_secrets_load(&secrets, config, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    admin_secrets_destroy(&secrets);
    find(out, DOCTOR_OK, "readable");
}

/* Clients that come by public_origin are to find a certificate for its host. */
static void check_certificate_of_origin(const struct config *config, const struct tls *tls,
                                        const finding *out)
{
    static const char scheme[] = "https://";
    char host[256], text[512];
    if (strncmp(config->public_origin, scheme, sizeof(scheme) - 1) != 0)
        return;
    const char *start = config->public_origin + sizeof(scheme) - 1;
    bool v6 = *start == '[';
    start += v6;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(start, v6 ? "]" : ":/"), start);
    if (tls_has_host(tls, host))
        return;
    snprintf(text, sizeof(text),
             "%s: no certificate is for %s, the host of public_origin, so browsers will refuse it; "
             "add one "
             "there, or correct public_origin",
             config->certificates, host);
    warn_also(out, text);
}

/* Certbot renews 30 days before the end: less than two weeks, and nobody has. */
static void check_certificates(const struct config *config, finding *out)
{
    struct tls *tls;
    const char *file = "";
    char day[32];
    if (config->listen_tls[0] == '\0') {
        find(out, DOCTOR_OK, "none; TLS is off");
        return;
    }
    if (tls_load(&tls, config, NULL, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    const char *warning;
    for (unsigned i = 0; (warning = tls_warning(tls, i)) != NULL; i++)
        warn_also(out, warning);
    check_certificate_of_origin(config, tls, out);
    int64_t ends_s = tls_expires_s(tls, &file);
    int64_t left_s = ends_s - (int64_t)time(NULL);
    write_day((time_t)ends_s, day);
    if (left_s <= 0)
        find(out, DOCTOR_WARNING, "%s: ended on %s; renew it and send SIGHUP", file, day);
    else if (left_s < CERTIFICATE_LEFT_S)
        find(out, DOCTOR_WARNING, "%s: ends on %s; renew it and send SIGHUP", file, day);
    else
        find(out, DOCTOR_OK, "%u, the first ends on %s; OCSP responses: %u; kernel TLS: %s",
             tls_certificate_count(tls), day, tls_staple_count(tls),
             tls_has_kernel() ? "yes" : "no");
    tls_drop(&tls);
}

/* ---- Redis ---- */

static void judge_redis(const char *address, const struct ledger_redis *redis, finding *out)
{
    if (strtol(redis->version, NULL, 10) < REDIS_MAJOR)
        find(out, DOCTOR_FAILURE, "%s: version %s has no functions; run Redis 7.0 or later",
             address, redis->version[0] != '\0' ? redis->version : "unknown");
    else if (redis->replica)
        find(out, DOCTOR_FAILURE, "%s: is a replica; give the address of the master", address);
    else if (strcmp(redis->policy, "noeviction") != 0)
        find(out, DOCTOR_FAILURE,
             "%s: its maxmemory-policy %s may evict accounts and bills; run redis-cli CONFIG SET "
             "maxmemory-policy noeviction, and put it into redis.conf",
             address, redis->policy);
    else if (!redis->hears_revocations)
        find(out, DOCTOR_FAILURE,
             "%s: this user may not subscribe to the channel of the revocations; run redis-cli "
             "ACL SETUSER NAME '&tg:revocations'",
             address);
    else if (redis->loading)
        find(out, DOCTOR_WARNING, "%s: is loading its data; wait", address);
    else if (!redis->append_only)
        find(out, DOCTOR_WARNING,
             "%s: has no append-only file, so its restart loses data that the nodes must then post "
             "again; run redis-cli CONFIG SET appendonly yes, and put it into redis.conf",
             address);
    else if (llabs(redis->clock_ahead_ms) > CLOCK_AHEAD_MS)
        find(out, DOCTOR_WARNING,
             "%s: its clock is %lld s %s ours; one of the two is off, synchronise both", address,
             llabs(redis->clock_ahead_ms) / 1000,
             redis->clock_ahead_ms > 0 ? "ahead of" : "behind");
    else
        find(out, DOCTOR_OK, "%s: Redis %s, append-only, noeviction", address, redis->version);
}

static void check_redis(const struct config *config, finding *out)
{
    struct redis_address where;
    struct ledger_redis redis;
    char program[PATH_MAX], error[512] = "";
    if (redis_address_read(config, &where, out->text, sizeof(out->text)) < 0) {
        out->verdict = DOCTOR_FAILURE;
        return;
    }
    int status = ledger_redis_probe(
        where.address, config->redis_user[0] != '\0' ? config->redis_user : NULL,
        where.password[0] != '\0' ? where.password : NULL, &redis, error, sizeof(error));
    explicit_bzero(where.password, sizeof(where.password));
    if (status == 0)
        judge_redis(where.address, &redis, out);
    else if (!where.embedded)
        find(out, DOCTOR_FAILURE, "%s; start it, or correct `redis` in the configuration", error);
    else if (redis_program_find(program, sizeof(program)) != 0)
        find(out, DOCTOR_FAILURE,
             "redis-server is not in PATH; install the package redis-server, or name a running "
             "Redis with `redis: HOST:PORT`");
    else
        find(out, DOCTOR_OK, "embedded: the node will run %s", program);
}

/* ---- all of them ---- */

void doctor_run(const struct config *config, enum doctor_asker asker,
                void (*report)(void *context, const struct doctor_finding *finding), void *context)
{
    static const struct {
        const char *name;
        unsigned askers;
        int exit_code;
        void (*run)(const struct config *config, finding *out);
    } checks[] = {
#define X(name, askers, exit_code, about) {#name, askers, exit_code, check_##name},
        DOCTOR_CHECKS(X)
#undef X
    };
    bool ring = true;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        bool of_host = (checks[i].askers & DOCTOR_CONFIG) == 0 && checks[i].run != check_redis;
        if ((checks[i].askers & asker) == 0 || (config == NULL && !of_host) ||
            (checks[i].run == check_memlock && !ring)) /* it would say the same again */
            continue;
        struct check_run run = {
            .found = {.name = checks[i].name, .exit_code = checks[i].exit_code},
            .report = report,
            .context = context,
        };
        checks[i].run(config, &run.found);
        if (checks[i].run == check_io_uring)
            ring = run.found.verdict == DOCTOR_OK;
        report(context, &run.found);
    }
}
