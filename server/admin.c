/*
 * The admin interface's sockets and threads: each thread waits for one bounded request on each of
 * many connections, does them one at a time, sends one answer, closes. Started and stopped by node.c. What a request means is
 * admin_routes.c's; no worker ever waits for these threads.
 */
#include "server/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/admin_internal.h"
#include "server/check.h"
#include "server/http_fields.h"
#include "server/log.h"

#define HEAD_BYTES_MAX    8192
#define BODY_BYTES_MAX    65536
#define READ_DEADLINE_MS  5000
#define WRITE_DEADLINE_MS 5000
#define ACCEPT_PAUSE_MS                                                                            \
    100 /* where descriptors have run out: trying at once would only burn the core */

#define SHOP_THREADS 4  /* requests of shops at once; further ones wait */
#define PEERS_MAX    64 /* connections of a thread; one more, and the longest idle is closed */

/* A connection, and what has been received of its one request. */
struct admin_peer {
    int fd; /* owns */
    bool continued;
    size_t length;
    uint64_t deadline_ms;
    char buffer[HEAD_BYTES_MAX + BODY_BYTES_MAX];
};

/* Waits for many requests, and does one at a time: an idle connection is in nobody's way. */
struct admin_thread {
    struct admin *admin;           /* borrows */
    const struct admin_door *door; /* borrows */
    pthread_t thread;
    struct admin_peer *peers[PEERS_MAX]; /* own; NULL: free */
};

struct admin {
    struct node *node;                              /* borrows */
    int stop_fd;                                    /* owns: an eventfd, written once */
    struct admin_door doors[2];                     /* operators, shops */
    struct admin_thread *threads[1 + SHOP_THREADS]; /* own */
    unsigned thread_count;
    pthread_mutex_t secrets_mutex;
    struct admin_secrets *secrets; /* owns; under secrets_mutex; NULL: no shops */
};

enum outcome { PARTIAL, ARRIVED, REFUSED, GONE };

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits until `fd` takes more. 0, -ETIMEDOUT at the deadline, or another negative errno. */
static int wait_for_room(int fd, uint64_t deadline_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    for (;;) {
        uint64_t now_ms = monotonic_ms();
        int ready = poll(&item, 1, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0);
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
        if (ready > 0) {
            return 0;
        }
        if (ready == 0) {
            return -ETIMEDOUT;
        }
    }
}

/* ---- one request -------------------------------------------------------------------------------
 */

/* What has been received of it so far; PARTIAL where more must come. */
static enum outcome examine(struct admin_peer *peer, struct http_head *head,
                            struct admin_answer *answer)
{
    enum refusal refusal = REFUSAL_NONE;
    enum http_head_status status = http_head_parse(peer->buffer, peer->length, head, &refusal);
    if (status == HTTP_HEAD_PARTIAL && peer->length < HEAD_BYTES_MAX) {
        return PARTIAL;
    }
    if (status == HTTP_HEAD_PARTIAL ||
        (status == HTTP_HEAD_COMPLETE && head->length > HEAD_BYTES_MAX)) {
        status = HTTP_HEAD_REFUSED;
        refusal = REFUSAL_HEAD_TOO_LARGE;
    }
    if (status == HTTP_HEAD_REFUSED) {
        admin_answer_problem(answer, refusal_status(refusal), refusal_name(refusal), "%s",
                             refusal_text(refusal));
        return REFUSED;
    }
    if (head->chunked) {
        /* RFC 9110 15.5.12: a length is asked for rather than a second framing kept in here */
        admin_answer_problem(answer, 411, "length_required",
                             "Transfer-Encoding is not taken here; send Content-Length");
        return REFUSED;
    }
    if (head->content_length > BODY_BYTES_MAX) {
        admin_answer_problem(answer, 413, "body_too_large", "a body may have %d bytes",
                             BODY_BYTES_MAX);
        return REFUSED;
    }
    if (peer->length >= head->length + (size_t)head->content_length) {
        return ARRIVED;
    }
    if (head->expect_continue && !peer->continued) {
        static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* RFC 9110 10.1.1 */
        peer->continued = true;
        if (send(peer->fd, interim, sizeof interim - 1, MSG_NOSIGNAL) !=
            (ssize_t)sizeof interim - 1) {
            return GONE;
        }
    }
    return PARTIAL;
}

