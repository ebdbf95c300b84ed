/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Billing of bytes that come in TLS records. Each client, honest or not, is billed at least the
 * body bytes of the records that its kernel acknowledged whole, and no more than the body bytes
 * that it acknowledged. Each client here counts what it decrypts and what else its kernel has,
 * and resets.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/integration/harness_tls.h"

/* ---- counting body bytes in a stream of answers ---- */

struct body_counter {
    char head[4096];
    size_t head_length;
    uint64_t answer_left; /* bytes of the answer's content that are to come */
    uint64_t body_left;   /* bytes of the file that are to come before the next head */
    bool parts;           /* several ranges: each has a head of its own within the content */
    uint64_t body;        /* bytes of files, in all */
    unsigned answers;     /* that have come whole */
};

static const char *field(const struct body_counter *counter, const char *name)
{
    const char *at = strstr(counter->head, name);
    return at != NULL ? at + strlen(name) : NULL;
}

/* Called when the head of an answer, or of a part, is whole. */
static void on_head(struct body_counter *counter)
{
    counter->head[counter->head_length] = '\0';
    counter->head_length = 0;
    if (counter->answer_left > 0) {
        unsigned long first = 0, last = 0;
        const char *range = field(counter, "Content-Range: bytes ");
        cr_assert(range != NULL && sscanf(range, "%lu-%lu", &first, &last) == 2);
        counter->body_left = last - first + 1;
        return;
    }
    const char *length = field(counter, "Content-Length: ");
    cr_assert(length != NULL && memcmp(counter->head, "HTTP/1.1 ", 9) == 0, "%s", counter->head);
    counter->answer_left = strtoull(length, NULL, 10);
    counter->parts = field(counter, "multipart/byteranges") != NULL;
    bool file = !counter->parts && counter->head[9] == '2';
    counter->body_left = file ? counter->answer_left : 0;
}

static void count_bytes(struct body_counter *counter, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool in_answer = counter->answer_left > 0, in_body = counter->body_left > 0;
        if (in_answer && counter->answer_left-- == 1)
            counter->answers++;
        if (in_body) {
            counter->body_left--;
            counter->body++;
        } else if (!in_answer || counter->parts) {
            cr_assert_lt(counter->head_length, sizeof(counter->head) - 1);
            counter->head[counter->head_length++] = data[i];
            if (counter->head_length >= 4 &&
                memcmp(counter->head + counter->head_length - 4, "\r\n\r\n", 4) == 0)
                on_head(counter);
            else if (counter->answer_left == 0 && in_answer) /* the last boundary */
                counter->head_length = 0;
        }
    }
}

/* ---- a client that counts ---- */

struct reader {
    struct client tls; /* only its socket is used where not `encrypted` */
    bool encrypted;
    BIO *received;  /* borrows; bytes from the socket that OpenSSL has not read yet */
    BIO *sent;      /* borrows; bytes for the socket */
    uint64_t bytes; /* that came from the socket, in all */
    struct body_counter counter;
};

static void reader_open(struct site *site, struct reader *reader,
                        const struct client_options *options)
{
    memset(reader, 0, sizeof(*reader));
    reader->encrypted = options->version != 0;
    if (!reader->encrypted) {
        reader->tls.fd = raw_connect(site, options->receive_buffer_bytes);
        return;
    }
    cr_assert_eq(client_open(site, &reader->tls, options), 1, "%s",
                 ERR_reason_error_string(ERR_peek_last_error()));
    reader->received = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(reader->received, -1);
    SSL_set0_rbio(reader->tls.ssl, reader->received);
    /* OpenSSL reads no more after a failed write, so it writes to memory. */
    reader->sent = BIO_new(BIO_s_mem());
    SSL_set0_wbio(reader->tls.ssl, reader->sent);
}

/* Sends what OpenSSL has written. False where the server takes no more. */
static bool reader_send(struct reader *reader)
{
    char *data;
    long length = BIO_get_mem_data(reader->sent, &data);
    ssize_t sent = send(reader->tls.fd, data, (size_t)length, MSG_NOSIGNAL);
    (void)BIO_reset(reader->sent);
    return sent == length;
}

