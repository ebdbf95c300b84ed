/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things that run out or go away under a transfer: the disk, the file, the client. The node
 * answers, stays up and bills what was acknowledged.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define LONG_FILE      "/long.mp3"
#define RECEIVE_BUFFER 65536

static struct site *site_with_long_file(const char *settings)
{
    struct site *site = site_create(.own_media = true, .settings = settings);
    site_media_add(site, LONG_FILE, TRACK_LONG, 8);
    site_media_add(site, "/short.mp3", TRACK_TINY, 1);
    site_account_open_postpaid(site, "alice");
    return site;
}

/* Asks for the long file and reads its head. The body comes no faster than the caller reads. */
static int begin_by(struct site *site, const char *link, uint64_t *length)
{
    int fd = raw_connect(site, RECEIVE_BUFFER);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", link);
    const struct answer *head = raw_answer_head(site, fd);
    cr_assert_eq(head->status, 200, "status %u", head->status);
    *length = answer_header_number(site, head, "Content-Length");
    return fd;
}

static int begin(struct site *site, uint64_t *length)
{
    return begin_by(site, site_link(site, .account = "alice", .path = LONG_FILE), length);
}

static void read_exactly(int fd, size_t length)
{
    char *bytes = malloc(length);
    size_t got = raw_read(fd, bytes, length);
    free(bytes);
    cr_assert_eq(got, length, "the transfer ended after %zu bytes", got);
}

/* How many bytes the kernel of `fd` may hold: so many may be read whose acknowledgement was not sent yet. */
static uint64_t receive_buffer(int fd)
{
    int bytes = 0;
    socklen_t size = sizeof(bytes);
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size), 0);
    return (uint64_t)bytes;
}

static void expect_still_serving(struct site *site)
{
    const char *link = site_link(site, .account = "alice", .path = "/short.mp3");
    answer_expect_file(site, fetch(site, link), "/short.mp3");
}

Test(exhaustion, of_a_file_that_shrinks_ends_the_connection_and_bills_what_came)
{
    struct site *site = site_with_long_file(NULL);
    uint64_t length;
    int fd = begin(site, &length);
    uint64_t buffer = receive_buffer(fd);
    read_exactly(fd, 500000);
    cr_assert_eq(truncate(site_media_path(site, LONG_FILE), 1000000), 0);
    uint64_t received = 500000 + raw_drain(fd);
    cr_assert_lt(received, length, "the whole file was in the buffers: nothing was tested");
    close(fd);
    uint64_t billed = site_usage_settled(site, "alice");
    cr_assert_leq(billed, received);
    /* The client may have read bytes that it had not acknowledged yet when the file shrank. */
    cr_assert_geq(billed, 500000 - buffer, "billed %llu", (unsigned long long)billed);
    expect_still_serving(site);
    site_destroy(&site);
}

Test(exhaustion, of_a_client_that_vanishes_bills_no_more_than_its_kernel_took)
{
    struct site *site = site_with_long_file(NULL);
    uint64_t length;
    int fd = begin(site, &length);
    uint64_t buffer = receive_buffer(fd);
    read_exactly(fd, 3000000);
    raw_reset(fd);
    uint64_t billed = site_usage_settled(site, "alice");
    cr_assert_leq(billed, 3000000 + buffer, "billed %llu", (unsigned long long)billed);
    /* The client's last acknowledgement may not have been sent before the reset. */
    cr_assert_geq(billed, 3000000 - buffer, "billed %llu", (unsigned long long)billed);
    expect_still_serving(site);
    site_destroy(&site);
}

Test(exhaustion, of_a_client_that_never_reads_cuts_it_and_bills_what_its_kernel_took)
{
    struct site *site = site_with_long_file("stall_timeout_ms: 500\n");
    uint64_t length;
    int fd = begin(site, &length);
    cr_assert(raw_is_closed_by_peer(fd), "the transfer is not cut");
    uint64_t billed = site_usage_settled(site, "alice");
    uint64_t received = raw_drain(fd);
    close(fd);
    cr_assert_lt(received, length);
    cr_assert_gt(billed, 0);
    cr_assert_leq(billed, received, "billed %llu of %llu", (unsigned long long)billed,
                  (unsigned long long)received);
    expect_still_serving(site);
    site_destroy(&site);
}

