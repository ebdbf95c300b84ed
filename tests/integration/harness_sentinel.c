/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A master, two replicas and three Sentinels, as processes of the test, which are told what to do by
 * commands to them. Tests of failovers call it; it knows no node.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"

#define COUNT         3
#define DOWN_AFTER_MS "1000"

struct watched {
    struct site *site; /* borrows: its directory and memory */
    unsigned port[COUNT], sentinel_port[COUNT];
    int holders[2 * COUNT]; /* own; of these ports */
    pid_t redis[COUNT], sentinel[COUNT];
    redisContext *listening; /* owns: to the first Sentinel */
    char address[160];
};

/* ---- processes ---- */

/* A free port, which the kernel gives to nobody else while the holder is open. A redis-server that is
 * told to listen there can, because both may use an address again (SO_REUSEADDR). */
static unsigned hold_port(int *holder)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(name);
    int one = 1;
    *holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(setsockopt(*holder, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    cr_assert_eq(bind(*holder, (struct sockaddr *)&name, size), 0, "%s", strerrordesc_np(errno));
    cr_assert_eq(getsockname(*holder, (struct sockaddr *)&name, &size), 0);
    return ntohs(name.sin_port);
}

static redisContext *connect_to(unsigned port)
{
    struct timeval patience = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", (int)port, patience);
    if (context != NULL && context->err == 0 && redisSetTimeout(context, patience) == REDIS_OK)
        return context;
    if (context != NULL)
        redisFree(context);
    return NULL;
}

/* The reply to a command at this port; NULL where there is none, or an error. */
static redisReply *ask(unsigned port, const char *command)
{
    redisContext *context = connect_to(port);
    redisReply *reply = context != NULL ? redisCommand(context, command) : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        freeReplyObject(reply);
        reply = NULL;
    }
    if (context != NULL)
        redisFree(context);
    return reply;
}

void watched_command(struct watched *watched, unsigned which, const char *command)
{
    redisReply *reply = ask(watched->port[which], command);
    cr_assert(reply != NULL, "Redis %u does not take %s", which, command);
    freeReplyObject(reply);
}

int64_t watched_number(struct watched *watched, unsigned which, const char *command)
{
    redisReply *reply = ask(watched->port[which], command);
    cr_assert(reply != NULL, "Redis %u does not take %s", which, command);
    int64_t number = reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : 0;
    freeReplyObject(reply);
    return number;
}

/* Waits until a text stands in the reply to a command. */
static void await_text(unsigned port, const char *command, const char *text)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (bool stands = false; !stands; harness_pause()) {
        redisReply *reply = ask(port, command);
        stands = reply != NULL &&
                 (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
                 strstr(reply->str, text) != NULL;
        if (reply != NULL)
            freeReplyObject(reply);
        cr_assert(harness_now_ms() < deadline_ms, "%s does not answer %s", command, text);
    }
}

void watched_start_redis(struct watched *watched, unsigned which, unsigned master)
{
    const char *directory =
        site_format(watched->site, "%s/redis-%u", site_directory(watched->site), which);
    const char *port = site_format(watched->site, "%u", watched->port[which]);
    const char *words[24] = {"redis-server",
                             "--port",
                             port,
                             "--bind",
                             "127.0.0.1",
                             "--dir",
                             directory,
                             "--appendonly",
                             "yes",
                             "--save",
                             "",
                             "--repl-diskless-sync-delay",
                             "0",
                             "--maxmemory-policy",
                             "noeviction"};
    unsigned count = 15;
    if (which != master) {
        words[count++] = "--replicaof";
        words[count++] = "127.0.0.1";
        words[count++] = site_format(watched->site, "%u", watched->port[master]);
    }
    (void)mkdir(directory, 0700);
    watched->redis[which] = harness_spawn(words, -1, -1);
    await_text(watched->port[which], "PING", "PONG");
}

static void start_sentinel(struct watched *watched, unsigned which)
{
    const char *file =
        site_format(watched->site, "%s/sentinel-%u.conf", site_directory(watched->site), which);
    const char *words[] = {"redis-server", file, "--sentinel", NULL};
    harness_write_file(file, site_format(watched->site,
                                         "port %u\nbind 127.0.0.1\ndir %s\n"
                                         "sentinel monitor tollgate 127.0.0.1 %u 2\n"
                                         "sentinel down-after-milliseconds tollgate " DOWN_AFTER_MS
                                         "\nsentinel failover-timeout tollgate 5000\n",
                                         watched->sentinel_port[which],
                                         site_directory(watched->site), watched->port[0]));
    watched->sentinel[which] = harness_spawn(words, -1, -1);
    await_text(watched->sentinel_port[which], "PING", "PONG");
}

