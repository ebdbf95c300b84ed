/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/links/explain beside a GET by the same link. For each refusal of the two tables that
 * such a GET can meet, both must say the same status and reason. A row that is added to a table
 * without a case here fails the test.
 */
#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "server/http/refusal.h"
#include "tests/integration/explain_steps.h"
#include "tests/integration/harness.h"
#include "tokens/base64url_internal.h"

#define RIVAL_ISS "https://rival.example"

static const char *encode(struct site *site, const char *text)
{
    char encoded[4096];
    base64url_encode((const unsigned char *)text, strlen(text), encoded);
    return site_format(site, "%s", encoded);
}

/* A link of the rival's with this header (NULL: a good one) and these claims, signed with
 * its secret. */
static const char *by_hand(struct site *site, const char *header, const char *claims)
{
    unsigned char secret[64], mac[32];
    size_t secret_size = 0, mac_size = 0;
    char signature[64];
    json_t *set = json_load_file(site_format(site, "%s/rival.jwks", site_directory(site)), 0, NULL);
    const json_t *key = json_array_get(json_object_get(set, "keys"), 0);
    const char *k = json_string_value(json_object_get(key, "k"));
    cr_assert_eq(base64url_decode(k, strlen(k), secret, sizeof(secret), &secret_size), 0);
    if (header == NULL)
        header = site_format(site, "{\"alg\":\"HS256\",\"kid\":\"%s\"}",
                             json_string_value(json_object_get(key, "kid")));
    const char *input = site_format(site, "%s.%s", encode(site, header), encode(site, claims));
    cr_assert(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, secret_size,
                        (const unsigned char *)input, strlen(input), mac, sizeof(mac), &mac_size));
    base64url_encode(mac, sizeof(mac), signature);
    json_decref(set);
    return site_format(site, "/rival/x?URISigningPackage=%s.%s", input, signature);
}

/* A link of the rival's with good claims and one further `member`. */
static const char *with(struct site *site, const char *container, const char *member)
{
    return by_hand(site, NULL,
                   site_format(site,
                               "{\"iss\":\"" RIVAL_ISS "\",\"exp\":%lld,\"acct\":\"alice\","
                               "\"cdniuc\":\"%s\"%s%s}",
                               (long long)time(NULL) + 1000, container, member[0] ? "," : "",
                               member));
}

#define WITH(name, container, member)                                                              \
    static const char *name(struct site *site)                                                     \
    {                                                                                              \
        return with(site, container, member);                                                      \
    }
#define HEADER(name, header)                                                                       \
    static const char *name(struct site *site)                                                     \
    {                                                                                              \
        return by_hand(site, header, "{\"iss\":\"" RIVAL_ISS "\"}");                               \
    }
#define TARGET(name, ...)                                                                          \
    static const char *name(struct site *site)                                                     \
    {                                                                                              \
        return site_format(site, __VA_ARGS__);                                                     \
    }
#define LINK(name, ...)                                                                            \
    static const char *name(struct site *site)                                                     \
    {                                                                                              \
        return site_link(site, __VA_ARGS__);                                                       \
    }

