/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver, with steps that come to any outcome that their state allows, while anything happens
 * between. Whatever the steps come to: a connection is closed once, no reference is left, every
 * delivery is settled, and every place in a list and in a count is given back.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/delivery/outbox.h"
#include "server/delivery/transfer.h"
#include "server/link/token_cache.h"
#include "tests/unit/delivery/chance.h"

#define SEEDS  40
#define EVENTS 1500
#define HEAD   10 /* bytes of an answer's head */

TestSuite(driver, .init = stage_begin, .fini = stage_end);

/* What the exchanges hold; one reference of each is the test's. */
static struct token_entry *entry;
static struct window *window;
static struct media_file *file;
static unsigned runs[STATE_COUNT], outcomes[STATE_COUNT][STEP_OUTCOMES];

/* ---- steps that come to anything ---- */

static enum step_outcome wait_for(struct connection *connection, enum wait wait)
{
    connection->exchange.waiting = (uint8_t)wait;
    return STEP_WAIT;
}

static enum step_outcome refuse(struct connection *connection)
{
    connection->exchange.refusal = REFUSAL_NODE_BUSY;
    return STEP_REFUSE;
}

static enum step_outcome any_head(struct worker *worker, struct connection *connection)
{
    size_t length = connection->unread_length;
    connection->keep_alive = chance(4) > 0;
    if (length == 0 && connection->peer_ended) {
        connection->keep_alive = false;
        return STEP_DONE;
    }
    if (length == 0 || chance(8) == 0) {
        connection_receive(worker, connection);
        return wait_for(connection, WAIT_HEAD);
    }
    if (chance(16) == 0)
        return wait_for(connection, WAIT_ACKNOWLEDGED);
    size_t taken = 1 + chance((uint32_t)length);
    connection->unread += taken;
    connection->unread_length -= taken;
    return chance(16) == 0 ? refuse(connection) : STEP_NEXT;
}

static enum step_outcome any_link(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    (void)worker;
    exchange->answer = ANSWER_OPTIONS;
    if (chance(8) == 0)
        return STEP_ANSWER;
    exchange->answer = ANSWER_FILE;
    exchange->link = entry;
    entry->references++;
    return chance(8) == 0 ? refuse(connection) : STEP_NEXT;
}

static enum step_outcome any_file(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    cr_assert_not(stage_has(connection, OPERATION_OPEN), "it runs while the kernel opens its file");
    if (exchange->waiting == WAIT_HASH && chance(2) == 0)
        return STEP_WAIT;
    connection_leave(worker, connection, LIST_HASHING);
    if (exchange->waiting == WAIT_OPEN) {
        free(connection->opening);
        connection->opening = NULL;
        if (connection->opened >= 0)
            close(connection->opened);
    } else if (exchange->waiting == WAIT_NONE && chance(2) == 0) {
        cr_assert_null(connection->opening);
        connection->opening = strdup("/music/a.mp3");
        io_uring_prep_nop(connection_operation(worker, connection, OPERATION_OPEN));
        return wait_for(connection, WAIT_OPEN);
    }
    if (exchange->file == NULL) {
        exchange->file = file;
        media_file_hold(file);
    }
    if (chance(4) == 0) {
        connection_join(worker, connection, LIST_HASHING);
        return wait_for(connection, WAIT_HASH);
    }
    return chance(8) == 0 ? refuse(connection) : STEP_NEXT;
}

static enum step_outcome any_bytes(struct worker *worker, struct connection *connection)
{
    (void)worker;
    connection->exchange.waiting = WAIT_NONE;
    return chance(8) == 0 ? refuse(connection) : STEP_NEXT;
}

static enum step_outcome any_standing(struct worker *worker, struct connection *connection)
{
    (void)worker;
    if (chance(8) == 0)
        return wait_for(connection, WAIT_STANDING);
    connection->exchange.waiting = WAIT_NONE;
    if (chance(8) == 0)
        return refuse(connection);
    if (chance(8) > 0)
        return STEP_NEXT;
    connection->exchange.answer = ANSWER_NOT_MODIFIED;
    return STEP_ANSWER;
}

static enum step_outcome any_admit(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    if (exchange->window == NULL) {
        exchange->window = window;
        window_hold(window);
    }
    if (chance(3) == 0) {
        connection_join(worker, connection, LIST_PARKED);
        return wait_for(connection, WAIT_GRANT);
    }
    connection_leave(worker, connection, LIST_PARKED);
    exchange->left = exchange->body_length = 1 + chance(5000);
    cr_assert(claim_begin(&exchange->claim, window, false, exchange->left));
    return chance(8) == 0 ? refuse(connection) : STEP_NEXT;
}

