/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's life: starts what the workers lean on (ledger, Redis, media, trust), then the workers
 * and the admin interface, waits for a signal, and ends them in the opposite order, so that each
 * delivery is metered, journalled and posted before the next thing goes. See node.h for what is
 * shared.
 */
#include "server/node/run.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/access_log/access_log.h"
#include "server/admin/admin.h"
#include "server/base/log.h"
#include "server/base/processors.h"
#include "server/base/strike.h"
#include "server/config/content_types.h"
#include "server/delivery/node.h"
#include "server/delivery/proxies.h"
#include "server/delivery/worker.h"
#include "server/doctor/descriptor_needs.h"
#include "server/doctor/doctor.h"
#include "server/grant/address_table.h"
#include "server/link/checks.h"
#include "server/link/trust.h"
#include "server/loop/listener.h"
#include "server/node/service_manager.h"
#include "server/redis/redis_child.h"
#include "server/transport/tls.h"

#define HASH_QUEUE_MAX  4096
#define HASH_FIRST_MAX  64 /* requests that wait for their file's hash */
#define LEASE_MS        3000
#define LEDGER_CLOSE_MS 5000
#define KEY_WATCH_MS    400

static const struct trust_warner trust_log = {.warn = trust_warn_log};

static void on_ledger_event(void *context, enum ledger_event event, const char *kind,
                            const char *text)
{
    static const enum log_level levels[] = {
        [LEDGER_EVENT_INFO] = LOG_LEVEL_INFO,
        [LEDGER_EVENT_WARNING] = LOG_LEVEL_WARNING,
        [LEDGER_EVENT_ERROR] = LOG_LEVEL_ERROR,
    };
    (void)context;
    log_write(log_site_of(kind), levels[event], "ledger: %s", text);
}

static void wake_workers(struct node *node)
{
    pthread_mutex_lock(&node->wake_mutex);
    if (node->has_workers) {
        for (unsigned i = 0; i < node->worker_count; i++)
            worker_wake(node->workers[i]);
    }
    pthread_mutex_unlock(&node->wake_mutex);
}

/* From the push thread, which begins before there are workers and ends after them. Each window sees
 * by ledger_heard that its grant is older; those who wait for something else look now. */
static void on_push(void *context, const struct ledger_account *account)
{
    struct node *node = context;
    (void)account;
    atomic_fetch_add(&node->pushes, 1);
    wake_workers(node);
}

/* The hasher is done with a file that a request waits for: wakes the workers to look. */
static void on_hashed(void *node)
{
    wake_workers(node);
}

static void set_has_workers(struct node *node, bool has)
{
    pthread_mutex_lock(&node->wake_mutex);
    node->has_workers = has;
    pthread_mutex_unlock(&node->wake_mutex);
}

/* ---- phases ---- */

static void enter_phase(struct node *node, enum node_phase phase)
{
    pthread_mutex_lock(&node->phase_mutex);
    node->phase = phase;
    pthread_mutex_unlock(&node->phase_mutex);
}

/* ---- starting ---- */

/* What each issuer may have of accounts_max: the key, or where that is auto an equal share. */
static struct ledger_issuer *bound_issuers(const struct config *config)
{
    struct ledger_issuer *issuers = calloc(config->issuers_count, sizeof(*issuers));
    uint64_t share = config->accounts_per_issuer_max;
    if (share == 0)
        share = config->accounts_max / config->issuers_count;
    for (unsigned i = 0; issuers != NULL && i < config->issuers_count; i++)
        issuers[i] = (struct ledger_issuer){.id = config->issuers[i].id,
                                            .accounts_max = share > 0 ? (uint32_t)share : 1};
    return issuers;
}

/* What is started while the node is, and where. */
struct parts {
    struct node *node;
    struct redis_child *child;
    struct admin *admin;
    int listen_fds[LISTENERS][CONFIG_WORKERS_MAX]; /* the worker's, once there is one */
    unsigned listening[LISTENERS];                 /* how many of these are open */
};

/*
 * The state directory is this node's from here on, and with it the socket there. Reading the
 * journal may take its time: health tells meanwhile that the node is starting.
 */
