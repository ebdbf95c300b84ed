/*
 * The harness of the integration and fault tests: a site is one installation in a directory of its
 * own (configuration, keys, a real `tollgate serve`, a real Redis), and beside it two clients,
 * libcurl and a bare socket. Everything that a site hands out belongs to it and goes with
 * site_destroy; processes and the directory go even when the test crashes. Any failure of the
 * harness itself fails the test that called it.
 */
#ifndef TOLLGATE_TESTS_INTEGRATION_HARNESS_H
#define TOLLGATE_TESTS_INTEGRATION_HARNESS_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tokens/tokens.h"

/* How long the harness waits for what must come, before it fails the test. Nothing waits this long
 * when all is well. */
#define HARNESS_DEADLINE_MS 30000

/* What docker/catalogue.sh made. */
#define TRACK_TINY          "/jingle.mp3"
#define TRACK_VBR           "/Café/01 – 100% #1.mp3"
#define TRACK_SHORT         "/albums/Night Train/01 First Light.mp3"
#define TRACK_LONG          "/albums/Night Train/02 Long Way Home.mp3"

/* ---- the site ---- */

struct site;
struct answer;

struct site_options {
    const char *settings; /* lines of YAML; with windows_max also what its journal needs */
    const char *issuer;   /* further lines of the shop's entry, indented by four */
    const char *origin;   /* public_origin; NULL: http://media.example */
    const char *redis;    /* its address; NULL: embedded */
    bool tls;             /* also speaks TLS, for media.example and other.example */
    bool own_redis;       /* a redis-server of the test, at site_redis_address */
    bool own_media; /* an empty media root to fill with site_media_add; otherwise the catalogue */
    const char *media_root; /* likewise, of a file system of the test's own */
    const char *state_dir;  /* somewhere else than in the site's directory */
    const char *node;       /* its name; NULL: test-node */
    struct site *beside;    /* a site with own_redis whose keys this one has, too */
    bool shop_secret; /* admin_listen, and SHOP_SECRET for the shop, RIVAL_SECRET for the rival */
    bool stays_down;  /* write everything, start nothing */
    bool log_unread;  /* the node's standard error is a pipe of one page, read until it listens */
};
#define SHOP_SECRET      "shop-secret-0123456789abcdef0123456789abcdef"
#define RIVAL_SECRET     "rival-secret-0123456789abcdef0123456789abcde"

/* Makes the directory and, unless stays_down, starts Redis and the node and waits until it is
 * ready. */
#define site_create(...) site_create_with(__extension__ &(struct site_options){__VA_ARGS__})
struct site *site_create_with(const struct site_options *options);
/* Stops the node by SIGTERM, which must end it with 0 and leave no sanitizer's report in its log.
 */
void site_destroy(struct site **site);

/* Starts `tollgate serve`; returns when it listens, which may be before it is ready. */
void site_node_start(struct site *site);
void site_node_await_ready(struct site *site);
/* From now on `tollgate serve` is started by bash after these lines, which may change "$@" and what the
 * program inherits. In this test's process alone. */
void site_serve_after(struct site *site, const char *lines);
void site_node_signal(struct site *site, int signal);
/* Waits for the end of the node: its exit code, or -N where signal N ended it. */
int site_node_wait(struct site *site);
/* SIGKILL, and waits. */
void site_node_kill(struct site *site);
bool site_node_is_running(struct site *site);
pid_t site_node_pid(const struct site *site);
/* Bytes of memory that the node has touched and holds. */
uint64_t site_node_memory_bytes(struct site *site);

/* The test's own redis-server (own_redis). */
void site_redis_start(struct site *site);
void site_redis_kill(struct site *site);
void site_redis_signal(struct site *site, int signal);
/* Sends one command ("FLUSHALL") to the node's Redis, whichever it is, and fails where that answers
 * an error. */
void site_redis_command(struct site *site, const char *command);
/* The integer that a Lua script answers there. */
int64_t site_redis_number(struct site *site, const char *script);
/* The process of the embedded Redis, by the pid file that it writes. */
pid_t site_embedded_redis_pid(struct site *site);

const char *site_directory(const struct site *site);
const char *site_state_dir(const struct site *site);
unsigned site_port(const struct site *site);
unsigned site_port_tls(const struct site *site);
/* Makes the certificate of `host` (again), signed by itself; NULL for the key: of a new one. The node
 * reads certificates/HOST.pem, clients trust the file at the path that is returned. */
const char *site_certificate_make(struct site *site, const char *host, const char *algorithm);
/* Everything that the node wrote to standard error so far, over all its starts. */
const char *site_log(struct site *site);
/* Of a site with log_unread: reads what the pipe holds, into the log. */
void site_log_read(struct site *site);
/* The log once it contains `text`; fails the test where that does not come. */
const char *site_log_await(struct site *site, const char *text);

/* Runs `tollgate WORD...` (ending in NULL) with the site's configuration; returns its exit code. */
struct command_result {
    int exit_code;
    const char *output; /* standard output */
    const char *errors; /* standard error */
};
struct command_result site_command(struct site *site, const char *const *words);
#define site_tollgate(site, ...) site_command(site, (const char *const[]){__VA_ARGS__, NULL})

/* "unix:..." of the test's own Redis. */
const char *site_redis_address(struct site *site);
/* The key set that the node verifies the shop's links by, as a path. */
const char *site_key_file(struct site *site);

/* A request to admin_listen with the secret (NULL: none). */
const struct answer *site_shop(struct site *site, const char *secret, const char *method,
                               const char *path, const char *body);
/* One request to the admin socket; status 0 where nobody answers. */
const struct answer *site_admin(struct site *site, const char *method, const char *path,
                                const char *body);
/* A counter of the node's traffic, by its name in /v1/health. */
uint64_t site_traffic(struct site *site, const char *name);

