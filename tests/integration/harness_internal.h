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
    int log_pipe; /* the end to read log_unread's standard error from; 0: none */
    unsigned port, port_tls, port_shops;
    bool tls, has_shop;
    unsigned starts;       /* of the node: how often the log says that it listens */
    unsigned transactions; /* made so far, for their ids */
    pid_t node, redis;     /* 0: not running */
    pid_t janitor;
    int janitor_pipe;                  /* its end tells the janitor that the test is over */
    struct key_set *keys, *rival_keys; /* own */
    CURL *curl;                        /* owns: the connection kept from fetch to fetch */
    struct kept *kept;                 /* owns: memory handed out to the test */
};

/* Takes over `memory` (from malloc) until site_destroy; fails the test where it is NULL. */
void *site_keep(struct site *site, void *memory);
/* The program under test: that of this build, or $TOLLGATE_BINARY (one built under TSan). */
const char *harness_tollgate(void);
/* Reads a whole file; the caller frees. NULL where it cannot be read. */
char *harness_read_file(const char *path, size_t *length);
void harness_write_file(const char *path, const char *text);
/*
 * Starts a program that dies with the test. `output` and `errors` are descriptors for its standard
 * output and error, or -1 for /dev/null.
 */
pid_t harness_spawn(const char *const *words, int output, int errors);

#endif
