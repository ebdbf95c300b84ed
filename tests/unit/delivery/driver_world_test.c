/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with the steps of the product, in a world where anything happens: clients send what they
 * like in pieces, streams take what they like, the kernel completes in any order, Redis grants,
 * denies, is late or gone, revocations are heard, files are not in memory. A connection stands in the
 * lists of what it waits for, and in no others; and in the end all is given back.
 */
#include <string.h>

#include "tests/unit/delivery/chance.h"

#define SEEDS  30
#define EVENTS 1500
#define HEADS  14

TestSuite(driver_world, .init = stage_begin, .fini = stage_end);

static const char *heads[HEADS];
static size_t read_to[STAGE_PLACES]; /* of the head that the client of a slot is sending */
static unsigned sending[STAGE_PLACES];
static unsigned waits[STATE_COUNT][WAIT_COUNT];

static void make_heads(void)
{
    unsigned made = 0;
    heads[made++] = stage_head("GET", "/music/a.mp3", NULL, NULL);
    heads[made++] = stage_head("GET", "/music/a.mp3", "\"rate\":20000", NULL);
    heads[made++] = stage_head("GET", "/music/a.mp3", "\"rate\":3000000,\"max_conns\":2", NULL);
    heads[made++] = stage_head("GET", "/music/s.mp3", NULL, NULL);
    heads[made++] = stage_head("GET", "/music/e.mp3", NULL, NULL);
    heads[made++] = stage_head("GET", "/music/none.mp3", NULL, NULL);
    heads[made++] = stage_head("HEAD", "/music/a.mp3", NULL, NULL);
    heads[made++] = stage_head("HEAD", "/music/late.mp3", NULL, "X-Forwarded-For: 192.0.2.10\r\n");
    heads[made++] = stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=0-9,22000-39999,7-8\r\n");
    heads[made++] = stage_head("GET", "/music/a.mp3", NULL, "Range: bytes=99999-\r\n");
    heads[made++] = stage_head("GET", "/music/late.mp3", NULL, "If-None-Match: \"a\"\r\n");
    heads[made++] = stage_head("GET", "/music/a.mp3", NULL, "Connection: close\r\n");
    heads[made++] = "OPTIONS / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n";
    heads[made++] = "GET  / HTTP/9\r\n\r\n";
    cr_assert_eq(made, HEADS);
}

/* ---- what happens ---- */

/* The client sends some more of its head, or of the next one. */
static void send_more(void)
{
    struct connection *connection = chance_connection();
    if (connection == NULL)
        return;
    uint32_t index = connection->index;
    const char *head = heads[sending[index]];
    size_t left = strlen(head) - read_to[index];
    size_t length = chance(4) == 0 ? 1 + chance((uint32_t)left) : left;
    if (stage_has(connection, OPERATION_RECEIVE))
        stage_receive(connection, head + read_to[index], length);
    else
        driver_input(stage.worker, connection, head + read_to[index], length);
    read_to[index] += length;
    if (length == left) {
        read_to[index] = 0;
        sending[index] = chance(HEADS - (chance(8) > 0));
    }
}

static void begin(void)
{
    struct connection *connection = chance_connect();
    if (connection == NULL)
        return;
    read_to[connection->index] = 0;
    sending[connection->index] = chance(HEADS);
    driver_run(stage.worker, connection);
}

/* A stream has other answers from now on. */
static void change_stream(void)
{
    static const ssize_t errors[] = {-EAGAIN,  -EAGAIN, -EAGAIN, -ENOBUFS,
                                     -ENOBUFS, -EAGAIN, -EPROTO, -ECONNRESET};
    struct stage_peer *peer = &stage.peers[chance(STAGE_PLACES)];
    peer->answered = 0;
    peer->answer_count = STAGE_ANSWERS;
    for (unsigned i = 0; i < STAGE_ANSWERS; i++)
        peer->answers[i] = chance(3) == 0   ? errors[chance(chance(8) == 0 ? 8 : 6)]
                           : chance(3) == 0 ? STAGE_TAKES_ALL
                                            : (ssize_t)(1 + chance(2000));
    peer->cold = chance(4) == 0 ? chance(4) : 0;
    peer->flush = chance(8) == 0 ? errors[chance(6)] : 0;
}

