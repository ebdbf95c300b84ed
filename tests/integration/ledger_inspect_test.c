/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate ledger inspect` as an operator or an auditor runs it: beside a node and after its end, for
 * an account and for a download of the access log.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/harness.h"

TestSuite(ledger_inspect, .timeout = 120);

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text);
}

static void expect_not(const char *text, const char *part)
{
    cr_expect(strstr(text, part) == NULL, "\"%s\" in: %s", part, text);
}

/* The JSON of `ledger inspect` with the further words; the caller drops it. */
static json_t *inspect(struct site *site, const char *option, const char *value)
{
    struct command_result result =
        site_tollgate(site, "ledger", "inspect", "--json", option, value);
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    json_t *answer = json_loads(result.output, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(answer, "%s", result.output);
    return answer;
}

static json_int_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const json_t *first_usage(const json_t *answer)
{
    size_t index;
    const json_t *row;
    json_array_foreach(json_object_get(answer, "records"), index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "type")), "usage") == 0)
            return row;
    }
    cr_assert_fail("no usage record");
    return NULL;
}

/* The one response that the records describe. */
static void expect_response(const json_t *answer, size_t size)
{
    const json_t *row, *response = NULL;
    size_t index;
    json_array_foreach(json_object_get(answer, "records"), index, row)
    {
        const json_t *described = json_object_get(row, "described");
        if (json_array_size(described) == 0)
            continue;
        cr_expect_null(response);
        response = json_array_get(described, 0);
    }
    cr_expect_eq(number(response, "bytes"), (json_int_t)size);
    cr_expect_eq(number(response, "first_byte"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(response, "client")), "127.0.0.0/24");
    cr_expect_not_null(json_object_get(response, "key"));
    cr_expect_not_null(json_object_get(response, "began"));
}

Test(ledger_inspect, says_what_the_journal_has_of_an_account_and_of_a_download)
{
    struct site *site = site_create(.own_redis = true);
    size_t size;
    (void)site_media_bytes(site, TRACK_VBR, &size);
    site_account_open_postpaid(site, "alice");
    site_account_open_prepaid(site, "bob", 1000000);
    cr_assert_eq(fetch(site, site_link(site, .account = "alice", .path = TRACK_VBR))->status, 200);
    cr_assert_eq(fetch(site, site_link(site, .account = "bob", .path = TRACK_TINY))->status, 200);
    site_usage_await(site, "alice", size);
    struct command_result result = site_tollgate(site, "ledger", "inspect");
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    expect(result.output, " money account shop/bob sequence 1 open plan prepaid amount 1000000");
    expect(result.output, " usage account shop/alice file " TRACK_VBR " sequence 2 bytes +");
    expect(result.output, "; a process writes on behind that");
    expect_not(result.output, "127.0.0");
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);

    json_t *answer = inspect(site, "--account", "shop/alice");
    const json_t *sums = json_object_get(answer, "sums");
    cr_expect_eq(number(sums, "bytes"), (json_int_t)size);
    cr_expect_eq(number(sums, "responses"), 1);
    cr_expect_eq(number(sums, "operations"), 1);
    const json_t *usage = first_usage(answer);
    cr_expect_str_eq(json_string_value(json_object_get(usage, "account")), "shop/alice");
    cr_expect_str_eq(json_string_value(json_object_get(usage, "file")), TRACK_VBR);
    const char *download =
        site_format(site, "%s", json_string_value(json_object_get(usage, "download")));
    cr_expect_eq(strncmp(download, "a-1-", 4), 0, "%s", download);
    json_decref(answer);

    answer = inspect(site, "--download", download);
    cr_expect_eq(number(json_object_get(answer, "sums"), "bytes"), (json_int_t)size);
    cr_expect_eq(number(json_object_get(answer, "sums"), "operations"), 0);
    expect_response(answer, size);
    json_decref(answer);

    result = site_tollgate(site, "ledger", "inspect", "--clients", "--issuer", "shop", "--account",
                           "bob", "--from", "2026-01-01");
    expect(result.output, "client 127.0.0.0/24");
    expect_not(result.output, "shop/alice");
    site_destroy(&site);
}

Test(ledger_inspect, tells_what_is_not_there_from_what_is_empty)
{
    struct site *site = site_create(.own_redis = true);
    struct command_result result = site_tollgate(site, "ledger", "inspect", "--to", "2001-01-01");
    cr_expect_eq(result.exit_code, 0, "%s", result.errors);
    expect(result.output, "0 records printed");
    result = site_tollgate(site, "ledger", "inspect", "--segment", "7");
    cr_expect_eq(result.exit_code, 66);
    expect(result.errors, "has a segment 7; leave --segment out");
    result = site_tollgate(site, "ledger", "inspect", "--lane", "c");
    cr_expect_eq(result.exit_code, 66);
    expect(result.errors, "has no journal in lane-c");
    result = site_tollgate(site, "ledger", "inspect", "/nowhere");
    cr_expect_eq(result.exit_code, 66);
    expect(result.errors, "/nowhere has no journal in a lane");
    cr_expect_str_empty(result.output);
    result = site_tollgate(site, "ledger", "inspect", "--from", "yesterday");
    cr_expect_eq(result.exit_code, 64);
    expect(result.errors, "--from yesterday is neither a day nor a time; write it as 2026");
    site_destroy(&site);
}