Test(exhaustion, of_patience_does_not_cut_a_client_that_is_slow)
{
    struct site *site = site_with_long_file("stall_timeout_ms: 3000\n");
    uint64_t length;
    int fd = begin(site, &length);
    uint64_t received = 0, until_ms = harness_now_ms() + 6000;
    /* Reads for longer than the timeout, with pauses that are shorter. */
    while (harness_now_ms() < until_ms) {
        read_exactly(fd, 100000);
        received += 100000;
        for (int i = 0; i < 20; i++)
            harness_pause();
    }
    received += raw_drain(fd);
    cr_assert_eq(received, length);
    close(fd);
    site_usage_await(site, "alice", length);
    site_destroy(&site);
}

Test(exhaustion, of_connections_is_answered_and_heals)
{
    enum { COUNT = 8 };
    struct site *site = site_create(.settings = "connections_max: 8\nworkers: 1\n");
    site_account_open_postpaid(site, "alice");
    int held[COUNT];
    for (int i = 0; i < COUNT; i++) {
        held[i] = raw_connect(site, 0);
        raw_print(held[i], "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        answer_expect_refusal(site, raw_answer(site, held[i], false), 403, "token_missing");
    }
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    unsigned status = raw_answer_head(site, fd)->status;
    cr_assert(status == 503 || status == 0, "one connection too many is answered %u", status);
    close(fd);
    for (int i = 0; i < COUNT; i++)
        close(held[i]);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = fetch(site, link, .fresh = true);
    while (answer->status != 200) {
        cr_assert(harness_now_ms() < deadline_ms, "the node takes no connections any more");
        harness_pause();
        answer = fetch(site, link, .fresh = true);
    }
    answer_expect_file(site, answer, TRACK_TINY);
    site_destroy(&site);
}

/* The process that listens on the node's admin socket. */
static pid_t pid_of_node(struct site *site)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", site_state_dir(site));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
    close(fd);
    return peer.pid;
}

static void start_with_descriptors(struct site *site, unsigned count)
{
    site_serve_after(site, site_format(site, "ulimit -n %u", count));
    site_node_start(site);
    site_node_await_ready(site);
}

static void limit_descriptors(pid_t pid, rlim_t count)
{
    const struct rlimit limit = {.rlim_cur = count, .rlim_max = count};
    cr_assert_eq(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0, "%s", strerrordesc_np(errno));
}

