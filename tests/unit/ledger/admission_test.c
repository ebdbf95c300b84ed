/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reply to an admission means: the node knows each admission of the table that the functions
 * in Redis are made from, and takes no other number for one. No Redis runs here.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <hiredis/hiredis.h>

#include "storage/ledger/ledger.h"

enum { ELEMENTS = 10 };

/* Decodes a reply of these numbers. */
static int decode(const long long numbers[ELEMENTS], struct ledger_grant *out)
{
    redisReply integers[ELEMENTS], *elements[ELEMENTS];
    for (unsigned i = 0; i < ELEMENTS; i++) {
        integers[i] = (redisReply){.type = REDIS_REPLY_INTEGER, .integer = numbers[i]};
        elements[i] = &integers[i];
    }
    const redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = ELEMENTS, .element = elements};
    return ledger_admit_reply(&reply, out);
}

static const enum ledger_admission admissions[] = {
#define X(name, number) LEDGER_##name,
    LEDGER_ADMISSIONS(X)
#undef X
};

Test(ledger_admission, of_the_table_is_decoded_and_a_number_beyond_it_is_not)
{
    long long beyond = 0;
    for (size_t i = 0; i < sizeof(admissions) / sizeof(*admissions); i++) {
        struct ledger_grant grant = {0};
        long long number = (long long)admissions[i];
        cr_expect_eq(decode((const long long[ELEMENTS]){number, 1, 2, 3, 4, 5, 6, 7, 8, 9}, &grant),
                     0, "%lld", number);
        cr_expect_eq(grant.admission, admissions[i]);
        cr_expect(grant.granted == 1 && grant.funds == 2 && grant.revision == 3 &&
                      grant.rate == 4 && grant.max_conns == 5 && grant.opened_ms == 6 &&
                      grant.till_ms == 7 && grant.acknowledged == 8 && grant.left_ms == 9,
                  "%lld", number);
        if (number >= beyond)
            beyond = number + 1;
    }
    struct ledger_grant untouched = {.granted = 77};
    cr_expect_eq(decode((const long long[ELEMENTS]){beyond}, &untouched), -EPROTO);
    cr_expect_eq(decode((const long long[ELEMENTS]){-1}, &untouched), -EPROTO);
    cr_expect_eq(untouched.granted, 77u);
}

Test(ledger_admission, with_a_fund_or_a_limit_that_does_not_exist_is_refused)
{
    struct ledger_grant grant;
    const long long funds = LEDGER_FUND_BIT(LEDGER_FUNDS), conns = (long long)UINT32_MAX;
    cr_expect_eq(decode((const long long[ELEMENTS]){0, 0, funds - 1}, &grant), 0);
    cr_expect_eq(decode((const long long[ELEMENTS]){0, 0, funds}, &grant), -EPROTO);
    cr_expect_eq(decode((const long long[ELEMENTS]){0, 0, 0, 0, 0, conns}, &grant), 0);
    cr_expect_eq(decode((const long long[ELEMENTS]){0, 0, 0, 0, 0, conns + 1}, &grant), -EPROTO);
}
