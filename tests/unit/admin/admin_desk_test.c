/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that wait for Redis: health waits for none of them, and those beyond the bound are refused
 * at once. Redis is stopped by a signal, so no time is measured.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/command/admin_client.h"
#include "server/command/cli.h"
#include "server/command/server.h"
#include "server/redis/redis_child.h"
#include "tests/unit/admin/fixture.h"

static int send_top_up(unsigned number)
{
    char body[96], request[320];
    int length = snprintf(body, sizeof(body), "{\"bytes\":1,\"transaction\":\"burst-%u\"}", number);
    (void)snprintf(request, sizeof(request),
                   "POST /v1/accounts/shop/alice/top-up HTTP/1.1\r\nHost: x\r\n"
                   "Content-Length: %d\r\n\r\n%s",
                   length, body);
    return send_raw(request);
}

static bool is_answered(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) == 1;
}

/* No time is measured: health is answered while the requests before it are not. */
Test(admin, health_waits_for_no_call_and_no_client)
{
    enum { TOP_UPS = 40, IDLE = 300 };
    int top_ups[TOP_UPS], idle[IDLE];
    open_account("{\"bytes\":1000,\"transaction\":\"t1\"}");
    pid_t pid = redis_child_pid(admin_redis);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    for (unsigned i = 0; i < TOP_UPS; i++) {
        top_ups[i] = send_top_up(i);
    }
    struct admin_response response;
    for (unsigned i = 0; i < IDLE; i++) {
        idle[i] = i % 2 == 0 ? connect_raw() : send_raw("GET /v1/he");
        if (i % 100 == 99) {
            cr_assert_eq(admin_client_call(admin_socket, "GET", "/v1/health", NULL, &response), 0);
            cr_assert_not_null(strstr(response.body, "\"ready\":"), "%s", response.body);
            free(response.body);
            cr_assert(!is_answered(top_ups[0]), "health waited for a top-up");
        }
    }
    int code = admin_run(command_health, "tollgate health", "");
    cr_assert(code == EX_OK || code == CLI_EXIT_NO, "%d: %s", code, admin_printed);
    cr_assert_eq(kill(pid, SIGCONT), 0);
    unsigned done = 0;
    for (unsigned i = 0; i < TOP_UPS; i++) {
        char answer[2048];
        read_raw(top_ups[i], answer, sizeof(answer));
        (void)close(top_ups[i]);
        bool paid = strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
        cr_assert(paid || strncmp(answer, "HTTP/1.1 503 ", 13) == 0 ||
                      strncmp(answer, "HTTP/1.1 202 ", 13) == 0,
                  "%s", answer);
        done += paid;
    }
    cr_assert_gt(done, 0, "those that waited are done when Redis is back");
    for (unsigned i = 0; i < IDLE; i++) {
        (void)close(idle[i]);
    }
}

Test(admin, calls_beyond_the_bound_are_503_at_once_and_nothing_of_them_is_done)
{
    enum { MANY = 100 };
    int calls[MANY];
    unsigned refused = 0;
    open_account("{\"bytes\":0,\"transaction\":\"t1\"}");
    pid_t pid = redis_child_pid(admin_redis);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    for (unsigned i = 0; i < MANY; i++) {
        calls[i] = send_top_up(i);
    }
    char answer[2048];
    read_raw(calls[MANY - 1], answer, sizeof(answer));
    cr_assert(strncmp(answer, "HTTP/1.1 503 ", 13) == 0, "%s", answer);
    cr_assert_not_null(strstr(answer, "\r\nRetry-After: "), "%s", answer);
    cr_assert_not_null(strstr(answer, "\"calls_too_many\""), "%s", answer);
    cr_assert(!is_answered(calls[0]), "the bound was not what refused it");
    cr_assert_eq(kill(pid, SIGCONT), 0);
    unsigned paid = 0, open_end = 0;
    for (unsigned i = 0; i < MANY; i++) {
        if (i < MANY - 1) {
            read_raw(calls[i], answer, sizeof(answer));
        }
        (void)close(calls[i]);
        refused += strstr(answer, "calls_too_many") != NULL;
        paid += strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
        open_end += strncmp(answer, "HTTP/1.1 202 ", 13) == 0;
    }
    cr_assert_gt(refused, 0);
    cr_assert_lt(refused, MANY);
    json_t *account = admin_ask("GET", "/v1/accounts/shop/alice", NULL, 200);
    json_int_t balance = json_integer_value(json_object_get(account, "balance"));
    json_decref(account);
    cr_assert_geq(balance, paid);
    cr_assert_leq(balance, paid + open_end);
}
