/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two nodes with `redis_down: continue`, under load, whose Redis goes and comes back without its data:
 * empty, or with those of before, and one node reaches it first. What each has served meanwhile is billed
 * once, its caps hold, and nobody is denied for what Redis does not know any more, or not yet.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_outage.h"
#include "tests/integration/load_steps.h"
#include "tests/integration/pair_steps.h"

#define CAP    600000 /* of each account at each node, in bytes */
#define PART   1000
#define RATE   200000
#define PAID   (1000u * 1000 * 1000)
#define SERVED 20
/* However busy the machine is, no node is given up. */
#define SETTINGS                                                                                   \
    "workers: 2\n"                                                                                 \
    "grant_validity_ms: 2000\n"                                                                    \
    "data_lost_wait_ms: 600000\n"                                                                  \
    "redis_down: continue\n"                                                                       \
    "redis_down_bytes_max: 600000\n"                                                               \
    "windows_max: 2000\n"                                                                          \
    "journal_segment_bytes: 8388608\n"

enum { KNOWN, COUNTED, PREPAID, UNKNOWN };

/* The older file has no account but alice, dave, and carol, who is suspended after it. */
static const struct crowd {
    unsigned node, kind;
    const char *account, *path;
    size_t length;
    uint64_t rate;
    unsigned clients;
} crowds[] = {
    {.node = 0, .kind = KNOWN, .account = "alice", .path = TRACK_TINY, .clients = 4},
    {.node = 1, .kind = KNOWN, .account = "alice", .path = TRACK_TINY, .clients = 4},
    {.node = 0, .kind = KNOWN, .account = "bob", .path = TRACK_TINY, .clients = 3},
    {.node = 1, .kind = KNOWN, .account = "paced", .path = TRACK_VBR, .rate = RATE, .clients = 1},
    {.node = 0,
     .kind = COUNTED,
     .account = "counted",
     .path = TRACK_VBR,
     .length = PART,
     .clients = 4},
    {.node = 1,
     .kind = COUNTED,
     .account = "counted",
     .path = TRACK_VBR,
     .length = PART,
     .clients = 4},
    {.node = 0, .kind = PREPAID, .account = "dave", .path = TRACK_TINY, .clients = 3},
    {.node = 1, .kind = PREPAID, .account = "dave", .path = TRACK_TINY, .clients = 3},
    {.node = 1, .kind = PREPAID, .account = "dora", .path = TRACK_TINY, .clients = 3},
    {.node = 0, .kind = UNKNOWN, .account = "unknown", .path = TRACK_TINY, .clients = 2},
    {.node = 1, .kind = UNKNOWN, .account = "unknown", .path = TRACK_TINY, .clients = 2},
};
#define CROWDS (sizeof(crowds) / sizeof(*crowds))
static const char *const accounts[] = {"alice", "bob",  "paced",  "counted",
                                       "dave",  "dora", "unknown"};
#define ACCOUNTS (sizeof(accounts) / sizeof(*accounts))

struct stage {
    struct pair pair;
    struct relay *relay; /* between the second node and Redis */
    struct load *load;
    struct load_group *groups[CROWDS];
    size_t tiny, paced; /* the sizes of the files */
    uint64_t
        unasked[2]; /* bytes that went on at each node before Redis went; 0 on a quick machine */
};

static struct site *node(const struct stage *stage, unsigned number)
{
    return number % 2 == 0 ? stage->pair.first : stage->pair.second;
}

static unsigned fetched(const struct stage *stage, unsigned number, const char *account)
{
    const char *link = site_link(stage->pair.first, .account = account, .path = TRACK_TINY);
    return fetch(node(stage, number), link, .fresh = true)->status;
}

/* ---- the files of Redis ---- */

static const char *files_of(const struct stage *stage, const char *name)
{
    return site_format(stage->pair.first, "%s/%s", site_directory(stage->pair.first), name);
}

static void run(const char *command)
{
    cr_assert_eq(system(command), 0, "%s", command);
}

/* Redis writes nothing while it is stopped. */
static void keep_older_file(const struct stage *stage)
{
    site_redis_signal(stage->pair.first, SIGSTOP);
    run(site_format(stage->pair.first, "cp -a '%s' '%s'", files_of(stage, "appendonlydir"),
                    files_of(stage, "older")));
    site_redis_signal(stage->pair.first, SIGCONT);
}

static void lose_data(const struct stage *stage, bool keeps_older)
{
    run(site_format(stage->pair.first, "rm -r '%s'", files_of(stage, "appendonlydir")));
    if (keeps_older)
        run(site_format(stage->pair.first, "mv '%s' '%s'", files_of(stage, "older"),
                        files_of(stage, "appendonlydir")));
}

