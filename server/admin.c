/*
 * The admin interface's socket and thread: accepts one connection at a time, reads one bounded
 * request, sends one answer, closes. Started and stopped by node.c. What a request means is
 * admin_routes.c's; no worker ever waits for this thread.
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
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/admin_internal.h"
#include "server/check.h"
#include "server/log.h"

#define HEAD_BYTES_MAX    8192
#define BODY_BYTES_MAX    65536
#define BACKLOG           16
#define READ_DEADLINE_MS  5000
#define WRITE_DEADLINE_MS 5000
#define ACCEPT_PAUSE_MS                                                                            \
    100 /* where descriptors have run out: trying at once would only burn the core */

struct admin {
    struct node *node; /* borrows */
    pthread_t thread;
    int listen_fd; /* owns */
    int stop_fd;   /* owns: an eventfd, written once */
    struct sockaddr_un address;
    char buffer[HEAD_BYTES_MAX + BODY_BYTES_MAX];
};

enum outcome { ARRIVED, REFUSED, GONE };

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for `events` on `fd`. 0, -ETIMEDOUT at the deadline, -ECANCELED where `stop_fd` (-1: none)
 * is set. */
static int wait_for(int fd, short events, int stop_fd, uint64_t deadline_ms)
{
    struct pollfd items[2] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
    for (;;) {
        uint64_t now_ms = monotonic_ms();
        int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
        int ready = poll(items, 2, left_ms);
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
        if (ready > 0) {
            return items[1].revents != 0 ? -ECANCELED : 0;
        }
        if (ready == 0) {
            return -ETIMEDOUT;
        }
    }
}

/* ---- one request -------------------------------------------------------------------------------
 */

