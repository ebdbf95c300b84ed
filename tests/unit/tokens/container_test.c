/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URI containers: what each form covers, and which are refused before matching them can cost time.
 */
#include "tests/unit/tokens/fixture.h"
#include "tokens/container_internal.h"
#include "tokens/pattern_internal.h"

#define ORIGIN "http://cdni.example"

static enum token_verdict parse(const char *text)
{
    struct token_container *container = NULL;
    enum token_verdict verdict = container_parse(&container, text, strlen(text));

    cr_assert_eq(container != NULL, verdict == TOKEN_OK);
    container_destroy(&container);
    return verdict;
}

static bool covers(const char *text, const char *path, const char *uri)
{
    struct token_request request = {path, strlen(path), uri, strlen(uri)};
    struct token_container *container = NULL;
    bool result;

    cr_assert_eq(container_parse(&container, text, strlen(text)), TOKEN_OK, "%s", text);
    result = container_covers(container, ORIGIN, &request);
    container_destroy(&container);
    return result;
}

Test(container, exact_covers_one_path_byte_for_byte)
{
    cr_expect(covers("exact:/a b;c.mp3", "/a b;c.mp3", "/a%20b;c.mp3"));
    cr_expect_not(covers("exact:/a b;c.mp3", "/a b;c.mp3/", "/"));
    cr_expect_not(covers("exact:/a", "/A", "/A"));
    cr_expect_not(covers("exact:/a%20b", "/a b", "/a%20b"));
}

Test(container, prefix_covers_a_directory_and_nothing_beside_it)
{
    cr_expect(covers("prefix:/a/", "/a/b/c", "/a/b/c"));
    cr_expect(covers("prefix:/", "/x", "/x"));
    cr_expect_not(covers("prefix:/a/", "/a", "/a"));
    cr_expect_not(covers("prefix:/a/", "/ab/c", "/ab/c"));
    cr_expect_eq(parse("prefix:/a"), REFUSED_CONTAINER_MALFORMED);
    cr_expect_eq(parse("prefix:a/"), REFUSED_CONTAINER_MALFORMED);
}

Test(container, hash_covers_the_uri_of_rfc_9246_appendix_a)
{
    const char *text = "hash:sha-256;2tderfWPa86Ku7YnzW51YUp7dGUjBS_3SW3ELx4hmWY";

    cr_expect(covers(text, "/foo/bar", "/foo/bar"));
    cr_expect_not(covers(text, "/foo/bar", "/foo/bar?x"));
    cr_expect_not(covers(text, "/foo/baR", "/foo/baR"));
    cr_expect_eq(parse("hash:sha-256-128;2tderfWPa86Ku7YnzW51YQ"), REFUSED_CONTAINER_UNSUPPORTED);
    cr_expect_eq(parse("hash:sha-512;AA"), REFUSED_CONTAINER_UNSUPPORTED);
    cr_expect_eq(parse("hash:"), REFUSED_CONTAINER_MALFORMED);
    cr_expect_eq(parse("hash:sha-256;"), REFUSED_CONTAINER_MALFORMED);
    cr_expect_eq(parse("hash:sha-256;2tderfWPa86Ku7YnzW51YUp7dGUjBS_3SW3ELx4hmWZ"),
                 REFUSED_CONTAINER_MALFORMED);
    cr_expect_eq(parse("hash:sha-256;2tderfWPa86Ku7YnzW51YUp7dGUjBS_3SW3ELx4hmWY="),
                 REFUSED_CONTAINER_MALFORMED);
}

Test(container, regex_must_match_the_whole_uri_of_rfc_9246)
{
    /* RFC 9246 appendix A.2 and section 2.1.15.2. */
    const char *png = "regex:http://cdni\\.example/foo/bar/[0-9]{3}\\.png";
    const char *segment =
        "regex:[^:]*\\://[^/]*/folder/content/quality_[^/]*/segment.{3}\\.mp4(\\?.*)?";

    cr_expect(covers(png, "/foo/bar/123.png", "/foo/bar/123.png"));
    cr_expect_not(covers(png, "/foo/bar/1234.png", "/foo/bar/1234.png"));
    cr_expect_not(covers(png, "/foo/bar/123.png", "/foo/bar/123.png?x"));
    cr_expect_not(covers(png, "/foo/bar/123xpng", "/foo/bar/123xpng"));
    cr_expect(covers(segment, "/x", "/folder/content/quality_9/segment001.mp4?a=b"));
    cr_expect(covers(segment, "/x", "/folder/content/quality_9/segment001.mp4"));
    cr_expect_not(covers(segment, "/x", "/folder/content/quality_9/segment001.mp4x"));
}

