/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked content that is empty, which is accepted, and content that comes close to it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "server/http/http_content.h"

#define HEAD "GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"

static enum http_head_status skip(const char *text, size_t length, struct http_head *head,
                                  enum refusal *refusal)
{
    *refusal = REFUSAL_NONE;
    enum http_head_status status = http_head_parse(text, length, head, refusal);
    return status == HTTP_HEAD_COMPLETE ? http_content_skip(text, length, head, refusal) : status;
}

Test(http_content, is_skipped_where_it_is_empty_and_awaited_at_every_cut)
{
    static const char *const contents[] = {
        "0\r\n\r\n",
        "0000000000000000\r\n\r\n",
        "0;a;b=c;d=\"e,\\\";\tf\"\r\n\r\n",
        "0\r\nContent-Length: 7\r\nX:\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
        char text[256];
        struct http_head head;
        enum refusal refusal;
        size_t length = (size_t)snprintf(text, sizeof(text), HEAD "\r\n%s", contents[i]);
        strcpy(text + length, "GET /y HTTP/1.1\r\n");
        for (size_t cut = 0; cut < length; cut++)
            cr_assert_eq(skip(text, cut, &head, &refusal), HTTP_HEAD_PARTIAL, "%s cut at %zu",
                         contents[i], cut);
        cr_assert_eq(skip(text, strlen(text), &head, &refusal), HTTP_HEAD_COMPLETE, "%s",
                     contents[i]);
        cr_assert_eq(head.length, length, "%s", contents[i]);
        cr_assert_not(head.has_body);
        cr_assert_eq(head.content_length, 0, "a trailer field was taken for the head's");
    }
}

Test(http_content, that_is_not_empty_stays_where_it_is)
{
    static const char *const texts[] = {
        HEAD "\r\n5\r\nhello\r\n0\r\n\r\n",
        HEAD "\r\nfFfFfFfFfFfFfFfF;a=b\r\n",
        HEAD "\r\n0000000000000001\r\n",
        HEAD "Expect: 100-continue\r\n\r\n", /* the client waits for a 100 */
        "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct http_head head;
        enum refusal refusal;
        cr_assert_eq(skip(texts[i], strlen(texts[i]), &head, &refusal), HTTP_HEAD_COMPLETE, "%zu",
                     i);
        cr_assert(head.has_body, "%zu", i);
        cr_assert_eq(head.length, (size_t)(strstr(texts[i], "\r\n\r\n") + 4 - texts[i]), "%zu", i);
    }
}

Test(http_content, whose_framing_two_readers_might_read_otherwise_is_refused)
{
    static const char *const contents[] = {
        "0\n\r\n",
        "0\r\n\n",
        "0\r\r\n\r\n",
        "\r\n0\r\n\r\n",
        "+0\r\n\r\n",
        "-0\r\n\r\n",
        " 0\r\n\r\n",
        "0 \r\n\r\n",
        "0\t;a\r\n\r\n",
        "0x0\r\n\r\n",
        "0g\r\n\r\n",
        "0_0\r\n\r\n",
        ";a\r\n\r\n",
        "0;\r\n\r\n",
        "0; a\r\n\r\n",
        "0;a=\r\n\r\n",
        "0;a= b\r\n\r\n",
        "0;a=\"b\r\n\r\n",
        "0;a=\"b\\\r\n\r\n",
        "0;a=\"b\nGET /y HTTP/1.1\r\n\"\r\n\r\n",
        "0;a\x01\r\n\r\n",
        "00000000000000000\r\n\r\n",
        "10000000000000000\r\n",
        "100000000000000000000000000000000\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \x01\r\n\r\n",
        "0\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
        char text[256];
        struct http_head head;
        enum refusal refusal;
        snprintf(text, sizeof(text), HEAD "\r\n%s", contents[i]);
        cr_assert_eq(skip(text, strlen(text), &head, &refusal), HTTP_HEAD_REFUSED, "%s",
                     contents[i]);
        cr_assert_eq(refusal, REFUSAL_HEAD_MALFORMED, "%s", contents[i]);
    }
}

Test(http_content, has_as_many_trailer_fields_as_a_head_has)
{
    char text[2048] = HEAD "\r\n0\r\n";
    struct http_head head;
    enum refusal refusal;
    for (unsigned i = 0; i < HTTP_HEADERS_MAX; i++)
        strcat(text, "X: y\r\n");
    size_t length = strlen(text);
    strcpy(text + length, "\r\n");
    cr_assert_eq(skip(text, strlen(text), &head, &refusal), HTTP_HEAD_COMPLETE);
    cr_assert_eq(head.length, strlen(text));
    strcpy(text + length, "X: y\r\n\r\n");
    cr_assert_eq(skip(text, strlen(text), &head, &refusal), HTTP_HEAD_REFUSED);
    cr_assert_eq(refusal, REFUSAL_HEAD_TOO_LARGE);
}
