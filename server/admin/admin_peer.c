/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the admin interface: its state, its place in the door's list of that state,
 * ordered by deadline, what epoll reports of it, and its end. Called by admin_peers.c, and by
 * admin_accept.c where room must be made. It reads and writes no byte.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/admin/admin_peers_internal.h"
#include "server/base/check.h"

#define WRITE_DEADLINE_MS 5000 /* without a byte taken */

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
void admin_peer_set_state(struct admin_peers *peers, struct admin_peer *peer,
                          enum admin_peer_state state)
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
        peers->now_ms + (state == PEER_RECEIVING ? ADMIN_READ_DEADLINE_MS : WRITE_DEADLINE_MS);
    list_append(peer);
}

void admin_peer_end(struct admin_peers *peers, struct admin_peer *peer)
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

int admin_peer_poll(struct admin_peers *peers, struct admin_peer *peer, uint32_t events)
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

bool admin_peers_make_room(struct admin_peers *peers, struct admin_peers_door *door)
{
    for (enum admin_peer_state state = 0; state < PEER_LISTS; state++) {
        if (door->lists[state].first != NULL) {
            admin_peer_end(peers, door->lists[state].first);
            return true;
        }
    }
    return false;
}

struct admin_peer *admin_peer_begin(struct admin_peers *peers, struct admin_peers_door *door,
                                    int fd)
{
    struct admin_peer *peer = malloc(sizeof(*peer)); /* 74 KB, of which few pages are touched */
    if (peer == NULL) {
        (void)close(fd);
        return NULL;
    }
    if (door->listed >= door->listed_max) {
        check(admin_peers_make_room(peers, door));
    }
    memset(peer, 0, offsetof(struct admin_peer, head));
    peer->fd = fd;
    peer->door = door;
    peer->state = PEER_RECEIVING;
    peer->deadline_ms = peers->now_ms + ADMIN_READ_DEADLINE_MS;
    list_append(peer);
    return peer;
}
