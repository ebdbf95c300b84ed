/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis that answers much at once, late, wrongly or not at all, and one that has moved. Every
 * client is answered. The node looks for a Redis that works, and is not ready while it has none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
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

/* The status of the next answer, whose rest stays in the socket; 0 where none comes. */
static unsigned status_of(int fd)
{
    char line[13] = "";
    return raw_read(fd, line, 12) == 12 ? (unsigned)strtoul(line + 9, NULL, 10) : 0;
}

/* ---- a Redis that answers much at once ---- */

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
                                                   "admission_timeout_ms: 30000\n");
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

/* All listeners ask again. Redis' answers to them must not keep a new listener waiting. */
Test(redis, whose_push_connection_is_reset_beside_many_listeners_answers_all_of_them)
{
    enum { COUNT = 1500 };
    static int fds[COUNT];
    static const char *links[COUNT];
    struct site *site = site_for_many(COUNT, SMALL_WINDOW, TRACK_SHORT, fds, links);
    ask_all(COUNT, fds, links);
    site_redis_command(site, "CLIENT KILL TYPE pubsub");
    site_log_await(site, "the node hears of revocations again");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    cr_assert_null(strstr(site_log(site), "did not answer"), "%s", site_log(site));
    site_destroy(&site);
}

/* ---- a Redis that answers late ---- */

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

/* Asks by new links until one is delivered, because a Redis has granted it. */
static void await_delivery(struct site *site, const char *account)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (unsigned status = 0; status != 200; harness_pause()) {
        static unsigned last;
        const char *link = site_link(site, .account = account, .path = TRACK_TINY,
                                     .jti = site_format(site, "try-%u", last++));
        cr_assert(harness_now_ms() < deadline_ms, "the last answer is %u", status);
        status = fetch(site, link, .fresh = true)->status;
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
        site_create(.own_redis = true, .settings = "workers: 1\nadmission_timeout_ms: 3000\n");
    size_t size;
    site_media_bytes(site, TRACK_SHORT, &size);
    site_account_open_prepaid(site, "alice", 2 * size);
    const char *early = site_link(site, .account = "alice", .path = TRACK_SHORT, .jti = "early");
    const char *later = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "later");
    site_redis_signal(site, SIGSTOP);
    int early_fd = ask_on_its_own(site, early);
    for (uint64_t until_ms = harness_now_ms() + 1500; harness_now_ms() < until_ms;)
        harness_pause();
    int later_fd = ask_on_its_own(site, later);
    answer_expect_refusal(site, raw_answer(site, early_fd, false), 503, "redis_unavailable");
    await_ready(site, false); /* Redis is silent, so requests are refused now */
    site_redis_signal(site, SIGCONT);
    answer_expect_file(site, raw_answer(site, later_fd, false), TRACK_TINY);
    await_ready(site, true);
    cr_expect_null(strstr(site_log(site), "is not reached"), "%s", site_log(site));
    close(early_fd);
    close(later_fd);

    /* The node keeps what Redis reserved for the early listener: it pays for a later request by the
     * link, or goes back. */
    site_await_nothing_reserved(site, "alice");
    answer_expect_file(site, fetch(site, early), TRACK_SHORT);
    site_await_nothing_reserved(site, "alice");
    site_destroy(&site);
}

/* Each listener of a link has a deadline of its own, though they share one question to Redis. */
Test(redis, that_answers_nothing_refuses_all_listeners_of_a_link_at_once)
{
    enum { COUNT = 8 };
    struct site *site =
        site_create(.own_redis = true, .settings = "workers: 1\nadmission_timeout_ms: 3000\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    site_redis_signal(site, SIGSTOP);
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++)
        fds[i] = ask_on_its_own(site, link);
    for (int i = 0; i < COUNT; i++) {
        answer_expect_refusal(site, raw_answer(site, fds[i], false), 503, "redis_unavailable");
        close(fds[i]);
    }
    /* A listener that came a moment after the first asks a second time; no more is needed. */
    cr_expect_leq(site_traffic(site, "admissions_asked"), 2);
    site_redis_signal(site, SIGCONT);
    await_ready(site, true);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
}

/* A grant that comes too late for its listener serves the listener's next request. Without that no
 * request would ever be served here, since an answer takes five times as long as a request waits. */
