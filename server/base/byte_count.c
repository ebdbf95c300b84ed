/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes amounts of bytes for the commands (byte_count.h). Whole numbers throughout: no
 * rounding. */
#include "server/base/byte_count.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define AMOUNT_MAX ((INT64_C(1) << 53) - 1) /* the ledger's largest amount */

static const struct {
    const char *name;
    int64_t bytes;
} units[] = {
    {"", 1},
    {"B", 1},
    {"k", INT64_C(1000)},
    {"kB", INT64_C(1000)},
    {"M", INT64_C(1000000)},
    {"MB", INT64_C(1000000)},
    {"G", INT64_C(1000000000)},
    {"GB", INT64_C(1000000000)},
    {"T", INT64_C(1000000000000)},
    {"TB", INT64_C(1000000000000)},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
};

/*
 * Whether `unit`, as the table spells it, is meant by `name`: spelled the same, or all in lower or
 * all in upper case. Any other mixture may mean another unit: to many, Mb is a megabit.
 */
static bool is_spelling_of(const char *unit, const char *name)
{
    bool lower = false, upper = false;
    for (const char *at = name; *at != '\0'; at++) {
        lower = lower || (*at >= 'a' && *at <= 'z');
        upper = upper || (*at >= 'A' && *at <= 'Z');
    }
    return strcasecmp(unit, name) == 0 && (!(lower && upper) || strcmp(unit, name) == 0);
}

const char *byte_count_meant(const char *suffix)
{
    for (size_t i = 1; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(units[i].name, suffix) == 0) {
            return units[i].name;
        }
    }
    return NULL;
}

static int find_unit(const char *name, int64_t *bytes)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (is_spelling_of(units[i].name, name)) {
            *bytes = units[i].bytes;
            return 0;
        }
    }
    return -EINVAL;
}

/* Reads the digits at *at into *value. Returns how many there were, or -ERANGE. */
static int read_digits(const char **at, int64_t *value)
{
    int count = 0;
    for (*value = 0; **at >= '0' && **at <= '9'; (*at)++, count++) {
        *value = *value * 10 + (**at - '0');
        if (*value > AMOUNT_MAX) {
            return -ERANGE;
        }
    }
    return count;
}

int byte_count_read(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    text += *text == '-' || *text == '+';
    int64_t whole = 0;
    int64_t fraction = 0;
    int digits = read_digits(&text, &whole);
    int fraction_digits = 0;
    if (digits > 0 && *text == '.') {
        text++;
        fraction_digits = read_digits(&text, &fraction);
        if (fraction_digits == 0) {
            return -EINVAL;
        }
    }
    if (digits <= 0 || fraction_digits < 0) {
        return digits < 0 || fraction_digits < 0 ? -ERANGE : -EINVAL;
    }
    text += *text == ' ';
    int64_t unit;
    if (find_unit(text, &unit) != 0) {
        return -EINVAL;
    }
    int64_t scale = 1;
    for (; fraction_digits > 0; fraction_digits--) {
        if (scale > AMOUNT_MAX / 10) {
            return -ERANGE;
        }
        scale *= 10;
    }
    int64_t bytes;
    int64_t part;
    if (__builtin_mul_overflow(whole, unit, &bytes) ||
        __builtin_mul_overflow(fraction, unit, &part) || part % scale != 0 ||
        __builtin_add_overflow(bytes, part / scale, &bytes) || bytes > AMOUNT_MAX) {
        return -ERANGE;
    }
    *out = negative ? -bytes : bytes;
    return 0;
}

void byte_count_write(int64_t bytes, char out[static BYTE_COUNT_SIZE])
{
    static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    const char *sign = bytes < 0 ? "-" : "";
    uint64_t rest = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes;
    if (rest < 1000) {
        (void)snprintf(out, BYTE_COUNT_SIZE, "%s%u B", sign, (unsigned)rest);
        return;
    }
    size_t name = 0;
    for (; rest >= 1000000; name++) {
        rest /= 1000;
    }
    (void)snprintf(out, BYTE_COUNT_SIZE, "%s%u.%02u %s", sign, (unsigned)(rest / 1000),
                   (unsigned)(rest % 1000 / 10), names[name]);
}