/* Receives what is there. */
static enum outcome receive(struct admin_peer *peer, struct http_head *head,
                            struct admin_answer *answer)
{
    for (;;) {
        ssize_t got =
            recv(peer->fd, peer->buffer + peer->length, sizeof peer->buffer - peer->length, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return PARTIAL;
        }
        if (got <= 0) {
            return GONE;
        }
        peer->length += (size_t)got;
        enum outcome outcome = examine(peer, head, answer);
        if (outcome != PARTIAL) {
            return outcome;
        }
    }
}

static void cut_target(const struct http_head *head, struct admin_request *request)
{
    const struct http_text *target = &head->target;
    const char *mark = memchr(target->data, '?', target->length);
    request->path = *target;
    if (mark != NULL) {
        request->path.length = (size_t)(mark - target->data);
        request->query = (struct http_text){mark + 1, target->length - request->path.length - 1};
    }
}

/* Whose request it is; an operator's socket needs no secret but the right to open it. */
static void identify(struct admin_thread *thread, const struct http_head *head,
                     struct admin_request *request)
{
    struct admin *admin = thread->admin;
    struct http_text secret;
    request->is_operator = thread->door->is_operator;
    if (request->is_operator || !http_bearer(head, &secret)) {
        return;
    }
    pthread_mutex_lock(&admin->secrets_mutex);
    const char *issuer = admin_secrets_find(admin->secrets, secret);
    pthread_mutex_unlock(&admin->secrets_mutex);
    if (issuer != NULL) {
        (void)snprintf(request->shop, sizeof request->shop, "%s", issuer);
    }
}

/* ---- one answer --------------------------------------------------------------------------------
 */

static int send_all(int fd, const char *data, size_t length, int flags, uint64_t deadline_ms)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | flags);
        if (sent >= 0) {
            data += sent;
            length -= (size_t)sent;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        int failure = wait_for_room(fd, deadline_ms);
        if (failure != 0) {
            return failure;
        }
    }
    return 0;
}

static void send_answer(int fd, const struct admin_answer *answer)
{
    char head[512];
    char retry[48] = "";
    if (answer->retry_after_s != 0) {
        (void)snprintf(retry, sizeof retry, "Retry-After: %u\r\n", answer->retry_after_s);
    }
    int length =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %u %s\r\nContent-Type: application/%sjson\r\nContent-Length: %zu\r\n"
                 "Cache-Control: no-store\r\nConnection: close\r\n%s%s%s%s%s\r\n",
                 answer->status, admin_status_phrase(answer->status),
                 answer->problem ? "problem+" : "", answer->length, retry,
                 answer->challenge ? "WWW-Authenticate: Bearer realm=\"tollgate\"\r\n" : "",
                 answer->allow != NULL ? "Allow: " : "", answer->allow != NULL ? answer->allow : "",
                 answer->allow != NULL ? "\r\n" : "");
    check(length > 0 && (size_t)length < sizeof head);
    uint64_t deadline_ms = monotonic_ms() + WRITE_DEADLINE_MS;
    int failure = send_all(fd, head, (size_t)length, MSG_MORE, deadline_ms);
    if (failure == 0) {
        failure = send_all(fd, answer->body, answer->length, 0, deadline_ms);
    }
    if (failure != 0) {
        log_debug("admin: the answer could not be sent: %s", strerror(-failure));
    }
}

/* ---- many peers ---------------------------------------------------------------------------------
 */

static void peer_end(struct admin_peer **slot)
{
    (void)close((*slot)->fd);
    free(*slot);
    *slot = NULL;
}

