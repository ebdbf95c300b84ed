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
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "server/admin/admin_internal.h"
#include "server/base/check.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/waiting.h"
#include "server/http/http_content.h"
#include "server/http/http_fields.h"

#define HEAD_BYTES_MAX    8192
#define BODY_BYTES_MAX    65536
#define READ_DEADLINE_MS  5000 /* for the whole request */
#define WRITE_DEADLINE_MS 5000 /* without a byte taken */
#define STOP_DEADLINE_MS  1000 /* for the answers that are being sent when the interface ends */
#define SEND_TURN_BYTES   1048576
#define ACCEPT_TURN       64
#define EVENTS_TURN       64
#define SPARES            4
#define SCARCE_PAUSE_MS   100 /* before accepting again: trying at once would burn a core */
#define SCARCE_LOG_MS     10000

enum peer_state { PEER_RECEIVING, PEER_SENDING, PEER_AT_DESK };
#define PEER_LISTS PEER_AT_DESK /* how many states have a list, ordered by deadline */

struct door;

/* A connection, what has been received of its one request, and the answer. */
struct admin_peer {
    struct admin_call call; /* first, for take_finished's cast; its request points into `buffer` */
    int fd;                 /* owns */
    enum peer_state state;
    struct door *door;                  /* borrows */
    struct admin_peer *next, *previous; /* in the list of its state */
    uint64_t deadline_ms;
    bool called;    /* the desk took its call, and counts it until the connection ends */
    bool continued; /* it was sent 100 Continue */
    bool polled;    /* its socket is in epoll */
    size_t length, head_length, sent;
    char head[512]; /* of the answer */
    char buffer[HEAD_BYTES_MAX + BODY_BYTES_MAX];
};

/* Peers of one state, the earliest deadline first. */
struct peer_list {
    struct admin_peer *first, *last;
};

struct door {
    const struct admin_door *from; /* borrows */
    struct peer_list lists[PEER_LISTS];
    unsigned listed, listed_max;
    bool ready;
};

struct admin_peers {
    struct node *node;       /* borrows */
    struct admin *admin;     /* borrows; for admin_identify */
    struct admin_desk *desk; /* owns */
    pthread_t thread;
    bool started;
    int epoll_fd, wake_fd; /* own */
    atomic_bool stopping;
    /* The thread's own: */
    int spares[SPARES]; /* own; -1: given up for a connection */
    struct door doors[2];
    unsigned door_count, at_desk;
    uint64_t now_ms;
    uint64_t resume_ms;        /* when to accept again; 0: it is accepting */
    uint64_t scarce_logged_ms; /* 0: never */
};

enum outcome { PARTIAL, ARRIVED, REFUSED, GONE };

static void wake(void *context)
{
    const struct admin_peers *peers = context;
    (void)eventfd_write(peers->wake_fd, 1); /* EAGAIN: the thread is to wake already */
}

/* ---- lists ---- */

static void list_append(struct admin_peer *peer)
{
    struct peer_list *list = &peer->door->lists[peer->state];
    peer->next = NULL;
    peer->previous = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = peer;
    list->last = peer;
    peer->door->listed++;
}

static void list_remove(struct admin_peer *peer)
{
    struct peer_list *list = &peer->door->lists[peer->state];
    *(peer->previous != NULL ? &peer->previous->next : &list->first) = peer->next;
    *(peer->next != NULL ? &peer->next->previous : &list->last) = peer->previous;
    peer->door->listed--;
}

/* All deadlines of a state lie equally far ahead, so that appending keeps its list in order. */
static void peer_set_state(struct admin_peers *peers, struct admin_peer *peer,
                           enum peer_state state)
{
    if (peer->state != PEER_AT_DESK) {
        list_remove(peer);
    } else {
        peers->at_desk--;
    }
    peer->state = state;
    if (state == PEER_AT_DESK) {
        peers->at_desk++;
        return;
    }
    peer->deadline_ms =
        peers->now_ms + (state == PEER_RECEIVING ? READ_DEADLINE_MS : WRITE_DEADLINE_MS);
    list_append(peer);
}

static void peer_end(struct admin_peers *peers, struct admin_peer *peer)
{
    check(peer->state != PEER_AT_DESK);
    list_remove(peer);
    (void)close(peer->fd); /* this takes it out of epoll, too */
    if (peer->called) {
        admin_desk_forget(peers->desk, peer->call.class);
    }
    free(peer->call.answer.body);
    explicit_bzero(peer->buffer, sizeof(peer->buffer)); /* it may hold a shop's secret */
    free(peer);
}

