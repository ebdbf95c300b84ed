/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation of a key: a key that its file no longer has ends its links and their transfers, without
 * a signal. A file that is broken takes no key away.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/transfer_steps.h"

static void replace_file(const char *path, const char *text)
{
    char fresh[600];
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *file = fopen(fresh, "we");
    cr_assert(file);
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(fresh, path), 0);
}

static char *key_set_with_another_key(void)
{
    char *private_text = NULL, *public_text = NULL;
    cr_assert_eq(key_generate(TOKEN_EDDSA, &private_text, &public_text), 0);
    key_text_free(&private_text);
    return public_text;
}

/* A worker takes the keys over at its next turn, which may come after the log's line and after
 * another worker has cut its transfers. */
static void await_key_unknown(struct site *site, const char *link)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link, .method = "HEAD")->status == 200)
        cr_assert_lt(harness_now_ms(), deadline_ms, "a worker keeps the old keys");
    answer_expect_refusal(site, fetch(site, link), 403, "key_unknown");
}

/* A node whose Redis is silent, and a link of an account that can pay. */
struct silent {
    struct site *home, *far; /* the relay lies between the far node and Redis */
    struct relay *relay;
    const char *link;
};

static void silent_create(struct silent *silent)
{
    silent->home = site_create(.own_redis = true);
    silent->relay = relay_start(site_redis_address(silent->home), 0);
    silent->far =
        site_create(.beside = silent->home, .redis = relay_address(silent->relay), .node = "far-1",
                    .settings = "workers: 1\nadmission_timeout_ms: 20000\n");
    site_account_open_prepaid(silent->home, "alice", 1000u * 1000 * 1000);
    silent->link = site_link(silent->home, .account = "alice", .path = TRACK_TINY);
    relay_hold_all(silent->relay, true);
}

static void silent_destroy(struct silent *silent)
{
    site_destroy(&silent->far);
    relay_stop(&silent->relay);
    site_destroy(&silent->home);
}

Test(revocation, of_a_key_answers_those_who_wait_for_Redis_and_what_they_pipelined)
{
    struct silent silent;
    silent_create(&silent);
    struct site *far = silent.far;
    int fd = raw_connect(far, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\nGET %s HTTP/1.1\r\nHost: a\r\n\r\n",
              silent.link, silent.link);
    pause_ms(200);
    char *other = key_set_with_another_key();
    replace_file(site_key_file(far), other);
    answer_expect_refusal(far, raw_answer(far, fd, false), 403, "key_unknown");
    answer_expect_refusal(far, raw_answer(far, fd, false), 403, "key_unknown");
    close(fd);
    relay_hold_all(silent.relay, false);
    key_text_free(&other);
    silent_destroy(&silent);
}

/* A request counts once its head was read, whatever it waits for then. */
static void await_requests(struct site *site, uint64_t count)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_traffic(site, "requests") != count) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "not %llu requests", (unsigned long long)count);
        harness_pause();
    }
}

/* HEAD waits for Redis, whether its link was revoked; a GET beside it shows when the worker has taken
 * the keys over. */
Test(revocation, of_a_key_refuses_a_HEAD_that_waited_for_Redis_meanwhile)
{
    struct silent silent;
    silent_create(&silent);
    struct site *far = silent.far;
    int waiting = raw_connect(far, 0), shown = raw_connect(far, 0);
    raw_print(waiting, "HEAD %s HTTP/1.1\r\nHost: a\r\n\r\n", silent.link);
    await_requests(far, 1);
    raw_print(shown, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", silent.link);
    await_requests(far, 2);
    char *other = key_set_with_another_key();
    replace_file(site_key_file(far), other);
    answer_expect_refusal(far, raw_answer(far, shown, false), 403, "key_unknown");
    relay_hold_all(silent.relay, false);
    cr_assert_eq(raw_answer(far, waiting, true)->status, 403);
    close(waiting);
    close(shown);
    key_text_free(&other);
    silent_destroy(&silent);
}

Test(revocation, of_a_key_ends_its_links_and_their_transfers_without_a_signal)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .limits = SLOW);
    int fd = begin_transfer(site, link);
    char *other = key_set_with_another_key();
    uint64_t begun_ms = harness_now_ms();
    replace_file(site_key_file(site), other); /* no signal is needed */
    expect_cut(fd);
    uint64_t taken_ms = harness_now_ms() - begun_ms;
    printf("cut %llu ms after its key was removed\n", (unsigned long long)taken_ms);
    await_key_unknown(site, link);
    key_text_free(&other);
    site_destroy(&site);
}

Test(revocation, does_not_come_from_a_key_file_that_is_broken)
{
    struct site *site = site_create();
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    size_t before = strlen(site_log(site));
    replace_file(site_key_file(site), "{\"keys\":[");
    site_log_await(site, "the key sets were not reloaded, and the previous ones stay in force");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    /* The log says it once, though the node tries again and again. */
    uint64_t until_ms = harness_now_ms() + 1500;
    while (harness_now_ms() < until_ms)
        harness_pause();
    const char *said = strstr(site_log(site) + before, "were not reloaded");
    cr_assert_not_null(said);
    cr_expect_null(strstr(said + 1, "were not reloaded"));
    char *other = key_set_with_another_key();
    replace_file(site_key_file(site), other);
    site_log_await(site, "reloaded the key sets");
    await_key_unknown(site, link);
    key_text_free(&other);
    site_destroy(&site);
}
