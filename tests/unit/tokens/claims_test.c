/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claims of a token whose signature is good: tables of what is refused and why, the limits of a
 * link, and what the policy, the issuer and the audiences make of them.
 */
#include <stdio.h>

#include "tests/unit/tokens/fixture.h"

static const struct forgery claim_rows[] = {
    {"no json", GOOD_HEADER, "{\"iss\"", REFUSED_CLAIMS_MALFORMED},
    {"array", GOOD_HEADER, "[]", REFUSED_CLAIMS_MALFORMED},
    {"two objects", GOOD_HEADER, GOOD_CLAIMS "{}", REFUSED_CLAIMS_MALFORMED},
    {"duplicate", GOOD_HEADER, WITH("\"acct\":\"otto\""), REFUSED_CLAIMS_MALFORMED},
    {"duplicate by escape", GOOD_HEADER, WITH("\"\\u0061cct\":\"otto\""), REFUSED_CLAIMS_MALFORMED},
    {"duplicate within", GOOD_HEADER, WITH("\"x\":{\"a\":1,\"a\":2}"), REFUSED_CLAIMS_MALFORMED},
    {"NUL", GOOD_HEADER, WITH("\"jti\":\"a\\u0000b\""), REFUSED_CLAIMS_MALFORMED},
    {"not UTF-8", GOOD_HEADER, WITH("\"jti\":\"\xff\""), REFUSED_CLAIMS_MALFORMED},
    {"deep", GOOD_HEADER, WITH("\"x\":[[[[[[[[[[]]]]]]]]]]"), REFUSED_CLAIMS_MALFORMED},
    {"huge number", GOOD_HEADER, WITH("\"x\":99999999999999999999999"), REFUSED_CLAIMS_MALFORMED},
    {"iss missing", GOOD_HEADER, "{\"exp\":1800003600}", REFUSED_CLAIM_MISSING},
    {"iss number", GOOD_HEADER, "{\"iss\":1}", REFUSED_CLAIMS_MALFORMED},
    {"iss unknown", GOOD_HEADER, "{\"iss\":\"https://shop.example/\"}", REFUSED_ISSUER_UNKNOWN},
    {"exp missing", GOOD_HEADER,
     "{\"iss\":\"https://shop.example\",\"cdniuc\":\"exact:/a\",\"acct\":\"anna\"}",
     REFUSED_CLAIM_MISSING},
    {"cdniuc missing", GOOD_HEADER,
     "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"acct\":\"anna\"}",
     REFUSED_CLAIM_MISSING},
    {"acct missing", GOOD_HEADER,
     "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/a\"}",
     REFUSED_CLAIM_MISSING},
    {"acct empty", GOOD_HEADER,
     "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/"
     "a\",\"acct\":\"\"}",
     REFUSED_CLAIMS_MALFORMED},
    {"acct control", GOOD_HEADER,
     "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/"
     "a\",\"acct\":\"a\\n\"}",
     REFUSED_CLAIMS_MALFORMED},
    {"cdniuc array", GOOD_HEADER,
     "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":[\"exact:/"
     "a\"],\"acct\":\"a\"}",
     REFUSED_CLAIMS_MALFORMED},
    {"nbf float", GOOD_HEADER, WITH("\"nbf\":1.5"), TOKEN_OK},
    {"nbf -0.5", GOOD_HEADER, WITH("\"nbf\":-0.5"), REFUSED_CLAIMS_MALFORMED},
    {"nbf 1e16", GOOD_HEADER, WITH("\"nbf\":1e16"), REFUSED_CLAIMS_MALFORMED},
    {"nbf exponent", GOOD_HEADER, WITH("\"nbf\":1e3"), TOKEN_OK},
    {"nbf negative", GOOD_HEADER, WITH("\"nbf\":-1"), REFUSED_CLAIMS_MALFORMED},
    {"nbf 2^53", GOOD_HEADER, WITH("\"nbf\":9007199254740992"), REFUSED_CLAIMS_MALFORMED},
    {"nbf 2^53-1", GOOD_HEADER, WITH("\"nbf\":9007199254740991"), TOKEN_OK},
    {"nbf text", GOOD_HEADER, WITH("\"nbf\":\"1\""), REFUSED_CLAIMS_MALFORMED},
    {"nbf null", GOOD_HEADER, WITH("\"nbf\":null"), REFUSED_CLAIMS_MALFORMED},
    {"iat bool", GOOD_HEADER, WITH("\"iat\":true"), REFUSED_CLAIMS_MALFORMED},
    {"jti empty", GOOD_HEADER, WITH("\"jti\":\"\""), REFUSED_CLAIMS_MALFORMED},
    {"jti number", GOOD_HEADER, WITH("\"jti\":7"), REFUSED_CLAIMS_MALFORMED},
    {"version 2", GOOD_HEADER, WITH("\"cdniv\":2"), REFUSED_VERSION_UNSUPPORTED},
    {"version text", GOOD_HEADER, WITH("\"cdniv\":\"1\""), REFUSED_CLAIMS_MALFORMED},
    {"version 1.0", GOOD_HEADER, WITH("\"cdniv\":1.0"), REFUSED_CLAIMS_MALFORMED},
    {"client address", GOOD_HEADER, WITH("\"cdniip\":\"x\""), REFUSED_CLIENT_IP_UNSUPPORTED},
    {"subject", GOOD_HEADER, WITH("\"sub\":\"x\""), REFUSED_SUBJECT_UNSUPPORTED},
    {"cdniets", GOOD_HEADER, WITH("\"cdniets\":30"), REFUSED_RENEWAL_UNSUPPORTED},
    {"cdnistt", GOOD_HEADER, WITH("\"cdnistt\":0"), REFUSED_RENEWAL_UNSUPPORTED},
    {"cdnistd", GOOD_HEADER, WITH("\"cdnistd\":2"), REFUSED_RENEWAL_UNSUPPORTED},
    {"critical acct", GOOD_HEADER, WITH("\"cdnicrit\":\"acct\""), TOKEN_OK},
    {"critical acct, exp", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,exp\""), TOKEN_OK},
    {"critical acct, mood", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,mood\""),
     REFUSED_CRITICAL_UNSUPPORTED},
    {"critical prefix", GOOD_HEADER, WITH("\"cdnicrit\":\"acc\""), REFUSED_CRITICAL_UNSUPPORTED},
    {"critical empty", GOOD_HEADER, WITH("\"cdnicrit\":\"\""), REFUSED_CLAIMS_MALFORMED},
    {"critical empty name", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,\""), REFUSED_CLAIMS_MALFORMED},
    {"critical twice", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,exp,acct\""),
     REFUSED_CLAIMS_MALFORMED},
    {"critical array", GOOD_HEADER, WITH("\"cdnicrit\":[\"acct\"]"), REFUSED_CLAIMS_MALFORMED},
    {"aud where none is configured", GOOD_HEADER, WITH("\"aud\":\"x\""), REFUSED_AUDIENCE_MISMATCH},
};

