/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64url: each value has one spelling, and every other spelling of it is refused.
 */
#include <errno.h>

#include "tests/unit/tokens/fixture.h"

static int decode(const char *text, unsigned char *out, size_t size, size_t *length)
{
    return base64url_decode(text, strlen(text), out, size, length);
}

Test(base64url, decodes_what_it_encoded_at_each_length)
{
    unsigned char bytes[70];
    unsigned char back[70];
    char text[BASE64URL_ENCODED_SIZE(sizeof(bytes)) + 1];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 37 + 251);
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        size_t written = 0;
        cr_assert_eq(base64url_encode(bytes, length, text), BASE64URL_ENCODED_SIZE(length));
        cr_assert_eq(decode(text, back, sizeof(back), &written), 0);
        cr_assert_eq(written, length);
        cr_assert_arr_eq(back, bytes, length);
    }
}

Test(base64url, refuses_every_second_spelling)
{
    static const char *const refused[] = {"A",     "AA=",  "AA==",      "AAA=", "AB",
                                          "AAB",   "A A",  "AAAA\n",    "+AAA", "/AAA",
                                          "AAAAA", "AA.A", "\xc3\xa9-A"};
    unsigned char out[16];
    size_t length = 0;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_expect_eq(decode(refused[i], out, sizeof(out), &length), -EINVAL, "%s", refused[i]);
    cr_expect_eq(decode("AAAAAAAA", out, 5, &length), -ENOSPC);
    cr_expect_eq(decode("-_-_", out, sizeof(out), &length), 0);
    cr_expect_eq(out[0], 0xfb);
}