Test(container, regex_keeps_alternatives_within_the_whole)
{
    const char *text = "regex:http://cdni.example/a|http://cdni.example/b";

    cr_expect(covers(text, "/a", "/a"));
    cr_expect(covers(text, "/b", "/b"));
    cr_expect_not(covers(text, "/ab", "/ab"));
    cr_expect_not(covers(text, "/a", "/a/secret"));
}

Test(container, matches_in_one_pass_what_explodes_elsewhere)
{
    const char *window = "regex:.*(a|b)*a(a|b){100}";
    char uri[1600];

    memset(uri, 'b', sizeof(uri));
    uri[0] = '/';
    uri[sizeof(uri) - 1] = '\0';
    cr_expect_not(covers(window, "/a", uri));
    /* The pattern wants 100 characters after the "a", which must be the 101st from the end. */
    uri[sizeof(uri) - 1 - 101] = 'a';
    cr_expect(covers(window, "/a", uri));
    uri[sizeof(uri) - 1 - 101] = 'b';
    uri[sizeof(uri) - 1 - 100] = 'a';
    cr_expect_not(covers(window, "/a", uri));
}

Test(container, refuses_patterns_that_are_broken_or_too_costly)
{
    static const char *const refused[] = {
        "",
        "(",
        ")",
        "a)|(b",
        "()",
        "a||b",
        "|a",
        "*a",
        "^*a",
        "a$?",
        "a**",
        "a+?",
        "a{2}{2}",
        "(a*)*",
        "(a+)+",
        "(a*b)+",
        "((a*)b){2}",
        "(a{2}){2}",
        "(a|b+)*",
        "a{",
        "a{x}",
        "a{1",
        "a{2,1}",
        "a{101}",
        "a{1,101}",
        "a{,2}",
        "a{1,2",
        "(a)\\1",
        "\\w",
        "\\b",
        "\\<a",
        "a\\",
        "[",
        "[a",
        "[]",
        "[^]",
        "[[:alpha:",
        "[[:alpha:]",
        "[[.a.]]",
        "[[=a=]]",
        "[[:nope:]]",
        "[z-a]",
        "[a-b-c]",
        "a b",
        "\x01",
        "\xc3\xa9",
        "((((((((( a)))))))))",
        "(abcdefgh){100}",
        "a{100}a{100}a{100}a{100}a{100}a{100}",
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), "regex:%s", refused[i]);
        cr_expect_eq(parse(text), REFUSED_CONTAINER_MALFORMED, "%s", refused[i]);
    }
}

Test(container, takes_patterns_that_are_sound)
{
    static const char *const taken[] = {
        "a",     "a|b", "(a|b)*", "a{3,}", "(ab){1,20}", "(a*)?",  "[]a]", "[^]]+", "[[:digit:]]+",
        "[a-z]", ".*",  "^a$",    "\\.",   "a{0}",       "[*+{(]",
    };

    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), "regex:%s", taken[i]);
        cr_expect_eq(parse(text), TOKEN_OK, "%s", taken[i]);
    }
}

Test(container, covers_nothing_past_the_longest_subject)
{
    char uri[PATTERN_SUBJECT_MAX + 1];

    memset(uri, 'a', sizeof(uri));
    uri[0] = '/';
    uri[PATTERN_SUBJECT_MAX - strlen(ORIGIN)] = '\0';
    cr_expect(covers("regex:.*", "/a", uri));
    uri[PATTERN_SUBJECT_MAX - strlen(ORIGIN)] = 'a';
    uri[PATTERN_SUBJECT_MAX] = '\0';
    cr_expect_not(covers("regex:.*", "/a", uri));
}

Test(container, refuses_other_forms)
{
    char longest[TOKEN_CONTAINER_MAX + 2];

    cr_expect_eq(parse(""), REFUSED_CONTAINER_UNSUPPORTED);
    cr_expect_eq(parse("/a"), REFUSED_CONTAINER_UNSUPPORTED);
    cr_expect_eq(parse("EXACT:/a"), REFUSED_CONTAINER_UNSUPPORTED);
    cr_expect_eq(parse("glob:/a*"), REFUSED_CONTAINER_UNSUPPORTED);
    cr_expect_eq(parse("exact:"), REFUSED_CONTAINER_MALFORMED);
    cr_expect_eq(parse("exact:a"), REFUSED_CONTAINER_MALFORMED);
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "exact:/", 7);
    longest[sizeof(longest) - 1] = '\0';
    cr_expect_eq(parse(longest), REFUSED_CONTAINER_MALFORMED);
    longest[sizeof(longest) - 2] = '\0';
    cr_expect_eq(parse(longest), TOKEN_OK);
}