/* The claims that limit a link, and claims that nobody knows here. */
static const struct forgery limit_rows[] = {
    {"max_uses without jti", GOOD_HEADER, WITH("\"max_uses\":1"), REFUSED_JTI_MISSING},
    {"max_uses", GOOD_HEADER, WITH("\"max_uses\":1000,\"jti\":\"j\""), TOKEN_OK},
    {"max_uses 0", GOOD_HEADER, WITH("\"max_uses\":0,\"jti\":\"j\""), REFUSED_CLAIMS_MALFORMED},
    {"max_uses 1001", GOOD_HEADER, WITH("\"max_uses\":1001,\"jti\":\"j\""),
     REFUSED_CLAIMS_MALFORMED},
    {"max_uses -1", GOOD_HEADER, WITH("\"max_uses\":-1,\"jti\":\"j\""), REFUSED_CLAIMS_MALFORMED},
    {"max_uses real", GOOD_HEADER, WITH("\"max_uses\":1.0,\"jti\":\"j\""), TOKEN_OK},
    {"max_uses 1.5", GOOD_HEADER, WITH("\"max_uses\":1.5,\"jti\":\"j\""), REFUSED_CLAIMS_MALFORMED},
    {"max_uses 0.0", GOOD_HEADER, WITH("\"max_uses\":0.0,\"jti\":\"j\""), REFUSED_CLAIMS_MALFORMED},
    {"rate 1e300", GOOD_HEADER, WITH("\"rate\":1e300"), REFUSED_CLAIMS_MALFORMED},
    {"max_uses text", GOOD_HEADER, WITH("\"max_uses\":\"1\",\"jti\":\"j\""),
     REFUSED_CLAIMS_MALFORMED},
    {"max_uses null", GOOD_HEADER, WITH("\"max_uses\":null,\"jti\":\"j\""),
     REFUSED_CLAIMS_MALFORMED},
    {"max_bytes", GOOD_HEADER, WITH("\"max_bytes\":9007199254740991"), TOKEN_OK},
    {"max_bytes 2^53", GOOD_HEADER, WITH("\"max_bytes\":9007199254740992"),
     REFUSED_CLAIMS_MALFORMED},
    {"max_bytes 0", GOOD_HEADER, WITH("\"max_bytes\":0"), REFUSED_CLAIMS_MALFORMED},
    {"max_bytes true", GOOD_HEADER, WITH("\"max_bytes\":true"), REFUSED_CLAIMS_MALFORMED},
    {"rate", GOOD_HEADER, WITH("\"rate\":1"), TOKEN_OK},
    {"rate 0", GOOD_HEADER, WITH("\"rate\":0"), REFUSED_CLAIMS_MALFORMED},
    {"rate of 30 digits", GOOD_HEADER, WITH("\"rate\":100000000000000000000000000000"),
     REFUSED_CLAIMS_MALFORMED},
    {"max_conns", GOOD_HEADER, WITH("\"max_conns\":65535"), TOKEN_OK},
    {"max_conns 65536", GOOD_HEADER, WITH("\"max_conns\":65536"), REFUSED_CLAIMS_MALFORMED},
    {"resume", GOOD_HEADER, WITH("\"resume\":86400"), TOKEN_OK},
    {"resume 0", GOOD_HEADER, WITH("\"resume\":0"), REFUSED_CLAIMS_MALFORMED},
    {"resume 2^32", GOOD_HEADER, WITH("\"resume\":4294967296"), REFUSED_CLAIMS_MALFORMED},
    {"resume real", GOOD_HEADER, WITH("\"resume\":1e3"), TOKEN_OK},
    {"pace", GOOD_HEADER, WITH("\"pace\":1.5"), TOKEN_OK},
    {"pace whole", GOOD_HEADER, WITH("\"pace\":2"), TOKEN_OK},
    {"pace below 1", GOOD_HEADER, WITH("\"pace\":0.5"), REFUSED_CLAIMS_MALFORMED},
    {"pace too large", GOOD_HEADER, WITH("\"pace\":1000.5"), REFUSED_CLAIMS_MALFORMED},
    {"pace text", GOOD_HEADER, WITH("\"pace\":\"2\""), REFUSED_CLAIMS_MALFORMED},
    {"filename with a path", GOOD_HEADER, WITH("\"filename\":\"a/b.mp3\""),
     REFUSED_CLAIMS_MALFORMED},
    {"filename of Windows' path", GOOD_HEADER, WITH("\"filename\":\"a\\\\b.mp3\""),
     REFUSED_CLAIMS_MALFORMED},
    {"filename that is a directory", GOOD_HEADER, WITH("\"filename\":\"..\""),
     REFUSED_CLAIMS_MALFORMED},
    {"empty filename", GOOD_HEADER, WITH("\"filename\":\"\""), REFUSED_CLAIMS_MALFORMED},
    {"filename with a line end", GOOD_HEADER, WITH("\"filename\":\"a\\r\\nb\""),
     REFUSED_CLAIMS_MALFORMED},
    {"filename of another type", GOOD_HEADER, WITH("\"filename\":1"), REFUSED_CLAIMS_MALFORMED},
    {"limit and cdnicrit", GOOD_HEADER, WITH("\"pace\":1,\"cdnicrit\":\"pace,rate\""), TOKEN_OK},
    {"nbf of 20 digits", GOOD_HEADER, WITH("\"nbf\":18446744073709551616"),
     REFUSED_CLAIMS_MALFORMED},
    {"embedded NUL in jti", GOOD_HEADER, WITH("\"jti\":\"a\\u0000b\""), REFUSED_CLAIMS_MALFORMED},
    {"nested too deep", GOOD_HEADER, WITH("\"x\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]"),
     REFUSED_CLAIMS_MALFORMED},
    {"unknown claim", GOOD_HEADER, WITH("\"mood\":{\"a\":[1.5,null]}"), TOKEN_OK},
    {"unknown critical", GOOD_HEADER, WITH("\"mood\":1,\"cdnicrit\":\"mood\""),
     REFUSED_CRITICAL_UNSUPPORTED},
};

