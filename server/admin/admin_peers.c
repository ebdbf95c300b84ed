/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's connections: one thread receives a bounded request on each, answers at once
 * what needs no waiting (health, refusals), gives every other call to the desk, sends the answer
 * and closes. admin.c starts and stops it. It waits for nothing but epoll, and takes no lock that
 * is held over Redis or the disk, so that health is answered whatever the rest of the node does.
 *
 *   accept --> RECEIVING --health, refused---------------------> SENDING --> closed
 *                  '-----> AT_DESK (admin_desk.c) --answered------^
 *
 * At the bound of a door's connections that are RECEIVING or SENDING, the one whose client has been
 * waited for the longest is closed to make room; the bounds of calls are admin_desk.c's. Where
 * descriptors have run out, it accepts by giving up spare ones.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/admin/admin_internal.h"
#include "server/admin/admin_peers_internal.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/waiting.h"

#define STOP_DEADLINE_MS 1000 /* for the answers that are being sent when the interface ends */
#define ACCEPT_TURN      64
#define EVENTS_TURN      64
#define SCARCE_PAUSE_MS  100 /* before accepting again: trying at once would burn a core */

static void wake(void *context)
{
    const struct admin_peers *peers = context;
    (void)eventfd_write(peers->wake_fd, 1); /* EAGAIN: the thread is to wake already */
}

/* Sends what the client takes now, and the rest when epoll says so. May end the peer. */
static void peer_send(struct admin_peers *peers, struct admin_peer *peer)
{
    size_t before = peer->sent;
    int failure = admin_peer_send_some(peer);
    if (failure == -EAGAIN) {
        if (peer->sent > before) {
            admin_peer_set_state(peers, peer, PEER_SENDING); /* a new deadline */
        }
        failure = admin_peer_poll(peers, peer, EPOLLOUT);
        if (failure == 0) {
            return;
        }
    }
    if (failure != 0) {
        log_debug("admin: the answer could not be sent: %s", strerrordesc_np(-failure));
    }
    admin_peer_end(peers, peer);
}

/* The answer has been made. */
static void peer_answer(struct admin_peers *peers, struct admin_peer *peer)
{
    admin_log_refusal(peers->node, &peer->call);
    admin_peer_write_head(peer);
    admin_peer_set_state(peers, peer, PEER_SENDING);
    peer_send(peers, peer);
}

static void peer_receive(struct admin_peers *peers, struct admin_peer *peer)
{
    struct http_head head;
    enum admin_arrival outcome = admin_peer_receive(peer, &head);
    if (outcome == ADMIN_PARTIAL) {
        if (!peer->polled && admin_peer_poll(peers, peer, EPOLLIN) != 0) {
            admin_peer_end(peers, peer);
        }
        return;
    }
    if (outcome == ADMIN_GONE) {
        admin_peer_end(peers, peer);
        return;
    }
    if (outcome == ADMIN_ARRIVED) {
        admin_peer_read_request(peers, peer, &head);
        if (admin_route(peers->node, &peer->call) && admin_desk_take(peers->desk, &peer->call)) {
            peer->called = true;
            admin_peer_set_state(peers, peer, PEER_AT_DESK);
            /* A client that left would wake the thread for ever. */
            check(admin_peer_poll(peers, peer, 0) == 0);
            return;
        }
    }
    peer_answer(peers, peer);
}

static void take_finished(struct admin_peers *peers)
{
    struct admin_call *call = admin_desk_finished(peers->desk);
    while (call != NULL) {
        struct admin_peer *peer = (struct admin_peer *)call;
        call = call->next;
        peer_answer(peers, peer);
    }
}

static void time_out(struct admin_peers *peers, struct admin_peer *peer)
{
    if (peer->state == PEER_SENDING) {
        admin_peer_end(peers, peer);
        return;
    }
    admin_answer_problem(&peer->call.answer, ADMIN_REQUEST_TIMEOUT, NULL,
                         "the request did not arrive within %d s", ADMIN_READ_DEADLINE_MS / 1000);
    peer_answer(peers, peer);
}

/* Ends or refuses the peers whose deadline has passed. Returns the ms until the next deadline, or
 * -1 where there is none. */