static enum step_outcome any_answer(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    connection->answers++;
    exchange->waiting = WAIT_NONE;
    if (exchange->answer == ANSWER_FILE) {
        media_reader_begin(&exchange->reader);
        cr_assert_eq(metering_begin(worker, connection, HEAD), 0);
    } else {
        exchange->left = 0;
        cr_assert_eq(exchange->claim.bytes, 0u, "a refusal keeps no funds");
    }
    if (chance(16) == 0)
        return chance(2) == 0 ? STEP_CUT : STEP_CLOSE;
    metering_handed(worker, connection, HEAD, 0);
    return STEP_NEXT;
}

/* Hands over so many of the bytes that are left. */
static void hand(struct worker *worker, struct connection *connection, uint64_t bytes)
{
    struct exchange *exchange = &connection->exchange;
    cr_assert_eq(claim_pay(&exchange->claim, exchange->window, bytes), bytes);
    metering_handed(worker, connection, bytes, bytes);
    exchange->left -= bytes;
    exchange->offset += bytes;
}

static enum step_outcome any_wait_to_send(struct worker *worker, struct connection *connection)
{
    switch (chance(6)) {
    case 0:
        return outbox_failed(worker, connection, -EAGAIN);
    case 1:
        return outbox_failed(worker, connection, -ENOBUFS);
    case 2:
        connection_join(worker, connection, LIST_RATED);
        return wait_for(connection, WAIT_RATE);
    case 3:
        connection_join(worker, connection, LIST_READY);
        return wait_for(connection, WAIT_TURN);
    case 4:
        connection_join(worker, connection, LIST_PARKED);
        return wait_for(connection, WAIT_GRANT);
    default:
        return transfer_warm(worker, connection);
    }
}

static enum step_outcome any_send(struct worker *worker, struct connection *connection)
{
    struct exchange *exchange = &connection->exchange;
    cr_assert_null(connection->warming, "it runs while the kernel reads its file");
    connection_leave(worker, connection, LIST_PARKED);
    exchange->waiting = WAIT_NONE;
    if (exchange->left > 0 && chance(2) > 0)
        hand(worker, connection, 1 + chance((uint32_t)exchange->left));
    if (exchange->left > 0 && chance(3) > 0)
        return any_wait_to_send(worker, connection);
    if (chance(16) == 0)
        exchange->why = "a step says so";
    if (exchange->why != NULL || chance(16) == 0)
        return STEP_CUT;
    if (chance(16) == 0)
        return STEP_CLOSE;
    if (exchange->left > 0)
        hand(worker, connection, exchange->left);
    if (exchange->answer == ANSWER_FILE)
        metering_done(connection);
    return STEP_DONE;
}

static enum step_outcome any_linger(struct worker *worker, struct connection *connection)
{
    if (chance(4) == 0)
        return STEP_CLOSE;
    connection->deadline_ms = worker->now_ms + 5000;
    return wait_for(connection, WAIT_PEER);
}

/* Runs the step of the state, and counts what it has come to. */
static enum step_outcome any(struct worker *worker, struct connection *connection)
{
    static step_function *const table[STATE_COUNT] = {
        [STATE_HEAD] = any_head,         [STATE_LINK] = any_link,   [STATE_FILE] = any_file,
        [STATE_BYTES] = any_bytes,       [STATE_ADMIT] = any_admit, [STATE_ANSWER] = any_answer,
        [STATE_STANDING] = any_standing, [STATE_SEND] = any_send,   [STATE_LINGER] = any_linger,
    };
    unsigned state = connection->state;
    cr_assert_not_null(table[state], "%s has no step", step_state_name(state));
    cr_assert_eq(connection->magic, CONNECTION_MAGIC, "a connection runs that is freed");
    enum step_outcome outcome = table[state](worker, connection);
    runs[state]++;
    outcomes[state][outcome]++;
    return outcome;
}

/* ---- what happens between ---- */

/* Runs a connection that waits for what nobody else brings. */
static void run_one(void)
{
    struct connection *connection = chance_connection();
    if (connection == NULL)
        return;
    bool is_by_itself = connection->state == STATE_STANDING || connection->listed[LIST_PARKED] ||
                        connection->listed[LIST_HASHING] || connection->state == STATE_LINGER ||
                        connection->state == STATE_HEAD;
    if (is_by_itself)
        driver_run(stage.worker, connection);
}

static void bring_input(void)
{
    static const char bytes[3000];
    struct connection *connection = chance_connection();
    if (connection != NULL)
        driver_input(stage.worker, connection, bytes, 1 + chance(chance(8) == 0 ? 3000 : 40));
}

