/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/debug/connections: operators see what each connection waits for, and nothing that would let
 * them, or whoever reads the answer, download.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/shop_steps.h"

#define PATH "/v1/debug/connections"
#define PATIENT                                                                                    \
    "workers: 2\nadmission_timeout_ms: 30000\nstall_timeout_ms: 600000\nidle_timeout_ms: 600000\n"

static const struct answer *list(struct site *site)
{
    const struct answer *answer = site_admin(site, "GET", PATH, NULL);
    cr_assert_eq(answer->status, 200, "%s", (const char *)answer->body);
    return answer;
}

/* The client as the node sees it: this end of the connection. */
static const char *client_of(struct site *site, int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return site_format(site, "127.0.0.1:%u", ntohs(address.sin_port));
}

/* The only row of the client, for the caller to drop; NULL: there is none. The answer must be as it
 * is described. */
static json_t *row_of(struct site *site, const struct answer *answer, const char *client)
{
    json_t *value = expect_described(site, answer, "GET", PATH);
    json_t *rows = json_object_get(value, "connections"), *row, *found = NULL;
    size_t i;
    cr_assert_eq(json_integer_value(json_object_get(value, "shown")),
                 (json_int_t)json_array_size(rows));
    json_array_foreach(rows, i, row)
    {
        const char *whose = json_string_value(json_object_get(row, "client"));
        if (whose == NULL || strcmp(whose, client) != 0)
            continue;
        cr_assert_null(found, "%s has two rows", client);
        found = json_incref(row);
    }
    json_decref(value);
    return found;
}

static const char *text_of(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text != NULL ? text : "(none)";
}

/* Waits until the connection is in this state and waits for this; the caller drops its row. */
static json_t *await(struct site *site, int fd, const char *state, const char *wait)
{
    const char *client = client_of(site, fd);
    const uint64_t until_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const struct answer *answer = list(site);
        json_t *row = row_of(site, answer, client);
        if (row != NULL && strcmp(text_of(row, "state"), state) == 0 &&
            strcmp(text_of(row, "waits_for"), wait) == 0)
            return row;
        json_decref(row);
        cr_assert_lt(harness_now_ms(), until_ms, "%s is not in %s for %s: %s", client, state, wait,
                     (const char *)answer->body);
        harness_pause();
    }
}

static uint64_t number_in(const json_t *row, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(row, name));
}

static void expect_null(const json_t *row, const char *name)
{
    cr_expect(json_is_null(json_object_get(row, name)), "%s is %s", name, text_of(row, name));
}

static int ask(struct site *site, const char *link, int receive_buffer)
{
    int fd = raw_connect(site, receive_buffer);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    return fd;
}

Test(connections, of_a_client_that_does_not_read_wait_for_room)
{
    struct site *site = shop_site(PATIENT);
    size_t size;
    (void)site_media_bytes(site, TRACK_LONG, &size);
    site_account_open_postpaid(site, "alice");
    const char *link =
        site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "jti-that-is-not-told");
    uint64_t asked_ms = harness_now_ms();
    int fd = ask(site, link, 4096);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    json_t *row = await(site, fd, "SEND", "room in its socket");
    cr_expect_str_eq(text_of(row, "account"), "shop/alice");
    cr_expect_str_eq(text_of(row, "path"), "/albums/Night%20Train/02%20Long%20Way%20Home.mp3");
    cr_expect_eq(number_in(row, "status"), 200);
    cr_expect_eq(number_in(row, "body_bytes"), size);
    uint64_t left = number_in(row, "left_bytes"), handed = number_in(row, "handed_bytes");
    cr_expect(left > 0 && left < size, "%llu left", (unsigned long long)left);
    cr_expect_gt(handed, size - left, "the head was handed over, too");
    cr_expect_leq(number_in(row, "acknowledged_bytes"), handed);
    /* The worker looks at its clock once a turn, which a busy machine may draw out. */
    cr_expect_leq(number_in(row, "age_ms"), harness_now_ms() - asked_ms + HARNESS_DEADLINE_MS);
    expect_null(row, "tls");
    json_decref(row);
    const char *body = (const char *)list(site)->body;
    cr_expect_null(strstr(body, "jti-that-is-not-told"), "%s", body);
    cr_expect_null(strstr(body, strchr(link, '=') + 1), "%s", body);
    cr_expect_null(strstr(body, "eyJ"), "a part of a token: %s", body); /* {" in base64 */
    close(fd);
    shop_site_destroy(&site);
}

