/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's connection, its handshake, and the reading of answers. TLS_AES_128_GCM_SHA256 is its
 * only cipher, as in bench/compare.sh: another one would take other instructions. exchange.c calls
 * it; nothing here is counted.
 */
#include "bench/micro/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/check.h"

static int client = -1;
static SSL *session;  /* NULL: plain */
static size_t wanted; /* bytes of the answer still to come; SIZE_MAX: its head, too */
static char answer[16384], request[8192];
static size_t answer_size;

static SSL *session_create(void)
{
    static SSL_CTX *context; /* never freed */
    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
        check(context != NULL && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1);
    }
    SSL *created = SSL_new(context);
    check(created != NULL && SSL_set_fd(created, client) == 1);
    SSL_set_connect_state(created);
    return created;
}

void micro_client_connect(int listen_fd, bool tls)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    SSL_free(session);
    session = NULL;
    if (client >= 0)
        close(client);
    check(getsockname(listen_fd, (struct sockaddr *)&address, &size) == 0);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(client >= 0 && connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
    check(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    if (tls)
        session = session_create();
}

/* Checks that a call of OpenSSL, which did not do all, can go on once more bytes have come. */
static void check_waits(int result)
{
    if (SSL_get_error(session, result) == SSL_ERROR_WANT_READ)
        return;
    ERR_print_errors_fp(stderr);
    abort();
}

bool micro_client_is_ready(void)
{
    if (session == NULL)
        return true;
    ERR_clear_error(); /* the queue is the thread's, and so the worker's, too */
    int result = SSL_do_handshake(session);
    if (result != 1)
        check_waits(result);
    return result == 1;
}

void micro_client_ask(const char *target, const char *fields)
{
    int length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n",
                          target, fields);
    check(length > 0 && (size_t)length < sizeof(request));
    if (session != NULL) {
        ERR_clear_error();
        check(SSL_write(session, request, length) == length);
    } else {
        check(send(client, request, (size_t)length, 0) == length);
    }
    wanted = SIZE_MAX;
    answer_size = 0;
}

/* Returns how many bytes it has read; 0: none has come. */
static size_t receive(char *out, size_t size)
{
    if (session == NULL) {
        ssize_t got = recv(client, out, size, 0);
        check(got > 0 || (got < 0 && errno == EAGAIN));
        return got > 0 ? (size_t)got : 0;
    }
    size_t got = 0;
    ERR_clear_error();
    int result = SSL_read_ex(session, out, size, &got);
    if (result != 1)
        check_waits(result);
    return got;
}

bool micro_client_read(void)
{
    for (;;) {
        size_t got = receive(answer + answer_size, sizeof(answer) - 1 - answer_size);
        if (got == 0)
            return false;
        if (wanted != SIZE_MAX) {
            check(got <= wanted);
            wanted -= got;
        } else {
            answer_size += got;
            answer[answer_size] = '\0';
            char *end = strstr(answer, "\r\n\r\n");
            if (end == NULL)
                continue;
            if (strncmp(answer, "HTTP/1.1 20", 11) != 0) {
                fprintf(stderr, "%s", answer);
                abort();
            }
            char *length = strstr(answer, "Content-Length: ");
            check(length != NULL && length < end);
            wanted = strtoul(length + 16, NULL, 10) - (answer_size - (size_t)(end + 4 - answer));
            answer_size = 0;
        }
        if (wanted == 0)
            return true;
    }
}
