/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reply to an admission means: the node knows each admission and each bound of the tables that
 * the functions in Redis are made from, and takes no other number for one. No Redis runs here.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <hiredis/hiredis.h>

#include "storage/ledger/ledger.h"

enum { ACCOUNT = 11, TERMS = 19, MOST = 20 };

/* Makes a reply of these numbers and has it decoded. */
static int decode(size_t count, const long long numbers[MOST],
                  int (*with)(const redisReply *reply, void *out), void *out)
{
    redisReply integers[MOST], *elements[MOST];
    for (size_t i = 0; i < count; i++) {
        integers[i] = (redisReply){.type = REDIS_REPLY_INTEGER, .integer = numbers[i]};
        elements[i] = &integers[i];
    }
    const redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = count, .element = elements};
    return with(&reply, out);
}

static int admit_reply(const redisReply *reply, void *out)
{
    return ledger_admit_reply(reply, out);
}

static int tell_reply(const redisReply *reply, void *out)
{
    return ledger_tell_reply(reply, out);
}

#define GRANT(count, out, ...) decode(count, (const long long[MOST]){__VA_ARGS__}, admit_reply, out)
#define TOLD(count, out, ...)  decode(count, (const long long[MOST]){__VA_ARGS__}, tell_reply, out)

static const enum ledger_admission admissions[] = {
#define X(name, number) LEDGER_##name,
    LEDGER_ADMISSIONS(X)
#undef X
};
static const enum ledger_bounds bounds[] = {
#define X(name, number) LEDGER_BY_##name,
    LEDGER_BOUNDS(X)
#undef X
};

Test(ledger_admission, of_the_table_is_decoded_and_a_number_beyond_it_is_not)
{
    long long beyond = 0;
    for (size_t i = 0; i < sizeof(admissions) / sizeof(*admissions); i++) {
        struct ledger_grant grant = {0};
        long long number = (long long)admissions[i];
        cr_expect_eq(GRANT(TERMS, &grant, number, 1, 2, 3, 4, 5, 6, 1, 8, 9, 10, 11, 12, 13, 14, 3,
                           16, 17, 18),
                     0, "%lld", number);
        cr_expect_eq(grant.admission, admissions[i]);
        cr_expect(grant.revision == 1 && grant.rate == 2 && grant.max_conns == 3 &&
                  grant.sharers == 4 && grant.revoked_before == 5 && grant.revoked_left_ms == 6);
        cr_expect(grant.funds.bounds == LEDGER_BY_BALANCE && grant.funds.posted == 8 &&
                  grant.funds.ceiling == 9 && grant.funds.bound == 10);
        cr_expect(grant.opened_ms == 11 && grant.till_ms == 12 && grant.acknowledged == 13 &&
                  grant.left_ms == 14);
        cr_expect(grant.link_funds.bounds == LEDGER_BY_LINK_BYTES &&
                  grant.link_funds.posted == 16 && grant.link_funds.ceiling == 17 &&
                  grant.link_funds.bound == 18);
        if (number >= beyond)
            beyond = number + 1;
    }
    struct ledger_grant untouched = {.revision = 77};
    cr_expect_eq(GRANT(ACCOUNT, &untouched, beyond, 1, 2, 3, 4), -EPROTO);
    cr_expect_eq(GRANT(ACCOUNT, &untouched, -1, 1, 2, 3, 4), -EPROTO);
    cr_expect_eq(untouched.revision, 77u);
}

Test(ledger_admission, without_terms_has_no_figures_of_the_link)
{
    struct ledger_grant grant = {.opened_ms = 7, .link_funds = {.ceiling = 7}};
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 10), 0);
    cr_expect_eq(grant.funds.bounds, LEDGER_BY_ACCOUNT_BYTES);
    cr_expect(grant.opened_ms == 0 && grant.link_funds.bounds == LEDGER_BY_NOTHING &&
              grant.link_funds.ceiling == 0);
}

/* A newer library may answer more behind what this program reads. */
Test(ledger_admission, that_is_shorter_is_refused)
{
    struct ledger_grant grant;
    for (size_t count = 0; count <= MOST; count++)
        cr_expect_eq(GRANT(count, &grant, 0, 0, 0, 0, 1),
                     count == ACCOUNT || count >= TERMS ? 0 : -EPROTO, "%zu", count);
    cr_expect_eq(ledger_admit_reply(NULL, &grant), -EPROTO);
    char text[] = "ERR";
    const redisReply error = {.type = REDIS_REPLY_ERROR, .str = text};
    cr_expect_eq(ledger_admit_reply(&error, &grant), -EPROTO);
}

Test(ledger_admission, with_a_bound_or_a_limit_that_does_not_exist_is_refused)
{
    struct ledger_grant grant;
    const long long most = (long long)UINT32_MAX;
    long long beyond = 0;
    for (size_t i = 0; i < sizeof(bounds) / sizeof(*bounds); i++) {
        long long number = (long long)bounds[i];
        cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, 0, 1, 0, 0, number), 0);
        cr_expect_eq(grant.funds.bounds, bounds[i]);
        beyond = number >= beyond ? number + 1 : beyond;
    }
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, 0, 1, 0, 0, beyond), -EPROTO);
    cr_expect_eq(GRANT(TERMS, &grant, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, beyond),
                 -EPROTO);
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, most, 1), 0);
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, most + 1, 1), -EPROTO);
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, 0, most), 0);
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, 0, most + 1), -EPROTO);
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, 0, 0), -EPROTO, "no node shares the limits");
    cr_expect_eq(GRANT(ACCOUNT, &grant, 0, 0, 0, 0, 1, 0, 0, 0, -1), -EPROTO);
}

Test(ledger_admission, of_what_was_told_says_whether_it_was_the_last)
{
    struct ledger_credit credit = {0};
    cr_expect_eq(TOLD(3, &credit, 0, 5, 6), 0);
    cr_expect(credit.posted == 5 && credit.ceiling == 6);
    cr_expect_eq(TOLD(3, &credit, 1, 7, 8), -ESTALE);
    cr_expect_eq(TOLD(3, &credit, 2, 7, 8), -EPROTO);
    cr_expect_eq(TOLD(2, &credit, 0, 7), -EPROTO);
    cr_expect_eq(TOLD(4, &credit, 0, 7, 8, 9), 0, "a newer library may answer more");
    cr_expect_eq(ledger_tell_reply(NULL, &credit), -EPROTO);
}