static unsigned long processor_ticks(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    cr_assert_gt(length, 0);
    text[length] = '\0';
    cr_assert_eq(sscanf(strrchr(text, ')') + 2,
                        "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                 2);
    return user + system;
}

/* A node that waits takes next to no processor time; one that spins takes all that it is given, and
 * has no second in which it does not. */
static void expect_no_spinning(pid_t pid)
{
    unsigned long second = (unsigned long)sysconf(_SC_CLK_TCK), ticks = second;
    for (unsigned tries = 0; ticks >= second / 3; tries++) {
        cr_assert_lt(tries, 20, "%lu of %lu ticks of a second", ticks, second);
        unsigned long before = processor_ticks(pid);
        for (uint64_t until_ms = harness_now_ms() + 1000; harness_now_ms() < until_ms;)
            harness_pause();
        ticks = processor_ticks(pid) - before;
    }
}

static unsigned count_lines(const char *log, const char *text)
{
    unsigned count = 0;
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static int ask_for_nothing(struct site *site)
{
    int fd = raw_connect(site, 0);
    raw_print(fd, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    return fd;
}

Test(exhaustion, of_descriptors_makes_clients_wait_and_nothing_else)
{
    enum { MANY = 2000, MORE = 50 };
    struct site *site = site_create(.stays_down = true, .settings = "workers: 1\n");
    start_with_descriptors(site, 160);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    pid_t pid = pid_of_node(site);
    int fds[MANY + MORE];
    size_t count = 0;
    while (strstr(site_log(site), "clients wait until descriptors are freed") == NULL) {
        cr_assert_lt(count, MANY, "the node takes whoever comes");
        fds[count++] = ask_for_nothing(site);
        if (count % 10 == 0)
            harness_pause();
    }
    for (int i = 0; i < MORE; i++)
        fds[count++] = ask_for_nothing(site);
    answer_expect_refusal(site, raw_answer(site, fds[0], false), 403, "token_missing");
    expect_no_spinning(pid);
    struct pollfd last = {.fd = fds[count - 1], .events = POLLIN};
    cr_assert_eq(poll(&last, 1, 0), 0, "the last one does not wait");

    /* The node keeps descriptors for its admin interface. */
    cr_assert_eq(site_admin(site, "GET", "/v1/health", NULL)->status, 200);
    cr_assert_eq(site_admin(site, "GET", "/v1/accounts/shop/alice", NULL)->status, 200);
    raw_print(fds[0], "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    answer_expect_file(site, raw_answer(site, fds[0], false), TRACK_TINY);

    for (size_t i = 0; i < count; i++) { /* each close makes room for one that waits */
        if (i > 0)
            answer_expect_refusal(site, raw_answer(site, fds[i], false), 403, "token_missing");
        close(fds[i]);
    }
    site_log_await(site, "accepts again");
    cr_assert_leq(count_lines(site_log(site), "clients wait until"), 10);
    cr_assert_eq(count_lines(site_log(site), "worker 0: accept: "), 0);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
}

/* The limit falls below the descriptors that the node has open and polls. poll(2) refuses more
 * entries than the limit. */
Test(exhaustion, of_descriptors_that_are_taken_away_leaves_health_and_the_stop)
{
    enum { IDLE = 40 };
    struct site *site = site_create();
    pid_t pid = pid_of_node(site);
    int idle[IDLE];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", site_state_dir(site));
    for (int i = 0; i < IDLE; i++) {
        idle[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(idle[i], (struct sockaddr *)&address, sizeof(address)), 0);
    }
    limit_descriptors(pid, 32);
    expect_no_spinning(pid);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(site_admin(site, "GET", "/v1/health", NULL)->status, 200);
    for (int i = 0; i < IDLE; i++)
        close(idle[i]);
    site_destroy(&site); /* the node obeys SIGTERM */
}

/* Mounts a small file system, which goes with the test's process. NULL where it may not mount. */
static const char *mount_small_disk(void)
{
    static char path[] = "/tmp/tollgate-disk-XXXXXX";
    if (unshare(CLONE_NEWNS) < 0)
        return NULL;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return NULL;
    cr_assert(mkdtemp(path));
    if (mount("tmpfs", path, "tmpfs", 0, "size=8m,mode=0700") < 0) {
        rmdir(path);
        return NULL;
    }
    return path;
}

/* Writes until the disk has no room left. */
static void fill_disk(struct site *site, const char *disk)
{
    static char block[4096];
    int fd = open(site_format(site, "%s/filler", disk), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    while (write(fd, block, sizeof(block)) > 0)
        continue;
    cr_assert_eq(errno, ENOSPC);
    close(fd);
}

Test(exhaustion, of_the_journals_disk_stops_the_serving_until_there_is_room)
{
    const char *disk = mount_small_disk();
    if (disk == NULL)
        cr_skip_test("only root may mount");
    struct site *site =
        site_create(.own_redis = true, .state_dir = disk, .settings = "accounts_max: 100\n");
    site_account_open_postpaid(site, "alice");
    site_account_open_prepaid(site, "bob", 0);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    fill_disk(site, disk);

    /* Top-ups fill what is left of the segments. Each one that is answered 200 must count. */
    uint64_t paid_in = 0, answered = 200;
    for (unsigned i = 0; answered == 200; i++) {
        cr_assert_lt(i, 100000, "the journal never fills up");
        const char *body = site_format(site, "{\"bytes\":1,\"transaction\":\"fill-%u\"}", i);
        answered = site_admin(site, "POST", "/v1/accounts/shop/bob/top-up", body)->status;
        paid_in += answered == 200;
    }
    cr_assert(answered >= 500, "a full disk is answered %llu", (unsigned long long)answered);
    const struct answer *answer = fetch(site, link);
    answer_expect_refusal(site, answer, 503, "journal_unavailable");
    cr_assert_gt(answer_header_number(site, answer, "Retry-After"), 0);
    cr_assert(site_node_is_running(site));

    cr_assert_eq(unlink(site_format(site, "%s/filler", disk)), 0);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (answer->status == 503) {
        cr_assert(harness_now_ms() < deadline_ms, "the node does not heal");
        harness_pause();
        answer = fetch(site, link);
    }
    answer_expect_file(site, answer, TRACK_TINY);
    size_t size;
    site_media_bytes(site, TRACK_TINY, &size);
    site_usage_await(site, "alice", 2 * size);
    cr_assert_eq(site_balance(site, "bob").balance, (int64_t)paid_in);
    site_destroy(&site);
    umount(disk);
    rmdir(disk);
}

static void expect_soon_200(struct site *site, const char *link)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link, .range = "0-9")->status != 206) {
        cr_assert(harness_now_ms() < deadline_ms, "the node does not heal");
        harness_pause();
    }
}

Test(exhaustion, of_the_journals_disk_lets_downloads_that_have_begun_end)
{
    const char *disk = mount_small_disk();
    if (disk == NULL)
        cr_skip_test("only root may mount");
    struct site *site = site_create(.own_redis = true, .own_media = true, .state_dir = disk,
                                    .settings = "accounts_max: 100\n");
    site_media_add(site, LONG_FILE, TRACK_LONG, 8);
    site_media_add(site, "/short.mp3", TRACK_TINY, 1);
    site_account_open_postpaid(site, "alice");
    site_account_open_prepaid(site, "bob", 0);
    uint64_t length;
    const char *begun = site_link(site, .account = "alice", .path = LONG_FILE);
    int fd = begin_by(site, begun, &length);
    read_exactly(fd, 100000);
    fill_disk(site, disk);

    for (unsigned i = 0;; i++) {
        const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
        if (strstr((const char *)health->body, "\"full\"") != NULL)
            break;
        cr_assert_lt(i, 2000, "the journal never says that it is full: %s",
                     (const char *)health->body);
        const char *body = site_format(site, "{\"bytes\":1,\"transaction\":\"fill-%u\"}", i);
        unsigned status = site_admin(site, "POST", "/v1/accounts/shop/bob/top-up", body)->status;
        /* It may have become full since the look. */
        cr_assert(status == 200 || status >= 500, "a top-up is answered %u", status);
    }
    const char *link = site_link(site, .account = "alice", .path = "/short.mp3");
    answer_expect_refusal(site, fetch(site, link), 503, "journal_unavailable");
    /* A range of a download that has begun is part of that download, and so is still served. */
    answer_expect_bytes(site, fetch(site, begun, .range = "0-999"), LONG_FILE, 0, 1000);
    cr_assert_eq(100000 + raw_drain(fd), length);
    close(fd);
    site_usage_await(site, "alice", length + 1000);
    answer_expect_refusal(site, fetch(site, link), 503, "journal_unavailable");

    cr_assert_eq(unlink(site_format(site, "%s/filler", disk)), 0);
    expect_soon_200(site, link);
    site_usage_await(site, "alice", length + 1010);
    site_destroy(&site);
    umount(disk);
    rmdir(disk);
}