/* Sets the events that epoll reports of the peer; 0 takes the peer out. 0, or a negative errno. */
static int peer_poll(struct admin_peers *peers, struct admin_peer *peer, uint32_t events)
{
    if (events == 0 && !peer->polled) {
        return 0;
    }
    struct epoll_event event = {.events = events, .data.ptr = peer};
    int operation = events == 0 ? EPOLL_CTL_DEL : peer->polled ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(peers->epoll_fd, operation, peer->fd, &event) != 0) {
        return -errno;
    }
    peer->polled = events != 0;
    return 0;
}

/* ---- one request ---- */

/* Judges what has been received of the request so far; PARTIAL where more must come. */
static enum outcome examine(struct admin_peer *peer, struct http_head *head)
{
    struct admin_answer *answer = &peer->call.answer;
    enum refusal refusal = REFUSAL_NONE;
    enum http_head_status status = http_head_parse(peer->buffer, peer->length, head, &refusal);
    if (status == HTTP_HEAD_COMPLETE) {
        status = http_content_skip(peer->buffer, peer->length, head, &refusal);
    }
    if (status == HTTP_HEAD_PARTIAL && peer->length < HEAD_BYTES_MAX) {
        return PARTIAL;
    }
    if (status == HTTP_HEAD_PARTIAL ||
        (status == HTTP_HEAD_COMPLETE && head->length > HEAD_BYTES_MAX)) {
        status = HTTP_HEAD_REFUSED;
        refusal = REFUSAL_HEAD_TOO_LARGE;
    }
    if (status == HTTP_HEAD_REFUSED) {
        admin_answer_refusal(answer, refusal_status(refusal), refusal, NULL, "%s",
                             refusal_text(refusal));
        return REFUSED;
    }
    if (head->chunked && head->has_body) {
        /* RFC 9110 15.5.12: 411 asks for a length, which spares a second framing here. */
        admin_answer_problem(answer, ADMIN_LENGTH_REQUIRED, NULL,
                             "Transfer-Encoding is not supported here; send Content-Length");
        return REFUSED;
    }
    if (head->content_length > BODY_BYTES_MAX) {
        admin_answer_problem(answer, ADMIN_BODY_TOO_LARGE, NULL, "a body may have %d bytes at most",
                             BODY_BYTES_MAX);
        return REFUSED;
    }
    if (peer->length >= head->length + (size_t)head->content_length) {
        return ARRIVED;
    }
    if (head->expect_continue && !peer->continued) {
        static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* RFC 9110 10.1.1 */
        peer->continued = true;
        if (send(peer->fd, interim, sizeof(interim) - 1, MSG_NOSIGNAL) !=
            (ssize_t)sizeof(interim) - 1) {
            return GONE;
        }
    }
    return PARTIAL;
}

/* Receives until the request is judged or nothing more is there. GONE: the client has closed. */
static enum outcome receive(struct admin_peer *peer, struct http_head *head)
{
    for (;;) {
        ssize_t got =
            recv(peer->fd, peer->buffer + peer->length, sizeof(peer->buffer) - peer->length, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return PARTIAL;
        }
        if (got <= 0) {
            return GONE;
        }
        peer->length += (size_t)got;
        enum outcome outcome = examine(peer, head);
        if (outcome != PARTIAL) {
            return outcome;
        }
    }
}

static void read_request(struct admin_peers *peers, struct admin_peer *peer,
                         const struct http_head *head)
{
    struct admin_request *request = &peer->call.request;
    const struct http_text *target = &head->target;
    const char *mark = memchr(target->data, '?', target->length);
    struct http_text secret;
    request->method = head->method;
    request->body = (struct http_text){peer->buffer + head->length, (size_t)head->content_length};
    request->path = *target;
    if (mark != NULL) {
        request->path.length = (size_t)(mark - target->data);
        request->query = (struct http_text){mark + 1, target->length - request->path.length - 1};
    }
    /* Operators need no secret: the socket's mode decides who may open it. */
    request->is_operator = peer->door->from->is_operator;
    if (!request->is_operator && http_bearer(head, &secret)) {
        admin_identify(peers->admin, secret, request->shop);
    }
}

/* ---- one answer ---- */

static void write_head(struct admin_peer *peer)
{
    const struct admin_answer *answer = &peer->call.answer;
    char retry[48] = "", date[HTTP_DATE_SIZE];
    if (answer->retry_after_s != 0) {
        (void)snprintf(retry, sizeof(retry), "Retry-After: %u\r\n", answer->retry_after_s);
    }
    http_date_write((int64_t)time(NULL), date);
    int length = snprintf(
        peer->head, sizeof(peer->head),
        "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: application/%sjson\r\nContent-Length: %zu\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n%s%s%s%s%s\r\n",
        answer->status, admin_status_phrase(answer->status), date,
        answer->problem ? "problem+" : "", answer->length, retry,
        answer->challenge ? "WWW-Authenticate: Bearer realm=\"tollgate\"\r\n" : "",
        answer->allow != NULL ? "Allow: " : "", answer->allow != NULL ? answer->allow : "",
        answer->allow != NULL ? "\r\n" : "");
    check(length > 0 && (size_t)length < sizeof(peer->head));
    peer->head_length = (size_t)length;
}

