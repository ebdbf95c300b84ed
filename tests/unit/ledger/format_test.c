/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's formats. Records of the present one come back as they were written. Segments of
 * formats 1 and 2, kept beside this file as the programs of their time wrote them, are read and
 * posted, are never written to, and are gone on with in a segment of the present format.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/ledger/journal_format.h"
#include "tests/unit/ledger/fixture.h"

#define KEPT_BYTES 8192 /* of a kept segment */

static struct fixture fx;
static uint8_t kept[KEPT_BYTES];

static void setup(void)
{
    fixture_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_format, .init = setup, .fini = teardown, .timeout = 120);

static void write_file(const char *path, const void *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "%s", path);
    close(fd);
}

static void read_file(const char *path, uint8_t bytes[KEPT_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && read(fd, bytes, KEPT_BYTES) == KEPT_BYTES, "%s", path);
    close(fd);
}

/* The path of a segment, which the first opening moves. */
static const char *segment(unsigned number)
{
    static char path[288];
    snprintf(path, sizeof(path), "%s/lane-a", fx.state);
    const char *at = access(path, F_OK) == 0 ? "lane-a/journal" : "journal";
    snprintf(path, sizeof(path), "%s/%s/%08u.seg", fx.state, at, number);
    return path;
}

/* Makes a state directory as its time made it: journal and instance at its top. The journal is the
 * kept segment of the format, which the ledger moves into the first lane. */
static void take_kept(unsigned format)
{
    char path[256], instance[LEDGER_HEX_SIZE];
    snprintf(path, sizeof(path), "%s/format%u.seg", TOLLGATE_JOURNALS_DIR, format);
    read_file(path, kept);
    snprintf(path, sizeof(path), "%s/journal", fx.state);
    cr_assert(mkdir(fx.state, 0700) == 0 && mkdir(path, 0700) == 0);
    write_file(segment(1), kept, sizeof(kept));
    for (size_t i = 0; i < JOURNAL_ID_BYTES; i++) /* behind the header's first 48 bytes */
        snprintf(instance + 2 * i, 3, "%02x", kept[48 + i]);
    instance[LEDGER_HEX_SIZE - 1] = '\n';
    snprintf(path, sizeof(path), "%s/instance", fx.state);
    write_file(path, instance, sizeof(instance));
}

static void expect_kept_unchanged(void)
{
    static uint8_t now[KEPT_BYTES];
    read_file(segment(1), now);
    cr_assert_eq(memcmp(now, kept, sizeof(kept)), 0, "the old segment was written to");
}

static uint32_t format_of_segment(unsigned number)
{
    uint8_t bytes[KEPT_BYTES];
    read_file(segment(number), bytes);
    return journal_format_of(bytes);
}

static char *redis_text(const char *command)
{
    redisReply *reply = fixture_redis(&fx, command);
    char *text = strdup(reply->type == REDIS_REPLY_STRING ? reply->str : "(none)");
    freeReplyObject(reply);
    return text;
}

static void expect_text(const char *command, const char *expected)
{
    char *text = redis_text(command);
    cr_assert_str_eq(text, expected, "%s", command);
    free(text);
}

/* The bytes that were handed to clients go on from all that the journal holds. */
static void expect_handed(uint64_t bytes)
{
    struct ledger_account *account = fixture_account(&fx, "alice");
    cr_assert_eq(atomic_load(ledger_account_handed(account)), bytes);
    ledger_account_drop(&account);
}

