/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness of the integration and fault tests. A site is one installation in a directory of its
 * own (configuration, keys, a real `tollgate serve`, a real Redis); two clients, libcurl and a bare
 * socket, ask it. The site owns all memory that it hands out, until site_destroy. Processes and the
 * directory are removed even when the test crashes. Any failure of the harness itself fails the
 * test that called it.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_HARNESS_H
#define TOLLGATE_TESTS_INTEGRATION_HARNESS_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tokens/tokens.h"

/* How long the harness waits for an event before it fails the test. No test that passes waits
 * this long. */
#define HARNESS_DEADLINE_MS 60000

/* Files of the catalogue that docker/catalogue.sh makes. */
#define TRACK_TINY          "/jingle.mp3"
#define TRACK_VBR           "/Café/01 – 100% #1.mp3"
#define TRACK_SHORT         "/albums/Night Train/01 First Light.mp3"
#define TRACK_LONG          "/albums/Night Train/02 Long Way Home.mp3"

/* ---- the site ---- */

struct site;
struct answer;

struct site_options {
    const char *settings; /* lines of YAML; windows_max needs journal_segment_bytes beside it */
    const char *issuer;   /* further lines of the shop's entry, indented by four */
    const char *origin;   /* public_origin; NULL: http://media.example */
    const char *redis;    /* its address; NULL: embedded */
    bool tls;             /* also listens for TLS, as media.example and other.example */
    bool own_redis;       /* the test starts a redis-server, at site_redis_address */
    bool own_media; /* an empty media root to fill with site_media_add; otherwise the catalogue */
    const char *media_root; /* a media root that the test has made, such as a mount */
    const char *state_dir;  /* NULL: in the site's directory */
    const char *node;       /* the node's name; NULL: test-node */
    struct site *beside;    /* a site whose keys this one gets, too */
    bool shop_secret; /* admin_listen, with SHOP_SECRET for the shop, RIVAL_SECRET for the rival */
    bool stays_down;  /* write all files, start nothing */
    bool log_unread;  /* the node's standard error is a pipe of one page, read until it listens */
};
#define SHOP_SECRET      "shop-secret-0123456789abcdef0123456789abcdef"
#define RIVAL_SECRET     "rival-secret-0123456789abcdef0123456789abcde"

/* Makes the directory and, unless stays_down, starts Redis and the node and waits until it is
 * ready. */
#define site_create(...) site_create_with(__extension__ &(struct site_options){__VA_ARGS__})
struct site *site_create_with(const struct site_options *options);
/* Stops the node by SIGTERM and removes everything. Fails the test unless the node exits with 0 and
 * its log has no sanitizer's report. */
void site_destroy(struct site **site);

/* Starts `tollgate serve`. Returns when the node listens, which may be before it is ready. */
void site_node_start(struct site *site);
/* Waits until /v1/health answers 200. */
void site_node_await_ready(struct site *site);
/* From now on bash runs these lines before it executes `tollgate serve`. They may change "$@" and
 * what the program inherits. The change is of this test's process alone. */
void site_serve_after(struct site *site, const char *lines);
void site_node_signal(struct site *site, int signal);
/* Waits for the end of the node. Returns its exit code, or -N where signal N ended it. */
int site_node_wait(struct site *site);
/* Sends SIGKILL and waits for the end of the node. */
void site_node_kill(struct site *site);
bool site_node_is_running(struct site *site);
pid_t site_node_pid(const struct site *site);
/* The node's resident memory (VmRSS) in bytes. */
uint64_t site_node_memory_bytes(struct site *site);

/* Start, kill (SIGKILL) and signal the test's own redis-server (own_redis). */
void site_redis_start(struct site *site);
void site_redis_kill(struct site *site);
void site_redis_signal(struct site *site, int signal);
/* Sends one command, such as "FLUSHALL", to the node's Redis, embedded or the test's own. Words are
 * split at spaces. Fails the test where Redis answers an error. */
void site_redis_command(struct site *site, const char *command);
/* Runs a Lua script in the node's Redis and returns the integer that it answers. */
int64_t site_redis_number(struct site *site, const char *script);
/* The process of the embedded Redis, read from its pid file. */
pid_t site_embedded_redis_pid(struct site *site);

const char *site_directory(const struct site *site);
const char *site_state_dir(const struct site *site);
/* Ports on 127.0.0.1, read from the node's log at each start. */
unsigned site_port(const struct site *site);
unsigned site_port_tls(const struct site *site);
/* Makes a self-signed certificate for `host` with a new key, of P-256 where `algorithm` is "ec" and
 * of RSA otherwise. It replaces an earlier one of that host. Returns the path, HOST.pem beneath
 * certificates/: the node serves that file, and clients trust it. */
const char *site_certificate_make(struct site *site, const char *host, const char *algorithm);
/* All that the node has written to standard error, over all its starts. */
const char *site_log(struct site *site);
/* For a site with log_unread: appends what the pipe holds to the log. */
void site_log_read(struct site *site);
/* Waits until the log contains `text` and returns the log. */
const char *site_log_await(struct site *site, const char *text);

