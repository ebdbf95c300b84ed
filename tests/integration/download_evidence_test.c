/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate download list` and `tollgate download show` as finance runs them: what they say of real downloads is
 * what the client received, the access log and the index of hashes say.
 */
#include <jansson.h>
#include <signal.h>
#include <string.h>

#include "tests/integration/harness.h"

#define FIRST_PART 100000u

TestSuite(download_evidence, .timeout = 120);

static json_t *json_of(struct command_result result)
{
    json_error_t error;
    cr_assert_eq(result.exit_code, 0, "%s", result.errors);
    json_t *value = json_loads(result.output, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(value, "%s: %s", error.text, result.output);
    return value;
}

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "(none)";
}

static uint64_t number_of(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    cr_assert(json_is_integer(value), "%s", member);
    return (uint64_t)json_integer_value(value);
}

/* The only download of the account, once the journal has so many responses of it. */
static json_t *await_download(struct site *site, const char *account, uint64_t responses)
{
    uint64_t until_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        json_t *list = json_of(site_tollgate(site, "download", "list", account, "--json"));
        json_t *rows = json_object_get(list, "downloads");
        if (json_array_size(rows) == 1 &&
            number_of(json_array_get(rows, 0), "responses") >= responses) {
            json_t *row = json_incref(json_array_get(rows, 0));
            json_decref(list);
            return row;
        }
        json_decref(list);
        cr_assert_lt(harness_now_ms(), until_ms);
        harness_pause();
    }
}

static void expect_response(const json_t *response, uint64_t first, uint64_t length,
                            const char *tls, const char *client)
{
    cr_expect_eq(number_of(response, "first_byte"), first);
    cr_expect_eq(number_of(response, "acknowledged"), length);
    cr_expect_str_eq(text_of(response, "tls"), tls);
    cr_expect_str_eq(text_of(response, "client"), client);
    cr_expect(json_is_false(json_object_get(response, "proxied")));
    cr_expect_neq(strcmp(text_of(response, "kid"), "(none)"), 0);
    /* Times of one form sort as texts. */
    cr_expect_leq(strcmp(text_of(response, "started"), text_of(response, "ended_by")), 0);
    cr_expect_eq(strlen(text_of(response, "started")), strlen("2026-11-29T12:00:00.000Z"));
}

/* What `media show` says of the file. */
static json_t *media_of(struct site *site, const char *path)
{
    json_t *list = json_of(site_tollgate(site, "media", "show", path, "--json"));
    json_t *facts = json_incref(json_array_get(list, 0));
    json_decref(list);
    return facts;
}

Test(download_evidence, is_what_the_client_received_in_two_ranges_over_tls_and_plain)
{
    struct site *site =
        site_create(.tls = true, .settings = "access_log: access\njournal_client: full\n");
    site_account_open_postpaid(site, "alice");
    json_t *media = media_of(site, TRACK_LONG); /* which hashes it */
    const char *etag = text_of(media, "etag");
    const char *link = site_link(site, .account = "alice", .path = TRACK_LONG, .jti = "order-7");
    const struct answer *first = fetch(site, link, .range = "0-99999", .tls = true,
                                       .headers = HEADERS(site_format(site, "If-Match: %s", etag)));
    answer_expect_bytes(site, first, TRACK_LONG, 0, FIRST_PART);
    cr_expect_str_eq(answer_header(site, first, "ETag"), etag);
    const struct answer *rest = fetch(site, link, .range = "100000-",
                                      .headers = HEADERS(site_format(site, "If-Range: %s", etag)));
    uint64_t size = number_of(media, "size");
    answer_expect_bytes(site, rest, TRACK_LONG, FIRST_PART, size - FIRST_PART);
    json_t *row = await_download(site, "shop/alice", 2);
    const char *id = text_of(row, "download");
    cr_expect_str_eq(text_of(row, "file"), TRACK_LONG);
    json_t *shown = json_of(site_tollgate(site, "download", "show", id, "--evidence", "--json"));
    cr_expect_str_eq(text_of(shown, "download"), id);
    cr_expect_str_eq(text_of(shown, "issuer"), "shop");
    cr_expect_str_eq(text_of(shown, "account"), "alice");
    cr_expect_str_eq(text_of(shown, "file"), TRACK_LONG);
    cr_expect_str_eq(text_of(shown, "link"), text_of(row, "link"));
    cr_expect_str_eq(site_format(site, "\"%s\"", text_of(shown, "content")), etag);
    cr_expect_eq(number_of(shown, "size"), size);
    cr_expect_eq(number_of(shown, "bytes"), first->body_length + rest->body_length);
    cr_expect_eq(number_of(shown, "responses"), 2);
    cr_expect(json_is_true(json_object_get(shown, "complete")));
    const json_t *evidence = json_object_get(shown, "evidence");
    const json_t *responses = json_object_get(evidence, "responses");
    cr_assert_eq(json_array_size(responses), 2);
    expect_response(json_array_get(responses, 0), 0, FIRST_PART, "TLSv1.3", "127.0.0.1");
    expect_response(json_array_get(responses, 1), FIRST_PART, size - FIRST_PART, "(none)",
                    "127.0.0.1");
    cr_expect_eq(number_of(evidence, "undescribed"), 0);
    /* The log, whose lines wait for others, has the same id, and the list finds it by file and by either
     * name of the link. */
    const char *named = site_format(site, "\"download\":\"%s\"", id);
    const char *log = site_format(site, "%s/access", site_directory(site));
    cr_expect_eq(system(site_format(site,
                                    "for i in $(seq 200); do grep -q '%s' '%s' && exit 0; sleep "
                                    "0.05; done; exit 1",
                                    named, log)),
                 0);
    const char *shop_link = site_format(site, "%.12s", text_of(row, "link"));
    const char *const links[] = {"order-7", shop_link, "order-8"};
    for (size_t i = 0; i < 3; i++) {
        struct command_result list = site_tollgate(site, "download", "list", "shop/alice", "--link",
                                                   links[i], "--path", TRACK_LONG);
        cr_expect_eq(strstr(list.output, id) != NULL, i < 2, "%s: %s", links[i], list.output);
    }
    json_decref(row);
    json_decref(shown);
    json_decref(media);
    site_destroy(&site);
}

Test(download_evidence, names_the_head_of_the_chain_as_ledger_verify_does)
{
    struct site *site = site_create(.own_redis = true);
    size_t size;
    (void)site_media_bytes(site, TRACK_SHORT, &size);
    site_account_open_postpaid(site, "alice");
    const char *link = site_link(site, .account = "alice", .path = TRACK_SHORT);
    answer_expect_file(site, fetch(site, link), TRACK_SHORT);
    site_usage_await(site, "alice", size);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    json_t *row = await_download(site, "shop/alice", 1);
    cr_expect(json_is_true(json_object_get(row, "closed")));
    json_t *shown = json_of(site_tollgate(site, "download", "show", text_of(row, "download"),
                                          "--evidence", "--json", site_state_dir(site)));
    const json_t *evidence = json_object_get(shown, "evidence");
    const json_t *head = json_object_get(evidence, "head");
    cr_expect_str_eq(text_of(shown, "state"), "closed");
    const json_t *response = json_array_get(json_object_get(evidence, "responses"), 0);
    expect_response(response, 0, size, "(none)", "127.0.0.0/24");
    cr_expect_str_eq(text_of(response, "client_kept"), "prefix");
    json_t *verified =
        json_of(site_tollgate(site, "ledger", "verify", "--day", text_of(head, "day"), "--json"));
    const json_t *lane = json_array_get(json_object_get(verified, "lanes"), 0);
    cr_expect_str_eq(text_of(head, "chain"), text_of(lane, "chain"));
    const json_t *day = json_object_get(lane, "head");
    cr_expect_str_eq(text_of(head, "chain"), text_of(day, "chain"));
    cr_expect_eq(number_of(head, "byte"), number_of(day, "byte"));
    cr_expect_eq(number_of(head, "segment"), number_of(lane, "segment"));
    cr_expect_eq(number_of(head, "byte") + 256, number_of(lane, "position"), "it ends there");
    cr_expect_str_eq(text_of(shown, "instance"), text_of(lane, "instance"));
    json_decref(verified);
    json_decref(shown);
    json_decref(row);
    site_destroy(&site);
}

static void expect(const char *text, const char *part)
{
    cr_expect(strstr(text, part) != NULL, "no %s in %s", part, text);
}

static void expect_no(const char *text, const char *part)
{
    cr_expect(strstr(text, part) == NULL, "%s in %s", part, text);
}

Test(download_evidence, is_a_page_on_which_no_name_becomes_markup)
{
    static const char account[] = "<script>alert('1')</script>&\"x\"\u202e";
    struct site *site = site_create(.settings = "journal_client: none\n");
    const char *name = site_format(site, "shop/%s", account);
    struct command_result opened = site_tollgate(site, "account", "open", name, "--plan",
                                                 "postpaid", "--transaction", "order-1");
    cr_assert_eq(opened.exit_code, 0, "%s", opened.errors);
    const char *link = site_link(site, .account = account, .path = TRACK_VBR);
    answer_expect_file(site, fetch(site, link), TRACK_VBR);
    json_t *row = await_download(site, name, 1);
    struct command_result page =
        site_tollgate(site, "download", "show", text_of(row, "download"), "--html");
    cr_assert_eq(page.exit_code, 0, "%s", page.errors);
    expect(page.output, "<!DOCTYPE html>");
    expect(page.output,
           "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;x&quot;\\u202e</bdi>");
    expect(page.output, "<bdi>/Café/01 – 100% #1.mp3</bdi>");
    expect(page.output, "<bdi>not kept</bdi>");
    expect(page.output, "journal_client: none");
    expect(page.output, "XXH3 is not a signature");
    static const char *const none[] = {"<script", "src=", "href=", "url(", "@import", "http://"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        expect_no(page.output, none[i]);
    json_decref(row);
    site_destroy(&site);
}

Test(download_evidence, ends_with_the_code_of_what_went_wrong)
{
    struct site *site = site_create(.own_redis = true);
    site_account_open_postpaid(site, "alice");
    struct command_result result = site_tollgate(site, "download", "list", "shop/alice");
    cr_expect_eq(result.exit_code, 0);
    expect(result.output, "no downloads in these days\n");
    result = site_tollgate(site, "download", "show", "a-1-1");
    cr_expect_eq(result.exit_code, 1);
    expect(result.errors, "has no download a-1-1 in lane-a; ");
    result = site_tollgate(site, "download", "show", "268435457");
    cr_expect_eq(result.exit_code, 64);
    expect(result.errors, "268435457 is not a download's id; ");
    result = site_tollgate(site, "download", "show", "a-1-1", "/nowhere");
    cr_expect_eq(result.exit_code, 66);
    expect(result.errors, "/nowhere has no journal in a lane");
    result = site_tollgate(site, "download", "list", "shop/alice", "/nowhere");
    cr_expect_eq(result.exit_code, 66);
    result = site_tollgate(site, "download", "list", "shop/alice", "--from", "2026-02-30");
    cr_expect_eq(result.exit_code, 64);
    expect(result.errors, "--from 2026-02-30 is not a day of the calendar; ");
    result = site_tollgate(site, "download", "show", "a-1-1", "--html", "--json");
    cr_expect_eq(result.exit_code, 64);
    /* A broken lane: its instance is gone. */
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    cr_assert_eq(remove(site_format(site, "%s/lane-a/instance", site_state_dir(site))), 0);
    result = site_tollgate(site, "download", "show", "a-1-1");
    cr_expect_eq(result.exit_code, 1);
    expect(result.errors, "its file `instance` is damaged");
    site_destroy(&site);
}