static int sweep(struct admin_peers *peers)
{
    uint64_t next_ms = peers->resume_ms != 0 ? peers->resume_ms : UINT64_MAX;
    for (unsigned i = 0; i < peers->door_count; i++) {
        for (enum admin_peer_state state = 0; state < PEER_LISTS; state++) {
            struct admin_peer *peer = peers->doors[i].lists[state].first;
            while (peer != NULL && peer->deadline_ms <= peers->now_ms) {
                struct admin_peer *next = peer->next;
                time_out(peers, peer);
                peer = next;
            }
        }
        /* A second look, because time_out has moved peers to SENDING. */
        for (enum admin_peer_state state = 0; state < PEER_LISTS; state++) {
            const struct admin_peer *first = peers->doors[i].lists[state].first;
            next_ms = first != NULL && first->deadline_ms < next_ms ? first->deadline_ms : next_ms;
        }
    }
    return next_ms == UINT64_MAX      ? -1
           : next_ms <= peers->now_ms ? 0
                                      : (int)(next_ms - peers->now_ms);
}

/* ---- accepting ---- */

/* False where descriptors have run out. */
static bool accept_some(struct admin_peers *peers, struct admin_peers_door *door)
{
    for (unsigned i = 0; i < ACCEPT_TURN; i++) {
        int fd = admin_accept(peers, door);
        if (fd < 0) {
            return fd == -EAGAIN;
        }
        struct admin_peer *peer = admin_peer_begin(peers, door, fd);
        if (peer != NULL) {
            peer_receive(peers, peer); /* most clients have sent by now: no flood can evict them */
        }
    }
    return true;
}

/* Has epoll report the doors, or, where not `open`, not before SCARCE_PAUSE_MS have passed. */
static void poll_doors(struct admin_peers *peers, bool open)
{
    for (unsigned i = 0; i < peers->door_count; i++) {
        struct epoll_event event = {.events = open ? EPOLLIN : 0, .data.ptr = &peers->doors[i]};
        (void)epoll_ctl(peers->epoll_fd, EPOLL_CTL_MOD, peers->doors[i].from->listen_fd, &event);
    }
    peers->resume_ms = open ? 0 : peers->now_ms + SCARCE_PAUSE_MS;
}

/* ---- the thread ---- */

static void handle(struct admin_peers *peers, const struct epoll_event *event)
{
    if (event->data.ptr == peers) {
        eventfd_t count;
        (void)eventfd_read(peers->wake_fd, &count);
        return;
    }
    for (unsigned i = 0; i < peers->door_count; i++) {
        if (event->data.ptr == &peers->doors[i]) {
            peers->doors[i].ready = true;
            return;
        }
    }
    struct admin_peer *peer = event->data.ptr;
    if (peer->state == PEER_RECEIVING) {
        peer_receive(peers, peer);
    } else {
        peer_send(peers, peer);
    }
}

/* Waits once and handles what came. A wait that fails is paused for, or the loop would spin. */
static void turn(struct admin_peers *peers)
{
    struct epoll_event events[EVENTS_TURN];
    int wait_ms = sweep(peers);
    int ready = epoll_wait(peers->epoll_fd, events, EVENTS_TURN, wait_ms);
    if (ready < 0 && errno != EINTR) {
        waiting_pause(wait_ms);
    }
    peers->now_ms = clock_monotonic_ms();
    /* Accepting comes last: it may end a peer that an event here is of. */
    for (int i = 0; i < ready; i++) {
        handle(peers, &events[i]);
    }
    take_finished(peers);
    admin_accept_keep_spares(peers);
    if (peers->resume_ms != 0 && peers->now_ms >= peers->resume_ms) {
        poll_doors(peers, true);
    }
    bool enough = true;
    for (unsigned i = 0; i < peers->door_count; i++) {
        if (peers->doors[i].ready) {
            peers->doors[i].ready = false;
            enough = accept_some(peers, &peers->doors[i]) && enough;
        }
    }
    if (!enough) {
        poll_doors(peers, false);
    }
}

static void end_list(struct admin_peers *peers, struct peer_list *list)
{
    struct admin_peer *peer = list->first;
    while (peer != NULL) {
        struct admin_peer *next = peer->next;
        admin_peer_end(peers, peer);
        peer = next;
    }
}

