/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_verify and token_check: good tokens, and tables of forged and broken ones, each refused for
 * its own reason.
 */
#include "tests/unit/tokens/fixture.h"

#define GOOD_HEADER "{\"alg\":\"HS256\",\"kid\":\"h\"}"
#define GOOD_CLAIMS                                                                                \
    "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/music/a.mp3\","      \
    "\"acct\":\"anna\"}"
/* The claims to which a row of a table adds one member. */
#define WITH(member)                                                                               \
    "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":\"exact:/music/a.mp3\","      \
    "\"acct\":\"anna\"," member "}"

struct forgery {
    const char *what;
    const char *header;
    const char *claims;
    enum token_verdict expected;
};

static void expect_all(const struct forgery *rows, size_t count)
{
    struct token_trust *trust = test_trust(NULL, 0);

    for (size_t i = 0; i < count; i++) {
        char *jws = test_sign("h", rows[i].header, rows[i].claims);
        enum token_verdict verdict = test_verdict(trust, jws);
        cr_expect_eq(verdict, rows[i].expected, "%s: %s instead of %s", rows[i].what,
                     token_verdict_name(verdict), token_verdict_name(rows[i].expected));
        free(jws);
    }
    token_trust_drop(&trust);
}

#define EXPECT_ALL(rows) expect_all(rows, sizeof(rows) / sizeof((rows)[0]))

Test(token_verify, reads_the_claims_of_a_good_token_of_each_algorithm)
{
    static const char *const signers[][2] = {{"h", "HS256"}, {"e", "ES256"}, {"o", "EdDSA"}};
    struct token_trust *trust = test_trust(NULL, 0);

    for (size_t i = 0; i < 3; i++) {
        char header[64];
        struct token *token = NULL;
        char *jws;
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"JWT\"}",
                       signers[i][1], signers[i][0]);
        jws = test_sign(signers[i][0], header,
                        WITH("\"nbf\":5,\"iat\":7,\"jti\":\"j-1\",\"cdniv\":1,\"colour\":\"red\""));
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK, "%s", signers[i][1]);
        cr_expect_str_eq(token->issuer_id, "shop");
        cr_expect_str_eq(token->account, "anna");
        cr_expect_str_eq(token->kid, signers[i][0]);
        cr_expect_str_eq(token->jti, "j-1");
        cr_expect_eq(token->exp, 1800003600);
        cr_expect_eq(token->nbf, 5);
        cr_expect_eq(token->iat, 7);
        token_destroy(&token);
        cr_expect_null(token);
        free(jws);
    }
    token_trust_drop(&trust);
}

