/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling a Redis with many accounts from a checkpoint that no traffic has made. How long it takes is told
 * where more than the usual number of accounts is asked for:
 *
 *   TOLLGATE_FILL_ACCOUNTS=1000000 build/tests/ledger_test --filter '*fill_many*'
 *
 * TOLLGATE_FILL_DAYS says on how many days each of them has downloaded five files (1).
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/base/clock.h"
#include "storage/ledger/checkpoint_file.h"
#include "tests/unit/ledger/forge.h"

#define ACCOUNTS     3000
#define FILES        5
#define RECORDS      100 /* of each account */
#define BYTES        1000
#define MONEY        1000000
#define DAYS_MAX     20
#define ACCOUNT_ROOM 32768u /* bytes of an account in the checkpoint, at most */

static struct fixture fx;
static struct forge forge;

static void setup(void)
{
    forge_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_fill_many, .init = setup, .fini = teardown, .timeout = 1200);

static unsigned asked_for(const char *name, unsigned otherwise)
{
    const char *value = getenv(name);
    return value != NULL ? (unsigned)strtoul(value, NULL, 10) : otherwise;
}

/* An account of the new checkpoint: one of those that the journal has, or the `number`th other one. */
struct place {
    uint64_t hash;
    unsigned number;
    uint8_t *bytes; /* owns; NULL: it is another one */
    uint32_t length;
};

static struct place *places;
static unsigned count, days;
static struct names names;
static struct ledger_file *files[FILES];

static int keep(void *context, const struct checkpoint_account *account)
{
    struct checkpoint_bytes bytes = {0};
    (void)context;
    cr_assert_eq(checkpoint_account_encode(account, &bytes), 0);
    places[count++] =
        (struct place){.hash = checkpoint_hash(account->name->text, account->name->length),
                       .bytes = bytes.data,
                       .length = (uint32_t)bytes.length};
    return 0;
}

static int by_hash(const void *one, const void *other)
{
    const struct place *first = one, *second = other;
    return first->hash < second->hash ? -1 : first->hash > second->hash;
}

static int write_name(unsigned number, char out[32])
{
    return snprintf(out, 32, "shop/listener-%u", number);
}

/* An account that was opened and topped up, and came to RECORDS records on these days. */
static void write_other(struct checkpoint_writer *writer, unsigned number)
{
    struct checkpoint_operation operations[2] = {
        {.operation = LEDGER_OPEN, .number = 1, .time_ms = forge_noon(20261101), .node = "node-1"},
        {.operation = LEDGER_TOP_UP,
         .amount = MONEY,
         .number = 2,
         .time_ms = forge_noon(20261101),
         .node = "node-1"}};
    struct checkpoint_usage usages[DAYS_MAX * FILES];
    struct checkpoint_account account = {.sequence = RECORDS + 2,
                                         .bytes = (uint64_t)days * FILES * BYTES,
                                         .responses = (uint64_t)days * FILES,
                                         .operation_number = 2,
                                         .tail_segment = 1,
                                         .operations = operations,
                                         .operations_count = 2,
                                         .usages = usages,
                                         .usages_count = days * FILES};
    struct checkpoint_bytes bytes = {0};
    char text[32];
    for (unsigned i = 0; i < days * FILES; i++)
        usages[i] = (struct checkpoint_usage){
            .day = 20261101 + i / FILES, .file = files[i % FILES], .bytes = BYTES, .responses = 1};
    snprintf(operations[0].transaction, sizeof(operations[0].transaction), "open-%u", number);
    snprintf(operations[1].transaction, sizeof(operations[1].transaction), "top-up-%u", number);
    int length = write_name(number, text);
    cr_assert_eq(names_get(&names, JOURNAL_ACCOUNT, text, (size_t)length, &account.name), 0);
    cr_assert_eq(checkpoint_account_encode(&account, &bytes), 0);
    cr_assert_leq(bytes.length, ACCOUNT_ROOM);
    cr_assert_eq(checkpoint_write(writer, bytes.data, (uint32_t)bytes.length), 0);
    names_drop(account.name);
    free(bytes.data);
}

static void write_checkpoint(struct checkpoint *whole)
{
    const struct checkpoint_place place = forge_place(&forge);
    struct checkpoint_writer writer;
    uint64_t length = whole->head.body_bytes + (uint64_t)count * (512 + days * FILES * 24);
    cr_assert_eq(place.disk->remove(place.disk->self, place.checkpoints, 1), 0);
    cr_assert_eq(checkpoint_create(&writer, place.disk, place.checkpoints, 1, length), 0);
    for (unsigned i = 0; i < count; i++) {
        if (places[i].bytes != NULL)
            cr_assert_eq(checkpoint_write(&writer, places[i].bytes, places[i].length), 0);
        else
            write_other(&writer, places[i].number);
        free(places[i].bytes);
    }
    cr_assert_eq(checkpoint_finish(&writer, whole), 0);
    checkpoint_writer_close(&writer);
}