static void end(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

/* ---- all of them ---- */

/* Waits until each Sentinel sees the others and both replicas, without which none is elected. */
void watched_await_whole(struct watched *watched)
{
    for (unsigned i = 0; i < COUNT; i++)
        await_text(watched->sentinel_port[i], "INFO sentinel", "status=ok");
    for (unsigned i = 0; i < COUNT; i++)
        await_text(watched->sentinel_port[i], "INFO sentinel", "slaves=2,sentinels=3");
}

struct watched *watched_start(struct site *site)
{
    struct watched *watched = site_keep(site, calloc(1, sizeof(*watched)));
    watched->site = site;
    for (unsigned i = 0; i < COUNT; i++) {
        watched->port[i] = hold_port(&watched->holders[2 * i]);
        watched->sentinel_port[i] = hold_port(&watched->holders[2 * i + 1]);
    }
    for (unsigned i = 0; i < COUNT; i++)
        watched_start_redis(watched, i, 0);
    for (unsigned i = 1; i < COUNT; i++)
        await_text(watched->port[i], "INFO replication", "master_link_status:up");
    for (unsigned i = 0; i < COUNT; i++)
        start_sentinel(watched, i);
    watched_await_whole(watched);
    snprintf(watched->address, sizeof(watched->address),
             "sentinel:tollgate@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u", watched->sentinel_port[0],
             watched->sentinel_port[1], watched->sentinel_port[2]);
    return watched;
}

const char *watched_address(const struct watched *watched)
{
    return watched->address;
}

unsigned watched_port(const struct watched *watched, unsigned which)
{
    return watched->port[which];
}

void watched_stop(struct watched *watched)
{
    if (watched->listening != NULL)
        redisFree(watched->listening);
    for (unsigned i = 0; i < COUNT; i++)
        end(&watched->sentinel[i]);
    for (unsigned i = 0; i < COUNT; i++)
        end(&watched->redis[i]);
    for (unsigned i = 0; i < 2 * COUNT; i++)
        close(watched->holders[i]);
}

unsigned watched_master(struct watched *watched)
{
    redisReply *reply = ask(watched->sentinel_port[0], "SENTINEL GET-MASTER-ADDR-BY-NAME tollgate");
    cr_assert(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2);
    unsigned port = (unsigned)strtoul(reply->element[1]->str, NULL, 10), which = 0;
    freeReplyObject(reply);
    while (which < COUNT && watched->port[which] != port)
        which++;
    cr_assert_lt(which, COUNT);
    return which;
}

void watched_kill_redis(struct watched *watched, unsigned which)
{
    end(&watched->redis[which]);
}

void watched_signal_redis(struct watched *watched, unsigned which, int signal)
{
    kill(watched->redis[which], signal);
}

void watched_fail_over(struct watched *watched)
{
    redisReply *reply = ask(watched->sentinel_port[0], "SENTINEL FAILOVER tollgate");
    cr_assert(reply != NULL, "the Sentinel does not fail over");
    freeReplyObject(reply);
}

void watched_kill_sentinel(struct watched *watched, unsigned which)
{
    end(&watched->sentinel[which]);
}

bool watched_has_switched(struct watched *watched)
{
    if (watched->listening == NULL) {
        watched->listening = connect_to(watched->sentinel_port[0]);
        cr_assert(watched->listening != NULL);
        redisReply *reply = redisCommand(watched->listening, "SUBSCRIBE +switch-master");
        cr_assert(reply != NULL && reply->type == REDIS_REPLY_ARRAY);
        freeReplyObject(reply);
    }
    struct pollfd item = {.fd = watched->listening->fd, .events = POLLIN};
    if (poll(&item, 1, 0) <= 0)
        return false;
    void *reply = NULL;
    cr_assert_eq(redisGetReply(watched->listening, &reply), REDIS_OK);
    freeReplyObject(reply);
    return true;
}