/* ---- the stage ---- */

static void await_granting(const struct stage *stage)
{
    for (unsigned i = 0; i < 2; i++) {
        await_health(node(stage, i), "\"data_lost\":false");
        await_health(node(stage, i), "\"granting\":true");
        await_knowing(node(stage, i));
    }
}

static void open_accounts(const struct stage *stage)
{
    struct site *first = stage->pair.first, *second = stage->pair.second;
    site_account_open_postpaid(first, "alice");
    site_account_open_postpaid(second, "carol");
    site_account_open_prepaid(second, "dave", PAID);
    cr_assert_eq(fetched(stage, 0, "carol"), 200u);
    keep_older_file(stage);
    await_granting(stage);
    site_account_open_postpaid(first, "bob");
    site_account_open_postpaid(first, "paced");
    site_account_open_postpaid(second, "counted");
    site_account_open_prepaid(first, "dora", PAID);
    site_account_open_postpaid(second, "unknown");
    const struct answer *answer =
        site_admin(first, "POST", "/v1/accounts/shop/carol/suspend", "{}");
    cr_assert_eq(answer->status, 200u);
}

static void open_stage(struct stage *stage)
{
    *stage = (struct stage){.load = load_create()};
    stage->pair.first = site_create(.own_redis = true, .settings = SETTINGS);
    stage->relay = relay_start(site_redis_address(stage->pair.first), 0);
    stage->pair.second =
        site_create(.beside = stage->pair.first, .redis = relay_address(stage->relay),
                    .node = "second-node", .settings = SETTINGS);
    (void)site_media_bytes(stage->pair.first, TRACK_TINY, &stage->tiny);
    (void)site_media_bytes(stage->pair.first, TRACK_VBR, &stage->paced);
    pair_await_acquaintance(&stage->pair);
    open_accounts(stage);
    for (unsigned i = 0; i < CROWDS; i++) {
        const struct crowd *crowd = &crowds[i];
        stage->groups[i] =
            load_add(stage->load, .at = node(stage, crowd->node), .by = stage->pair.first,
                     .account = crowd->account, .path = crowd->path, .length = crowd->length,
                     .rate = crowd->rate, .clients = crowd->clients,
                     .comes_later = crowd->kind == COUNTED || crowd->kind == UNKNOWN);
    }
}

static void await_served(struct stage *stage, bool all)
{
    for (unsigned i = 0; i < CROWDS; i++)
        if (all || crowds[i].kind == KNOWN || crowds[i].kind == PREPAID)
            load_await_served(stage->load, stage->groups[i], crowds[i].rate != 0 ? 2 : SERVED);
}

/* Both nodes know the one that is counted, and nothing of it is under way when the outage begins. */
static void begin(struct stage *stage)
{
    load_start(stage->load);
    await_served(stage, false);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(fetched(stage, i, "counted"), 200u);
    for (unsigned i = 0; i < 2; i++)
        stage->unasked[i] = site_traffic(node(stage, i), "bytes_unasked");
}

/* Judges requests that were sent after both nodes had noticed, and before Redis is back. */
static void expect_served_by_plan(struct stage *stage, unsigned i, unsigned time)
{
    const struct crowd *crowd = &crowds[i];
    unsigned long long bytes = load_counted(stage->load, stage->groups[i], time).bytes;
    if (crowd->kind == COUNTED)
        cr_expect_eq(bytes, CAP, "node %u: %llu bytes came, and not the cap", crowd->node, bytes);
    else if (crowd->kind == KNOWN)
        cr_expect_leq(bytes, CAP, "%s: %llu bytes came", crowd->account, bytes);
    else
        cr_expect_eq(bytes, 0u, "%s: %llu bytes came", crowd->account, bytes);
}

/* Each of three accounts got its cap at each node, but for what is smaller than its next request. */
static void expect_caps(const struct stage *stage, unsigned i)
{
    uint64_t most = stage->unasked[i] + 3u * CAP;
    expect_unasked(node(stage, i), most - 2 * (i == 0 ? stage->tiny : stage->paced), most);
}

