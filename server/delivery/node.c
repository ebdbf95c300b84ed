/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers, the admin threads and the doctor ask of a node and tell it: its phase, its keys
 * and certificates, and notices for the shops. node_run, in server/node/,
 * changes it.
 */
#include "server/delivery/node.h"

#include <pthread.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/processors.h"
#include "server/delivery/worker.h"
#include "server/link/trust.h"
#include "server/transport/tls.h"

_Static_assert(CONFIG_WORKERS_MAX <= 64, "a window's waiters have 64 bits");

unsigned node_workers(const struct config *config)
{
    uint64_t wanted = config->workers > 0 ? config->workers : processors_available();
    return wanted < CONFIG_WORKERS_MAX ? (unsigned)wanted : CONFIG_WORKERS_MAX;
}

/* ---- phases ---- */

enum node_phase node_phase_hold(struct node *node)
{
    pthread_mutex_lock(&node->phase_mutex);
    return node->phase;
}

void node_phase_release(struct node *node)
{
    pthread_mutex_unlock(&node->phase_mutex);
}

void node_phase_enter(struct node *node, enum node_phase phase)
{
    pthread_mutex_lock(&node->phase_mutex);
    node->phase = phase;
    pthread_mutex_unlock(&node->phase_mutex);
}

/* ---- keys and certificates ---- */

struct token_trust *node_trust_hold(struct node *node)
{
    pthread_mutex_lock(&node->reload_mutex);
    struct token_trust *trust = token_trust_hold(node->trust);
    pthread_mutex_unlock(&node->reload_mutex);
    return trust;
}

struct tls *node_tls_hold(struct node *node)
{
    pthread_mutex_lock(&node->reload_mutex);
    struct tls *tls = tls_hold(node->tls);
    pthread_mutex_unlock(&node->reload_mutex);
    return tls;
}

/* ---- what the shops are told ---- */

bool node_has_shop(const struct node *node, const char *issuer_id)
{
    const struct config *config = node->config;
    if (config->admin_listen[0] == '\0')
        return false;
    for (unsigned i = 0; i < config->issuers_count; i++) {
        if (strcmp(config->issuers[i].id, issuer_id) == 0)
            return config->issuers[i].admin_secret_file[0] != '\0';
    }
    return false;
}

void node_notify(struct node *node, struct window *window, enum ledger_notice_kind kind)
{
    if (window->jti == NULL) /* nobody asks for it */
        return;
    size_t length;
    const struct ledger_notice notice = {
        .kind = kind,
        .account = ledger_account_name(window->account),
        .file = ledger_file_path(window->file, &length),
        .jti = window->jti,
        .bytes = window_arrived(window),
        .time_ms = clock_real_ms(),
    };
    ledger_notify(node->ledger, window->account, &notice);
}
