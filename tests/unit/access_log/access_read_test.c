/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the access log that are read again: what a bill needs comes back, from either format. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/access_log/access_log.h"
#include "server/access_log/access_read.h"

static char line[ACCESS_LINE_MAX];
static struct access_read found;

/* Writes a line of this account, and reads it. */
static int round_trip(enum access_format format, const char *issuer, const char *account,
                      uint64_t acknowledged)
{
    static const char path[] = "/a%22b.mp3", agent[] = "a \"player\" [1] \\";
    size_t size = sizeof("GET") + sizeof(path) + sizeof(agent) + strlen(issuer) + strlen(account);
    struct access_facts *facts = calloc(1, sizeof(*facts) + size);
    cr_assert_not_null(facts);
    char *at = access_facts_text(facts);
    const char *texts[ACCESS_TEXTS] = {[ACCESS_METHOD] = "GET",
                                       [ACCESS_PATH] = path,
                                       [ACCESS_AGENT] = agent,
                                       [ACCESS_ISSUER] = issuer,
                                       [ACCESS_ACCOUNT] = account};
    for (unsigned i = 0; i < ACCESS_TEXTS; i++) {
        size_t length = texts[i] == NULL ? 0 : strlen(texts[i]);
        facts->length[i] = (uint16_t)length;
        if (length > 0)
            memcpy(at, texts[i], length);
        at += length;
    }
    facts->status = 200;
    facts->acknowledged = acknowledged;
    size_t length = access_line_write(facts, format, line);
    free(facts);
    cr_assert_gt(length, 1);
    return access_line_read(line, length - 1, &found);
}

Test(access_read, finds_account_and_bytes_in_a_line_of_either_format)
{
    static const char *const accounts[] = {"alice", "al\"i\\ce", "Zoë", "a/b", "al-ice"};
    for (size_t i = 0; i < sizeof(accounts) / sizeof(accounts[0]); i++)
        for (int format = ACCESS_JSON; format <= ACCESS_COMBINED; format++) {
            cr_assert_eq(round_trip((enum access_format)format, "shop", accounts[i], 67787), 0,
                         "%s", line);
            cr_expect_str_eq(found.issuer, "shop");
            cr_expect_str_eq(found.account, accounts[i]);
            cr_expect_eq(found.account_length, strlen(accounts[i]));
            cr_expect_eq(found.acknowledged, 67787);
            cr_expect_not(found.has_pluses);
        }
}

Test(access_read, says_that_a_plus_of_the_combined_format_may_have_been_a_space)
{
    cr_assert_eq(round_trip(ACCESS_JSON, "shop", "al ice", 1), 0);
    cr_expect_str_eq(found.account, "al ice");
    cr_expect_not(found.has_pluses);
    cr_assert_eq(round_trip(ACCESS_COMBINED, "shop", "al ice", 1), 0);
    cr_expect_str_eq(found.account, "al+ice");
    cr_expect(found.has_pluses);
}

Test(access_read, takes_a_request_without_a_token_and_refuses_what_is_no_line)
{
    cr_assert_eq(round_trip(ACCESS_JSON, "", "", 0), 0);
    cr_expect_str_empty(found.issuer);
    cr_assert_eq(round_trip(ACCESS_COMBINED, "", "", 0), 0);
    cr_expect_str_empty(found.issuer);
    static const char *const others[] = {
        "",
        "{",
        "{}",
        "{\"issuer\": null, \"account\": null, \"billed\": -1}",
        "a - b",
        "127.0.0.1 - shop/alice [29/Nov/2026:00:00:00 +0000] \"GET / HTTP/1.1\" 200 many \"-\""};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        cr_expect_eq(access_line_read(others[i], strlen(others[i]), &found), -EINVAL, "%s",
                     others[i]);
}
