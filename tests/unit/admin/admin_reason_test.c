/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reasons in the description (openapi.json) are those of the two tables, in admin_reason.h and
 * in refusal.h.
 */
#include <criterion/criterion.h>
#include <jansson.h>

#include "server/admin/admin_reason.h"
#include "server/http/refusal.h"
#include "tests/unit/admin/fixture.h"

/* Expects that the list has each word once, and no other. */
static void expect_words(json_t *list, const char *what, json_t *words)
{
    const char *word;
    json_t *left = json_deep_copy(words), *value;
    size_t i;
    cr_assert(json_is_array(list), "%s has no enum", what);
    json_array_foreach(list, i, value)
        cr_expect(json_object_del(left, json_string_value(value)) == 0,
                  "%s: %s is twice there, or not in the tables", what, json_string_value(value));
    json_object_foreach(left, word, value) cr_expect(false, "%s lacks %s", what, word);
    json_decref(left);
}

Test(admin, the_description_has_the_tables_reasons_and_no_other)
{
    json_t *document = admin_ask("GET", "/v1/openapi.json", NULL, 200);
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    json_t *refusals = json_object();
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++) {
        (void)json_object_set_new(refusals, refusal_name((enum refusal)i), json_true());
    }
    json_t *problems = json_copy(refusals);
    for (int i = 0; i < ADMIN_REASON_COUNT; i++) {
        (void)json_object_set_new(problems, admin_reason_name((enum admin_reason)i), json_true());
    }
    (void)json_object_set_new(refusals, "ok", json_true());
    json_t *reason = json_object_get(
        json_object_get(json_object_get(schemas, "Problem"), "properties"), "reason");
    expect_words(json_object_get(reason, "enum"), "Problem.reason", problems);
    expect_words(json_object_get(json_object_get(schemas, "LinkReason"), "enum"), "LinkReason",
                 refusals);
    json_decref(problems);
    json_decref(refusals);
    json_decref(document);
}
