/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay between nodes and Redis (harness.h). One thread polls all sockets and keeps, for each
 * direction, a queue of chunks with the time at which each is due. Of the bytes that it passes it
 * looks for nothing but the word SUBSCRIBE.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"

#define PAIRS_MAX 64
#define CHUNK_MAX 65536

struct chunk {
    struct chunk *next;
    double due_ms;
    size_t length, sent;
    char bytes[];
};

struct pair {
    int fd[2];                        /* owns; 0: the node's, 1: Redis'; -1: free */
    struct chunk *first[2], *last[2]; /* owns; the queue towards fd[i] */
    bool is_push, is_mute;
};

struct relay {
    pthread_t thread;
    int listen_fd, wake_fd; /* owns */
    unsigned delay_ms;
    char address[32];
    char redis[108]; /* under lock */
    pthread_mutex_t lock;
    struct pair pairs[PAIRS_MAX];
    _Atomic bool stop, hold_push, hold_all, mute_new;
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void pair_close(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        close(pair->fd[i]);
        pair->fd[i] = -1;
        while (pair->first[i] != NULL) {
            struct chunk *next = pair->first[i]->next;
            free(pair->first[i]);
            pair->first[i] = next;
        }
        pair->last[i] = NULL;
    }
}

static void relay_accept(struct relay *relay)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int one = 1, node = accept4(relay->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int redis = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_lock(&relay->lock);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", relay->redis);
    pthread_mutex_unlock(&relay->lock);
    for (int i = 0; i < PAIRS_MAX && node >= 0 && redis >= 0; i++) {
        if (relay->pairs[i].fd[0] >= 0)
            continue;
        if (connect(redis, (struct sockaddr *)&address, sizeof(address)) != 0)
            break;
        fcntl(redis, F_SETFL, O_NONBLOCK);
        setsockopt(node, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        relay->pairs[i] = (struct pair){.fd = {node, redis}, .is_mute = relay->mute_new};
        return;
    }
    if (node >= 0)
        close(node);
    if (redis >= 0)
        close(redis);
}

/* Reads from fd[from] into the other's queue. False where the connection has ended. */
static bool take(struct relay *relay, struct pair *pair, int from)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + CHUNK_MAX);
    ssize_t got = chunk != NULL ? recv(pair->fd[from], chunk->bytes, CHUNK_MAX, 0) : 0;
    if (got <= 0) {
        free(chunk);
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    if (from == 0 && memmem(chunk->bytes, (size_t)got, "SUBSCRIBE", 9) != NULL)
        pair->is_push = true;
    *chunk = (struct chunk){.due_ms = now_ms() + relay->delay_ms, .length = (size_t)got};
    if (pair->last[1 - from] != NULL)
        pair->last[1 - from]->next = chunk;
    else
        pair->first[1 - from] = chunk;
    pair->last[1 - from] = chunk;
    return true;
}

static bool is_held(const struct relay *relay, const struct pair *pair, int to)
{
    return pair->is_mute || (to == 0 && (relay->hold_all || (relay->hold_push && pair->is_push)));
}

