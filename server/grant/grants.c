/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a worker's windows and ends them, and gives funds back to Redis: those of idle windows,
 * those that another window needs, those that a question would ask for in vain. Called by
 * admission.c and question.c. It asks for no funds (question.c does). See grants.h.
 */
#include "server/grant/grants.h"

#include <errno.h>

/* Where Redis cannot be reached, the grant's expiry gives the funds back. */
static void give(void *context, const struct ledger_account *account,
                 const unsigned char link_id[LEDGER_LINK_ID_BYTES], const struct funds *funds)
{
    const struct grants *grants = context;
    const struct ledger_redis *redis = grants->redis;
    struct ledger_command command;
    ledger_release_command(grants->ledger, account, link_id, funds->bytes, &command);
    (void)redis->send(redis->self, command.argc, command.argv, command.lengths, NULL, NULL, NULL);
}

int grants_open_window(struct grants *grants, const struct window_key *key, uint64_t now_ms,
                       struct window **out)
{
    struct window_key own = *key;
    bool created;
    own.owner = grants->number;
    int status = window_open(grants->windows, &own, now_ms, out, &created);
    if (status == -EMFILE && grants->swept_ms != now_ms) {
        grants_sweep(grants, now_ms, false);
        status = window_open(grants->windows, &own, now_ms, out, &created);
    }
    if (status == 0 && created) {
        (*out)->owned_next = grants->owned;
        grants->owned = *out;
    }
    return status;
}

void grants_sweep(struct grants *grants, uint64_t now_ms, bool all)
{
    uint64_t idle_ms = all ? 0 : windows_idle_ms(grants->windows);
    struct window **at = &grants->owned;
    grants->swept_ms = now_ms;
    while (*at != NULL) {
        struct window *window = *at, *next = window->owned_next;
        if (window_sweep(grants->windows, window, now_ms, idle_ms, give, grants))
            *at = next;
        else
            at = &window->owned_next;
    }
}

uint64_t grants_need(struct grants *grants, const struct demand *demand)
{
    struct window *window = demand->window;
    struct funds surplus = {0};
    unsigned set = demand_set(demand);
    if (set == 0)
        return demand->need;
    uint64_t has = window_level(window, set, &demand->purse->funds, &surplus);
    if (!funds_are_empty(&surplus)) /* must reach Redis before the question, which may need it */
        give(grants, window->account, window->link_id, &surplus);
    return has >= demand->need ? 0 : demand->need - has;
}

bool grants_recall(struct grants *grants, const struct demand *demand, enum ledger_fund fund)
{
    uint64_t need = grants_need(grants, demand);
    return need == 0 ||
           windows_recall(grants->windows, demand->window, fund, need, give, grants) > 0;
}