Test(token_verify, refuses_claims_for_the_right_reason)
{
    EXPECT_ALL(claim_rows);
    EXPECT_ALL(limit_rows);
}

Test(token_verify, reads_the_limits_of_a_link)
{
    struct token_trust *trust = test_trust(NULL, 0);
    struct token *token = NULL;
    char *jws = test_token(WITH("\"jti\":\"j\",\"max_uses\":3,\"max_bytes\":5000,\"rate\":64000,"
                                "\"max_conns\":8,\"resume\":60,\"pace\":1.25"));

    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    cr_expect_eq(token->limits.max_uses, 3);
    cr_expect_eq(token->limits.max_bytes, 5000);
    cr_expect_eq(token->limits.rate, 64000);
    cr_expect_eq(token->limits.max_conns, 8);
    cr_expect_eq(token->limits.resume_s, 60);
    cr_expect_eq(token->limits.pace_thousandth, 1250);
    token_destroy(&token);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_verify, rounds_times_so_that_no_link_grows_longer_and_reads_whole_limits_as_reals)
{
    struct token_trust *trust = test_trust(NULL, 0);
    struct token *token = NULL;
    char *jws = test_token("{\"iss\":\"https://shop.example\",\"exp\":1800003600.9,\"nbf\":5.1,"
                           "\"iat\":7.9,\"cdniuc\":\"exact:/music/a.mp3\",\"acct\":\"anna\","
                           "\"max_bytes\":1e6,\"max_conns\":5.0}");

    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    cr_expect_eq(token->exp, 1800003600);
    cr_expect_eq(token->nbf, 6);
    cr_expect_eq(token->iat, 7); /* rounded down, because an older link is revoked sooner */
    cr_expect_eq(token->limits.max_bytes, 1000000);
    cr_expect_eq(token->limits.max_conns, 5);
    token_destroy(&token);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_verify, takes_a_jti_for_one_use_where_the_policy_says_so)
{
    char error[256];
    static const char *const prefixes[] = {"/"};
    struct token_policy policy = {
        .lifetime_max_s = 86400, .jti_single_use = true, .public_origin = "http://media.example"};
    struct token_issuer issuer = {
        .id = "shop", .iss = "https://shop.example", .prefixes = prefixes, .prefix_count = 1};
    struct token_trust *trust = NULL;
    static const struct {
        const char *member;
        uint32_t uses;
    } rows[] = {{"\"jti\":\"j\"", 1}, {"\"jti\":\"j\",\"max_uses\":4", 4}, {"\"iat\":1", 0}};

    cr_assert_eq(
        key_set_parse(&issuer.keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0);
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0);
    for (size_t i = 0; i < 3; i++) {
        struct token *token = NULL;
        char claims[512];
        char *jws;
        (void)snprintf(claims, sizeof(claims), WITH("%s"), rows[i].member);
        jws = test_token(claims);
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
        cr_expect_eq(token->limits.max_uses, rows[i].uses, "%s", rows[i].member);
        token_destroy(&token);
        free(jws);
    }
    token_trust_drop(&trust);
}

