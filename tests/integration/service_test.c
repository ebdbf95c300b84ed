/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node under a service manager: sockets that the manager passes to it, notices by
 * NOTIFY_SOCKET, reloads on SIGHUP, and stops. The test plays the manager's part.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_internal.h"

/* ---- the manager's part ---- */

/* Makes `tollgate serve`, and no other process, get `fd` as its descriptor 3. */
static void pass_descriptor(struct site *site, int fd)
{
    site_serve_after(site, site_format(site, "exec 3<&%d; export LISTEN_FDS=1 LISTEN_PID=$$", fd));
}

static int listen_anywhere(bool blocking)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* Without SOCK_CLOEXEC, because the script inherits it. */
    int fd = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0);
    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fd, 16), 0);
    return fd;
}

static int open_notify_socket(struct site *site)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", site_directory(site));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    return fd;
}

static void expect_notice(int fd, const char *start)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char text[256];
    cr_assert_eq(poll(&item, 1, HARNESS_DEADLINE_MS), 1, "the manager is not told %s", start);
    ssize_t length = recv(fd, text, sizeof(text) - 1, 0);
    cr_assert(length > 0);
    text[length] = '\0';
    cr_assert_eq(strncmp(text, start, strlen(start)), 0, "not %s: %s", start, text);
}

/* ---- passed sockets ---- */

static void serves_on_a_passed_socket(bool blocking)
{
    struct site *site = site_create(.stays_down = true, .settings = "workers: 3\n");
    int fd = listen_anywhere(blocking);
    pass_descriptor(site, fd);
    site_node_start(site);
    site_node_await_ready(site);
    cr_assert(strstr(site_log(site), "passed by the service manager"));
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    for (int i = 0; i < 8; i++) /* so that several workers take some */
        answer_expect_file(site, fetch(site, link, .fresh = true), TRACK_TINY);
    site_destroy(&site);
    close(fd);
}

Test(service, serves_on_a_passed_socket)
{
    serves_on_a_passed_socket(true);
}

Test(service, serves_on_a_passed_socket_that_does_not_block)
{
    serves_on_a_passed_socket(false);
}

Test(service, a_restart_refuses_nobody_while_the_manager_holds_the_socket)
{
    struct site *site = site_create(.stays_down = true);
    int fd = listen_anywhere(true);
    pass_descriptor(site, fd);
    site_node_start(site);
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);

    int client = raw_connect(site, 0); /* while no node runs */
    raw_print(client, "GET %s HTTP/1.1\r\nHost: media.example\r\n\r\n", link);
    site_node_start(site);
    const struct answer *answer = raw_answer(site, client, false);
    if (answer->status == 503) { /* the node listens before it has asked Redis */
        site_node_await_ready(site);
        raw_print(client, "GET %s HTTP/1.1\r\nHost: media.example\r\n\r\n", link);
        answer = raw_answer(site, client, false);
    }
    answer_expect_file(site, answer, TRACK_TINY);
    close(client);
    site_destroy(&site);
    close(fd);
}

Test(service, refuses_a_passed_descriptor_that_is_no_listening_socket)
{
    struct site *site = site_create(.stays_down = true);
    int fd = open("/dev/null", O_RDWR); // NOLINT(android-cloexec-open): the script takes it over
    pass_descriptor(site, fd);
    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 69);
    cr_assert(
        strstr(serve.errors, "descriptor 3, passed by LISTEN_FDS, is not a listening TCP socket"),
        "%s", serve.errors);
    site_destroy(&site);
    close(fd);
}

/* ---- SIGHUP and the manager's notices ---- */

static void write_keys(struct site *site, const char *text)
{
    FILE *file = fopen(site_format(site, "%s/shop.jwks", site_directory(site)), "we");
    cr_assert(file);
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
}

/* A key set for the shop that has a private key, a secret that can be guessed and the
 * rival's secret. */
