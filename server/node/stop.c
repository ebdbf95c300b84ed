/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's stop, in the opposite order of its start, so that each delivery is metered, journalled
 * and posted before the next thing goes. run.c calls it once, also after a start that failed half
 * way.
 */
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/admin/admin.h"
#include "server/base/log.h"
#include "server/config/content_types.h"
#include "server/delivery/proxies.h"
#include "server/grant/address_table.h"
#include "server/grant/window.h"
#include "server/link/verifications.h"
#include "server/node/node_internal.h"
#include "server/redis/redis_child.h"
#include "server/transport/tls.h"

#define LEDGER_CLOSE_MS 5000

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

int node_stop(struct node_parts *parts)
{
    struct node *node = parts->node;
    node_workers_stop(node);
    node_listeners_close(parts);
    admin_close_desk(parts->admin);
    node_phase_enter(node, NODE_ENDING);
    node_workers_destroy(node);
    access_log_close(&node->access_log);
    windows_destroy(&node->windows);
    address_table_destroy(&node->addresses);
    proxies_destroy(&node->proxies);
    verifications_destroy(&node->verifications);
    content_types_destroy(&node->content_types);
    int64_t unposted = close_ledger(node);
    media_close(&node->media);
    token_trust_drop(&node->trust);
    tls_drop(&node->tls);
    redis_child_stop(&parts->child);
    admin_stop(&parts->admin);
    return unposted < 0 ? (int)unposted : 0;
}
