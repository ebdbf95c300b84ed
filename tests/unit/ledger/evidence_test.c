/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is found in a journal of its downloads, from outside: responses, completeness, places in the chain, the head
 * of the day; over segments, beside the writer, after a kill, and where the journal is damaged. One thread calls the
 * writer's step, with a clock that the test moves.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "storage/ledger/evidence.h"
#include "storage/ledger/verify.h"
#include "tests/unit/ledger/fixture.h"
#include "tests/unit/ledger/world.h"

#define DAY_MS 86400000
#define SIZE   1000u /* of the file */

static struct world world;
static struct ledger_evidence found;
static struct ledger_key *key;
static char said[600];
static const unsigned char link_id[LEDGER_LINK_ID_BYTES] = {1, [31] = 2};
static const unsigned char content[LEDGER_CONTENT_BYTES] = {3, [15] = 4};

static void setup(void)
{
    world_start(&world);
    world.options.downloads_max = 4;
    world.options.segment_bytes = 16384; /* 64 records */
    world_open(&world);
    cr_assert_eq(ledger_key_get(world.ledger, "key-1", &key), 0);
}

static void teardown(void)
{
    ledger_evidence_free(&found);
    if (key != NULL)
        ledger_key_drop(&key);
    world_end(&world);
}

TestSuite(ledger_evidence, .init = setup, .fini = teardown, .timeout = 30);

static struct ledger_download *open_of(const char *name, const char *path)
{
    struct ledger_account *account;
    struct ledger_file *file;
    struct ledger_download *download;
    cr_assert_eq(ledger_account_get(world.ledger, "shop", name, strlen(name), &account), 0);
    cr_assert_eq(ledger_file_get(world.ledger, path, strlen(path), &file), 0);
    cr_assert_eq(ledger_download_open(world.ledger, account, file, &download), 0);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    ledger_download_tell(download, link_id, SIZE);
    ledger_download_content(download, content);
    return download;
}

/* A response that ends, with its bytes. */
static void respond(struct ledger_download *download, uint64_t first, uint64_t length)
{
    const struct ledger_response response = {.started_ms =
                                                 WORLD_EPOCH_MS - 5 + world.now_ms - WORLD_START_MS,
                                             .first = first,
                                             .length = length,
                                             .client = {[10] = 0xff, 0xff, 192, 0, 2},
                                             .client_bits = 120,
                                             .tls = 13,
                                             .key = key};
    ledger_download_begin(download);
    ledger_download_add(download, length, 0);
    ledger_download_end(download, &response);
}

static void close_of(struct ledger_download **download)
{
    ledger_download_close(download);
    writer_step(world.ledger);
}

static int find_in(const char *state, uint64_t download)
{
    ledger_evidence_free(&found);
    return ledger_evidence_find(state, download, true, NULL, &found, said, sizeof(said));
}

static int find(uint64_t download)
{
    return find_in(world.state, download);
}

static void expect_whole(enum ledger_evidence_whole whole)
{
    cr_expect_eq(found.whole, whole, "%d", (int)found.whole);
}

/* Ends the process as its ledger sees it, so that its lane is free. */
static void end_process(void)
{
    ledger_key_drop(&key);
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
}

/* Changes a byte of a segment; a second time changes it back. */
static void damage(uint32_t segment, off_t at)
{
    char path[160];
    uint8_t byte;
    snprintf(path, sizeof(path), "%s/lane-a/journal/%08u.seg", world.state, segment);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

Test(ledger_evidence, has_account_link_file_and_each_response)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    respond(download, 400, 600);
    world.now_ms += 30;
    writer_step(world.ledger);
    cr_assert_eq(find(id), 0, "%s", said);
    expect_whole(LEDGER_EVIDENCE_PART);
    cr_expect_eq(found.state, LEDGER_EVIDENCE_OPEN);
    respond(download, 0, 400);
    writer_step(world.ledger);
    close_of(&download);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect_str_eq(found.lane, "lane-a");
    cr_expect_str_eq(found.issuer, "shop");
    cr_expect_str_eq(found.account, "alice");
    cr_expect_str_eq(found.file, "/f");
    cr_expect(found.has_link && memcmp(found.link, link_id, sizeof(link_id)) == 0);
    cr_expect(found.has_content && memcmp(found.content, content, sizeof(content)) == 0);
    cr_expect_eq(found.size, SIZE);
    cr_expect_eq(found.bytes, SIZE);
    cr_expect_eq(found.responses, 2);
    cr_expect_eq(found.undescribed, 0);
    cr_expect_eq(found.state, LEDGER_EVIDENCE_CLOSED);
    cr_expect_eq(found.began_ms, WORLD_EPOCH_MS - 5);
    cr_expect_eq(found.ended_ms, WORLD_EPOCH_MS + 30);
    expect_whole(LEDGER_EVIDENCE_WHOLE);
    cr_assert_eq(found.described_count, 2);
    cr_expect_eq(found.described[0].first, 400);
    cr_expect_eq(found.described[0].length, 600);
    cr_expect_eq(found.described[0].started_ms, WORLD_EPOCH_MS - 5);
    cr_expect_eq(found.described[0].told_ms, WORLD_EPOCH_MS + 30);
    cr_expect_eq(found.described[0].client[14], 2);
    cr_expect_eq(found.described[0].client_bits, 120);
    cr_expect_eq(found.described[0].tls, 13);
    cr_expect_str_eq(found.described[0].key, "key-1");
    cr_expect_eq(found.described[1].first, 0);
}

