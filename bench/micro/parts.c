/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a request that need no node: a token's signature, a head, a record of the journal.
 * main.c calls it for run.sh; it starts no thread.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "server/base/check.h"
#include "server/http/http_head.h"
#include "storage/ledger/journal.h"
#include "tokens/tokens.h"

#define VERIFIED 20
#define PARSED   2000
#define APPENDED 10000

/* Keys that everybody knows, the same in each run, because the cost of a verification depends on
 * the key: the second is from RFC 7515 A.3, the third from RFC 8037 A.1. */
static const char jwks[] =
    "{\"keys\":["
    "{\"kty\":\"oct\",\"kid\":\"HS256\",\"alg\":\"HS256\","
    "\"k\":\"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s\"},"
    "{\"kty\":\"EC\",\"kid\":\"ES256\",\"alg\":\"ES256\",\"crv\":\"P-256\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
    "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"},"
    "{\"kty\":\"OKP\",\"kid\":\"EdDSA\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\","
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\","
    "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}]}";

/* Measures the verification of tokens that this algorithm's key signed. ES256 signs with a random
 * number, so each token differs. */
static void verify(enum token_algorithm algorithm)
{
    static const char *const prefixes[] = {"/"};
    char *jws[VERIFIED + 1], error[256], name[32];
    struct key_set *keys;
    struct token_trust *trust;
    struct token_issuer issuer = {
        .id = "shop", .iss = "shop", .prefixes = prefixes, .prefix_count = 1};
    const struct token_policy policy = {.lifetime_max_s = 7 * 86400,
                                        .public_origin = "http://media.example"};
    const struct token_claims claims = {.iss = "shop",
                                        .account = "alice",
                                        .container = "exact:/music/album/01 - the first song.mp3",
                                        .jti = "order-4711",
                                        .exp = 4102444800};
    check(key_set_parse(&keys, jwks, sizeof(jwks) - 1, error, sizeof(error)) == 0);
    check(key_set_parse(&issuer.keys, jwks, sizeof(jwks) - 1, error, sizeof(error)) == 0);
    check(token_trust_create(&trust, &issuer, 1, &policy, error, sizeof(error)) == 0);
    for (int i = 0; i <= VERIFIED; i++)
        check(token_sign(keys, token_algorithm_name(algorithm), &claims, &jws[i]) == 0);
    micro_begin();
    for (int i = 0; i <= VERIFIED; i++) {
        struct token *token;
        if (i == 1) /* not the first one, for which OpenSSL loads what it keeps */
            micro_toggle();
        check(token_verify(trust, jws[i], strlen(jws[i]), &token) == TOKEN_OK);
        token_destroy(&token);
    }
    micro_toggle();
    snprintf(name, sizeof(name), "verify-%s", token_algorithm_name(algorithm));
    micro_end(name, VERIFIED);
    for (int i = 0; i <= VERIFIED; i++)
        free(jws[i]);
    token_trust_drop(&trust);
    key_set_destroy(&keys);
}

static void parse(void)
{
    /* As a browser sends it for an <audio> element. */
    static const char text[] =
        "GET /music/album/01%20-%20the%20first%20song.mp3?URISigningPackage="
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0."
        "eyJpc3MiOiJzaG9wIiwiZXhwIjoxODAwMDAzNjAwLCJjZG5pdWMiOiJl"
        "eGFjdDovbXVzaWMvYWxidW0vMDEgLSB0aGUgZmlyc3Qgc29uZy5tcDMiLCJhY2N0IjoiYWxpY2UifQ."
        "MEQCIBw1u0uQm3m2mSx0m1k9l2y3Wm1eXo8c5n2Hq0mJ8n7iAiA5m1t3x5wq3m1k9l2y3Wm1eXo8c5n2 "
        "HTTP/1.1\r\n"
        "Host: media.example:8080\r\n"
        "Connection: keep-alive\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/128.0.0.0 Safari/537.36\r\n"
        "Accept-Encoding: identity;q=1, *;q=0\r\n"
        "Accept: */*\r\n"
        "Sec-Fetch-Site: cross-site\r\n"
        "Sec-Fetch-Mode: no-cors\r\n"
        "Sec-Fetch-Dest: audio\r\n"
        "Referer: https://shop.example/\r\n"
        "Accept-Language: en-GB,en;q=0.9\r\n"
        "Range: bytes=0-\r\n"
        "\r\n";
    micro_begin();
    micro_toggle();
    for (int i = 0; i < PARSED; i++) {
        struct http_head head;
        enum refusal refusal;
        check(http_head_parse(text, sizeof(text) - 1, &head, &refusal) == HTTP_HEAD_COMPLETE);
    }
    micro_toggle();
    micro_end("head-parse", PARSED);
}

static void append(const char *directory)
{
    static const uint8_t id[JOURNAL_ID_BYTES] = {1};
    char error[512];
    const struct ledger_outside outside = {.clock = &ledger_system_clock,
                                           .disk = &ledger_system_disk};
    struct journal journal;
    struct names names;
    struct ledger_name *account, *file;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(fd >= 0 && names_init(&names, 100, 100) == 0);
    check(journal_open(&journal, &outside, &names, fd, -1, 16 << 20, id, id, error,
                       sizeof(error)) == 0);
    check(names_get(&names, JOURNAL_ACCOUNT, "shop/alice", 10, &account) == 0);
    check(names_get(&names, JOURNAL_FILE, "/song.mp3", 9, &file) == 0);
    micro_begin();
    for (uint64_t i = 0; i <= APPENDED; i++) {
        struct journal_record record = {.type = JOURNAL_USAGE,
                                        .download = 1,
                                        .bytes = i * 1000,
                                        .bytes_delta = 1000,
                                        .responses = i,
                                        .responses_delta = 1};
        if (i == 1) /* not the first one, which also writes the names */
            micro_toggle();
        check(journal_append(&journal, names_account(account), (struct ledger_file *)file, &record,
                             0) == 0);
    }
    micro_toggle();
    micro_end("journal-append", APPENDED);
    names_drop(account);
    names_drop(file);
    journal_close(&journal);
    names_free(&names);
}

void micro_parts(const char *directory)
{
    verify(TOKEN_HS256);
    verify(TOKEN_ES256);
    verify(TOKEN_EDDSA);
    parse();
    append(directory);
}