TARGET(no_token, "%s", TRACK_TINY)
TARGET(two_tokens, "%s?URISigningPackage=a&URISigningPackage=a", TRACK_TINY)
TARGET(long_token, "%s?URISigningPackage=%05000d", TRACK_TINY, 0)
TARGET(padded_token, "%s?URISigningPackage=e30=.e30.AA", TRACK_TINY)
TARGET(encrypted_token, "%s?URISigningPackage=a.b.c.d.e", TRACK_TINY)
HEADER(no_alg, "{}")
HEADER(a_crit, "{\"alg\":\"HS256\",\"kid\":\"a\",\"crit\":[\"x\"]}")
HEADER(alg_none, "{\"alg\":\"none\",\"kid\":\"a\"}")
HEADER(no_kid, "{\"alg\":\"HS256\"}")
HEADER(other_kid, "{\"alg\":\"HS256\",\"kid\":\"nobody\"}")
WITH(wrong_claim, "exact:/rival/x", "\"rate\":0")
WITH(other_aud, "exact:/rival/x", "\"aud\":\"x\"")
WITH(other_version, "exact:/rival/x", "\"cdniv\":2")
WITH(other_critical, "exact:/rival/x", "\"cdnicrit\":\"x\"")
WITH(client_ip, "exact:/rival/x", "\"cdniip\":\"x\"")
WITH(subject, "exact:/rival/x", "\"sub\":\"x\"")
WITH(renewal, "exact:/rival/x", "\"cdniets\":30")
WITH(uses_without_jti, "exact:/rival/x", "\"max_uses\":1")
WITH(bare_container, "/rival/x", "")
WITH(bad_container, "regex:(", "")
LINK(other_iss, .account = "alice", .path = TRACK_TINY, .iss = "https://nobody.example")
LINK(long_life, .account = "alice", .path = TRACK_TINY, .expires_in_s = 300 * 86400)
LINK(begins_later, .account = "alice", .path = TRACK_TINY, .begins_in_s = 1000)
LINK(issued_later, .account = "alice", .path = TRACK_TINY, .issued_in_s = 1000)
LINK(ended, .account = "alice", .path = TRACK_TINY, .expires_in_s = -10)
LINK(other_path, .account = "alice", .path = TRACK_TINY, .container = "exact:/x")
LINK(rivals_path, .account = "alice", .path = TRACK_TINY, .by_rival = true)

static const char *no_iss(struct site *site)
{
    return by_hand(site, "{\"alg\":\"HS256\",\"kid\":\"a\"}", "{}");
}

static const char *other_signature(struct site *site)
{
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *other = site_link(site, .account = "bob", .path = TRACK_TINY);
    return site_format(site, "%.*s%s", (int)(strrchr(link, '.') - link), link, strrchr(other, '.'));
}

TARGET(a_space, "/a b")
TARGET(a_quote, "/a\"b")
TARGET(dots, "/a/../b")
TARGET(too_long, "/%09000d", 0)
TARGET(long_query, "/x?%08000d", 0)
static char long_host[9000]; /* the test fills it with letters */

LINK(no_file, .account = "alice", .path = "/nothing.mp3")
LINK(nobodys, .account = "nobody", .path = TRACK_TINY)

static const char *suspended(struct site *site)
{
    site_account_open_prepaid(site, "suspended", 10000000);
    cr_assert_eq(site_admin(site, "POST", "/v1/accounts/shop/suspended/suspend", "")->status, 200);
    return site_link(site, .account = "suspended", .path = TRACK_TINY);
}

static const char *poor(struct site *site)
{
    site_account_open_prepaid(site, "poor", 10);
    return site_link(site, .account = "poor", .path = TRACK_TINY);
}

static void limit(struct site *site, const char *account, const char *limits)
{
    site_account_open_prepaid(site, account, 1000u * 1000 * 1000);
    const char *path = site_format(site, "/v1/accounts/shop/%s/limits", account);
    cr_assert_eq(site_admin(site, "PUT", path, limits)->status, 200);
}

static const char *account_bytes(struct site *site)
{
    limit(site, "small", "{\"max_bytes\":10}");
    return site_link(site, .account = "small", .path = TRACK_TINY);
}

static const char *account_connections(struct site *site)
{
    limit(site, "narrow", "{\"max_conns\":1}");
    hold(site, site_link(site, .account = "narrow", .path = TRACK_LONG));
    return site_link(site, .account = "narrow", .path = TRACK_TINY);
}

static const char *revoked(struct site *site)
{
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *body = site_format(site, "{\"url\":\"https://" HOST "%s\"}", link);
    cr_assert_eq(site_admin(site, "POST", "/v1/links/revoke", body)->status, 200);
    return link;
}

static const char *used_up(struct site *site)
{
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "used-up",
                                 .limits = {.max_uses = 1});
    for (int i = 0; i < 3; i++)
        answer_expect_file(site, fetch(site, link), TRACK_TINY);
    return link;
}

