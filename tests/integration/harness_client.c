/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness's clients: libcurl does what real clients do, a bare socket does what they should
 * not. It also judges answers. The tests call it. A failed connection is an answer of status 0,
 * which the test judges.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"

/* ---- bytes that grow ---- */

struct buffer {
    char *data;
    size_t length, size;
};

static void buffer_add(struct buffer *buffer, const void *bytes, size_t length)
{
    if (buffer->length + length + 1 > buffer->size) {
        buffer->size = 2 * (buffer->length + length) + 1024;
        buffer->data = realloc(buffer->data, buffer->size);
        cr_assert(buffer->data);
    }
    memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

/* ---- answers ---- */

const char *answer_header(struct site *site, const struct answer *answer, const char *name)
{
    const char *found = NULL;
    size_t name_length = strlen(name);
    for (const char *line = answer->head; line != NULL && *line; line = strstr(line, "\r\n") + 2) {
        const char *end = strstr(line, "\r\n");
        if (end == NULL)
            break;
        if (strncasecmp(line, name, name_length) != 0 || line[name_length] != ':')
            continue;
        cr_assert_null(found, "two headers %s in: %s", name, answer->head);
        const char *value = line + name_length + 1;
        value += strspn(value, " \t");
        found = site_format(site, "%.*s", (int)(end - value), value);
    }
    return found;
}

uint64_t answer_header_number(struct site *site, const struct answer *answer, const char *name)
{
    const char *text = answer_header(site, answer, name);
    cr_assert(text, "no header %s in: %s", name, answer->head);
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    cr_assert(*text && !*end, "%s: %s is not a number", name, text);
    return number;
}

const char *answer_reason(struct site *site, const struct answer *answer)
{
    const char *type = answer_header(site, answer, "Content-Type");
    cr_assert(type != NULL && strncmp(type, "application/problem+json", 24) == 0,
              "status %u with Content-Type %s", answer->status, type != NULL ? type : "(none)");
    json_error_t error;
    json_t *root =
        json_loadb((const char *)answer->body, answer->body_length, JSON_REJECT_DUPLICATES, &error);
    cr_assert(root, "the problem is not JSON: %s", error.text);
    const json_t *status = json_object_get(root, "status");
    cr_assert_eq((unsigned)json_integer_value(status), answer->status,
                 "the body's status is not that of the answer");
    const char *text = json_string_value(json_object_get(root, "reason"));
    cr_assert(text, "the problem has no reason: %s", (const char *)answer->body);
    const char *reason = site_format(site, "%s", text);
    json_decref(root);
    return reason;
}

void answer_expect_refusal(struct site *site, const struct answer *answer, unsigned status,
                           const char *reason)
{
    cr_assert_eq(answer->status, status, "status %u in place of %u %s: %s%s", answer->status,
                 status, reason, answer->head != NULL ? answer->head : "(no answer)",
                 answer->body != NULL ? (const char *)answer->body : "");
    cr_assert(answer->complete, "the refusal's body is cut");
    const char *got = answer_reason(site, answer);
    cr_assert_str_eq(got, reason, "reason %s in place of %s", got, reason);
}

void answer_expect_bytes(struct site *site, const struct answer *answer, const char *path,
                         size_t first, size_t length)
{
    size_t size;
    const unsigned char *bytes = site_media_bytes(site, path, &size);
    cr_assert(first + length <= size);
    cr_assert(answer->complete, "the body is cut at %zu of %zu", answer->body_length, length);
    cr_assert_eq(answer->body_length, length, "%zu bytes in place of %zu: %s%.400s",
                 answer->body_length, length, answer->head, (const char *)answer->body);
    cr_assert(memcmp(answer->body, bytes + first, length) == 0, "the bytes are not the file's");
}

void answer_expect_file(struct site *site, const struct answer *answer, const char *path)
{
    size_t size;
    site_media_bytes(site, path, &size);
    cr_assert_eq(answer->status, 200, "status %u: %s%s", answer->status,
                 answer->head != NULL ? answer->head : "(no answer)",
                 answer->body != NULL ? (const char *)answer->body : "");
    answer_expect_bytes(site, answer, path, 0, size);
}

/* ---- libcurl ---- */

struct transfer {
    CURL *easy;
    struct buffer head, body;
    struct curl_slist *headers, *connect_to;
};

static size_t on_head(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    if (size * count >= 5 && memcmp(data, "HTTP/", 5) == 0)
        transfer->head.length = 0; /* the head before was a 100 */
    buffer_add(&transfer->head, data, size * count);
    return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    buffer_add(&transfer->body, data, size * count);
    return size * count;
}

static void transfer_prepare(struct site *site, struct transfer *transfer, const char *target,
                             const struct fetch_options *options)
{
    CURL *easy = transfer->easy;
    if (options->tls) {
        const char *to = site_format(site, "::127.0.0.1:%u", site->port_tls);
        transfer->connect_to = curl_slist_append(NULL, to);
        curl_easy_setopt(easy, CURLOPT_URL, site_format(site, "https://media.example%s", target));
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer->connect_to);
        curl_easy_setopt(easy, CURLOPT_CAINFO,
                         site_format(site, "%s/certificates/media.example.pem", site->directory));
    } else {
        curl_easy_setopt(easy, CURLOPT_URL,
                         site_format(site, "http://127.0.0.1:%u%s", site->port, target));
    }
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)HARNESS_DEADLINE_MS);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    if (options->method != NULL && strcmp(options->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (options->method != NULL)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, options->method);
    curl_easy_setopt(easy, CURLOPT_RANGE, options->range);
    curl_easy_setopt(easy, CURLOPT_INTERFACE, options->source);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, options->fresh ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, options->fresh ? 1L : 0L);
    for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++)
        transfer->headers = curl_slist_append(transfer->headers, options->headers[i]);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

