/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a worker's windows and ends them, and tells Redis again what their groups hold, so that
 * nothing has to be given back: what is not told again is void. Called by admission.c and question.c.
 * It asks for no funds (question.c does). See grants.h.
 */
#include "server/grant/grants.h"

#include <errno.h>
#include <stdlib.h>

static void put_groups(struct grants *grants, const struct windows_made *made)
{
    for (unsigned i = 0; i < 2; i++) {
        if (made->groups[i] == NULL)
            continue;
        made->groups[i]->owned_next = grants->groups;
        grants->groups = made->groups[i];
    }
}

int grants_open_window(struct grants *grants, const struct window_key *key, uint64_t now_ms,
                       struct window **out)
{
    struct window_key own = *key;
    struct windows_made made;
    if (!ledger_account_is_awake(grants->ledger, key->account))
        return -EINPROGRESS;
    own.owner = grants->number;
    int status = window_open(grants->windows, &own, now_ms, out, &made);
    put_groups(grants, &made);
    if (status == -EMFILE && grants->swept_ms != now_ms) {
        grants_sweep(grants, now_ms, false);
        status = window_open(grants->windows, &own, now_ms, out, &made);
        put_groups(grants, &made);
    }
    if (made.window != NULL) {
        made.window->owned_next = grants->owned;
        grants->owned = made.window;
    }
    return status;
}

/* ---- telling ---- */

/* What was told of a group, and is not answered yet. The right to ask for the group keeps it. */
struct telling {
    struct grants *grants;      /* borrows */
    struct window_group *group; /* borrows */
    uint64_t number, asked_ms;
    bool is_late;
};

static void end(const struct telling *telling, const struct ledger_credit *credit)
{
    const struct grants *grants = telling->grants;
    uint64_t waiters = group_told(grants->windows, telling->group, telling->number, credit,
                                  telling->asked_ms + grants->settings.validity_ms);
    if (waiters != 0)
        grants->worker.wake(grants->worker.self, waiters);
}

/* The group may be gone once the right to ask for it was given up, so a late answer says nothing. */
static void on_late(void *context)
{
    struct telling *telling = context;
    end(telling, NULL);
    telling->is_late = true;
}

static void on_reply(void *context, const struct redisReply *reply)
{
    struct telling *telling = context;
    struct ledger_credit credit;
    if (!telling->is_late)
        end(telling, ledger_tell_reply(reply, &credit) == 0 ? &credit : NULL);
    free(telling);
}

static void tell(struct grants *grants, struct window_group *group, const struct ledger_told *told,
                 uint64_t now_ms)
{
    const struct ledger_redis *redis = grants->redis;
    struct ledger_command command;
    struct telling *telling = malloc(sizeof(*telling));
    const struct telling asked = {
        .grants = grants, .group = group, .number = told->count, .asked_ms = now_ms};
    if (telling == NULL) {
        end(&asked, NULL);
        return;
    }
    *telling = asked;
    ledger_tell_command(grants->ledger, group->account, group->of_link ? group->link_id : NULL,
                        told, (uint32_t)grants->settings.validity_ms, &command);
    int status = redis->send(redis->self, command.argc, command.argv, command.lengths, on_reply,
                             on_late, telling);
    if (status != 0) {
        end(telling, NULL);
        free(telling);
    }
}

/* ---- sweeping ---- */

static void sweep_groups(struct grants *grants, uint64_t now_ms, bool all)
{
    struct window_group **at = &grants->groups;
    uint64_t losses = ledger_losses(grants->ledger);
    bool has_told = true;
    while (*at != NULL) {
        struct window_group *group = *at, *next = group->owned_next;
        struct ledger_told told;
        if (group_sweep(grants->windows, group, now_ms)) {
            *at = next;
            continue;
        }
        if (grants_may_ask(grants) &&
            group_tell(grants->windows, group, grants->settings.validity_ms, all, now_ms, &told))
            tell(grants, group, &told, now_ms);
        has_told = has_told && group_has_told(grants->windows, group, losses);
        at = &group->owned_next;
    }
    if (!has_told)
        return;
    grants->losses_told = losses + 1;
    ledger_ceilings_are_told(grants->ledger, grants->number, losses);
}

void grants_give_back(struct grants *grants, uint64_t now_ms)
{
    for (struct window_group *group = grants->groups; group != NULL && grants_may_ask(grants);
         group = group->owned_next) {
        struct ledger_told told;
        if (ledger_is_recalled(group->account, now_ms) &&
            group_tell(grants->windows, group, grants->settings.validity_ms, false, now_ms, &told))
            tell(grants, group, &told, now_ms);
    }
}

void grants_sweep(struct grants *grants, uint64_t now_ms, bool all)
{
    uint64_t idle_ms = all ? 0 : windows_idle_ms(grants->windows);
    struct window **at = &grants->owned;
    grants->swept_ms = now_ms;
    while (*at != NULL) {
        struct window *window = *at, *next = window->owned_next;
        if (window_sweep(grants->windows, window, now_ms, idle_ms))
            *at = next;
        else
            at = &window->owned_next;
    }
    sweep_groups(grants, now_ms, all);
}
