/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders at two nodes of one Redis, of which one has another wall clock: some seconds, a day or
 * twelve years ahead, or a day behind. The last order counts at whichever node it was given, each
 * answer is what became of the account, and the same order at both nodes at once counts once.
 */
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define DAY_S   INT64_C(86400)
#define YEAR_S  (365 * DAY_S)
#define ACCOUNT "/v1/accounts/shop/alice"

static const int64_t steps_s[] = {0, 2, DAY_S, 12 * YEAR_S, -DAY_S};
#define STEPS (sizeof(steps_s) / sizeof(steps_s[0]))

/* Two nodes; the second one's wall clock is `step` nanoseconds ahead. */
struct pair {
    struct site *sites[2];
    volatile int64_t *step;
};

static struct pair pair_create(void)
{
    struct pair pair = {.sites = {site_create(.own_redis = true)}};
    const char *path = site_format(pair.sites[0], "%s/step", site_directory(pair.sites[0]));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, sizeof(*pair.step)) == 0);
    void *page = mmap(NULL, sizeof(*pair.step), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert(page != MAP_FAILED);
    close(fd);
    pair.step = page;
    pair.sites[1] = site_create(.beside = pair.sites[0], .redis = site_redis_address(pair.sites[0]),
                                .node = "second-node", .stays_down = true);
    /* The preload is not built with a sanitizer, and is loaded before the sanitizer's runtime. */
    site_serve_after(pair.sites[1],
                     site_format(pair.sites[1],
                                 "export LD_PRELOAD='%s' CLOCK_STEP_FILE='%s' "
                                 "ASAN_OPTIONS=\"$ASAN_OPTIONS:verify_asan_link_order=0\"",
                                 WALL_CLOCK, path));
    site_node_start(pair.sites[1]);
    site_node_await_ready(pair.sites[1]);
    return pair;
}

static void pair_destroy(struct pair *pair)
{
    site_destroy(&pair->sites[1]);
    site_destroy(&pair->sites[0]);
    munmap((void *)(uintptr_t)pair->step, sizeof(*pair->step));
}

/* Waits while the node says that it cannot do it yet. */
static json_t *ask(struct site *site, const char *method, const char *path, const char *body,
                   unsigned *status)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    while ((answer = site_admin(site, method, path, body))->status == 503 &&
           harness_now_ms() < deadline_ms)
        harness_pause();
    *status = answer->status;
    json_t *value = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    cr_assert(value, "%u: %.*s", answer->status, (int)answer->body_length, answer->body);
    return value;
}

/* Gives an order at one node, and expects that the answer and the other node's view say that it is
 * in force. */
static void expect_order(struct pair *pair, unsigned node, const char *method, const char *path,
                         const char *body, const char *status, int64_t rate)
{
    for (int look = 0; look < 2; look++) {
        unsigned code;
        json_t *view = look == 0 ? ask(pair->sites[node], method, path, body, &code)
                                 : ask(pair->sites[1 - node], "GET", ACCOUNT, NULL, &code);
        cr_assert_eq(code, 200, "%s at node %u: %u", path, node, code);
        if (status != NULL)
            cr_assert_str_eq(json_string_value(json_object_get(view, "status")), status);
        else
            cr_assert_eq(
                json_integer_value(json_object_get(json_object_get(view, "limits"), "rate")), rate);
        json_decref(view);
    }
}

Test(orders, the_last_one_counts_whatever_the_clock_of_its_node_says)
{
    static const unsigned nodes[] = {1, 0, 0, 1, 1, 0, 1, 0};
    struct pair pair = pair_create();
    struct site *first = pair.sites[0];
    site_account_open_prepaid(first, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(first, .account = "alice", .path = TRACK_TINY);
    int64_t rate = 1000000;
    for (size_t i = 0; i < STEPS; i++) {
        *pair.step = steps_s[i] * 1000000000;
        for (size_t j = 0; j < sizeof(nodes) / sizeof(nodes[0]); j++) {
            bool suspends = j % 2 == 0;
            rate++;
            expect_order(&pair, nodes[j], "POST",
                         suspends ? ACCOUNT "/suspend" : ACCOUNT "/activate", NULL,
                         suspends ? "suspended" : "active", 0);
            expect_order(&pair, nodes[(j + 1) % 8], "PUT", ACCOUNT "/limits",
                         site_format(first, "{\"rate\":%lld}", (long long)rate), NULL, rate);
        }
        answer_expect_file(first, fetch(first, link), TRACK_TINY);
        /* A node whose clock is wrong takes orders, and is not ready. */
        const struct answer *health = site_admin(pair.sites[1], "GET", "/v1/health", NULL);
        bool is_wrong = llabs(steps_s[i]) > 60;
        cr_assert_eq(health->status, is_wrong ? 503 : 200, "%s", health->body);
        cr_assert_eq(strstr((const char *)health->body, "this node's clock is") != NULL, is_wrong);
        /* The last limit is of the second node, by whose clock its record has its time. */
        int64_t ahead_s = site_redis_number(first, "local at = redis.call('HGET', "
                                                   "'tg:{shop/alice}:account', 'limits_at') "
                                                   "return tonumber(string.match(at, '^%d+ (%d+)"
                                                   "%d%d%d second%-node$'))") -
                          (int64_t)time(NULL);
        cr_assert(llabs(ahead_s - steps_s[i]) < 100, "%lld s ahead, not %lld", (long long)ahead_s,
                  (long long)steps_s[i]);
    }
    pair_destroy(&pair);
}

Test(orders, that_a_later_one_has_overtaken_are_told_so)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 0);
    (void)site_redis_number(site, "return redis.call('HSET', 'tg:{shop/alice}:account', "
                                  "'status_at', '9000 1 other-node')");
    const struct answer *answer = site_admin(site, "POST", ACCOUNT "/suspend", "");
    answer_expect_refusal(site, answer, 409, "operation_overtaken");
    struct command_result result = site_tollgate(site, "account", "suspend", "shop/alice");
    cr_assert_eq(result.exit_code, 1);
    cr_assert(strstr(result.errors, "the account is prepaid and active") != NULL, "%s",
              result.errors);
    site_destroy(&site);
}

