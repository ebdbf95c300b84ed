/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolves Redis' name, for where.h, on a thread of its own and never by a caller: the resolver may
 * hang for minutes, and until it answers, the addresses from before count. It is asked at the start,
 * at each failure, and each WHERE_RESOLVE_MS, since a name may move while its old Redis lives on.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "server/base/clock.h"
#include "storage/ledger/ledger_internal.h"
#include "storage/ledger/where_internal.h"

int where_resolve(const struct ledger_redis_address *name, int flags,
                  struct ledger_redis_address out[WHERE_ADDRESSES_MAX], unsigned *count)
{
    struct addrinfo *all = NULL;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    int failure = getaddrinfo(name->host, NULL, &hints, &all);
    *count = 0;
    for (const struct addrinfo *one = all;
         failure == 0 && one != NULL && *count < WHERE_ADDRESSES_MAX; one = one->ai_next) {
        struct ledger_redis_address *to = &out[*count];
        *to = (struct ledger_redis_address){.port = name->port};
        if (getnameinfo(one->ai_addr, one->ai_addrlen, to->host, sizeof(to->host), NULL, 0,
                        NI_NUMERICHOST) == 0)
            ++*count;
    }
    if (all != NULL)
        freeaddrinfo(all);
    return failure != 0 ? failure : *count > 0 ? 0 : EAI_NONAME;
}

static void *run(void *argument)
{
    struct where *where = argument;
    pthread_mutex_lock(&where->lock);
    while (!where->stop) {
        struct timespec until = ledger_deadline(clock_monotonic_ms() + WHERE_RESOLVE_MS);
        if (!where->asked &&
            pthread_cond_timedwait(&where->resolve_asked, &where->lock, &until) == ETIMEDOUT)
            where_resolver_ask(where);
        if (!where->asked || where->stop)
            continue;
        struct ledger_redis_address found[WHERE_ADDRESSES_MAX];
        unsigned count;
        where->asked = false;
        pthread_mutex_unlock(&where->lock);
        int failure = where_resolve(&where->name.at[0], 0, found, &count);
        pthread_mutex_lock(&where->lock);
        where->failure = failure;
        where->asked_ms = where->asked ? clock_monotonic_ms() : 0;
        if (failure == 0)
            where_take(where, found, count);
        else
            pthread_cond_broadcast(&where->looked_once);
    }
    where_drop(where);
    return NULL;
}

int where_resolver_start(struct where *where)
{
    where->resolves = true;
    where_resolver_ask(where);
    return where_start(where, run, where);
}