/* Without Redis, until every cap is reached. */
static void expect_outage(struct stage *stage)
{
    for (unsigned i = 0; i < 2; i++)
        await_health(node(stage, i), "\"push_up\":false");
    unsigned time = load_next_time(stage->load);
    for (unsigned i = 0; i < CROWDS; i++)
        if (crowds[i].kind == COUNTED)
            load_let_in(stage->groups[i]);
    for (unsigned i = 0; i < CROWDS; i++)
        if (crowds[i].kind != UNKNOWN)
            load_await_waiting(stage->load, stage->groups[i], crowds[i].rate != 0 ? 1 : SERVED);
    for (unsigned i = 0; i < CROWDS; i++)
        expect_served_by_plan(stage, i, time);
    for (unsigned i = 0; i < 2; i++) {
        await_health(node(stage, i), "\"continues\":true");
        expect_caps(stage, i);
        cr_expect_eq(fetched(stage, i, "carol"), 503u);
    }
    (void)load_next_time(stage->load);
}

/* ---- Redis without its data ---- */

/* Nothing but what is true, or "not now". */
static void expect_no_denial(const struct stage *stage, const char *account)
{
    static const char open[] = "{\"plan\":\"postpaid\",\"transaction\":\"another\"}";
    const char *path = site_format(stage->pair.first, "/v1/accounts/shop/%s", account);
    for (unsigned i = 0; i < 2; i++) {
        unsigned status = site_admin(node(stage, i), "GET", path, NULL)->status;
        cr_expect(status == 200 || status == 503, "a look at %s: %u", account, status);
    }
    unsigned status = site_admin(node(stage, 0), "PUT", path, open)->status;
    cr_expect(status == 409 || status == 503, "another opening of %s: %u", account, status);
    status = fetched(stage, 0, "carol"); /* the node that has suspended her */
    cr_expect(status == 402 || status == 503, "carol: %u", status);
}

/* Redis has what the first node told it, and the second, which opened three accounts, has told nothing. */
static void expect_first_back(struct stage *stage)
{
    site_log_await(stage->pair.first, "Redis has lost its data");
    await_health(stage->pair.first, "\"granting\":true");
    await_health(stage->pair.first, "\"data_awaited_from\":[\"second-node\"]");
    (void)load_next_time(stage->load);
    for (unsigned i = 0; i < CROWDS; i++)
        if (crowds[i].node == 0 && (crowds[i].kind == UNKNOWN || crowds[i].kind == PREPAID))
            load_await_waiting(stage->load, stage->groups[i], SERVED);
    expect_no_denial(stage, "counted");
    expect_no_denial(stage, "unknown");
    cr_expect(health_says(stage->pair.first, "\"data_lost\":true"));
}

static void expect_return(struct stage *stage)
{
    for (unsigned i = 0; i < CROWDS; i++)
        load_let_in(stage->groups[i]);
    expect_first_back(stage);
    relay_mute_new(stage->relay, false);
    await_granting(stage);
    (void)load_next_time(stage->load);
    await_served(stage, true);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        expect_no_denial(stage, accounts[i]);
}

static uint64_t received(struct stage *stage, const char *account)
{
    uint64_t bytes = strcmp(account, "counted") == 0 ? 2 * stage->tiny : 0;
    for (unsigned i = 0; i < CROWDS; i++)
        if (strcmp(crowds[i].account, account) == 0)
            bytes += load_counted_all(stage->load, stage->groups[i]).bytes;
    return bytes;
}

static void expect_the_bill(struct stage *stage)
{
    struct site *first = stage->pair.first;
    load_stop(stage->load);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        uint64_t bytes = received(stage, accounts[i]);
        site_usage_await(first, accounts[i], bytes);
        cr_expect_eq(site_usage_settled(first, accounts[i]), bytes, "and it stays so");
        site_await_nothing_reserved(first, accounts[i]);
    }
    for (unsigned i = 4; i <= 5; i++)
        cr_expect_eq(site_balance(first, accounts[i]).balance,
                     PAID - (int64_t)received(stage, accounts[i]), "%s", accounts[i]);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(fetched(stage, i, "carol"), 402u);
        cr_expect_null(strstr(site_log(node(stage, i)), "the wait for lost data is over"));
    }
}

static void lose_and_return(bool keeps_older)
{
    struct stage stage;
    open_stage(&stage);
    begin(&stage);
    site_redis_kill(stage.pair.first);
    expect_outage(&stage);
    lose_data(&stage, keeps_older);
    relay_mute_new(stage.relay, true);
    site_redis_start(stage.pair.first);
    expect_return(&stage);
    expect_the_bill(&stage);
    load_destroy(&stage.load);
    pair_destroy(&stage.pair);
    relay_stop(&stage.relay);
}

Test(data_lost, after_a_time_without_redis_bills_once_what_two_nodes_served_meanwhile,
     .timeout = 900)
{
    lose_and_return(false);
}

Test(data_lost, back_to_an_older_file_bills_once_what_two_nodes_served_without_redis,
     .timeout = 900)
{
    lose_and_return(true);
}