static int on_locked(void *context, char *error, size_t error_size)
{
    struct parts *parts = context;
    return admin_start(&parts->admin, parts->node, error, error_size);
}

static int open_ledger(struct parts *parts, char *error, size_t error_size)
{
    struct node *node = parts->node;
    const struct config *config = node->config;
    if (mkdir(config->state_dir, 0700) != 0 && errno != EEXIST) {
        int status = -errno;
        snprintf(error, error_size, "state_dir: %s: %s; create it for the user that runs the node",
                 config->state_dir, strerrordesc_np(-status));
        return status;
    }
    struct ledger_issuer *issuers = bound_issuers(config);
    if (issuers == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    const struct ledger_options options = {
        .state_dir = config->state_dir,
        .node = config->node,
        .redis = node->redis.address,
        .redis_user = config->redis_user[0] != '\0' ? config->redis_user : NULL,
        .redis_password = node->redis.password[0] != '\0' ? node->redis.password : NULL,
        .segment_bytes = config->journal_segment_bytes,
        .mark_ms = (uint32_t)config->journal_mark_ms,
        .downloads_max = (uint32_t)config->windows_max,
        .accounts_max = (uint32_t)config->accounts_max,
        .issuers = issuers,
        .issuers_count = config->issuers_count,
        .lease_ms = LEASE_MS,
        .event = on_ledger_event,
        .locked = on_locked,
        .locked_context = parts,
        .pushed = on_push,
        .pushed_context = node,
        .balance_low_bytes = config->admin_listen[0] != '\0' ? config->balance_low_bytes : 0,
    };
    int status = ledger_open(&node->ledger, &options, error, error_size);
    free(issuers);
    return status;
}

static int open_media(struct node *node, char *error, size_t error_size)
{
    const struct media_options options = {
        .root = node->config->media_root,
        .follow_links = strcmp(node->config->follow_links, "on") == 0,
        .state_dir = node->config->state_dir,
        .hash_queue_max = HASH_QUEUE_MAX,
        .hash_first_max = HASH_FIRST_MAX,
        .hashed = on_hashed,
        .context = node,
        .hash_entries_max = (uint32_t)node->config->hash_entries_max,
    };
    return media_open(&node->media, &options, error, error_size);
}

static int load_certificates(struct node *node, char *error, size_t error_size)
{
    char why[1024];
    int status = tls_load(&node->tls, node->config, NULL, why, sizeof(why));
    if (status < 0)
        snprintf(error, error_size, "certificates: %s", why);
    return status;
}

/* Raises the number of workers so that each socket passed to the process is served. */
static unsigned count_workers(const struct config *config)
{
    unsigned workers = node_workers(config);
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        if (workers < listener_passed(kind))
            workers = listener_passed(kind) < CONFIG_WORKERS_MAX ? listener_passed(kind)
                                                                 : CONFIG_WORKERS_MAX;
    }
    return workers;
}

static const char *const listen_keys[] = {
    [LISTENER_PLAIN] = "listen", [LISTENER_TLS] = "listen_tls"};

static const char *listen_address(const struct config *config, enum listener kind)
{
    return kind == LISTENER_TLS ? config->listen_tls : config->listen;
}

/*
 * Each worker has a listener of its own, or shares those that were passed to the process. Opened
 * last: who connects before the workers accept is refused, and asks another node, instead of
 * waiting for a Redis that starts.
 */
static int open_listeners(struct parts *parts, char *error, size_t error_size)
{
    const struct config *config = parts->node->config;
    char bound[300];
    int status = 0;
    unsigned workers = count_workers(config);
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        unsigned passed = listener_passed(kind), opened = 0;
        int *fds = parts->listen_fds[kind];
        if (kind == LISTENER_TLS && parts->node->tls == NULL)
            continue;
        if (passed == 0) {
            status = listener_open(listen_keys[kind], listen_address(config, kind), workers, fds,
                                   bound, sizeof(bound), error, error_size);
            opened = status == 0 ? workers : 0;
        }
        while (passed > 0 && opened < workers &&
               (status = listener_take(kind, opened % passed, error, error_size)) >= 0)
            fds[opened++] = status;
        parts->listening[kind] = opened;
        if (status < 0)
            return status;
    }
    listener_close_passed();
    return 0;
}