static const char *unwise_keys(struct site *site)
{
    json_error_t error;
    char *private_text = NULL, *public_text = NULL;
    cr_assert_eq(key_generate(TOKEN_ES256, &private_text, &public_text), 0);
    json_t *set = json_loads(private_text, 0, &error);
    json_t *rival =
        json_load_file(site_format(site, "%s/rival.jwks", site_directory(site)), 0, &error);
    json_t *keys = json_object_get(set, "keys");
    json_t *copy = json_deep_copy(json_array_get(json_object_get(rival, "keys"), 0));
    json_t *weak = json_deep_copy(copy);
    cr_assert_eq(json_object_set_new(json_array_get(keys, 0), "kid", json_string("private")), 0);
    cr_assert_eq(json_object_set_new(copy, "kid", json_string("copied")), 0);
    cr_assert_eq(json_object_set_new(weak, "kid", json_string("weak")), 0);
    cr_assert_eq(json_object_set_new(
                     weak, "k", json_string("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")),
                 0);
    cr_assert_eq(json_array_append_new(keys, copy), 0);
    cr_assert_eq(json_array_append_new(keys, weak), 0);
    char *text = json_dumps(set, 0);
    const char *kept = site_format(site, "%s", text);
    free(text);
    json_decref(set);
    json_decref(rival);
    key_text_free(&private_text);
    key_text_free(&public_text);
    return kept;
}

/* Expects the three warnings in the text, and no secret. */
static void expect_warnings(struct site *site, const char *text, const char *keys)
{
    static const char *const members[] = {"d", "k", "k"};
    cr_expect(strstr(text, "shop.jwks: kid private is a private key"), "%s", text);
    cr_expect(strstr(text, "shop.jwks: the HS256 secret of kid weak repeats itself"), "%s", text);
    cr_expect(strstr(text, "issuers shop (kid copied) and rival (kid "), "%s", text);
    cr_expect_null(strstr(text, "the HS256 secret of kid copied"), "%s", text);
    json_t *set = json_loads(keys, 0, NULL);
    for (size_t i = 0; i < 3; i++) {
        json_t *key = json_array_get(json_object_get(set, "keys"), i);
        const char *secret = json_string_value(json_object_get(key, members[i]));
        cr_assert(secret);
        cr_expect_null(strstr(text, site_format(site, "%.16s", secret)), "a secret is told");
    }
    json_decref(set);
}

Test(service, warns_of_keys_that_sign_for_others_at_start_and_reload_and_by_the_doctor)
{
    struct site *site = site_create(.stays_down = true);
    char *good = harness_read_file(site_key_file(site), NULL);
    struct command_result check = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(check.exit_code, 0, "%s", check.errors);
    cr_expect_null(strstr(check.errors, "warning"), "%s", check.errors);

    const char *unwise = unwise_keys(site);
    write_keys(site, unwise);
    check = site_tollgate(site, "serve", "--check-config");
    cr_expect_eq(check.exit_code, 0);
    expect_warnings(site, check.errors, unwise);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_expect(strstr(doctor.output, "warning  keys: "), "%s", doctor.output);
    expect_warnings(site, doctor.output, unwise);
    site_node_start(site);
    site_node_await_ready(site);
    expect_warnings(site, site_log_await(site, "kid private is"), unwise);

    write_keys(site, good);
    const char *log = site_log_await(site, "reloaded the key sets of 2 issuers");
    size_t before = strlen(log);
    write_keys(site, unwise);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (strstr((log = site_log(site)) + before, "reloaded the key sets of 2 issuers") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "the keys were not read again");
        harness_pause();
    }
    expect_warnings(site, log + before, unwise);
    free(good);
    site_destroy(&site);
}

/* RFC 8032 5.1.3: a point of order 8, y = p + 1, and y = 2, for which there is no x. */
Test(service, a_key_under_which_anybody_could_sign_is_refused_at_start_and_reload)
{
    static const char *const points[] = {
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "7v_______________________________________38",
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    struct site *site = site_create();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    char *good = harness_read_file(site_key_file(site), NULL);
    site_account_open_prepaid(site, "alice", 1000000);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        write_keys(site, site_format(site,
                                     "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\","
                                     "\"kid\":\"p\",\"x\":\"%s\"}",
                                     points[i]));
        struct command_result check = site_tollgate(site, "serve", "--check-config");
        cr_expect_eq(check.exit_code, 78, "%s", points[i]);
        cr_expect(strstr(check.errors, "issuer shop: ") != NULL &&
                      strstr(check.errors, "is not an Ed25519 public key") != NULL,
                  "%s", check.errors);
    }
    (void)site_log_await(site,
                         "the key sets were not reloaded, and the previous ones stay in force: ");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    write_keys(site, good);
    free(good);
    site_destroy(&site);
}

