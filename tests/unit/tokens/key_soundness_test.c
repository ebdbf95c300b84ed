/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys under which anybody could sign are refused: points of small order, points in a second
 * spelling, points off the curve. Secrets that can be guessed, because they repeat or count,
 * are reported.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "tests/unit/tokens/fixture.h"

static int parse_key(struct key_set **keys, const char *members, char *error, size_t size)
{
    char json[1024];

    cr_assert_lt(snprintf(json, sizeof(json), "{\"kid\":\"a\",%s}", members), (int)sizeof(json));
    return key_set_parse(keys, json, strlen(json), error, size);
}

/* Reads an Ed25519 public key; `error` says why it is refused. */
static int parse_okp(const unsigned char x[EDDSA_KEY_SIZE], char *error, size_t size)
{
    char text[BASE64URL_ENCODED_SIZE(EDDSA_KEY_SIZE) + 1];
    char members[256];
    struct key_set *keys = NULL;
    int result;

    base64url_encode(x, EDDSA_KEY_SIZE, text);
    (void)snprintf(members, sizeof(members),
                   "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"x\":\"%s\"", text);
    result = parse_key(&keys, members, error, size);
    key_set_destroy(&keys);
    return result;
}

static void expect_no_point(const unsigned char x[EDDSA_KEY_SIZE], const char *name, int sign)
{
    char error[512] = "";

    cr_expect_eq(parse_okp(x, error, sizeof(error)), -EINVAL, "%s, sign %d", name, sign);
    cr_expect_not_null(strstr(error, "not an Ed25519 public key"), "%s: %s", name, error);
}

Test(key_soundness, an_ed25519_key_of_small_order_or_off_the_curve_is_refused)
{
    /* y as it is written, little-endian. The first five are the points of order 1, 2, 4 and 8. */
    static const char *const refused[] = {
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        /* of mixed order: a good point plus one of order 8 or 2 */
        "40a4cf5c611d737a2f1c6fcca84d9cabfed80987f186a5a6c57e629bff1af27f",
        "d07b3f636ea4e1caa0becf4c6af098abd8f4c89690c90e4935a2b564b30b779f",
        /* y = 2, 7, 12 and 38, for which there is no x */
        "0200000000000000000000000000000000000000000000000000000000000000",
        "0700000000000000000000000000000000000000000000000000000000000000",
        "0c00000000000000000000000000000000000000000000000000000000000000",
        "2600000000000000000000000000000000000000000000000000000000000000",
    };
    unsigned char x[EDDSA_KEY_SIZE];
    size_t length = 0;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cr_assert_eq(OPENSSL_hexstr2buf_ex(x, sizeof(x), &length, refused[i], '\0'), 1);
        for (int sign = 0; sign < 2; sign++) {
            expect_no_point(x, refused[i], sign);
            x[EDDSA_KEY_SIZE - 1] ^= 0x80;
        }
    }
}

Test(key_soundness, an_ed25519_key_in_a_second_spelling_is_refused)
{
    /* y from p = 2^255 - 19 on are second spellings of small numbers. */
    for (int low = 0xed; low <= 0xff; low++) {
        unsigned char x[EDDSA_KEY_SIZE];
        memset(x, 0xff, sizeof(x));
        x[0] = (unsigned char)low;
        expect_no_point(x, "y = p and above", 1);
        x[EDDSA_KEY_SIZE - 1] = 0x7f;
        expect_no_point(x, "y = p and above", 0);
    }
}