Test(orders, of_all_links_in_use_now_end_those_alone_although_the_clock_is_wrong)
{
    struct pair pair = pair_create();
    site_account_open_prepaid(pair.sites[0], "alice", 1000000);
    for (size_t i = 0; i < STEPS; i++) {
        unsigned status;
        *pair.step = steps_s[i] * 1000000000;
        int64_t before = (int64_t)time(NULL);
        json_t *answer =
            ask(pair.sites[1], "POST", ACCOUNT "/revoke", "{\"issued_by_now\":true}", &status);
        int64_t instant = json_integer_value(json_object_get(answer, "issued_before"));
        cr_assert_eq(status, 200);
        cr_assert(instant > before && instant < before + 200, "%lld s ahead: %lld s from now",
                  (long long)steps_s[i], (long long)(instant - before));
        json_decref(answer);
    }
    pair_destroy(&pair);
}

/* ---- the same order at both nodes at once ---- */

struct asker {
    struct site *site;
    const char *method, *path, *body;
    const struct answer *answer;
};

static void *ask_once(void *context)
{
    struct asker *asker = context;
    asker->answer = site_admin(asker->site, asker->method, asker->path, asker->body);
    return NULL;
}

/* Returns the status that both answers have, and the balance that both tell. */
static unsigned ask_both(struct pair *pair, const char *method, const char *path, const char *body,
                         int64_t *balance)
{
    struct asker askers[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        askers[i] = (struct asker){pair->sites[i], method, path, body, NULL};
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_once, &askers[i]), 0);
    }
    int64_t told[2];
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        json_t *value = json_loadb((const char *)askers[i].answer->body,
                                   askers[i].answer->body_length, 0, NULL);
        told[i] = json_integer_value(json_object_get(value, "balance"));
        json_decref(value);
    }
    cr_assert_eq(askers[0].answer->status, askers[1].answer->status, "%s: %u and %u", path,
                 askers[0].answer->status, askers[1].answer->status);
    cr_assert_eq(told[0], told[1], "%s", path);
    *balance = told[0];
    return askers[0].answer->status;
}

Test(orders, that_are_the_same_at_both_nodes_at_once_are_answered_alike_and_count_once)
{
    enum { ROUNDS = 50 };
    struct pair pair = pair_create();
    struct site *site = pair.sites[0];
    unsigned status;
    json_decref(ask(pair.sites[1], "PUT", ACCOUNT, "{\"transaction\":\"first\"}", &status));
    *pair.step = 12 * YEAR_S * 1000000000;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t balance;
        const char *path = site_format(site, "/v1/accounts/shop/twin-%d", i);
        cr_assert_eq(
            ask_both(&pair, "PUT", path, "{\"bytes\":100,\"transaction\":\"open\"}", &balance),
            201);
        cr_assert_eq(balance, 100);
        cr_assert_eq(ask_both(&pair, "POST", site_format(site, "%s/top-up", path),
                              "{\"bytes\":11,\"transaction\":\"more\"}", &balance),
                     200);
        cr_assert_eq(balance, 111);
        cr_assert_eq(ask_both(&pair, "POST", site_format(site, "%s/adjust", path),
                              "{\"bytes\":-111,\"transaction\":\"less\"}", &balance),
                     200);
        cr_assert_eq(balance, 0);
        cr_assert_eq(ask_both(&pair, "POST", site_format(site, "%s/suspend", path), "", &balance),
                     200);
    }
    pair_destroy(&pair);
}