Test(service, reads_the_key_sets_again_on_sighup_and_keeps_good_ones)
{
    struct site *site = site_create(.stays_down = true);
    int notices = open_notify_socket(site);
    site_node_start(site);
    expect_notice(notices, "READY=1");
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    size_t length = 0;
    FILE *file = fopen(site_format(site, "%s/shop.jwks", site_directory(site)), "re");
    char good[4096] = "";
    length = fread(good, 1, sizeof(good) - 1, file);
    cr_assert(length > 0);
    fclose(file);

    write_keys(site, "{\"keys\": [");
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    (void)site_log_await(site,
                         "the key sets were not reloaded, and the previous ones stay in force: ");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);

    char *private_text = NULL, *public_text = NULL;
    cr_assert_eq(key_generate(TOKEN_EDDSA, &private_text, &public_text), 0);
    write_keys(site, public_text);
    key_text_free(&private_text);
    key_text_free(&public_text);
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    (void)site_log_await(site, "reloaded the key sets of 2 issuers");
    /* READY=1 does not wait until every worker has the new keys. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (fetch(site, link)->status == 200) {
        cr_assert(harness_now_ms() < deadline_ms, "the removed key is still good");
        harness_pause();
    }
    answer_expect_refusal(site, fetch(site, link), 403, "key_unknown");

    write_keys(site, good);
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    while (fetch(site, link)->status == 403) {
        cr_assert(harness_now_ms() < deadline_ms, "the key that is back is not good");
        harness_pause();
    }
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_node_signal(site, SIGTERM);
    expect_notice(notices, "STOPPING=1");
    cr_assert_eq(site_node_wait(site), 0);
    site_destroy(&site);
    close(notices);
}

/* Replaces `before` by `after` in the site's configuration; returns the whole new text. */
static const char *edit_configuration(struct site *site, const char *before, const char *after)
{
    const char *path = site_format(site, "%s/tollgate.yaml", site_directory(site));
    char *text = harness_read_file(path, NULL);
    char *place = strstr(text, before);
    cr_assert(place, "%s is not in %s", before, text);
    const char *edited =
        site_format(site, "%.*s%s%s", (int)(place - text), text, after, place + strlen(before));
    free(text);
    harness_write_file(path, edited);
    return edited;
}

/* Sends SIGHUP; returns what the log says about the reload. */
static const char *reload_and_read(struct site *site, int notices)
{
    size_t before = strlen(site_log(site));
    site_node_signal(site, SIGHUP);
    expect_notice(notices, "RELOADING=1");
    expect_notice(notices, "READY=1");
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const char *log;
    while (strstr((log = site_log(site) + before), "reloaded the key sets of 2 issuers") == NULL) {
        cr_assert(harness_now_ms() < deadline_ms, "the reload is not in the log");
        harness_pause();
    }
    return log;
}

Test(service, says_at_each_sighup_which_changed_keys_want_a_restart)
{
    struct site *site = site_create(.stays_down = true, .settings = "workers: 1\n");
    int notices = open_notify_socket(site);
    site_serve_after(site, "set -- \"$@\" --listen 127.0.0.1:0");
    const char *first = edit_configuration(site, "listen: 127.0.0.1:0\n", "listen: 127.0.0.1:9\n");
    site_node_start(site);
    expect_notice(notices, "READY=1");
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);

    const char *log = reload_and_read(site, notices); /* nothing has changed: not even --listen */
    cr_expect_null(strstr(log, "tollgate.yaml"), "%s", log);

    edit_configuration(site, "listen: 127.0.0.1:9\n", "listen: 127.0.0.1:7\n");
    edit_configuration(site, "workers: 1\n", "workers: 2\n");
    log = reload_and_read(site, notices);
    cr_expect(
        strstr(log, "/tollgate.yaml: workers (from 1 to 2) takes effect only after a restart\n"),
        "%s", log);
    edit_configuration(site, "prefixes: [/]\n", "prefixes: [/none/]\n");
    edit_configuration(site, "  - id: rival\n", "  - id: other\n");
    for (int i = 0; i < 2; i++) {
        log = reload_and_read(site, notices);
        cr_expect(strstr(log,
                         "/tollgate.yaml: workers (from 1 to 2), issuers.shop.prefixes (from [/] "
                         "to [/none/]), issuers.rival (removed), issuers.other (added) take "
                         "effect only after a restart\n"),
                  "%s", log);
    }
    answer_expect_file(site, fetch(site, link), TRACK_TINY); /* the old prefix is in force */

    /* A mistake that only a look at the machine can find. */
    edit_configuration(site, "media_root: ", "media_root: /nowhere");
    log = reload_and_read(site, notices);
    cr_expect(strstr(log, "/tollgate.yaml: media_root (from "), "%s", log);
    cr_expect(strstr(log, "/tollgate.yaml: media_root: /nowhere"), "%s", log);

    harness_write_file(site_format(site, "%s/tollgate.yaml", site_directory(site)), first);
    log = reload_and_read(site, notices);
    cr_expect_null(strstr(log, "tollgate.yaml"), "%s", log);
    site_destroy(&site);
    close(notices);
}

