/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each lane of the state directory has still to post: the node's own, those that its drains have, and
 * those that do not open. Admin threads call it. It posts nothing itself. See ledger_lanes.h.
 */
#include <stdio.h>
#include <string.h>

#include "storage/ledger/drains.h"

_Static_assert(LEDGER_LANES_MAX == LANES_MAX, "each lane is told");
_Static_assert(LEDGER_LANE_SIZE == LANE_NAME_SIZE, "as lane.h");
_Static_assert(LEDGER_INSTANCE_SIZE == LEDGER_HEX_SIZE, "likewise");

static void name_one(void *context, const struct ledger_account *account)
{
    struct ledger_lane *lane = context;
    snprintf(lane->text, sizeof(lane->text),
             "account %.300s is set aside; `tollgate ledger release` says what is wrong with it",
             account->tag);
}

static void describe(struct ledger *ledger, struct ledger_lane *out)
{
    uint64_t durable = atomic_load(&ledger->journal.durable_records);
    uint64_t posted = ledger_posted(ledger);
    enum ledger_state state = ledger_state(ledger);
    memcpy(out->name, ledger->lane.name, sizeof(out->name));
    memcpy(out->instance, ledger->instance, sizeof(out->instance));
    out->unposted = durable > posted ? durable - posted : 0;
    out->aside = atomic_load(&ledger->accounts_aside);
    /* A full journal opens no download, and is posted all the same. */
    bool is_current = state == LEDGER_READY || state == LEDGER_FULL || state == LEDGER_EXHAUSTED;
    out->is_posted = is_current && out->unposted == 0 && out->aside == 0;
    if (!is_current)
        ledger_state_text(ledger, out->text, sizeof(out->text));
    else if (out->aside > 0)
        ledger_each_set_aside(ledger, 1, name_one, out);
}

static void describe_drain(void *context, struct ledger *drain)
{
    describe(drain, context);
}

void ledger_each_lane(struct ledger *ledger,
                      void (*each)(void *context, const struct ledger_lane *lane), void *context)
{
    for (unsigned number = 0; number < LANES_MAX; number++) {
        struct ledger_lane lane = {.is_own = number == ledger->lane.number};
        if (!lane.is_own && !lane_exists(ledger->options.state_dir, number))
            continue;
        lane_name(number, lane.name);
        if (lane.is_own)
            describe(ledger, &lane);
        else if (!drains_look(ledger, number, describe_drain, &lane, lane.text,
                              sizeof(lane.text)) &&
                 lane.text[0] == '\0')
            snprintf(lane.text, sizeof(lane.text), "it has not been opened yet");
        each(context, &lane);
    }
}

static void post_soon(void *context, struct ledger *ledger)
{
    (void)context;
    pthread_mutex_lock(&ledger->lock);
    ledger->posts_wanted = atomic_load(&ledger->journal.durable_records);
    pthread_mutex_unlock(&ledger->lock);
    ledger_wake_poster(ledger);
}

void ledger_post_all_soon(struct ledger *ledger)
{
    (void)writer_queue_mark(ledger);
    post_soon(NULL, ledger);
    drains_each(ledger, post_soon, NULL);
}