Test(connections, that_are_kept_wait_for_the_next_head_and_belong_to_no_account)
{
    struct site *site = shop_site(PATIENT);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    int fd = ask(site, link, 0);
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_TINY);
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_usage_await(site, "alice", size); /* then nothing of it is still to be acknowledged */
    json_t *row = await(site, fd, "HEAD", "the next head of the client");
    static const char *const absent[] = {"account", "path", "status"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        expect_null(row, absent[i]);
    cr_expect_eq(number_in(row, "left_bytes"), 0);
    cr_expect_gt(number_in(row, "handed_bytes"), 0);
    json_decref(row);
    close(fd);
    shop_site_destroy(&site);
}

Test(connections, that_are_parked_wait_for_a_grant)
{
    struct site *site = shop_site(PATIENT);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT);
    pid_t redis = site_embedded_redis_pid(site);
    kill(redis, SIGSTOP);
    int fd = ask(site, link, 0);
    json_t *row = await(site, fd, "ADMIT", "a grant of Redis, or funds");
    cr_expect_str_eq(text_of(row, "account"), "shop/alice");
    cr_expect_str_eq(text_of(row, "path"), "/albums/Night%20Train/01%20First%20Light.mp3");
    cr_expect_eq(number_in(row, "status"), 200, "it is to be the answer");
    cr_expect_eq(number_in(row, "handed_bytes"), 0);
    json_decref(row);
    kill(redis, SIGCONT);
    answer_expect_file(site, raw_answer(site, fd, false), TRACK_SHORT);
    close(fd);
    shop_site_destroy(&site);
}

Test(connections, over_tls_tell_its_version)
{
    struct site *site = site_create(.tls = true, .settings = PATIENT);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link, .tls = true), TRACK_TINY);
    const char *body = (const char *)list(site)->body;
    cr_expect_not_null(strstr(body, "\"tls\":\"TLSv1."), "%s", body);
    site_destroy(&site);
}

/* So many that each worker has some: the kernel gives them to either by chance. */
Test(connections, of_all_workers_are_listed_and_counted)
{
    enum { COUNT = 64 };
    int fds[COUNT];
    struct site *site = shop_site(PATIENT);
    for (int i = 0; i < COUNT; i++)
        fds[i] = raw_connect(site, 0);
    for (int i = 0; i < COUNT; i++)
        json_decref(await(site, fds[i], "HEAD", "the next head of the client"));
    json_t *value = expect_described(site, list(site), "GET", PATH);
    json_t *rows = json_object_get(value, "connections"), *row;
    unsigned of_worker[2] = {0};
    size_t at;
    cr_expect_eq(json_array_size(rows), COUNT);
    cr_expect_eq(number_in(value, "open"), COUNT);
    json_array_foreach(rows, at, row)
    {
        cr_assert_lt(number_in(row, "worker"), 2);
        of_worker[number_in(row, "worker")]++;
    }
    cr_expect(of_worker[0] > 0 && of_worker[1] > 0, "%u and %u", of_worker[0], of_worker[1]);
    json_decref(value);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    shop_site_destroy(&site);
}

Test(connections, are_shown_to_operators_alone)
{
    struct site *site = shop_site(NULL);
    CALL(site, MINE, .method = "GET", .path = PATH, .status = 403, .reason = "operators_only");
    CALL(site, .method = "GET", .path = PATH, .status = 401, .reason = "secret_unknown");
    const struct answer *answer = site_admin(site, "GET", PATH "?all=1", NULL);
    cr_expect_eq(answer->status, 422, "%u", answer->status);
    json_decref(expect_described(site, answer, "GET", PATH));
    shop_site_destroy(&site);
}
