/* SPDX-License-Identifier: Apache-2.0 */
/* The access log: what a line says, that no token is in it, and that no answer waits for it. */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static const char *log_of(struct site *site, const char *name)
{
    FILE *file = fopen(site_format(site, "%s/%s", site_directory(site), name), "re");
    char *text = calloc(1, 1 << 20);
    cr_assert_not_null(text);
    if (file != NULL) {
        (void)!fread(text, 1, (1 << 20) - 1, file);
        fclose(file);
    }
    const char *kept = site_format(site, "%s", text);
    free(text);
    return kept;
}

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    return lines;
}

static const char *await_lines(struct site *site, const char *name, unsigned lines)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const char *text = log_of(site, name);
        if (lines_of(text) >= lines)
            return text;
        cr_assert_lt(harness_now_ms(), deadline_ms, "%u lines in place of %u: %s", lines_of(text),
                     lines, text);
        harness_pause();
    }
}

static json_t *line(const char *text, unsigned index)
{
    while (index-- > 0)
        text = strchr(text, '\n') + 1;
    json_t *value = json_loadb(text, strcspn(text, "\n"), JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(value, "no JSON: %s", text);
    return value;
}

static void expect_text(const json_t *value, const char *key, const char *expected)
{
    const json_t *member = json_object_get(value, key);
    cr_assert_not_null(member, "no member %s", key);
    if (expected == NULL)
        cr_assert(json_is_null(member), "%s is %s", key, json_string_value(member));
    else
        cr_assert_str_eq(json_string_value(member), expected);
}

static void expect_number(const json_t *value, const char *key, uint64_t expected)
{
    cr_assert_eq((uint64_t)json_integer_value(json_object_get(value, key)), expected,
                 "%s is %lld in place of %llu", key,
                 json_integer_value(json_object_get(value, key)), (unsigned long long)expected);
}

static void expect_whole(json_t *whole, size_t size)
{
    expect_text(whole, "method", "GET");
    expect_text(whole, "path", "/Caf%C3%A9/01%20%E2%80%93%20100%25%20%231.mp3");
    expect_number(whole, "status", 200);
    expect_text(whole, "reason", NULL);
    expect_text(whole, "range", NULL);
    expect_number(whole, "handed", size);
    expect_number(whole, "acknowledged", size);
    expect_number(whole, "billed", size);
    expect_text(whole, "issuer", "shop");
    expect_text(whole, "account", "alice");
    expect_text(whole, "tls", NULL);
    expect_text(whole, "user_agent", "Play \\x22er\\x22");
    cr_assert_eq(strncmp(json_string_value(json_object_get(whole, "download")), "a-1-", 4), 0);
    cr_assert_eq(strncmp(json_string_value(json_object_get(whole, "client")), "127.0.0.1:", 10), 0);
    json_decref(whole);
}

/* Sends six requests, one after the other, so that their lines come in order; returns the log. */
static const char *ask_in_order(struct site *site, const char *link)
{
    const char *token = strstr(link, "URISigningPackage=") + 18;
    answer_expect_file(site, fetch(site, link, .headers = HEADERS("User-Agent: Play \"er\"")),
                       TRACK_VBR);
    (void)await_lines(site, "access", 1);
    (void)fetch(site, link, .range = "0-9,100000-199999", .tls = true);
    (void)await_lines(site, "access", 2);
    (void)fetch(site, link, .method = "HEAD");
    (void)fetch(site, site_format(site, "/none.mp3?misnamed=%s", token));
    (void)fetch(site, link, .method = "DELETE",
                .headers = HEADERS(site_format(site, "Referer: http://a/%s", link)));
    const struct answer *bad = raw_exchange(site, "GET / HTTP/1.1\n\n", 16);
    cr_assert_eq(bad->status, 400);
    const char *text = await_lines(site, "access", 6);
    cr_assert_eq(lines_of(text), 6);
    return text;
}

Test(access_log, says_of_each_response_what_was_asked_answered_and_billed)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\naccess_log: access\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_VBR);
    const char *token = strstr(link, "URISigningPackage=") + 18;
    size_t size;
    (void)site_media_bytes(site, TRACK_VBR, &size);
    const char *text = ask_in_order(site, link);
    expect_whole(line(text, 0), size);
    json_t *parts = line(text, 1);
    expect_number(parts, "status", 206);
    expect_text(parts, "range", "bytes=0-9,100000-199999");
    expect_number(parts, "billed", 10 + 100000);
    expect_text(parts, "tls", "TLSv1.3");
    json_t *head = line(text, 2);
    expect_text(head, "method", "HEAD");
    expect_number(head, "billed", 0);
    cr_assert(json_is_null(json_object_get(head, "download")));
    json_t *missing = line(text, 3);
    expect_number(missing, "status", 403);
    expect_text(missing, "reason", "token_missing");
    expect_text(missing, "path", "/none.mp3?misnamed=[token]");
    json_t *refused = line(text, 4);
    expect_text(refused, "method", "DELETE");
    expect_text(refused, "reason", "method_not_allowed");
    json_t *malformed = line(text, 5);
    expect_number(malformed, "status", 400);
    expect_text(malformed, "path", NULL);
    json_t *all[] = {parts, head, missing, refused, malformed};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        json_decref(all[i]);

    /* Neither this log nor the node's own must hold a token or a part of one. */
    const char *signature = strrchr(token, '.') + 1;
    const char *logs[] = {text, site_log(site)};
    for (size_t i = 0; i < 2; i++) {
        cr_assert_null(strstr(logs[i], signature), "%s", logs[i]);
        cr_assert_null(strstr(logs[i], "eyJ"), "%s", logs[i]);
    }
    site_destroy(&site);
}