struct command_result {
    int exit_code;
    const char *output; /* standard output */
    const char *errors; /* standard error */
};
/* Runs `tollgate WORD...` with the site's configuration; `words` ends in NULL. */
struct command_result site_command(struct site *site, const char *const *words);
#define site_tollgate(site, ...) site_command(site, (const char *const[]){__VA_ARGS__, NULL})

/* The address of the test's own Redis: "unix:...". */
const char *site_redis_address(struct site *site);
/* The path of the key set by which the node verifies the shop's links. */
const char *site_key_file(struct site *site);

/* Sends a request to admin_listen with this secret (NULL: none). */
const struct answer *site_shop(struct site *site, const char *secret, const char *method,
                               const char *path, const char *body);
/* Sends a request to the admin socket. The status is 0 where no answer comes. */
const struct answer *site_admin(struct site *site, const char *method, const char *path,
                                const char *body);
/* A counter of the node's traffic, by its name in /v1/health. */
uint64_t site_traffic(struct site *site, const char *name);

/* Writes the catalogue's `track` `copies` times into one file at `path` of the site's own media
 * root. The result is an MP3, because frames of MP3 may be joined. */
void site_media_add(struct site *site, const char *path, const char *track, unsigned copies);
/* The bytes of a served file. */
const unsigned char *site_media_bytes(struct site *site, const char *path, size_t *length);
/* Where the file is on disk. */
const char *site_media_path(struct site *site, const char *path);

/* ---- accounts ---- */

/* Opens an account of the issuer "shop". */
void site_account_open_prepaid(struct site *site, const char *account, uint64_t balance_bytes);
void site_account_open_postpaid(struct site *site, const char *account);
void site_account_top_up(struct site *site, const char *account, uint64_t bytes);
struct balance {
    int64_t balance, reserved, used;
};
/* Waits while the node answers 503. */
struct balance site_balance(struct site *site, const char *account);
/* Waits until so many bytes of the account are reserved. */
void site_await_reserved(struct site *site, const char *account, int64_t reserved);
/* Waits until nothing of the account is reserved: each granted byte was delivered or given back. */
void site_await_nothing_reserved(struct site *site, const char *account);
/* Billed bytes and finished responses of an account, over all days and files. */
struct usage {
    uint64_t bytes, responses;
};
/* Asks the admin interface. Waits while the node answers 503. */
struct usage site_usage(struct site *site, const char *account);
/* Waits until the account's usage is exactly `bytes`. Fails the test at once where it is more. */
void site_usage_await(struct site *site, const char *account, uint64_t bytes);
/* Waits until the account's usage stays the same for most of a second; returns its bytes. */
uint64_t site_usage_settled(struct site *site, const char *account);

/* ---- links ---- */

struct link_options {
    const char *account;
    const char *path;      /* decoded */
    const char *container; /* NULL: exact:path */
    const char *iss;       /* NULL: the shop's */
    const char *filename;  /* NULL: none */
    const char *jti;       /* NULL: none */
    struct token_limits limits;
    bool by_rival;    /* signed by the issuer "rival", which may sign for /rival/ only */
    int expires_in_s; /* 0: an hour */
    int begins_in_s;  /* nbf, where not 0 */
    int issued_in_s;  /* iat, where not 0 */
};
/* The request target: "/albums/...mp3?URISigningPackage=..." */
#define site_link(site, ...) site_link_with(site, __extension__ &(struct link_options){__VA_ARGS__})
const char *site_link_with(struct site *site, const struct link_options *options);
const char *site_token_with(struct site *site, const struct link_options *options);
#define site_token(site, ...)                                                                      \
    site_token_with(site, __extension__ &(struct link_options){__VA_ARGS__})
/* Gives the shop a key set of one new ES256 key, and waits until the node has read it; the caller's
 * (key_set_destroy). */
struct key_set *site_es256_keys(struct site *site);
/* Signs one link of alice's, without jti, to a path of plain characters. `twins` gets its two
 * spellings, which differ in the signature alone: (r, s) and (r, n - s). */
void site_twins(struct site *site, const struct key_set *keys, const char *path,
                struct token_limits limits, const char *twins[2]);
