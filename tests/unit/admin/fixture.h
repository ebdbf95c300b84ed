/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the admin interface share. Each test of the suite admin has a real ledger, a
 * real redis-server and the interface on a real socket, in a temporary directory; no worker serves
 * files. Used by tests/unit/admin/ and by the tests of the commands that ask a node.
 */
#ifndef TOLLGATE_TESTS_ADMIN_FIXTURE_H
#define TOLLGATE_TESTS_ADMIN_FIXTURE_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "server/delivery/node.h"

struct admin;
struct redis_child;

extern char admin_socket[96];
extern char admin_state_dir[64];
extern char admin_printed[8192]; /* what the last admin_run printed */
extern struct node admin_node;
extern struct redis_child *admin_redis;
extern struct admin *admin_served;

/* Waits until the ledger has replayed to a Redis, or (`wanted` false) has lost it. */
void await_redis(bool wanted);

/* Sends a request and expects the status. The caller owns the answer (json_decref). */
json_t *admin_ask(const char *method, const char *target, const char *body, unsigned expected);
void expect_number(const json_t *answer, const char *member, json_int_t expected);
void expect_text(const json_t *answer, const char *member, const char *expected);
/* Sends a request and expects this status and reason. */
void expect_refusal(const char *method, const char *target, const char *body, unsigned status,
                    const char *reason);
/* Opens shop/alice with this body. */
void open_account(const char *body);
/* Bills bytes of a file to shop/alice, as a download would. */
void deliver(const char *path, size_t length, uint64_t bytes);

int connect_raw(void);
/* Sends a whole request and leaves the answer in the socket. */
int send_raw(const char *request);
/* Reads everything until the server closes. */
void read_raw(int fd, char *out, size_t size);
void exchange_raw(const char *request, char *out, size_t size);

/* Runs a command as the dispatcher would, with --socket. admin_printed gets its output. */
int admin_run(int (*command)(int argc, char **argv), const char *name, const char *line);
void expect_printed(const char *text);

#endif
