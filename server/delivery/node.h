/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running node: everything that the threads of one process share. `tollgate serve` calls
 * node_run, which makes it; the admin thread and the workers borrow it. Once the phase is
 * NODE_SERVING, a field changes only where its comment says so or its type is atomic.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_NODE_H
#define TOLLGATE_SERVER_DELIVERY_NODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/base/client_address.h"
#include "server/config/config.h"
#include "server/delivery/metrics.h"
#include "server/grant/outage.h"
#include "server/redis/redis_address.h"
#include "storage/ledger/ledger.h"
#include "storage/media/media.h"
#include "tokens/tokens.h"

struct access_log;
struct address_table;
struct verifications;
struct content_types;
struct proxies;
struct tls;
struct worker;
struct windows;

/* The admin thread runs in every phase; the phase says which part of the node it may read. See
 * node_phase_hold. */
enum node_phase {
    NODE_SERVING,  /* the whole node */
    NODE_STARTING, /* only `config`: the rest is still being made */
    NODE_ENDING,   /* only `config`: the rest is being destroyed */
};

struct node {
    const struct config *config; /* borrows */
    struct config_source source; /* what `config` was read from; main thread only */
    pthread_mutex_t phase_mutex; /* held for moments, never over a wait */
    enum node_phase phase;       /* under phase_mutex; changed by the main thread */
    struct media *media;         /* owns */
    struct ledger *ledger;       /* owns */
    struct token_trust *trust;   /* owns; under reload_mutex once the workers run */
    struct tls *tls;             /* holds; under reload_mutex; NULL without listen_tls */
    pthread_mutex_t reload_mutex;
    atomic_uint reloads; /* how often `trust` or `tls` was replaced */
    atomic_uint pushes;  /* how often grants were dropped; written by the ledger's push thread */
    atomic_uint recalls; /* how often other nodes were short of funds; likewise */
    struct windows *windows; /* owns; shared by the workers, see window.h */
    pthread_mutex_t wake_mutex;
    /* Under wake_mutex: the workers exist, so that other threads may wake them. */
    bool has_workers;
    struct access_log *access_log;       /* owns; NULL: off */
    struct content_types *content_types; /* owns; Content-Type by the file name's ending */
    struct proxies *proxies;             /* owns; the proxies trusted to name their clients */
    struct verifications *verifications; /* owns; shared by the workers */
    struct redis_address redis;
    struct address_table *addresses; /* owns; NULL without connections_per_address_max */
    atomic_uint connections;         /* open, of all workers */
    unsigned worker_count;
    struct worker *workers[CONFIG_WORKERS_MAX]; /* owns */
    uint64_t started_ms;                        /* wall clock */
    atomic_ullong granted_ms;   /* monotonic: when it was granting last; 0: never. Of worker 0 */
    atomic_ullong continues_ms; /* monotonic: since when it goes on without Redis; 0: it does not */
    atomic_ullong continuable_ms; /* for how long it would go on without Redis from now on */
    struct outage_count unasked;  /* what had gone on without it before; of worker 0 */
    struct admin_counters admin;  /* written by the admin threads */
    atomic_bool draining; /* no new download is taken; set by the admin threads, until a restart */
    atomic_bool stopping; /* set once by the main thread; workers stop accepting */
};

/* How many workers a node of this configuration has. */
unsigned node_workers(const struct config *config);

/*
 * Returns the phase, which cannot change until node_phase_release. From any thread. It holds a
 * mutex, so the caller must not wait before the release.
 */
enum node_phase node_phase_hold(struct node *node);
void node_phase_release(struct node *node);
/* Changes the phase, once nobody holds it. The main thread only. */
void node_phase_enter(struct node *node, enum node_phase phase);

/* Notifies the issuer's shop of what became of the window's link, where the issuer has configured a
 * shop (see ledger_notify). From any thread. */
struct window;
void node_notify(struct node *node, struct window *window, enum ledger_notice_kind kind);
bool node_has_shop(const struct node *node, const char *issuer_id);

/* The key sets in force; the caller drops them (token_trust_drop). From any thread. */
struct token_trust *node_trust_hold(struct node *node);
/* The certificates in force, likewise (tls_drop); NULL without listen_tls. */
struct tls *node_tls_hold(struct node *node);

#endif