Test(token_verify, refuses_headers_for_the_right_reason)
{
    static const struct forgery rows[] = {
        {"plain", GOOD_HEADER, GOOD_CLAIMS, TOKEN_OK},
        {"alg none", "{\"alg\":\"none\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg None", "{\"alg\":\"None\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg RS256", "{\"alg\":\"RS256\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg lower", "{\"alg\":\"hs256\",\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_ALGORITHM_REFUSED},
        {"alg of another key", "{\"alg\":\"HS256\",\"kid\":\"e\"}", GOOD_CLAIMS,
         REFUSED_ALGORITHM_REFUSED},
        {"alg of another key's type", "{\"alg\":\"ES256\",\"kid\":\"h\"}", GOOD_CLAIMS,
         REFUSED_ALGORITHM_REFUSED},
        {"alg missing", "{\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"alg number", "{\"alg\":256,\"kid\":\"h\"}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"no kid", "{\"alg\":\"HS256\"}", GOOD_CLAIMS, REFUSED_KEY_ID_MISSING},
        {"kid null", "{\"alg\":\"HS256\",\"kid\":null}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"kid array", "{\"alg\":\"HS256\",\"kid\":[\"h\"]}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"kid empty", "{\"alg\":\"HS256\",\"kid\":\"\"}", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"kid unknown", "{\"alg\":\"HS256\",\"kid\":\"H\"}", GOOD_CLAIMS, REFUSED_KEY_UNKNOWN},
        {"kid with NUL", "{\"alg\":\"HS256\",\"kid\":\"h\\u0000x\"}", GOOD_CLAIMS,
         REFUSED_HEADER_MALFORMED},
        {"crit", "{\"alg\":\"HS256\",\"kid\":\"h\",\"crit\":[\"b64\"],\"b64\":true}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"crit empty", "{\"alg\":\"HS256\",\"kid\":\"h\",\"crit\":[]}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"b64", "{\"alg\":\"HS256\",\"kid\":\"h\",\"b64\":false}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"jwk", "{\"alg\":\"HS256\",\"kid\":\"h\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}",
         GOOD_CLAIMS, REFUSED_HEADER_UNSUPPORTED},
        {"jku", "{\"alg\":\"HS256\",\"kid\":\"h\",\"jku\":\"http://evil\"}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"x5c", "{\"alg\":\"HS256\",\"kid\":\"h\",\"x5c\":[]}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"x5u", "{\"alg\":\"HS256\",\"kid\":\"h\",\"x5u\":null}", GOOD_CLAIMS,
         REFUSED_HEADER_UNSUPPORTED},
        {"duplicate alg", "{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"h\"}", GOOD_CLAIMS,
         REFUSED_HEADER_MALFORMED},
        {"array", "[\"alg\",\"HS256\"]", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"empty", "", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"trailing", GOOD_HEADER "x", GOOD_CLAIMS, REFUSED_HEADER_MALFORMED},
        {"typ number", "{\"alg\":\"HS256\",\"kid\":\"h\",\"typ\":1}", GOOD_CLAIMS,
         REFUSED_HEADER_MALFORMED},
    };

    EXPECT_ALL(rows);
}

Test(token_verify, refuses_claims_for_the_right_reason)
{
    static const struct forgery rows[] = {
        {"no json", GOOD_HEADER, "{\"iss\"", REFUSED_CLAIMS_MALFORMED},
        {"array", GOOD_HEADER, "[]", REFUSED_CLAIMS_MALFORMED},
        {"two objects", GOOD_HEADER, GOOD_CLAIMS "{}", REFUSED_CLAIMS_MALFORMED},
        {"duplicate", GOOD_HEADER, WITH("\"acct\":\"otto\""), REFUSED_CLAIMS_MALFORMED},
        {"duplicate by escape", GOOD_HEADER, WITH("\"\\u0061cct\":\"otto\""),
         REFUSED_CLAIMS_MALFORMED},
        {"duplicate within", GOOD_HEADER, WITH("\"x\":{\"a\":1,\"a\":2}"),
         REFUSED_CLAIMS_MALFORMED},
        {"NUL", GOOD_HEADER, WITH("\"jti\":\"a\\u0000b\""), REFUSED_CLAIMS_MALFORMED},
        {"not UTF-8", GOOD_HEADER, WITH("\"jti\":\"\xff\""), REFUSED_CLAIMS_MALFORMED},
        {"deep", GOOD_HEADER, WITH("\"x\":[[[[[[[[[[]]]]]]]]]]"), REFUSED_CLAIMS_MALFORMED},
        {"huge number", GOOD_HEADER, WITH("\"x\":99999999999999999999999"),
         REFUSED_CLAIMS_MALFORMED},
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
        {"max_uses without jti", GOOD_HEADER, WITH("\"max_uses\":1"), REFUSED_JTI_MISSING},
        {"max_uses", GOOD_HEADER, WITH("\"max_uses\":1000,\"jti\":\"j\""), TOKEN_OK},
        {"max_uses 0", GOOD_HEADER, WITH("\"max_uses\":0,\"jti\":\"j\""), REFUSED_CLAIMS_MALFORMED},
        {"max_uses 1001", GOOD_HEADER, WITH("\"max_uses\":1001,\"jti\":\"j\""),
         REFUSED_CLAIMS_MALFORMED},
        {"max_uses -1", GOOD_HEADER, WITH("\"max_uses\":-1,\"jti\":\"j\""),
         REFUSED_CLAIMS_MALFORMED},
        {"max_uses real", GOOD_HEADER, WITH("\"max_uses\":1.0,\"jti\":\"j\""), TOKEN_OK},
        {"max_uses 1.5", GOOD_HEADER, WITH("\"max_uses\":1.5,\"jti\":\"j\""),
         REFUSED_CLAIMS_MALFORMED},
        {"max_uses 0.0", GOOD_HEADER, WITH("\"max_uses\":0.0,\"jti\":\"j\""),
         REFUSED_CLAIMS_MALFORMED},
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
        {"limit and cdnicrit", GOOD_HEADER, WITH("\"pace\":1,\"cdnicrit\":\"pace,rate\""),
         TOKEN_OK},
        {"nbf of 20 digits", GOOD_HEADER, WITH("\"nbf\":18446744073709551616"),
         REFUSED_CLAIMS_MALFORMED},
        {"embedded NUL in jti", GOOD_HEADER, WITH("\"jti\":\"a\\u0000b\""),
         REFUSED_CLAIMS_MALFORMED},
        {"nested too deep", GOOD_HEADER, WITH("\"x\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]"),
         REFUSED_CLAIMS_MALFORMED},
        {"unknown claim", GOOD_HEADER, WITH("\"mood\":{\"a\":[1.5,null]}"), TOKEN_OK},
        {"unknown critical", GOOD_HEADER, WITH("\"mood\":1,\"cdnicrit\":\"mood\""),
         REFUSED_CRITICAL_UNSUPPORTED},
        {"critical acct", GOOD_HEADER, WITH("\"cdnicrit\":\"acct\""), TOKEN_OK},
        {"critical acct, exp", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,exp\""), TOKEN_OK},
        {"critical acct, mood", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,mood\""),
         REFUSED_CRITICAL_UNSUPPORTED},
        {"critical prefix", GOOD_HEADER, WITH("\"cdnicrit\":\"acc\""),
         REFUSED_CRITICAL_UNSUPPORTED},
        {"critical empty", GOOD_HEADER, WITH("\"cdnicrit\":\"\""), REFUSED_CLAIMS_MALFORMED},
        {"critical empty name", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,\""),
         REFUSED_CLAIMS_MALFORMED},
        {"critical twice", GOOD_HEADER, WITH("\"cdnicrit\":\"acct,exp,acct\""),
         REFUSED_CLAIMS_MALFORMED},
        {"critical array", GOOD_HEADER, WITH("\"cdnicrit\":[\"acct\"]"), REFUSED_CLAIMS_MALFORMED},
        {"aud where none is configured", GOOD_HEADER, WITH("\"aud\":\"x\""),
         REFUSED_AUDIENCE_MISMATCH},
    };

    EXPECT_ALL(rows);
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

Test(token_check, lets_a_link_with_resume_live_on_for_ranges_alone)
{
    struct token_trust *trust = test_trust(NULL, 0);
    struct token *token = NULL;
    char *jws = test_token(WITH("\"resume\":60"));
    struct token_request request = {"/music/a.mp3", 12, "/music/a.mp3", 12};

    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    cr_expect_eq(token_check(trust, token, &request, token->exp - 1), TOKEN_OK);
    cr_expect_not(token_is_resuming(token, token->exp - 1));
    cr_expect_eq(token_check(trust, token, &request, token->exp), TOKEN_OK);
    cr_expect(token_is_resuming(token, token->exp));
    cr_expect_eq(token_check(trust, token, &request, token->exp + 59), TOKEN_OK);
    cr_expect_eq(token_check(trust, token, &request, token->exp + 60), REFUSED_EXPIRED);
    token_destroy(&token);
    free(jws);
    jws = test_token(WITH("\"resume\":604801"));
    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    cr_expect_eq(token_check(trust, token, &request, TEST_NOW), REFUSED_LIFETIME_TOO_LONG);
    token_destroy(&token);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_check, refuses_an_iat_that_is_ahead_of_now_or_in_milliseconds)
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
        cr_expect_eq(token_check(trust, token, &request, TEST_NOW), rows[i].expected, "%s",
                     rows[i].member);
        token_destroy(&token);
        free(jws);
    }
    token_trust_drop(&trust);
}

/* A trust whose issuer has one HS256 key: "h" with this `k`, or without one, another kid. */
static struct token_trust *trust_of(const char *k)
{
    static const char *const prefixes[] = {"/music"};
    struct token_policy policy = {.lifetime_max_s = 86400, .public_origin = "http://media.example"};
    struct token_issuer issuer = {
        .id = "shop", .iss = "https://shop.example", .prefixes = prefixes, .prefix_count = 1};
    struct token_trust *trust = NULL;
    char error[256], jwks[256];

    (void)snprintf(
        jwks, sizeof(jwks), "{\"kty\":\"oct\",\"kid\":\"%s\",\"alg\":\"HS256\",\"k\":\"%s\"}",
        k != NULL ? "h" : "other", k != NULL ? k : "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s");
    cr_assert_eq(key_set_parse(&issuer.keys, jwks, strlen(jwks), error, sizeof(error)), 0, "%s",
                 error);
    cr_assert_eq(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)), 0);
    return trust;
}

Test(token_verify, a_token_lives_as_long_as_the_very_key_that_signed_it)
{
    static const struct {
        const char *kid, *alg;
    } signers[] = {{"h", "HS256"}, {"e", "ES256"}, {"o", "EdDSA"}};
    struct token_trust *trust = test_trust(NULL, 0), *again = test_trust(NULL, 0);
    struct token_trust *same = trust_of("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s");
    struct token_trust *renamed = trust_of(NULL);
    struct token_trust *replaced = trust_of("bGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGxsbGw");

    for (size_t i = 0; i < 3; i++) {
        struct token *token = NULL;
        char header[64];
        char *jws;
        (void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", signers[i].alg,
                       signers[i].kid);
        jws = test_sign(signers[i].kid, header, GOOD_CLAIMS);
        cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
        cr_expect(token_is_live(again, token), "%s", signers[i].alg);
        cr_expect_eq(token_is_live(same, token), i == 0, "%s", signers[i].alg);
        cr_expect_not(token_is_live(renamed, token), "%s", signers[i].alg);
        cr_expect_not(token_is_live(replaced, token), "%s", signers[i].alg);
        token_destroy(&token);
        free(jws);
    }
    token_trust_drop(&trust);
    token_trust_drop(&again);
    token_trust_drop(&same);
    token_trust_drop(&renamed);
    token_trust_drop(&replaced);
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

Test(token_verify, refuses_an_hmac_keyed_with_the_public_key)
{
    /* RFC 8725 2.1: a verifier that believed the token's alg would take the public x and y as
     * the secret. */
    struct token_trust *trust = test_trust(NULL, 0);
    static const char jwk[] = "{\"kty\":\"oct\",\"kid\":\"e\",\"alg\":\"HS256\","
                              "\"k\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3-"
                              "257rn0s2ldbqkLJK2KRiMohYjlrQ"
                              "\"}";
    struct token_grant grant = {.iss = "https://shop.example",
                                .account = "anna",
                                .container = "exact:/music/a.mp3",
                                .exp = TEST_NOW};
    struct key_set *forger = NULL;
    char error[256];
    char *jws = NULL;

    cr_assert_eq(key_set_parse(&forger, jwk, strlen(jwk), error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(token_sign(forger, "e", &grant, &jws), 0);
    cr_expect_eq(test_verdict(trust, jws), REFUSED_ALGORITHM_REFUSED);
    free(jws);
    key_set_destroy(&forger);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_a_signature_of_another_key_under_a_swapped_kid)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *swapped = test_sign("o", "{\"alg\":\"ES256\",\"kid\":\"e\"}", GOOD_CLAIMS);
    char *hmac = test_sign("h", "{\"alg\":\"EdDSA\",\"kid\":\"o\"}", GOOD_CLAIMS);

    cr_expect_eq(test_verdict(trust, swapped), REFUSED_BAD_SIGNATURE);
    cr_expect_eq(test_verdict(trust, hmac), REFUSED_BAD_SIGNATURE);
    free(swapped);
    free(hmac);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_each_damaged_signature)
{
    static const char *const headers[][2] = {{"h", "{\"alg\":\"HS256\",\"kid\":\"h\"}"},
                                             {"e", "{\"alg\":\"ES256\",\"kid\":\"e\"}"},
                                             {"o", "{\"alg\":\"EdDSA\",\"kid\":\"o\"}"}};
    struct token_trust *trust = test_trust(NULL, 0);

    for (size_t i = 0; i < 3; i++) {
        char *jws = test_sign(headers[i][0], headers[i][1], GOOD_CLAIMS);
        size_t length = strlen(jws);
        size_t start = (size_t)(strrchr(jws, '.') + 1 - jws);
        char *longer = calloc(1, length + 16);
        struct token *token = NULL;

        cr_assert_not_null(longer);
        for (size_t cut = start; cut < length; cut++) {
            enum token_verdict verdict = token_verify(trust, jws, cut, &token);
            cr_expect(verdict == REFUSED_BAD_SIGNATURE || verdict == REFUSED_TOKEN_MALFORMED);
            cr_expect_null(token);
        }
        for (size_t at = start; at < length; at++) {
            char kept = jws[at];
            enum token_verdict verdict;
            jws[at] = kept == 'A' ? 'B' : 'A';
            verdict = token_verify(trust, jws, length, &token);
            /* A last character whose unused bits are set makes the token malformed instead. */
            cr_expect(verdict == REFUSED_BAD_SIGNATURE ||
                      (at + 1 == length && verdict == REFUSED_TOKEN_MALFORMED));
            jws[at] = kept;
        }
        (void)snprintf(longer, length + 16, "%sAAAA", jws);
        cr_expect_eq(test_verdict(trust, longer), REFUSED_BAD_SIGNATURE);
        cr_expect_eq(test_verdict(trust, jws), TOKEN_OK);
        free(longer);
        free(jws);
    }
    token_trust_drop(&trust);
}

Test(token_verify, refuses_an_es256_signature_in_der)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_sign("e", "{\"alg\":\"ES256\",\"kid\":\"e\"}", GOOD_CLAIMS);
    unsigned char der[72] = {0x30, 70, 0x02, 33, 0};
    char text[BASE64URL_ENCODED_SIZE(sizeof(der)) + 1];
    char *start = strrchr(jws, '.') + 1;
    char *forged = NULL;

    base64url_encode(der, sizeof(der), text);
    cr_assert_gt(asprintf(&forged, "%.*s%s", (int)(start - jws), jws, text), 0);
    cr_expect_eq(test_verdict(trust, forged), REFUSED_BAD_SIGNATURE);
    /* r = s = 0, the signature that broken verifiers take for any message. */
    free(forged);
    memset(der, 0, sizeof(der));
    base64url_encode(der, 64, text);
    cr_assert_gt(asprintf(&forged, "%.*s%s", (int)(start - jws), jws, text), 0);
    cr_expect_eq(test_verdict(trust, forged), REFUSED_BAD_SIGNATURE);
    free(forged);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_other_shapes_than_three_strict_parts)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_token(GOOD_CLAIMS);
    char *padded = NULL;
    char *spaced = NULL;
    char *loose = strdup(jws);
    char long_one[TOKEN_LENGTH_MAX + 1];
    struct token *token = NULL;
    char *last = loose + strlen(loose) - 1;

    cr_assert_gt(asprintf(&padded, "%s=", jws), 0);
    cr_assert_gt(asprintf(&spaced, "%s\n", jws), 0);
    /* The last of 43 characters has two unused bits; set one. */
    *last = (char)(*last + 1);
    memset(long_one, 'A', sizeof(long_one));
    cr_expect_eq(test_verdict(trust, ""), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "a"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30.e30.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30..e30.e30.e30"), REFUSED_TOKEN_ENCRYPTED);
    cr_expect_eq(test_verdict(trust, "e30.e30.e30.e30.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e31.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e30=.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, "e3+.e30.e30"), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, padded), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, spaced), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(test_verdict(trust, loose), REFUSED_TOKEN_MALFORMED);
    cr_expect_eq(token_verify(trust, long_one, sizeof(long_one), &token), REFUSED_TOKEN_TOO_LONG);
    cr_expect_eq(token_verify(trust, long_one, sizeof(long_one) - 1, &token),
                 REFUSED_TOKEN_MALFORMED);
    free(padded);
    free(spaced);
    free(loose);
    free(jws);
    token_trust_drop(&trust);
}

Test(token_verify, refuses_alg_none_with_an_empty_signature)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *header = test_base64url("{\"alg\":\"none\"}");
    char *claims = test_base64url(GOOD_CLAIMS);
    char *jws = NULL;

    cr_assert_gt(asprintf(&jws, "%s.%s.", header, claims), 0);
    cr_expect_eq(test_verdict(trust, jws), REFUSED_ALGORITHM_REFUSED);
    free(jws);
    free(header);
    free(claims);
    token_trust_drop(&trust);
}

/* The verdict on a token with these claims at `now`, for `path`, which is also the URI. */
static enum token_verdict check_at(const char *claims, const char *path, int64_t now)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_token(claims);
    struct token *token = NULL;
    struct token_request request = {path, strlen(path), path, strlen(path)};
    enum token_verdict verdict;

    cr_assert_eq(token_verify(trust, jws, strlen(jws), &token), TOKEN_OK);
    verdict = token_check(trust, token, &request, now);
    token_destroy(&token);
    free(jws);
    token_trust_drop(&trust);
    return verdict;
}

Test(token_check, refuses_from_the_very_second_of_exp_on)
{
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp3", 1800003599), TOKEN_OK);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp3", 1800003600), REFUSED_EXPIRED);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp3", INT64_MAX), REFUSED_EXPIRED);
}

Test(token_check, refuses_before_nbf_and_beyond_the_longest_lifetime)
{
    const char *claims = WITH("\"nbf\":1800000100");

    cr_expect_eq(check_at(claims, "/music/a.mp3", 1800000099), REFUSED_NOT_YET_VALID);
    cr_expect_eq(check_at(claims, "/music/a.mp3", 1800000100), TOKEN_OK);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp3", 1800003600 - 7 * 86400), TOKEN_OK);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp3", 1800003599 - 7 * 86400),
                 REFUSED_LIFETIME_TOO_LONG);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp3", -5), REFUSED_LIFETIME_TOO_LONG);
    /* exp is in milliseconds instead of seconds. */
    cr_expect_eq(check_at("{\"iss\":\"https://shop.example\",\"exp\":1800003600000,\"cdniuc\":"
                          "\"exact:/music/a.mp3\",\"acct\":\"anna\"}",
                          "/music/a.mp3", TEST_NOW),
                 REFUSED_LIFETIME_TOO_LONG);
}

Test(token_check, refuses_paths_that_the_container_does_not_name)
{
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/b.mp3", TEST_NOW), REFUSED_OUT_OF_CONTAINER);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp33", TEST_NOW), REFUSED_OUT_OF_CONTAINER);
    cr_expect_eq(check_at(GOOD_CLAIMS, "/music/a.mp", TEST_NOW), REFUSED_OUT_OF_CONTAINER);
}

