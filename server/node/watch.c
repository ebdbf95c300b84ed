/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the main thread looks at several times a second without being asked: whether a key file has
 * changed, because a key that was taken out of it shall end its links within a second, and whether
 * an OCSP response has ended. run.c calls it.
 */
#include <time.h>

#include "server/base/log.h"
#include "server/node/node_internal.h"
#include "server/transport/tls.h"

void node_watch_begin(struct node_watch *watch, const struct config *config)
{
    *watch = (struct node_watch){.print = trust_files_print(config)};
}

static void watch_keys(struct node *node, struct node_watch *watch)
{
    uint64_t print = trust_files_print(node->config);
    bool changed = print != watch->print;
    if (!changed && !watch->broken)
        return;
    watch->print = print;
    watch->broken = !node_reload_keys(node, changed);
    if (!watch->broken)
        node_workers_tell_reload(node);
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

void node_watch(struct node *node, struct node_watch *watch)
{
    watch_keys(node, watch);
    watch_staples(node);
}