static void reader_feed(struct reader *reader, const char *data, size_t length)
{
    char plain[16384];
    int got;
    reader->bytes += length;
    if (!reader->encrypted) {
        count_bytes(&reader->counter, data, length);
        return;
    }
    cr_assert_eq(BIO_write(reader->received, data, (int)length), (int)length);
    while ((got = SSL_read(reader->tls.ssl, plain, sizeof(plain))) > 0)
        count_bytes(&reader->counter, plain, (size_t)got);
}

/* Reads once. False at the end of the connection. */
static bool reader_step(struct reader *reader, size_t most)
{
    char data[16384];
    ssize_t got = recv(reader->tls.fd, data, most < sizeof(data) ? most : sizeof(data), 0);
    if (got > 0)
        reader_feed(reader, data, (size_t)got);
    return got > 0;
}

static void reader_ask(struct reader *reader, const char *requests)
{
    int length = (int)strlen(requests);
    if (!reader->encrypted) {
        raw_send(reader->tls.fd, requests, (size_t)length);
        return;
    }
    cr_assert_eq(SSL_write(reader->tls.ssl, requests, length), length);
    cr_assert(reader_send(reader));
    reader->tls.sent++;
}

/* Asks for a key update, which the server answers. False where the server takes no more. */
static bool reader_update_keys(struct reader *reader)
{
    return SSL_key_update(reader->tls.ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
           SSL_do_handshake(reader->tls.ssl) == 1 && reader_send(reader);
}

/*
 * Counts what the client's kernel has, then resets. It only peeks, because reading would make room
 * for further bytes. It waits first, because a kernel delays acknowledgements by up to 200 ms, and
 * a reset before then would be sent in place of the last one.
 */
static void reader_reset(struct reader *reader)
{
    static char data[8 << 20];
    int waiting = 0, before = -1;
    for (int calm = 0, tries = 0; calm < 30 && tries < 1000; tries++) {
        harness_pause();
        cr_assert_eq(ioctl(reader->tls.fd, FIONREAD, &waiting), 0);
        calm = waiting == before ? calm + 1 : 0;
        before = waiting;
    }
    ssize_t got = recv(reader->tls.fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
    raw_reset(reader->tls.fd);
    reader->tls.fd = -1;
    if (got > 0)
        reader_feed(reader, data, (size_t)got);
    if (reader->encrypted)
        client_close(&reader->tls);
}

static void expect_bill(const char *name, uint64_t billed, uint64_t whole, uint64_t record_max)
{
    cr_expect(billed >= whole && billed < whole + record_max,
              "%s: %llu bytes were billed, %llu came in whole records", name,
              (unsigned long long)billed, (unsigned long long)whole);
}

/* ---- clients of many kinds ---- */

enum asks { ONE_FILE, MANY_RANGES, PARTS };

static const struct visit {
    const char *name;
    enum asks asks;
    int version;  /* 0: plain */
    int fragment; /* of TLSEXT_max_fragment_length */
    int receive_buffer_bytes;
    unsigned stop_after;   /* bytes of bodies after which the client resets */
    unsigned update_every; /* bytes of bodies between two key updates */
    size_t step;           /* bytes that it reads at a time */
} visits[] = {
    {"plain", ONE_FILE, 0, 0, 8192, 300000, 0, 5000},
    {"TLS 1.2", ONE_FILE, TLS1_2_VERSION, 0, 8192, 300000, 0, 5000},
    {"TLS 1.3", ONE_FILE, TLS1_3_VERSION, 0, 8192, 300000, 0, 5000},
    {"TLS 1.3, a large buffer", ONE_FILE, TLS1_3_VERSION, 0, 300000, 300000, 0, 16384},
    {"TLS 1.2, records of 512", ONE_FILE, TLS1_2_VERSION, TLSEXT_max_fragment_length_512, 16384,
     500000, 0, 5000},
    {"TLS 1.3, records of 512", ONE_FILE, TLS1_3_VERSION, TLSEXT_max_fragment_length_512, 16384,
     500000, 0, 5000},
    {"TLS 1.3, a key for each record", ONE_FILE, TLS1_3_VERSION, 0, 16384, 500000, 16384, 5000},
    {"TLS 1.3, keys and records of 512", ONE_FILE, TLS1_3_VERSION, TLSEXT_max_fragment_length_512,
     16384, 200000, 512, 534},
    {"TLS 1.3, a slow reader", ONE_FILE, TLS1_3_VERSION, 0, 4096, 60000, 0, 200},
    {"plain, ranges and refusals", MANY_RANGES, 0, 0, 4096, 20000, 0, 700},
    {"TLS 1.2, ranges and refusals", MANY_RANGES, TLS1_2_VERSION, 0, 4096, 20000, 0, 700},
    {"TLS 1.3, ranges and refusals", MANY_RANGES, TLS1_3_VERSION, 0, 4096, 20000, 0, 700},
    {"TLS 1.3, ranges in records of 512", MANY_RANGES, TLS1_3_VERSION,
     TLSEXT_max_fragment_length_512, 4096, 20000, 0, 700},
    {"TLS 1.3, all of the ranges", MANY_RANGES, TLS1_3_VERSION, 0, 4096, UINT32_MAX, 0, 700},
    {"TLS 1.3, several ranges in one", PARTS, TLS1_3_VERSION, 0, 8192, 250000, 0, 5000},
    {"TLS 1.2, several ranges in records of 512", PARTS, TLS1_2_VERSION,
     TLSEXT_max_fragment_length_512, 8192, 250000, 0, 5000},
};
#define VISITS (sizeof(visits) / sizeof(*visits))
#define RANGES 50

/* Requests whose answers (heads, small bodies, refusals) come in records of many lengths, more than
 * a connection has marks for. */
static char *requests_for(const struct visit *visit, const char *link)
{
    static char text[RANGES * 1200];
    size_t length = 0;
    static const char parts[] =
        "Range: bytes=0-9,100-49999,60000-99999,100001-160000,200000-260000,300000-399999\r\n";
    for (unsigned i = 0; i < (visit->asks == MANY_RANGES ? RANGES : 1); i++) {
        char range[100] = "";
        if (visit->asks == MANY_RANGES)
            snprintf(range, sizeof(range), "Range: bytes=%u-%u\r\n", i * 1000,
                     i * 1000 + 300 + i * 37);
        length += (size_t)snprintf(text + length, sizeof(text) - length,
                                   "GET %s HTTP/1.1\r\nHost: media.example\r\n%s\r\n",
                                   i % 5 == 4 ? "/nothing.mp3" : link,
                                   visit->asks == PARTS ? parts : range);
        cr_assert_lt(length, sizeof(text));
    }
    return text;
}

static uint64_t visit_site(struct site *site, const struct visit *visit, const char *link)
{
    struct reader reader;
    uint64_t updated = 0;
    reader_open(site, &reader,
                &(struct client_options){.version = visit->version,
                                         .fragment = visit->fragment,
                                         .receive_buffer_bytes = visit->receive_buffer_bytes});
    reader_ask(&reader, requests_for(visit, link));
    while (reader.counter.body < visit->stop_after && reader_step(&reader, visit->step)) {
        if (visit->update_every > 0 && reader.counter.body - updated >= visit->update_every) {
            updated = reader.counter.body;
            cr_assert(reader_update_keys(&reader), "%s", visit->name);
        }
        if (visit->asks == MANY_RANGES && reader.counter.answers == RANGES)
            break;
    }
    cr_expect(reader.counter.body >= visit->stop_after || reader.counter.answers == RANGES,
              "%s: it was cut after %llu bytes", visit->name,
              (unsigned long long)reader.counter.body);
    reader_reset(&reader);
    return reader.counter.body;
}

Test(tls_billing, is_of_the_bodies_in_records_that_came_whole)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    uint64_t came[VISITS];
    const char *accounts[VISITS];
    for (size_t i = 0; i < VISITS; i++) {
        accounts[i] = site_format(site, "listener-%zu", i);
        site_account_open_postpaid(site, accounts[i]);
        const char *link = site_link(site, .account = accounts[i], .path = TRACK_LONG);
        came[i] = visit_site(site, &visits[i], link);
    }
    (void)site_usage_settled(site, accounts[VISITS - 1]);
    for (size_t i = 0; i < VISITS; i++)
        expect_bill(visits[i].name, site_usage(site, accounts[i]).bytes, came[i],
                    visits[i].version == 0    ? 1
                    : visits[i].fragment != 0 ? 512
                                              : 16384);
    site_destroy(&site);
}

/* ---- clients that would rather not pay ---- */

/* Reads to the end, or until `most` bytes of bodies have come. */
static void reader_drain(struct reader *reader, uint64_t most)
{
    while (reader->counter.body < most && reader_step(reader, 16384))
        continue;
}

static uint64_t cut_sessions(struct site *site)
{
    const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
    const char *at = strstr((const char *)health->body, "\"tls_failed\":");
    cr_assert_not_null(at);
    return strtoull(at + strlen("\"tls_failed\":"), NULL, 10);
}

#define FLOOD     40000
#define SLOW_RATE 30000 /* by which the 300,000 bytes of who is not cut take ten seconds */

Test(tls_billing, a_flood_of_key_updates_is_cut_and_what_came_is_billed)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    const char *link =
        site_link(site, .account = "alice", .path = TRACK_LONG, .limits = {.rate = SLOW_RATE});
    struct reader reader;
    int i = 0;
    reader_open(site, &reader,
                &(struct client_options){.version = TLS1_3_VERSION, .receive_buffer_bytes = 4096});
    reader_ask(&reader, requests_for(&visits[0], link));
    for (int wait = 0; wait < 30; wait++) /* so that bodies are under way */
        harness_pause();
    while (i < FLOOD && reader_update_keys(&reader))
        i++;
    reader_drain(&reader, 300000);
    cr_expect(i < FLOOD || reader.counter.body < 300000, "it was not cut");
    cr_expect_eq(cut_sessions(site), 1);
    reader_reset(&reader);
    expect_bill("the flood", site_usage_settled(site, "alice"), reader.counter.body, 16384);
    site_destroy(&site);
}