LINK(link_bytes, .account = "alice", .path = TRACK_TINY, .limits = {.max_bytes = 10})

static const char *link_connections(struct site *site)
{
    const struct token_limits one = {.max_conns = 1};
    hold(site, site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "one-at-once",
                         .limits = one));
    return site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "one-at-once",
                     .limits = one);
}

static const char *busy(struct site *site)
{
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "busy",
                                 .limits = {.max_uses = 1, .rate = 100000});
    for (int i = 0; i < 3; i++)
        hold(site, link);
    return link;
}

static const char *unacknowledged(struct site *site)
{
    /* The node counts them by the minute of the monotonic clock, which must not end meanwhile. */
    while (harness_now_ms() % 60000 > 45000)
        harness_pause();
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "rude");
    for (int i = 0; i < 5; i++) {
        int fd = raw_connect(site, 2048);
        raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
        (void)raw_answer_head(site, fd);
        raw_reset(fd);
    }
    return link;
}

#define NO_LINKS  "no link stands for such a request"
#define NO_CLIENT "it is the client that is refused, and explain has none"

struct row {
    const char *(*link)(struct site *site); /* prepares, and returns the target to ask for */
    const char *host;                       /* NULL: HOST */
    void (*alone)(void);
    const char *exempt; /* why no GET by a link meets it */
};

