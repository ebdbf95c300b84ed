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
#include <sys/stat.h>
#include <sys/un.h>
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

/* ---- late ---- */

static void await_ready(struct site *site, bool ready)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
        if ((health->status == 200) == ready)
            return;
        cr_assert(harness_now_ms() < deadline_ms, "the node stays %s: %s",
                  ready ? "not ready" : "ready", (const char *)health->body);
        harness_pause();
    }
}

static void await_nothing_reserved(struct site *site, const char *account)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    struct balance balance = site_balance(site, account);
    while (balance.reserved != 0) {
        cr_assert(harness_now_ms() < deadline_ms, "%lld bytes stay reserved",
                  (long long)balance.reserved);
        harness_pause();
        balance = site_balance(site, account);
    }
}

static int ask_on_its_own(struct site *site, const char *link)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", link);
    return fd;
}

Test(redis, that_answers_one_question_too_late_answers_a_later_one_in_time)
{
    struct site *site =
        site_create(.own_redis = true, .settings = "workers: 1\nadmission_timeout_ms: 2000\n");
    size_t size;
    site_media_bytes(site, TRACK_SHORT, &size);
    site_account_open_prepaid(site, "alice", 2 * size);
    const char *early = site_link(site, .account = "alice", .path = TRACK_SHORT, .jti = "early");
    const char *later = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "later");
    site_redis_signal(site, SIGSTOP);
    int early_fd = ask_on_its_own(site, early);
    for (int i = 0; i < 150; i++)
        harness_pause();
    int later_fd = ask_on_its_own(site, later);
    answer_expect_refusal(site, raw_answer(site, early_fd, false), 503, "redis_unavailable");
    await_ready(site, false); /* Redis is silent: whoever asks now is refused */
    site_redis_signal(site, SIGCONT);
    answer_expect_file(site, raw_answer(site, later_fd, false), TRACK_TINY);
    await_ready(site, true);
    cr_expect_null(strstr(site_log(site), "is not reached"), "%s", site_log(site));
    close(early_fd);
    close(later_fd);

    /* What Redis reserved for the early one is taken: it pays for who asks again, or goes back. */
    await_nothing_reserved(site, "alice");
    answer_expect_file(site, fetch(site, early), TRACK_SHORT);
    await_nothing_reserved(site, "alice");
    site_destroy(&site);
}

/* A grant that came too late for who had asked serves him when he asks again. */
Test(redis, that_answers_steadily_and_always_too_late_keeps_its_connections)
{
    enum { COUNT = 20 };
    struct site *home = site_create(.own_redis = true);
    struct relay *relay = relay_start(site_redis_address(home), 150);
    struct site *far = site_create(.beside = home, .redis = relay_address(relay), .node = "far-1",
                                   .settings = "workers: 1\nadmission_timeout_ms: 100\n");
    site_account_open_prepaid(home, "alice", 1000u * 1000 * 1000);
    const char *links[COUNT];
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        links[i] = site_link(home, .account = "alice", .path = TRACK_TINY,
                             .jti = site_format(home, "order-%d", i));
        fds[i] = ask_on_its_own(far, links[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        answer_expect_refusal(far, raw_answer(far, fds[i], false), 503, "redis_unavailable");
        close(fds[i]);
    }
    await_ready(far, true);
    for (int i = 0; i < COUNT; i++)
        answer_expect_file(far, fetch(far, links[i]), TRACK_TINY);
    cr_expect_null(strstr(site_log(far), "is not reached"), "%s", site_log(far));
    await_nothing_reserved(home, "alice");
    site_destroy(&far);
    relay_stop(&relay);
    site_destroy(&home);
}

/* ---- not at all ---- */

/* As a proxy whose Redis is gone, or a host that was stopped: the connection is there. */
Test(redis, that_accepts_and_says_nothing_is_given_up_until_one_answers)
{
    struct site *home = site_create(.own_redis = true);
    struct relay *relay = relay_start(site_redis_address(home), 0);
    struct site *far = site_create(.beside = home, .redis = relay_address(relay), .node = "far-1",
                                   .settings = "workers: 2\n", .stays_down = true);
    site_account_open_postpaid(home, "alice");
    relay_mute_new(relay, true);
    site_node_start(far);
    const char *link = site_link(home, .account = "alice", .path = TRACK_TINY);
    answer_expect_refusal(far, fetch(far, link), 503, "redis_unavailable");
    for (int i = 0; i < 50; i++) /* every connection is one of those that stay mute */
        harness_pause();
    relay_mute_new(relay, false);
    site_node_await_ready(far);
    answer_expect_file(far, fetch(far, link), TRACK_TINY);
    site_log_await(far, "it did not answer within");
    site_destroy(&far);
    relay_stop(&relay);
    site_destroy(&home);
}

/* ---- wrongly ---- */

/* Redis answers, and refuses each call; the node finds out by itself, and when that is over, too. */
struct objection {
    const char *name;
    const char *begin[2], *end;
};
static const struct objection objections[] = {
    {"READONLY", {"REPLICAOF 127.0.0.1 1"}, "REPLICAOF NO ONE"},
    {"MASTERDOWN",
     {"CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"},
     "REPLICAOF NO ONE"},
    {"NOREPLICAS", {"CONFIG SET min-replicas-to-write 1"}, "CONFIG SET min-replicas-to-write 0"},
    {"OOM", {"CONFIG SET maxmemory 1"}, "CONFIG SET maxmemory 0"},
    {"MISCONF", {"CONFIG SET save \"3600 1000\"", "BGSAVE"}, "CONFIG SET save \"\""},
};

/* With quotes, unlike site_redis_command. */
static void command_redis(struct site *site, const char *command)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char first = '-';
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", site_redis_address(site) + 5);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    raw_print(fd, "%s\r\n", command);
    cr_assert(raw_read(fd, &first, 1) == 1 && first != '-', "Redis refuses %s", command);
    close(fd);
}