Test(redis, that_answers_steadily_and_always_too_late_keeps_its_connections)
{
    enum { COUNT = 20 };
    struct site *home = site_create(.own_redis = true);
    struct relay *relay = relay_start(site_redis_address(home), 250);
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
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (int i = 0; i < COUNT; i++) {
        const struct answer *answer;
        while ((answer = fetch(far, links[i]))->status == 503 && harness_now_ms() < deadline_ms)
            harness_pause();
        answer_expect_file(far, answer, TRACK_TINY);
    }
    cr_expect_null(strstr(site_log(far), "is not reached"), "%s", site_log(far));
    site_await_nothing_reserved(home, "alice");
    site_destroy(&far);
    relay_stop(&relay);
    site_destroy(&home);
}

/* ---- a Redis that does not answer ---- */

/* Like a proxy whose Redis is gone, or a host that was stopped: connections are accepted. */
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
    for (int i = 0; i < 50; i++) /* meanwhile every new connection is mute */
        harness_pause();
    relay_mute_new(relay, false);
    site_node_await_ready(far);
    answer_expect_file(far, fetch(far, link), TRACK_TINY);
    site_log_await(far, "it did not answer within");
    site_destroy(&far);
    relay_stop(&relay);
    site_destroy(&home);
}

/* ---- a Redis that refuses ---- */

/* One way in which Redis answers and refuses each call. The node must notice by itself when it
 * begins and when it ends. */
struct objection {
    const char *name;
    const char *begin[3], *end;
};
static const struct objection objections[] = {
    {"READONLY", {"REPLICAOF 127.0.0.1 1"}, "REPLICAOF NO ONE"},
    {"MASTERDOWN",
     {"CONFIG SET replica-read-only no", "CONFIG SET replica-serve-stale-data no",
      "REPLICAOF 127.0.0.1 1"},
     "REPLICAOF NO ONE"},
    {"NOREPLICAS", {"CONFIG SET min-replicas-to-write 1"}, "CONFIG SET min-replicas-to-write 0"},
    {"OOM", {"CONFIG SET maxmemory 1"}, "CONFIG SET maxmemory 0"},
    {"MISCONF", {"CONFIG SET save \"3600 1000\"", "BGSAVE"}, "CONFIG SET save \"\""},
};

/* Waits for the words in the node's log behind its first `before` bytes. */
static void await_words(struct site *site, size_t before, const char *words)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (strstr(site_log(site) + before, words) == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "the node says nothing of %s: %s", words,
                  site_log(site));
        harness_pause();
    }
}

/* Sends a command that may have quotes, unlike site_redis_command. */
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
    /* A directory of that name makes each snapshot fail. */
    cr_assert_eq(mkdir(site_format(site, "%s/dump.rdb", site_directory(site)), 0700), 0);
    for (size_t i = 0; i < sizeof(objections) / sizeof(objections[0]); i++) {
        const struct objection *objection = &objections[i];
        const char *link = site_link(site, .account = "alice", .path = TRACK_TINY,
                                     .jti = site_format(site, "%zu", i));
        size_t before = strlen(site_log(site));
        for (size_t j = 0; j < 3 && objection->begin[j] != NULL; j++)
            command_redis(site, objection->begin[j]);
        await_ready(site, false);
        answer_expect_refusal(site, fetch(site, link), 503, "redis_unavailable");
        await_words(site, before, site_format(site, ": %s ", objection->name));
        command_redis(site, objection->end);
        await_ready(site, true);
        answer_expect_file(site, fetch(site, link), TRACK_TINY);
        site_usage_settled(site,
                           "alice"); /* posts are taken again, so the next objection is news */
    }
    site_destroy(&site);
}

/* Redis refuses all the time. The node tells the reason again when it changes. */
Test(redis, that_refuses_for_another_reason_is_named_again)
{
    struct site *site = site_create(.own_redis = true, .settings = "workers: 1\n");
    command_redis(site, "CONFIG SET min-replicas-to-write 1");
    await_words(site, 0, "ledger: Redis refuses FCALL: NOREPLICAS ");
    size_t before = strlen(site_log(site));
    command_redis(site, "CONFIG SET maxmemory 1");
    await_words(site, before, "ledger: Redis refuses ");
    await_words(site, before, ": OOM ");
    command_redis(site, "CONFIG SET maxmemory 0");
    command_redis(site, "CONFIG SET min-replicas-to-write 0");
    await_ready(site, true);
    site_destroy(&site);
}

