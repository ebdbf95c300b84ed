/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a download is marked, and what its marks tell: which responses have ended, for whom, with
 * which link and file. One thread calls the writer's step, with a clock that the test moves.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/ledger/world.h"

#define MARK_MS     1000
#define RECORDS_MAX 200

static struct world world;
static struct journal_record records[RECORDS_MAX];
static size_t records_count;

static void setup(void)
{
    world_start(&world);
    world.options.mark_ms = MARK_MS;
}

static void teardown(void)
{
    world_end(&world);
}

TestSuite(ledger_marks, .init = setup, .fini = teardown, .timeout = 30);

static struct ledger_download *open_one(void)
{
    struct ledger_account *account;
    struct ledger_file *file;
    struct ledger_download *download;
    cr_assert_eq(ledger_account_get(world.ledger, "shop", "alice", 5, &account), 0);
    cr_assert_eq(ledger_file_get(world.ledger, "/f", 2, &file), 0);
    cr_assert_eq(ledger_download_open(world.ledger, account, file, &download), 0);
    ledger_account_drop(&account);
    ledger_file_drop(&file);
    return download;
}

/* Reads the journal again; afterwards `records` has all of it. */
static void read_journal(void)
{
    struct names names;
    struct journal_reader reader;
    struct journal_entry entry;
    char path[128];
    snprintf(path, sizeof(path), "%s/lane-a/journal", world.state);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(directory >= 0);
    cr_assert_eq(names_init(&names, 100, 100), 0);
    cr_assert_eq(reader_init(&reader, &ledger_system_disk, &names, directory), 0);
    records_count = 0;
    for (uint32_t segment = 1; reader_enter(&reader, segment, reader.count, segment > 1) == 0;
         segment++) {
        int result;
        while ((result = reader_next(&reader, &entry)) == 1) {
            cr_assert_lt(records_count, RECORDS_MAX);
            records[records_count++] = entry.record;
        }
        cr_assert_eq(result, 0);
    }
    reader_free(&reader);
    names_free(&names);
    close(directory);
}

static size_t count_of(enum journal_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < records_count; i++)
        count += records[i].type == type;
    return count;
}

static const struct journal_record *last_of(enum journal_type type)
{
    for (size_t i = records_count; i-- > 0;)
        if (records[i].type == type)
            return &records[i];
    cr_assert_fail("the journal has no record of type %d", (int)type);
    return NULL;
}

/* How many marks there are after a step of the writer. */
static size_t marks_after_a_step(void)
{
    writer_step(world.ledger);
    read_journal();
    return count_of(JOURNAL_USAGE);
}

static struct ledger_response response_of(uint64_t first)
{
    return (struct ledger_response){.started_ms = 5,
                                    .first = first,
                                    .length = 100 + first,
                                    .client = {[10] = 0xff, 0xff, 192, 0, 2},
                                    .client_bits = 120,
                                    .tls = 13,
                                    .proxied = true};
}

static void end_one(struct ledger_download *download, uint64_t first)
{
    const struct ledger_response response = response_of(first);
    ledger_download_begin(download);
    ledger_download_end(download, &response);
}

Test(ledger_marks, are_made_once_in_their_interval_while_a_response_is_under_way)
{
    world_open(&world);
    struct ledger_download *download = open_one();
    ledger_download_begin(download);
    for (unsigned round = 1; round <= 3; round++) {
        uint64_t until_ms = world.now_ms + MARK_MS;
        cr_assert_eq(marks_after_a_step(), round - 1);
        for (; world.now_ms < until_ms; world.now_ms += 50) {
            ledger_download_add(download, 10, 0);
            cr_assert_eq(marks_after_a_step(), round - 1, "at %llu of %llu",
                         (unsigned long long)world.now_ms, (unsigned long long)until_ms);
        }
        cr_assert_eq(marks_after_a_step(), round);
        cr_assert_eq(last_of(JOURNAL_USAGE)->bytes_delta, 10 * MARK_MS / 50);
    }
    const struct ledger_response response = response_of(0);
    ledger_download_end(download, &response);
    ledger_download_close(&download);
}

