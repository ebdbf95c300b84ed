/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients and a Redis that make the node wait: answers that are not read, requests without end, a
 * question that is never answered. Each wait has a bound, and the bytes and the room that were
 * reserved for it come back.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define SMALL_WINDOW 2048
#define STALL_MS     300 /* a socket that takes nothing for this long is full */

/* Sends until everything is sent or the socket is full; returns how many bytes were sent. */
static size_t send_until_full(int fd, const char *bytes, size_t length)
{
    size_t sent = 0;
    while (sent < length) {
        struct pollfd poller = {.fd = fd, .events = POLLOUT};
        if (poll(&poller, 1, STALL_MS) != 1)
            break;
        ssize_t part = send(fd, bytes + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (part < 0 && errno != EAGAIN)
            break;
        sent += part > 0 ? (size_t)part : 0;
    }
    return sent;
}

/* `text`, `count` times; the caller frees it. */
static char *repeat(const char *text, size_t count, size_t *length)
{
    size_t one = strlen(text);
    char *all = malloc(one * count + 1);
    cr_assert(all);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * one, text, one);
    *length = one * count;
    return all;
}

Test(pressure, of_pipelined_requests_before_a_half_close_is_answered_whole)
{
    enum { COUNT = 200 };
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    size_t length;
    char *requests =
        repeat(site_format(site, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99\r\n\r\n", link),
               COUNT, &length);
    int fd = raw_connect(site, SMALL_WINDOW);
    raw_send(fd, requests, length);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < COUNT; i++) {
        const struct answer *answer = raw_answer(site, fd, false);
        cr_assert_eq(answer->status, 206, "request %d is answered %u", i, answer->status);
    }
    cr_assert(raw_is_closed_by_peer(fd));
    free(requests);
    close(fd);
    site_usage_await(site, "alice", COUNT * 100);
    site_destroy(&site);
}

Test(pressure, of_more_pipelined_requests_than_are_kept_waits_for_the_client)
{
    enum { COUNT = 2500 };
    struct site *site = site_create(.settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    size_t length;
    char *requests =
        repeat(site_format(site, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99\r\n\r\n", link),
               COUNT, &length);
    int fd = raw_connect(site, SMALL_WINDOW);
    size_t sent = send_until_full(fd, requests, length);
    for (int i = 0; i < COUNT; i++) {
        if (sent < length) {
            ssize_t part = send(fd, requests + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += part > 0 ? (size_t)part : 0;
        }
        const struct answer *answer = raw_answer(site, fd, false);
        cr_assert_eq(answer->status, 206, "request %d is answered %u", i, answer->status);
    }
    free(requests);
    close(fd);
    site_usage_await(site, "alice", COUNT * 100);
    site_destroy(&site);
}

Test(pressure, of_refusals_that_nobody_reads_ends_the_connection)
{
    struct site *site = site_create(.settings = "stall_timeout_ms: 1000\n");
    size_t length;
    char *requests = repeat("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 400000, &length);
    int fd = raw_connect(site, SMALL_WINDOW);
    (void)send_until_full(fd, requests, length);
    cr_assert(raw_is_closed_by_peer(fd), "the connection is kept for a client that never reads");
    free(requests);
    close(fd);
    site_destroy(&site);
}

Test(pressure, of_small_bodies_that_never_left_gives_their_funds_back)
{
    enum { COUNT = 60 };
    struct site *site = site_create(.settings = "unacknowledged_max: 1000\n");
    site_account_open_prepaid(site, "alice", 100u * 1000 * 1000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    size_t length;
    char *requests = repeat(
        site_format(site, "GET %s HTTP/1.1\r\nHost: a\r\nRange: bytes=0-15999\r\n\r\n", link),
        COUNT, &length);
    for (int i = 0; i < 4; i++) {
        int fd = raw_connect(site, SMALL_WINDOW);
        (void)send_until_full(fd, requests, length);
        cr_assert_eq(raw_answer_head(site, fd)->status, 206);
        raw_reset(fd);
    }
    free(requests);
    site_await_nothing_reserved(site, "alice");
    site_destroy(&site);
}

Test(pressure, of_a_pause_lets_a_prepaid_account_fetch_the_rest_that_it_can_pay)
{
    struct site *site = site_create();
    size_t size;
    site_media_bytes(site, TRACK_LONG, &size);
    site_account_open_prepaid(site, "alice", size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    const struct answer *answer =
        fetch(site, link, .range = site_format(site, "0-%zu", size / 2 - 1));
    answer_expect_bytes(site, answer, TRACK_LONG, 0, size / 2);
    site_usage_await(site, "alice", size / 2);
    site_await_nothing_reserved(site, "alice"); /* the node has forgotten the first half */
    answer = fetch(site, link, .range = site_format(site, "%zu-", size / 2));
    cr_assert_eq(answer->status, 206, "the second half is answered %u", answer->status);
    answer_expect_bytes(site, answer, TRACK_LONG, size / 2, size - size / 2);
    site_usage_await(site, "alice", size);
    site_destroy(&site);
}

Test(pressure, of_a_redis_that_does_not_take_connections_does_not_end_the_node)
{
    /* The listener's backlog is full, so further connects wait for an answer that never comes. */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fillers[8];
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 0), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    for (size_t i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, size);
    }
    char redis[32];
    snprintf(redis, sizeof(redis), "127.0.0.1:%u", ntohs(address.sin_port));
    struct site *site = site_create(.redis = redis, .stays_down = true,
                                    .settings = "admission_timeout_ms: 100\nworkers: 2\n");
    site_node_start(site);
    (void)site_log_await(site, "it did not answer within");
    /* The node gave that attempt up and tries again, so others come as soon as there is room. */
    struct timeval patience = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(listen(listener, 64), 0);
    for (int i = 0; i < 16; i++) { /* some of these are the test's own */
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        cr_assert(fd >= 0, "the node does not try again: %s", strerrordesc_np(errno));
        close(fd);
    }
    cr_assert(site_node_is_running(site), "the node died");
    site_destroy(&site);
    for (size_t i = 0; i < 8; i++)
        close(fillers[i]);
    close(listener);
}

Test(pressure, of_a_question_that_is_still_open_does_not_spoil_the_stop)
{
    enum { COUNT = 24 };
    struct site *site = site_create(.settings = "admission_timeout_ms: 30000\nworkers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    pid_t redis = site_embedded_redis_pid(site);
    kill(redis, SIGSTOP);
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) { /* so many that both workers have some of them */
        fds[i] = raw_connect(site, 0);
        raw_print(fds[i], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    }
    /* A request that needs no Redis is answered only after its worker has read those before. */
    for (int i = 0; i < COUNT; i++) {
        int fd = raw_connect(site, 0);
        raw_print(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        cr_assert_eq(raw_answer(site, fd, false)->status, 403);
        close(fd);
    }
    for (int i = 0; i < COUNT; i++)
        raw_reset(fds[i]);
    site_node_signal(site, SIGTERM);
    site_log_await(site, "stopped; ");
    kill(redis, SIGCONT);
    cr_assert_eq(site_node_wait(site), 0);
    site_destroy(&site);
}
