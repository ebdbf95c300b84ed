/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which requests are refused, with which status and reason: because of the token, the path or the
 * account. A refused request is never billed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

static struct site *site_with_alice(void)
{
    struct site *site = site_create();
    site_account_open_postpaid(site, "alice");
    return site;
}

static void expect_nothing_billed(struct site *site)
{
    cr_assert_eq(site_usage_settled(site, "alice"), 0);
}

Test(refusal, of_a_link_without_a_token)
{
    struct site *site = site_with_alice();
    answer_expect_refusal(site, fetch(site, TRACK_TINY), 403, "token_missing");
    /* A request without a token must not show whether the file exists. */
    answer_expect_refusal(site, fetch(site, "/nothing.mp3"), 403, "token_missing");
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_a_forged_token)
{
    struct site *site = site_with_alice();
    const char *token = site_token(site, .account = "alice", .path = TRACK_TINY);
    /* The forged token has these claims and another token's signature. */
    const char *other = site_token(site, .account = "mallory", .path = TRACK_TINY);
    const char *forged =
        site_format(site, "%s?URISigningPackage=%.*s%s", TRACK_TINY,
                    (int)(strrchr(token, '.') - token), token, strrchr(other, '.'));
    answer_expect_refusal(site, fetch(site, forged), 403, "bad_signature");
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_a_token_that_is_no_JWS)
{
    struct site *site = site_with_alice();
    answer_expect_refusal(site, fetch(site, TRACK_TINY "?URISigningPackage=nonsense"), 403,
                          "token_malformed");
    /* {"alg":"none"} . {} . */
    answer_expect_refusal(site,
                          fetch(site, TRACK_TINY "?URISigningPackage=eyJhbGciOiJub25lIn0.e30."),
                          403, "algorithm_refused");
    site_destroy(&site);
}

/* A good token with `padding` behind its part `part` (0 to 2). */
static const char *padded(struct site *site, unsigned part, const char *padding)
{
    const char *token = site_token(site, .account = "alice", .path = TRACK_TINY), *end = token;
    for (unsigned i = 0; i <= part; i++)
        end += strcspn(end, ".") + (i < part);
    return site_format(site, "%.*s%s%s", (int)(end - token), token, padding, end);
}

static void expect_padding_refused(struct site *site, const struct answer *answer)
{
    answer_expect_refusal(site, answer, 403, "token_malformed");
    cr_expect(memmem(answer->body, answer->body_length,
                     "without padding: the link was cut or changed", 44),
              "%.*s", (int)answer->body_length, (const char *)answer->body);
}

Test(refusal, of_a_padded_token_blames_the_token_and_says_the_cure)
{
    static const char *const paddings[] = {"=", "==", "%3D", "%3d%3d"};
    struct site *site = site_with_alice();
    for (unsigned i = 0; i < 4 * 3; i++) {
        const char *token = padded(site, i % 3, paddings[i / 3]);
        const char *targets[] = {
            site_format(site, "%s?URISigningPackage=%s", TRACK_TINY, token),
            site_format(site, "%s?a=b&URISigningPackage=%s&c=d", TRACK_TINY, token),
            site_format(site, "%s;URISigningPackage=%s", TRACK_TINY, token),
            site_format(site, "/x;URISigningPackage=%s%s", token, TRACK_TINY),
        };
        for (size_t j = 0; j < sizeof(targets) / sizeof(targets[0]); j++)
            expect_padding_refused(site, fetch(site, targets[j]));
        const char *bearer = site_format(site, "Authorization: Bearer %s", token);
        expect_padding_refused(site, fetch(site, TRACK_TINY, .headers = HEADERS(bearer)));
        const char *cookie = site_format(site, "Cookie: a=b; URISigningPackage=%s; c=d", token);
        expect_padding_refused(site, fetch(site, TRACK_TINY, .headers = HEADERS(cookie)));
        cr_expect(strstr(site_log(site), strchr(token, '.')) == NULL, "a token was logged");
    }
    /* Padding is found before the issuer or the signature's length is looked at. */
    const char *forged = site_format(site, "%s?URISigningPackage=e30.e30.%0300d=", TRACK_TINY, 0);
    expect_padding_refused(site, fetch(site, forged));
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_an_expired_link)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = -1);
    answer_expect_refusal(site, fetch(site, link), 410, "expired");
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_a_link_whose_time_passes_on_a_kept_connection)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = 5);
    unsigned served = 0;
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = fetch(site, link);
    /* The worker has the token in its cache by now, but must look at exp all the same. */
    while (answer->status == 200) {
        served++;
        cr_assert(harness_now_ms() < deadline_ms, "the link never expires");
        harness_pause();
        answer = fetch(site, link);
    }
    answer_expect_refusal(site, answer, 410, "expired");
    cr_assert_geq(served, 1);
    site_destroy(&site);
}

