/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stops and starts as clients see them: after SIGTERM nobody new is taken and everybody else is
 * answered, and health says when the node is starting or stopping.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static int try_to_connect(struct site *site)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)site_port(site)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    int error = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    close(fd);
    return error;
}

/* A slow client keeps the node up. Clients that had connected are answered, and later ones are
 * refused at once. */
Test(service, takes_nobody_after_SIGTERM_and_answers_who_has_connected)
{
    struct site *site = site_create(.own_media = true, .tls = true, .settings = "workers: 4\n");
    site_media_add(site, "/long.mp3", TRACK_LONG, 8);
    site_media_add(site, "/tiny.mp3", TRACK_TINY, 1);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = "/long.mp3");
    int slow = raw_connect(site, 65536);
    raw_print(slow, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, slow)->status, 200);
    link = site_link(site, .account = "alice", .path = "/tiny.mp3");
    int early[16];
    for (unsigned i = 0; i < 16; i++)
        early[i] = raw_connect(site, 0);
    site_node_signal(site, SIGTERM);
    for (unsigned i = 0; i < 16; i++)
        raw_print(early[i], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    for (unsigned i = 0; i < 16; i++) {
        const struct answer *answer = raw_answer(site, early[i], false);
        answer_expect_file(site, answer, "/tiny.mp3");
        close(early[i]);
    }
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (try_to_connect(site) != ECONNREFUSED) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "the port still takes connections");
        harness_pause();
    }
    raw_drain(slow);
    close(slow);
    cr_assert_eq(site_node_wait(site), 0);
    site_destroy(&site);
}

static bool health_says(struct site *site, const char *text)
{
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    return health->status == 503 &&
           memmem(health->body, health->body_length, text, strlen(text)) != NULL;
}

static void health_must_say(struct site *site, const char *text)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (!health_says(site, text)) {
        cr_assert(harness_now_ms() < deadline_ms, "health never says %s", text);
        harness_pause();
    }
}

/* Puts a redis-server into PATH that starts once the file `seen` is there. */
static void hold_redis_back(struct site *site)
{
    const char *path = site_format(site, "%s/redis-server", site_directory(site));
    FILE *file = fopen(path, "we");
    cr_assert(file);
    fprintf(file,
            "#!/bin/sh\nwhile ! [ -e '%s/seen' ]; do sleep 0.05; done\n"
            "PATH='%s' exec redis-server \"$@\"\n",
            site_directory(site), getenv("PATH"));
    cr_assert_eq(fchmod(fileno(file), 0700), 0);
    fclose(file);
    cr_assert_eq(
        setenv("PATH", site_format(site, "%s:%s", site_directory(site), getenv("PATH")), 1), 0);
}

Test(service, tells_its_health_from_the_start_to_the_end)
{
    struct site *site = site_create(.stays_down = true, .own_media = true);
    site_media_add(site, "/long.mp3", TRACK_LONG, 8);
    hold_redis_back(site);
    pid_t watcher = fork();
    if (watcher == 0) {
        health_must_say(site, "\"starting\":true");
        close(creat(site_format(site, "%s/seen", site_directory(site)), 0600));
        _exit(0);
    }
    site_node_start(site);
    int status = -1;
    cr_assert_eq(waitpid(watcher, &status, 0), watcher);
    cr_assert_eq(status, 0, "nobody said that the node is starting");
    site_node_await_ready(site);

    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = "/long.mp3");
    int fd = raw_connect(site, 65536);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    site_node_signal(site, SIGTERM); /* the transfer goes on all the same */
    health_must_say(site, "\"stopping\":true");
    const struct answer *refused = site_admin(site, "GET", "/v1/accounts/shop/alice", NULL);
    answer_expect_refusal(site, refused, 503, "node_stopping");
    cr_assert(health_says(site, "\"stopping\":true"));
    raw_drain(fd);
    close(fd);
    cr_assert_eq(site_node_wait(site), 0);
    site_destroy(&site);
}