/* Adds a file of `copies` times the catalogue's `track` at `path` of an own media root. Frames of
 * MP3 may follow each other so: what comes out is an MP3 again. */
void site_media_add(struct site *site, const char *path, const char *track, unsigned copies);
/* Bytes of a served file; the caller frees nothing. */
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
struct balance site_balance(struct site *site, const char *account);
/* Waits until nothing of the account is reserved: what was granted was delivered or has come back. */
void site_await_nothing_reserved(struct site *site, const char *account);
/* Billed bytes and finished responses of the account, all days and files, as `tollgate usage
 * --json` has them. */
struct usage {
    uint64_t bytes, responses;
};
struct usage site_usage(struct site *site, const char *account);
/* Waits until the account's usage is exactly `bytes`; fails at once where it is more. */
void site_usage_await(struct site *site, const char *account, uint64_t bytes);
/* Waits until several looks in a row agree, and returns the last. */
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
    bool by_rival;    /* signed by the second issuer, which may sign for /rival/ only */
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
/* One link of alice's without jti, to a path of plain characters, in two spellings: the signatures (r, s)
 * and (r, n - s) of one text. */
void site_twins(struct site *site, const struct key_set *keys, const char *path,
                struct token_limits limits, const char *twins[2]);
/* printf into memory of the site. */
const char *site_format(struct site *site, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- answers ---- */

struct answer {
    unsigned status; /* 0: there was none */
    const char *head;
    const unsigned char *body;
    size_t body_length;
    bool complete; /* the body ended as its head said */
    bool reused;   /* libcurl: on a connection that carried a request before */
};
/* A header's value, NULL where the answer has none; fails the test where it has two. */
const char *answer_header(struct site *site, const struct answer *answer, const char *name);
uint64_t answer_header_number(struct site *site, const struct answer *answer, const char *name);
/* The `reason` member of a problem+json body, whose media type and status are checked too. */
const char *answer_reason(struct site *site, const struct answer *answer);
void answer_expect_refusal(struct site *site, const struct answer *answer, unsigned status,
                           const char *reason);
/* The body is bytes first..first+length-1 of the served file. */
void answer_expect_bytes(struct site *site, const struct answer *answer, const char *path,
                         size_t first, size_t length);
/* 200 and the whole file. */
void answer_expect_file(struct site *site, const struct answer *answer, const char *path);

/* ---- libcurl ---- */

struct fetch_options {
    const char *method;         /* NULL: GET */
    const char *range;          /* "0-99" */
    const char *const *headers; /* whole lines, ending in NULL */
    bool tls;                   /* by https, as media.example */
    const char *source;         /* address to come from; NULL: the system's choice */
    bool fresh;                 /* a connection of its own instead of the site's kept one */
};
#define fetch(site, target, ...)                                                                   \
    fetch_with(site, target, __extension__ &(struct fetch_options){__VA_ARGS__})
const struct answer *fetch_with(struct site *site, const char *target,
                                const struct fetch_options *options);
/* One header line: fetch(site, target, .headers = HEADERS("If-None-Match: *")) */
#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})
/* `count` requests at once, each on a connection of its own. */
void fetch_parallel(struct site *site, const char *const *targets,
                    const struct fetch_options *options, size_t count,
                    const struct answer **answers);

/* ---- a bare socket ---- */

/* Connects; receive_buffer_bytes 0 leaves the kernel's own. */
int raw_connect(struct site *site, int receive_buffer_bytes);
/* To the port where TLS is spoken; speaks none itself. */
int raw_connect_tls(struct site *site, int receive_buffer_bytes);
void raw_send(int fd, const void *bytes, size_t length);
void raw_print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reads at most `length` bytes; returns how many came before the end of the connection or its
 * reset. */
size_t raw_read(int fd, void *into, size_t length);
/* Reads one answer with its body; `head_only` for one to HEAD. status 0 where the connection ended
 * instead. */
const struct answer *raw_answer(struct site *site, int fd, bool head_only);
/* Reads a head only and leaves the body in the socket. */
const struct answer *raw_answer_head(struct site *site, int fd);
/* Reads to the end; returns how many bytes that were. */
uint64_t raw_drain(int fd);
/* Sends the bytes on a connection of its own and returns the first answer; the connection is
 * closed. */
const struct answer *raw_exchange(struct site *site, const void *bytes, size_t length);
/* Ends the connection by RST. */
void raw_reset(int fd);
/* Whether the peer has closed (end or reset), waiting for it up to the deadline. */
bool raw_is_closed_by_peer(int fd);

/* ---- a relay to Redis ---- */

/*
 * Passes bytes between nodes and a Redis, each `delay_ms` late in either direction, so that a round
 * trip is long enough to be measured. It tells the push connection by its SUBSCRIBE. A thread of the
 * test's own.
 */
struct relay;
struct relay *relay_start(const char *redis_socket, unsigned delay_ms);
void relay_stop(struct relay **relay);
const char *relay_address(const struct relay *relay);
/* While held, nothing comes from Redis, on push connections or on the others; what came meanwhile
 * follows at once and together when it is let go. */
void relay_hold_push(struct relay *relay, bool held);
void relay_hold_all(struct relay *relay, bool held);
/* Connections that are made from now on are accepted, and nothing passes on them, ever. */
void relay_mute_new(struct relay *relay, bool mute);
/* Connections that are made from now on lead to another Redis; those that are open stay. */
void relay_turn_to(struct relay *relay, const char *redis_socket);
/* The shortest of some round trips through it. */
double relay_round_trip_ms(struct relay *relay);

/* Milliseconds of a clock that only goes forward. */
uint64_t harness_now_ms(void);
/* A pause between two looks at something. */
void harness_pause(void);

#endif
