/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET and PUT /v1/node, for operators: how far the node is from holding nothing that is not in Redis,
 * and whether it takes new downloads. The desk's threads call it. It stops nothing: a drained node is
 * stopped by whoever started it.
 */
#include <string.h>

#include "server/admin/admin_internal.h"

#define FORM_NODE "{\"draining\":true}, or false"

struct lanes {
    json_t *list;
    bool are_posted;
};

static void tell_lane(void *context, const struct ledger_lane *lane)
{
    struct lanes *lanes = context;
    lanes->are_posted = lanes->are_posted && lane->is_posted;
    (void)json_array_append_new(
        lanes->list, json_pack("{s:s, s:s, s:b, s:b, s:I, s:I, s:s}", "lane", lane->name,
                               "instance", lane->instance, "own", lane->is_own, "posted",
                               lane->is_posted, "unposted", (json_int_t)lane->unposted, "set_aside",
                               (json_int_t)lane->aside, "text", lane->text));
}

/* Who asks wants all of it posted, and does not wait for the interval, as with an account's view. */
static void answer_node(struct node *node, struct admin_answer *answer)
{
    struct ledger_stats stats;
    struct lanes lanes = {json_array(), true};
    bool is_draining = atomic_load(&node->draining);
    ledger_post_all_soon(node->ledger);
    /* Downloads before the lanes: what the last of them journalled is seen there. */
    ledger_stats(node->ledger, &stats);
    ledger_each_lane(node->ledger, tell_lane, &lanes);
    admin_answer_json(
        answer, 200,
        json_pack(
            "{s:s, s:b, s:I, s:b, s:b, s:o}", "node", node->config->node, "draining", is_draining,
            "downloads", (json_int_t)stats.downloads_open, "posted", lanes.are_posted, "may_go",
            is_draining && stats.downloads_open == 0 && lanes.are_posted, "lanes", lanes.list));
}

void admin_node_show(struct node *node, const struct admin_request *request,
                     struct admin_answer *answer)
{
    (void)request;
    answer_node(node, answer);
}

void admin_node_change(struct node *node, const struct admin_request *request,
                       struct admin_answer *answer)
{
    json_t *body = admin_read_json(request, false, answer);
    bool draining = false;
    const struct admin_member members[] = {
        {.name = "draining", .kind = ADMIN_MEMBER_TRUTH, .required = true, .truth = &draining}};
    if (body != NULL && admin_read_members(body, members, 1, FORM_NODE, answer)) {
        if (atomic_exchange(&node->draining, draining) != draining)
            admin_log_draining(draining);
        answer_node(node, answer);
    }
    json_decref(body);
}