Test(ledger_evidence, gives_the_place_of_each_record_as_the_journal_has_it)
{
    struct ledger_download *download = open_of("alice", "/f"), *other = open_of("hugo", "/g");
    uint64_t id = ledger_download_id(download);
    for (uint64_t i = 0; i < 3; i++)
        respond(download, i, 1);
    writer_step(world.ledger);
    respond(other, 0, 1);
    writer_step(world.ledger);
    close_of(&download);
    close_of(&other);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_assert_eq(found.records_count, 3, "two other responses, the mark, the closing");
    cr_expect_not(found.records[0].is_mark);
    cr_expect(found.records[1].is_mark && !found.records[1].is_closing);
    cr_expect(found.records[2].is_mark && found.records[2].is_closing);
    cr_expect_eq(found.described_count, 3);
    for (size_t i = 0; i < found.records_count; i++) {
        char path[160];
        uint8_t bytes[JOURNAL_RECORD_BYTES];
        struct journal_record record;
        snprintf(path, sizeof(path), "%s/lane-a/journal/%08u.seg", world.state,
                 found.records[i].place.segment);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        cr_assert(fd >= 0);
        cr_assert_eq(pread(fd, bytes, sizeof(bytes), (off_t)found.records[i].place.byte),
                     (ssize_t)sizeof(bytes));
        close(fd);
        cr_expect_eq(journal_chain(bytes), found.records[i].place.chain);
        cr_assert(journal_decode(bytes, LEDGER_JOURNAL_FORMAT, &record));
        cr_expect_eq(record.download, id);
    }
}

Test(ledger_evidence, counts_responses_that_the_journal_does_not_describe)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    for (uint64_t i = 0; i < 7; i++)
        respond(download, 100 * i, 100);
    writer_step(world.ledger);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect_eq(found.responses, 7);
    cr_expect_eq(found.described_count, 5);
    cr_expect_eq(found.undescribed, 2);
    expect_whole(LEDGER_EVIDENCE_PART);
    for (uint64_t i = 7; i < 14; i++)
        respond(download, 100 * (i - 4), 100);
    writer_step(world.ledger);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect_eq(found.undescribed, 4);
    expect_whole(LEDGER_EVIDENCE_UNKNOWN);
    close_of(&download);
}

Test(ledger_evidence, follows_a_download_over_segments)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    for (uint64_t i = 0; journal_segments(&world.ledger->journal) < 3; i++) {
        respond(download, i, 1);
        writer_step(world.ledger);
    }
    close_of(&download);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect_eq(found.records[0].place.segment, 1);
    cr_expect_eq(found.records[found.records_count - 1].place.segment, 3);
    cr_expect_eq(found.described_count, found.responses);
    cr_expect_eq(found.bytes, found.responses);
    cr_expect_str_eq(found.described[found.described_count - 1].key, "key-1");
    cr_expect_eq(found.state, LEDGER_EVIDENCE_CLOSED);
}