/*
 * Nothing is begun, neither journal nor Redis, for a port that is taken or an address that is
 * another host's.
 */
static int try_listeners(const struct node *node, char *error, size_t error_size)
{
    char bound[300];
    int fd, status = 0;
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS && status == 0; kind++) {
        if (listener_passed(kind) > 0 || (kind == LISTENER_TLS && node->tls == NULL))
            continue;
        status = listener_open(listen_keys[kind], listen_address(node->config, kind), 1, &fd, bound,
                               sizeof(bound), error, error_size);
        if (status == 0)
            close(fd);
    }
    return status;
}

/* Closes the listeners that no worker has taken over. */
static void close_listeners(struct parts *parts)
{
    for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
        for (unsigned i = parts->node->worker_count; i < parts->listening[kind]; i++)
            close(parts->listen_fds[kind][i]);
    }
}

static int start_workers(struct parts *parts, char *error, size_t error_size)
{
    struct node *node = parts->node;
    unsigned workers = parts->listening[LISTENER_PLAIN];
    for (unsigned i = 0; i < workers; i++) {
        int status = worker_create(&node->workers[i], node, i, error, error_size);
        if (node->workers[i] == NULL)
            return status;
        node->worker_count = i + 1;
        for (enum listener kind = LISTENER_PLAIN; kind < LISTENERS; kind++) {
            if (i < parts->listening[kind])
                node->workers[i]->listen_fd[kind] = parts->listen_fds[kind][i];
        }
        if (status != 0)
            return status;
    }
    set_has_workers(node, true);
    for (unsigned i = 0; i < workers; i++) {
        int status = -pthread_create(&node->workers[i]->thread, NULL, worker_run, node->workers[i]);
        if (status != 0) {
            snprintf(error, error_size, "worker %u: %s", i, strerrordesc_np(-status));
            return status;
        }
        node->workers[i]->started = true;
    }
    return 0;
}

static void announce_kind(const struct node *node, enum listener kind, const char *what)
{
    char bound[300];
    unsigned passed = listener_passed(kind), sockets = passed > 0 ? passed : 1;
    for (unsigned i = 0; i < sockets && i < node->worker_count; i++) {
        listener_name(node->workers[i]->listen_fd[kind], bound, sizeof(bound));
        log_info("%s %s with %u worker%s%s", what, bound, node->worker_count,
                 node->worker_count == 1 ? "" : "s",
                 passed > 0 ? ", passed by the service manager" : "");
    }
}

/* Called once everything answers, the admin socket too: a script may wait for the last line before
 * it goes on. */
static void announce(const struct node *node)
{
    if (node->tls != NULL) {
        log_info("%u certificate%s; TLS records are encrypted %s", tls_certificate_count(node->tls),
                 tls_certificate_count(node->tls) == 1 ? "" : "s",
                 tls_has_kernel() ? "by the kernel"
                                  : "by OpenSSL, because the kernel's module tls is not loaded; "
                                    "modprobe tls makes it faster");
        announce_kind(node, LISTENER_TLS, "speaking TLS on");
    }
    announce_kind(node, LISTENER_PLAIN, "listening on");
}

static int read_lists(struct node *node)
{
    const struct config *config = node->config;
    const char *bad;
    int status = proxies_create(&node->proxies, config);
    if (status < 0)
        return status;
    status = content_types_create(&node->content_types, config->content_types, &bad);
    if (status < 0)
        return status; /* no memory: config_check has refused what is wrong before */
    /* Good ones: what the workers remember, and some room where sets are filled unevenly. */
    status =
        checks_create(&node->checks, config->failed_checks_max, config->failed_checks_per_minute,
                      2 * config->tokens_max * node_workers(config));
    if (status < 0)
        return status;
    if (config->connections_per_address_max == 0)
        return 0;
    return address_table_create(&node->addresses, (uint32_t)config->connections_max,
                                (uint32_t)config->connections_per_address_max);
}