Test(token_check, keeps_an_issuer_within_its_paths)
{
    const char *claims = "{\"iss\":\"https://shop.example\",\"exp\":1800003600,\"cdniuc\":"
                         "\"prefix:/\",\"acct\":\"anna\"}";

    cr_expect_eq(check_at(claims, "/music/a", TEST_NOW), TOKEN_OK);
    cr_expect_eq(check_at(claims, "/music", TEST_NOW), TOKEN_OK);
    cr_expect_eq(check_at(claims, "/free/a/b", TEST_NOW), TOKEN_OK);
    cr_expect_eq(check_at(claims, "/musical", TEST_NOW), REFUSED_OUT_OF_ISSUER_PATHS);
    cr_expect_eq(check_at(claims, "/freeze", TEST_NOW), REFUSED_OUT_OF_ISSUER_PATHS);
    cr_expect_eq(check_at(claims, "/", TEST_NOW), REFUSED_OUT_OF_ISSUER_PATHS);
}

Test(token_verdict, knows_name_text_status_and_code_of_each_refusal)
{
    cr_expect_str_eq(token_verdict_name(TOKEN_OK), "ok");
    cr_expect_str_eq(token_verdict_name(REFUSED_BAD_SIGNATURE), "bad_signature");
    cr_expect_str_eq(token_verdict_name(REFUSED_OUT_OF_ISSUER_PATHS), "out_of_issuer_paths");
    cr_expect_eq(token_verdict_status(REFUSED_EXPIRED), 410);
    cr_expect_eq(token_verdict_status(REFUSED_BAD_SIGNATURE), 403);
    cr_expect_eq(token_verdict_uri_signing(TOKEN_OK), 200);
    cr_expect_eq(token_verdict_uri_signing(REFUSED_EXPIRED), 404);
    cr_expect_eq(token_verdict_uri_signing(REFUSED_OUT_OF_CONTAINER), 411);
    for (int i = 0; i < TOKEN_VERDICT_COUNT; i++) {
        cr_expect_gt(strlen(token_verdict_text((enum token_verdict)i)), 10);
        cr_expect_gt(strlen(token_verdict_name((enum token_verdict)i)), 1);
    }
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
