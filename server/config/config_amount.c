/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the numbers, durations and sizes of the configuration: a number in the key's own unit, or
 * one with a unit, as the commands take them. What is not a whole number of the key's unit is
 * refused, never rounded, so that what is written is what is meant. Called by config.c for each
 * number; it knows no key by name.
 */
#include <errno.h>
#include <string.h>

#include "server/base/byte_count.h"
#include "server/base/uint128.h"
#include "server/config/config_internal.h"

/* More than every bound in config_table.h, even in the smallest unit that a value may have. */
#define WHOLE_MAX           UINT64_C(100000000000000000)
#define FRACTION_DIGITS_MAX 9

static const struct {
    const char *name;
    uint64_t ms;
} durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

enum measure { COUNT, DURATION, SIZE };

static enum measure measure_of(const char *unit)
{
    if (strcmp(unit, "seconds") == 0 || strcmp(unit, "milliseconds") == 0)
        return DURATION;
    return strncmp(unit, "bytes", 5) == 0 ? SIZE : COUNT; /* bytes per second, too */
}

const char *config_amount_hint(const char *unit)
{
    static const char *const hints[] = {[COUNT] = "",
                                        [DURATION] = ", or a duration such as 5s, 15m or 7d",
                                        [SIZE] = ", or a size such as 64KiB or 16MB"};
    if (strcmp(unit, "milliseconds") == 0)
        return ", or a duration such as 250ms, 5s or 15m";
    return hints[measure_of(unit)];
}

/* How many milliseconds or bytes the suffix stands for; 0 where there is no such suffix. */
static uint64_t factor_of(enum measure measure, const char *suffix)
{
    if (measure == DURATION) {
        for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
            if (strcmp(durations[i].name, suffix) == 0)
                return durations[i].ms;
        return 0;
    }
    char one[8];
    int64_t bytes;
    int length = snprintf(one, sizeof(one), "1%s", suffix);
    bool letter = (*suffix >= 'a' && *suffix <= 'z') || (*suffix >= 'A' && *suffix <= 'Z');
    if (!letter || length >= (int)sizeof(one) || byte_count_read(one, &bytes) != 0)
        return 0;
    return (uint64_t)bytes;
}

int config_amount_read(const char *text, const char *unit, uint64_t *out)
{
    enum measure measure = measure_of(unit);
    size_t digits = strspn(text, "0123456789");
    const char *fraction = text + digits, *suffix = fraction;
    size_t places = 0;
    if (*fraction == '.') {
        places = strspn(++fraction, "0123456789");
        suffix = fraction + places;
    }
    if (digits == 0 || (suffix != text + digits && places == 0))
        return -EINVAL;
    uint64_t own = strcmp(unit, "seconds") == 0 ? 1000 : 1;
    uint64_t factor = *suffix == '\0' ? own : measure == COUNT ? 0 : factor_of(measure, suffix);
    if (factor == 0)
        return -EINVAL;
    uint128 number = 0;
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (unsigned)(text[i] - '0');
        if (number > WHOLE_MAX)
            return -ERANGE;
    }
    while (places > 0 && fraction[places - 1] == '0')
        places--;
    if (places > FRACTION_DIGITS_MAX)
        return -EDOM;
    uint64_t divisor = own;
    for (size_t i = 0; i < places; i++) {
        number = number * 10 + (unsigned)(fraction[i] - '0');
        divisor *= 10;
    }
    number *= factor; /* below 10^17 * 10^9 * 2^40, which is below 2^128 */
    if (number % divisor != 0)
        return -EDOM;
    number /= divisor;
    if (number > UINT64_MAX)
        return -ERANGE;
    *out = (uint64_t)number;
    return 0;
}
