/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_validate: what a good token is worth for one request at one instant. It has a time to begin
 * and to end, the paths of its container and those of its issuer.
 */
#include <stdio.h>

#include "tests/unit/tokens/fixture.h"

Test(token_validate, lets_a_link_with_resume_live_on_for_ranges_alone)
{
    struct token_trust *trust = test_trust(NULL, 0);
    struct token *token = NULL;
    char *jws = test_token(WITH("\"resume\":60"));
    struct token_request request = {"/music/a.mp3", 12, "/music/a.mp3", 12};

    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    cr_expect_eq(token_validate(trust, token, &request, token->exp - 1), TOKEN_OK);
    cr_expect_not(token_is_resuming(token, token->exp - 1));
    cr_expect_eq(token_validate(trust, token, &request, token->exp), TOKEN_OK);
    cr_expect(token_is_resuming(token, token->exp));
    cr_expect_eq(token_validate(trust, token, &request, token->exp + 59), TOKEN_OK);
    cr_expect_eq(token_validate(trust, token, &request, token->exp + 60), REFUSED_EXPIRED);
    token_destroy(&token);
    free(jws);
    jws = test_token(WITH("\"resume\":604801"));
    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    cr_expect_eq(token_validate(trust, token, &request, TEST_NOW), REFUSED_LIFETIME_TOO_LONG);
    token_destroy(&token);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_validate, refuses_an_iat_that_is_ahead_of_now_or_in_milliseconds)
{
    static const struct {
        const char *member;
        enum token_verdict expected;
    } rows[] = {
        {"\"iat\":1800000000", TOKEN_OK},
        {"\"iat\":1800000060", TOKEN_OK}, /* the issuer's clock is ahead */
        {"\"iat\":1800000061", REFUSED_ISSUED_AHEAD},
        {"\"iat\":1800000000000", REFUSED_ISSUED_AHEAD},
    };
    struct token_trust *trust = test_trust(NULL, 0);
    struct token_request request = {"/music/a.mp3", 12, "/music/a.mp3", 12};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct token *token = NULL;
        char claims[512];
        char *jws;
        (void)snprintf(claims, sizeof(claims), WITH("%s"), rows[i].member);
        jws = test_token(claims);
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
        cr_expect_eq(token_validate(trust, token, &request, TEST_NOW), rows[i].expected, "%s",
                     rows[i].member);
        token_destroy(&token);
        free(jws);
    }
    token_trust_drop(&trust);
}

/* The verdict on a token with these claims at `now`, for `path`, which is also the URI. */
static enum token_verdict validate_at(const char *claims, const char *path, int64_t now)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_token(claims);
    struct token *token = NULL;
    struct token_request request = {path, strlen(path), path, strlen(path)};
    enum token_verdict verdict;

    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    verdict = token_validate(trust, token, &request, now);
    token_destroy(&token);
    free(jws);
    token_trust_drop(&trust);
    return verdict;
}

Test(token_validate, refuses_from_the_very_second_of_exp_on)
{
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp3", 1800003599), TOKEN_OK);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp3", 1800003600), REFUSED_EXPIRED);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp3", INT64_MAX), REFUSED_EXPIRED);
}

Test(token_validate, refuses_before_nbf_and_beyond_the_longest_lifetime)
{
    const char *claims = WITH("\"nbf\":1800000100");

    cr_expect_eq(validate_at(claims, "/music/a.mp3", 1800000099), REFUSED_NOT_YET_VALID);
    cr_expect_eq(validate_at(claims, "/music/a.mp3", 1800000100), TOKEN_OK);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp3", 1800003600 - 7 * 86400), TOKEN_OK);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp3", 1800003599 - 7 * 86400),
                 REFUSED_LIFETIME_TOO_LONG);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp3", -5), REFUSED_LIFETIME_TOO_LONG);
    /* exp is in milliseconds instead of seconds. */
    cr_expect_eq(validate_at("{\"iss\":\"https://shop.example\",\"exp\":1800003600000,\"cdniuc\":"
                             "\"exact:/music/a.mp3\",\"acct\":\"anna\"}",
                             "/music/a.mp3", TEST_NOW),
                 REFUSED_LIFETIME_TOO_LONG);
}

Test(token_validate, refuses_paths_that_the_container_does_not_name)
{
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/b.mp3", TEST_NOW), REFUSED_OUT_OF_CONTAINER);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp33", TEST_NOW), REFUSED_OUT_OF_CONTAINER);
    cr_expect_eq(validate_at(GOOD_CLAIMS, "/music/a.mp", TEST_NOW), REFUSED_OUT_OF_CONTAINER);
}

Test(token_validate, keeps_an_issuer_within_its_paths)
{
    const char *claims = "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":"
                         "\"prefix:/\",\"acct\":\"anna\"}";

    cr_expect_eq(validate_at(claims, "/music/a", TEST_NOW), TOKEN_OK);
    cr_expect_eq(validate_at(claims, "/music", TEST_NOW), TOKEN_OK);
    cr_expect_eq(validate_at(claims, "/free/a/b", TEST_NOW), TOKEN_OK);
    cr_expect_eq(validate_at(claims, "/musical", TEST_NOW), REFUSED_OUT_OF_ISSUER_PATHS);
    cr_expect_eq(validate_at(claims, "/freeze", TEST_NOW), REFUSED_OUT_OF_ISSUER_PATHS);
    cr_expect_eq(validate_at(claims, "/", TEST_NOW), REFUSED_OUT_OF_ISSUER_PATHS);
}