Test(token_verify, holds_aud_against_the_configured_audiences)
{
    static const char *const audiences[] = {"media", "backup"};
    static const struct {
        const char *member;
        enum token_verdict expected;
    } rows[] = {
        {"\"x\":1", TOKEN_OK}, /* absent: RFC 9246 2.1.3 makes it optional */
        {"\"aud\":\"media\"", TOKEN_OK},
        {"\"aud\":[\"x\",\"backup\"]", TOKEN_OK},
        {"\"aud\":\"Media\"", REFUSED_AUDIENCE_MISMATCH},
        {"\"aud\":[]", REFUSED_AUDIENCE_MISMATCH},
        {"\"aud\":[\"x\"]", REFUSED_AUDIENCE_MISMATCH},
        {"\"aud\":[\"media\",1]", REFUSED_CLAIMS_MALFORMED},
        {"\"aud\":null", REFUSED_CLAIMS_MALFORMED},
        {"\"aud\":{\"media\":1}", REFUSED_CLAIMS_MALFORMED},
    };
    struct token_trust *trust = test_trust(audiences, 2);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char claims[512];
        char *jws;
        (void)snprintf(
            claims, sizeof(claims),
            "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/a\","
            "\"acct\":\"anna\",%s}",
            rows[i].member);
        jws = test_token(claims);
        cr_expect_eq(test_verdict(trust, jws), rows[i].expected, "%s", rows[i].member);
        free(jws);
    }
    token_trust_drop(&trust);
}

Test(token_verify, gives_a_link_without_resume_that_of_its_issuer)
{
    static const char *const prefixes[] = {"/"};
    const struct token_policy policy = {.lifetime_max_s = 86400,
                                        .public_origin = "http://media.example"};
    struct token_issuer issuer = {.id = "shop",
                                  .iss = "https://shop.example",
                                  .prefixes = prefixes,
                                  .prefix_count = 1,
                                  .resume_s = 600};
    struct token_trust *trust = NULL;
    struct token *token = NULL;
    char error[256];
    char *plain = test_token(GOOD_CLAIMS), *own = test_token(WITH("\"resume\":60"));

    cr_assert_eq(
        key_set_parse(&issuer.keys, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0);
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0);
    cr_assert_eq(token_verify(trust, plain, strlen(plain), &token), TOKEN_OK);
    cr_expect_eq(token->limits.resume_s, 600);
    token_destroy(&token);
    cr_assert_eq(token_verify(trust, own, strlen(own), &token), TOKEN_OK);
    cr_expect_eq(token->limits.resume_s, 60);
    token_destroy(&token);
    free(plain);
    free(own);
    token_trust_drop(&trust);
}