static void redis_says(void)
{
    static uint64_t revision;
    if (chance(16) == 0)
        stage_redis(chance(4) > 0);
    if (chance(40) == 0) {
        stage_hear(++revision);
        ticks_revise(stage.worker, chance(2) == 0);
    }
    if (stage_asked() == 0)
        return;
    switch (chance(16)) {
    case 0:
        stage_be_late();
        stage_grant(1000000000);
        break;
    case 1:
        stage_deny(LEDGER_SUSPENDED);
        break;
    case 2:
        stage_grant(chance(20000));
        break;
    default:
        stage_grant(1000000000);
    }
}

static void happen(void)
{
    switch (chance(12)) {
    case 0:
        begin();
        break;
    case 1:
    case 2:
    case 3:
        send_more();
        break;
    case 4:
        change_stream();
        break;
    case 5:
    case 6:
        redis_says();
        break;
    case 7:
        chance_acknowledgement();
        break;
    case 8:
        chance_time();
        break;
    case 9:
        if (chance(8) == 0)
            chance_end();
        break;
    default:
        chance_completion();
    }
    while (stage_asked() > 20)
        stage_grant(1000000000);
}

/* ---- what holds ---- */

static bool is_one_of(enum wait wait, enum wait first, enum wait second)
{
    return wait == first || wait == second;
}

static void expect_place(const struct connection *connection, enum worker_list which, bool is_there)
{
    cr_assert_eq(connection->listed[which], is_there, "list %u, in %s, waits for %s", which,
                 step_state_name((enum connection_state)connection->state),
                 step_wait_text((enum wait)connection->exchange.waiting));
}

/* A connection that waits stands where it is found once what it waits for has come, and nowhere else. */
static void check_places(struct connection *connection)
{
    const struct exchange *exchange = &connection->exchange;
    enum wait wait = (enum wait)exchange->waiting;
    bool sends = connection->state == STATE_SEND, finds = connection->state == STATE_FILE;
    expect_place(connection, LIST_RATED, sends && is_one_of(wait, WAIT_RATE, WAIT_ACKNOWLEDGED));
    expect_place(connection, LIST_READY, sends && wait == WAIT_TURN);
    expect_place(connection, LIST_PARKED, wait == WAIT_GRANT);
    expect_place(connection, LIST_HASHING, finds && wait == WAIT_HASH);
    cr_assert_eq(stage_has(connection, OPERATION_OPEN), finds && wait == WAIT_OPEN);
    cr_assert_eq(stage_has(connection, OPERATION_WARM), sends && wait == WAIT_DISK);
    cr_assert_eq(stage_has(connection, OPERATION_WRITABLE), connection->polling);
    cr_assert(!sends || wait != WAIT_ROOM || connection->polling);
    cr_assert_neq(wait, WAIT_NONE, "%s waits for nothing",
                  step_state_name((enum connection_state)connection->state));
    waits[connection->state][wait]++;
}

static void check_all(void)
{
    stage_check();
    for (uint32_t i = 0; i < stage.worker->taken; i++) {
        struct connection *connection = &stage.worker->connections[i];
        if (driver_is_open(connection))
            check_places(connection);
    }
}

/* Each wait has come up, but that for a hash, which is the hasher's thread's to say. */
static void expect_variety(void)
{
    static const struct {
        enum connection_state state;
        enum wait wait;
    } wanted[] = {
        {STATE_HEAD, WAIT_HEAD},         {STATE_FILE, WAIT_OPEN},   {STATE_STANDING, WAIT_STANDING},
        {STATE_ADMIT, WAIT_GRANT},       {STATE_SEND, WAIT_GRANT},  {STATE_SEND, WAIT_TURN},
        {STATE_SEND, WAIT_ROOM},         {STATE_SEND, WAIT_DISK},   {STATE_SEND, WAIT_RATE},
        {STATE_SEND, WAIT_ACKNOWLEDGED}, {STATE_LINGER, WAIT_PEER},
    };
    for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        cr_assert_gt(waits[wanted[i].state][wanted[i].wait], 50u, "%s, %s",
                     step_state_name(wanted[i].state), step_wait_text(wanted[i].wait));
}

Test(driver_world, keeps_its_promises_whatever_happens)
{
    make_heads();
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        chance_seed(seed);
        stage_redis(true);
        for (unsigned i = 0; i < EVENTS; i++) {
            happen();
            check_all();
            if (i % 100 == 0)
                stage_write_journal();
        }
        chance_stop();
        chance_expect_all_freed();
    }
    cr_assert_gt(chance_begun(), 1500u);
    expect_variety();
}
