/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator: its figures are what was measured, its parser refuses answers whose length it
 * cannot know, and a run against a server of the test's own counts the bytes that came.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tokens/tokens.h"

/* ---- histogram ---- */

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

Test(bench_histogram, is_within_a_hundredth_of_the_sorted_values)
{
    enum { COUNT = 20000 };
    static struct histogram histogram;
    static uint64_t values[COUNT];
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < COUNT; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        values[i] = random >> (random % 60);
        histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(*values), compare);
    static const double percents[] = {0.1, 1, 25, 50, 90, 99, 99.9, 100};
    for (size_t i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
        size_t index = (size_t)(percents[i] / 100 * COUNT);
        double exact = (double)values[index > 0 ? index - 1 : 0];
        double told = (double)histogram_percentile(&histogram, percents[i]);
        cr_assert(told >= exact * 0.99 - 1 && told <= exact * 1.01 + 1, "p%g: %g, exactly %g",
                  percents[i], told, exact);
    }
    cr_assert_eq(histogram.max, values[COUNT - 1]);
}

Test(bench_histogram, holds_the_smallest_and_the_largest_and_merges)
{
    static struct histogram one, two;
    cr_assert_eq(histogram_percentile(&one, 50), 0);
    histogram_add(&one, 0);
    cr_assert_eq(histogram_percentile(&one, 100), 0);
    histogram_add(&two, UINT64_MAX);
    histogram_merge(&one, &two);
    cr_assert_eq(one.count, 2);
    cr_assert_eq(histogram_percentile(&one, 50), 0);
    cr_assert_geq(histogram_percentile(&one, 100), UINT64_MAX / 100 * 99);
}

/* ---- answers ---- */

static const char whole[] = "HTTP/1.1 206 Partial Content\r\n"
                            "content-length: 65536\r\n"
                            "ETag: \"00112233445566778899aabbccddeeff\"\r\n"
                            "Connection: close\r\n\r\n";

Test(bench_answer, is_read_wherever_it_is_split)
{
    struct answer_head head;
    for (size_t length = 0; length < sizeof(whole) - 1; length++)
        cr_assert_eq(answer_parse(whole, length, &head), 0, "at %zu", length);
    cr_assert_eq(answer_parse(whole, sizeof(whole) - 1, &head), (int)sizeof(whole) - 1);
    cr_assert_eq(head.status, 206);
    cr_assert_eq(head.body_length, 65536);
    cr_assert(!head.keep_alive);
    cr_assert(head.has_hash && head.hash[0] == 0x00 && head.hash[15] == 0xff);
}

Test(bench_answer, is_refused_where_its_length_is_not_certain)
{
    static const char *const bad[] = {
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 999 OK\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 1\r\n\r\n",
    };
    struct answer_head head;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_assert_eq(answer_parse(bad[i], strlen(bad[i]), &head), -1, "%s", bad[i]);
}

/* ---- requests ---- */

static const struct bench_signer nobody;

