/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of which heads and chunked content are made: a line ends in CRLF alone, a field has no
 * white space before its colon, and a list may have empty members.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "server/http/http_lines.h"

static struct http_text text_of(const char *text)
{
    return (struct http_text){text, strlen(text)};
}

static void expect_text(const struct http_text *text, const char *expected)
{
    cr_expect_eq(text->length, strlen(expected), "%.*s is not \"%s\"", (int)text->length,
                 text->data, expected);
    cr_expect_eq(strncmp(text->data, expected, text->length), 0, "%.*s is not \"%s\"",
                 (int)text->length, text->data, expected);
}

Test(http_lines, a_line_ends_in_CRLF_alone)
{
    static const struct {
        const char *bytes;
        enum http_head_status status;
        const char *line, *rest;
    } rows[] = {
        {"abc\r\nd", HTTP_HEAD_COMPLETE, "abc", "d"},
        {"\r\n", HTTP_HEAD_COMPLETE, "", ""},
        {"a\r\n\r\n", HTTP_HEAD_COMPLETE, "a", "\r\n"},
        {"", HTTP_HEAD_PARTIAL, NULL, NULL},
        {"abc", HTTP_HEAD_PARTIAL, NULL, NULL},
        {"abc\r", HTTP_HEAD_PARTIAL, NULL, NULL}, /* the LF may come yet */
        {"abc\n", HTTP_HEAD_REFUSED, NULL, NULL},
        {"a\rbc", HTTP_HEAD_REFUSED, NULL, NULL},
        {"a\rb\r\n", HTTP_HEAD_REFUSED, NULL, NULL},
        {"a\r\r\n", HTTP_HEAD_REFUSED, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *at = rows[i].bytes, *end = at + strlen(at);
        struct http_text line = {0};
        cr_expect_eq(http_line_take(&at, end, &line), rows[i].status, "row %zu", i);
        if (rows[i].status == HTTP_HEAD_COMPLETE) {
            expect_text(&line, rows[i].line);
            cr_expect_str_eq(at, rows[i].rest, "row %zu", i);
        } else {
            cr_expect_eq(at, rows[i].bytes, "row %zu: a line was taken", i);
        }
    }
}

Test(http_lines, a_line_is_not_looked_for_behind_the_end)
{
    static const char bytes[] = "abc\r\ndef\r\n";
    struct http_text line;
    for (size_t length = 0; length < 5; length++) {
        const char *at = bytes;
        cr_expect_eq(http_line_take(&at, bytes + length, &line), HTTP_HEAD_PARTIAL, "%zu", length);
    }
}

Test(http_lines, a_field_is_cut_at_its_colon_and_loses_the_white_space_around_its_value)
{
    static const char *const rows[][3] = {
        {"Host: a", "Host", "a"},
        {"Host:a", "Host", "a"},
        {"X: \t a b\t ", "X", "a b"},
        {"X:", "X", ""},
        {"X:  ", "X", ""},
        {"X: a:b", "X", "a:b"},
        {"!#$%&'*+-.^_`|~09Az: \xc3\xa9", "!#$%&'*+-.^_`|~09Az", "\xc3\xa9"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_text line = text_of(rows[i][0]), name = {0}, value = {0};
        cr_assert(http_field_cut(&line, &name, &value), "%s", rows[i][0]);
        expect_text(&name, rows[i][1]);
        expect_text(&value, rows[i][2]);
    }
    static const char *const wrong[] = {"",      ":",       ": a",        "X",          "X : a",
                                        " X: a", "\tX: a",  "X y: a",     "X(: a",      "X: a\x01",
                                        "X: \r", "X: a\rb", "X: a\x7f b", "\xc3\xa9: a"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct http_text line = text_of(wrong[i]), name, value;
        cr_expect_not(http_field_cut(&line, &name, &value), "\"%s\" was taken", wrong[i]);
    }
    struct http_text name, value, nul = {"X: a\0b", 6};
    cr_expect_not(http_field_cut(&nul, &name, &value), "a NUL was taken");
}

Test(http_lines, a_list_is_taken_member_by_member_and_may_have_empty_ones)
{
    static const struct {
        const char *list;
        const char *members[4];
    } rows[] = {
        {"a", {"a"}},       {"a,b", {"a", "b"}}, {" a ,\tb c , d", {"a", "b c", "d"}},
        {"", {""}},         {",", {"", ""}},     {"a,,b", {"a", "", "b"}},
        {"a, ", {"a", ""}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_text rest = text_of(rows[i].list), member;
        for (size_t k = 0; k < 4 && rows[i].members[k] != NULL; k++) {
            cr_assert(http_list_next(&rest, &member), "\"%s\" ends after %zu", rows[i].list, k);
            expect_text(&member, rows[i].members[k]);
        }
        cr_expect_not(http_list_next(&rest, &member), "\"%s\" goes on", rows[i].list);
        cr_expect_null(rest.data);
    }
}

Test(http_lines, words_are_compared_whole_and_without_case)
{
    struct http_text text = text_of("Chunked");
    cr_expect(http_text_is_nocase(&text, "chunked"));
    cr_expect_not(http_text_is_nocase(&text, "chunk"));
    cr_expect_not(http_text_is_nocase(&text, "chunked2"));
}
