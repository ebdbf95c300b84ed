/*
 * A Redis that answers much at once, late, wrongly or not at all, and one that is somewhere else than
 * before. Who asks is answered; the node looks for a Redis that works, and says that it is not ready
 * while it has none.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define SMALL_WINDOW 2048

static void raise_descriptors(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Of the next answer, which stays in the socket but for its first bytes; 0: there is none. */
static unsigned status_of(int fd)
{
    char line[13] = "";
    return raw_read(fd, line, 12) == 12 ? (unsigned)strtoul(line + 9, NULL, 10) : 0;
}

/* ---- much at once ---- */

/* A node of one worker, and a connection and a link for each of `count` listeners. */
static struct site *site_for_many(int count, int window, const char *path, int *fds,
                                  const char **links)
{
    raise_descriptors();
    struct site *site =
        site_create(.own_redis = true, .settings = "workers: 1\n"
                                                   "connections_max: 6000\n"
                                                   "windows_max: 6000\n"
                                                   "journal_segment_bytes: 33554432\n"
                                                   "admission_timeout_ms: 15000\n");
    site_account_open_postpaid(site, "alice");
    for (int i = 0; i < count; i++) {
        links[i] = site_link(site, .account = "alice", .path = path,
                             .jti = site_format(site, "order-%d", i));
        fds[i] = raw_connect(site, window);
    }
    return site;
}

static void ask_all(int count, const int *fds, const char *const *links)
{
    for (int i = 0; i < count; i++)
        raw_print(fds[i], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", links[i]);
    unsigned refused = 0;
    for (int i = 0; i < count; i++)
        refused += status_of(fds[i]) != 200;
    cr_assert_eq(refused, 0, "%u of %d are refused", refused, count);
}

Test(redis, that_is_asked_by_five_thousand_at_once_refuses_nobody)
{
    enum { COUNT = 5000 };
    static int fds[COUNT];
    static const char *links[COUNT];
    struct site *site = site_for_many(COUNT, 0, TRACK_TINY, fds, links);
    ask_all(COUNT, fds, links);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    cr_assert_null(strstr(site_log(site), "did not answer"), "%s", site_log(site));
    site_destroy(&site);
}

/* All listeners ask again; what Redis answers them may not keep a new one waiting. */
Test(redis, whose_push_connection_is_reset_beside_many_listeners_answers_all_of_them)
{
    enum { COUNT = 1500 };
    static int fds[COUNT];
    static const char *links[COUNT];
    struct site *site = site_for_many(COUNT, SMALL_WINDOW, TRACK_SHORT, fds, links);
    ask_all(COUNT, fds, links);
    site_redis_command(site, "CLIENT KILL TYPE pubsub");
    site_log_await(site, "revocations are heard again");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    cr_assert_null(strstr(site_log(site), "did not answer"), "%s", site_log(site));
    site_destroy(&site);
}