Test(bench_requests, are_what_was_asked_for)
{
    static const char *const urls[] = {"http://127.0.0.1:81/a%20b.mp3?x=1", "http://127.0.0.1:81/"};
    static const char *const headers[] = {"X-A: b"};
    const struct bench_shape shape = {.urls = urls,
                                      .url_count = 2,
                                      .headers = headers,
                                      .header_count = 1,
                                      .range = "0-9",
                                      .keep_alive = false};
    struct request_set set;
    char error[256];
    cr_assert_eq(request_set_create(&set, &shape, &nobody, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(set.count, 2);
    cr_assert_str_eq(set.host, "127.0.0.1");
    cr_assert_str_eq(set.port, "81");
    static const char first[] = "GET /a%20b.mp3?x=1 HTTP/1.1\r\nHost: 127.0.0.1:81\r\n"
                                "User-Agent: tollgate-bench\r\nRange: bytes=0-9\r\nX-A: b\r\n"
                                "Connection: close\r\n\r\n";
    cr_assert_eq(set.offsets[1], sizeof(first) - 1);
    cr_assert_eq(memcmp(set.text, first, sizeof(first) - 1), 0);
    request_set_destroy(&set);
}

Test(bench_requests, carry_a_link_of_their_own_each_where_it_is_asked)
{
    static const char *const urls[] = {"http://h:1/a.mp3"};
    char *jwks = NULL, *public_jwks = NULL, error[256];
    struct key_set *keys = NULL;
    cr_assert_eq(key_generate(TOKEN_HS256, &jwks, &public_jwks), 0);
    cr_assert_eq(key_set_parse(&keys, jwks, strlen(jwks), error, sizeof(error)), 0);
    key_text_free(&jwks);
    const struct bench_signer signer = {keys, "shop", "a", NULL, 60};
    const struct bench_shape shape = {
        .urls = urls, .url_count = 1, .keep_alive = true, .unique = 3};
    struct request_set sets[2]; /* two runs, in the same second */
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(request_set_create(&sets[i], &shape, &signer, error, sizeof(error)), 0, "%s",
                     error);
        cr_assert_eq(sets[i].count, 3);
    }
    for (size_t i = 0; i < 6; i++) {
        const char *text = sets[i / 3].text + sets[i / 3].offsets[i % 3];
        cr_assert_eq(strncmp(text, "GET /a.mp3?URISigningPackage=ey", 31), 0);
        for (size_t other = 0; other < i; other++)
            cr_assert_neq(
                strncmp(text, sets[other / 3].text + sets[other / 3].offsets[other % 3], 300), 0,
                "two requests carry one link");
    }
    request_set_destroy(&sets[0]);
    request_set_destroy(&sets[1]);
    key_set_destroy(&keys);
}

Test(bench_requests, of_no_good_url_are_refused_with_the_reason)
{
    static const char *const bad[] = {
        "https://h/", "h/a",          "http:///a",   "http://h:x/a",
        "http://h",   "http://h/a b", "http://h:/a", "http://h:123456789/a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const struct bench_shape shape = {.urls = &bad[i], .url_count = 1};
        struct request_set set;
        char error[256];
        cr_assert_eq(request_set_create(&set, &shape, &nobody, error, sizeof(error)), -EINVAL, "%s",
                     bad[i]);
        cr_assert_neq(error[0], '\0');
    }
}

/* ---- a run, against a server of the test's own ---- */

struct server {
    int listener;
    const char *answer;
    size_t length;
    pthread_t thread;
    char url[64];
};

/* Answers each connection's requests, one at a time, one connection after another. */
static void *serve(void *context)
{
    struct server *server = context;
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        char request[4096];
        while (recv(fd, request, sizeof(request), 0) > 0)
            if (send(fd, server->answer, server->length, MSG_NOSIGNAL) < 0)
                break;
        close(fd);
    }
    return NULL;
}

static void server_start(struct server *server, const char *answer, size_t length)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    server->answer = answer;
    server->length = length;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(server->listener, (struct sockaddr *)&address, size) == 0 &&
              listen(server->listener, 8) == 0 &&
              getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u/x",
             (unsigned)ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

static char error[256]; /* what the last run said */

/* Runs the load with `options`, but with requests of its own. Returns what bench_run does. */
static int run_with(const char *url, struct bench_options options, struct bench_result *result)
{
    static struct bench_progress progress;
    const struct bench_shape shape = {.urls = &url, .url_count = 1, .keep_alive = true};
    struct request_set set;
    cr_assert_eq(request_set_create(&set, &shape, &nobody, error, sizeof(error)), 0, "%s", error);
    options.requests = &set;
    error[0] = '\0';
    int failure = bench_run(&options, &progress, result, error, sizeof(error));
    request_set_destroy(&set);
    return failure;
}

static struct bench_result *run(const struct server *server, uint64_t requests, bool verify)
{
    static struct bench_result result;
    const struct bench_options options = {.connections = 1,
                                          .threads = 1,
                                          .duration_ms = 20000,
                                          .requests_max = requests,
                                          .timeout_ms = 10000,
                                          .verify = verify,
                                          .keep_alive = true};
    int failure = run_with(server->url, options, &result);
    cr_assert_eq(failure, 0, "%s", strerrordesc_np(-failure));
    return &result;
}

