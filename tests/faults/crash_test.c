/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node and Redis are killed in the middle of things: what was delivered is billed once, and
 * prepaid money is neither lost nor made. The tests assert the bounds that the ledger promises, not
 * those that this implementation happens to keep.
 */
#include <errno.h>
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

#define LONG_FILE        "/long.mp3"
#define LONG_COPIES      8
#define RECEIVE_BUFFER   65536
#define CHUNK_BYTES      65536
#define RATE_BYTES_PER_S (8u * 1000 * 1000)
/* A kill loses what came since the last mark: journal_mark_ms, and the 150 ms in which a worker reads
 * acknowledgements and the writer takes its turn. The ledger promises that this is under a second;
 * marked each half second, it is so on a busy machine, too. */
#define MARKS            "journal_mark_ms: 500\n"
#define UNMARKED_MS      1000

static size_t size_of(struct site *site, const char *path)
{
    size_t length;
    site_media_bytes(site, path, &length);
    return length;
}

/* A download by a bare socket. Its client reads at a steady rate, and remembers at which times it
 * had how many bytes. */
struct paced_download {
    int fd;
    size_t length; /* the Content-Length */
    size_t received;
    uint64_t started_ms;
    struct {
        uint64_t at_ms;
        size_t received;
    } samples[4096];
    size_t sample_count;
};

static struct paced_download *paced_begin(struct site *site, const char *link)
{
    struct paced_download *download = calloc(1, sizeof(*download));
    download->fd = raw_connect(site, RECEIVE_BUFFER);
    raw_print(download->fd, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", link);
    const struct answer *head = raw_answer_head(site, download->fd);
    cr_assert_eq(head->status, 200, "status %u", head->status);
    download->length = answer_header_number(site, head, "Content-Length");
    download->started_ms = harness_now_ms();
    return download;
}

/* Reads until the client has `received` bytes. */
static void paced_read(struct paced_download *download, size_t received)
{
    static char bytes[CHUNK_BYTES];
    while (download->received < received) {
        uint64_t now_ms = harness_now_ms();
        if (download->received / (RATE_BYTES_PER_S / 1000) > now_ms - download->started_ms) {
            harness_pause();
            continue;
        }
        size_t got = raw_read(download->fd, bytes, CHUNK_BYTES);
        cr_assert_gt(got, 0, "the connection ended after %zu bytes", download->received);
        download->received += got;
        cr_assert_lt(download->sample_count, 4096);
        download->samples[download->sample_count].at_ms = harness_now_ms();
        download->samples[download->sample_count++].received = download->received;
    }
}

/* The bytes that the client had `ms` before now. */
static size_t paced_received_before(const struct paced_download *download, uint64_t ms)
{
    uint64_t then_ms = harness_now_ms() - ms;
    size_t received = 0;
    for (size_t i = 0; i < download->sample_count && download->samples[i].at_ms <= then_ms; i++)
        received = download->samples[i].received;
    return received;
}

/* Reads the rest; returns how many bytes came in all. */
static size_t paced_end(struct paced_download *download)
{
    size_t received = download->received + raw_drain(download->fd);
    close(download->fd);
    free(download);
    return received;
}

static struct site *site_with_long_file(const char *settings, bool own_redis)
{
    struct site *site =
        site_create(.own_media = true, .settings = settings, .own_redis = own_redis);
    site_media_add(site, LONG_FILE, TRACK_LONG, LONG_COPIES);
    site_media_add(site, "/short.mp3", TRACK_VBR, 1);
    return site;
}

/* Kills the node two seconds after a download by the link began, and starts it again. Returns what is
 * billed of it; *all_but_a_second tells whether that is what had been read a second before. */
static uint64_t kill_under_way(struct site *site, const char *account, const char *link,
                               bool *all_but_a_second)
{
    size_t size = size_of(site, LONG_FILE);
    struct paced_download *download = paced_begin(site, link);
    paced_read(download, 2 * RATE_BYTES_PER_S);
    size_t must_be_billed = paced_received_before(download, UNMARKED_MS);
    site_node_kill(site);
    size_t arrived = paced_end(download);
    cr_assert_lt(arrived, size, "the whole file was in the buffers: nothing was tested");
    cr_assert_gt(must_be_billed, 0);

    site_node_start(site);
    site_node_await_ready(site);
    uint64_t billed = site_usage_settled(site, account);
    cr_assert_leq(billed, arrived, "billed %llu of %zu", (unsigned long long)billed, arrived);
    *all_but_a_second = billed >= must_be_billed;
    if (!*all_but_a_second)
        cr_log_warn("billed %llu, %zu had been read a second before", (unsigned long long)billed,
                    must_be_billed);
    return billed;
}

/* The second is that of a node which is given the processor: a busy machine may spoil an attempt. */
Test(crash, of_the_node_bills_all_but_the_last_second_and_never_more_than_arrived)
{
    enum { ATTEMPTS = 5 };
    struct site *site = site_with_long_file(MARKS "grant_validity_ms: 3000\n", false);
    size_t size = size_of(site, LONG_FILE);
    const char *account = NULL, *link = NULL;
    uint64_t billed = 0;
    bool all_but_a_second = false;
    for (int attempt = 0; attempt < ATTEMPTS && !all_but_a_second; attempt++) {
        account = site_format(site, "alice-%d", attempt);
        link = site_link(site, .account = account, .path = LONG_FILE);
        site_account_open_prepaid(site, account, size);
        billed = kill_under_way(site, account, link, &all_but_a_second);
    }
    cr_assert(all_but_a_second, "each kill lost more than a second");

    /* What the dead node had reserved comes back: once the billed bytes are paid in again, the
     * account can pay for the whole file. */
    cr_assert_eq(site_balance(site, account).balance, (int64_t)(size - billed));
    site_account_top_up(site, account, billed);
    answer_expect_file(site, fetch(site, link), LONG_FILE);
    site_usage_await(site, account, billed + size);
    answer_expect_refusal(site, fetch(site, link), 402, "balance_insufficient");
    site_destroy(&site);
}

Test(crash, of_the_node_again_and_again_bills_nothing_twice)
{
    enum { ROUNDS = 4 };
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    size_t size = size_of(site, TRACK_SHORT);
    uint64_t settled = 0, arrived = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const char *link =
            site_link(site, .account = "alice", .path = TRACK_SHORT, .expires_in_s = 1000 + i);
        answer_expect_file(site, fetch(site, link), TRACK_SHORT);
        arrived += size;
        if (i % 2 == 0) { /* in every other round the node dies before its mark */
            settled += size;
            site_usage_await(site, "alice", settled);
        }
        site_node_kill(site);
        site_node_start(site);
        site_node_await_ready(site);
        uint64_t billed = site_usage(site, "alice").bytes;
        cr_assert_leq(billed, arrived);
        cr_assert_geq(billed, settled, "what was billed before the kill is gone");
        settled = billed;
    }
    cr_assert_gt(settled, 0);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", settled + size_of(site, TRACK_TINY));
    site_destroy(&site);
}