static const struct answer *transfer_finish(struct site *site, struct transfer *transfer,
                                            CURLcode code)
{
    struct answer *answer = site_keep(site, calloc(1, sizeof(*answer)));
    long status = 0, connects = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (transfer->body.data == NULL)
        buffer_add(&transfer->body, "", 0);
    answer->status = (unsigned)status;
    answer->head = transfer->head.data != NULL ? site_keep(site, transfer->head.data) : NULL;
    answer->body = site_keep(site, transfer->body.data);
    answer->body_length = transfer->body.length;
    answer->complete = code == CURLE_OK;
    answer->reused = connects == 0;
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->connect_to);
    return answer;
}

const struct answer *fetch_with(struct site *site, const char *target,
                                const struct fetch_options *options)
{
    struct transfer transfer = {.easy = site->curl};
    curl_easy_reset(site->curl);
    transfer_prepare(site, &transfer, target, options);
    return transfer_finish(site, &transfer, curl_easy_perform(site->curl));
}

const struct answer *site_admin(struct site *site, const char *method, const char *path,
                                const char *body)
{
    struct transfer transfer = {.easy = curl_easy_init()};
    cr_assert(transfer.easy);
    transfer_prepare(site, &transfer, path, &(struct fetch_options){.method = method});
    curl_easy_setopt(transfer.easy, CURLOPT_UNIX_SOCKET_PATH,
                     site_format(site, "%s/admin.sock", site->state_dir));
    if (body != NULL)
        curl_easy_setopt(transfer.easy, CURLOPT_POSTFIELDS, body);
    const struct answer *answer =
        transfer_finish(site, &transfer, curl_easy_perform(transfer.easy));
    curl_easy_cleanup(transfer.easy);
    return answer;
}

uint64_t site_traffic(struct site *site, const char *name)
{
    const struct answer *answer = site_admin(site, "GET", "/v1/health", NULL);
    json_t *health = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    const json_t *value = json_object_get(json_object_get(health, "traffic"), name);
    cr_assert(json_is_integer(value), "health has no %s", name);
    uint64_t number = (uint64_t)json_integer_value(value);
    json_decref(health);
    return number;
}

const struct answer *site_shop(struct site *site, const char *secret, const char *method,
                               const char *path, const char *body)
{
    struct transfer transfer = {.easy = curl_easy_init()};
    cr_assert(transfer.easy);
    const char *line =
        secret != NULL ? site_format(site, "Authorization: Bearer %s", secret) : NULL;
    transfer_prepare(
        site, &transfer, path,
        &(struct fetch_options){.method = method, .headers = line != NULL ? HEADERS(line) : NULL});
    curl_easy_setopt(transfer.easy, CURLOPT_URL,
                     site_format(site, "http://127.0.0.1:%u%s", site->port_shops, path));
    if (body != NULL)
        curl_easy_setopt(transfer.easy, CURLOPT_POSTFIELDS, body);
    const struct answer *answer =
        transfer_finish(site, &transfer, curl_easy_perform(transfer.easy));
    curl_easy_cleanup(transfer.easy);
    return answer;
}

