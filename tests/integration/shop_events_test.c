/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events that a shop reads: a download that completed, a link that is used up, a balance that is
 * nearly paid out. A shop sees its own events alone.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/integration/shop_steps.h"

static json_t *events_after(struct site *site, const char *secret, const char *cursor)
{
    return shop_call_with(site,
                          &(struct shop_call){.secret = secret,
                                              .method = "GET",
                                              .path = "/v1/events",
                                              .parameters = site_format(site, "?after=%s", cursor),
                                              .status = 200});
}

/* Waits for the first event of the type after the cursor `next`, which moves behind it. The caller
 * owns the event (json_decref). */
static json_t *await_event(struct site *site, const char *type, char next[64])
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        json_t *list = events_after(site, SHOP_SECRET, next), *event;
        size_t index;
        json_array_foreach(json_object_get(list, "events"), index, event)
        {
            snprintf(next, 64, "%s", json_string_value(json_object_get(event, "id")));
            if (strcmp(json_string_value(json_object_get(event, "type")), type) == 0) {
                json_incref(event);
                json_decref(list);
                return event;
            }
        }
        json_decref(list);
        cr_assert(harness_now_ms() < deadline_ms, "no event %s comes", type);
        harness_pause();
    }
}

Test(shop, is_told_of_what_completed_is_used_up_or_nearly_paid_out)
{
    struct site *site = shop_site("balance_low_bytes: 9900000\nuse_window_s: 1\n");
    char next[64] = "0";
    site_account_open_prepaid(site, "alice", 10000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT, .jti = "order-1",
                                 .limits = {.max_uses = 1});
    answer_expect_file(site, fetch(site, link), TRACK_SHORT);
    json_t *event = await_event(site, "completed", next);
    cr_expect_str_eq(json_string_value(json_object_get(event, "account")), "alice");
    cr_expect_str_eq(json_string_value(json_object_get(event, "jti")), "order-1");
    cr_expect_str_eq(json_string_value(json_object_get(event, "file")), TRACK_SHORT);
    json_decref(event);
    char from_start[64] = "0";
    event = await_event(site, "balance_low", from_start);
    cr_expect_lt(json_integer_value(json_object_get(event, "bytes")), 9900000);
    json_decref(event);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link, .range = "0-0")->status != 410 && harness_now_ms() < deadline_ms)
        harness_pause();
    json_decref(await_event(site, "used_up", next));
    /* A tail that is fetched later, in a new window, is not a second download. */
    const char *twice = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-2",
                                  .limits = {.max_uses = 1, .resume_s = 60});
    answer_expect_file(site, fetch(site, twice), TRACK_TINY);
    json_decref(await_event(site, "completed", next));
    json_t *list = events_after(site, SHOP_SECRET, "0");
    size_t completed = 0, index;
    json_array_foreach(json_object_get(list, "events"), index, event) completed +=
        strcmp(json_string_value(json_object_get(event, "type")), "completed") == 0;
    cr_expect_eq(completed, 2u);
    json_decref(list);
    json_t *theirs = events_after(site, RIVAL_SECRET, "0");
    cr_expect_eq(json_array_size(json_object_get(theirs, "events")), 0u);
    json_decref(theirs);
    CALL(site, MINE, .method = "GET", .path = "/v1/events", .parameters = "?after=yesterday",
         .status = 422, .reason = "cursor_invalid");
    CALL(site, MINE, .method = "GET", .path = "/v1/events", .parameters = "?limit=0", .status = 422,
         .reason = "limit_invalid");
    shop_site_destroy(&site);
}
