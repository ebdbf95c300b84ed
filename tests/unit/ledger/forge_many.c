/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a checkpoint of many accounts. See forge_many.h.
 */
#include "tests/unit/ledger/forge_many.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/ledger/checkpoint_file.h"

#define ACCOUNT_ROOM 32768u /* bytes of an account in the checkpoint, at most */

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
static struct ledger_file *files[FORGE_FILES];

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

int forge_many_name(unsigned number, char out[32])
{
    return snprintf(out, 32, "shop/listener-%u", number);
}

/* An account that was opened and topped up, and came to FORGE_RECORDS records on these days. */
static void write_other(struct checkpoint_writer *writer, unsigned number)
{
    struct checkpoint_operation operations[2] = {
        {.operation = LEDGER_OPEN, .number = 1, .time_ms = forge_noon(20261101), .node = "node-1"},
        {.operation = LEDGER_TOP_UP,
         .amount = FORGE_MONEY,
         .number = 2,
         .time_ms = forge_noon(20261101),
         .node = "node-1"}};
    struct checkpoint_usage usages[FORGE_DAYS_MAX * FORGE_FILES];
    struct checkpoint_account account = {.sequence = FORGE_RECORDS + 2,
                                         .bytes = (uint64_t)days * FORGE_FILES * FORGE_BYTES,
                                         .responses = (uint64_t)days * FORGE_FILES,
                                         .operation_number = 2,
                                         .tail_segment = 1,
                                         .operations = operations,
                                         .operations_count = 2,
                                         .usages = usages,
                                         .usages_count = days * FORGE_FILES};
    struct checkpoint_bytes bytes = {0};
    char text[32];
    for (unsigned i = 0; i < days * FORGE_FILES; i++)
        usages[i] = (struct checkpoint_usage){.day = 20261101 + i / FORGE_FILES,
                                              .file = files[i % FORGE_FILES],
                                              .bytes = FORGE_BYTES,
                                              .responses = 1};
    snprintf(operations[0].transaction, sizeof(operations[0].transaction), "open-%u", number);
    snprintf(operations[1].transaction, sizeof(operations[1].transaction), "top-up-%u", number);
    int length = forge_many_name(number, text);
    cr_assert_eq(names_get(&names, JOURNAL_ACCOUNT, text, (size_t)length, &account.name), 0);
    cr_assert_eq(checkpoint_account_encode(&account, &bytes), 0);
    cr_assert_leq(bytes.length, ACCOUNT_ROOM);
    cr_assert_eq(checkpoint_write(writer, bytes.data, (uint32_t)bytes.length), 0);
    names_drop(account.name);
    free(bytes.data);
}

static void write_checkpoint(const struct forge *forge, struct checkpoint *whole)
{
    const struct checkpoint_place place = forge_place(forge);
    struct checkpoint_writer writer;
    uint64_t length = whole->head.body_bytes + (uint64_t)count * (512 + days * FORGE_FILES * 24);
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

void forge_many(struct forge *forge, const char *state, unsigned accounts, unsigned on_days)
{
    struct checkpoint whole;
    char text[32];
    days = on_days;
    count = 0;
    cr_assert_leq(days, FORGE_DAYS_MAX);
    forge_open(forge, state, "node-1", FORGE_SEGMENT);
    while (journal_segments(&forge->ledger->journal) < 2)
        forge_usage(forge, "bob", "/f", 20261120, 1);
    forge_checkpoint(forge, 0, 1);
    const struct checkpoint_place place = forge_place(forge);
    places = calloc(accounts + 10, sizeof(*places));
    cr_assert_eq(names_init(&names, 64, 64), 0);
    for (unsigned i = 0; i < FORGE_FILES; i++) {
        struct ledger_name *name;
        int length = snprintf(text, sizeof(text), "/album/track-%u.mp3", i);
        cr_assert_eq(names_get(&names, JOURNAL_FILE, text, (size_t)length, &name), 0);
        files[i] = (struct ledger_file *)name;
    }
    cr_assert_eq(checkpoint_read(&place, 1, &names, keep, NULL, &whole), 0);
    for (unsigned i = 0; i < accounts; i++) {
        int length = forge_many_name(i, text);
        places[count++] =
            (struct place){.hash = checkpoint_hash(text, (size_t)length), .number = i};
    }
    qsort(places, count, sizeof(*places), by_hash);
    whole.head.entries += (uint64_t)accounts * (FORGE_RECORDS + 2);
    whole.head.vouched += (uint64_t)accounts * (FORGE_RECORDS + 2);
    whole.head.bytes += (uint64_t)accounts * days * FORGE_FILES * FORGE_BYTES;
    write_checkpoint(forge, &whole);
    checkpoint_clear(&whole);
    for (unsigned i = 0; i < FORGE_FILES; i++)
        names_drop(&files[i]->name);
    names_free(&names);
    free(places);
    forge_close(forge);
}