void fetch_parallel(struct site *site, const char *const *targets,
                    const struct fetch_options *options, size_t count,
                    const struct answer **answers)
{
    CURLM *multi = curl_multi_init();
    struct transfer *transfers = site_keep(site, calloc(count, sizeof(*transfers)));
    CURLcode *codes = site_keep(site, calloc(count, sizeof(*codes)));
    cr_assert(multi);
    for (size_t i = 0; i < count; i++) {
        struct fetch_options alone = options[i];
        alone.fresh = true;
        transfers[i].easy = curl_easy_init();
        codes[i] = CURLE_RECV_ERROR; /* until libcurl says that it is done */
        transfer_prepare(site, &transfers[i], targets[i], &alone);
        curl_multi_add_handle(multi, transfers[i].easy);
    }
    for (int running = 1; running > 0;) {
        cr_assert_eq(curl_multi_perform(multi, &running), CURLM_OK);
        if (running > 0)
            cr_assert_eq(curl_multi_poll(multi, NULL, 0, 1000, NULL), CURLM_OK);
    }
    int left = 0;
    for (CURLMsg *message = curl_multi_info_read(multi, &left); message != NULL;
         message = curl_multi_info_read(multi, &left)) {
        for (size_t i = 0; i < count; i++) {
            if (transfers[i].easy == message->easy_handle)
                codes[i] = message->data.result;
        }
    }
    for (size_t i = 0; i < count; i++) {
        answers[i] = transfer_finish(site, &transfers[i], codes[i]);
        curl_multi_remove_handle(multi, transfers[i].easy);
        curl_easy_cleanup(transfers[i].easy);
    }
    curl_multi_cleanup(multi);
}

/* ---- a bare socket ---- */

static int connect_to(unsigned port, int receive_buffer_bytes)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    if (receive_buffer_bytes > 0)
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
                                sizeof(receive_buffer_bytes)),
                     0);
    struct timeval deadline = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "connect: %s",
                 strerrordesc_np(errno));
    return fd;
}

int raw_connect(struct site *site, int receive_buffer_bytes)
{
    return connect_to(site->port, receive_buffer_bytes);
}

int raw_connect_tls(struct site *site, int receive_buffer_bytes)
{
    return connect_to(site->port_tls, receive_buffer_bytes);
}

void raw_send(int fd, const void *bytes, size_t length)
{
    const char *from = bytes;
    while (length > 0) {
        ssize_t sent = send(fd, from, length, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* the peer may refuse half way */
        cr_assert(sent > 0, "send: %s", strerrordesc_np(errno));
        from += sent;
        length -= (size_t)sent;
    }
}

void raw_print(int fd, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    cr_assert(length >= 0);
    raw_send(fd, text, (size_t)length);
    free(text);
}

size_t raw_read(int fd, void *into, size_t length)
{
    size_t have = 0;
    while (have < length) {
        ssize_t got = recv(fd, (char *)into + have, length - have, 0);
        cr_assert(got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK),
                  "nothing arrives any more; %zu of %zu bytes are here", have, length);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

uint64_t raw_drain(int fd)
{
    static char bytes[65536];
    uint64_t total = 0;
    for (;;) {
        size_t got = raw_read(fd, bytes, sizeof(bytes));
        total += got;
        if (got < sizeof(bytes))
            return total;
    }
}

const struct answer *raw_answer_head(struct site *site, int fd)
{
    struct answer *answer = site_keep(site, calloc(1, sizeof(*answer)));
    struct buffer head = {0};
    char byte;
    buffer_add(&head, "", 0);
    /* Byte by byte, because what follows the head must stay in the socket. */
    while (head.length < 4 || memcmp(head.data + head.length - 4, "\r\n\r\n", 4) != 0) {
        if (raw_read(fd, &byte, 1) != 1)
            break;
        buffer_add(&head, &byte, 1);
    }
    answer->head = site_keep(site, head.data);
    answer->body = (const unsigned char *)"";
    if (strncmp(head.data, "HTTP/1.", 7) == 0 && head.length > 12)
        answer->status = (unsigned)strtoul(head.data + 9, NULL, 10);
    return answer;
}

const struct answer *raw_answer(struct site *site, int fd, bool head_only)
{
    struct answer *answer = site_keep(site, calloc(1, sizeof(*answer)));
    *answer = *raw_answer_head(site, fd);
    answer->complete = answer->status != 0;
    if (answer->status == 0 || head_only || answer->status == 304 || answer->status == 204)
        return answer;
    size_t length = answer_header_number(site, answer, "Content-Length");
    unsigned char *body = site_keep(site, calloc(1, length + 1));
    answer->body_length = raw_read(fd, body, length);
    answer->body = body;
    answer->complete = answer->body_length == length;
    return answer;
}

const struct answer *raw_exchange(struct site *site, const void *bytes, size_t length)
{
    int fd = raw_connect(site, 0);
    raw_send(fd, bytes, length);
    const struct answer *answer = raw_answer(site, fd, false);
    close(fd);
    return answer;
}

void raw_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(fd);
}

bool raw_is_closed_by_peer(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLRDHUP};
    return poll(&poller, 1, HARNESS_DEADLINE_MS) == 1 &&
           (poller.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}
