/* SPDX-License-Identifier: Apache-2.0 */
/* The step LINK: whose request it is, which link it carries, and why it is refused or answered
 * without one. It never waits. */
#include <string.h>

#include "server/grant/address_table.h"
#include "server/link/token_cache.h"
#include "server/link/verifications.h"
#include "tests/unit/delivery/stage.h"

TestSuite(request, .init = stage_begin, .fini = stage_end);

static struct connection *connection;
static struct exchange *exchange;

static enum step_outcome step_on(const char *head)
{
    if (connection == NULL)
        connection = stage_connect();
    exchange = &connection->exchange;
    exchange_end(stage.worker, connection);
    return stage_run_to(connection, STATE_LINK, head);
}

static void expect_refused(const char *head, enum refusal refusal)
{
    enum step_outcome outcome = step_on(head);
    cr_expect_eq(outcome, STEP_REFUSE, "%s", step_outcome_name(outcome));
    cr_expect_eq(exchange->refusal, refusal, "%s instead of %s", refusal_name(exchange->refusal),
                 refusal_name(refusal));
    cr_expect_eq(stage_pending(connection), 0u);
}

static const char *get(const char *path, const char *claims, const char *fields)
{
    return stage_head("GET", path, claims, fields);
}

Test(request, finds_the_link_and_what_it_asks_for)
{
    cr_assert_eq(step_on(get("/music/a.mp3", NULL, NULL)), STEP_NEXT);
    cr_assert_not_null(exchange->link);
    cr_assert_str_eq(exchange->link->token->account, "anna");
    cr_assert_str_eq(stage.worker->wanted.path, "/music/a.mp3");
    cr_assert_not(exchange->head_only || exchange->navigation);
    cr_assert_eq(exchange->refusal, REFUSAL_NONE);
    cr_assert_null(exchange->file, "FILE finds it");
}

Test(request, knows_a_link_again_without_verifying_it)
{
    const char *head = get("/music/a.mp3", NULL, NULL);
    cr_assert_eq(step_on(head), STEP_NEXT);
    const struct token_entry *entry = exchange->link;
    uint64_t verified = atomic_load(&stage.worker->stats.tokens_verified);
    cr_assert_eq(verified, 1u);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(step_on(head), STEP_NEXT);
        cr_assert_eq(exchange->link, entry);
    }
    cr_assert_eq(atomic_load(&stage.worker->stats.tokens_verified), verified);
    cr_assert_eq(atomic_load(&stage.worker->stats.tokens_remembered), 3u);
}

Test(request, notes_what_the_answer_depends_on)
{
    cr_assert_eq(step_on(stage_head("HEAD", "/music/a.mp3", NULL, NULL)), STEP_NEXT);
    cr_assert(exchange->head_only);
    cr_assert_eq(step_on(get("/music/a.mp3", NULL, "Sec-Fetch-Mode: navigate\r\n")), STEP_NEXT);
    cr_assert(exchange->navigation);
    cr_assert_eq(step_on(get("/music/a.mp3", NULL, "Accept: text/html,*/*\r\n")), STEP_NEXT);
    cr_assert(exchange->navigation);
    cr_assert_eq(
        step_on(get("/music/a.mp3", NULL, "Accept: text/html\r\nSec-Fetch-Mode: cors\r\n")),
        STEP_NEXT);
    cr_assert_not(exchange->navigation, "a script asks");
}

Test(request, refuses_methods_and_content)
{
    expect_refused(stage_head("PUT", "/music/a.mp3", NULL, NULL), REFUSAL_METHOD_NOT_ALLOWED);
    expect_refused(stage_head("BREW", "/music/a.mp3", NULL, NULL), REFUSAL_METHOD_UNKNOWN);
    expect_refused(get("/music/a.mp3", NULL, "Content-Length: 1\r\n"), REFUSAL_BODY_REFUSED);
    cr_assert_null(exchange->link, "no link is looked for");
}

