/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header fields for browsers and players: the name under which a file is saved, its type, how long
 * it may be cached, who may read it from another page, and the page of a refusal.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/integration/harness.h"
#include "tests/integration/semantics_steps.h"

Test(semantics, of_a_filename_are_safe_in_every_recipient)
{
    static const struct {
        const char *filename, *disposition;
    } names[] = {
        {"song.mp3", "attachment; filename=\"song.mp3\""},
        {"Café – 1.mp3",
         "attachment; filename=\"Caf_ _ 1.mp3\"; filename*=UTF-8''Caf%C3%A9%20%E2%80%93%201.mp3"},
        {"a\"b;c.mp3", "attachment; filename=\"a_b;c.mp3\"; filename*=UTF-8''a%22b%3Bc.mp3"},
        {"100%.mp3", "attachment; filename=\"100_.mp3\"; filename*=UTF-8''100%25.mp3"},
    };
    struct site *site = semantics_site();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *link =
            site_link(site, .account = "alice", .path = TRACK_TINY, .filename = names[i].filename);
        const struct answer *answer = fetch(site, link);
        answer_expect_file(site, answer, TRACK_TINY);
        cr_assert_str_eq(answer_header(site, answer, "Content-Disposition"), names[i].disposition);
    }
    site_destroy(&site);
}

/* The filename is the path's last segment, whatever bytes the name on disk has. */
Test(semantics, of_a_file_that_is_played_name_it_by_its_path)
{
    static const struct {
        const char *path, *disposition, *type;
    } files[] = {
        {"/a/one.aac", "inline; filename=\"one.aac\"", "audio/aac"},
        {"/book.M4B", "inline; filename=\"book.M4B\"", "audio/mp4"},
        {"/hls/1.ts", "inline; filename=\"1.ts\"", "video/mp2t"},
        {"/hls/1.m4s", "inline; filename=\"1.m4s\"", "video/iso.segment"},
        {"/v.mp4", "inline; filename=\"v.mp4\"", "video/mp4"},
        {"/a.oga", "inline; filename=\"a.oga\"", "audio/ogg"},
        {"/album.tar.zip", "inline; filename=\"album.tar.zip\"", "application/zip"},
        {"/cover.jpg", "inline; filename=\"cover.jpg\"", "image/jpeg"},
        {"/Bücher/Übung.pdf", "inline; filename=\"_bung.pdf\"; filename*=UTF-8''%C3%9Cbung.pdf",
         "application/pdf"},
        {"/a \"b\".mp3", "inline; filename=\"a _b_.mp3\"; filename*=UTF-8''a%20%22b%22.mp3",
         "audio/mpeg"},
        {"/\xe9t\xe9.mp3", "inline; filename=\"_t_.mp3\"", "audio/mpeg"}, /* not UTF-8 */
        {"/a.mp3/LICENCE", "inline; filename=\"LICENCE\"", "application/octet-stream"},
        {"/what.xyz", "inline; filename=\"what.xyz\"", "application/octet-stream"},
    };
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        site_media_add(site, files[i].path, TRACK_TINY, 1);
        const struct answer *answer =
            fetch(site, site_link(site, .account = "alice", .path = files[i].path,
                                  .container = "prefix:/"));
        answer_expect_file(site, answer, files[i].path);
        cr_expect_str_eq(answer_header(site, answer, "Content-Disposition"), files[i].disposition);
        cr_expect_str_eq(answer_header(site, answer, "Content-Type"), files[i].type, "%s",
                         files[i].path);
    }
    site_destroy(&site);
}

Test(semantics, of_types_and_of_pages_elsewhere_are_configured)
{
    struct site *site = site_create(.settings = "content_types: .MP3=audio/x-mine;a=b\n"
                                                "cors_allow_headers: Range, X-Player\n"
                                                "cross_origin_resource_policy: cross-origin\n",
                                    .issuer = "    origins: [\"" SHOP_PAGE "\"]\n");
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const struct answer *answer = request(site, "GET", link, "");
    cr_assert_eq(answer->status, 200);
    cr_assert_str_eq(answer_header(site, answer, "Content-Type"), "audio/x-mine;a=b");
    cr_assert_str_eq(answer_header(site, answer, "Cross-Origin-Resource-Policy"), "cross-origin");
    answer = request(site, "GET", TRACK_TINY, "");
    cr_assert_eq(answer->status, 403);
    cr_assert_str_eq(answer_header(site, answer, "Cross-Origin-Resource-Policy"), "cross-origin");
    answer = request(site, "OPTIONS", link,
                     "Origin: " SHOP_PAGE "\r\nAccess-Control-Request-Method: GET\r\n");
    cr_assert_eq(answer->status, 204);
    cr_assert_str_eq(answer_header(site, answer, "Access-Control-Allow-Headers"),
                     "Range, X-Player");
    site_destroy(&site);
}

