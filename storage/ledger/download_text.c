/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number of a download in words, and back (ledger_names.h). The access log writes it, and the commands that
 * show downloads write and read it. The spelling must not change: shops keep it beside their orders.
 */
#include "storage/ledger/journal_format.h"
#include "storage/ledger/lane.h"

#define COUNT_MAX ((UINT64_C(1) << JOURNAL_COUNT_BITS) - 1)

/* Writes the number in decimal digits, and returns the place behind them. Worker threads call it for each response:
 * it is much faster than snprintf. */
static char *write_number(char *at, uint64_t number)
{
    char digits[20];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

void ledger_download_write(uint64_t download, char out[LEDGER_DOWNLOAD_TEXT])
{
    uint64_t lane = download >> 2 * JOURNAL_COUNT_BITS;
    uint64_t segment = download >> JOURNAL_COUNT_BITS & COUNT_MAX;
    out[0] = '\0';
    if (segment == 0 || lane >= LANES_MAX)
        return;
    out[0] = (char)('a' + lane);
    out[1] = '-';
    char *at = write_number(out + 2, segment);
    *at++ = '-';
    at = write_number(at, download & COUNT_MAX);
    *at = '\0';
}

/* Reads decimal digits without a leading zero, 1..COUNT_MAX; NULL where there are none. */
static const char *read_number(const char *text, uint64_t *out)
{
    *out = 0;
    if (*text == '0')
        return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        *out = *out * 10 + (uint64_t)(*text - '0');
        if (*out > COUNT_MAX)
            return NULL;
    }
    return *out > 0 ? text : NULL;
}

bool ledger_download_read(const char *text, uint64_t *out)
{
    uint64_t segment, number;
    if (text[0] < 'a' || text[0] >= (char)('a' + LANES_MAX) || text[1] != '-')
        return false;
    const char *at = read_number(text + 2, &segment);
    if (at == NULL || *at != '-' || (at = read_number(at + 1, &number)) == NULL || *at != '\0')
        return false;
    *out = (uint64_t)(text[0] - 'a') << 2 * JOURNAL_COUNT_BITS | segment << JOURNAL_COUNT_BITS |
           number;
    return true;
}