static void serve(struct admin_thread *thread, struct admin_peer **slot)
{
    struct admin_peer *peer = *slot;
    struct admin_answer answer = {0};
    struct http_head head;
    enum outcome outcome = receive(peer, &head, &answer);
    if (outcome == PARTIAL) {
        return;
    }
    if (outcome == ARRIVED) {
        struct admin_request request = {
            .method = head.method,
            .body = {peer->buffer + head.length, (size_t)head.content_length}};
        cut_target(&head, &request);
        identify(thread, &head, &request);
        admin_route(thread->admin->node, &request, &answer);
    }
    if (outcome != GONE) {
        send_answer(peer->fd, &answer);
    }
    free(answer.body);
    peer_end(slot);
}

static void time_out(struct admin_peer **slot)
{
    struct admin_answer answer = {0};
    admin_answer_problem(&answer, 408, "request_timeout", "the request did not arrive within %d s",
                         READ_DEADLINE_MS / 1000);
    send_answer((*slot)->fd, &answer);
    free(answer.body);
    peer_end(slot);
}

/* A place for one more; where there is none, of the one that has been waited for the longest. */
static struct admin_peer **make_room(struct admin_thread *thread)
{
    struct admin_peer **oldest = &thread->peers[0];
    for (size_t i = 0; i < PEERS_MAX; i++) {
        struct admin_peer **slot = &thread->peers[i];
        if (*slot == NULL) {
            return slot;
        }
        if ((*slot)->deadline_ms < (*oldest)->deadline_ms) {
            oldest = slot;
        }
    }
    peer_end(oldest);
    return oldest;
}

static void accept_one(struct admin_thread *thread)
{
    int fd = accept4(thread->door->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            struct pollfd stop = {.fd = thread->admin->stop_fd, .events = POLLIN};
            log_warning("admin: accept: %s", strerror(errno));
            (void)poll(&stop, 1, ACCEPT_PAUSE_MS);
        }
        return;
    }
    struct admin_peer *peer =
        malloc(sizeof *peer); /* 74 KB, of which only what is used is touched */
    if (peer == NULL) {
        (void)close(fd);
        return;
    }
    peer->fd = fd;
    peer->length = 0;
    peer->continued = false;
    peer->deadline_ms = monotonic_ms() + READ_DEADLINE_MS;
    *make_room(thread) = peer;
}

/* Waits for what is next: a connection, bytes, a deadline. False: the stop. */
static bool wait_for_peers(struct admin_thread *thread, struct pollfd items[2 + PEERS_MAX])
{
    uint64_t now_ms = monotonic_ms();
    int wait_ms = -1;
    items[0] = (struct pollfd){.fd = thread->admin->stop_fd, .events = POLLIN};
    items[1] = (struct pollfd){.fd = thread->door->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < PEERS_MAX; i++) {
        const struct admin_peer *peer = thread->peers[i];
        items[2 + i] = (struct pollfd){.fd = peer != NULL ? peer->fd : -1, .events = POLLIN};
        if (peer == NULL) {
            continue;
        }
        int left_ms = peer->deadline_ms > now_ms ? (int)(peer->deadline_ms - now_ms) : 0;
        wait_ms = wait_ms < 0 || left_ms < wait_ms ? left_ms : wait_ms;
    }
    if (poll(items, 2 + PEERS_MAX, wait_ms) < 0) {
        for (size_t i = 0; i < 2 + PEERS_MAX; i++) {
            items[i].revents = 0;
        }
    }
    return items[0].revents == 0;
}

/* A request that has not arrived whole may be cut by a stop: nothing of it was done. */
static void *run(void *argument)
{
    struct admin_thread *thread = argument;
    struct pollfd items[2 + PEERS_MAX];
    while (wait_for_peers(thread, items)) {
        for (size_t i = 0; i < PEERS_MAX; i++) {
            struct admin_peer **slot = &thread->peers[i];
            if (*slot != NULL && items[2 + i].revents != 0) {
                serve(thread, slot);
            } else if (*slot != NULL && monotonic_ms() >= (*slot)->deadline_ms) {
                serve(thread, slot); /* it may have come while another was being done */
                if (*slot != NULL) {
                    time_out(slot);
                }
            }
        }
        if (items[1].revents != 0) {
            accept_one(thread);
        }
    }
    for (size_t i = 0; i < PEERS_MAX; i++) {
        if (thread->peers[i] != NULL) {
            peer_end(&thread->peers[i]);
        }
    }
    return NULL;
}