static void happen(void)
{
    struct connection *connection;
    switch (chance(10)) {
    case 0:
        connection = chance_connect();
        if (connection != NULL)
            driver_run(stage.worker, connection);
        break;
    case 1:
        run_one();
        break;
    case 2:
    case 3:
        bring_input();
        break;
    case 4:
        chance_acknowledgement();
        break;
    case 5:
        chance_time();
        break;
    case 6:
        if (chance(4) == 0)
            chance_end();
        break;
    default:
        chance_completion();
    }
}

/* How many eventfds are open: each connection of the stage has one. */
static unsigned open_descriptors(void)
{
    unsigned found = 0;
    DIR *directory = opendir("/proc/self/fd");
    cr_assert_not_null(directory);
    for (const struct dirent *entry_of; (entry_of = readdir(directory)) != NULL;) {
        char name[64];
        ssize_t length = readlinkat(dirfd(directory), entry_of->d_name, name, sizeof(name));
        found += length > 0 && memmem(name, (size_t)length, "eventfd", 7) != NULL;
    }
    closedir(directory);
    return found;
}

/* Has the steps hold a link, a file and a window, whose account has all funds that they need. */
static void borrow(void)
{
    struct connection *connection = stage_get(STATE_SEND, "/music/a.mp3");
    struct exchange *exchange = &connection->exchange;
    entry = exchange->link;
    file = exchange->file;
    window = exchange->window;
    entry->references++;
    media_file_hold(file);
    window_hold(window);
    driver_cut(stage.worker, connection, NULL);
    connection->generation--; /* it is not one of those that chance begins */
    for (unsigned i = 0; i < STATE_COUNT; i++)
        stage.steps[i] = any;
}

static void give_back(void)
{
    token_entry_drop(&entry);
    media_file_drop(stage.worker->files, &file);
    window_drop(&window, stage.worker->now_ms);
}

static void expect_nothing_held(uint32_t links, uint32_t files, unsigned windows)
{
    const struct pool *pool = &window->account_group->pool;
    cr_assert_eq(entry->references, links, "an exchange holds its link");
    cr_assert_eq(file->references, files, "an exchange or the ring holds its file");
    cr_assert_eq(atomic_load(&window->references), windows, "a delivery holds its window");
    cr_assert_eq(atomic_load(&window->use->promised), 0u);
    cr_assert_eq(atomic_load(&pool->least), atomic_load(pool->handed), "a claim was not ended");
}

/* Each outcome of each state has come up, so that the test can tell something. */
static void expect_variety(void)
{
    static const struct {
        enum connection_state state;
        enum step_outcome outcome;
    } wanted[] = {
        {STATE_HEAD, STEP_NEXT},       {STATE_HEAD, STEP_WAIT},     {STATE_HEAD, STEP_REFUSE},
        {STATE_HEAD, STEP_DONE},       {STATE_LINK, STEP_ANSWER},   {STATE_LINK, STEP_REFUSE},
        {STATE_FILE, STEP_WAIT},       {STATE_FILE, STEP_REFUSE},   {STATE_BYTES, STEP_REFUSE},
        {STATE_STANDING, STEP_ANSWER}, {STATE_STANDING, STEP_WAIT}, {STATE_STANDING, STEP_REFUSE},
        {STATE_ADMIT, STEP_WAIT},      {STATE_ADMIT, STEP_REFUSE},  {STATE_ANSWER, STEP_CUT},
        {STATE_ANSWER, STEP_CLOSE},    {STATE_SEND, STEP_WAIT},     {STATE_SEND, STEP_CUT},
        {STATE_SEND, STEP_CLOSE},      {STATE_SEND, STEP_DONE},     {STATE_LINGER, STEP_WAIT},
        {STATE_LINGER, STEP_CLOSE},
    };
    for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        cr_assert_gt(outcomes[wanted[i].state][wanted[i].outcome], 50u, "%s %s",
                     step_state_name(wanted[i].state), step_outcome_name(wanted[i].outcome));
}

Test(driver, keeps_its_promises_whatever_the_steps_come_to)
{
    borrow();
    const uint32_t links = entry->references, files = file->references;
    const unsigned windows = atomic_load(&window->references), descriptors = open_descriptors();
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        chance_seed(seed);
        for (unsigned i = 0; i < EVENTS; i++) {
            happen();
            stage_check();
        }
        chance_stop();
        chance_expect_all_freed();
        expect_nothing_held(links, files, windows);
        cr_assert_eq(open_descriptors(), descriptors, "seed %u", seed);
    }
    cr_assert_gt(chance_begun(), 2000u);
    expect_variety();
    give_back();
}