Test(refusal, of_a_link_before_its_time)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .begins_in_s = 600);
    answer_expect_refusal(site, fetch(site, link), 403, "not_yet_valid");
    site_destroy(&site);
}

Test(refusal, of_a_link_that_lives_too_long)
{
    struct site *site = site_with_alice();
    const char *link =
        site_link(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = 8 * 24 * 3600);
    answer_expect_refusal(site, fetch(site, link), 403, "lifetime_too_long");
    site_destroy(&site);
}

Test(refusal, of_a_path_outside_of_the_container)
{
    struct site *site = site_with_alice();
    const char *exact =
        site_link(site, .account = "alice", .path = TRACK_TINY, .container = "exact:/other.mp3");
    answer_expect_refusal(site, fetch(site, exact), 403, "out_of_container");
    const char *prefix =
        site_link(site, .account = "alice", .path = TRACK_TINY, .container = "prefix:/albums/");
    answer_expect_refusal(site, fetch(site, prefix), 403, "out_of_container");
    const char *inside =
        site_link(site, .account = "alice", .path = TRACK_SHORT, .container = "prefix:/albums/");
    answer_expect_file(site, fetch(site, inside), TRACK_SHORT);
    site_destroy(&site);
}

Test(refusal, of_an_issuer_on_anothers_paths)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .by_rival = true);
    answer_expect_refusal(site, fetch(site, link), 403, "out_of_issuer_paths");
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_an_issuer_under_anothers_name)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .by_rival = true,
                                 .iss = "https://shop.example");
    answer_expect_refusal(site, fetch(site, link), 403, "key_unknown");
    link = site_link(site, .account = "alice", .path = TRACK_TINY, .iss = "https://nobody.example");
    answer_expect_refusal(site, fetch(site, link), 403, "issuer_unknown");
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_a_file_that_is_not_there)
{
    struct site *site = site_with_alice();
    static const char *const paths[] = {"/nothing.mp3", "/albums", "/jingle.mp3/", "/albums/"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const char *link = site_link(site, .account = "alice", .path = paths[i]);
        answer_expect_refusal(site, fetch(site, link), 404, "file_not_found");
    }
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_symbolic_links_out_of_the_media_root)
{
    struct site *site = site_create(.own_media = true);
    site_account_open_postpaid(site, "alice");
    cr_assert_eq(symlink("/etc/passwd", site_media_path(site, "/passwd.mp3")), 0);
    cr_assert_eq(symlink("/etc", site_media_path(site, "/etc")), 0);
    const char *link = site_link(site, .account = "alice", .path = "/passwd.mp3");
    answer_expect_refusal(site, fetch(site, link), 404, "file_not_found");
    link = site_link(site, .account = "alice", .path = "/etc/passwd");
    answer_expect_refusal(site, fetch(site, link), 404, "file_not_found");
    site_destroy(&site);
}