/* Sends the chunks that are due to fd[to]. False where the connection has ended. */
static bool give(const struct relay *relay, struct pair *pair, int to)
{
    while (pair->first[to] != NULL && !is_held(relay, pair, to) &&
           pair->first[to]->due_ms <= now_ms()) {
        struct chunk *chunk = pair->first[to];
        ssize_t sent = send(pair->fd[to], chunk->bytes + chunk->sent, chunk->length - chunk->sent,
                            MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        chunk->sent += (size_t)sent;
        if (chunk->sent < chunk->length)
            continue;
        pair->first[to] = chunk->next;
        if (pair->first[to] == NULL)
            pair->last[to] = NULL;
        free(chunk);
    }
    return true;
}

static void *relay_run(void *argument)
{
    struct relay *relay = argument;
    while (!relay->stop) {
        struct pollfd items[2 + 2 * PAIRS_MAX] = {{.fd = relay->listen_fd, .events = POLLIN},
                                                  {.fd = relay->wake_fd, .events = POLLIN}};
        for (int i = 0; i < 2 * PAIRS_MAX; i++)
            items[2 + i] = (struct pollfd){.fd = relay->pairs[i / 2].fd[i % 2], .events = POLLIN};
        poll(items, 2 + 2 * PAIRS_MAX, 1);
        if (items[0].revents & POLLIN)
            relay_accept(relay);
        for (int i = 0; i < PAIRS_MAX; i++) {
            struct pair *pair = &relay->pairs[i];
            bool alive = pair->fd[0] >= 0;
            for (int side = 0; alive && side < 2; side++) {
                if (items[2 + 2 * i + side].revents && items[2 + 2 * i + side].fd >= 0)
                    alive = take(relay, pair, side);
            }
            for (int side = 0; alive && side < 2; side++)
                alive = give(relay, pair, side);
            if (!alive && pair->fd[0] >= 0)
                pair_close(pair);
        }
    }
    for (int i = 0; i < PAIRS_MAX; i++) {
        if (relay->pairs[i].fd[0] >= 0)
            pair_close(&relay->pairs[i]);
    }
    return NULL;
}

struct relay *relay_start(const char *redis_socket, unsigned delay_ms)
{
    struct relay *relay = calloc(1, sizeof(*relay));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    cr_assert(relay);
    relay->delay_ms = delay_ms;
    pthread_mutex_init(&relay->lock, NULL);
    relay_turn_to(relay, redis_socket);
    for (int i = 0; i < PAIRS_MAX; i++)
        relay->pairs[i].fd[0] = relay->pairs[i].fd[1] = -1;
    relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    relay->wake_fd = eventfd(0, EFD_CLOEXEC);
    cr_assert(relay->listen_fd >= 0 && relay->wake_fd >= 0);
    cr_assert_eq(bind(relay->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(relay->listen_fd, 64), 0);
    cr_assert_eq(getsockname(relay->listen_fd, (struct sockaddr *)&address, &size), 0);
    snprintf(relay->address, sizeof(relay->address), "127.0.0.1:%u", ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&relay->thread, NULL, relay_run, relay), 0);
    return relay;
}

void relay_stop(struct relay **handle)
{
    struct relay *relay = *handle;
    relay->stop = true;
    (void)eventfd_write(relay->wake_fd, 1);
    pthread_join(relay->thread, NULL);
    close(relay->listen_fd);
    close(relay->wake_fd);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
    *handle = NULL;
}

const char *relay_address(const struct relay *relay)
{
    return relay->address;
}

void relay_hold_push(struct relay *relay, bool held)
{
    relay->hold_push = held;
}

void relay_hold_all(struct relay *relay, bool held)
{
    relay->hold_all = held;
}

void relay_mute_new(struct relay *relay, bool mute)
{
    relay->mute_new = mute;
}

void relay_turn_to(struct relay *relay, const char *redis_socket)
{
    pthread_mutex_lock(&relay->lock);
    snprintf(relay->redis, sizeof(relay->redis), "%s",
             strncmp(redis_socket, "unix:", 5) == 0 ? redis_socket + 5 : redis_socket);
    pthread_mutex_unlock(&relay->lock);
}

double relay_round_trip_ms(struct relay *relay)
{
    const char *colon = strchr(relay->address, ':');
    redisContext *context = redisConnect("127.0.0.1", atoi(colon + 1));
    double least = 1e9;
    cr_assert(context != NULL && context->err == 0);
    for (int i = 0; i < 10; i++) {
        double begun = now_ms();
        redisReply *reply = redisCommand(context, "PING");
        cr_assert(reply != NULL && reply->type == REDIS_REPLY_STATUS);
        freeReplyObject(reply);
        double taken = now_ms() - begun;
        least = taken < least ? taken : least;
    }
    redisFree(context);
    return least;
}