Test(crash, of_the_embedded_redis_during_a_download_bills_it_exactly)
{
    struct site *site = site_with_long_file(NULL, false);
    size_t size = size_of(site, LONG_FILE);
    site_account_open_prepaid(site, "alice", 2 * size);
    const char *link = site_link(site, .account = "alice", .path = LONG_FILE);
    struct paced_download *download = paced_begin(site, link);
    paced_read(download, RATE_BYTES_PER_S / 2);
    pid_t before = site_embedded_redis_pid(site);
    cr_assert_eq(kill(before, SIGKILL), 0);
    cr_assert_eq(paced_end(download), size, "the download was cut");
    site_usage_await(site, "alice", size);
    cr_assert_neq(site_embedded_redis_pid(site), before);
    site_node_await_ready(site);
    const char *other = site_link(site, .account = "alice", .path = "/short.mp3");
    answer_expect_file(site, fetch(site, other), "/short.mp3");
    site_usage_await(site, "alice", size + size_of(site, "/short.mp3"));
    site_destroy(&site);
}

/* Repeats a GET, whose first answer must have `status`, until another status comes. */
static const struct answer *fetch_until_not(struct site *site, const char *link, unsigned status)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = fetch(site, link);
    while (answer->status == status) {
        cr_assert(harness_now_ms() < deadline_ms, "still %u", status);
        harness_pause();
        answer = fetch(site, link);
    }
    return answer;
}

/* Clients that are turned away together are told different seconds, so that they do not all come back
 * at once. */
static void expect_spread_retries(struct site *site, const char *link)
{
    enum { REFUSED = 40 };
    unsigned told = 0;
    for (int i = 0; i < REFUSED; i++) {
        const struct answer *answer = fetch(site, link, .fresh = i % 2 == 0);
        answer_expect_refusal(site, answer, 503, "redis_unavailable");
        uint64_t seconds = answer_header_number(site, answer, "Retry-After");
        cr_assert(seconds >= 1 && seconds <= 5, "%llu s", (unsigned long long)seconds);
        told |= 1u << seconds;
    }
    cr_expect_geq(__builtin_popcount(told), 3, "of 1 to 5 seconds only those of %#x are told",
                  told);
}

