/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forges journals by the ledger's own functions, with other times. See forge.h.
 */
#include "tests/unit/ledger/forge.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BY "node-1"

uint64_t forge_noon(uint32_t day)
{
    struct tm time = {.tm_year = (int)(day / 10000) - 1900,
                      .tm_mon = (int)(day / 100 % 100) - 1,
                      .tm_mday = (int)(day % 100),
                      .tm_hour = 12};
    return (uint64_t)timegm(&time) * 1000;
}

void forge_start(struct fixture *fixture)
{
    fixture_start(fixture);
    fixture->options.segment_bytes = FORGE_SEGMENT;
    fixture->options.downloads_max = 16;
    fixture->options.checkpoint_records = UINT64_C(1) << 40;
}

void forge_open(struct forge *forge, const char *state, const char *node, uint64_t segment_bytes)
{
    char error[600];
    memset(forge, 0, sizeof(*forge));
    script_init(&forge->poster);
    script_init(&forge->push);
    forge->outside = (struct ledger_outside){.clock = &ledger_system_clock,
                                             .disk = &ledger_system_disk,
                                             .poster = &forge->poster.table,
                                             .push = &forge->push.table};
    const struct ledger_options options = {.state_dir = state,
                                           .node = node,
                                           .redis = "unix:/nowhere",
                                           .segment_bytes = segment_bytes,
                                           .mark_ms = 10,
                                           .downloads_max = 1,
                                           .accounts_max = 1000,
                                           .lease_ms = 3000};
    int result =
        ledger_open_stepped(&forge->ledger, &options, &forge->outside, error, sizeof(error));
    cr_assert_eq(result, 0, "%s", error);
    forge->downloads = forge->ledger->download_last;
    cr_assert_eq(journal_note_lease(&forge->ledger->journal, 1), 0);
}

void forge_close(struct forge *forge)
{
    cr_assert_eq(journal_sync(&forge->ledger->journal), 0);
    cr_assert_geq(ledger_close(&forge->ledger, 0), 0);
}

void forge_append(struct forge *forge, const char *account, const char *path,
                  struct journal_record *record)
{
    struct ledger *ledger = forge->ledger;
    struct ledger_account *of;
    struct ledger_file *file = NULL;
    int result = ledger_account_get(ledger, "shop", account, strlen(account), &of);
    cr_assert_eq(result, 0);
    if (path != NULL)
        cr_assert_eq(ledger_file_get(ledger, path, strlen(path), &file), 0);
    while ((result = journal_append(&ledger->journal, of, file, record, 0)) == -ENOSPC)
        cr_assert_eq(journal_allocate_next(&ledger->journal), 0);
    cr_assert_eq(result, 0);
    ledger_account_drop(&of);
    ledger_file_drop(&file);
}

void forge_usage(struct forge *forge, const char *account, const char *path, uint32_t day,
                 uint64_t bytes)
{
    struct journal_record record = {.type = JOURNAL_USAGE,
                                    .closing = true,
                                    .time_ms = forge_noon(day),
                                    .download = ++forge->downloads,
                                    .bytes = bytes,
                                    .bytes_delta = bytes,
                                    .responses = 1,
                                    .responses_delta = 1};
    forge_append(forge, account, path, &record);
}

void forge_operation(struct forge *forge, const char *account, enum ledger_operation operation,
                     int64_t amount, const char *transaction, uint64_t number)
{
    struct journal_record record = {.type = JOURNAL_MONEY,
                                    .operation = operation,
                                    .plan = LEDGER_PREPAID,
                                    .amount = amount,
                                    .operation_number = number,
                                    .time_ms = forge_noon(20261101) + number,
                                    .node = BY};
    snprintf(record.transaction, sizeof(record.transaction), "%s", transaction);
    forge_append(forge, account, NULL, &record);
}

struct checkpoint_place forge_place(const struct forge *forge)
{
    const struct ledger *ledger = forge->ledger;
    return (struct checkpoint_place){.disk = &ledger_system_disk,
                                     .journal = ledger->journal.directory,
                                     .checkpoints = ledger->lane.checkpoints,
                                     .instance = ledger->journal.instance};
}

void forge_checkpoint(struct forge *forge, uint32_t base, uint32_t segment)
{
    static const _Atomic bool never;
    const struct checkpoint_place place = forge_place(forge);
    char error[600];
    cr_assert_eq(journal_sync(&forge->ledger->journal), 0);
    int result = checkpoint_make(&place, base, segment, &never, error, sizeof(error));
    cr_assert_eq(result, 0, "%d %s", result, error);
}