Test(request, refuses_a_request_without_a_good_link)
{
    expect_refused("GET /music/a.mp3 HTTP/1.1\r\nHost: m\r\n\r\n",
                   refusal_of_verdict(REFUSED_TOKEN_MISSING));
    expect_refused(get("/movies/a.mp4", NULL, NULL),
                   refusal_of_verdict(REFUSED_OUT_OF_ISSUER_PATHS));
    const char *good = get("/music/a.mp3", NULL, NULL);
    stage.worker->now_s += 7200;
    expect_refused(good, refusal_of_verdict(REFUSED_EXPIRED));
    cr_assert_not_null(exchange->link, "it is authentic, and known");
}

Test(request, says_what_is_wrong_with_a_path)
{
    expect_refused("GET /music/%2e%2e/a.mp3 HTTP/1.1\r\nHost: m\r\n\r\n", REFUSAL_PATH_INVALID);
    cr_assert_eq(exchange->why, stage.worker->fault);
    cr_assert_neq(stage.worker->fault[0], '\0');
}

/* The head with another signature. */
static const char *forge(unsigned number)
{
    char *head = (char *)(uintptr_t)get("/music/a.mp3", NULL, NULL);
    char *end = strstr(head, " HTTP/1.1");
    cr_assert_not_null(end);
    end[-5] = (char)(end[-5] == 'A' ? 'B' : 'A');
    end[-6] = (char)('a' + number);
    return head;
}

Test(request, keeps_no_client_that_guesses)
{
    for (unsigned i = 0; i < VERIFICATIONS_CLOSE; i++) {
        expect_refused(forge(i), refusal_of_verdict(REFUSED_BAD_SIGNATURE));
        cr_assert_eq(connection->keep_alive, i + 1 < VERIFICATIONS_CLOSE, "after %u", i + 1);
        cr_assert_null(exchange->link);
    }
    cr_assert_eq(atomic_load(&stage.worker->stats.tokens_failed), (uint64_t)VERIFICATIONS_CLOSE);
}

/* ---- without a link ---- */

Test(request, answers_options_without_a_link)
{
    cr_assert_eq(step_on("OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n"), STEP_ANSWER);
    cr_assert_eq(exchange->answer, ANSWER_OPTIONS);
}

Test(request, redirects_plain_http_where_the_node_does)
{
    const char *head = get("/music/a.mp3", NULL, NULL);
    stage.worker->redirects = true;
    cr_assert_eq(step_on(head), STEP_ANSWER);
    cr_assert_eq(exchange->answer, ANSWER_REDIRECT);
    cr_assert_null(exchange->link);
    expect_refused(stage_head("PUT", "/music/a.mp3", NULL, NULL), REFUSAL_METHOD_NOT_ALLOWED);
    connection->unencrypted = true;
    cr_assert_eq(step_on(head), STEP_ANSWER);
    cr_assert_eq(exchange->answer, ANSWER_REDIRECT);
    stage.worker->redirects = false;
    expect_refused(head, REFUSAL_PLAIN_HTTP);
}

Test(request, counts_the_clients_that_a_proxy_names)
{
    const char *head = get("/music/a.mp3", NULL, "X-Forwarded-For: 198.51.100.9\r\n");
    struct client_address client;
    char text[CLIENT_ADDRESS_TEXT];
    connection = stage_connect();
    connection->forwards = true;
    cr_assert_eq(step_on(head), STEP_NEXT);
    client_address_write(&connection->client, text);
    cr_assert_str_eq(text, "198.51.100.9");
    cr_assert(connection->counted);
    exchange_end(stage.worker, connection);
    cr_assert_not(connection->counted, "the response is over");

    cr_assert(client_address_read("198.51.100.9", 12, &client));
    unsigned entered = 0;
    while (address_table_enter(stage.node.addresses, &client))
        entered++;
    cr_assert_gt(entered, 1u);
    expect_refused(head, REFUSAL_ADDRESS_EXHAUSTED);
    cr_assert_not(connection->counted);
    address_table_leave(stage.node.addresses, &client);
    cr_assert_eq(step_on(head), STEP_NEXT);
}
