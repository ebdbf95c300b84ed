/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices of downloads, which a ledger adds to Redis for the shops, and which it reads for them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "tests/unit/ledger/fixture.h"

static struct fixture fx;

static void setup(void)
{
    fixture_start(&fx);
}

static void teardown(void)
{
    fixture_end(&fx);
}

TestSuite(ledger_notices, .init = setup, .fini = teardown, .timeout = 60);

struct notices {
    size_t count;
    char ids[8][LEDGER_NOTICE_ID_MAX + 1];
    char files[8][32];
};

static int take_notice(void *context, const struct ledger_notice *notice)
{
    struct notices *notices = context;
    cr_assert_lt(notices->count, 8u);
    snprintf(notices->ids[notices->count], sizeof(notices->ids[0]), "%s", notice->id);
    snprintf(notices->files[notices->count++], sizeof(notices->files[0]), "%s", notice->file);
    return 0;
}

Test(ledger_notices, are_read_in_order_from_a_cursor)
{
    fixture_open_ready(&fx);
    struct ledger_account *account = fixture_account(&fx, "a");
    struct notices all = {0}, rest = {0};
    for (int i = 0; i < 5; i++) {
        char file[32];
        snprintf(file, sizeof(file), "/f%d", i);
        ledger_notify(
            fx.ledger, account,
            &(struct ledger_notice){
                .kind = LEDGER_COMPLETED, .account = "a", .file = file, .jti = "j", .time_ms = 1});
    }
    for (int i = 0; i < 15000 && all.count < 5; i++) {
        all.count = 0;
        cr_assert_eq(ledger_notices(fx.ledger, "shop", "", 8, take_notice, &all), 0);
        fixture_pause();
    }
    cr_assert_eq(all.count, 5u);
    cr_expect_str_eq(all.files[0], "/f0");
    cr_assert_eq(ledger_notices(fx.ledger, "shop", all.ids[2], 8, take_notice, &rest), 0);
    cr_assert_eq(rest.count, 2u);
    cr_expect_str_eq(rest.files[0], "/f3");
    cr_expect_eq(ledger_notices(fx.ledger, "shop", "x", 8, take_notice, &rest), -EINVAL);
    cr_expect_eq(ledger_notices(fx.ledger, "other", "", 8, take_notice, &rest), 0);
    cr_expect_eq(rest.count, 2u);
    ledger_account_drop(&account);
    fixture_close(&fx);
}
