/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/shop_steps.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

json_t *shop_description;

static const json_t *resolve(const json_t *node)
{
    const char *reference = json_string_value(json_object_get(node, "$ref"));
    if (reference == NULL)
        return node;
    char path[128];
    const json_t *at = shop_description;
    cr_assert_eq(strncmp(reference, "#/", 2), 0);
    snprintf(path, sizeof(path), "%s", reference + 2);
    char *rest = NULL;
    for (char *word = strtok_r(path, "/", &rest); word != NULL; word = strtok_r(NULL, "/", &rest))
        at = json_object_get(at, word);
    cr_assert(at, "%s leads nowhere", reference);
    return at;
}

static bool type_is(const char *type, const json_t *value)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "null") == 0 && json_is_null(value));
}

/* Expects that a value fits a schema, by the parts of JSON Schema that the description uses. */
static void expect_schema(const json_t *schema, json_t *value, const char *where)
{
    schema = resolve(schema);
    const json_t *types = json_object_get(schema, "type");
    bool fits =
        types == NULL || (json_is_string(types) && type_is(json_string_value(types), value));
    for (size_t i = 0; i < json_array_size(types); i++)
        fits = fits || type_is(json_string_value(json_array_get(types, i)), value);
    cr_assert(fits, "%s is not of the type that is described", where);
    const json_t *words = json_object_get(schema, "enum");
    bool known = words == NULL;
    for (size_t i = 0; i < json_array_size(words); i++)
        known = known || json_equal(json_array_get(words, i), value);
    cr_assert(known, "%s is not one of the words that are described", where);
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        cr_assert(json_object_get(value, name), "%s has no %s", where, name);
    }
    const char *name;
    json_t *member;
    if (json_is_object(value) && properties != NULL) {
        json_object_foreach(value, name, member)
        {
            const json_t *property = json_object_get(properties, name);
            cr_assert(property, "%s.%s is not described", where, name);
            expect_schema(property, member, name);
        }
    }
    const json_t *items = json_object_get(schema, "items");
    for (size_t i = 0; items != NULL && i < json_array_size(value); i++)
        expect_schema(items, json_array_get(value, i), where);
}

static const char *lower(struct site *site, const char *method)
{
    char *text = (char *)(uintptr_t)site_format(site, "%s", method);
    for (char *c = text; *c; c++)
        *c = (char)(*c | 0x20);
    return text;
}

json_t *expect_described(struct site *site, const struct answer *answer, const char *method,
                         const char *path)
{
    const json_t *operation = json_object_get(
        json_object_get(json_object_get(shop_description, "paths"), path), lower(site, method));
    cr_assert(operation, "%s %s is not described", method, path);
    const char *status = site_format(site, "%u", answer->status);
    const json_t *response =
        resolve(json_object_get(json_object_get(operation, "responses"), status));
    cr_assert(response, "%s %s answers %s, which is not described: %s", method, path, status,
              (const char *)answer->body);
    const char *type = answer_header(site, answer, "Content-Type");
    const json_t *content = json_object_get(json_object_get(response, "content"), type);
    cr_assert(content, "%s %s answers %s of type %s", method, path, status, type);
    json_t *value = json_loadb((const char *)answer->body, answer->body_length, 0, NULL);
    cr_assert(value, "%s", (const char *)answer->body);
    expect_schema(json_object_get(content, "schema"), value,
                  site_format(site, "%s %s: %s", method, path, status));
    return value;
}

json_t *shop_call_with(struct site *site, const struct shop_call *call)
{
    const char *target =
        site_format(site, "%s%s", call->path, call->parameters != NULL ? call->parameters : "");
    const struct answer *answer = site_shop(site, call->secret, call->method, target, call->body);
    cr_assert_eq(answer->status, call->status, "%s %s: %u in place of %u: %s", call->method, target,
                 answer->status, call->status,
                 answer->body != NULL ? (const char *)answer->body : "");
    json_t *value = expect_described(site, answer, call->method,
                                     call->template != NULL ? call->template : call->path);
    const char *reason = json_string_value(json_object_get(value, "reason"));
    if (call->reason != NULL)
        cr_assert_str_eq(reason, call->reason);
    return value;
}

struct site *shop_site(const char *settings)
{
    struct site *site = site_create(.shop_secret = true, .settings = settings);
    const struct answer *answer = site_shop(site, NULL, "GET", "/v1/openapi.json", NULL);
    json_error_t why;
    cr_assert_eq(answer->status, 200);
    shop_description =
        json_loadb((const char *)answer->body, answer->body_length, JSON_REJECT_DUPLICATES, &why);
    cr_assert(shop_description, "the description is not JSON: %s; %zu bytes, complete: %d",
              why.text, answer->body_length, answer->complete);
    cr_assert_str_eq(json_string_value(json_object_get(shop_description, "openapi")), "3.1.0");
    return site;
}

void shop_site_destroy(struct site **site)
{
    json_decref(shop_description);
    site_destroy(site);
}

json_int_t number_of(json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    json_decref(object);
    return value;
}
