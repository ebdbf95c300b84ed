/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts of bytes: what is read, exactly, and what is written, never more than there is. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>

#include "server/base/byte_count.h"

Test(byte_count, reads_units_exactly_and_refuses_parts_of_a_byte)
{
    static const struct {
        const char *text;
        int result;
        int64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"500MB", 0, 500000000},
        {"500M", 0, 500000000},
        {"1k", 0, 1000},
        {"1KiB", 0, 1024},
        {"1.5GiB", 0, 1610612736},
        {"0.1GB", 0, 100000000},
        {"-3", 0, -3},
        {"+3 kB", 0, 3000},
        {"9007199254740991", 0, 9007199254740991},
        {"9007199254740992", -ERANGE, 0},
        {"9999T", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"0.5", -ERANGE, 0},
        {"1.0001k", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"1.", -EINVAL, 0},
        {".5k", -EINVAL, 0},
        {"1 2", -EINVAL, 0},
        {"1XB", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t bytes = 0;
        cr_assert_eq(byte_count_read(cases[i].text, &bytes), cases[i].result, "%s", cases[i].text);
        cr_assert_eq(bytes, cases[i].bytes, "%s: %" PRId64, cases[i].text, bytes);
    }
}

Test(byte_count, writes_a_short_form_that_never_says_more_than_there_is)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "1.00 kB"},
        {999999, "999.99 kB"},
        {1000000, "1.00 MB"},
        {1999999999, "1.99 GB"},
        {-1500, "-1.50 kB"},
        {9007199254740991, "9.00 PB"},
        {INT64_MAX, "9.22 EB"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[BYTE_COUNT_SIZE];
        byte_count_write(cases[i].bytes, text);
        cr_assert_str_eq(text, cases[i].text);
    }
}