Test(redis, that_refuses_to_write_makes_the_node_not_ready_until_it_writes_again)
{
    struct site *site = site_create(.own_redis = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    /* In the way of each snapshot. */
    cr_assert_eq(mkdir(site_format(site, "%s/dump.rdb", site_directory(site)), 0700), 0);
    for (size_t i = 0; i < sizeof(objections) / sizeof(objections[0]); i++) {
        const struct objection *objection = &objections[i];
        const char *link =
            site_link(site, .account = "alice", .path = TRACK_TINY, .jti = objection->name);
        for (size_t j = 0; j < 2 && objection->begin[j]; j++)
            command_redis(site, objection->begin[j]);
        await_ready(site, false);
        answer_expect_refusal(site, fetch(site, link), 503, "redis_unavailable");
        cr_expect(strstr(site_log(site), objection->name), "%s", site_log(site));
        command_redis(site, objection->end);
        await_ready(site, true);
        answer_expect_file(site, fetch(site, link), TRACK_TINY);
    }
    site_destroy(&site);
}

/* The address of both leads to the new one, and the connections to the old one stay open. */
Test(redis, that_another_has_taken_over_from_is_left_by_all_connections)
{
    struct site *first = site_create(.own_redis = true, .stays_down = true);
    struct site *second = site_create(.own_redis = true, .stays_down = true);
    site_redis_start(first);
    site_redis_start(second);
    struct relay *relay = relay_start(site_redis_address(first), 0);
    struct site *far = site_create(.redis = relay_address(relay), .settings = "workers: 2\n");
    site_account_open_postpaid(far, "alice");
    const char *tiny = site_link(far, .account = "alice", .path = TRACK_TINY, .jti = "1");
    answer_expect_file(far, fetch(far, tiny), TRACK_TINY);
    relay_turn_to(relay, site_redis_address(second));
    site_redis_command(first, "REPLICAOF 127.0.0.1 1");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (unsigned i = 0, status = 0; status != 200; i++) {
        const char *link = site_link(far, .account = "alice", .path = TRACK_TINY,
                                     .jti = site_format(far, "try-%u", i));
        cr_assert(harness_now_ms() < deadline_ms, "it is still the old Redis that is asked");
        status = fetch(far, link, .fresh = true)->status;
        harness_pause();
    }
    await_ready(far, true);
    for (int i = 0; i < 8; i++) { /* so many that both workers have some of them */
        const char *link = site_link(far, .account = "alice", .path = TRACK_TINY,
                                     .jti = site_format(far, "order-%d", i));
        answer_expect_file(far, fetch(far, link, .fresh = true), TRACK_TINY);
    }
    site_destroy(&far);
    relay_stop(&relay);
    site_destroy(&first);
    site_destroy(&second);
}