Test(access_log, a_client_that_goes_is_billed_in_it_what_is_billed)
{
    struct site *site = site_create(.settings = "workers: 1\naccess_log: access\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    int fd = raw_connect(site, 8192);
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    char some[50000];
    cr_assert_eq(raw_read(fd, some, sizeof(some)), sizeof(some));
    raw_reset(fd);
    json_t *value = line(await_lines(site, "access", 1), 0);
    uint64_t billed = site_usage_settled(site, "alice");
    expect_number(value, "billed", billed);
    cr_assert_gt(json_integer_value(json_object_get(value, "handed")), (json_int_t)billed);
    json_decref(value);
    site_destroy(&site);
}

Test(access_log, is_opened_anew_on_SIGUSR1_and_loses_no_line)
{
    struct site *site =
        site_create(.settings = "access_log: access\naccess_log_format: combined\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    for (int i = 0; i < 20; i++) {
        (void)fetch(site, link, .fresh = true);
        if (i != 9)
            continue;
        const char *from = site_format(site, "%s/access", site_directory(site));
        cr_assert_eq(rename(from, site_format(site, "%s/access.1", site_directory(site))), 0);
        site_node_signal(site, SIGUSR1);
        (void)site_log_await(site, "access_log: opened ");
    }
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (lines_of(log_of(site, "access")) + lines_of(log_of(site, "access.1")) < 20) {
        cr_assert_lt(harness_now_ms(), deadline_ms);
        harness_pause();
    }
    cr_assert_geq(lines_of(log_of(site, "access")), 10);
    const char *text = log_of(site, "access");
    cr_assert_eq(strncmp(text, "127.0.0.1 - shop/alice [", 24), 0, "%s", text);
    cr_assert_not_null(strstr(text, "] \"GET /jingle.mp3 HTTP/1.1\" 200 "), "%s", text);
    site_destroy(&site);
}

static uint64_t counter(struct site *site, const char *name)
{
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    json_t *value = json_loadb((const char *)health->body, health->body_length, 0, NULL);
    uint64_t number =
        (uint64_t)json_integer_value(json_object_get(json_object_get(value, "access_log"), name));
    json_decref(value);
    return number;
}

Test(access_log, that_cannot_be_written_drops_lines_and_delays_nothing)
{
    struct site *site =
        site_create(.stays_down = true, .settings = "workers: 1\naccess_log: access\n");
    const char *path = site_format(site, "%s/access", site_directory(site));
    cr_assert_eq(mkfifo(path, 0600), 0); /* like a disk that has room for 64 KiB */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    site_node_start(site);
    site_node_await_ready(site);
    int fd = raw_connect(site, 0);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS, asked = 0;
    while (counter(site, "dropped") == 0) {
        cr_assert_lt(harness_now_ms(), deadline_ms);
        for (int i = 0; i < 200; i++, asked++) {
            raw_print(fd, "OPTIONS /%0512d HTTP/1.1\r\nHost: a\r\n\r\n", i);
            cr_assert_eq(raw_answer(site, fd, true)->status, 204);
        }
    }
    char some[65536];
    uint64_t lines = 0, dropped = counter(site, "dropped");
    deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (lines + dropped < asked) { /* the FIFO is read, so there is room again */
        ssize_t got = read(reader, some, sizeof(some));
        for (ssize_t i = 0; i < got; i++)
            lines += some[i] == '\n';
        cr_assert_lt(harness_now_ms(), deadline_ms, "%llu lines and %llu dropped of %llu",
                     (unsigned long long)lines, (unsigned long long)dropped,
                     (unsigned long long)asked);
        if (got <= 0)
            harness_pause();
    }
    close(fd);
    cr_assert_eq(lines + counter(site, "dropped"), asked);
    close(reader);
    site_destroy(&site);
}

Test(access_log, that_cannot_be_opened_stops_the_start_with_the_cure)
{
    struct site *site =
        site_create(.stays_down = true, .settings = "access_log: none/such/access\n");
    struct command_result served = site_tollgate(site, "serve");
    cr_assert_eq(served.exit_code, 69);
    cr_assert_not_null(strstr(served.errors, "none/such/access: No such file or directory; name"),
                       "%s", served.errors);
    site_destroy(&site);
}