Test(key_soundness, every_ed25519_key_that_is_made_is_taken)
{
    static const char *const known[] = {
        /* RFC 8032 7.1: tests 1, 2, 3, 1024 and SHA(abc) */
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        /* the base point itself, and its negative */
        "5866666666666666666666666666666666666666666666666666666666666666",
        "58666666666666666666666666666666666666666666666666666666666666e6",
    };
    char error[512] = "";

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        unsigned char x[EDDSA_KEY_SIZE];
        size_t length = 0;
        cr_assert_eq(OPENSSL_hexstr2buf_ex(x, sizeof(x), &length, known[i], '\0'), 1);
        cr_expect_eq(parse_okp(x, error, sizeof(error)), 0, "%s: %s", known[i], error);
    }
    for (int i = 0; i < 40; i++) {
        char *secret = NULL;
        char *shared = NULL;
        struct key_set *keys = NULL;
        cr_assert_eq(key_generate(TOKEN_EDDSA, &secret, &shared), 0);
        cr_expect_eq(key_set_parse(&keys, shared, strlen(shared), error, sizeof(error)), 0, "%s",
                     error);
        key_set_destroy(&keys);
        key_text_free(&secret);
        key_text_free(&shared);
    }
}

#define P256 "\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
#define X    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

Test(key_soundness, an_es256_key_that_is_no_point_says_so)
{
    static const struct {
        const char *members;
        const char *words;
    } rows[] = {
        {P256 "\"x\":\"" X "\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aw\"",
         "not a point of the curve P-256"},
        {P256 "\"x\":\"" Y "\",\"y\":\"" X "\"", "not a point of the curve P-256"},
        {P256 "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
              "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
         "not a point of the curve P-256"},
        /* the point with x = 5, spelled as x + p: 2^256 - 2^224 + 2^192 + 2^96 - 1 + 5 */
        {P256 "\"x\":\"_____wAAAAEAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAQ\","
              "\"y\":\"RZJDuapYGAb-kTvOmYF63hHKUDxk2aPFM0FcCDJI-8w\"",
         "not a point of the curve P-256"},
        /* a point of another curve: the base point of secp256k1 */
        {P256 "\"x\":\"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g\","
              "\"y\":\"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg\"",
         "not a point of the curve P-256"},
        {P256 "\"x\":\"" X "\"", "32 bytes each"},
        {P256 "\"x\":\"" X "\",\"y\":\"" Y "=\"", "without padding"},
        {P256 "\"x\":\"" X "\",\"y\":\"" Y
              "\",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LM\"",
         "not the private half"},
        {P256 "\"x\":\"" X "\",\"y\":\"" Y
              "\",\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
         "not the private half"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct key_set *keys = NULL;
        char error[512] = "";
        cr_expect_eq(parse_key(&keys, rows[i].members, error, sizeof(error)), -EINVAL, "row %zu",
                     i);
        cr_expect_not_null(strstr(error, rows[i].words), "row %zu: %s", i, error);
    }
}

Test(key_soundness, spare_bits_in_a_members_last_character_are_the_same_key)
{
    /* The fixture's keys. Each value is spelled with a last character whose unused bits are not 0;
     * s, U, 0, I, o and A are the right ones. */
    static const char jwks[] =
        "{\"keys\":["
        "{\"kty\":\"oct\",\"kid\":\"h\",\"alg\":\"HS256\","
        "\"k\":\"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2v\"},"
        "{\"kty\":\"EC\",\"kid\":\"e\",\"alg\":\"ES256\",\"crv\":\"P-256\","
        "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a3\","
        "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LJ\"},"
        "{\"kty\":\"OKP\",\"kid\":\"o\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp\","
        "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2D\"}]}";
    struct key_set *spare = NULL;
    struct key_set *plain = NULL;
    char error[512] = "";

    cr_assert_eq(key_set_parse(&spare, jwks, strlen(jwks), error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(key_set_parse(&plain, test_jwks(), strlen(test_jwks()), error, sizeof(error)), 0);
    for (size_t i = 0; i < 3; i++)
        cr_expect(key_is_same(&spare->keys[i], &plain->keys[i]), "key %zu", i);
    key_set_destroy(&spare);
    key_set_destroy(&plain);
}

Test(key_soundness, spare_bits_in_a_token_are_a_second_spelling_and_refused)
{
    struct token_trust *trust = test_trust(NULL, 0);
    char *jws = test_token("{\"iss\":\"https://shop.example\",\"exp\":1800003600,"
                           "\"cdniuc\":\"exact:/music/a\",\"acct\":\"anna\"}");
    char *last = jws + strlen(jws) - 1;
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    cr_expect_eq(test_verdict(trust, jws), TOKEN_OK);
    *last = *(strchr(digits, *last) + 1); /* sets one of the two unused bits behind 32 bytes */
    cr_expect_eq(test_verdict(trust, jws), REFUSED_TOKEN_MALFORMED);
    free(jws);
    token_trust_drop(&trust);
}

/* Whether an HS256 secret of these bytes is reported as guessable. */
static bool is_guessable(const unsigned char *secret, size_t length)
{
    char text[BASE64URL_ENCODED_SIZE(HS256_KEY_SIZE_MAX) + 1];
    char members[BASE64URL_ENCODED_SIZE(HS256_KEY_SIZE_MAX) + 64];
    struct key_set *keys = NULL;
    char error[512] = "";
    bool guessable;

    base64url_encode(secret, length, text);
    (void)snprintf(members, sizeof(members), "\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"%s\"",
                   text);
    cr_assert_eq(parse_key(&keys, members, error, sizeof(error)), 0, "%s", error);
    guessable = key_set_is_guessable(keys, 0);
    key_set_destroy(&keys);
    return guessable;
}

Test(key_soundness, a_secret_that_repeats_or_counts_is_told)
{
    static const char *const texts[] = {
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
        "abababababababababababababababab",
        "changemechangemechangemechangeme",
        "secretsecretsecretsecretsecretsecretsec",
        "SecretsecretSECRETsecretSecretsecret",
        "0123456789abcdef0123456789abcdef",
        "12345678901234567890123456789012",
        "abcdefghijklmnopqrstuvwxyz012345",
        "ZYXWVUTSRQPONMLKJIHGFEDCBA987654",
        "your-256-bit-secret-your-256-bit-secret",
        "correct horse correct horse correct horse",
        "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB",
        "0110100110010110100101100110100110010110011010010110100110010110",
    };
    static const unsigned char zeros[HS256_KEY_SIZE_MAX];
    unsigned char bytes[HS256_KEY_SIZE_MAX];

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_expect(is_guessable((const unsigned char *)texts[i], strlen(texts[i])), "%s", texts[i]);
    cr_expect(is_guessable(zeros, 32));
    cr_expect(is_guessable(zeros, 64));
    cr_expect(is_guessable(zeros, sizeof(zeros)));
    for (size_t step = 1; step < 256; step++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)(i * step);
        cr_expect(is_guessable(bytes, 32), "step %zu", step);
    }
    /* a word of up to 20 random bytes, repeated */
    cr_assert_eq(RAND_bytes(bytes, sizeof(bytes)), 1);
    for (size_t period = 1; period <= 20; period++) {
        for (size_t i = period; i < sizeof(bytes); i++)
            bytes[i] = bytes[i - period];
        cr_expect(is_guessable(bytes, 32), "period %zu", period);
        cr_expect(is_guessable(bytes, sizeof(bytes)), "period %zu", period);
    }
}

Test(key_soundness, a_secret_that_was_drawn_is_not_told_whatever_its_symbols)
{
    static const struct {
        const char *symbols;
        size_t lengths[3];
    } kinds[] = {
        {"0123456789abcdef", {40, 64, 128}},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", {32, 44, 88}},
        {"abcdefghijklmnopqrstuvwxyz", {32, 40, 64}},
        {NULL, {32, 48, 64}},
    };
    unsigned char bytes[128];

    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        for (size_t round = 0; round < 300; round++) {
            const char *symbols = kinds[kind].symbols;
            size_t length = kinds[kind].lengths[round % 3];
            cr_assert_eq(RAND_bytes(bytes, sizeof(bytes)), 1);
            for (size_t i = 0; symbols != NULL && i < sizeof(bytes); i++)
                bytes[i] = (unsigned char)symbols[bytes[i] % strlen(symbols)];
            cr_expect_not(is_guessable(bytes, length), "kind %zu, %zu bytes", kind, length);
        }
        /* 40 bytes that would be good alone, twice */
        memcpy(bytes + 40, bytes, 40);
        cr_expect_not(is_guessable(bytes, 80), "kind %zu, twice", kind);
    }
}