/* Leaves a state directory whose checkpoint has so many accounts more than its journal. */
static void forge_many(unsigned accounts)
{
    struct checkpoint whole;
    char text[32];
    forge_open(&forge, fx.state, "node-1", FORGE_SEGMENT);
    while (journal_segments(&forge.ledger->journal) < 2)
        forge_usage(&forge, "bob", "/f", 20261120, 1);
    forge_checkpoint(&forge, 0, 1);
    const struct checkpoint_place place = forge_place(&forge);
    places = calloc(accounts + 10, sizeof(*places));
    cr_assert_eq(names_init(&names, 64, 64), 0);
    for (unsigned i = 0; i < FILES; i++) {
        struct ledger_name *name;
        int length = snprintf(text, sizeof(text), "/album/track-%u.mp3", i);
        cr_assert_eq(names_get(&names, JOURNAL_FILE, text, (size_t)length, &name), 0);
        files[i] = (struct ledger_file *)name;
    }
    cr_assert_eq(checkpoint_read(&place, 1, &names, keep, NULL, &whole), 0);
    for (unsigned i = 0; i < accounts; i++) {
        int length = write_name(i, text);
        places[count++] =
            (struct place){.hash = checkpoint_hash(text, (size_t)length), .number = i};
    }
    qsort(places, count, sizeof(*places), by_hash);
    whole.head.entries += (uint64_t)accounts * (RECORDS + 2);
    whole.head.vouched += (uint64_t)accounts * (RECORDS + 2);
    whole.head.bytes += (uint64_t)accounts * days * FILES * BYTES;
    write_checkpoint(&whole);
    checkpoint_clear(&whole);
    for (unsigned i = 0; i < FILES; i++)
        names_drop(&files[i]->name);
    names_free(&names);
    free(places);
    forge_close(&forge);
}

/* Processor time of this process and of Redis so far, in ms. */
static uint64_t own_cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static uint64_t redis_cpu_ms(void)
{
    redisReply *reply = fixture_redis(&fx, "INFO cpu");
    cr_assert_eq(reply->type, REDIS_REPLY_STRING);
    const char *system = strstr(reply->str, "used_cpu_sys:"),
               *user = strstr(reply->str, "used_cpu_user:");
    cr_assert(system != NULL && user != NULL);
    double seconds = strtod(strchr(system, ':') + 1, NULL) + strtod(strchr(user, ':') + 1, NULL);
    freeReplyObject(reply);
    return (uint64_t)(seconds * 1000);
}

Test(ledger_fill_many, accounts_of_a_checkpoint_are_in_an_emptied_redis_once_the_node_is_ready)
{
    unsigned accounts = asked_for("TOLLGATE_FILL_ACCOUNTS", ACCOUNTS);
    struct ledger_stats stats;
    char tag[32];
    days = asked_for("TOLLGATE_FILL_DAYS", 1);
    cr_assert_leq(days, DAYS_MAX);
    forge_many(accounts);
    uint64_t opened_ms = clock_monotonic_ms();
    fixture_open(&fx);
    uint64_t begun_ms = clock_monotonic_ms(), own_ms = own_cpu_ms(), redis_ms = redis_cpu_ms();
    while (ledger_state(fx.ledger) != LEDGER_READY) /* the suite's timeout ends it */
        fixture_pause();
    uint64_t ready_ms = clock_monotonic_ms();
    own_ms = own_cpu_ms() - own_ms;
    redis_ms = redis_cpu_ms() - redis_ms;
    ledger_stats(fx.ledger, &stats);
    cr_expect_eq(stats.accounts_filled, accounts + 1);
    cr_expect_eq(stats.accounts_filling, 0);
    for (unsigned i = 0; i < accounts; i += accounts / 10) {
        write_name(i, tag);
        cr_expect_eq(fixture_account_field(&fx, tag, "balance"), MONEY - days * FILES * BYTES);
        cr_expect_eq(fixture_redis_usage(&fx, tag), days * FILES * BYTES);
    }
    if (accounts != ACCOUNTS)
        fprintf(stderr,
                "%u accounts of %d records, with 5 files on %u days each: opened in %" PRIu64
                " ms, Redis filled in %" PRIu64 " ms, %" PRIu64
                " accounts/s; processor time: node %" PRIu64 " ms, Redis %" PRIu64 " ms\n",
                accounts, RECORDS, days, begun_ms - opened_ms, ready_ms - begun_ms,
                accounts * UINT64_C(1000) / (ready_ms - begun_ms + 1), own_ms, redis_ms);
}