/* What both kept segments hold. */
static void expect_posted(uint64_t records)
{
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "used"), 357);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "balance"), 1000500 - 357);
    expect_handed(357);
    expect_text("HGET tg:{shop/alice}:account status", "suspended");
    cr_assert_eq(fixture_redis_usage(&fx, "shop/alice"), 357);
    char *month =
        redis_text("HGET tg:{shop/alice}:account m:202311"); /* its days and files have ended */
    cr_assert_not_null(strchr(month, ' '), "%s", month);
    free(month);
    char *opening = redis_text("FCALL tollgate_transaction 5 " FIXTURE_RING("shop/alice") "open-1");
    cr_assert_eq(strncmp(opening, "open 1000000 prepaid 0 17", 25), 0,
                 "%s: it has no number, and the time of its record", opening);
    free(opening);
    char command[128];
    snprintf(command, sizeof(command), "HGET tg:{shop/alice}:account w:%s", fx.ledger->instance);
    cr_assert_eq(fixture_redis_integer(&fx, command), (int64_t)records);
}

/* The journal goes on behind the old segment, and all of it can be replayed. */
static void go_on_and_replay(uint64_t records)
{
    fixture_deliver(&fx, "alice", "/c.mp3", 43);
    cr_assert_eq(fixture_close(&fx), 0);
    expect_kept_unchanged();
    cr_assert_eq(format_of_segment(2), LEDGER_JOURNAL_FORMAT);
    freeReplyObject(fixture_redis(&fx, "FLUSHALL"));
    fixture_open_ready(&fx);
    expect_handed(400);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "used"), 400);
    char command[128];
    snprintf(command, sizeof(command), "HGET tg:{shop/alice}:account w:%s", fx.ledger->instance);
    cr_assert_eq(fixture_redis_integer(&fx, command), (int64_t)records + 1);
    expect_kept_unchanged();
}

Test(ledger_format, a_journal_of_format_1_is_read_posted_and_gone_on_with)
{
    take_kept(1);
    cr_assert_eq(format_of_segment(1), 1);
    fixture_open_ready(&fx);
    expect_posted(6);
    go_on_and_replay(6);
}

Test(ledger_format, a_journal_of_format_2_is_read_posted_and_gone_on_with)
{
    char command[160], link[LEDGER_LINK_ID_HEX + 1];
    take_kept(2);
    cr_assert_eq(format_of_segment(1), 2);
    fixture_open_ready(&fx);
    expect_posted(8);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "rate"), 64000);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "max_bytes"), 12345678);
    cr_assert_eq(fixture_account_field(&fx, "shop/alice", "max_conns"), 7);
    for (size_t i = 0; i < LEDGER_LINK_ID_BYTES; i++)
        snprintf(link + 2 * i, 3, "5a");
    snprintf(command, sizeof(command), "HGET tg:{shop/alice}:link:%s bytes", link);
    cr_assert_eq(fixture_redis_integer(&fx, command), 350);
    memset(link, 'b', LEDGER_LINK_ID_HEX);
    snprintf(command, sizeof(command), "HEXISTS tg:{shop/alice}:link:%s revoked", link);
    cr_assert_eq(fixture_redis_integer(&fx, command), 1);
    go_on_and_replay(8);
}

Test(ledger_format, an_old_record_that_was_flipped_refuses_the_start_and_stays)
{
    char error[512] = "";
    take_kept(2);
    for (size_t at = 0; at < 12 * (size_t)JOURNAL_OLD_RECORD_BYTES; at += at < 128 ? 1 : 7) {
        kept[at] ^= 0x01; /* of the format's number, too: 2 becomes 3, and 3 becomes 2 */
        write_file(segment(1), kept, sizeof(kept));
        cr_assert_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EBADMSG,
                     "byte %zu", at);
        cr_assert(strstr(error, "damaged") != NULL, "byte %zu: %s", at, error);
        expect_kept_unchanged();
        kept[at] ^= 0x01;
    }
}

Test(ledger_format, an_old_tail_that_was_torn_is_cut_off)
{
    struct fixture_sums sums;
    take_kept(1);
    for (size_t at = 12 * (size_t)JOURNAL_OLD_RECORD_BYTES + 9; at < sizeof(kept); at++)
        kept[at] = 0; /* within STOP */
    write_file(segment(1), kept, sizeof(kept));
    fixture_open_ready(&fx);
    expect_posted(6);
    cr_assert_eq(fixture_close(&fx), 0);
    fixture_read_journal(fx.state, &sums);
    cr_assert_eq(sums.bytes, 357);
    cr_assert_eq(sums.segments, 2);
}