Test(refusal, of_paths_that_try_to_leave)
{
    struct site *site = site_with_alice();
    static const struct {
        const char *path, *detail;
    } rows[] = {
        {"/../etc/passwd", "segment 1 of the path is a dot-segment"},
        {"/albums/../jingle.mp3", "segment 2 of the path is a dot-segment"},
        {"/%2e%2e/etc/passwd", "segment 1 of the path is a dot-segment"},
        {"/./jingle.mp3", "segment 1 of the path is a dot-segment"},
        {"/albums%2fx.mp3", "segment 1 of the path has an escaped slash (%2F)"},
        {"/albums/x%00.mp3", "segment 2 of the path has a control byte (%00"},
        {"/jingle.mp3%00", "segment 1 of the path has a control byte (%00"},
        {"/jingle.mp%3", "segment 1 of the path has a % that"},
        {"/jingle%zz.mp3", "segment 1 of the path has a % that"},
        {"/albums%5cjingle.mp3", "segment 1 of the path has a backslash (%5C)"},
        {"//jingle.mp3", "segment 1 of the path is empty"},
        {"/albums//x.mp3", "segment 2 of the path is empty"},
    };
    const char *token = site_token(site, .account = "alice", .path = "/", .container = "prefix:/");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int fd = raw_connect(site, 0); /* a bare socket, because libcurl would repair the path */
        raw_print(fd, "GET %s?URISigningPackage=%s HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].path,
                  token);
        const struct answer *answer = raw_answer(site, fd, false);
        cr_assert_eq(answer->status, 400, "%s is answered %u", rows[i].path, answer->status);
        answer_expect_refusal(site, answer, 400, "path_invalid");
        const char *detail = site_format(site, "\"detail\":\"%s", rows[i].detail);
        cr_assert_not_null(memmem(answer->body, answer->body_length, detail, strlen(detail)),
                           "%s: %.*s", rows[i].path, (int)answer->body_length,
                           (const char *)answer->body);
        close(fd);
    }
    expect_nothing_billed(site);
    site_destroy(&site);
}

Test(refusal, of_accounts_that_cannot_pay)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "nobody", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link), 402, "account_unknown");

    size_t size;
    site_media_bytes(site, TRACK_TINY, &size);
    site_account_open_prepaid(site, "poor", size - 1);
    link = site_link(site, .account = "poor", .path = TRACK_TINY);
    answer_expect_refusal(site, fetch(site, link), 402, "balance_insufficient");
    cr_assert_eq(site_usage_settled(site, "poor"), 0);
    site_destroy(&site);
}

Test(refusal, of_a_suspended_account_until_it_is_activated)
{
    struct site *site = site_with_alice();
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/alice/suspend", "{}")->status, 200);
    answer_expect_refusal(site, fetch(site, link), 402, "account_suspended");
    expect_nothing_billed(site);
    cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/alice/activate", "{}")->status, 200);
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_destroy(&site);
}

Test(refusal, has_the_same_shape_for_every_bad_token)
{
    struct site *site = site_with_alice();
    const struct answer *missing = fetch(site, TRACK_TINY);
    const struct answer *outside =
        fetch(site, site_link(site, .account = "alice", .path = TRACK_TINY,
                              .container = "exact:/other.mp3"));
    static const char *const names[] = {"Content-Type", "Cache-Control", "Connection"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *one = answer_header(site, missing, names[i]);
        const char *two = answer_header(site, outside, names[i]);
        cr_assert_eq(one == NULL, two == NULL, "%s", names[i]);
        if (one != NULL)
            cr_assert_str_eq(one, two);
    }
    site_destroy(&site);
}

Test(refusal, never_writes_a_token_to_the_log)
{
    struct site *site = site_create(.settings = "log_level: debug\n");
    site_account_open_postpaid(site, "alice");
    const char *good = site_token(site, .account = "alice", .path = TRACK_TINY);
    const char *late = site_token(site, .account = "alice", .path = TRACK_TINY, .expires_in_s = -1);
    fetch(site, site_format(site, "%s?URISigningPackage=%s", TRACK_TINY, good));
    fetch(site, site_format(site, "%s?URISigningPackage=%s", TRACK_TINY, late));
    const char *log = site_log(site);
    cr_assert_null(strstr(log, strrchr(good, '.') + 1));
    cr_assert_null(strstr(log, strrchr(late, '.') + 1));
    site_destroy(&site);
}