Test(semantics, of_max_age_never_pass_the_links_end)
{
    struct site *site = semantics_site();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = 100);
    const char *caching = answer_header(site, fetch(site, link), "Cache-Control");
    unsigned long age = strtoul(caching + strlen("private, max-age="), NULL, 10);
    cr_assert(age > 50 && age <= 100, "%s", caching);
    site_destroy(&site);
}

#define NAVIGATION                                                                                 \
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Mode: navigate\r\n"

Test(semantics, of_a_refusal_are_a_page_or_the_shops_for_a_browsers_window)
{
    struct site *site = semantics_site();
    const struct answer *answer = request(site, "GET", TRACK_TINY, NAVIGATION);
    cr_assert_eq(answer->status, 403);
    cr_assert_str_eq(answer_header(site, answer, "Content-Type"), "text/html; charset=utf-8");
    cr_assert(strstr((const char *)answer->body, "<code>token_missing</code>"));
    /* The page speaks in a listener's words, and says what to do. */
    static const char incomplete[] =
        "<p>This link is incomplete. Go back to the shop and press download again.</p>";
    cr_assert(strstr((const char *)answer->body, incomplete));
    answer = request(site, "GET", TRACK_TINY "?URISigningPackage=nonsense", NAVIGATION);
    cr_assert_eq(answer->status, 403);
    cr_assert(strstr((const char *)answer->body, incomplete));
    cr_assert_not(strstr((const char *)answer->body, "JWS"), "%s", (const char *)answer->body);

    const char *link = site_link(site, .account = "nobody", .path = TRACK_TINY);
    answer = request(site, "GET", link, NAVIGATION);
    cr_assert_eq(answer->status, 303);
    cr_assert_str_eq(answer_header(site, answer, "Location"),
                     "https://shop.example/refused?from=media&reason=account_unknown");
    /* A player gets the same reason as JSON. */
    answer_expect_refusal(
        site, request(site, "GET", link, "Accept: audio/*\r\nSec-Fetch-Mode: no-cors\r\n"), 402,
        "account_unknown");
    /* A program that takes anything is not a browser. */
    answer_expect_refusal(site, request(site, "GET", link, "Accept: */*\r\n"), 402,
                          "account_unknown");
    site_destroy(&site);
}

static const char *allowed_origin(struct site *site, const char *link)
{
    return answer_header(site, fetch(site, link, .headers = HEADERS("Origin: " SHOP_PAGE)),
                         "Access-Control-Allow-Origin");
}

Test(semantics, of_a_link_are_for_the_pages_of_its_own_issuer)
{
    static const char *const origins[] = {SHOP_PAGE, "*"};
    for (size_t i = 0; i < 2; i++) {
        struct site *site = site_create(.issuer = i == 0 ? "    origins: [\"" SHOP_PAGE "\"]\n"
                                                         : "    origins: [\"*\"]\n");
        site_account_open_postpaid(site, "alice");
        const char *mine = site_link(site, .account = "alice", .path = TRACK_TINY);
        const char *past =
            site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = -5);
        const char *theirs =
            site_link(site, .account = "alice", .path = "/rival/x.mp3", .by_rival = true);
        const char *gone = site_link(site, .account = "alice", .path = "/rival/x.mp3",
                                     .by_rival = true, .expires_in_s = -5);
        cr_expect_str_eq(allowed_origin(site, mine), origins[i]);
        cr_expect_str_eq(allowed_origin(site, past), origins[i]);
        for (int again = 0; again < 2; again++) { /* the second time from the cache of tokens */
            cr_expect_null(allowed_origin(site, theirs));
            cr_expect_null(allowed_origin(site, gone));
        }
        cr_expect_str_eq(allowed_origin(site, TRACK_TINY), origins[i]); /* issuer unknown */
        site_destroy(&site);
    }
}
