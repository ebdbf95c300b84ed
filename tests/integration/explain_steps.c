/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/explain_steps.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/refusal.h"

const char *const refusal_names[REFUSAL_COUNT] = {
#define X(name, ...) [REFUSED_##name] = #name,
    TOKEN_REFUSALS(X)
#undef X
#define X(name, ...) [REFUSAL_##name] = #name,
        SERVER_REFUSALS(X)
#undef X
};

const unsigned refusal_statuses[REFUSAL_COUNT] = {
#define X(name, status, ...) [REFUSED_##name] = status,
    TOKEN_REFUSALS(X)
#undef X
#define X(name, status, ...) [REFUSAL_##name] = status,
        SERVER_REFUSALS(X)
#undef X
};

const struct answer *get_from(struct site *site, const char *host, const char *target)
{
    const char *request = site_format(site, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target,
                                      host != NULL ? host : HOST);
    return raw_exchange(site, request, strlen(request));
}

json_t *explain(struct site *site, const char *host, const char *target)
{
    json_t *body = json_pack("{s:s}", "url",
                             site_format(site, "https://%s%s", host != NULL ? host : HOST, target));
    char *text = json_dumps(body, 0);
    const struct answer *answer = site_admin(site, "POST", "/v1/links/explain", text);
    cr_assert_eq(answer->status, 200, "%s: %u %.*s", target, answer->status,
                 (int)answer->body_length, (const char *)answer->body);
    json_t *report = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    cr_assert(report);
    free(text);
    json_decref(body);
    return report;
}

static const char *reason_in(const struct answer *answer)
{
    static char reason[64];
    const char *at =
        answer->body != NULL ? strstr((const char *)answer->body, "\"reason\":\"") : NULL;
    (void)snprintf(reason, sizeof(reason), "%s",
                   at != NULL ? at + strlen("\"reason\":\"") : "none\"");
    *strchr(reason, '"') = '\0';
    return reason;
}

static bool is_reason(const char *reason, enum refusal refusal)
{
    return reason != NULL && strcasecmp(reason, refusal_names[refusal]) == 0;
}

void expect_explained(struct site *site, const char *host, const char *target, enum refusal refusal)
{
    json_t *report = explain(site, host, target);
    const char *reason = json_string_value(json_object_get(report, "reason"));
    cr_expect(json_is_false(json_object_get(report, "admitted")), "%s", refusal_names[refusal]);
    cr_expect_eq(json_integer_value(json_object_get(report, "status")), refusal_statuses[refusal],
                 "%s is explained as %lld %s", refusal_names[refusal],
                 json_integer_value(json_object_get(report, "status")), reason);
    cr_expect(is_reason(reason, refusal), "%s is explained as %s", refusal_names[refusal], reason);
    cr_expect(json_string_value(json_object_get(report, "text")));
    json_decref(report);
}

void await_refused(struct site *site, const char *host, const char *target, enum refusal refusal)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer = get_from(site, host, target);
    while (!is_reason(reason_in(answer), refusal) && harness_now_ms() < deadline_ms) {
        harness_pause();
        answer = get_from(site, host, target);
    }
    cr_assert(is_reason(reason_in(answer), refusal), "%s: a GET is answered %u %s",
              refusal_names[refusal], answer->status, reason_in(answer));
    cr_expect_eq(answer->status, refusal_statuses[refusal], "%s: %u", refusal_names[refusal],
                 answer->status);
}

void expect_same(struct site *site, const char *host, const char *target, enum refusal refusal)
{
    /* Explain is also asked before the GET: it must neither depend on the GET nor change
     * its answer. */
    json_decref(explain(site, host, target));
    await_refused(site, host, target, refusal);
    expect_explained(site, host, target, refusal);
}

static int held[16];
static unsigned held_count;

void hold(struct site *site, const char *link)
{
    int fd = raw_connect(site, 2048);
    cr_assert_lt(held_count, sizeof(held) / sizeof(held[0]));
    held[held_count++] = fd;
    raw_print(fd, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", link);
    cr_assert_eq(raw_answer_head(site, fd)->status, 200);
}

void let_go(void)
{
    while (held_count > 0)
        raw_reset(held[--held_count]);
}