Test(service, names_the_mistakes_of_its_configuration_at_sighup_and_stays_as_it_is)
{
    struct site *site = site_create(.stays_down = true);
    int notices = open_notify_socket(site);
    site_node_start(site);
    expect_notice(notices, "READY=1");
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *path = site_format(site, "%s/tollgate.yaml", site_directory(site));

    edit_configuration(site, "listen: 127.0.0.1:0\n", "listne: 127.0.0.1:0\n");
    edit_configuration(site, "prefixes: [/rival/]\n", "prefixes: /rival/\n");
    struct command_result check = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(check.exit_code, 78);
    cr_assert(strstr(check.errors, "tollgate.yaml:1: listne: no such key") != NULL &&
                  strstr(check.errors, "issuers[1].prefixes: a list is expected") != NULL,
              "%s", check.errors);
    const char *log = reload_and_read(site, notices);
    cr_expect(strstr(log, "/tollgate.yaml: a restart would fail because of the following; "), "%s",
              log);
    const char *line = check.errors; /* each is a line of the log */
    for (size_t length; (length = strcspn(line, "\n")) > 0; line += length + 1)
        cr_expect(strstr(log, site_format(site, " warning %.*s\n", (int)length, line)), "%.*s: %s",
                  (int)length, line, log);
    cr_expect_null(strstr(log, "want"), "%s", log);

    cr_assert_eq(unlink(path), 0);
    log = reload_and_read(site, notices);
    cr_expect(strstr(log, site_format(site, "%s: No such file or directory; ", path)), "%s", log);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
    close(notices);
}

Test(service, ends_on_SIGTERM_though_the_manager_reads_nothing_that_it_is_told)
{
    struct site *site = site_create(.stays_down = true);
    int notices = open_notify_socket(site);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", getenv("NOTIFY_SOCKET"));
    int filler = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(filler >= 0);
    while (sendto(filler, "X=1", 3, MSG_DONTWAIT, (struct sockaddr *)&address, sizeof(address)) > 0)
        ;
    cr_assert_eq(errno, EAGAIN);
    site_node_start(site);
    site_node_await_ready(site);
    site_destroy(&site);
    close(filler);
    close(notices);
}

/* ---- stopping ---- */

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

/* ---- cores ---- */

static bool limits_have(struct site *site, const char *text)
{
    char line[256];
    bool has = false;
    FILE *limits = fopen(site_format(site, "/proc/%ld/limits", (long)site_node_pid(site)), "re");
    cr_assert(limits != NULL);
    while (fgets(line, sizeof(line), limits) != NULL)
        has = has || strncmp(line, text, strlen(text)) == 0;
    fclose(limits);
    return has;
}

Test(service, leaves_no_core)
{
    static const char none[] = "Max core file size        0                    0 ";
    struct rlimit some = {.rlim_cur = 4096, .rlim_max = 4096};
    cr_assert_eq(setrlimit(RLIMIT_CORE, &some), 0);
    struct site *site = site_create();
    cr_assert(limits_have(site, none));
    site_destroy(&site);
}

/* ---- health while the node starts and stops ---- */

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

