/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation with a socket that the test answers itself, from one thread: deadlines pass by the
 * clock given, and every command gets its reply, or NULL, once.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "storage/ledger/conversation.h"
#include "tests/unit/ledger/world.h"

static struct world world;
static struct where *where;
static struct conversation *conversation;
static const struct ledger_redis *redis;
static int listener, peer, wake_fd;
static char address[128];
static unsigned answered, lost, late;

static void setup(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    world_start(&world);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", world.directory);
    snprintf(address, sizeof(address), "unix:%s", at.sun_path);
    world.options.redis = address;
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(listener, 8) == 0);
    wake_fd = eventfd(0, EFD_NONBLOCK);
    cr_assert_eq(where_create(&where, &world.options), 0);
    cr_assert_eq(conversation_create(&conversation, where, &world.options, &world.clock, wake_fd),
                 0);
    redis = conversation_redis(conversation);
}

static void teardown(void)
{
    conversation_destroy(&conversation);
    where_destroy(&where);
    close(wake_fd);
    close(listener);
    world_end(&world);
}

TestSuite(ledger_conversation, .init = setup, .fini = teardown, .timeout = 30);

static void on_done(void *context, const struct redisReply *reply)
{
    (void)context;
    answered += reply != NULL;
    lost += reply == NULL;
}

static void on_late(void *context)
{
    (void)context;
    cr_expect_eq(lost, 0, "late comes before done");
    late++;
}

static void move(void)
{
    conversation_wait(conversation, world.now_ms);
}

static void ping(void)
{
    static const char *const words[] = {"PING"};
    static const size_t lengths[] = {4};
    cr_assert_eq(redis->send(redis->self, 1, words, lengths, on_done, on_late, NULL), 0);
    move();
}

static void connect_to_peer(void)
{
    cr_assert_eq(redis->open(redis->self), 0);
    move();
    peer = accept(listener, NULL, NULL);
    cr_assert(peer >= 0);
}

static void say(const char *text)
{
    cr_assert_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text));
    move();
}

Test(ledger_conversation, a_command_that_is_not_answered_in_time_ends_the_connection)
{
    connect_to_peer();
    cr_assert(redis->is_ready(redis->self));
    redis->introduced(redis->self);
    ping();
    ping();
    world.now_ms += LEDGER_REDIS_SILENCE_MS - 1;
    say("+PONG\r\n");
    cr_assert_eq(answered, 1);
    world.now_ms += LEDGER_REDIS_SILENCE_MS - 1; /* since the last byte, not since the command */
    move();
    cr_assert_eq(redis->error(redis->self), NULL);
    world.now_ms++;
    move();
    cr_assert_eq(late, 1);
    cr_assert_eq(lost, 1);
    cr_assert(strstr(redis->error(redis->self), "no answer within 5000 ms") != NULL);
    cr_assert(!redis->is_ready(redis->self));
    close(peer);
}

Test(ledger_conversation, a_silence_in_which_nothing_is_due_lasts_as_long_as_it_likes)
{
    connect_to_peer();
    ping();
    say("+PONG\r\n");
    world.now_ms += 100 * LEDGER_REDIS_SILENCE_MS;
    move();
    cr_assert(redis->is_ready(redis->self));
    ping();
    move();
    cr_assert(redis->is_ready(redis->self), "the deadline begins with the question");
    close(peer);
}

Test(ledger_conversation, a_refused_password_ends_it_with_the_cure_and_without_the_password)
{
    world.options.redis_password = "secret";
    connect_to_peer();
    move();
    cr_assert(!redis->is_ready(redis->self));
    say("-WRONGPASS invalid username-password pair or secret\r\n");
    const char *error = redis->error(redis->self);
    cr_assert(error != NULL && strstr(error, "refuses the password") != NULL, "%s", error);
    cr_assert(strstr(error, "secret") == NULL, "%s", error);
    close(peer);
}

Test(ledger_conversation, the_end_of_the_connection_answers_all_that_is_due_once)
{
    connect_to_peer();
    ping();
    ping();
    close(peer);
    move();
    cr_assert_eq(lost, 2);
    cr_assert_eq(late, 0);
    redis->close(redis->self);
    cr_assert_eq(lost, 2);
    connect_to_peer(); /* and another one can be made */
    cr_assert(redis->is_ready(redis->self));
    close(peer);
}

Test(ledger_conversation, what_is_published_answers_no_command)
{
    connect_to_peer();
    redis->hear(redis->self, on_done, NULL);
    ping();
    say("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nt\r\n");
    cr_assert_eq(answered, 1);
    world.now_ms += LEDGER_REDIS_INTRODUCE_MS;
    move();
    cr_assert_eq(late, 1, "the PING is still due");
    close(peer);
}
