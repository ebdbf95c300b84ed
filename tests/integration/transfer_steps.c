/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/transfer_steps.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int begin_transfer(struct site *site, const char *link)
{
    char some[1000];
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
    cr_assert_eq(raw_read(fd, some, sizeof(some)), sizeof(some));
    return fd;
}

void expect_cut(int fd)
{
    static char bytes[65536];
    ssize_t got;
    struct timeval deadline = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        continue;
    cr_assert(got < 0 && errno == ECONNRESET, "the transfer was not cut: %s",
              got == 0 ? "it ended" : strerrordesc_np(errno));
    close(fd);
}

void expect_flow(int fd, uint64_t milliseconds, uint64_t bytes)
{
    static char body[65536];
    uint64_t total = 0, until_ms = harness_now_ms() + milliseconds;
    uint64_t deadline_ms = until_ms + HARNESS_DEADLINE_MS;
    while (harness_now_ms() < until_ms || total < bytes) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        cr_assert(harness_now_ms() < deadline_ms, "the transfer stopped after %llu bytes",
                  (unsigned long long)total);
        if (poll(&item, 1, 100) <= 0)
            continue;
        ssize_t got = recv(fd, body, sizeof(body), MSG_DONTWAIT);
        cr_assert(got > 0, "the transfer was cut after %llu bytes: %s", (unsigned long long)total,
                  got == 0 ? "it ended" : strerrordesc_np(errno));
        total += (uint64_t)got;
    }
}

void pause_ms(uint64_t milliseconds)
{
    uint64_t until_ms = harness_now_ms() + milliseconds;
    while (harness_now_ms() < until_ms)
        harness_pause();
}

void admin_expect(struct site *site, const char *path, const char *body, unsigned status)
{
    const struct answer *answer = site_admin(site, "POST", path, body);
    cr_assert_eq(answer->status, status, "%s: %u %s", path, answer->status,
                 answer->body != NULL ? (const char *)answer->body : "");
}

void await_no_delivery(struct site *site, const char *link, unsigned status, const char *reason)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    while ((answer = fetch(site, link))->status == 200 && harness_now_ms() < deadline_ms)
        harness_pause();
    answer_expect_refusal(site, answer, status, reason);
}

void revoke_jti(struct site *site, const char *jti)
{
    admin_expect(site, "/v1/accounts/shop/alice/revoke", site_format(site, "{\"jti\":\"%s\"}", jti),
                 200);
}

void revoke_url(struct site *site, const char *link)
{
    admin_expect(site, "/v1/links/revoke", site_format(site, "{\"url\":\"%s\"}", link), 200);
}