Test(ledger_evidence, has_the_head_of_the_download_s_last_day)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    respond(download, 0, 10);
    writer_step(world.ledger);
    close_of(&download);
    download = open_of("hugo", "/g");
    respond(download, 0, 10);
    writer_step(world.ledger);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect(found.has_head && !found.is_head_final);
    struct ledger_evidence_place last = found.head;
    cr_expect_gt(last.byte, found.records[found.records_count - 1].place.byte, "hugo's");
    world.clock_step_ms += DAY_MS;
    respond(download, 10, 10);
    writer_step(world.ledger);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect(found.is_head_final);
    cr_expect_eq(found.head.chain, last.chain);
    cr_expect_eq(found.head.byte, last.byte);
    struct ledger_verification verified = {.day_end_ms =
                                               (WORLD_EPOCH_MS / DAY_MS + 1) * (uint64_t)DAY_MS};
    cr_assert_eq(ledger_verify(world.state, 0, &verified, said, sizeof(said)), 0, "%s", said);
    cr_expect(verified.has_head && verified.is_head_final);
    cr_expect_eq(verified.head_chain, last.chain, "the same head");
    cr_expect_eq(verified.head_byte, last.byte);
    cr_expect_eq(verified.head_segment, last.segment);
    uint64_t hugos = ledger_download_id(download);
    close_of(&download);
    cr_assert_eq(find(hugos), 0, "%s", said);
    cr_expect_gt(found.head.byte, last.byte, "it ended a day later");
    cr_expect_not(found.is_head_final);
}

Test(ledger_evidence, says_that_a_download_was_cut_by_the_end_of_its_process)
{
    char copy[160];
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    respond(download, 0, 10);
    writer_step(world.ledger);
    snprintf(copy, sizeof(copy), "%s/copy", world.directory);
    fixture_copy(world.state, copy);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect_eq(found.state, LEDGER_EVIDENCE_OPEN);
    cr_assert_eq(find_in(copy, id), 0, "%s", said);
    cr_expect_eq(found.state, LEDGER_EVIDENCE_CUT);
    cr_expect_eq(found.bytes, 10);
    close_of(&download);
    end_process();
    /* A later process writes on in the copy. */
    world.options.state_dir = copy;
    world_open(&world);
    cr_assert_eq(find_in(copy, id), 0, "%s", said);
    cr_expect_eq(found.state, LEDGER_EVIDENCE_CUT);
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
}

Test(ledger_evidence, says_where_damage_is_and_what_stands_before_it)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    respond(download, 0, 10);
    writer_step(world.ledger);
    respond(download, 10, 10);
    writer_step(world.ledger);
    close_of(&download);
    end_process();
    cr_assert_eq(find(id), 0, "%s", said);
    cr_assert_eq(found.records_count, 3);
    off_t second = (off_t)found.records[1].place.byte;
    off_t first = (off_t)found.records[0].place.byte;
    damage(1, second + 50);
    cr_assert_eq(find(id), -EBADMSG);
    char place[64];
    snprintf(place, sizeof(place), "00000001.seg is damaged at byte %lld;", (long long)second);
    cr_expect(strstr(said, place) != NULL, "%s", said);
    cr_expect_eq(found.records_count, 1);
    cr_expect_eq(found.bytes, 10);
    damage(1, second + 50);
    damage(1, first + 50);
    cr_assert_eq(find(id), -EBADMSG);
    cr_expect_eq(found.records_count, 0);
    damage(1, first + 50);
    cr_assert_eq(find(id), 0, "%s", said);
}

Test(ledger_evidence, takes_no_torn_end_for_damage)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    respond(download, 0, 10);
    close_of(&download);
    end_process();
    cr_assert_eq(find(id), 0, "%s", said);
    off_t behind = (off_t)found.head.byte + JOURNAL_RECORD_BYTES;
    damage(1, behind + 20);
    cr_assert_eq(find(id), 0, "%s", said);
    cr_expect_eq((off_t)found.head.byte + JOURNAL_RECORD_BYTES, behind);
}

Test(ledger_evidence, tells_a_download_that_is_not_there_from_a_journal_that_is_not)
{
    struct ledger_download *download = open_of("alice", "/f");
    uint64_t id = ledger_download_id(download);
    respond(download, 0, 10);
    close_of(&download);
    cr_expect_eq(find(id + 1), -ENOENT);
    cr_expect_eq(find(id + (UINT64_C(9) << JOURNAL_COUNT_BITS)), -ENOENT, "a later segment");
    cr_expect_eq(find(id + (UINT64_C(1) << 2 * JOURNAL_COUNT_BITS)), -ENOENT, "another lane");
    cr_expect_eq(find(17), -ENOENT, "of format 2");
    cr_expect_eq(find_in("/nowhere", id), -ENOENT);
    cr_expect_eq(found.records_count, 0);
}

