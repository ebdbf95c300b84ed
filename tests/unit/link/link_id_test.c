/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 32 bytes under which uses and revocations of a link are kept. They are stored, so they must
 * stay the same from release to release.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "server/link/link_id.h"

/* Expects the bytes in hexadecimal digits, as `sha256sum` prints them. */
static void expect_bytes(const unsigned char bytes[LEDGER_LINK_ID_BYTES], const char *expected)
{
    char text[2 * LEDGER_LINK_ID_BYTES + 1];
    for (size_t i = 0; i < LEDGER_LINK_ID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    cr_expect_str_eq(text, expected);
}

Test(link_id, is_the_digest_of_account_and_jti)
{
    unsigned char link_id[LEDGER_LINK_ID_BYTES], other[LEDGER_LINK_ID_BYTES];
    char text[LINK_ID_TEXT_MAX];
    cr_expect_eq(link_id_text("shop/alice", "order-1", text), strlen("shop/alice order-1"));
    cr_expect_str_eq(text, "shop/alice order-1");
    cr_assert(link_id_of_jti("shop/alice", "order-1", link_id));
    expect_bytes(link_id, "69805872a37d7c5685b809906aedec9a0f0b769ca03ae95d9207c581867518cf");
    static const char *const others[][2] = {
        {"shop/alice", "order-2"}, {"shop/bob", "order-1"}, {"rival/alice", "order-1"}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        cr_assert(link_id_of_jti(others[i][0], others[i][1], other));
        cr_expect_neq(memcmp(link_id, other, sizeof(link_id)), 0, "%s %s", others[i][0],
                      others[i][1]);
    }
}

/* A holder of an ES256 token can compute a second signature of the same text. */
Test(link_id, of_a_token_without_jti_leaves_out_the_signature)
{
    unsigned char link_id[LEDGER_LINK_ID_BYTES], twin[LEDGER_LINK_ID_BYTES],
        other[LEDGER_LINK_ID_BYTES];
    cr_expect_eq(link_id_signed_length("aaa.bbb.ccc", 11), 7);
    cr_assert(link_id_of_token("aaa.bbb.ccc", 11, link_id));
    expect_bytes(link_id, "3fcf1a469e20cf5d35359fee479cefa5c0342684f307097b5373eccad3779ef1");
    cr_assert(link_id_of_token("aaa.bbb.dddd", 12, twin));
    expect_bytes(twin, "3fcf1a469e20cf5d35359fee479cefa5c0342684f307097b5373eccad3779ef1");
    cr_assert(link_id_of_token("aaa.bbc.ccc", 11, other));
    cr_expect_neq(memcmp(link_id, other, sizeof(link_id)), 0);
}
