/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link's verdict as JSON: for `link explain --json`, and for support staff over the admin
 * interface, in the same words. It judges nothing (link_facts.c does) and never holds the token.
 */
#include "server/link/link_facts.h"

static const char *const step_words[] = {
#define X(name, word, text) word,
    LINK_STEPS(X)
#undef X
};

static json_t *steps_to_json(const struct link_facts *facts)
{
    static const char *const words[] = {"not reached", "passed", "failed"};
    json_t *steps = json_array();
    for (int i = 0; i < LINK_STEP_COUNT; i++) {
        json_t *step =
            json_pack("{s:s, s:s}", "check", step_words[i], "state", words[facts->states[i]]);
        if (facts->states[i] == LINK_FAILED)
            json_object_set_new(step, "reason", json_string(refusal_name(facts->refusals[i])));
        json_array_append_new(steps, step);
    }
    return steps;
}

json_t *link_report(const struct link_facts *facts, json_t *hints)
{
    bool admitted = facts->refusal == REFUSAL_NONE;
    json_t *report = json_object();
    json_object_set_new(report, "admitted", json_boolean(admitted));
    json_object_set_new(report, "status",
                        json_integer(admitted ? 200 : (json_int_t)refusal_status(facts->refusal)));
    json_object_set_new(report, "reason",
                        json_string(admitted ? "ok" : refusal_name(facts->refusal)));
    if (!admitted)
        json_object_set_new(report, "text", json_string(refusal_text(facts->refusal)));
    json_object_set_new(report, "account_asked", json_false());
    /* A path that is not UTF-8 makes json_string return NULL, and is left out. */
    if (facts->states[LINK_STEP_ADDRESS] == LINK_PASSED)
        json_object_set_new(report, "path", json_string(facts->target.path));
    if (facts->issuer != NULL)
        json_object_set_new(report, "issuer", json_string(facts->issuer->id));
    json_object_set_new(report, "now", json_integer(facts->now));
    if (facts->header != NULL)
        json_object_set(report, "header", facts->header);
    if (facts->claims != NULL)
        json_object_set(report, "claims", facts->claims);
    json_object_set_new(report, "checks", steps_to_json(facts));
    json_object_set(report, "hints", hints);
    return report;
}