/* The first record of a segment. */
static void read_some(const char *path, uint8_t bytes[JOURNAL_RECORD_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, bytes, JOURNAL_RECORD_BYTES, 0), (ssize_t)JOURNAL_RECORD_BYTES);
    close(fd);
}

static void write_some(const char *path, const uint8_t bytes[JOURNAL_RECORD_BYTES])
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, bytes, JOURNAL_RECORD_BYTES, 0), (ssize_t)JOURNAL_RECORD_BYTES);
    close(fd);
}

Test(ledger_format, a_segment_of_a_newer_format_refuses_the_start_and_stays)
{
    char error[512] = "";
    uint8_t header[JOURNAL_RECORD_BYTES], now[JOURNAL_RECORD_BYTES];
    struct journal_record record;
    fixture_open_ready(&fx);
    fixture_deliver(&fx, "alice", "/f", 10);
    cr_assert_eq(fixture_close(&fx), 0);
    read_some(segment(1), header);
    header[32] = LEDGER_JOURNAL_FORMAT + 1;
    cr_assert(journal_decode(header, LEDGER_JOURNAL_FORMAT, &record));
    uint64_t chain = journal_chain_of(header, sizeof(header), record.previous);
    for (unsigned i = 0; i < 8; i++)
        header[i] = (uint8_t)(chain >> (8 * i));
    write_some(segment(1), header);
    cr_assert_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EPROTONOSUPPORT);
    cr_assert(strstr(error, "written by a newer Tollgate; start that one") != NULL, "%s", error);
    struct ledger_verification found = {0};
    cr_assert_eq(ledger_verify(fx.state, 0, &found, error, sizeof(error)), -EPROTONOSUPPORT);
    cr_assert(strstr(error, "look at it with that one") != NULL, "%s", error);
    read_some(segment(1), now);
    cr_assert_eq(memcmp(now, header, sizeof(now)), 0);
    memset(now, 0, sizeof(now));
    write_file(segment(2), now, sizeof(now)); /* made ahead */
    cr_assert_eq(ledger_open(&fx.ledger, &fx.options, error, sizeof(error)), -EPROTONOSUPPORT);
    cr_assert_eq(access(segment(2), F_OK), 0, "nothing is changed");
}

/* ---- records of the present format ---- */

static const struct journal_record samples[] = {
    {.type = JOURNAL_SEGMENT,
     .format = LEDGER_JOURNAL_FORMAT,
     .number = 7,
     .previous = 11,
     .lease = 13,
     .instance = {1, 2},
     .epoch = {3, [15] = 4}},
    {.type = JOURNAL_START, .lease = UINT64_MAX, .instance = {5}, .epoch = {[15] = 6}},
    {.type = JOURNAL_NAME,
     .id = 3,
     .kind = JOURNAL_KEY,
     .part = 1,
     .total = JOURNAL_NAME_PART + 4,
     .text = "tail"},
    {.type = JOURNAL_MONEY,
     .account = 1,
     .operation = LEDGER_LIMIT,
     .sequence = 2,
     .amount = -3,
     .max_bytes = 4,
     .max_conns = 5,
     .transaction = "up-1",
     .operation_number = 6,
     .lease = 7,
     .node = "a-node-of-32-bytes-and-no-more-x"},
    {.type = JOURNAL_USAGE,
     .closing = true,
     .taken = true,
     .durable = 9,
     .account = 1,
     .file = 2,
     .sequence = 3,
     .download = UINT64_C(5) << 56 | UINT64_C(6) << 28 | 7,
     .bytes = 8,
     .bytes_delta = 7,
     .responses = 6,
     .responses_delta = 5,
     .link_id = {1, [31] = 2},
     .opened_ms = 3,
     .till_s = 4,
     .keep_s = 5,
     .lease = 6,
     .price = 7,
     .cap = 8,
     .charge = 9,
     .content = {10, [31] = 11},
     .size = 12,
     .response = {{.used = true,
                   .proxied = true,
                   .started_ms = 13,
                   .first = 14,
                   .length = 15,
                   .client = {16, [15] = 17},
                   .client_bits = 120,
                   .tls = 13,
                   .key = 18}},
     .undescribed = 19},
    {.type = JOURNAL_RESPONSE,
     .account = 1,
     .file = 2,
     .download = 3,
     .response = {{.used = true, .length = 1}, {0}, {0}, {.used = true, .client_bits = 128}}},
    {.type = JOURNAL_STOP},
};

