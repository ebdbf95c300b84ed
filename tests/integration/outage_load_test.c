/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node with `redis_down: continue` that loses its Redis under load: clients of postpaid and prepaid
 * accounts download all the while, and what is served without Redis is counted by the byte.
 */
#include <signal.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_outage.h"
#include "tests/integration/load_steps.h"

#define CAP  1000000 /* of each account, in bytes */
#define PART 1000
#define RATE 200000
#define PAID (1000u * 1000 * 1000)
#define SETTINGS                                                                                   \
    "workers: 2\n"                                                                                 \
    "grant_validity_ms: 2000\n"                                                                    \
    "redis_down: continue\n"                                                                       \
    "redis_down_bytes_max: 1000000\n"                                                              \
    "windows_max: 2000\n"                                                                          \
    "journal_segment_bytes: 8388608\n"

/* The accounts, and how often each has been served before the next thing happens. */
enum {
    ALICE,
    BOB,
    CAROL,   /* these three are postpaid, and take whole files as fast as they can */
    PACED,   /* postpaid; its transfers take longer than a grant is valid */
    COUNTED, /* postpaid; it asks only without Redis, for parts that the cap is a multiple of */
    DAVE,
    DORA,    /* these two are prepaid */
    UNKNOWN, /* postpaid, and this node has never asked about it */
    ACCOUNTS,
};
#define SERVED 30

static const struct crowd {
    const char *account, *path;
    size_t length;
    uint64_t rate;
    unsigned clients;
    bool is_prepaid, comes_later;
} crowds[ACCOUNTS] = {
    [ALICE] = {.account = "alice", .path = TRACK_TINY, .clients = 5},
    [BOB] = {.account = "bob", .path = TRACK_TINY, .clients = 5},
    [CAROL] = {.account = "carol", .path = TRACK_TINY, .clients = 5},
    [PACED] = {.account = "paced", .path = TRACK_VBR, .rate = RATE, .clients = 2},
    [COUNTED] = {.account = "counted",
                 .path = TRACK_VBR,
                 .length = PART,
                 .clients = 8,
                 .comes_later = true},
    [DAVE] = {.account = "dave", .path = TRACK_TINY, .clients = 4, .is_prepaid = true},
    [DORA] = {.account = "dora", .path = TRACK_TINY, .clients = 4, .is_prepaid = true},
    [UNKNOWN] = {.account = "unknown", .path = TRACK_TINY, .clients = 4, .comes_later = true},
};

struct stage {
    struct site *site;
    struct load *load;
    struct load_group *groups[ACCOUNTS];
    uint64_t unasked; /* bytes that went on without Redis before it went; 0 on a quick machine */
};

static void open_stage(struct stage *stage)
{
    stage->site = site_create(.own_redis = true, .settings = SETTINGS);
    stage->load = load_create();
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        const struct crowd *crowd = &crowds[i];
        if (crowd->is_prepaid)
            site_account_open_prepaid(stage->site, crowd->account, PAID);
        else
            site_account_open_postpaid(stage->site, crowd->account);
        stage->groups[i] =
            load_add(stage->load, .at = stage->site, .account = crowd->account, .path = crowd->path,
                     .length = crowd->length, .rate = crowd->rate, .clients = crowd->clients,
                     .comes_later = crowd->comes_later);
    }
    await_knowing(stage->site);
}

static void await_all_served(struct stage *stage)
{
    for (unsigned i = 0; i < ACCOUNTS; i++)
        load_await_served(stage->load, stage->groups[i], i == PACED ? 2 : SERVED);
}

static size_t size_of(const struct stage *stage, const char *path)
{
    size_t size;
    (void)site_media_bytes(stage->site, path, &size);
    return size;
}

/* One that Redis has confirmed, with nothing under way when the outage begins. */
static void make_counted_known(struct stage *stage)
{
    const char *link = site_link(stage->site, .account = "counted", .path = TRACK_TINY);
    answer_expect_file(stage->site, fetch(stage->site, link, .fresh = true), TRACK_TINY);
}