/* Redis' address first: the ledger locks the state directory before a child is started in it. */
static int start(struct parts *parts, char *error, size_t error_size)
{
    struct node *node = parts->node;
    const struct config *config = node->config;
    char address[sizeof(node->redis.address)];
    descriptor_needs_raise(config);
    int status = redis_address_read(config, &node->redis, error, error_size);
    if (status == 0)
        status = trust_load(config, &node->trust, &trust_log, error, error_size);
    if (status == 0 && config->listen_tls[0] != '\0')
        status = load_certificates(node, error, error_size);
    if (status == 0)
        status = try_listeners(node, error, error_size);
    if (status == 0)
        status = open_ledger(parts, error, error_size);
    if (status == 0 && node->redis.embedded)
        status = redis_child_start(&parts->child, config->state_dir, address, sizeof(address),
                                   error, error_size);
    if (status == 0)
        status = open_media(node, error, error_size);
    if (status == 0 && (status = read_lists(node)) != 0)
        snprintf(error, error_size, "tables of addresses and content types: %s",
                 strerrordesc_np(-status));
    if (status == 0 &&
        (status = windows_create(&node->windows, node->ledger, config->windows_max)) != 0)
        snprintf(error, error_size, "windows: %s", strerrordesc_np(-status));
    if (status == 0 && config->access_log[0] != '\0') {
        enum access_format format = ACCESS_JSON;
        (void)access_format_parse(config->access_log_format, &format);
        status = access_log_open(&node->access_log, config->access_log, format, CONFIG_WORKERS_MAX,
                                 error, error_size);
    }
    if (status == 0)
        status = open_listeners(parts, error, error_size);
    if (status == 0)
        status = start_workers(parts, error, error_size);
    if (status == 0) {
        enter_phase(node, NODE_SERVING);
        announce(node);
    }
    return status;
}

/* ---- stopping ---- */

static void stop_workers(struct node *node)
{
    uint64_t cut = 0;
    atomic_store(&node->stopping, true);
    for (unsigned i = 0; i < node->worker_count; i++) {
        if (node->workers[i]->started)
            worker_wake(node->workers[i]);
    }
    for (unsigned i = 0; i < node->worker_count; i++) {
        if (node->workers[i]->started)
            pthread_join(node->workers[i]->thread, NULL);
        cut += atomic_load(&node->workers[i]->cut_at_stop);
    }
    if (node->worker_count > 0 && cut == 0)
        log_info("stopped; no transfer was cut");
    else if (cut > 0)
        log_info("stopped; %llu transfer%s cut after %llu ms (stop_timeout_ms)",
                 (unsigned long long)cut, cut == 1 ? " was" : "s were",
                 (unsigned long long)node->config->stop_timeout_ms);
}

/* The ledger waits for Redis, so that the next start need not replay to it. */
static void say_waiting(struct node *node)
{
    struct ledger_stats stats;
    ledger_stats(node->ledger, &stats);
    if (!stats.redis_up && ledger_state(node->ledger) < LEDGER_FAILED)
        log_info("waiting up to %d s for Redis at %s to take the records that it may lack",
                 LEDGER_CLOSE_MS / 1000, node->redis.address);
}

/* Returns how many records Redis may lack, or a negative errno. */
static int64_t close_ledger(struct node *node)
{
    if (node->ledger == NULL)
        return 0;
    say_waiting(node);
    int64_t unposted = ledger_close(&node->ledger, LEDGER_CLOSE_MS);
    if (unposted < 0)
        log_error("the journal was not closed: %s", strerrordesc_np((int)-unposted));
    else if (unposted == 0)
        log_info("the journal is closed; all of its records are posted to Redis");
    else
        log_info(
            "the journal is closed; %lld record%s may not be in Redis yet and will be posted at "
            "the next start",
            (long long)unposted, unposted == 1 ? "" : "s");
    return unposted;
}

