/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bench: a closed-loop load generator for HTTP/1.1 downloads, with an io_uring client of its
 * own. Each connection sends a request, reads the answer to its last byte, and sends the next.
 * main.c and the tests use it; it signs links through tokens and knows nothing of the server.
 */
#ifndef TOLLGATE_BENCH_BENCH_H
#define TOLLGATE_BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- histogram ---- */

/* Log-linear: 128 buckets for each power of two, so a value is off by less than 1 %. */
#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value at or below which `percent` (0 to 100) of all values lie; 0 where there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* ---- answers ---- */

#define ANSWER_HEAD_MAX 8192

struct answer_head {
    unsigned status;
    uint64_t body_length;
    bool keep_alive;
    bool has_hash; /* ETag is 32 hexadecimal digits */
    unsigned char hash[16];
};

/*
 * Reads the head of an answer to a GET (RFC 9112 4 and 5). Returns its length, 0 where more bytes
 * are needed, or -1 where it is not an HTTP/1.1 answer with a Content-Length (a chunked one is
 * not), or is longer than ANSWER_HEAD_MAX.
 */
int answer_parse(const char *data, size_t length, struct answer_head *out);

/* ---- targets ---- */

#define BENCH_URLS_MAX    64
#define BENCH_HEADERS_MAX 16
#define BENCH_UNIQUE_MAX  1000000u

/* Who signs the links; iss NULL: the URLs are requested as they are. */
struct bench_signer {
    const struct key_set *keys; /* borrows */
    const char *iss, *account, *audience;
    uint32_t expires_s;
};

/* Requests as they go on the wire, made before the clock starts. All go to one host. */
struct request_set {
    char *text;      /* owns */
    size_t *offsets; /* owns; count + 1 */
    size_t count;
    char host[256], port[8];
};

struct bench_shape {
    const char *const *urls; /* "http://host[:port]/path" */
    size_t url_count;
    const char *const *headers; /* "Name: value" */
    size_t header_count;
    const char *range; /* "0-65535", or NULL */
    bool keep_alive;
    uint32_t unique; /* 0: one request per URL; otherwise so many, each with its own link */
};

/* Makes the requests; free them with request_set_destroy. 0, or -EINVAL, -ENOMEM, -EIO or
 * token_sign's errors with a sentence in `error`, which may be empty. */
int request_set_create(struct request_set *out, const struct bench_shape *shape,
                       const struct bench_signer *signer, char *error, size_t error_size);
void request_set_destroy(struct request_set *set);

/* ---- load ---- */

/* What can go wrong with a request: name, text. */
#define BENCH_ERRORS(X)                                                                            \
    X(CONNECT, "connect", "the connection could not be made")                                      \
    X(RESET, "reset", "the connection broke")                                                      \
    X(CLOSED, "closed_early", "the connection ended before the answer did")                        \
    X(TIMEOUT, "timeout", "no complete answer in time")                                            \
    X(MALFORMED, "malformed", "the answer is not HTTP/1.1 with a Content-Length")                  \
    X(STATUS, "status", "the answer's status is not 2xx")                                          \
    X(MISMATCH, "mismatch", "the body's XXH3-128 is not the ETag")

enum bench_error {
#define X(name, key, text) BENCH_ERROR_##name,
    BENCH_ERRORS(X)
#undef X
        BENCH_ERROR_COUNT
};
/* The name of an error in JSON, and its text for people. Constants. */
const char *bench_error_key(enum bench_error error);
const char *bench_error_text(enum bench_error error);

struct bench_options {
    const struct request_set *requests; /* borrows */
    unsigned connections, threads;      /* connections >= threads >= 1 */
    uint64_t duration_ms;
    uint64_t requests_max; /* 0: none */
    uint32_t timeout_ms;   /* of one request */
    bool once;             /* one request per connection, which is then held open: --idle */
    bool each_once;        /* each request of the set is sent once, then the run ends */
    bool verify;           /* compare whole bodies with their ETag */
    bool keep_alive;
};

struct bench_result {
    /* Both count 2xx answers only: the body of a refusal is counted nowhere. */
    uint64_t requests, body_bytes;
    uint64_t verified, connects, elapsed_ns, cpu_ns;
    uint64_t open; /* connections held at the end */
    uint64_t errors[BENCH_ERROR_COUNT];
    uint64_t statuses[600];
    struct histogram latency_ns;
};

/* Other threads read it while the run goes on. */
struct bench_progress {
    atomic_ullong requests, body_bytes, errors;
    atomic_bool stop; /* any thread sets it: the run ends soon */
};

/* Runs the load to its end. 0, or a negative errno where it could not begin, with a
 * sentence in `error`. */
int bench_run(const struct bench_options *options, struct bench_progress *progress,
              struct bench_result *out, char *error, size_t error_size);

#endif
