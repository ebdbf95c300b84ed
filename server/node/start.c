/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's start: opens what the workers lean on (certificates, ledger, Redis, media, tables), each
 * after what it needs, then the listeners, and runs the workers. run.c calls it once. Where
 * something fails, it leaves what it has opened to node_stop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/access_log/access_log.h"
#include "server/admin/admin.h"
#include "server/base/log.h"
#include "server/config/content_types.h"
#include "server/delivery/proxies.h"
#include "server/doctor/descriptor_needs.h"
#include "server/grant/address_table.h"
#include "server/grant/outage.h"
#include "server/grant/window.h"
#include "server/link/verifications.h"
#include "server/node/node_internal.h"
#include "server/redis/redis_child.h"
#include "server/transport/tls.h"

#define HASH_QUEUE_MAX 4096
#define HASH_FIRST_MAX 64 /* requests that wait for their file's hash */
#define LEASE_MS       3000
#define DAY_MS         UINT64_C(86400000)

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

/* From the push thread, which begins before there are workers and ends after them, and from a thread
 * that has changed or read an account. Each window sees by ledger_heard that its grant is older;
 * those who wait for something else look now. */
static void on_push(void *context, const struct ledger_account *account)
{
    struct node *node = context;
    (void)account;
    atomic_fetch_add(&node->pushes, 1);
    node_workers_wake(node);
}

/* Another node is short of an account's funds: the workers give back what is idle of them. */
static void on_recall(void *context, const struct ledger_account *account)
{
    struct node *node = context;
    (void)account;
    atomic_fetch_add(&node->recalls, 1);
    node_workers_wake(node);
}

/* The writer has woken accounts for which requests wait. */
static void on_woken(void *node)
{
    node_workers_wake(node);
}

/* The hasher is done with a file that a request waits for: wakes the workers to look. */
static void on_hashed(void *node)
{
    node_workers_wake(node);
}

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

/*
 * The state directory is this node's from here on, and with it the socket there. Reading the
 * journal may take its time: health tells meanwhile that the node is starting.
 */
static int on_locked(void *context, char *error, size_t error_size)
{
    struct node_parts *parts = context;
    return admin_start(&parts->admin, parts->node, error, error_size);
}

static int open_ledger(struct node_parts *parts, char *error, size_t error_size)
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
        .redis_sentinel_user = config->sentinel_user[0] != '\0' ? config->sentinel_user : NULL,
        .redis_sentinel_password =
            node->redis.sentinel_password[0] != '\0' ? node->redis.sentinel_password : NULL,
        .segment_bytes = config->journal_segment_bytes,
        .keep_ms = config->journal_keep_days * DAY_MS,
        .keep_bytes = config->journal_keep_bytes,
        .archive = config->journal_archive,
        .archive_keep_ms = config->journal_archive_keep_days * DAY_MS,
        .post_interval_ms = (uint32_t)config->post_interval_ms,
        .mark_ms = (uint32_t)config->journal_mark_ms,
        .downloads_max = (uint32_t)config->windows_max,
        .accounts_max = (uint32_t)config->accounts_max,
        .issuers = issuers,
        .issuers_count = config->issuers_count,
        .lease_ms = LEASE_MS,
        .data_lost_wait_ms = (uint32_t)config->data_lost_wait_ms,
        .event = on_ledger_event,
        .locked = on_locked,
        .locked_context = parts,
        .pushed = on_push,
        .recalled = on_recall,
        .woken = on_woken,
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

static int read_lists(struct node *node)
{
    const struct config *config = node->config;
    const char *bad;
    int status = proxies_create(&node->proxies, config);
    if (status < 0)
        return status;
    status = content_types_create(&node->content_types, config->content_types, &bad);
    if (status < 0)
        return status; /* no memory: config_validate has refused what is wrong before */
    /* Good ones: what the workers remember, and some room where sets are filled unevenly. */
    status = verifications_create(&node->verifications, config->failed_checks_max,
                                  config->failed_checks_per_minute,
                                  2 * config->tokens_max * node_workers(config));
    if (status < 0)
        return status;
    if (config->connections_per_address_max == 0)
        return 0;
    return address_table_create(&node->addresses, (uint32_t)config->connections_max,
                                (uint32_t)config->connections_per_address_max);
}

static int make_windows(struct node *node)
{
    const struct config *config = node->config;
    int status = windows_create(&node->windows, node->ledger, config->windows_max);
    const struct outage_settings settings = {
        .longest_ms = strcmp(config->redis_down, "continue") == 0 ? config->redis_down_ms_max : 0,
        .bytes_max = config->redis_down_bytes_max,
        .journal_bytes_max = config->redis_down_journal_bytes_max,
    };
    if (status == 0)
        outage_settle(node->windows, &settings);
    return status;
}

/* Redis' address first: the ledger locks the state directory before a child is started in it. */
int node_start(struct node_parts *parts, char *error, size_t error_size)
{
    struct node *node = parts->node;
    const struct config *config = node->config;
    char address[sizeof(node->redis.address)];
    descriptor_needs_raise(config);
    int status = redis_address_read(config, &node->redis, error, error_size);
    if (status == 0)
        status = trust_load(config, &node->trust, &node_trust_log, error, error_size);
    if (status == 0 && config->listen_tls[0] != '\0')
        status = load_certificates(node, error, error_size);
    if (status == 0)
        status = node_listeners_try(node, error, error_size);
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
    if (status == 0 && (status = make_windows(node)) != 0)
        snprintf(error, error_size, "windows: %s", strerrordesc_np(-status));
    if (status == 0 && config->access_log[0] != '\0') {
        enum access_format format = ACCESS_JSON;
        (void)access_format_parse(config->access_log_format, &format);
        status = access_log_open(&node->access_log, config->access_log, format, CONFIG_WORKERS_MAX,
                                 error, error_size);
    }
    if (status == 0)
        status = node_listeners_open(parts, error, error_size);
    if (status == 0)
        status = node_workers_start(parts, error, error_size);
    if (status == 0) {
        node_phase_enter(node, NODE_SERVING);
        node_listeners_announce(node);
    }
    return status;
}