static const struct row rows[REFUSAL_COUNT] = {
    [REFUSED_TOKEN_MISSING] = {no_token},
    [REFUSED_TOKEN_AMBIGUOUS] = {two_tokens},
    [REFUSED_TOKEN_TOO_LONG] = {long_token},
    [REFUSED_TOKEN_MALFORMED] = {padded_token},
    [REFUSED_TOKEN_ENCRYPTED] = {encrypted_token},
    [REFUSED_HEADER_MALFORMED] = {no_alg},
    [REFUSED_HEADER_UNSUPPORTED] = {a_crit},
    [REFUSED_ALGORITHM_REFUSED] = {alg_none},
    [REFUSED_KEY_ID_MISSING] = {no_kid},
    [REFUSED_KEY_UNKNOWN] = {other_kid},
    [REFUSED_BAD_SIGNATURE] = {other_signature},
    [REFUSED_CLAIMS_MALFORMED] = {wrong_claim},
    [REFUSED_CLAIM_MISSING] = {no_iss},
    [REFUSED_ISSUER_UNKNOWN] = {other_iss},
    [REFUSED_AUDIENCE_MISMATCH] = {other_aud},
    [REFUSED_VERSION_UNSUPPORTED] = {other_version},
    [REFUSED_CRITICAL_UNSUPPORTED] = {other_critical},
    [REFUSED_CLIENT_IP_UNSUPPORTED] = {client_ip},
    [REFUSED_SUBJECT_UNSUPPORTED] = {subject},
    [REFUSED_RENEWAL_UNSUPPORTED] = {renewal},
    [REFUSED_JTI_MISSING] = {uses_without_jti},
    [REFUSED_LIFETIME_TOO_LONG] = {long_life},
    [REFUSED_NOT_YET_VALID] = {begins_later},
    [REFUSED_ISSUED_AHEAD] = {issued_later},
    [REFUSED_EXPIRED] = {ended},
    [REFUSED_CONTAINER_UNSUPPORTED] = {bare_container},
    [REFUSED_CONTAINER_MALFORMED] = {bad_container},
    [REFUSED_OUT_OF_CONTAINER] = {other_path},
    [REFUSED_OUT_OF_ISSUER_PATHS] = {rivals_path},
    [REFUSAL_HEAD_MALFORMED] = {a_space},
    [REFUSAL_HOST_INVALID] = {no_token, .host = "me,dia.example"},
    [REFUSAL_TARGET_INVALID] = {a_quote},
    [REFUSAL_PATH_INVALID] = {dots},
    [REFUSAL_TARGET_TOO_LONG] = {too_long},
    [REFUSAL_HEAD_TOO_LARGE] = {long_query, .host = long_host},
    [REFUSAL_HEAD_TIMEOUT] = {.exempt = NO_LINKS},
    [REFUSAL_BODY_REFUSED] = {.exempt = NO_LINKS},
    [REFUSAL_METHOD_NOT_ALLOWED] = {.exempt = NO_LINKS},
    [REFUSAL_METHOD_UNKNOWN] = {.exempt = NO_LINKS},
    [REFUSAL_CODING_UNKNOWN] = {.exempt = NO_LINKS},
    [REFUSAL_EXPECTATION_FAILED] = {.exempt = NO_LINKS},
    [REFUSAL_VERSION_REFUSED] = {.exempt = NO_LINKS},
    [REFUSAL_TOO_MANY_BAD_SIGNATURES] = {.exempt = NO_CLIENT},
    [REFUSAL_FILE_NOT_FOUND] = {no_file},
    [REFUSAL_PRECONDITION_FAILED] = {.exempt = NO_LINKS},
    [REFUSAL_FILE_NOT_HASHED] = {.exempt = NO_LINKS},
    [REFUSAL_RANGE_NOT_SATISFIABLE] = {.exempt = NO_LINKS},
    [REFUSAL_ACCOUNT_UNKNOWN] = {nobodys},
    [REFUSAL_ACCOUNT_SUSPENDED] = {suspended},
    [REFUSAL_BALANCE_INSUFFICIENT] = {poor},
    [REFUSAL_ACCOUNT_BYTES_USED_UP] = {account_bytes},
    [REFUSAL_ACCOUNT_CONNECTIONS] = {account_connections},
    [REFUSAL_LINK_REVOKED] = {revoked},
    [REFUSAL_LINK_USED_UP] = {used_up},
    [REFUSAL_LINK_BYTES_USED_UP] = {link_bytes},
    [REFUSAL_LINK_CONNECTIONS] = {link_connections},
    [REFUSAL_LINK_BUSY] = {busy},
    [REFUSAL_TOO_MANY_UNACKNOWLEDGED] = {unacknowledged},
    [REFUSAL_ACCOUNT_SET_ASIDE] = {.exempt = "it needs damaged data in Redis"},
    [REFUSAL_FUNDS_HELD_ELSEWHERE] = {.exempt = "it needs another node"},
    [REFUSAL_REDIS_UNAVAILABLE] = {.alone = without_redis},
    [REFUSAL_JOURNAL_UNAVAILABLE] = {.alone = with_a_full_disk},
    [REFUSAL_NODE_BUSY] = {.alone = with_all_windows_open},
    [REFUSAL_NODE_STARTING] = {.alone = with_anothers_name},
    [REFUSAL_NODE_DRAINING] = {.alone = while_it_is_drained},
    [REFUSAL_CONNECTIONS_EXHAUSTED] = {.alone = with_all_connections_taken},
    [REFUSAL_ADDRESS_EXHAUSTED] = {.exempt = NO_CLIENT},
    [REFUSAL_PROXY_HEADER_MISSING] = {.exempt = NO_CLIENT},
    [REFUSAL_PLAIN_HTTP] = {.exempt = NO_CLIENT},
    [REFUSAL_FILE_UNREADABLE] = {.exempt = "a disk that fails cannot be had here"},
};

Test(explain, says_what_a_GET_is_answered_for_each_refusal)
{
    struct site *site = site_create(.settings = "unacknowledged_max: 3\n");
    memset(long_host, 'a', sizeof(long_host) - 1);
    site_account_open_prepaid(site, "alice", 1000u * 1000 * 1000);
    for (int refusal = 1; refusal < REFUSAL_COUNT; refusal++) {
        const struct row *row = &rows[refusal];
        if (refusal_names[refusal] == NULL)
            continue; /* a number between the tables, not a refusal */
        cr_expect(row->link != NULL || row->alone != NULL || row->exempt != NULL,
                  "%s has no case here", refusal_names[refusal]);
        if (row->link != NULL)
            expect_same(site, row->host, row->link(site), (enum refusal)refusal);
    }
    let_go();
    site_destroy(&site);
}

