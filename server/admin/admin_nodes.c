/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/nodes, for operators: each node that Redis knows, with its lanes, their leases and what they have to
 * post. The desk's threads call it; it blocks for Redis. Of this node's own lanes it tells what is so just now.
 */
#include <string.h>

#include "server/admin/admin_internal.h"
#include "storage/ledger/nodes.h"

static json_t *node_of(json_t *nodes, const struct ledger_known_lane *lane)
{
    size_t i;
    json_t *node;
    json_array_foreach(nodes, i, node)
    {
        if (strcmp(json_string_value(json_object_get(node, "directory")), lane->directory) == 0 &&
            strcmp(json_string_value(json_object_get(node, "node")), lane->node) == 0)
            return node;
    }
    node = json_pack("{s:s, s:s, s:b, s:[]}", "node", lane->node, "directory", lane->directory,
                     "own", lane->is_own, "lanes");
    (void)json_array_append_new(nodes, node);
    return node;
}

static void tell_known(void *context, const struct ledger_known_lane *lane)
{
    static const char *const leases[] = {[LEDGER_LEASE_NONE] = "none",
                                         [LEDGER_LEASE_HELD] = "held",
                                         [LEDGER_LEASE_RETURNED] = "returned",
                                         [LEDGER_LEASE_RUN_OUT] = "run_out"};
    json_t *told = json_pack(
        "{s:n, s:s, s:s, s:I, s:I, s:o, s:I, s:o, s:o, s:s}", "lane", "instance", lane->instance,
        "lease", leases[lane->lease], "lease_number", (json_int_t)lane->number, "seen_ms",
        (json_int_t)lane->seen_ms, "functions",
        lane->functions != 0 ? json_integer(lane->functions) : json_null(), "records",
        (json_int_t)lane->records, "unposted",
        lane->tells_rest ? json_integer((json_int_t)lane->unposted) : json_null(), "set_aside",
        lane->tells_rest ? json_integer((json_int_t)lane->aside) : json_null(), "text", "");
    (void)json_array_append_new(json_object_get(node_of(context, lane), "lanes"), told);
}

/* Replaces what Redis was told of a lane of this node. */
static void tell_own(void *context, const struct ledger_lane *lane)
{
    size_t i, j;
    json_t *node, *told;
    json_array_foreach((json_t *)context, i, node)
    {
        json_array_foreach(json_object_get(node, "lanes"), j, told)
        {
            if (strcmp(json_string_value(json_object_get(told, "instance")), lane->instance) != 0)
                continue;
            (void)json_object_set_new(told, "lane", json_string(lane->name));
            (void)json_object_set_new(told, "unposted", json_integer((json_int_t)lane->unposted));
            (void)json_object_set_new(told, "set_aside", json_integer((json_int_t)lane->aside));
            (void)json_object_set_new(told, "text", json_string(lane->text));
        }
    }
}

void admin_nodes_list(struct node *node, const struct admin_request *request,
                      struct admin_answer *answer)
{
    json_t *nodes = json_array();
    (void)request;
    int failure = ledger_each_known_lane(node->ledger, tell_known, nodes);
    if (failure != 0) {
        json_decref(nodes);
        admin_answer_errno(answer, failure);
        return;
    }
    ledger_each_lane(node->ledger, tell_own, nodes);
    admin_answer_json(answer, 200, json_pack("{s:o}", "nodes", nodes));
}