/* The relay's address leads to the second Redis now; the connections to the first one stay open. */
static void take_over(const char *told_to_first)
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
    if (told_to_first != NULL)
        site_redis_command(first, told_to_first);
    site_log_await(far, "another Redis answers at");
    await_delivery(far, "alice");
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

Test(redis, that_another_has_taken_over_from_is_left_by_all_connections)
{
    take_over("REPLICAOF 127.0.0.1 1");
}

/* Nothing fails, so the node learns of it by its own looking. */
Test(redis, that_another_has_taken_over_from_is_left_although_it_stays_writable)
{
    take_over(NULL);
}

/* ---- a Redis that moves ---- */

#define NAMESERVER "127.77.77.77"

/* Mounts a file of the test's own over one of the system's, for the test's processes alone. */
static void put_in_place_of(struct site *site, const char *system, const char *text)
{
    const char *own = site_format(site, "%s%s", site_directory(site), strrchr(system, '/'));
    FILE *file = fopen(own, "we");
    cr_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    cr_assert_eq(mount(own, system, NULL, MS_BIND, NULL), 0, "%s: %s", system,
                 strerrordesc_np(errno));
}

/* Writes a text of the same length each time, so that a reader sees the old or the new text. */
static void name_redis(struct site *site, const char *first, const char *second)
{
    char lines[65];
    int length =
        snprintf(lines, sizeof(lines), "%-16sredis.test\n%-16s%s.test\n", first,
                 second != NULL ? second : "127.0.0.1", second != NULL ? "redis" : "other");
    int fd = open(site_format(site, "%s/hosts", site_directory(site)), O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0);
    cr_assert_eq(pwrite(fd, lines, (size_t)length, 0), length);
    close(fd);
}

/* A port that is free at this address. */
static unsigned free_port(const char *address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address)};
    socklen_t size = sizeof(name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&name, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    close(fd);
    return ntohs(name.sin_port);
}

static void listen_at(struct site *site, const char *address, unsigned port)
{
    command_redis(site, site_format(site, "CONFIG SET bind %s", address));
    command_redis(site, site_format(site, "CONFIG SET port %u", port));
}

/* A name server that answers nothing. */
static int silent_name_server(void)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = inet_addr(NAMESERVER)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;
    struct timeval patience = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0, "%s", strerrordesc_np(errno));
    return fd;
}

Test(redis, that_moves_is_found_by_its_name)
{
    if (unshare(CLONE_NEWNS) < 0)
        cr_skip_test("only root may mount");
    cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    struct site *first = site_create(.own_redis = true, .stays_down = true);
    struct site *second = site_create(.own_redis = true, .stays_down = true);
    int name_server = silent_name_server();
    put_in_place_of(first, "/etc/hosts", "");
    put_in_place_of(first, "/etc/nsswitch.conf", "hosts: files dns\n");
    put_in_place_of(first, "/etc/resolv.conf",
                    "nameserver " NAMESERVER "\noptions timeout:20 attempts:5\n");
    unsigned port = free_port("127.0.0.3");
    site_redis_start(first);
    site_redis_start(second);
    listen_at(first, "127.0.0.3", port);

    /* Two addresses, of which the first refuses. */
    name_redis(first, "127.0.0.2", "127.0.0.3");
    const char *address = site_format(first, "redis.test:%u", port);
    struct site *site = site_create(.redis = address, .settings = "workers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "1");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);

    /* The name leads to the second Redis, and the first one is gone. */
    listen_at(second, "127.0.0.4", port);
    name_redis(first, "127.0.0.4", NULL);
    site_redis_kill(first);
    await_delivery(site, "alice");

    /* The resolver hangs, so the node tries the address that the name had before. */
    int fd = open(site_format(first, "%s/hosts", site_directory(first)), O_WRONLY | O_CLOEXEC);
    cr_assert_eq(ftruncate(fd, 0), 0);
    close(fd);
    site_redis_command(second, "CLIENT KILL TYPE normal");
    char question[512];
    cr_assert_gt(recv(name_server, question, sizeof(question), 0), 0, "the resolver is not asked");
    await_delivery(site, "alice");
    site_destroy(&site); /* the node's stop does not wait for the resolver */
    close(name_server);
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(umount(((const char *const[]){"/etc/hosts", "/etc/nsswitch.conf",
                                                   "/etc/resolv.conf"})[i]),
                     0);
    site_destroy(&first);
    site_destroy(&second);
}