Test(explain, says_what_a_GET_is_answered_where_the_node_itself_refuses)
{
    for (int refusal = 1; refusal < REFUSAL_COUNT; refusal++) {
        if (rows[refusal].alone != NULL)
            rows[refusal].alone();
    }
}

static void expect_admitted(struct site *site, const char *host, const char *target)
{
    json_t *report = explain(site, host, target);
    const char *reason = json_string_value(json_object_get(report, "reason"));
    cr_expect(json_is_true(json_object_get(report, "admitted")), "%s: %s", target, reason);
    cr_expect_eq(json_integer_value(json_object_get(report, "status")), 200);
    cr_expect_str_eq(reason, "ok");
    cr_expect_null(json_object_get(report, "text"));
    json_decref(report);
}

Test(explain, takes_nothing_of_what_it_asks_about)
{
    struct site *site = site_create();
    size_t size;
    (void)site_media_bytes(site, TRACK_TINY, &size);
    site_account_open_prepaid(site, "alice", size);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1",
                                 .limits = {.max_uses = 1, .max_bytes = size, .max_conns = 1});
    uint64_t requests = site_traffic(site, "requests");
    for (int i = 0; i < 5; i++)
        expect_admitted(site, NULL, link);
    cr_expect_eq(site_redis_number(site, "return redis.call('EXISTS', 'tg:{shop/alice}:grants') + "
                                         "#redis.call('KEYS', 'tg:{shop/alice}:link:*')"),
                 0, "it has left something in Redis");
    cr_expect_eq(site_balance(site, "alice").reserved, 0);
    cr_expect_eq(site_traffic(site, "requests"), requests, "it is counted as a client's");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    site_usage_await(site, "alice", size);
    expect_explained(site, NULL, link, REFUSAL_BALANCE_INSUFFICIENT);
    cr_expect_null(strstr(site_log(site), "balance_insufficient"), "it is logged as a client's");
    site_destroy(&site);
}

/* Explain takes a link as it is written; a GET has what a client makes of the link. */
Test(explain, reads_a_link_as_the_node_does)
{
    struct site *site = site_create(.settings = "plain_http: serve\n");
    site_account_open_prepaid(site, "alice", 10000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    const char *token = strchr(link, '?');
    static const char *const hosts[] = {"media.example:8080", "[::1]:8080", "user:word@a"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        expect_admitted(site, hosts[i], link);
    expect_admitted(site, NULL, site_format(site, "%s#t=30", link));
    expect_admitted(site, NULL, site_format(site, "/%%6aingle.mp3%s", token));
    answer_expect_file(site, get_from(site, NULL, site_format(site, "/%%6aingle.mp3%s", token)),
                       TRACK_TINY);
    /* The bounds hold for what a client sends, so a long host does not count towards them. */
    const char *host = site_format(site, "%0200d.example", 0);
    const char *query = site_format(site, "%s&%0*d", link, (int)(8190 - strlen(link)), 0);
    cr_assert_eq(get_from(site, host, query)->status, 200);
    expect_admitted(site, host, query);
    /* An empty path is "/" (RFC 9110 4.2.3). */
    expect_explained(site, NULL, "", refusal_of_verdict(REFUSED_TOKEN_MISSING));
    expect_explained(site, NULL, token, refusal_of_verdict(REFUSED_OUT_OF_CONTAINER));
    static const char *const none[] = {"song.mp3", "https://a/x\\r\\nB: c", "ftp://a/x"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        const struct answer *answer = site_admin(site, "POST", "/v1/links/explain",
                                                 site_format(site, "{\"url\":\"%s\"}", none[i]));
        cr_expect_eq(answer->status, 422, "%s: %u", none[i], answer->status);
    }
    site_destroy(&site);
}