Test(ledger_marks, are_looked_at_often_enough_for_a_response_that_ends)
{
    world_open(&world);
    struct ledger_download *download = open_one();
    const struct ledger_response response = response_of(0);
    ledger_download_begin(download);
    ledger_download_add(download, 10, 0);
    cr_assert_leq(writer_step(world.ledger), world.now_ms + 100);
    ledger_download_end(download, &response);
    cr_assert_eq(marks_after_a_step(), 1, "nothing of it is under way");
    cr_assert_eq(last_of(JOURNAL_USAGE)->bytes, 10);
    ledger_download_close(&download);
    world.now_ms += MARK_MS;
    cr_assert_eq(marks_after_a_step(), 2, "the closing");
    cr_assert(last_of(JOURNAL_USAGE)->closing);
    cr_assert_eq(last_of(JOURNAL_USAGE)->bytes_delta, 0);
}

Test(ledger_marks, are_not_made_while_another_response_goes_on)
{
    world_open(&world);
    struct ledger_download *download = open_one();
    ledger_download_begin(download);
    end_one(download, 0);
    ledger_download_add(download, 10, 0);
    cr_assert_eq(marks_after_a_step(), 0);
    world.now_ms += MARK_MS;
    cr_assert_eq(marks_after_a_step(), 1);
    ledger_download_end(download, NULL);
    ledger_download_close(&download);
}

Test(ledger_marks, of_all_that_moved_are_made_for_whoever_waits)
{
    world_open(&world);
    struct ledger_download *download = open_one();
    ledger_download_begin(download);
    ledger_download_add(download, 10, 0);
    cr_assert_eq(marks_after_a_step(), 0);
    uint64_t ticket = writer_queue_mark(world.ledger);
    cr_assert_eq(marks_after_a_step(), 1, "it waited already");
    cr_assert(writer_is_marked(world.ledger, ticket));
    ledger_download_add(download, 10, 0);
    ticket = writer_queue_mark(world.ledger);
    cr_assert_eq(marks_after_a_step(), 2, "it had just moved");
    cr_assert(writer_is_marked(world.ledger, ticket));
    ledger_download_end(download, NULL);
    ledger_download_close(&download);
}

Test(ledger_marks, tell_link_file_and_the_response_that_ended)
{
    world_open(&world);
    static const unsigned char link[LEDGER_LINK_ID_BYTES] = {1, [31] = 2};
    static const unsigned char content[LEDGER_CONTENT_BYTES] = {3, [15] = 4};
    static const unsigned char other[LEDGER_CONTENT_BYTES] = {9};
    struct ledger_response response = response_of(7);
    struct ledger_key *key = NULL;
    cr_assert_eq(ledger_key_get(world.ledger, "key-1", &key), 0);
    response.key = key;
    struct ledger_download *download = open_one();
    ledger_download_tell(download, link, 4711);
    cr_assert(!ledger_download_has_content(download));
    ledger_download_content(download, content);
    ledger_download_content(download, other);
    ledger_download_begin(download);
    ledger_download_add(download, 107, 0);
    ledger_download_end(download, &response);
    ledger_key_drop(&key);
    cr_assert_eq(marks_after_a_step(), 1);
    const struct journal_record *mark = last_of(JOURNAL_USAGE);
    cr_assert_eq(memcmp(mark->link_id, link, sizeof(link)), 0);
    cr_assert_eq(memcmp(mark->content, content, sizeof(content)), 0);
    cr_assert_eq(mark->size, 4711);
    cr_assert_eq(mark->opened_ms, 0, "a link without terms has no use");
    const struct journal_response *told = &mark->response[0];
    cr_assert(told->used && told->proxied);
    cr_assert_eq(told->started_ms, 5);
    cr_assert_eq(told->first, 7);
    cr_assert_eq(told->length, 107);
    cr_assert_eq(told->tls, 13);
    cr_assert_eq(told->client_bits, 120);
    cr_assert_eq(memcmp(told->client, response.client, sizeof(response.client)), 0);
    cr_assert_eq(mark->undescribed, 0);
    const struct journal_record *name = last_of(JOURNAL_NAME);
    cr_assert_eq(name->kind, JOURNAL_KEY);
    cr_assert_eq(name->id + 1, told->key);
    cr_assert_eq(memcmp(name->text, "key-1", 5), 0);
    cr_assert_eq(count_of(JOURNAL_RESPONSE), 0, "one needs no record of its own");
    ledger_download_close(&download);
}

