/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the fields that decide which bytes of a file are sent. The input is 8
 * bytes of file size, then one line each of Range, If-Range, If-Match, If-None-Match,
 * If-Modified-Since, If-Unmodified-Since and a filename. It asserts that ranges lie in the file
 * and do not overlap, that a date reads the same after it was written, and that a disposition is
 * one line of printable ASCII.
 */
#include <stdint.h>
#include <string.h>

#include "server/base/check.h"
#include "server/http/http_fields.h"

#define FIELDS 7
#define NOW_S  1795856400 /* 28 November 2026 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_ranges(const struct http_ranges *ranges, uint64_t size)
{
    check(ranges->count >= 1 && ranges->count <= HTTP_RANGES_MAX);
    for (unsigned i = 0; i < ranges->count; i++) {
        const struct http_range *one = &ranges->range[i];
        check(one->first <= one->last && one->last < size);
        for (unsigned j = 0; j < i; j++)
            check(one->last < ranges->range[j].first || one->first > ranges->range[j].last);
    }
}

static void expect_date(const struct http_text *text)
{
    int64_t seconds, again;
    char written[HTTP_DATE_SIZE];
    if (text->data == NULL || http_date_read(text, NOW_S, &seconds) != 0)
        return;
    http_date_write(seconds, written);
    check(strlen(written) == HTTP_DATE_SIZE - 1);
    check(http_date_read(&(struct http_text){written, HTTP_DATE_SIZE - 1}, NOW_S, &again) == 0);
    check(again == seconds);
}

/* A claim's filename is UTF-8 without control bytes; a file's name may be any bytes. Both have at
 * most 255 bytes. */
static void expect_disposition(const struct http_text *text)
{
    char name[256], out[HTTP_DISPOSITION_SIZE];
    if (text->data == NULL || text->length == 0 || text->length >= sizeof(name))
        return;
    memcpy(name, text->data, text->length);
    name[text->length] = '\0';
    size_t length = http_disposition_write("inline", name, out);
    check(length > 0 && length <= sizeof(out));
    for (size_t i = 0; i < length; i++)
        check(out[i] >= 0x20 && out[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_text fields[FIELDS] = {0};
    uint64_t file_size = 0;
    if (size < sizeof(file_size))
        return 0;
    memcpy(&file_size, data, sizeof(file_size));
    file_size &= INT64_MAX; /* off_t is signed */
    const char *at = (const char *)data + sizeof(file_size), *end = (const char *)data + size;
    for (unsigned i = 0; i < FIELDS && at < end; i++) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        const char *stop = line != NULL ? line : end;
        if (stop > at)
            fields[i] = (struct http_text){at, (size_t)(stop - at)};
        at = stop + 1;
    }
    struct http_head head = {.method = HTTP_GET,
                             .range = fields[0],
                             .if_range = fields[1],
                             .if_match = fields[2],
                             .if_none_match = fields[3],
                             .if_modified_since = fields[4],
                             .if_unmodified_since = fields[5]};
    const struct http_validators validators = {
        .etag = (file_size & 1) != 0 ? "\"0123456789abcdef0123456789abcdef\"" : "",
        .modified_s = 784111777,
        .size = file_size};
    struct http_ranges ranges;
    enum http_selection selection = http_select(&head, &validators, &ranges);
    if (selection == HTTP_PART || selection == HTTP_PARTS) {
        expect_ranges(&ranges, file_size);
        check(fields[0].data != NULL && (selection == HTTP_PARTS) == (ranges.count > 1));
    }
    check(selection != HTTP_UNSATISFIABLE || fields[0].data != NULL);
    for (unsigned i = 1; i < FIELDS; i++)
        expect_date(&fields[i]);
    expect_disposition(&fields[FIELDS - 1]);
    return 0;
}
