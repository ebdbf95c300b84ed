/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resumed sessions: by other workers, by other nodes with the same ticket keys, after reloads and
 * restarts, and by clients that use each ticket once.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"
#include "tests/integration/harness_tls.h"

/* Makes a session that may be resumed. It reads an answer, because TLS 1.3's tickets come then. */
static SSL_SESSION *session_of(struct site *site, const char *link, int version)
{
    struct client client;
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    OPEN(site, &client, .version = version);
    ask(&client, link);
    cr_assert_eq(take(&client, size), size);
    (void)SSL_shutdown(client.ssl); /* OpenSSL does not resume a session without a shutdown */
    SSL_SESSION *session = SSL_get1_session(client.ssl);
    cr_assert(SSL_SESSION_is_resumable(session));
    client_close(&client);
    return session;
}

Test(tls, sessions_are_resumed_by_any_worker_and_after_a_reload)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 4\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        SSL_SESSION *session = session_of(site, link, versions[i]);
        for (int round = 0; round < 12; round++) {
            struct client client;
            if (round == 6) {
                site_node_signal(site, SIGHUP);
                const char *line = "reloaded 2 certificates";
                (void)site_log_await(site, line);
            }
            SSL_SESSION *copy = SSL_SESSION_dup(session);
            OPEN(site, &client, .version = versions[i], .session = copy);
            cr_assert_eq(SSL_session_reused(client.ssl), 1, "round %d of %s is not resumed", round,
                         SSL_get_version(client.ssl));
            SSL_SESSION_free(copy);
            (void)SSL_shutdown(client.ssl);
            client_close(&client);
        }
        SSL_SESSION_free(session);
    }
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    /* The client finishes a handshake before the node counts it. */
    while (site_traffic(site, "tls_resumed") < 24) {
        cr_assert_lt(harness_now_ms(), deadline_ms);
        harness_pause();
    }
    site_destroy(&site);
}

#define TICKETS_MAX 8

/* Tickets that a client has got and not used yet. */
struct tickets {
    SSL_SESSION *sessions[TICKETS_MAX];
    unsigned count;
};

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    cr_assert_lt(tickets->count, TICKETS_MAX);
    tickets->sessions[tickets->count++] = session;
    return 1; /* the session is the test's from now on */
}

/* RFC 8446 C.4: a client should use no ticket twice. It must still be able to resume each time. */
Test(tls, a_client_that_uses_each_ticket_once_resumes_each_time)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 2\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    struct tickets tickets = {0};
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    for (unsigned round = 0; round < 12; round++) {
        struct client client;
        SSL_SESSION *session = tickets.count > 0 ? tickets.sessions[--tickets.count] : NULL;
        unsigned before = tickets.count;
        OPEN(site, &client, .version = TLS1_3_VERSION, .session = session);
        cr_assert_eq(SSL_session_reused(client.ssl), round > 0, "round %u", round);
        SSL_CTX_set_session_cache_mode(client.context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_set_app_data(client.context, &tickets);
        SSL_CTX_sess_set_new_cb(client.context, keep_ticket);
        ask(&client, link);
        cr_assert_eq(take(&client, size), size);
        cr_assert_eq(tickets.count - before, round == 0 ? 2u : 1u, "round %u: %u tickets", round,
                     tickets.count - before);
        (void)SSL_shutdown(client.ssl);
        SSL_SESSION_free(session);
        client_close(&client);
    }
    while (tickets.count > 0)
        SSL_SESSION_free(tickets.sessions[--tickets.count]);
    site_usage_await(site, "alice", 12 * size);
    site_destroy(&site);
}

/* ---- ticket keys of a file ---- */

/* Writes a file with a ticket key for each digit of `numbers`, and this mode; returns its path. */
static const char *write_ticket_keys(struct site *site, const char *numbers, unsigned mode)
{
    const char *path = site_format(site, "%s/ticket-keys", site_directory(site));
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    for (const char *number = numbers; *number != '\0'; number++) {
        for (int i = 0; i < 80; i++)
            fputc(*number, file);
    }
    cr_assert(fclose(file) == 0 && chmod(path, mode) == 0);
    return path;
}

static bool resumes(struct site *site, SSL_SESSION *session, int version)
{
    struct client client;
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    OPEN(site, &client, .version = version, .session = copy);
    bool resumed = SSL_session_reused(client.ssl) == 1;
    SSL_SESSION_free(copy);
    (void)SSL_shutdown(client.ssl);
    client_close(&client);
    return resumed;
}