Test(ledger_marks, tell_five_responses_and_count_the_sixth)
{
    world_open(&world);
    struct ledger_download *download = open_one();
    struct ledger_stats stats;
    bool seen[6] = {false};
    for (uint64_t i = 0; i < 6; i++)
        end_one(download, i);
    ledger_download_add(download, 600, 0);
    cr_assert_eq(marks_after_a_step(), 1);
    const struct journal_record *mark = last_of(JOURNAL_USAGE), *more = last_of(JOURNAL_RESPONSE);
    cr_assert_eq(mark->responses_delta, 6, "all are billed");
    cr_assert_eq(mark->bytes_delta, 600);
    cr_assert_eq(mark->undescribed, 1);
    cr_assert_eq(more + 1, mark, "they stand before the mark that counts them");
    cr_assert_eq(more->download, mark->download);
    cr_assert_eq(more->account, mark->account);
    cr_assert_eq(more->file, mark->file);
    seen[mark->response[0].first] = true;
    for (size_t i = 0; i < JOURNAL_RESPONSES; i++) {
        cr_assert(more->response[i].used);
        cr_assert_lt(more->response[i].first, 5);
        cr_assert(!seen[more->response[i].first], "a response is told once");
        seen[more->response[i].first] = true;
    }
    ledger_stats(world.ledger, &stats);
    cr_assert_eq(stats.responses_undescribed, 1);
    /* The places are free again, and nothing is told twice. */
    end_one(download, 5);
    cr_assert_eq(marks_after_a_step(), 2);
    mark = last_of(JOURNAL_USAGE);
    cr_assert_eq(mark->responses_delta, 1);
    cr_assert_eq(mark->undescribed, 0);
    cr_assert_eq(mark->response[0].first, 5);
    cr_assert_eq(count_of(JOURNAL_RESPONSE), 1);
    ledger_download_close(&download);
}

Test(ledger_marks, are_made_early_where_the_places_run_out)
{
    world_open(&world);
    struct ledger_download *download = open_one();
    ledger_download_begin(download);
    for (uint64_t i = 0; i + 2 < DOWNLOAD_PLACES; i++)
        end_one(download, i);
    cr_assert_eq(marks_after_a_step(), 0);
    end_one(download, DOWNLOAD_PLACES - 2);
    cr_assert_eq(marks_after_a_step(), 1);
    ledger_download_end(download, NULL);
    ledger_download_close(&download);
}

Test(ledger_marks, of_a_journal_that_cannot_grow_tell_no_more_than_they_have_a_place_for)
{
    struct ledger_stats stats;
    world_open(&world);
    struct ledger_download *download = world_download(&world, 1);
    writer_step(world.ledger);
    world.create_error = ENOSPC;
    while (atomic_load(&world.ledger->writer_state) == LEDGER_READY) {
        ledger_download_add(download, 1, 0);
        writer_step(world.ledger);
    }
    uint64_t before = atomic_load(&world.ledger->journal.written);
    uint64_t undescribed = atomic_load(&world.ledger->responses_undescribed);
    for (uint64_t i = 0; i < 3; i++)
        end_one(download, i);
    writer_step(world.ledger);
    cr_assert_eq(atomic_load(&world.ledger->journal.written), before + 1);
    read_journal();
    cr_assert_eq(last_of(JOURNAL_USAGE)->responses_delta, 3);
    cr_assert_eq(last_of(JOURNAL_USAGE)->undescribed, 2);
    ledger_stats(world.ledger, &stats);
    cr_assert_eq(stats.responses_undescribed, undescribed + 2);
    ledger_download_close(&download);
}

