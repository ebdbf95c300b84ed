/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of refusals: each has a name of its own and a status that HTTP knows. What it says to
 * listeners is plain sentences that end in something to do, without a word that only storefronts and
 * operators know.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/http/refusal.h"

/* Whether the text has the word by itself, not as a part of another. */
static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text; *at != '\0'; at++) {
        bool begins = at == text || !isalpha((unsigned char)at[-1]);
        if (begins && strncasecmp(at, word, length) == 0 && !isalpha((unsigned char)at[length])) {
            return true;
        }
    }
    return false;
}

Test(refusal, says_to_a_listener_what_to_do_and_nothing_of_tokens)
{
    static const char *const jargon[] = {"jws",       "jwe",      "jwt",
                                         "token",     "tokens",   "claim",
                                         "claims",    "header",   "headers",
                                         "signature", "signed",   "key",
                                         "kid",       "alg",      "exp",
                                         "nbf",       "iat",      "jti",
                                         "acct",      "cdniuc",   "iss",
                                         "issuer",    "rfc",      "redis",
                                         "journal",   "node",     "base64",
                                         "base64url", "json",     "bytes",
                                         "request",   "response", "max_uses",
                                         "max_bytes", "proxy",    "host",
                                         "path",      "segment",  "percent-encoded"};
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++) {
        enum refusal refusal = (enum refusal)i;
        const char *text = refusal_listener(refusal);
        cr_assert_not_null(text, "%s", refusal_name(refusal));
        size_t length = strlen(text);
        cr_expect(length > 20 && isupper((unsigned char)text[0]) && text[length - 1] == '.',
                  "%s: %s", refusal_name(refusal), text);
        cr_expect_null(strpbrk(text, "\"\\<>&"), "%s: %s would need escapes", refusal_name(refusal),
                       text);
        for (size_t j = 0; j < sizeof(jargon) / sizeof(jargon[0]); j++) {
            cr_expect(!has_word(text, jargon[j]), "%s: a listener does not know \"%s\": %s",
                      refusal_name(refusal), jargon[j], text);
        }
    }
    cr_expect_str_eq(refusal_listener(refusal_of_verdict(REFUSED_TOKEN_MALFORMED)),
                     "This link is incomplete. Go back to the shop and press download again.");
    cr_expect_str_eq(refusal_listener(refusal_of_verdict(REFUSED_TOKEN_MISSING)),
                     "This link is incomplete. Go back to the shop and press download again.");
}

Test(refusal, has_a_name_of_its_own_and_a_status_that_says_whose_fault_it_is)
{
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++) {
        enum refusal refusal = (enum refusal)i;
        const char *name = refusal_name(refusal);
        unsigned status = refusal_status(refusal);
        cr_expect(status >= 400 && status < 600, "%s: %u", name, status);
        cr_expect_str_not_empty(http_status_phrase(status), "%s: %u", name, status);
        cr_expect_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789"), strlen(name), "%s",
                     name);
        cr_expect_gt(strlen(refusal_text(refusal)), 10, "%s", name);
        for (int other = REFUSAL_NONE + 1; other < i; other++)
            cr_expect_str_neq(refusal_name((enum refusal)other), name);
    }
    cr_expect_eq(refusal_status(refusal_of_verdict(REFUSED_EXPIRED)), 410);
    cr_expect_eq(refusal_status(REFUSAL_BALANCE_INSUFFICIENT), 402);
    cr_expect_str_eq(http_status_phrase(402), "Payment Required");
    cr_expect_str_eq(http_status_phrase(418), "");
}

/* Behind a request whose end is not known, another one could be smuggled. */
Test(refusal, of_a_request_whose_end_is_not_known_closes_the_connection)
{
    static const enum refusal closing[] = {REFUSAL_HEAD_MALFORMED, REFUSAL_HEAD_TOO_LARGE,
                                           REFUSAL_HEAD_TIMEOUT, REFUSAL_BODY_REFUSED,
                                           REFUSAL_CODING_UNKNOWN};
    for (size_t i = 0; i < sizeof(closing) / sizeof(closing[0]); i++)
        cr_expect(refusal_closes(closing[i]), "%s", refusal_name(closing[i]));
    cr_expect_not(refusal_closes(REFUSAL_FILE_NOT_FOUND));
    cr_expect_not(refusal_closes(refusal_of_verdict(REFUSED_EXPIRED)));
}
