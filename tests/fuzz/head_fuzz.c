/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the request-head parser, the fields that it finds and the empty content
 * behind a head. It asserts that nothing is read past the input (ASan), that a head's length lies
 * within the input, that every prefix of a complete head is partial and not refused, that a
 * selected range lies in the file, and that the lines of a list lie in the head and end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/http_content.h"
#include "server/http/http_fields.h"
#include "server/http/http_head.h"

#define FILE_SIZE 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void select_range(const struct http_head *head)
{
    const struct http_validators validators = {
        .etag = "\"0123456789abcdef0123456789abcdef\"", .modified_s = 784111777, .size = FILE_SIZE};
    struct http_ranges ranges;
    enum http_selection selection = http_select(head, &validators, &ranges);
    if (selection != HTTP_PART && selection != HTTP_PARTS)
        return;
    require(selection == HTTP_PART ? ranges.count == 1
                                   : ranges.count > 1 && ranges.count <= HTTP_RANGES_MAX);
    uint64_t total = 0;
    for (unsigned i = 0; i < ranges.count; i++) {
        require(ranges.range[i].first <= ranges.range[i].last && ranges.range[i].last < FILE_SIZE);
        total += ranges.range[i].last - ranges.range[i].first + 1;
    }
    require(total <= FILE_SIZE); /* no two overlap */
}

static void walk_lines(const struct http_head *head, const char *copy, const char *name,
                       struct http_text line)
{
    unsigned lines = 0;
    if (line.data == NULL)
        return;
    do {
        require(line.data > copy && line.data + line.length < copy + head->length);
        require(++lines <= HTTP_HEADERS_MAX);
    } while (http_head_next(head, name, &line));
}

/* Skipped content must end within the input, with an empty line, and be partial at every cut. */
static void skip_content(const char *copy, size_t size, const struct http_head *head)
{
    struct http_head whole = *head, cut;
    enum refusal refusal = REFUSAL_NONE;
    enum http_head_status status = http_content_skip(copy, size, &whole, &refusal);
    require(status != HTTP_HEAD_REFUSED || refusal > REFUSAL_FIRST_OF_SERVER);
    require(status != HTTP_HEAD_COMPLETE || (whole.length >= head->length && whole.length <= size));
    if (status != HTTP_HEAD_COMPLETE || whole.length == head->length)
        return;
    require(head->chunked && !whole.has_body &&
            memcmp(copy + whole.length - 4, "\r\n\r\n", 4) == 0);
    for (size_t length = head->length + head->expect_continue; length < whole.length; length++) {
        cut = *head;
        require(http_content_skip(copy, length, &cut, &refusal) == HTTP_HEAD_PARTIAL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head head;
    enum refusal refusal = REFUSAL_NONE;
    char *copy =
        malloc(size + 1); /* of exactly this size, so that ASan sees the first byte past it */
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    enum http_head_status status = http_head_parse(copy, size, &head, &refusal);
    if (status == HTTP_HEAD_COMPLETE) {
        require(head.length <= size && head.target.length > 0);
        select_range(&head);
        walk_lines(&head, copy, "if-match", head.if_match);
        walk_lines(&head, copy, "if-none-match", head.if_none_match);
        walk_lines(&head, copy, "cookie", head.cookie);
        skip_content(copy, size, &head);
        struct http_head prefix;
        size_t cut = head.length > 1 ? head.length - 1 - (size_t)data[0] % (head.length - 1) : 0;
        require(http_head_parse(copy, cut, &prefix, &refusal) == HTTP_HEAD_PARTIAL);
    } else if (status == HTTP_HEAD_REFUSED) {
        require(refusal > REFUSAL_FIRST_OF_SERVER && refusal < REFUSAL_COUNT);
    }
    free(copy);
    return 0;
}