Test(ledger_marks, wait_for_room_and_are_made_when_there_is_some)
{
    world_open(&world);
    struct ledger_download *download = world_download(&world, 1);
    writer_step(world.ledger);
    world.create_error = ENOSPC;
    uint64_t bytes = 1;
    for (unsigned i = 0; !world.ledger->writer.starved; i++) {
        cr_assert_lt(i, 200);
        ledger_download_add(download, 1, 0);
        bytes++;
        writer_step(world.ledger);
    }
    cr_assert_eq(ledger_state(world.ledger), LEDGER_EXHAUSTED);
    uint64_t ticket = writer_queue_mark(world.ledger);
    writer_step(world.ledger);
    cr_assert(!writer_is_marked(world.ledger, ticket), "it found no room");
    world.create_error = 0;
    world.now_ms += MARK_MS;
    ticket = writer_queue_mark(world.ledger);
    marks_after_a_step();
    cr_assert(writer_is_marked(world.ledger, ticket));
    cr_assert_eq(last_of(JOURNAL_USAGE)->bytes, bytes);
    ledger_download_close(&download);
}

Test(ledger_marks, wait_no_longer_than_others_once_a_full_journal_has_room)
{
    const uint64_t interval_ms = 100; /* shorter than while the journal is full */
    world.options.mark_ms = (uint32_t)interval_ms;
    world.options.downloads_max = 2;
    world.options.segment_bytes = 16384;
    world_open(&world);
    struct ledger_download *filler = world_download(&world, 1), *moving = open_one();
    writer_step(world.ledger);
    world.create_error = ENOSPC;
    while (atomic_load(&world.ledger->writer_state) == LEDGER_READY) {
        ledger_download_add(filler, 1, 0);
        writer_step(world.ledger);
    }
    world.now_ms += 300;
    ledger_download_begin(moving);
    ledger_download_add(moving, 1, 0);
    size_t before = marks_after_a_step();
    cr_assert(moving->waits);
    world.create_error = 0;
    while (atomic_load(&world.ledger->writer_state) != LEDGER_READY) {
        world.now_ms++;
        writer_step(world.ledger);
    }
    cr_assert(moving->waits, "less time than it waits while the journal is full has passed");
    world.now_ms += interval_ms;
    cr_assert_eq(marks_after_a_step(), before + 1);
    ledger_download_end(moving, NULL);
    ledger_download_close(&moving);
    ledger_download_close(&filler);
}

Test(ledger_marks, number_downloads_by_segment_and_never_twice)
{
    world_open(&world);
    struct ledger_download *download = world_download(&world, 1);
    uint64_t first = ledger_download_id(download);
    cr_assert_eq(first, (UINT64_C(1) << JOURNAL_COUNT_BITS) + 1);
    ledger_download_close(&download);
    writer_step(world.ledger);
    cr_assert_geq(ledger_close(&world.ledger, 0), 0);
    world_open(&world);
    download = world_download(&world, 1);
    cr_assert_eq(ledger_download_id(download), first + 1, "the same segment goes on");
    while (journal_segments(&world.ledger->journal) < 2) {
        ledger_download_add(download, 1, 0);
        writer_step(world.ledger);
    }
    ledger_download_close(&download);
    writer_step(world.ledger); /* one may be open at once */
    download = world_download(&world, 1);
    cr_assert_eq(ledger_download_id(download), (UINT64_C(2) << JOURNAL_COUNT_BITS) + 1);
    ledger_download_close(&download);
}