/* ---- starting and stopping ---------------------------------------------------------------------
 */

static int start_thread(struct admin *admin, const struct admin_door *door)
{
    struct admin_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        return -ENOMEM;
    }
    thread->admin = admin;
    thread->door = door;
    /* A signal to the node is the main thread's to take. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&thread->thread, NULL, run, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        free(thread);
        return -failure;
    }
    admin->threads[admin->thread_count++] = thread;
    return 0;
}

static int start_threads(struct admin *admin, char *error, size_t error_size)
{
    int failure = 0;
    admin->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (admin->stop_fd < 0) {
        failure = -errno;
    }
    if (failure == 0) {
        failure = start_thread(admin, &admin->doors[0]);
    }
    for (unsigned i = 0; failure == 0 && admin->doors[1].listen_fd >= 0 && i < SHOP_THREADS; i++) {
        failure = start_thread(admin, &admin->doors[1]);
    }
    if (failure != 0) {
        (void)snprintf(error, error_size, "start the admin threads: %s", strerror(-failure));
    }
    return failure;
}

int admin_start(struct admin **out, struct node *node, char *error, size_t error_size)
{
    *out = NULL;
    struct admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL) {
        (void)snprintf(error, error_size, "start the admin interface: no memory");
        return -ENOMEM;
    }
    admin->node = node;
    admin->stop_fd = -1;
    pthread_mutex_init(&admin->secrets_mutex, NULL);
    for (unsigned i = 0; i < 2; i++) {
        admin->doors[i].listen_fd = -1;
        admin->doors[i].address.sun_family = AF_UNIX;
    }
    bool has_shops = node->config->admin_listen[0] != '\0';
    int failure = admin_door_open_operators(&admin->doors[0], node->config, error, error_size);
    if (failure == 0 && has_shops) {
        failure = admin_secrets_load(&admin->secrets, node->config, error, error_size);
    }
    if (failure == 0 && has_shops) {
        failure = admin_door_open_shops(&admin->doors[1], node->config, error, error_size);
    }
    if (failure == 0) {
        failure = start_threads(admin, error, error_size);
    }
    if (failure != 0) {
        admin_stop(&admin);
        return failure;
    }
    *out = admin;
    return 0;
}

void admin_reload(struct admin *admin)
{
    char error[512];
    struct admin_secrets *fresh;
    struct admin_secrets *old;
    if (admin->doors[1].listen_fd < 0) {
        return;
    }
    if (admin_secrets_load(&fresh, admin->node->config, error, sizeof error) != 0) {
        log_error("the shops' secrets were not reloaded, those before stay in force: %s", error);
        return;
    }
    pthread_mutex_lock(&admin->secrets_mutex);
    old = admin->secrets;
    admin->secrets = fresh;
    pthread_mutex_unlock(&admin->secrets_mutex);
    admin_secrets_destroy(&old);
    log_info("reloaded the shops' secrets");
}

void admin_stop(struct admin **admin)
{
    struct admin *gone = *admin;
    if (gone == NULL) {
        return;
    }
    *admin = NULL;
    if (gone->stop_fd >= 0) {
        check(eventfd_write(gone->stop_fd, 1) == 0);
    }
    for (unsigned i = 0; i < gone->thread_count; i++) {
        (void)pthread_join(gone->threads[i]->thread, NULL);
        free(gone->threads[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        admin_door_close(&gone->doors[i]);
    }
    if (gone->stop_fd >= 0) {
        (void)close(gone->stop_fd);
    }
    admin_secrets_destroy(&gone->secrets);
    pthread_mutex_destroy(&gone->secrets_mutex);
    free(gone);
}
