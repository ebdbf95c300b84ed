/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each address's budget of failed signature verifications, and the tokens known as good or wrong.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

#include "server/link/verifications.h"

static struct client_address address_of(const char *text)
{
    struct client_address address;
    cr_assert(client_address_read(text, strlen(text), &address), "%s", text);
    return address;
}

/* A digest that is spread over all bits, as a SHA-256 is. */
static const unsigned char *digest_of(uint32_t number)
{
    static unsigned char digest[VERIFICATIONS_DIGEST_SIZE];
    uint64_t state = number;
    for (size_t i = 0; i < sizeof(digest); i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        digest[i] = (unsigned char)(state >> 56);
    }
    return digest;
}

static bool fail(struct verifications *verifications, const struct client_address *client,
                 uint32_t token, uint64_t now_ms)
{
    cr_assert(verifications_may(verifications, digest_of(token), client, now_ms), "token %u",
              token);
    return verifications_tell(verifications, digest_of(token), 1, false, client, now_ms);
}

Test(verifications, of_an_address_may_fail_so_often_and_then_so_often_a_minute)
{
    struct verifications *verifications;
    struct client_address one = address_of("192.0.2.1"), other = address_of("192.0.2.2");
    uint64_t now_ms = 1000000;
    cr_assert_eq(verifications_create(&verifications, 3, 6, 100), 0);
    cr_assert_eq(verifications_retry_s(verifications), 10);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_eq(fail(verifications, &one, i, now_ms), i == 2, "%u", i);
    cr_assert_not(verifications_may(verifications, digest_of(9), &one, now_ms));
    cr_assert_not(verifications_may(verifications, digest_of(9), &one, now_ms + 9999));
    cr_assert(verifications_may(verifications, digest_of(9), &other, now_ms));
    cr_assert(verifications_may(verifications, digest_of(9), NULL, now_ms));
    now_ms += 10000; /* one failure is allowed again, and its use is not reported again */
    cr_assert_not(fail(verifications, &one, 10, now_ms));
    cr_assert_not(verifications_may(verifications, digest_of(11), &one, now_ms));
    now_ms += 30000; /* all three are allowed again */
    for (uint32_t i = 20; i < 23; i++)
        cr_assert_eq(fail(verifications, &one, i, now_ms), i == 22, "%u", i);
    verifications_destroy(&verifications);
}

Test(verifications, that_overshoot_are_no_debt)
{
    struct verifications *verifications;
    struct client_address one = address_of("192.0.2.1");
    cr_assert_eq(verifications_create(&verifications, 2, 60, 100), 0);
    for (uint32_t i = 0; i < 50; i++) /* verifications that several workers had begun */
        (void)verifications_tell(verifications, digest_of(i), 1, false, &one, 1000);
    cr_assert_not(verifications_may(verifications, digest_of(99), &one, 1999));
    cr_assert(verifications_may(verifications, digest_of(99), &one, 2000));
    verifications_destroy(&verifications);
}

Test(verifications, of_a_subscribers_64_bits_are_one_budget)
{
    struct verifications *verifications;
    struct client_address one = address_of("2001:db8:1:2::1"), same = address_of("2001:db8:1:2::2"),
                          other = address_of("2001:db8:1:3::1");
    cr_assert_eq(verifications_create(&verifications, 1, 1, 100), 0);
    cr_assert(fail(verifications, &one, 1, 1000));
    cr_assert_not(verifications_may(verifications, digest_of(2), &same, 1000));
    cr_assert(verifications_may(verifications, digest_of(2), &other, 1000));
    verifications_destroy(&verifications);
}

Test(verifications, of_tokens_that_were_good_are_never_refused)
{
    struct verifications *verifications;
    struct client_address one = address_of("192.0.2.1");
    cr_assert_eq(verifications_create(&verifications, 1, 1, 100), 0);
    cr_assert_not(verifications_tell(verifications, digest_of(7), 1, true, &one, 1000));
    cr_assert(fail(verifications, &one, 1, 1000));
    cr_assert(
        verifications_may(verifications, digest_of(7), &one, 1000)); /* whichever worker asks */
    cr_assert_not(verifications_may(verifications, digest_of(8), &one, 1000));
    verifications_destroy(&verifications);
}

Test(verifications, that_failed_are_known_until_the_keys_are_others)
{
    struct verifications *verifications;
    cr_assert_eq(verifications_create(&verifications, 0, 60, 100), 0);
    cr_assert_not(verifications_has_failed(verifications, digest_of(1), 1));
    (void)verifications_tell(verifications, digest_of(1), 1, false, NULL, 1000);
    cr_assert(verifications_has_failed(verifications, digest_of(1), 1));
    cr_assert_not(verifications_has_failed(verifications, digest_of(2), 1));
    cr_assert_not(verifications_has_failed(verifications, digest_of(1), 2));
    verifications_destroy(&verifications);
}

Test(verifications, at_their_bounds_forget_the_oldest_token_and_the_address_that_did_least)
{
    struct verifications *verifications;
    struct client_address worst = address_of("192.0.2.1"), other;
    cr_assert_eq(verifications_create(&verifications, 10, 1, 100), 0);
    for (uint32_t i = 0; i < 10; i++)
        (void)fail(verifications, &worst, i, 1000);
    unsigned known = 0;
    for (uint32_t i = 0; i < 4 * VERIFICATIONS_ADDRESSES_MAX; i++) {
        other = (struct client_address){.ip = {0x20, 1, 0xd, 0xb8, (unsigned char)(i >> 24),
                                               (unsigned char)(i >> 16), (unsigned char)(i >> 8),
                                               (unsigned char)i}};
        (void)fail(verifications, &other, 1000 + i,
                   1000); /* no address is refused because of others */
    }
    cr_assert_not(verifications_may(verifications, digest_of(99), &worst, 1000));
    for (uint32_t i = 0; i < 4 * VERIFICATIONS_ADDRESSES_MAX; i++)
        known += verifications_has_failed(verifications, digest_of(1000 + i), 1);
    cr_assert(known > VERIFICATIONS_FAILED_MAX / 2 && known <= VERIFICATIONS_FAILED_MAX,
              "%u are known", known);
    cr_assert(verifications_has_failed(verifications,
                                       digest_of(1000 + 4 * VERIFICATIONS_ADDRESSES_MAX - 1), 1));
    verifications_destroy(&verifications);
}
