/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an exchange: all that it holds is given back, wherever it has come to. */
#include "server/grant/window.h"
#include "server/link/token_cache.h"
#include "tests/unit/delivery/stage.h"

TestSuite(exchange, .init = stage_begin, .fini = stage_end);

#define LIMITED "\"max_conns\":3"

static const struct exchange nothing;

/* What one connection keeps of what another one's exchange gives back. */
static struct token_entry *entry;
static struct media_file *file;
static struct window *window;

static void keep(const struct exchange *of)
{
    entry = of->link;
    file = of->file;
    window = of->window;
    entry->references++;
    media_file_hold(file);
    window_hold(window);
}

static void drop(void)
{
    token_entry_drop(&entry);
    media_file_drop(stage.worker->files, &file);
    window_drop(&window, stage.worker->now_ms);
}

static uint64_t claimed(void)
{
    const struct pool *pool = &window->account_group->pool;
    return atomic_load(&pool->least) - atomic_load(pool->handed);
}

Test(exchange, gives_back_all_that_a_transfer_holds)
{
    struct connection *connection = stage_connect();
    const char *head =
        stage_head("GET", "/music/a.mp3", LIMITED, "Range: bytes=0-9,20000-39999\r\n");
    STAGE_ANSWER(connection, -EAGAIN);
    stage_reach(connection, STATE_SEND, head);
    struct exchange *exchange = &connection->exchange;
    keep(exchange);
    uint32_t links = entry->references, files = file->references;
    unsigned windows = atomic_load(&window->references);
    cr_assert(exchange->in_link_quota);
    cr_assert_not_null(exchange->parts);
    cr_assert_not_null(exchange->output);
    cr_assert_eq(claimed(), 20000u, "the first part is paid for");
    cr_assert_eq(atomic_load(&window->link_group->quota.responses), 1u);

    exchange_end(stage.worker, connection);
    cr_assert_eq(memcmp(exchange, &nothing, sizeof(nothing)), 0, "it is zeroed as a whole");
    cr_assert_eq(entry->references, links - 1);
    cr_assert_eq(file->references, files - 1);
    cr_assert_eq(atomic_load(&window->references), windows - 1, "its delivery still holds it");
    cr_assert_eq(claimed(), 0u);
    cr_assert_eq(atomic_load(&window->link_group->quota.responses), 0u);
    cr_assert_not_null(connection->deliveries, "which the exchange does not end");
    exchange_end(stage.worker, connection);
    cr_assert_eq(entry->references, links - 1, "a second end changes nothing");
    drop();
}

Test(exchange, gives_back_what_it_holds_in_each_state)
{
    for (unsigned state = STATE_LINK; state <= STATE_SEND; state++) {
        struct connection *connection = stage_connect();
        stage_reach(connection, (enum connection_state)state,
                    stage_head("GET", "/music/a.mp3", LIMITED, NULL));
        exchange_end(stage.worker, connection);
        cr_assert_eq(memcmp(&connection->exchange, &nothing, sizeof(nothing)), 0, "%s",
                     step_state_name((enum connection_state)state));
        driver_cut(stage.worker, connection, NULL);
        stage_check();
    }
}

Test(exchange, a_refusal_keeps_no_claim_while_the_client_is_told)
{
    struct connection *connection = stage_connect();
    const char *head = stage_head("GET", "/music/a.mp3", NULL, NULL);
    stage_reach(connection, STATE_ANSWER, head);
    keep(&connection->exchange);
    cr_assert_eq(claimed(), (uint64_t)STAGE_LONG);
    connection->exchange.refusal = REFUSAL_NODE_BUSY;
    driver_apply(stage.worker, connection, STEP_REFUSE);
    cr_assert_eq(connection->state, STATE_ANSWER);
    cr_assert_eq(claimed(), 0u);
    cr_assert_not_null(connection->exchange.link, "what it is about is still known");
    drop();
}

Test(exchange, the_next_one_begins_with_nothing_of_the_last)
{
    struct connection *connection = stage_get(STATE_SEND, "/music/s.mp3");
    stage_stop_at(STATE_LINGER);
    driver_run(stage.worker, connection);
    cr_assert_eq(connection->state, STATE_HEAD);
    cr_assert_eq(connection->exchange.waiting, WAIT_HEAD);
    connection->exchange.waiting = WAIT_NONE;
    cr_assert_eq(memcmp(&connection->exchange, &nothing, sizeof(nothing)), 0);
}