/* ---- the list ---- */

static struct ledger_evidence_row rows[8];
static char files[8][16];
static size_t rows_count;

static void keep_row(void *context, const struct ledger_evidence_row *row)
{
    (void)context;
    cr_assert_lt(rows_count, sizeof(rows) / sizeof(rows[0]));
    cr_expect_str_eq(row->tag, "shop/alice");
    snprintf(files[rows_count], sizeof(files[0]), "%s", row->file);
    rows[rows_count++] = *row;
}

static void list_days(uint64_t from_ms, uint64_t to_ms)
{
    struct ledger_evidence_query query = {
        .issuer = "shop", .account = "alice", .from_ms = from_ms, .to_ms = to_ms, .row = keep_row};
    rows_count = 0;
    cr_assert_eq(ledger_evidence_list(world.state, 0, &query, NULL, said, sizeof(said)), 0, "%s",
                 said);
}

Test(ledger_evidence, lists_the_downloads_of_an_account_by_days)
{
    struct ledger_download *first = open_of("alice", "/f"), *other = open_of("alicia", "/f");
    uint64_t id = ledger_download_id(first);
    respond(first, 0, 10);
    respond(other, 0, 10);
    writer_step(world.ledger);
    close_of(&other);
    list_days(0, UINT64_MAX);
    cr_assert_eq(rows_count, 1, "alicia is somebody else");
    cr_expect_not(rows[0].is_closed);
    for (int i = 0; journal_segments(&world.ledger->journal) < 3; i++) {
        respond(first, 10, 1);
        writer_step(world.ledger);
    }
    world.clock_step_ms += DAY_MS;
    struct ledger_download *second = open_of("alice", "/g");
    respond(second, 0, 30);
    close_of(&first);
    close_of(&second);
    list_days(0, UINT64_MAX);
    cr_assert_eq(rows_count, 2);
    cr_expect_eq(rows[0].download, id);
    cr_expect_str_eq(files[0], "/f");
    cr_expect_eq(rows[0].responses, rows[0].bytes - 9);
    cr_expect(rows[0].is_closed && rows[0].has_link);
    cr_expect_eq(rows[0].first_ms, WORLD_EPOCH_MS);
    cr_expect_eq(rows[0].last_ms, WORLD_EPOCH_MS + DAY_MS);
    cr_expect_str_eq(files[1], "/g");
    cr_expect_eq(rows[1].bytes, 30);
    list_days(0, WORLD_EPOCH_MS + DAY_MS);
    cr_assert_eq(rows_count, 1);
    cr_expect_not(rows[0].is_closed, "it was closed a day later");
    list_days(WORLD_EPOCH_MS + DAY_MS, UINT64_MAX);
    cr_assert_eq(rows_count, 2, "the closing of the first is of this day");
    list_days(WORLD_EPOCH_MS + 2 * DAY_MS, UINT64_MAX);
    cr_expect_eq(rows_count, 0);
}

/* ---- ids ---- */

Test(ledger_evidence, has_one_spelling_for_each_id)
{
    static const char *const wrong[] = {
        "",       "a",     "a-1",    "a-1-",    "a-1-2 ",        "A-1-2",        "a-01-2",
        "a-1-02", "a-0-1", "a-1-0",  "a-+1-2",  "a--1-2",        "{-1-2",        "a-1-2x",
        "1-1-2",  "a_1_2", " a-1-2", "a-1-2-3", "a-1-268435456", "a-268435456-1"};
    char text[LEDGER_DOWNLOAD_TEXT];
    uint64_t id;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_not(ledger_download_read(wrong[i], &id), "%s", wrong[i]);
    static const char *const right[] = {"a-1-1", "a-10-90071", "z-268435455-268435455", "c-2-3"};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        cr_assert(ledger_download_read(right[i], &id), "%s", right[i]);
        ledger_download_write(id, text);
        cr_expect_str_eq(text, right[i]);
    }
    cr_expect_eq(id, (UINT64_C(2) << 56) + (UINT64_C(2) << 28) + 3);
    ledger_download_write(17, text);
    cr_expect_str_eq(text, "", "of a journal of format 2");
}