/* Formats a text into memory of the site. */
const char *site_format(struct site *site, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- answers ---- */

struct answer {
    unsigned status; /* 0: no answer came */
    const char *head;
    const unsigned char *body;
    size_t body_length;
    bool complete; /* the body has the length that the head announced */
    bool reused;   /* libcurl alone: the connection had carried a request before */
};
/* A header's value; NULL where the answer lacks it. Fails the test where it comes twice. */
const char *answer_header(struct site *site, const struct answer *answer, const char *name);
uint64_t answer_header_number(struct site *site, const struct answer *answer, const char *name);
/* The `reason` of a problem+json body. Asserts the media type and the `status` member, too. */
const char *answer_reason(struct site *site, const struct answer *answer);
void answer_expect_refusal(struct site *site, const struct answer *answer, unsigned status,
                           const char *reason);
/* Expects that the body is bytes first..first+length-1 of the served file. */
void answer_expect_bytes(struct site *site, const struct answer *answer, const char *path,
                         size_t first, size_t length);
/* Expects status 200 and the whole file. */
void answer_expect_file(struct site *site, const struct answer *answer, const char *path);

/* ---- libcurl ---- */

struct fetch_options {
    const char *method;         /* NULL: GET */
    const char *range;          /* "0-99" */
    const char *const *headers; /* whole lines, ending in NULL */
    bool tls;                   /* by https, as media.example */
    const char *source;         /* the client's own address; NULL: the system's choice */
    bool fresh;                 /* a new connection instead of the one that the site keeps */
};
#define fetch(site, target, ...)                                                                   \
    fetch_with(site, target, __extension__ &(struct fetch_options){__VA_ARGS__})
const struct answer *fetch_with(struct site *site, const char *target,
                                const struct fetch_options *options);
/* Header lines: fetch(site, target, .headers = HEADERS("If-None-Match: *")) */
#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})
/* Sends `count` requests at once, each on a connection of its own. */
void fetch_parallel(struct site *site, const char *const *targets,
                    const struct fetch_options *options, size_t count,
                    const struct answer **answers);

/* ---- a bare socket ---- */

/* Connects to the plain port. receive_buffer_bytes 0 leaves the kernel's default. The caller closes
 * the descriptor. */
int raw_connect(struct site *site, int receive_buffer_bytes);
/* Connects to the port for TLS, without a handshake. */
int raw_connect_tls(struct site *site, int receive_buffer_bytes);
void raw_send(int fd, const void *bytes, size_t length);
void raw_print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reads `length` bytes, or fewer where the connection ends or is reset; returns how many came. */
size_t raw_read(int fd, void *into, size_t length);
/* Reads one answer with its body; `head_only` for the answer to a HEAD. The status is 0 where the
 * connection ended instead. */
const struct answer *raw_answer(struct site *site, int fd, bool head_only);
/* Reads a head only and leaves the body in the socket. */
const struct answer *raw_answer_head(struct site *site, int fd);
/* Reads to the end of the connection; returns how many bytes came. */
uint64_t raw_drain(int fd);
/* Sends the bytes on a new connection, reads the first answer and closes the connection. */
const struct answer *raw_exchange(struct site *site, const void *bytes, size_t length);
/* Closes the connection by RST. */
void raw_reset(int fd);
/* Waits, up to the deadline, for the peer to close or reset; false where it does neither. */
bool raw_is_closed_by_peer(int fd);

/* ---- a relay to Redis ---- */

/*
 * Passes bytes between nodes and a Redis, each `delay_ms` late in either direction, so that a round
 * trip is long enough to be measured. It runs in a thread of the test's process and recognises a
 * push connection by its SUBSCRIBE.
 */
struct relay;
struct relay *relay_start(const char *redis_socket, unsigned delay_ms);
void relay_stop(struct relay **relay);
const char *relay_address(const struct relay *relay);
/* While held, the relay passes nothing from Redis on push connections, or on any. When it is let
 * go, all that has come meanwhile follows at once and together. */
void relay_hold_push(struct relay *relay, bool held);
void relay_hold_all(struct relay *relay, bool held);
/* Accepts the connections that are made from now on, and never passes a byte on them. */
void relay_mute_new(struct relay *relay, bool mute);
/* Connections that are made from now on lead to another Redis; open ones keep theirs. */
void relay_turn_to(struct relay *relay, const char *redis_socket);
/* The shortest of several round trips to Redis through the relay. */
double relay_round_trip_ms(struct relay *relay);

/* ---- a master, two replicas, and three Sentinels ---- */

/* Processes of the test on ports of 127.0.0.1, with their files in the site's directory. The
 * Sentinels call a master down after a second. */
struct watched;
struct watched *watched_start(struct site *site);
void watched_stop(struct watched *watched);
/* As `redis` takes it. */
const char *watched_address(const struct watched *watched);
unsigned watched_port(const struct watched *watched, unsigned which);
/* Which of 0, 1, 2 is the master, by the first Sentinel. */
unsigned watched_master(struct watched *watched);
void watched_kill_redis(struct watched *watched, unsigned which);
void watched_signal_redis(struct watched *watched, unsigned which, int signal);
/* Starts one that was killed, as a replica of `master`. */
void watched_start_redis(struct watched *watched, unsigned which, unsigned master);
/* Has the Sentinels put another master in place although the old one lives. */
void watched_fail_over(struct watched *watched);
void watched_kill_sentinel(struct watched *watched, unsigned which);
/* Sends a command to a Redis. Words are split at spaces. */
void watched_command(struct watched *watched, unsigned which, const char *command);
/* The number that a Redis answers to a command; 0 where it answers nil. */
int64_t watched_number(struct watched *watched, unsigned which, const char *command);
/* Waits until the Sentinels see each other, the master and both replicas. */
void watched_await_whole(struct watched *watched);
/* Whether the first Sentinel has published +switch-master since the last look; the first look only
 * subscribes. */
bool watched_has_switched(struct watched *watched);

/* Milliseconds of the monotonic clock. */
uint64_t harness_now_ms(void);
/* A short pause between two looks at a condition. */
void harness_pause(void);

#endif
