/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what the lanes of a ledger are at. See status.h.
 */
#include "storage/ledger/status.h"

#include <stdio.h>

#include "storage/ledger/drains.h"
#include "storage/ledger/retention.h"

_Static_assert(LEDGER_STATUS_MAX == LANES_MAX, "each lane has a place");
_Static_assert(sizeof(((struct ledger_lane_status *)NULL)->lane) == LANE_NAME_SIZE, "as lane.h");
_Static_assert(sizeof(((struct ledger_lane_status *)NULL)->instance) == LEDGER_HEX_SIZE,
               "likewise");

struct filling {
    struct ledger_lane_status *lanes;
    size_t count;
};

static void fill(void *context, struct ledger *ledger)
{
    struct filling *filling = context;
    struct ledger_lane_status *out = &filling->lanes[filling->count];
    *out = (struct ledger_lane_status){
        .is_own = filling->count == 0,
        .state = ledger_state(ledger),
        .lease = ledger_lease_number(ledger),
        .first_segment = atomic_load(&ledger->journal.first),
        .records = atomic_load(&ledger->journal.durable_records),
    };
    filling->count++;
    snprintf(out->lane, sizeof(out->lane), "%s", ledger->lane.name);
    snprintf(out->instance, sizeof(out->instance), "%s", ledger->instance);
    ledger_state_text(ledger, out->text, sizeof(out->text));
    out->segments = journal_segments(&ledger->journal) + 1 - out->first_segment;
    out->bytes =
        (out->records - journal_base(&ledger->journal, out->first_segment)) * JOURNAL_RECORD_BYTES;
    ledger_retention_text(ledger, out->retention, sizeof(out->retention));
    pthread_mutex_lock(&ledger->lock);
    out->posted = ledger->posted < out->records ? ledger->posted : out->records;
    out->unposted_since_ms = ledger->unposted_since_ms;
    pthread_mutex_unlock(&ledger->lock);
    out->unposted = out->records - out->posted;
    if (out->unposted == 0)
        out->unposted_since_ms = 0;
    pthread_mutex_lock(&ledger->names.lock);
    out->accounts = ledger->names.accounts;
    pthread_mutex_unlock(&ledger->names.lock);
    pthread_mutex_lock(&ledger->names.walk);
    for (struct ledger_account *account = names_recorded(&ledger->names); account != NULL;
         account = names_recorded_next(account)) {
        out->accounts_unposted += !ledger_account_is_posted(account);
    }
    pthread_mutex_unlock(&ledger->names.walk);
}

size_t ledger_status(struct ledger *ledger, struct ledger_lane_status out[LEDGER_STATUS_MAX])
{
    struct filling filling = {.lanes = out};
    fill(&filling, ledger);
    drains_each(ledger, fill, &filling);
    return filling.count;
}