static void reload(struct site *site)
{
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site, "reloaded 2 certificates");
}

/* A session of TLS 1.2 whose ticket was made by the key of this number, whose digits are its name. A
 * worker takes keys over at its next turn, which may come after the log's line. */
static SSL_SESSION *session_by(struct site *site, const char *link, char number)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const unsigned char *ticket = NULL;
        size_t length = 0;
        SSL_SESSION *session = session_of(site, link, TLS1_2_VERSION);
        SSL_SESSION_get0_ticket(session, &ticket, &length);
        if (length > 0 && ticket[0] == (unsigned char)number)
            return session;
        SSL_SESSION_free(session);
        cr_assert_lt(harness_now_ms(), deadline_ms, "key %c makes no ticket", number);
        harness_pause();
    }
}

Test(tls, nodes_with_the_same_ticket_keys_resume_each_others_sessions)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char settings[] = "tls_ticket_keys: ticket-keys\n";
    struct site *sites[2];
    const char *link[2];
    for (size_t i = 0; i < 2; i++) {
        sites[i] = site_create(.tls = true, .settings = settings, .stays_down = true);
        (void)write_ticket_keys(sites[i], "1", 0600);
        site_node_start(sites[i]);
        site_node_await_ready(sites[i]);
        site_account_open_postpaid(sites[i], "alice");
        link[i] = site_link(sites[i], .account = "alice", .path = TRACK_TINY);
    }
    for (size_t i = 0; i < 2; i++) {
        SSL_SESSION *session = session_of(sites[0], link[0], versions[i]);
        cr_expect(resumes(sites[1], session, versions[i]), "%#x: by the other",
                  (unsigned)versions[i]);
        SSL_SESSION_free(session);
    }
    site_destroy(&sites[1]);

    struct site *site = sites[0];
    SSL_SESSION *first = session_of(site, link[0], TLS1_2_VERSION);
    site_node_kill(site); /* a restart keeps the session */
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect(resumes(site, first, TLS1_2_VERSION), "after a restart");
    (void)write_ticket_keys(site, "21", 0600); /* a new key comes first */
    reload(site);
    cr_expect(resumes(site, first, TLS1_2_VERSION), "by the key before");
    SSL_SESSION *second = session_by(site, link[0], '2');
    /* A file that is refused leaves the former keys in force. */
    (void)write_ticket_keys(site, "2", 0644);
    site_node_signal(site, SIGHUP);
    (void)site_log_await(site,
                         "the certificates were not reloaded, and the previous ones stay in force");
    cr_expect(resumes(site, first, TLS1_2_VERSION), "with a file that was refused");
    (void)write_ticket_keys(site, "2", 0600); /* the first key is removed */
    site_node_kill(site);
    site_node_start(site);
    site_node_await_ready(site);
    cr_expect(resumes(site, second, TLS1_2_VERSION), "the first key of two made it");
    cr_expect_not(resumes(site, first, TLS1_2_VERSION), "by a key that is gone");
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    site_destroy(&site);
}

Test(tls, ticket_keys_that_others_may_read_or_of_a_wrong_size_are_refused)
{
    struct site *site =
        site_create(.tls = true, .settings = "tls_ticket_keys: ticket-keys\n", .stays_down = true);
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_expect(verdict.exit_code == 78 &&
                  strstr(verdict.errors, "ticket-keys: No such file") != NULL,
              "%s", verdict.errors);
    static const unsigned modes[] = {0604, 0640, 0602};
    const char *path = NULL;
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        path = write_ticket_keys(site, "12", modes[i]);
        verdict = site_tollgate(site, "serve", "--check-config");
        cr_expect(verdict.exit_code == 78 && strstr(verdict.errors, "run chmod 600") != NULL, "%s",
                  verdict.errors);
    }
    cr_assert_eq(chmod(path, 0600), 0);
    static const long sizes[] = {0, 1, 48, 79, 81, 17L * 80};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        cr_assert_eq(truncate(path, sizes[i]), 0);
        verdict = site_tollgate(site, "serve", "--check-config");
        cr_expect(verdict.exit_code == 78 &&
                      strstr(verdict.errors, site_format(site, "has %ld bytes", sizes[i])) != NULL,
                  "%s", verdict.errors);
    }
    (void)write_ticket_keys(site, "12", 0400);
    cr_expect_eq(site_tollgate(site, "serve", "--check-config").exit_code, 0);
    site_destroy(&site);
}