/* Puts a redis-server into PATH that is slow to start. */
static void slow_down_redis(struct site *site)
{
    const char *path = site_format(site, "%s/redis-server", site_directory(site));
    FILE *file = fopen(path, "we");
    cr_assert(file);
    fprintf(file, "#!/bin/sh\nsleep 1\nPATH='%s' exec redis-server \"$@\"\n", getenv("PATH"));
    cr_assert_eq(fchmod(fileno(file), 0700), 0);
    fclose(file);
    cr_assert_eq(
        setenv("PATH", site_format(site, "%s:%s", site_directory(site), getenv("PATH")), 1), 0);
}

Test(service, tells_its_health_from_the_start_to_the_end)
{
    struct site *site = site_create(.stays_down = true, .own_media = true);
    site_media_add(site, "/long.mp3", TRACK_LONG, 8);
    slow_down_redis(site);
    pid_t watcher = fork();
    if (watcher == 0) {
        health_must_say(site, "\"starting\":true");
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

/* A port belongs to one node, although the sockets of that node's workers share it. */
Test(service, of_a_port_is_by_one_alone_of_the_nodes_that_start_at_once)
{
    enum { NODES = 4 };
    struct site *sites[NODES];
    pid_t nodes[NODES];
    const char *logs[NODES];
    int held = listen_anywhere(true);
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    cr_assert_eq(getsockname(held, (struct sockaddr *)&address, &size), 0);
    close(held);
    for (int i = 0; i < NODES; i++)
        sites[i] = site_create(.stays_down = true);
    for (int i = 0; i < NODES; i++) {
        struct site *site = sites[i];
        const char *const words[] = {harness_tollgate(),
                                     "serve",
                                     "--config",
                                     site_format(site, "%s/tollgate.yaml", site_directory(site)),
                                     "--listen",
                                     site_format(site, "127.0.0.1:%u", ntohs(address.sin_port)),
                                     NULL};
        logs[i] = site_format(site, "%s/started", site_directory(site));
        int log = open(logs[i], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        nodes[i] = harness_spawn(words, -1, log);
        close(log);
    }
    /* One node begins to serve, and the others end. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    unsigned refused = 0, serving = 0;
    while (refused + serving < NODES) {
        cr_assert(harness_now_ms() < deadline_ms, "%u serve, %u are refused", serving, refused);
        harness_pause();
        serving = 0;
        for (int i = 0; i < NODES; i++) {
            int status;
            char *text = harness_read_file(logs[i], NULL);
            if (nodes[i] > 0 && waitpid(nodes[i], &status, WNOHANG) == nodes[i]) {
                nodes[i] = 0;
                refused++;
                free(text);
                text = harness_read_file(logs[i], NULL);
                cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 69, "%s", text);
                cr_assert(strstr(text, "listen: 127.0.0.1:") != NULL &&
                              strstr(text, "Address already in use") != NULL,
                          "%s", text);
            } else if (text != NULL && strstr(text, "listening on") != NULL) {
                serving++;
            }
            free(text);
        }
    }
    for (int i = 0; i < NODES; i++) {
        int status = 0;
        if (nodes[i] > 0) {
            kill(nodes[i], SIGTERM);
            waitpid(nodes[i], &status, 0);
        }
        cr_expect_eq(status, 0);
        site_destroy(&sites[i]);
    }
    cr_assert_eq(serving, 1, "%u nodes serve on one port", serving);
}

Test(service, begins_nothing_on_an_address_that_is_not_the_hosts)
{
    struct site *site = site_create(.stays_down = true);
    site_serve_after(site, "set -- \"$@\" --listen 192.0.2.7:29700");
    struct command_result refused = site_tollgate(site, "serve");
    cr_assert_eq(refused.exit_code, 69);
    cr_assert(strstr(refused.errors, "listen: 192.0.2.7:29700 is not an address of this host; "
                                     "change listen in the configuration, or give --listen"),
              "%s", refused.errors);
    /* The start is refused before the node has begun anything. */
    cr_assert(strstr(refused.errors, "journal") == NULL &&
                  strstr(refused.errors, "stopped") == NULL,
              "%s", refused.errors);
    cr_assert_neq(access(site_format(site, "%s/journal", site_state_dir(site)), F_OK), 0);
    site_destroy(&site);
}