Test(tls_billing, a_flood_of_renegotiations_is_cut_and_what_came_is_billed)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    site_account_open_postpaid(site, "alice");
    const char *link =
        site_link(site, .account = "alice", .path = TRACK_LONG, .limits = {.rate = SLOW_RATE});
    struct reader reader;
    reader_open(site, &reader,
                &(struct client_options){.version = TLS1_2_VERSION, .receive_buffer_bytes = 4096});
    reader_ask(&reader, requests_for(&visits[0], link));
    for (int wait = 0; wait < 30; wait++)
        harness_pause();
    /* The header of a ClientHello is enough to make OpenSSL send its warning. */
    for (int i = 0; i < FLOOD / 10; i++)
        client_send_record(&reader.tls, 22, "\x01\x00\x00\x00", 4);
    reader_drain(&reader, 300000);
    cr_expect_lt(reader.counter.body, 300000, "it was not cut");
    cr_expect_eq(cut_sessions(site), 1);
    reader_reset(&reader);
    /* The client's OpenSSL stops at the first warning, so it counts less than has come. */
    expect_bill("the flood", site_usage_settled(site, "alice"), reader.counter.body,
                reader.bytes - reader.counter.body);
    site_destroy(&site);
}

/* What a client sends to break its session while much of its answer is on the way. */
static const struct breach {
    const char *name;
    int version;
    unsigned char type; /* of the record; 0: sent as bare bytes */
    const char *content;
    size_t length;
} breaches[] = {
    {"noise", TLS1_3_VERSION, 0, "GET / HTTP/1.1\r\n\r\n", 18},
    {"an alert", TLS1_2_VERSION, 21, "\x02\x50", 2},
    {"an alert", TLS1_3_VERSION, 21, "\x02\x50", 2},
    {"half a key update", TLS1_3_VERSION, 22, "\x18\x00\x00\x01", 4},
    {"an unexpected message", TLS1_2_VERSION, 22, "\x14\x00\x00\x0c", 4},
};

Test(tls_billing, who_breaks_the_session_pays_for_what_still_arrives)
{
    struct site *site = site_create(.tls = true, .settings = "workers: 1\n");
    uint64_t before = 0;
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG);
    for (size_t i = 0; i < sizeof(breaches) / sizeof(*breaches); i++) {
        const struct breach *breach = &breaches[i];
        struct reader reader;
        reader_open(
            site, &reader,
            &(struct client_options){.version = breach->version, .receive_buffer_bytes = 16384});
        reader_ask(&reader, requests_for(&visits[0], link));
        for (int wait = 0; wait < 20; wait++) /* until the socket's queue is full */
            harness_pause();
        if (breach->type == 0)
            raw_send(reader.tls.fd, breach->content, breach->length);
        else
            client_send_record(&reader.tls, breach->type, breach->content, breach->length);
        reader_drain(&reader, UINT64_MAX);
        uint64_t whole = reader.counter.body;
        reader_reset(&reader);
        uint64_t billed = site_usage_settled(site, "alice");
        expect_bill(breach->name, billed - before, whole, 16384);
        before = billed;
    }
    site_destroy(&site);
}