/* The admin interface ends last, so that health says "stopping" for as long as the node lives. */
static int stop(struct parts *parts)
{
    struct node *node = parts->node;
    stop_workers(node);
    close_listeners(parts);
    admin_close_desk(parts->admin);
    enter_phase(node, NODE_ENDING);
    set_has_workers(node, false);
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_destroy(&node->workers[i]);
    access_log_close(&node->access_log);
    windows_destroy(&node->windows);
    address_table_destroy(&node->addresses);
    proxies_destroy(&node->proxies);
    checks_destroy(&node->checks);
    content_types_destroy(&node->content_types);
    int64_t unposted = close_ledger(node);
    media_close(&node->media);
    token_trust_drop(&node->trust);
    tls_drop(&node->tls);
    redis_child_stop(&parts->child);
    admin_stop(&parts->admin);
    return unposted < 0 ? (int)unposted : 0;
}

/* Signals are taken by the main thread alone; every thread started later inherits the mask. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN); /* sendfile has no MSG_NOSIGNAL */
}

/* ---- running ---- */

/*
 * Reads the key sets again. What the workers remember of the old trust they verify again. `news`:
 * say so where they cannot be read; a file that stays broken is tried again and again.
 */
static bool reload_keys(struct node *node, bool news)
{
    char error[2048];
    struct token_trust *trust, *old;
    if (trust_load(node->config, &trust, &trust_log, error, sizeof(error)) < 0) {
        if (news)
            log_error("the key sets were not reloaded, and the previous ones stay in force: %s",
                      error);
        return false;
    }
    pthread_mutex_lock(&node->reload_mutex);
    old = node->trust;
    node->trust = trust;
    pthread_mutex_unlock(&node->reload_mutex);
    token_trust_drop(&old);
    log_info("reloaded the key sets of %u issuer%s", node->config->issuers_count,
             node->config->issuers_count == 1 ? "" : "s");
    return true;
}

/* Connections that are open keep the certificate that they began with. */
static bool reload_certificates(struct node *node)
{
    char error[2048];
    struct tls *tls, *old = node->tls;
    if (old == NULL)
        return false;
    if (tls_load(&tls, node->config, old, error, sizeof(error)) < 0) {
        log_error("the certificates were not reloaded, and the previous ones stay in force: %s",
                  error);
        return false;
    }
    const char *warning;
    for (unsigned i = 0; (warning = tls_warning(tls, i)) != NULL; i++)
        log_warning("certificates: %s", warning);
    log_info("reloaded %u certificate%s", tls_certificate_count(tls),
             tls_certificate_count(tls) == 1 ? "" : "s");
    pthread_mutex_lock(&node->reload_mutex);
    node->tls = tls;
    pthread_mutex_unlock(&node->reload_mutex);
    tls_drop(&old);
    return true;
}

static void tell_workers(struct node *node)
{
    atomic_fetch_add(&node->reloads, 1);
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_wake(node->workers[i]);
}

static void warn_of_failure(void *context, const struct doctor_finding *finding)
{
    const struct node *node = context;
    if (finding->verdict == DOCTOR_FAILURE)
        log_warning("%s: %s: %s", node->source.file, finding->name, finding->text);
}

/*
 * The configuration stays as it was at the start. Whoever has edited it is told what a restart
 * would bring, at each SIGHUP for as long as that is so. The buffer bounds how many mistakes are
 * told, so that the log need not leave any out.
 */
static void report_configuration(struct node *node)
{
    const char *file = node->source.file, *listen = node->source.listen;
    char error[8192], changes[1536];
    struct config *fresh = NULL;
    int result = config_load(&fresh, file, error, sizeof(error));
    if (result == 0 && listen != NULL)
        result = config_set_listen(fresh, listen, error, sizeof(error));
    if (result < 0) {
        log_warning("%.400s: a restart would fail because of the following; the configuration that "
                    "was read at the start stays in force",
                    file);
        char *rest = NULL;
        for (char *line = strtok_r(error, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest))
            log_write(NULL, LOG_LEVEL_WARNING, "%s", line);
    } else {
        unsigned count = config_changes(node->config, fresh, changes, sizeof(changes));
        if (count > 0) {
            log_warning("%.400s: %s take%s effect only after a restart", file, changes,
                        count == 1 ? "s" : "");
            doctor_run(fresh, DOCTOR_CONFIG, warn_of_failure, node);
        }
    }
    config_destroy(&fresh);
}

