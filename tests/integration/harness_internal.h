/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the harness's files share: the site's fields, its memory, and the start of a child process.
 * Tests include harness.h alone.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_HARNESS_INTERNAL_H
#define TOLLGATE_TESTS_INTEGRATION_HARNESS_INTERNAL_H

#include <curl/curl.h>

#include "tests/integration/harness.h"

#define SITE_ISS       "https://shop.example"
#define SITE_RIVAL_ISS "https://rival.example"

struct site {
    char directory[64];
    char config[96];
    char state_dir[256];
    char media_root[512];
    char log[96];
    char redis_socket[96]; /* of the test's own Redis */
    bool own_redis, own_media, log_unread;
    int log_pipe; /* log_unread: the read end of the node's standard error; 0: none */
    unsigned port, port_tls, port_shops;
    bool tls, has_shop;
    unsigned starts;       /* of the node; the log says as often that it listens */
    unsigned transactions; /* made so far, to number their ids */
    pid_t node, redis;     /* 0: not running */
    pid_t janitor;
    int janitor_pipe;                  /* closed when the test ends, which wakes the janitor */
    struct key_set *keys, *rival_keys; /* own */
    CURL *curl;                        /* owns: the connection kept from fetch to fetch */
    struct kept *kept;                 /* owns: memory handed out to the test */
};

/* Owns `memory` (from malloc) until site_destroy; fails the test where it is NULL. */
void *site_keep(struct site *site, void *memory);
/* The program under test: $TOLLGATE_BINARY (a build with TSan, say), else that of this build. */
const char *harness_tollgate(void);
/* Reads a whole file, which the caller frees; NULL where it cannot be read. */
char *harness_read_file(const char *path, size_t *length);
void harness_write_file(const char *path, const char *text);
/*
 * Starts a program that dies with the test. `output` and `errors` are descriptors for its standard
 * output and error, or -1 for /dev/null.
 */
pid_t harness_spawn(const char *const *words, int output, int errors);

/* Starts the process that removes the site's directory when the test has ended. */
void site_janitor_start(struct site *site);

#endif
