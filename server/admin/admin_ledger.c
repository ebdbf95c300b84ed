/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/ledger: what each lane of the node has journalled, and what of it is not in Redis yet. A
 * thread of the desk calls it, since it looks at each account with records; it waits for nothing.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/admin/admin_internal.h"
#include "storage/ledger/status.h"

static json_t *time_json(uint64_t ms)
{
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(ms / 1000);
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return json_null();
    return json_string(text);
}

static json_t *lane_json(const struct ledger_lane_status *lane)
{
    json_t *row = json_pack(
        "{s:s, s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "lane",
        lane->lane, "instance", lane->instance, "own", lane->is_own, "state",
        admin_ledger_state(lane->state), "text", lane->text, "lease", (json_int_t)lane->lease,
        "first_segment", (json_int_t)lane->first_segment, "segments", (json_int_t)lane->segments,
        "bytes", (json_int_t)lane->bytes, "records", (json_int_t)lane->records, "posted",
        (json_int_t)lane->posted, "unposted", (json_int_t)lane->unposted, "accounts",
        (json_int_t)lane->accounts, "accounts_unposted", (json_int_t)lane->accounts_unposted,
        "retention", lane->retention);
    (void)json_object_set_new(row, "unposted_since",
                              lane->unposted_since_ms != 0 ? time_json(lane->unposted_since_ms)
                                                           : json_null());
    return row;
}

/* Where Redis is now; null: it is not known yet. */
static json_t *in_force(struct ledger *ledger)
{
    struct ledger_redis_address address;
    char error[256], text[sizeof(address.host) + 16];
    if (ledger_redis_address(ledger, &address, error, sizeof(error)) != 0)
        return json_null();
    if (address.port == 0)
        return json_string(address.host);
    bool is_v6 = strchr(address.host, ':') != NULL;
    (void)snprintf(text, sizeof(text), is_v6 ? "[%s]:%d" : "%s:%d", address.host, address.port);
    return json_string(text);
}

void admin_ledger(struct node *node, const struct admin_request *request,
                  struct admin_answer *answer)
{
    struct ledger_lane_status lanes[LEDGER_STATUS_MAX];
    struct ledger_stats stats;
    json_t *rows = json_array();
    if (!admin_validate_parameters(request, NULL, 0, answer)) {
        json_decref(rows);
        return;
    }
    size_t count = ledger_status(node->ledger, lanes);
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(rows, lane_json(&lanes[i]));
    ledger_stats(node->ledger, &stats);
    json_t *value = json_pack("{s:s, s:o, s:I, s:{s:b, s:s, s:o}}", "node", node->config->node,
                              "lanes", rows, "accounts_set_aside",
                              (json_int_t)stats.accounts_set_aside, "redis", "up", stats.redis_up,
                              "address", node->redis.address, "in_force", in_force(node->ledger));
    if (value != NULL)
        admin_ledger_troubles(node->ledger, value);
    admin_answer_json(answer, 200, value);
}