/* SIGHUP. */
static void reload(struct node *node, struct admin *admin)
{
    service_manager_tell("RELOADING=1");
    report_configuration(node);
    bool keys = reload_keys(node, true);
    bool certificates = reload_certificates(node);
    admin_reload(admin);
    if (keys || certificates)
        tell_workers(node);
    service_manager_tell("READY=1");
}

/* Whether a key file is another than before; a key that was taken out of it shall end its links
 * within a second. */
struct key_watch {
    uint64_t print;
    bool broken;
};

static void watch_keys(struct node *node, struct key_watch *watch)
{
    uint64_t print = trust_files_print(node->config);
    bool changed = print != watch->print;
    if (!changed && !watch->broken)
        return;
    watch->print = print;
    watch->broken = !reload_keys(node, changed);
    if (!watch->broken)
        tell_workers(node);
}

/* Warns once of each OCSP response that has ended, or nobody would notice that clients get none any
 * more. */
static void watch_staples(struct node *node)
{
    const char *file;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    while (node->tls != NULL && (file = tls_staple_ended(node->tls, now.tv_sec)) != NULL)
        log_warning(
            "certificates: %s.ocsp: is no longer stapled: its nextUpdate has passed; ask the "
            "responder again and send SIGHUP",
            file);
}

/* Waits for the signal that ends the node. Meanwhile it reloads at SIGHUP and when a key file
 * changes, reopens the access log at SIGUSR1, and watches the OCSP responses. */
static int wait_for_end(struct node *node, struct admin *admin, const sigset_t *signals,
                        struct key_watch *watch)
{
    for (;;) {
        const struct timespec pause = {.tv_nsec = KEY_WATCH_MS * 1000000L};
        int number = sigtimedwait(signals, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            return number;
        if (number == SIGHUP)
            reload(node, admin);
        else if (number == SIGUSR1 && node->access_log != NULL)
            access_log_reopen(node->access_log);
        watch_keys(node, watch);
        watch_staples(node);
    }
}

int node_run(const struct config *config, const struct config_source *source, char *error,
             unsigned long error_size)
{
    struct node *node = calloc(1, sizeof(*node));
    struct parts parts = {.node = node};
    sigset_t signals;
    struct timespec now;
    if (node == NULL) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    strike_name_set(config->token_attribute);
    /* Some fifteen threads allocate now and then. Each malloc arena keeps the most memory that it
     * ever needed, so their number is bounded. */
    mallopt(M_ARENA_MAX, (int)node_workers(config) + 1);
    int status = log_start();
    if (status != 0) {
        snprintf(error, error_size, "start the log's thread: %s", strerrordesc_np(-status));
        free(node);
        return status;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    node->config = config;
    node->source = *source;
    node->phase = NODE_STARTING;
    pthread_mutex_init(&node->phase_mutex, NULL);
    pthread_mutex_init(&node->reload_mutex, NULL);
    pthread_mutex_init(&node->wake_mutex, NULL);
    node->started_ms = (uint64_t)now.tv_sec * 1000;
    block_signals(&signals);
    /* Taken before the files are read, so that no change of theirs is missed. */
    struct key_watch watch = {.print = trust_files_print(config)};
    status = start(&parts, error, error_size);
    if (status == 0) {
        service_manager_tell("READY=1");
        int number = wait_for_end(node, parts.admin, &signals, &watch);
        service_manager_tell("STOPPING=1");
        log_info("SIG%s: stopping; transfers in progress may finish within %llu ms "
                 "(stop_timeout_ms)",
                 sigabbrev_np(number), (unsigned long long)config->stop_timeout_ms);
    }
    int stopped = stop(&parts);
    pthread_mutex_destroy(&node->phase_mutex);
    pthread_mutex_destroy(&node->reload_mutex);
    pthread_mutex_destroy(&node->wake_mutex);
    explicit_bzero(&node->redis, sizeof(node->redis));
    free(node);
    log_stop();
    return status != 0 ? status : stopped;
}
