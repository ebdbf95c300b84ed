/* SPDX-License-Identifier: Apache-2.0 */
/* The node's log when clients cause many lines, and when nothing reads it. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define REFUSED 2000

/* Sends requests without a token, which are refused, on one connection. */
static void have_refused(struct site *site, unsigned count)
{
    int fd = raw_connect(site, 0);
    for (unsigned i = 0; i < count; i++) {
        raw_print(fd, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
        const struct answer *answer = raw_answer(site, fd, true);
        cr_assert_eq(answer->status, 403, "request %u is answered %u", i, answer->status);
    }
    close(fd);
}

/* The sum of the numbers behind `what`. */
static unsigned long sum_behind(const char *text, const char *what)
{
    unsigned long sum = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        sum += strtoul(text + strlen(what), NULL, 10);
    return sum;
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        count++;
    return count;
}

Test(log, that_nobody_reads_holds_up_no_answer_and_no_stop)
{
    struct site *site =
        site_create(.log_unread = true, .settings = "workers: 1\nlog_level: debug\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    /* The pipe has room for some 40 lines; then the log's writer waits for ever. */
    have_refused(site, REFUSED);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", site_usage_settled(site, "alice"));
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_log_read(site);
    cr_assert_not_null(strstr(site_log(site), " info refused: status=403 reason=token_missing"));
    site_destroy(&site);
}

/* A listener who asks why a request was refused can tell an address and a path, without a token. */
Test(log, of_a_refusal_has_client_and_path_and_no_token)
{
    struct site *site = site_create();
    const char *link = site_link(site, .account = "nobody", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link), 402, "account_unknown");
    (void)site_log_await(site, site_format(site, "reason=account_unknown"));
    (void)site_log_await(site, site_format(site, " path=%s\n", TRACK_TINY));
    answer_expect_refusal(site, fetch(site, "/a%20b.mp3?c=d"), 403, "token_missing");
    const char *log = site_log_await(site, " path=/a%20b.mp3\n");
    cr_assert_not_null(strstr(log, " client=127.0.0.1:"));
    answer_expect_refusal(site, fetch(site, "/a;URISigningPackage=eyJhbGciOi.x.y/b.mp3"), 403,
                          "token_malformed");
    log = site_log_await(site, " path=/a;URISigningPackage=");
    cr_assert_null(strstr(log, "eyJhbGciOi"), "%s", log);
    site_destroy(&site);
}

Test(log, of_a_flood_is_limited_says_what_it_left_out_and_has_the_other_messages)
{
    struct site *site = site_create(.settings = "workers: 2\n");
    have_refused(site, REFUSED / 2);
    site_node_signal(site, SIGHUP);
    have_refused(site, REFUSED / 2);
    (void)site_log_await(site, "reloaded the key sets");
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    const char *text = site_log(site);
    unsigned lines = count_of(text, " info refused: ");
    cr_assert_lt(lines, REFUSED / 2, "%u lines", lines);
    cr_assert_eq(lines + sum_behind(text, " info left out "), REFUSED, "%s", text);
    cr_assert_not_null(strstr(text, " more of: refused: "));
    site_destroy(&site);
}
