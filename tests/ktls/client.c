/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client for the machine that run.sh boots: downloads over TLS, counts the body bytes that it
 * decrypts, and resets the connection. The count that it prints includes the body bytes that only
 * its kernel had received.
 *
 *   ktls-client PORT TARGET 1.2|1.3 BYTES KEY_UPDATES
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int fd;
static SSL *ssl;
static BIO *received, *sent;
static unsigned long long body;

static void flush(void)
{
    char *data;
    long length = BIO_get_mem_data(sent, &data);
    if (length > 0)
        (void)send(fd, data, (size_t)length, MSG_NOSIGNAL);
    (void)BIO_reset(sent);
}

/* Decrypts the data and counts the bytes that follow the head. */
static void feed(const char *data, size_t length)
{
    static char plain[16385];
    static int in_body;
    int got;
    BIO_write(received, data, (int)length);
    while ((got = SSL_read(ssl, plain, sizeof(plain) - 1)) > 0) {
        plain[got] = '\0';
        const char *end = in_body ? NULL : strstr(plain, "\r\n\r\n");
        if (in_body)
            body += (unsigned long long)got;
        else if (end != NULL)
            body += (unsigned long long)(plain + got - (end + 4));
        in_body = in_body || end != NULL;
    }
    flush();
}

int main(int count, char **words)
{
    static char data[4 << 20];
    if (count != 6)
        return 64;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(words[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int version = strcmp(words[3], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    unsigned long long wanted = strtoull(words[4], NULL, 10);
    struct timeval deadline = {.tv_sec = 10};
    int buffer_size = 65536, have = -1, had = -2;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof(buffer_size));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
    ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || SSL_connect(ssl) != 1)
        return 69;
    received = BIO_new(BIO_s_mem());
    sent = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(received, -1);
    SSL_set0_rbio(ssl, received);
    SSL_set0_wbio(ssl, sent);
    int length =
        snprintf(data, sizeof(data), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", words[2]);
    SSL_write(ssl, data, length);
    flush();
    for (int i = 0; i < atoi(words[5]); i++) {
        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(ssl);
        flush();
    }
    while (body < wanted) {
        ssize_t got = recv(fd, data, 16384, 0);
        if (got <= 0)
            break;
        feed(data, (size_t)got);
    }
    /* Waits until nothing more comes and all is acknowledged. The bytes stay in the kernel, so that
     * it has no room to take more. */
    while (have != had) {
        had = have;
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        ioctl(fd, FIONREAD, &have);
    }
    ssize_t got = recv(fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
    if (got > 0)
        feed(data, (size_t)got);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    printf("%llu\n", body);
    return 0;
}
