/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node with `redis_down: continue` that is killed while Redis is away: its journal alone knows what it
 * has served.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_outage.h"

#define RATE  200000 /* by which TRACK_LONG takes 25 s */
#define PIECE 20000

static size_t size_of(struct site *site, const char *path)
{
    size_t length;
    site_media_bytes(site, path, &length);
    return length;
}

static uint64_t records_written(struct site *site)
{
    static const char name[] = "\"records_written\":";
    const char *health = (const char *)site_admin(site, "GET", "/v1/health", NULL)->body;
    const char *found = strstr(health, name);
    cr_assert(found, "%s", health);
    return strtoull(found + strlen(name), NULL, 10);
}

/* Begins a transfer that takes long, and reads a piece of it. */
static int begin_long(struct site *site)
{
    char bytes[PIECE];
    const char *link =
        site_link(site, .account = "alice", .path = TRACK_LONG, .limits = {.rate = RATE});
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    cr_assert_eq(raw_read(fd, bytes, PIECE), PIECE);
    return fd;
}

/* Reads on until the journal holds what was read before. A mark is written where the download has moved
 * since the one before, so the third holds what had arrived before the first; two records more may be of
 * another download. Returns how much was read. */
static size_t read_until_marked(struct site *site, int fd)
{
    char bytes[PIECE];
    size_t read = 0;
    for (uint64_t until = records_written(site) + 5; records_written(site) < until; read += PIECE)
        cr_assert_eq(raw_read(fd, bytes, PIECE), PIECE);
    return read;
}

/* Kills it while the transfer is under way, and starts it again without Redis, where it knows nobody. */
static size_t kill_and_start(struct site *site, int fd, const char *link)
{
    site_node_kill(site);
    size_t rest = raw_drain(fd);
    close(fd);
    site_node_start(site);
    cr_assert_eq(fetch(site, link, .fresh = true)->status, 503);
    cr_assert(health_says(site, "\"continues\":false"));
    return rest;
}

Test(outage, of_redis_in_which_the_node_is_killed_bills_what_its_journal_holds_once)
{
    struct site *site =
        site_create(.own_redis = true, .settings = "redis_down: continue\njournal_mark_ms: 500\n");
    size_t small = size_of(site, TRACK_VBR);
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    site_account_open_postpaid(site, "alice");
    await_knowing(site);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    site_redis_kill(site);
    await_health(site, "\"continues\":true");
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    int fd = begin_long(site);
    size_t marked = 2 * small + PIECE;
    size_t arrived = marked + read_until_marked(site, fd);
    arrived += kill_and_start(site, fd, link);
    cr_assert_lt(arrived, 2 * small + size_of(site, TRACK_LONG), "nothing was under way");

    site_redis_start(site);
    site_node_await_ready(site);
    uint64_t billed = site_usage_settled(site, "alice");
    cr_expect_leq(billed, arrived, "billed %llu of %zu", (unsigned long long)billed, arrived);
    cr_expect_geq(billed, marked, "billed %llu, %zu are marked", (unsigned long long)billed,
                  marked);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    site_usage_await(site, "alice", billed + small);
    site_destroy(&site);
}