/* The load of before, until Redis goes. */
static void begin(struct stage *stage)
{
    load_start(stage->load);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        if (!crowds[i].comes_later)
            load_await_served(stage->load, stage->groups[i], i == PACED ? 2 : SERVED);
    make_counted_known(stage);
    stage->unasked = site_traffic(stage->site, "bytes_unasked");
}

/* Judges requests that were sent after the node had noticed, and before Redis is back. Some of the cap of
 * accounts that were under load may have gone before that. */
static void expect_served_by_plan(struct stage *stage, unsigned i, unsigned time)
{
    const char *account = crowds[i].account;
    const struct load_count count = load_counted(stage->load, stage->groups[i], time);
    unsigned long long bytes = count.bytes;
    cr_expect_eq(count.elsewhere, 0u, "%s", account);
    if (i == COUNTED)
        cr_expect_eq(bytes, CAP, "%llu bytes came, and not the cap", bytes);
    else if (crowds[i].is_prepaid || i == UNKNOWN)
        cr_expect_eq(bytes, 0u, "%s: %llu bytes came", account, bytes);
    else
        cr_expect_leq(bytes, CAP, "%s: %llu bytes came", account, bytes);
}

/* Each of the five got its cap but for what is smaller than its next request, and the one that is paced has
 * begun it, if not got it. */
static void expect_caps(const struct stage *stage)
{
    uint64_t tiny = size_of(stage, TRACK_TINY), paced = size_of(stage, TRACK_VBR);
    uint64_t most = stage->unasked + 5u * CAP;
    expect_unasked(stage->site, most - 3 * tiny - 2 * paced, most);
}

/* Without Redis, until every cap is reached. */
static void expect_outage(struct stage *stage)
{
    await_health(stage->site, "\"push_up\":false");
    unsigned time = load_next_time(stage->load);
    load_let_in(stage->groups[COUNTED]);
    load_let_in(stage->groups[UNKNOWN]);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        load_await_waiting(stage->load, stage->groups[i], i == PACED ? 2 : 2 * SERVED);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        expect_served_by_plan(stage, i, time);
    await_health(stage->site, "\"continues\":true");
    expect_caps(stage);
    (void)load_next_time(stage->load);
}

static void expect_the_end(struct stage *stage)
{
    await_health(stage->site, "\"granting\":true");
    site_log_await(stage->site, "Redis can be asked again; in ");
    (void)load_next_time(stage->load);
    await_all_served(stage);
    load_stop(stage->load);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        const char *account = crowds[i].account;
        uint64_t received = load_counted_all(stage->load, stage->groups[i]).bytes;
        received += i == COUNTED ? size_of(stage, TRACK_TINY) : 0;
        site_usage_await(stage->site, account, received);
        cr_expect_eq(site_usage_settled(stage->site, account), received, "and it stays so");
        site_await_nothing_reserved(stage->site, account);
        if (crowds[i].is_prepaid)
            cr_expect_eq(site_balance(stage->site, account).balance, PAID - (int64_t)received);
    }
    load_destroy(&stage->load);
    site_destroy(&stage->site);
}

Test(outage, of_a_killed_redis_under_load_is_served_to_the_cap_and_billed_exactly, .timeout = 900)
{
    struct stage stage;
    open_stage(&stage);
    begin(&stage);
    site_redis_kill(stage.site);
    expect_outage(&stage);
    site_redis_start(stage.site);
    expect_the_end(&stage);
}

/* What was asked before Redis stopped is answered when it goes on. */
Test(outage, of_a_stopped_redis_under_load_is_served_to_the_cap_and_billed_exactly, .timeout = 900)
{
    struct stage stage;
    open_stage(&stage);
    begin(&stage);
    site_redis_signal(stage.site, SIGSTOP);
    expect_outage(&stage);
    site_redis_signal(stage.site, SIGCONT);
    expect_the_end(&stage);
}
