/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface's socket and the HTTP on it: what is refused before any route is looked at,
 * clients that are slow or leave, and whose the socket is.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/admin/admin.h"
#include "tests/unit/admin/fixture.h"

static void expect_raw(const char *request, const char *status_line)
{
    char answer[4096];
    exchange_raw(request, answer, sizeof(answer));
    cr_assert(strncmp(answer, status_line, strlen(status_line)) == 0, "%.60s: %s", request, answer);
    cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"));
    cr_assert_not_null(strstr(answer, "\r\nDate: ")); /* RFC 9110 6.6.1 */
}

Test(admin, requests_that_are_no_small_http_1_1_are_refused)
{
    expect_raw("hello\r\n\r\n", "HTTP/1.1 400 ");
    expect_raw("GET /v1/health HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "); /* no Host */
    expect_raw("GET /v1/health HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 ");
    expect_raw("GET /v1/health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
               "HTTP/1.1 411 ");
    expect_raw("GET /v1/health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               "HTTP/1.1 200 "); /* as proxies translate it from HTTP/2 */
    expect_raw("PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               "HTTP/1.1 411 ");
    expect_raw("PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
               "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
               "HTTP/1.1 400 ");
    expect_raw("PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
               "Content-Length: 65537\r\n\r\n",
               "HTTP/1.1 413 ");
    char answer[4096];
    exchange_raw("DELETE /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n\r\n", answer,
                 sizeof(answer));
    cr_assert(strncmp(answer, "HTTP/1.1 405 ", 13) == 0, "%s", answer);
    cr_assert_not_null(strstr(answer, "\r\nAllow: GET, PUT\r\n"), "%s", answer);
    cr_assert_not_null(strstr(answer, "application/problem+json"), "%s", answer);
}

Test(admin, a_head_of_more_than_8_kib_is_431_and_one_of_8_kib_is_read)
{
    static const char start[] = "GET /v1/health HTTP/1.1\r\nHost: x\r\nX: ";
    char request[8192 + 2];
    for (size_t length = 8192; length <= 8193; length++) {
        memset(request, 'a', length);
        memcpy(request, start, sizeof(start) - 1);
        memcpy(request + length - 4, "\r\n\r\n", 5);
        expect_raw(request, length == 8192 ? "HTTP/1.1 200 " : "HTTP/1.1 431 ");
    }
}

Test(admin, a_body_may_come_in_pieces_and_after_100_continue)
{
    static const char head[] = "PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
                               "Expect: 100-continue\r\nContent-Length: 31\r\n\r\n";
    static const char body[] = "{\"bytes\":10,\"transaction\":\"t1\"}";
    cr_assert_eq(sizeof(body) - 1, 31);
    int fd = connect_raw();
    cr_assert_eq(send(fd, head, sizeof(head) - 1, 0), (ssize_t)sizeof(head) - 1);
    char answer[4096];
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    cr_assert_eq(recv(fd, answer, sizeof(interim) - 1, MSG_WAITALL), (ssize_t)sizeof(interim) - 1);
    cr_assert_eq(memcmp(answer, interim, sizeof(interim) - 1), 0);
    for (size_t i = 0; i < sizeof(body) - 1; i++) {
        cr_assert_eq(send(fd, body + i, 1, 0), 1);
    }
    read_raw(fd, answer, sizeof(answer));
    (void)close(fd);
    cr_assert(strncmp(answer, "HTTP/1.1 201 Created\r\n", 22) == 0, "%s", answer);
}

Test(admin, a_client_that_leaves_half_way_harms_nobody)
{
    int fd = connect_raw();
    cr_assert_gt(send(fd, "GET /v1/he", 10, 0), 0);
    (void)close(fd);
    fd = connect_raw(); /* leaves before the answer comes */
    static const char request[] = "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    cr_assert_gt(send(fd, request, sizeof(request) - 1, 0), 0);
    (void)close(fd);
    json_decref(admin_ask("GET", "/v1/health", NULL, 200));
}

Test(admin, a_stop_does_not_wait_for_a_request_that_does_not_come)
{
    int fd = connect_raw();
    cr_assert_gt(send(fd, "GET /v1/he", 10, 0), 0);
    admin_stop(&admin_served);
    char byte; /* at the request's own deadline it would be the first one of a 408 */
    cr_assert_leq(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
    cr_assert_eq(access(admin_socket, F_OK), -1);
}

Test(admin, the_socket_is_the_owners_alone_and_a_stale_one_is_replaced)
{
    struct stat status;
    cr_assert_eq(stat(admin_socket, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0600);
    admin_stop(&admin_served);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", admin_socket);
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    (void)close(stale);
    char error[512];
    cr_assert(admin_start(&admin_served, &admin_node, error, sizeof(error)) == 0, "%s", error);
    json_decref(admin_ask("GET", "/v1/health", NULL, 200));
}

Test(admin, somebodys_file_in_the_sockets_place_is_not_removed)
{
    admin_stop(&admin_served);
    FILE *file = fopen(admin_socket, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    char error[512];
    cr_assert_eq(admin_start(&admin_served, &admin_node, error, sizeof(error)), -EEXIST);
    cr_assert_not_null(strstr(error, "move it away"), "%s", error);
    cr_assert_eq(access(admin_socket, F_OK), 0);
}