/* Cuts the requests that have not arrived whole, as nothing of them was done; sends the answers. */
static void end_all(struct admin_peers *peers)
{
    uint64_t deadline_ms = clock_monotonic_ms() + STOP_DEADLINE_MS;
    for (unsigned i = 0; i < peers->door_count; i++) {
        struct admin_peers_door *door = &peers->doors[i];
        (void)epoll_ctl(peers->epoll_fd, EPOLL_CTL_DEL, door->from->listen_fd, NULL);
        end_list(peers, &door->lists[PEER_RECEIVING]);
    }
    take_finished(peers);
    check(peers->at_desk == 0); /* the desk has closed, so every call has its answer */
    for (unsigned i = 0; i < peers->door_count; i++) {
        struct admin_peers_door *door = &peers->doors[i];
        while (door->lists[PEER_SENDING].first != NULL && clock_monotonic_ms() < deadline_ms) {
            struct epoll_event events[EVENTS_TURN];
            int ready = epoll_wait(peers->epoll_fd, events, EVENTS_TURN, SCARCE_PAUSE_MS);
            if (ready < 0 && errno != EINTR) {
                waiting_pause(SCARCE_PAUSE_MS);
            }
            for (int j = 0; j < ready; j++) {
                handle(peers, &events[j]);
            }
        }
        end_list(peers, &door->lists[PEER_SENDING]);
    }
}

static void *run(void *argument)
{
    struct admin_peers *peers = argument;
    (void)pthread_setname_np(pthread_self(), "admin");
    peers->now_ms = clock_monotonic_ms();
    while (!atomic_load(&peers->stopping)) {
        turn(peers);
    }
    end_all(peers);
    return NULL;
}

/* ---- starting and stopping ---- */

static int start(struct admin_peers *peers)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peers};
    peers->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    peers->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (peers->epoll_fd < 0 || peers->wake_fd < 0 ||
        epoll_ctl(peers->epoll_fd, EPOLL_CTL_ADD, peers->wake_fd, &event) != 0) {
        return -errno;
    }
    admin_accept_keep_spares(peers);
    for (unsigned i = 0; i < peers->door_count; i++) {
        event.data.ptr = &peers->doors[i];
        if (epoll_ctl(peers->epoll_fd, EPOLL_CTL_ADD, peers->doors[i].from->listen_fd, &event) !=
            0) {
            return -errno;
        }
    }
    int failure = admin_desk_open(&peers->desk, peers->node, wake, peers);
    if (failure != 0) {
        return failure;
    }
    /* The thread blocks all signals, so that the main thread takes those to the node. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = -pthread_create(&peers->thread, NULL, run, peers);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    peers->started = failure == 0;
    return failure;
}

int admin_peers_start(struct admin_peers **out, struct admin_shops *shops, struct node *node,
                      const struct admin_door *doors, unsigned door_count)
{
    struct admin_peers *peers = calloc(1, sizeof(*peers));
    if (peers == NULL) {
        return -ENOMEM;
    }
    *out = peers;
    peers->node = node;
    peers->shops = shops;
    peers->epoll_fd = peers->wake_fd = -1;
    memset(peers->spares, 0xff, sizeof(peers->spares)); /* -1 */
    for (unsigned i = 0; i < door_count; i++) {
        if (doors[i].listen_fd >= 0) {
            peers->doors[peers->door_count++] = (struct admin_peers_door){
                .from = &doors[i],
                .listed_max =
                    doors[i].is_operator ? ADMIN_OPERATORS_PEERS_MAX : ADMIN_SHOPS_PEERS_MAX};
        }
    }
    return start(peers);
}

void admin_peers_close_desk(struct admin_peers *peers)
{
    if (peers->desk != NULL) {
        admin_desk_close(peers->desk);
    }
}

void admin_peers_stop(struct admin_peers **peers)
{
    struct admin_peers *gone = *peers;
    if (gone == NULL) {
        return;
    }
    *peers = NULL;
    admin_peers_close_desk(gone);
    atomic_store(&gone->stopping, true);
    if (gone->started) {
        wake(gone);
        (void)pthread_join(gone->thread, NULL);
    }
    admin_desk_destroy(&gone->desk);
    while (admin_accept_give_spare(gone)) {
    }
    if (gone->epoll_fd >= 0) {
        (void)close(gone->epoll_fd);
    }
    if (gone->wake_fd >= 0) {
        (void)close(gone->wake_fd);
    }
    free(gone);
}