Test(bench_run, counts_what_came, .timeout = 60)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
    struct server server;
    server_start(&server, answer, sizeof(answer) - 1);
    struct bench_result *result = run(&server, 50, false);
    server_stop(&server);
    cr_assert_eq(result->requests, 50);
    cr_assert_eq(result->body_bytes, 250);
    cr_assert_eq(result->connects, 1);
    cr_assert_eq(result->statuses[200], 50);
    cr_assert_eq(result->latency_ns.count, 50);
}

Test(bench_run, tells_a_refusal_from_a_broken_answer, .timeout = 60)
{
    static const char refusal[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    static const char rubbish[] = "SSH-2.0-x\r\n\r\n";
    struct server server;
    server_start(&server, refusal, sizeof(refusal) - 1);
    struct bench_result *result = run(&server, 3, false);
    server_stop(&server);
    cr_assert_eq(result->requests, 0);
    cr_assert_eq(result->errors[BENCH_ERROR_STATUS], 3);
    cr_assert_eq(result->statuses[403], 3);

    server_start(&server, rubbish, sizeof(rubbish) - 1);
    result = run(&server, 2, false);
    server_stop(&server);
    cr_assert_eq(result->errors[BENCH_ERROR_MALFORMED], 2);
}

Test(bench_run, verifies_bodies_by_their_etag, .timeout = 60)
{
    /* The ETag is XXH3-128 of an empty body. */
    static const char empty[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                                "ETag: \"99aa06d3014798d86001c324468d497f\"\r\n\r\n";
    static const char other[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
                                "ETag: \"99aa06d3014798d86001c324468d497f\"\r\n\r\nx";
    struct server server;
    server_start(&server, empty, sizeof(empty) - 1);
    struct bench_result *result = run(&server, 4, true);
    server_stop(&server);
    cr_assert_eq(result->verified, 4);
    server_start(&server, other, sizeof(other) - 1);
    result = run(&server, 2, true);
    server_stop(&server);
    cr_assert_eq(result->verified, 0);
    cr_assert_eq(result->errors[BENCH_ERROR_MISMATCH], 2);
}

/* The kernel accepts the connection for a listener that never takes it, so no answer comes. */
Test(bench_run, holds_no_connection_whose_answer_did_not_come_in_time, .timeout = 60)
{
    static struct bench_result result;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    char url[64];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 8) == 0 &&
              getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", (unsigned)ntohs(address.sin_port));
    const struct bench_options options = {.connections = 1,
                                          .threads = 1,
                                          .duration_ms = 5000,
                                          .requests_max = 1,
                                          .timeout_ms = 100,
                                          .keep_alive = true};
    cr_assert_eq(run_with(url, options, &result), 0);
    cr_assert_eq(result.errors[BENCH_ERROR_TIMEOUT], 1);
    cr_assert_eq(result.open, 0);
    close(listener);
}

/* Sanitizers reserve more memory than such a limit allows. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* What the connections' bodies need (some 2 GB) is refused; the connections themselves fit. */
Test(bench_run, closes_no_descriptor_that_is_not_its_own_where_memory_is_short)
{
    static struct bench_result result;
    int null_fd = open("/dev/null", O_RDONLY);
    cr_assert(null_fd >= 0 && dup2(null_fd, STDIN_FILENO) == STDIN_FILENO);
    const struct rlimit limit = {(rlim_t)1 << 30, (rlim_t)1 << 30};
    const struct bench_options options = {
        .connections = 60000, .threads = 1, .duration_ms = 100, .verify = true};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert_eq(run_with("http://127.0.0.1:9/x", options, &result), -ENOMEM);
    cr_assert_geq(fcntl(STDIN_FILENO, F_GETFD), 0);
}

Test(bench_run, says_what_it_lacks_where_not_even_its_threads_have_memory)
{
    static struct bench_result result;
    const struct rlimit limit = {(rlim_t)1 << 30, (rlim_t)1 << 30};
    const struct bench_options options = {
        .connections = 1, .threads = UINT_MAX, .duration_ms = 100};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert_eq(run_with("http://127.0.0.1:9/x", options, &result), -ENOMEM);
    cr_assert_str_eq(error, "starting the client's threads: Cannot allocate memory");
}
#endif
