/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request target: where its token (the package) is found, which URI is left without it, and
 * which paths are refused.
 */
#include <errno.h>

#include "tests/unit/tokens/fixture.h"

static struct token_target parsed;

static enum token_target_error parse(const char *target)
{
    return token_target_parse(target, strlen(target), "URISigningPackage", &parsed);
}

Test(token_target, strips_the_package_as_rfc_9246_says)
{
    static const struct {
        const char *target;
        const char *path;
        const char *uri;
        const char *package; /* NULL: none */
    } rows[] = {
        {"/a", "/a", "/a", NULL},
        {"/", "/", "/", NULL},
        {"", "/", "/", NULL},
        {"?a&URISigningPackage=x.y.z", "/", "/?a", "x.y.z"},
        {"/a%20[b]|^.mp3?[c]|^{d}`", "/a [b]|^.mp3",
         "/a%20%5Bb%5D%7C%5E.mp3?%5Bc%5D%7C%5E%7Bd%7D%60", NULL},
        {"/a%20%5Bb%5D%7C%5E.mp3?%5Bc%5D%7C%5E%7Bd%7D%60", "/a [b]|^.mp3",
         "/a%20%5Bb%5D%7C%5E.mp3?%5Bc%5D%7C%5E%7Bd%7D%60", NULL},
        {"/a/", "/a/", "/a/", NULL},
        {"/a?URISigningPackage=x.y.z", "/a", "/a", "x.y.z"},
        {"/a?URISigningPackage=x.y.z&b=c", "/a", "/a?b=c", "x.y.z"},
        {"/a?b=c&URISigningPackage=x.y.z", "/a", "/a?b=c", "x.y.z"},
        {"/a?b=c&URISigningPackage=x.y.z&d", "/a", "/a?b=c&d", "x.y.z"},
        {"/a?URISigningPackage=", "/a", "/a", ""},
        {"/a?URISigningPackage==", "/a", "/a", "="},
        {"/a?URISigningPackage=x==.y=.z=", "/a", "/a", "x==.y=.z="},
        {"/a?URISigningPackage=x+x.y=.z=&b", "/a", "/a?b", "x+x.y=.z="},
        {"/a;URISigningPackage=x=.y.z==/b", "/a/b", "/a/b", "x=.y.z=="},
        {"/a;URISigningPackage=x=.y.z=;c?d", "/a;c", "/a;c?d", "x=.y.z="},
        {"/a;URISigningPackage=x.y.z", "/a", "/a", "x.y.z"},
        {"/a;URISigningPackage=x.y.z/b", "/a/b", "/a/b", "x.y.z"},
        {"/a;URISigningPackage=x.y.z;p=q/b?c", "/a;p=q/b", "/a;p=q/b?c", "x.y.z"},
        {"/a;p=q;URISigningPackage=x.y.z?c=d", "/a;p=q", "/a;p=q?c=d", "x.y.z"},
        {"/a;URISigningPackage", "/a;URISigningPackage", "/a;URISigningPackage", NULL},
        {"/a?urisigningpackage=x", "/a", "/a?urisigningpackage=x", NULL},
        {"/a?URISigningPackages=x", "/a", "/a?URISigningPackages=x", NULL},
        {"/a?xURISigningPackage=x", "/a", "/a?xURISigningPackage=x", NULL},
        {"/a?b?URISigningPackage=x", "/a", "/a?b?URISigningPackage=x", NULL},
        {"/a?b;URISigningPackage=x", "/a", "/a?b;URISigningPackage=x", NULL},
        {"/%7ea%c3%a9?%7e=%2f", "/~a\xc3\xa9", "/~a%C3%A9?~=%2F", NULL},
        {"/\xc3\xa9|", "/\xc3\xa9|", "/%C3%A9%7C", NULL},
        {"/a%3Fb%23%25", "/a?b#%", "/a%3Fb%23%25", NULL},
        {"/a%3BURISigningPackage=x", "/a;URISigningPackage=x", "/a%3BURISigningPackage=x", NULL},
        {"/a+b%20c", "/a+b c", "/a+b%20c", NULL},
        {"/...", "/...", "/...", NULL},
        {"/.a/..b", "/.a/..b", "/.a/..b", NULL},
        {"/a?../..//", "/a", "/a?../..//", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(parse(rows[i].target), TOKEN_TARGET_OK, "%s", rows[i].target);
        cr_expect_str_eq(parsed.path, rows[i].path, "%s: %s", rows[i].target, parsed.path);
        cr_expect_str_eq(parsed.uri, rows[i].uri, "%s: %s", rows[i].target, parsed.uri);
        cr_expect_eq(parsed.path_length, strlen(rows[i].path));
        cr_expect_eq(parsed.uri_length, strlen(rows[i].uri));
        cr_assert_eq(parsed.package == NULL, rows[i].package == NULL, "%s", rows[i].target);
        if (rows[i].package != NULL) {
            cr_expect_eq(parsed.package_length, strlen(rows[i].package));
            cr_expect_arr_eq(parsed.package, rows[i].package, parsed.package_length);
        }
    }
}

Test(token_target, refuses_paths_that_could_be_read_two_ways)
{
    static const char *const refused[] = {
        "a",
        "*",
        "http://a/",
        "//",
        "//a",
        "/a//b",
        "/a%2Fb",
        "/a%2fb",
        "/a\\b",
        "/a%5Cb",
        "/a%5cb",
        "/a%00",
        "/.",
        "/..",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/%2e",
        "/%2e%2E/a",
        "/.%2e/",
        "/a/.",
        "/a%",
        "/a%4",
        "/a%4g",
        "/a%zz",
        "/a b",
        "/a\tb",
        "/a%0a",
        "/a%1f",
        "/a%7f",
        "/a\x7f",
        "/a#b",
        "/a?b#c",
        "/a?b c",
        "/a?%",
        "/a?%f",
        "/a?b\\c",
        "/a;URISigningPackage=x//b",
        "/a/;URISigningPackage=x/b",
        "/..;URISigningPackage=x/b",
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_expect_eq(parse(refused[i]), TOKEN_TARGET_BAD_PATH, "%s", refused[i]);
    cr_expect_eq(token_target_parse("/a\0b", 4, "p", &parsed), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(token_target_parse("/a?p=x\0b", 8, "p", &parsed), TOKEN_TARGET_BAD_PATH);
}

Test(token_target, says_which_segment_is_at_fault_and_why)
{
    static const struct {
        const char *target, *said;
    } rows[] = {
        {"a", "the path does not begin with a slash"},
        {"//a", "segment 1 of the path is empty"},
        {"/a//b", "segment 2 of the path is empty"},
        {"/a/b//", "segment 3 of the path is empty"},
        {"/a/;URISigningPackage=x/b", "segment 2 of the path is empty"},
        {"/a/../b", "segment 2 of the path is a dot-segment"},
        {"/a/b/%2e", "segment 3 of the path is a dot-segment"},
        {"/a/b%2fc", "segment 2 of the path has an escaped slash"},
        {"/a%5Cb/c", "segment 1 of the path has a backslash"},
        {"/a%00", "segment 1 of the path has a control byte (%00"},
        {"/a/b/c%0a", "segment 3 of the path has a control byte"},
        {"/a/%7f?b", "segment 2 of the path has a control byte"},
        {"/a/b%", "segment 2 of the path has a % that"},
        {"/a/%zz", "segment 2 of the path has a % that"},
        {"/a/b c", "segment 2 of the path has a space"},
        {"/a\\b", "segment 1 of the path has a space, a control byte, # or a backslash"},
        {"/a/b;URISigningPackage=x,q", "segment 2 of the path has other text directly"},
        {"/a/b?URISigningPackage=x/q", "the query has other text directly"},
        {"/a?b=%f", "the query has a % that"},
        {"/a?b c", "the query has a space"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char said[TOKEN_PATH_FAULT_SIZE];

        cr_assert_eq(parse(rows[i].target), TOKEN_TARGET_BAD_PATH, "%s", rows[i].target);
        token_path_fault_write(&parsed, said);
        cr_expect_eq(strncmp(said, rows[i].said, strlen(rows[i].said)), 0, "%s: %s", rows[i].target,
                     said);
        cr_expect_not_null(strchr(said, ':'), "no cure: %s", said);
        cr_expect_lt(strlen(said), sizeof(said) - 1, "cut off: %s", said);
    }
}

Test(token_target, refuses_a_package_whose_end_would_move_the_path)
{
    /* Read to the letter, RFC 9246 2.1.15 would make the URI /p/q, while the node opened /p. */
    cr_expect_eq(parse("/p?URISigningPackage=x/q"), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(parse("/p?URISigningPackage=x?q"), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(parse("/p?URISigningPackage=x;q"), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(parse("/p;URISigningPackage=x,q"), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(parse("/p;URISigningPackage=x=q"), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(parse("/p;URISigningPackage=x==q"), TOKEN_TARGET_BAD_PATH);
    cr_expect_eq(parse("/p?URISigningPackage=x=/q"), TOKEN_TARGET_BAD_PATH);
}

Test(token_target, refuses_two_packages_wherever_they_stand)
{
    cr_expect_eq(parse("/a?URISigningPackage=x&URISigningPackage=x"), TOKEN_TARGET_AMBIGUOUS);
    cr_expect_eq(parse("/a?URISigningPackage=x&b&URISigningPackage=y"), TOKEN_TARGET_AMBIGUOUS);
    cr_expect_eq(parse("/a;URISigningPackage=x;URISigningPackage=y"), TOKEN_TARGET_AMBIGUOUS);
    cr_expect_eq(parse("/a;URISigningPackage=x/b;URISigningPackage=y"), TOKEN_TARGET_AMBIGUOUS);
    cr_expect_eq(parse("/a;URISigningPackage=x?URISigningPackage=y"), TOKEN_TARGET_AMBIGUOUS);
}

Test(token_target, refuses_what_is_too_long)
{
    static char target[20000];

    memset(target, 'a', sizeof(target));
    target[0] = '/';
    cr_expect_eq(token_target_parse(target, 1024, "p", &parsed), TOKEN_TARGET_OK);
    cr_expect_eq(parsed.path_length, 1024);
    cr_expect_eq(token_target_parse(target, 1025, "p", &parsed), TOKEN_TARGET_TOO_LONG);
    target[1] = '?';
    cr_expect_eq(token_target_parse(target, 8192, "p", &parsed), TOKEN_TARGET_OK);
    cr_expect_eq(token_target_parse(target, 8193, "p", &parsed), TOKEN_TARGET_TOO_LONG);
    /* Each '|' becomes an escape of three characters, which count. */
    memset(target + 2, '|', sizeof(target) - 2);
    cr_expect_eq(token_target_parse(target, 4000, "p", &parsed), TOKEN_TARGET_TOO_LONG);
}

Test(token_path_encode, keeps_what_a_path_may_hold_and_escapes_the_rest)
{
    static const char path[] = "/a b/\xc3\xa9?#%;=@:~";
    char out[64];

    cr_expect_eq(token_path_encode(path, strlen(path), out, sizeof(out)), 27);
    cr_expect_str_eq(out, "/a%20b/%C3%A9%3F%23%25;=@:~");
    cr_expect_eq(token_path_encode("", 0, out, sizeof(out)), 0);
    cr_expect_str_eq(out, "");
    cr_expect_eq(token_path_encode("/ab", 3, out, 4), 3);
    cr_expect_eq(token_path_encode("/ab", 3, out, 3), -ENOSPC);
    cr_expect_eq(token_path_encode("/a ", 3, out, 5), -ENOSPC);
    cr_expect_eq(token_path_encode("", 0, out, 0), -ENOSPC);
}