/* Receives more into the buffer, up to `limit` bytes in all. 0 or a negative errno. */
static int receive(struct admin *admin, int fd, size_t *length, size_t limit, uint64_t deadline_ms)
{
    for (;;) {
        ssize_t got = recv(fd, admin->buffer + *length, limit - *length, 0);
        if (got > 0) {
            *length += (size_t)got;
            return 0;
        }
        if (got == 0) {
            return -ECONNRESET;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        /* A request that has not arrived whole yet may be cut by a stop: nothing of it was done. */
        int failure = wait_for(fd, POLLIN, admin->stop_fd, deadline_ms);
        if (failure != 0) {
            return failure;
        }
    }
}

static enum outcome give_up(int failure, struct admin_answer *answer)
{
    if (failure != -ETIMEDOUT) {
        return GONE;
    }
    admin_answer_problem(answer, 408, "request_timeout", "the request did not arrive within %d s",
                         READ_DEADLINE_MS / 1000);
    return REFUSED;
}

static enum outcome read_head(struct admin *admin, int fd, struct http_head *head, size_t *length,
                              uint64_t deadline_ms, struct admin_answer *answer)
{
    enum refusal refusal = REFUSAL_NONE;
    enum http_head_status status = HTTP_HEAD_PARTIAL;
    while (status == HTTP_HEAD_PARTIAL && *length < HEAD_BYTES_MAX) {
        int failure = receive(admin, fd, length, HEAD_BYTES_MAX, deadline_ms);
        if (failure != 0) {
            return give_up(failure, answer);
        }
        status = http_head_parse(admin->buffer, *length, head, &refusal);
    }
    if (status == HTTP_HEAD_PARTIAL) {
        refusal = REFUSAL_HEAD_TOO_LARGE;
    }
    if (status != HTTP_HEAD_COMPLETE) {
        admin_answer_problem(answer, refusal_status(refusal), refusal_name(refusal), "%s",
                             refusal_text(refusal));
        return REFUSED;
    }
    return ARRIVED;
}

static enum outcome read_body(struct admin *admin, int fd, const struct http_head *head,
                              size_t length, uint64_t deadline_ms, struct admin_answer *answer)
{
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
    size_t whole = head->length + (size_t)head->content_length;
    if (head->expect_continue && length < whole) {
        static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* RFC 9110 10.1.1 */
        if (send(fd, interim, sizeof interim - 1, MSG_NOSIGNAL) != (ssize_t)sizeof interim - 1) {
            return GONE;
        }
    }
    while (length < whole) {
        int failure = receive(admin, fd, &length, whole, deadline_ms);
        if (failure != 0) {
            return give_up(failure, answer);
        }
    }
    return ARRIVED;
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

static enum outcome read_request(struct admin *admin, int fd, struct admin_request *request,
                                 struct admin_answer *answer)
{
    uint64_t deadline_ms = monotonic_ms() + READ_DEADLINE_MS;
    struct http_head head;
    size_t length = 0;
    enum outcome outcome = read_head(admin, fd, &head, &length, deadline_ms, answer);
    if (outcome == ARRIVED) {
        outcome = read_body(admin, fd, &head, length, deadline_ms, answer);
    }
    if (outcome == ARRIVED) {
        *request = (struct admin_request){
            .method = head.method,
            .body = {admin->buffer + head.length, (size_t)head.content_length}};
        cut_target(&head, request);
    }
    return outcome;
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
        int failure = wait_for(fd, POLLOUT, -1, deadline_ms);
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
    int length = snprintf(
        head, sizeof head,
        "HTTP/1.1 %u %s\r\nContent-Type: application/%sjson\r\nContent-Length: %zu\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n%s%s%s%s\r\n",
        answer->status, admin_status_phrase(answer->status), answer->problem ? "problem+" : "",
        answer->length, retry, answer->allow != NULL ? "Allow: " : "",
        answer->allow != NULL ? answer->allow : "", answer->allow != NULL ? "\r\n" : "");
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

static void serve_one(struct admin *admin, int fd)
{
    struct admin_request request;
    struct admin_answer answer = {0};
    enum outcome outcome = read_request(admin, fd, &request, &answer);
    if (outcome == ARRIVED) {
        admin_route(admin->node, &request, &answer);
    }
    if (outcome != GONE) {
        send_answer(fd, &answer);
    }
    free(answer.body);
    (void)close(fd);
}

static void *run(void *argument)
{
    struct admin *admin = argument;
    struct pollfd items[2] = {{.fd = admin->listen_fd, .events = POLLIN},
                              {.fd = admin->stop_fd, .events = POLLIN}};
    for (;;) {
        int ready = poll(items, 2, -1);
        if (ready > 0 && items[1].revents != 0) {
            return NULL;
        }
        if (ready <= 0) {
            continue;
        }
        int fd = accept4(admin->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            serve_one(admin, fd);
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_warning("admin: accept: %s", strerror(errno));
            (void)poll(&items[1], 1, ACCEPT_PAUSE_MS);
        }
    }
}

/* ---- starting and stopping ---------------------------------------------------------------------
 */

/* Removes what a killed node left. Anything but a socket is somebody's file and stays. */
static int remove_stale(const char *path)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return -EEXIST;
    }
    return unlink(path) == 0 ? 0 : -errno;
}

static int open_socket(struct admin *admin)
{
    int failure = remove_stale(admin->address.sun_path);
    if (failure != 0) {
        return failure;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* Before bind: Linux gives the mode to the name, which is thus never open to others. */
    if (fchmod(fd, 0600) != 0 ||
        bind(fd, (const struct sockaddr *)&admin->address, sizeof admin->address) != 0) {
        failure = -errno;
        (void)close(fd);
        return failure;
    }
    if (chmod(admin->address.sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        failure = -errno;
        (void)close(fd);
        (void)unlink(admin->address.sun_path);
        return failure;
    }
    admin->listen_fd = fd;
    return 0;
}

static int start_thread(struct admin *admin)
{
    admin->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (admin->stop_fd < 0) {
        return -errno;
    }
    /* A signal to the node is the main thread's to take. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&admin->thread, NULL, run, admin);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        (void)close(admin->stop_fd);
    }
    return -failure;
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
    admin->address.sun_family = AF_UNIX;
    int failure =
        config_admin_socket(node->config, admin->address.sun_path, sizeof admin->address.sun_path);
    if (failure == 0) {
        failure = open_socket(admin);
    }
    if (failure != 0) {
        (void)snprintf(error, error_size, "listen on %s/admin.sock: %s; %s",
                       node->config->state_dir, strerror(-failure),
                       failure == -EEXIST         ? "this is no socket, move it away"
                       : failure == -ENAMETOOLONG ? "choose a shorter state_dir"
                                                  : "let this user own the state directory");
        free(admin);
        return failure;
    }
    failure = start_thread(admin);
    if (failure != 0) {
        (void)snprintf(error, error_size, "start the admin thread: %s", strerror(-failure));
        (void)close(admin->listen_fd);
        (void)unlink(admin->address.sun_path);
        free(admin);
        return failure;
    }
    *out = admin;
    return 0;
}

void admin_stop(struct admin **admin)
{
    struct admin *gone = *admin;
    if (gone == NULL) {
        return;
    }
    *admin = NULL;
    check(eventfd_write(gone->stop_fd, 1) == 0);
    (void)pthread_join(gone->thread, NULL);
    (void)unlink(gone->address.sun_path);
    (void)close(gone->listen_fd);
    (void)close(gone->stop_fd);
    free(gone);
}