/* Sends more of the answer, until about SEND_TURN_BYTES went out, so that others have their turn.
 * 0: all is sent; -EAGAIN: there is more to send; or another negative errno. */
static int send_some(struct admin_peer *peer)
{
    const struct admin_answer *answer = &peer->call.answer;
    size_t turn = 0;
    while (peer->sent < peer->head_length + answer->length) {
        size_t body_sent = peer->sent > peer->head_length ? peer->sent - peer->head_length : 0;
        size_t head_sent = peer->sent - body_sent;
        struct iovec parts[2] = {
            {.iov_base = peer->head + head_sent, .iov_len = peer->head_length - head_sent},
            {.iov_base = answer->length > 0 ? answer->body + body_sent : NULL,
             .iov_len = answer->length - body_sent}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        if (turn >= SEND_TURN_BYTES) {
            return -EAGAIN;
        }
        ssize_t sent = sendmsg(peer->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return -errno;
        }
        peer->sent += sent > 0 ? (size_t)sent : 0;
        turn += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

/* Sends what the client takes now, and the rest when epoll says so. May end the peer. */
static void peer_send(struct admin_peers *peers, struct admin_peer *peer)
{
    size_t before = peer->sent;
    int failure = send_some(peer);
    if (failure == -EAGAIN) {
        if (peer->sent > before) {
            peer_set_state(peers, peer, PEER_SENDING); /* a new deadline */
        }
        failure = peer_poll(peers, peer, EPOLLOUT);
        if (failure == 0) {
            return;
        }
    }
    if (failure != 0) {
        log_debug("admin: the answer could not be sent: %s", strerrordesc_np(-failure));
    }
    peer_end(peers, peer);
}

/* The answer has been made. */
static void peer_answer(struct admin_peers *peers, struct admin_peer *peer)
{
    admin_log_refusal(peers->node, &peer->call);
    write_head(peer);
    peer_set_state(peers, peer, PEER_SENDING);
    peer_send(peers, peer);
}

/* ---- many peers ---- */

static void peer_receive(struct admin_peers *peers, struct admin_peer *peer)
{
    struct http_head head;
    enum outcome outcome = receive(peer, &head);
    if (outcome == PARTIAL) {
        if (!peer->polled && peer_poll(peers, peer, EPOLLIN) != 0) {
            peer_end(peers, peer);
        }
        return;
    }
    if (outcome == GONE) {
        peer_end(peers, peer);
        return;
    }
    if (outcome == ARRIVED) {
        read_request(peers, peer, &head);
        if (admin_route(peers->node, &peer->call) && admin_desk_take(peers->desk, &peer->call)) {
            peer->called = true;
            peer_set_state(peers, peer, PEER_AT_DESK);
            check(peer_poll(peers, peer, 0) == 0); /* a client that left would wake it for ever */
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
        peer_end(peers, peer);
        return;
    }
    admin_answer_problem(&peer->call.answer, ADMIN_REQUEST_TIMEOUT, NULL,
                         "the request did not arrive within %d s", READ_DEADLINE_MS / 1000);
    peer_answer(peers, peer);
}

/* Ends or refuses the peers whose deadline has passed. Returns the ms until the next deadline, or
 * -1 where there is none. */
static int sweep(struct admin_peers *peers)
{
    uint64_t next_ms = peers->resume_ms != 0 ? peers->resume_ms : UINT64_MAX;
    for (unsigned i = 0; i < peers->door_count; i++) {
        for (enum peer_state state = 0; state < PEER_LISTS; state++) {
            struct admin_peer *peer = peers->doors[i].lists[state].first;
            while (peer != NULL && peer->deadline_ms <= peers->now_ms) {
                struct admin_peer *next = peer->next;
                time_out(peers, peer);
                peer = next;
            }
        }
        /* A second look, because time_out has moved peers to SENDING. */
        for (enum peer_state state = 0; state < PEER_LISTS; state++) {
            const struct admin_peer *first = peers->doors[i].lists[state].first;
            next_ms = first != NULL && first->deadline_ms < next_ms ? first->deadline_ms : next_ms;
        }
    }
    return next_ms == UINT64_MAX      ? -1
           : next_ms <= peers->now_ms ? 0
                                      : (int)(next_ms - peers->now_ms);
}

/* ---- accepting ---- */

/* Closes the door's peer that has been waited for the longest. False where there is none. */
static bool make_room(struct admin_peers *peers, struct door *door)
{
    for (enum peer_state state = 0; state < PEER_LISTS; state++) {
        if (door->lists[state].first != NULL) {
            peer_end(peers, door->lists[state].first);
            return true;
        }
    }
    return false;
}

/* Sets descriptors aside, to be given up for connections that come when none is left. */
static void keep_spares(struct admin_peers *peers)
{
    for (size_t i = 0; i < SPARES; i++) {
        if (peers->spares[i] < 0) {
            peers->spares[i] = fcntl(peers->wake_fd, F_DUPFD_CLOEXEC, 0);
        }
    }
}

static bool give_spare(struct admin_peers *peers)
{
    for (size_t i = 0; i < SPARES; i++) {
        if (peers->spares[i] >= 0) {
            (void)close(peers->spares[i]);
            peers->spares[i] = -1;
            return true;
        }
    }
    return false;
}

static bool is_scarcity(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void say_scarce(struct admin_peers *peers, int error)
{
    if (peers->scarce_logged_ms != 0 && peers->now_ms - peers->scarce_logged_ms < SCARCE_LOG_MS) {
        return;
    }
    peers->scarce_logged_ms = peers->now_ms;
    log_warning("admin: accept: %s; idle connections are closed to make room%s",
                strerrordesc_np(error),
                error == EMFILE   ? "; raise LimitNOFILE or ulimit -n, or lower connections_max"
                : error == ENFILE ? "; raise sysctl fs.file-max"
                                  : "");
}

static int accept_one(struct admin_peers *peers, struct door *door)
{
    for (;;) {
        int fd = accept4(door->from->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            return fd;
        }
        int error = errno;
        if (error == EINTR || error == ECONNABORTED) {
            continue;
        }
        if (error == EAGAIN) {
            return -EAGAIN;
        }
        say_scarce(peers, error);
        if (!is_scarcity(error) || !(give_spare(peers) || make_room(peers, door))) {
            return -error;
        }
    }
}

static void admit(struct admin_peers *peers, struct door *door, int fd)
{
    struct admin_peer *peer = malloc(sizeof(*peer)); /* 74 KB, of which few pages are touched */
    if (peer == NULL) {
        (void)close(fd);
        return;
    }
    if (door->listed >= door->listed_max) {
        check(make_room(peers, door));
    }
    memset(peer, 0, offsetof(struct admin_peer, head));
    peer->fd = fd;
    peer->door = door;
    peer->state = PEER_RECEIVING;
    peer->deadline_ms = peers->now_ms + READ_DEADLINE_MS;
    list_append(peer);
    peer_receive(peers, peer); /* most clients have sent by now, so a flood cannot evict them */
}

/* False where descriptors have run out. */
static bool accept_some(struct admin_peers *peers, struct door *door)
{
    for (unsigned i = 0; i < ACCEPT_TURN; i++) {
        int fd = accept_one(peers, door);
        if (fd < 0) {
            return fd == -EAGAIN;
        }
        admit(peers, door, fd);
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
    keep_spares(peers);
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
        peer_end(peers, peer);
        peer = next;
    }
}

/* Cuts the requests that have not arrived whole, as nothing of them was done; sends the answers. */
static void end_all(struct admin_peers *peers)
{
    uint64_t deadline_ms = clock_monotonic_ms() + STOP_DEADLINE_MS;
    for (unsigned i = 0; i < peers->door_count; i++) {
        struct door *door = &peers->doors[i];
        (void)epoll_ctl(peers->epoll_fd, EPOLL_CTL_DEL, door->from->listen_fd, NULL);
        end_list(peers, &door->lists[PEER_RECEIVING]);
    }
    take_finished(peers);
    check(peers->at_desk == 0); /* the desk has closed, so every call has its answer */
    for (unsigned i = 0; i < peers->door_count; i++) {
        struct door *door = &peers->doors[i];
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
    keep_spares(peers);
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

int admin_peers_start(struct admin_peers **out, struct admin *admin, struct node *node,
                      const struct admin_door *doors, unsigned door_count)
{
    struct admin_peers *peers = calloc(1, sizeof(*peers));
    if (peers == NULL) {
        return -ENOMEM;
    }
    *out = peers;
    peers->node = node;
    peers->admin = admin;
    peers->epoll_fd = peers->wake_fd = -1;
    memset(peers->spares, 0xff, sizeof(peers->spares)); /* -1 */
    for (unsigned i = 0; i < door_count; i++) {
        if (doors[i].listen_fd >= 0) {
            peers->doors[peers->door_count++] =
                (struct door){.from = &doors[i],
                              .listed_max = doors[i].is_operator ? ADMIN_OPERATORS_PEERS_MAX
                                                                 : ADMIN_SHOPS_PEERS_MAX};
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
    while (give_spare(gone)) {
    }
    if (gone->epoll_fd >= 0) {
        (void)close(gone->epoll_fd);
    }
    if (gone->wake_fd >= 0) {
        (void)close(gone->wake_fd);
    }
    free(gone);
}
