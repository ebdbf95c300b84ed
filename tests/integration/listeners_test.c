/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What listeners who never stop cost the journal and Redis, in counts: the short form of
 * bench/listeners.py, with intervals that are a tenth of the defaults. A slow machine makes the
 * counts smaller for the time that passes, never larger.
 */
#include <jansson.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

#define LISTENERS   20
#define INTERVAL_MS 1000
#define VALIDITY_MS 3000
#define MARK_MS     100
#define MEASURED_MS 6000
#define SETTINGS                                                                                   \
    "workers: 1\npost_interval_ms: 1000\ngrant_validity_ms: 3000\njournal_mark_ms: 100\n"
/* Commands of Redis that one of these takes, those inside of its function included. */
#define OF_POST    7 /* the call; the account and the pool, read and written; the day; the month */
#define OF_RENEWAL 5 /* the call; the account, the time; the pools, and a write of one */
#define OF_OTHER   5 /* the lease or the name, before each batch of posts */
#define SLACK      40

struct counts {
    int64_t commands, functions, questions, posts, records;
    uint64_t at_ms;
};

#define MANY INT64_C(1000000000) /* more than there are commands */

/* How many commands Redis has run, and how many of them are calls of functions: both of one moment, so
 * that none comes between. */
static void count_commands(struct site *site, struct counts *out)
{
    int64_t both = site_redis_number(
        site, "local all, functions = 0, 0 for name, calls in string.gmatch(redis.call('INFO', "
              "'commandstats'), 'cmdstat_(%w+):calls=(%d+)') do if name == 'fcall' then functions "
              "= tonumber(calls) end if name ~= 'eval' and name ~= 'info' then all = all + calls "
              "end end return functions * 1000000000 + all");
    out->functions = both / MANY;
    out->commands = both % MANY;
}

/* A counter of the node's ledger. */
static int64_t ledger_counter(struct site *site, const char *name)
{
    const struct answer *answer = site_admin(site, "GET", "/v1/health", NULL);
    json_t *health = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    json_t *counter = json_object_get(json_object_get(health, "ledger"), name);
    cr_assert(json_is_integer(counter), "no %s in %s", name, answer->body);
    int64_t value = json_integer_value(counter);
    json_decref(health);
    return value;
}

static void count(struct site *site, struct counts *out)
{
    out->posts = ledger_counter(site, "posts");
    out->records = ledger_counter(site, "records_written");
    out->questions = (int64_t)site_traffic(site, "admissions_asked");
    count_commands(site, out);
}

static struct counts difference(const struct counts *from, const struct counts *to)
{
    return (struct counts){.commands = to->commands - from->commands,
                           .functions = to->functions - from->functions,
                           .questions = to->questions - from->questions,
                           .posts = to->posts - from->posts,
                           .records = to->records - from->records,
                           .at_ms = to->at_ms - from->at_ms};
}

/* How often something that each listener causes once in so many milliseconds may have been. */
static int64_t most(const struct counts *counts, int64_t each_ms)
{
    return LISTENERS * ((int64_t)counts->at_ms / each_ms + 2);
}

/* Takes what arrives at the listeners for so long. */
static void listen_for(const int fds[LISTENERS], uint64_t ms)
{
    static char body[65536];
    for (uint64_t until_ms = harness_now_ms() + ms; harness_now_ms() < until_ms;) {
        for (int i = 0; i < LISTENERS; i++)
            cr_assert_neq(recv(fds[i], body, sizeof(body), MSG_DONTWAIT), 0, "%d is cut", i);
        harness_pause();
    }
}

Test(listeners, that_never_stop_cost_a_post_each_interval_and_few_commands_of_Redis)
{
    struct site *site = site_create(.own_redis = true, .settings = SETTINGS);
    int fds[LISTENERS];
    for (int i = 0; i < LISTENERS; i++) {
        const char *account = site_format(site, "listener-%d", i);
        site_account_open_prepaid(site, account, 1ULL << 40);
        fds[i] = begin_transfer(site, site_link(site, .account = account, .path = TRACK_LONG,
                                                .limits = {.rate = 30000}));
    }
    listen_for(fds, 2 * INTERVAL_MS);
    struct counts before = {.at_ms = harness_now_ms()}, after;
    count(site, &before);
    listen_for(fds, MEASURED_MS);
    count(site, &after);
    after.at_ms = harness_now_ms();
    const struct counts all = difference(&before, &after);
    cr_expect_leq(all.posts, most(&all, INTERVAL_MS), "%lld posts", (long long)all.posts);
    cr_expect_leq(all.questions, most(&all, VALIDITY_MS / 2), "%lld questions",
                  (long long)all.questions);
    cr_expect_leq(all.records, most(&all, MARK_MS), "%lld records", (long long)all.records);
    /* Each of them goes on, or little would be counted. */
    cr_expect_geq(all.posts, LISTENERS);
    cr_expect_geq(all.questions, LISTENERS);
    int64_t others = all.functions - all.posts - all.questions;
    int64_t bound = OF_POST * all.posts + OF_RENEWAL * all.questions + OF_OTHER * others +
                    (int64_t)all.at_ms / 250 + SLACK;
    cr_expect_leq(
        all.commands, bound, "%lld commands for %lld posts, %lld questions and %lld others",
        (long long)all.commands, (long long)all.posts, (long long)all.questions, (long long)others);
    for (int i = 0; i < LISTENERS; i++)
        close(fds[i]);
    site_destroy(&site);
}
