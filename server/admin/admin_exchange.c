/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one call of the admin interface: receives and judges its request, which is bounded,
 * and sends its answer. Called by admin_peers.c. It neither waits nor knows any route, and it ends
 * no connection.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "server/admin/admin_peers_internal.h"
#include "server/base/check.h"
#include "server/http/http_content.h"
#include "server/http/http_fields.h"

#define SEND_TURN_BYTES 1048576

/* Judges what has been received of the request so far; ADMIN_PARTIAL where more must come. */
static enum admin_arrival examine(struct admin_peer *peer, struct http_head *head)
{
    struct admin_answer *answer = &peer->call.answer;
    enum refusal refusal = REFUSAL_NONE;
    enum http_head_status status = http_head_parse(peer->buffer, peer->length, head, &refusal);
    if (status == HTTP_HEAD_COMPLETE) {
        status = http_content_skip(peer->buffer, peer->length, head, &refusal);
    }
    if (status == HTTP_HEAD_PARTIAL && peer->length < ADMIN_HEAD_BYTES_MAX) {
        return ADMIN_PARTIAL;
    }
    if (status == HTTP_HEAD_PARTIAL ||
        (status == HTTP_HEAD_COMPLETE && head->length > ADMIN_HEAD_BYTES_MAX)) {
        status = HTTP_HEAD_REFUSED;
        refusal = REFUSAL_HEAD_TOO_LARGE;
    }
    if (status == HTTP_HEAD_REFUSED) {
        admin_answer_refusal(answer, refusal_status(refusal), refusal, NULL, "%s",
                             refusal_text(refusal));
        return ADMIN_REFUSED;
    }
    if (head->chunked && head->has_body) {
        /* RFC 9110 15.5.12: 411 asks for a length, which spares a second framing here. */
        admin_answer_problem(answer, ADMIN_LENGTH_REQUIRED, NULL,
                             "Transfer-Encoding is not supported here; send Content-Length");
        return ADMIN_REFUSED;
    }
    if (head->content_length > ADMIN_BODY_BYTES_MAX) {
        admin_answer_problem(answer, ADMIN_BODY_TOO_LARGE, NULL, "a body may have %d bytes at most",
                             ADMIN_BODY_BYTES_MAX);
        return ADMIN_REFUSED;
    }
    if (peer->length >= head->length + (size_t)head->content_length) {
        return ADMIN_ARRIVED;
    }
    if (head->expect_continue && !peer->continued) {
        static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n"; /* RFC 9110 10.1.1 */
        peer->continued = true;
        if (send(peer->fd, interim, sizeof(interim) - 1, MSG_NOSIGNAL) !=
            (ssize_t)sizeof(interim) - 1) {
            return ADMIN_GONE;
        }
    }
    return ADMIN_PARTIAL;
}

enum admin_arrival admin_peer_receive(struct admin_peer *peer, struct http_head *head)
{
    for (;;) {
        ssize_t got =
            recv(peer->fd, peer->buffer + peer->length, sizeof(peer->buffer) - peer->length, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return ADMIN_PARTIAL;
        }
        if (got <= 0) {
            return ADMIN_GONE;
        }
        peer->length += (size_t)got;
        enum admin_arrival outcome = examine(peer, head);
        if (outcome != ADMIN_PARTIAL) {
            return outcome;
        }
    }
}

void admin_peer_read_request(struct admin_peers *peers, struct admin_peer *peer,
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
        admin_shops_identify(peers->shops, secret, request->shop);
    }
}

void admin_peer_write_head(struct admin_peer *peer)
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

int admin_peer_send_some(struct admin_peer *peer)
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
