/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: one line for each response, written when all of it is acknowledged or given up,
 * so that the line says what was billed. A worker puts a line's facts into a queue of its own and
 * never waits; one thread writes the lines in batches. Where the disk is slower than the traffic,
 * the queues fill, and lines are dropped and counted; no download is ever slowed. No line holds a
 * token: a target is logged without its token, and what looks like one elsewhere is struck out.
 */
#ifndef TOLLGATE_SERVER_ACCESS_LOG_ACCESS_LOG_H
#define TOLLGATE_SERVER_ACCESS_LOG_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/client_address.h"
#include "server/base/metric.h"
#include "server/http/http_head.h"
#include "server/http/refusal.h"

#define ACCESS_QUEUE_BYTES ((size_t)1024 * 1024) /* of each worker: some 3,000 responses */

enum access_text {
    ACCESS_METHOD,
    ACCESS_PATH, /* percent-encoded, with the query, without the token */
    ACCESS_RANGE,
    ACCESS_AGENT,
    ACCESS_REFERER,
    ACCESS_ISSUER,
    ACCESS_KID,
    ACCESS_JTI,
    ACCESS_ACCOUNT,
    ACCESS_TLS, /* "TLSv1.3" */
    ACCESS_TEXTS
};

#define ACCESS_DOWNLOAD_SIZE 24

/* The facts of a line. The texts follow them in memory, one after the other, without NULs. */
struct access_facts {
    uint32_t size; /* of all of it, texts included */
    uint16_t length[ACCESS_TEXTS];
    uint16_t status;   /* 0: the client went before there was an answer */
    uint8_t minor;     /* of the HTTP/1.x version */
    uint32_t refusal;  /* enum refusal */
    int64_t began_s;   /* since 1970 */
    uint32_t began_ms; /* milliseconds within began_s */
    uint32_t wait_ms;  /* until the answer began */
    uint32_t total_ms; /* until all of it was acknowledged or given up */
    uint64_t handed;   /* bytes of content that the kernel took */
    uint64_t acknowledged;
    char download[ACCESS_DOWNLOAD_SIZE]; /* ledger_download_write; "": none */
    struct client_address client;
};

static inline char *access_facts_text(struct access_facts *facts)
{
    return (char *)(facts + 1);
}

/* ---- the worker's side: an entry for each response that is under way ---- */

struct access_entry;
struct connection;
struct exchange;
struct worker;

/*
 * Begins connection->exchange.access for a request, unless there is one already, the log is off, the
 * connection is an inquiry, or memory is short. `head` and `wanted` are copied; they are NULL where
 * the request could not be read. The issuer's and account's names come from connection->exchange.link.
 */
void access_begin(struct worker *worker, struct connection *connection,
                  const struct http_head *head, const struct token_request *wanted);
/* Notes why the request was refused. */
void access_refused(struct connection *connection, enum refusal refusal);
/* Notes the status of the exchange, and how long the client waited for it. */
void access_answered(struct worker *worker, struct connection *connection);
/* Holds the entry for a delivery, until access_settled. NULL where there is no entry. */
struct access_entry *access_hold(const struct exchange *exchange, uint64_t download);
/* Adds the delivery's bytes and drops its hold. */
void access_settled(struct worker *worker, struct access_entry **entry, uint64_t handed,
                    uint64_t acknowledged);
/* Drops a hold and sets *entry to NULL; the last one queues the line and frees the entry. */
void access_drop(struct worker *worker, struct access_entry **entry);

/* ---- the node's side ---- */

struct access_log;

enum access_format { ACCESS_JSON, ACCESS_COMBINED };
/* Reads "json" or "combined". 0 or -EINVAL. */
int access_format_parse(const char *text, enum access_format *out);

/* Opens (or makes) the file and starts the thread. 0, or a negative errno with a sentence. */
int access_log_open(struct access_log **out, const char *path, enum access_format format,
                    unsigned workers, char *error, size_t error_size);
/* Has the thread reopen the path, after logrotate moved the file. Any thread may call it; it does
 * not wait. */
void access_log_reopen(struct access_log *log);
/* Writes what is queued, waiting two seconds at most for the file, and ends the thread. No worker
 * may put any more. */
void access_log_close(struct access_log **log);
/* Queues a copy of the facts. Only the worker of that index may call it. False where the queue is
 * full: the line is dropped and counted. */
bool access_log_put(struct access_log *log, unsigned worker, const struct access_facts *facts);

/* The columns are explained in server/base/metric.h. */
#define ACCESS_LOG_METRICS(X)                                                                      \
    X(lines, COUNTER, "lines", "", lines, "Lines that were written.")                              \
    X(dropped, COUNTER, "lines", "", dropped,                                                      \
      "Lines that were lost at the bound of a queue, or because the file could not be written.")

struct access_log_stats {
    ACCESS_LOG_METRICS(METRIC_FIELD)
};
void access_log_stats(const struct access_log *log, struct access_log_stats *out);

/* Writes one line with its newline and returns its length; 0 where memory is short or the line
 * would be longer than ACCESS_LINE_MAX. */
#define ACCESS_LINE_MAX ((size_t)32 * 1024)
size_t access_line_write(const struct access_facts *facts, enum access_format format,
                         char out[ACCESS_LINE_MAX]);

#endif