Test(ledger_format, records_come_back_as_they_were_written)
{
    uint64_t chain = 42;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        uint8_t bytes[JOURNAL_RECORD_BYTES], again[JOURNAL_RECORD_BYTES];
        struct journal_record record = samples[i], decoded;
        record.time_ms = 1700000000000u + i;
        uint64_t next = journal_encode(&record, chain, bytes);
        cr_assert(journal_chained(bytes, sizeof(bytes), chain), "record %zu", i);
        cr_assert(!journal_chained(bytes, sizeof(bytes), chain + 1), "record %zu", i);
        cr_assert_eq(journal_chain(bytes), next);
        cr_assert(journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded), "record %zu", i);
        cr_assert_eq(decoded.type, record.type);
        cr_assert_eq(decoded.lease, record.lease);
        /* Whatever was lost in between is missing here. */
        cr_assert_eq(journal_encode(&decoded, chain, again), next, "record %zu", i);
        cr_assert_eq(memcmp(bytes, again, sizeof(bytes)), 0, "record %zu", i);
        chain = next;
    }
}

Test(ledger_format, a_place_in_a_record_has_one_meaning)
{
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    struct journal_record decoded;
    const struct journal_record *usage = &samples[4];
    cr_assert_eq(usage->type, JOURNAL_USAGE);
    (void)journal_encode(usage, 0, bytes);
    cr_assert(journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded));
    cr_assert_eq(decoded.price, 7);
    cr_assert_eq(decoded.cap, 8);
    cr_assert_eq(decoded.charge, 9);
    cr_assert_eq(decoded.content[31], 11);
    cr_assert_eq(decoded.size, 12);
    cr_assert_eq(decoded.undescribed, 19);
    cr_assert_eq(decoded.response[0].first, 14);
    cr_assert_eq(decoded.response[0].length, 15);
    cr_assert_eq(decoded.response[0].client[15], 17);
    cr_assert_eq(decoded.response[0].key, 18);
    cr_assert_eq(decoded.download >> 56, 5);
    (void)journal_encode(&samples[3], 0, bytes);
    cr_assert(journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded));
    cr_assert_eq(decoded.operation_number, 6);
    cr_assert_str_eq(decoded.node, "a-node-of-32-bytes-and-no-more-x");
}

Test(ledger_format, a_response_out_of_its_bounds_is_no_record)
{
    enum { RESPONSE_AT = 200 };
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    struct journal_record decoded;
    (void)journal_encode(&samples[4], 0, bytes);
    bytes[RESPONSE_AT + 45] = 129; /* bits of an address that has 128 */
    cr_assert(!journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded));
    (void)journal_encode(&samples[4], 0, bytes);
    bytes[RESPONSE_AT + 46] = 4; /* a flag that does not exist */
    cr_assert(!journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded));
    bytes[RESPONSE_AT + 46] = 0; /* an unused place that holds something */
    cr_assert(!journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded));
    memset(bytes + RESPONSE_AT, 0, 48);
    cr_assert(journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &decoded));
    cr_assert(!decoded.response[0].used);
    bytes[8] = JOURNAL_RESPONSE; /* which no download has */
    cr_assert(!journal_decode(bytes, JOURNAL_OLD_FORMAT_LAST, &decoded));
}