Test(crash, of_redis_turns_new_downloads_away_until_it_is_back)
{
    struct site *site = site_create(.own_redis = true, .settings = "admission_timeout_ms: 300\n");
    site_account_open_prepaid(site, "alice", 100000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    size_t size = size_of(site, TRACK_VBR);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    site_usage_await(site, "alice", size);
    site_redis_kill(site);
    const char *other = site_link(site, .account = "alice", .path = TRACK_TINY);
    expect_spread_retries(site, other);
    site_redis_start(site);
    const struct answer *answer = fetch_until_not(site, other, 503);
    answer_expect_file(site, answer, TRACK_TINY);
    site_usage_await(site, "alice", size + size_of(site, TRACK_TINY));
    site_destroy(&site);
}

static void remove_append_only_file(struct site *site)
{
    const char *path = site_format(site, "%s/appendonlydir", site_directory(site));
    cr_assert_eq(access(path, F_OK), 0, "%s is not there", path);
    cr_assert_eq(rename(path, site_format(site, "%s/appendonlydir.lost", site_directory(site))), 0);
}

Test(crash, of_a_redis_that_comes_back_empty_is_made_good_from_the_journal)
{
    struct site *site = site_create(.own_redis = true);
    size_t size = size_of(site, TRACK_VBR);
    site_account_open_prepaid(site, "alice", 5 * size);
    site_account_top_up(site, "alice", 1000);
    site_account_open_postpaid(site, "bob");
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    answer_expect_file(site, fetch(site, site_link(site, .account = "bob", .path = TRACK_TINY)),
                       TRACK_TINY);
    site_usage_await(site, "alice", size);
    site_usage_await(site, "bob", size_of(site, TRACK_TINY));
    site_redis_kill(site);
    remove_append_only_file(site);
    site_redis_start(site);
    site_usage_await(site, "alice", size);
    site_usage_await(site, "bob", size_of(site, TRACK_TINY));
    cr_assert_eq(site_balance(site, "alice").balance, (int64_t)(4 * size + 1000));
    answer_expect_file(site, fetch_until_not(site, link, 503), TRACK_VBR);
    site_usage_await(site, "alice", 2 * size);
    site_destroy(&site);
}

Test(crash, of_all_data_in_redis_is_made_good_at_the_next_start)
{
    struct site *site = site_create();
    size_t size = size_of(site, TRACK_VBR);
    site_account_open_prepaid(site, "alice", 5 * size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    site_usage_await(site, "alice", size);
    site_redis_command(site, "FLUSHALL");
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    site_node_start(site);
    site_node_await_ready(site);
    site_usage_await(site, "alice", size);
    cr_assert_eq(site_balance(site, "alice").balance, (int64_t)(4 * size));
    site_destroy(&site);
}

Test(crash, of_node_and_redis_together_loses_no_money)
{
    struct site *site = site_create(.own_redis = true);
    size_t size = size_of(site, TRACK_VBR);
    site_account_open_prepaid(site, "alice", size);
    site_account_top_up(site, "alice", size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    site_usage_await(site, "alice", size);
    site_redis_kill(site);
    site_node_kill(site);
    remove_append_only_file(site);
    site_redis_start(site);
    site_node_start(site);
    site_node_await_ready(site);
    site_usage_await(site, "alice", size);
    cr_assert_eq(site_balance(site, "alice").balance, (int64_t)size);
    /* A transaction that was answered stays known: repeating it pays in nothing. */
    const struct answer *answer = site_admin(site, "POST", "/v1/accounts/shop/alice/top-up",
                                             site_format(site,
                                                         "{\"bytes\":%zu,\"transaction\":"
                                                         "\"top-up-2\"}",
                                                         size));
    cr_assert_eq(answer->status, 200, "%s", (const char *)answer->body);
    cr_assert_eq(site_balance(site, "alice").balance, (int64_t)size);
    site_destroy(&site);
}

Test(crash, of_redis_before_the_start_is_answered_503_until_it_is_there)
{
    struct site *site = site_create(.own_redis = true, .stays_down = true);
    site_node_start(site);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *answer = fetch(site, link);
    cr_assert_eq(answer->status, 503);
    cr_assert_gt(answer_header_number(site, answer, "Retry-After"), 0);
    cr_assert_eq(site_admin(site, "GET", "/v1/health", NULL)->status, 503);
    /* Without Redis, a request without a token is refused as ever. */
    answer_expect_refusal(site, fetch(site, TRACK_TINY), 403, "token_missing");
    site_redis_start(site);
    site_node_await_ready(site);
    site_account_open_postpaid(site, "alice");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", size_of(site, TRACK_TINY));
    site_destroy(&site);
}

Test(crash, leaves_a_state_directory_that_no_second_node_may_take)
{
    struct site *site = site_create();
    struct command_result second = site_tollgate(site, "serve", "--listen", "127.0.0.1:0");
    cr_assert_neq(second.exit_code, 0, "two nodes run on one state directory");
    cr_assert(strstr(second.errors, "lock") != NULL || strstr(second.errors, "another") != NULL,
              "%s", second.errors);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
}

Test(crash, of_a_disk_that_lost_the_newest_segment_is_refused_before_anything_is_served)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", size_of(site, TRACK_TINY));
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    cr_assert_eq(unlink(site_format(site, "%s/lane-a/journal/00000001.seg", site_state_dir(site))),
                 0);

    site_node_start(site);
    site_log_await(site, "the state directory is older than Redis");
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    cr_assert_eq(health->status, 503);
    cr_assert(strstr((const char *)health->body, "bring the newest directory back"), "%s",
              (const char *)health->body);
    cr_assert_eq(fetch(site, link)->status, 503);
    site_destroy(&site);
}

/* Listens without SO_REUSEPORT, so that no node can share the port: as after a crash, while the
 * kernel has not yet closed the dead node's sockets. */
static int hold_port(unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* Makes `tollgate serve` listen on the port, whatever its configuration says. */
static void serve_on(struct site *site, unsigned port)
{
    site_serve_after(site, site_format(site, "set -- \"$@\" --listen 127.0.0.1:%u", port));
}

Test(crash, of_a_node_whose_port_is_still_held_for_a_moment_is_followed_by_a_start)
{
    enum { HELD_MS = 300 };
    struct site *site = site_create(.stays_down = true);
    unsigned port;
    int held = hold_port(&port);
    serve_on(site, port);
    struct command_result refused = site_tollgate(site, "serve");
    cr_assert_neq(refused.exit_code, 0);
    cr_assert(strstr(refused.errors, "Address already in use"), "%s", refused.errors);

    pid_t holder = fork();
    cr_assert_geq(holder, 0);
    if (holder == 0) {
        uint64_t until_ms = harness_now_ms() + HELD_MS;
        while (harness_now_ms() < until_ms)
            harness_pause();
        _exit(0);
    }
    close(held);
    site_node_start(site);
    cr_assert_eq(site_port(site), port);
    waitpid(holder, NULL, 0);
    site_node_await_ready(site);
    answer_expect_refusal(site, fetch(site, TRACK_TINY), 403, "token_missing");
    site_destroy(&site);
}

/* What an earlier process left in another lane of the state directory, which it could not post. */
Test(crash, of_redis_at_the_end_of_the_node_leaves_a_lane_that_the_next_one_posts)
{
    struct site *site = site_with_long_file(NULL, true);
    size_t size = size_of(site, LONG_FILE), more = size_of(site, "/short.mp3");
    site_account_open_prepaid(site, "alice", size + more);
    const char *link = site_link(site, .account = "alice", .path = LONG_FILE);
    struct paced_download *download = paced_begin(site, link);
    paced_read(download, RATE_BYTES_PER_S / 4);
    site_redis_kill(site);
    cr_assert_eq(paced_end(download), size, "the download was cut");
    site_node_signal(site, SIGTERM); /* it marks what it cannot post */
    (void)site_node_wait(site);
    const char *lanes[] = {site_format(site, "%s/lane-a", site_state_dir(site)),
                           site_format(site, "%s/lane-b", site_state_dir(site))};
    cr_assert_eq(rename(lanes[0], lanes[1]), 0);
    site_redis_start(site);
    site_node_start(site);
    site_node_await_ready(site);
    site_usage_await(site, "alice", size);
    const char *other = site_link(site, .account = "alice", .path = "/short.mp3");
    answer_expect_file(site, fetch(site, other), "/short.mp3");
    site_usage_await(site, "alice", size + more);
    answer_expect_refusal(site, fetch(site, other), 402, "balance_insufficient");
    site_destroy(&site);
}
