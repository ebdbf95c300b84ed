/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics as data: each is described as a metrics text needs it, told once in the answer of
 * health, and there by the description of the admin interface.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/admin/admin_metrics.h"
#include "server/delivery/metrics.h"

#define FOR_EACH_METRIC(group, metric)                                                             \
    for (const struct metric_group *group = metric_groups;                                         \
         group < metric_groups + METRIC_GROUPS_COUNT; group++)                                     \
        for (const struct metric *metric = group->metrics; metric < group->metrics + group->count; \
             metric++)

static bool is_word(const char *text)
{
    return text[0] != '\0' && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

Test(admin_metrics, each_row_is_whole)
{
    FOR_EACH_METRIC(group, metric)
    {
        cr_expect(is_word(metric->name), "%s", metric->name);
        cr_expect(is_word(metric->field), "%s", metric->field);
        cr_expect(is_word(metric->unit), "%s: %s", metric->field, metric->unit);
        size_t length = strlen(metric->help);
        cr_expect(length > 20 && isupper((unsigned char)metric->help[0]) &&
                      metric->help[length - 1] == '.',
                  "%s: %s", metric->field, metric->help);
        char key[32], value[64], end;
        cr_expect(metric->labels[0] == '\0' ||
                      (sscanf(metric->labels, "%31[a-z]=\"%63[a-z0-9_]%c", key, value, &end) == 3 &&
                       end == '"' && metric->labels[strlen(key) + strlen(value) + 3] == '\0'),
                  "%s: %s", metric->field, metric->labels);
    }
}

/* Those of one name differ in their labels and agree in everything else, and stand together. */
Test(admin_metrics, rows_of_one_name_are_told_apart_by_labels_alone)
{
    FOR_EACH_METRIC(group, metric)
    {
        for (const struct metric *other = group->metrics; other < metric; other++) {
            cr_expect_str_neq(other->field, metric->field);
            if (strcmp(other->name, metric->name) != 0)
                continue;
            cr_expect_str_eq((metric - 1)->name, metric->name);
            cr_expect_str_neq(other->labels, metric->labels, "%s", metric->name);
            cr_expect(other->labels[0] != '\0' && metric->labels[0] != '\0', "%s", metric->name);
            cr_expect_eq(other->kind, metric->kind);
            cr_expect_str_eq(other->unit, metric->unit);
        }
    }
}

Test(admin_metrics, each_value_is_told_once_under_the_name_of_its_field)
{
    for (unsigned id = 0; id < METRIC_GROUPS_COUNT; id++) {
        const struct metric_group *group = &metric_groups[id];
        uint64_t stats[128] = {0};
        for (size_t i = 0; i < group->count; i++) {
            cr_assert_lt(group->metrics[i].offset, sizeof(stats));
            cr_assert_eq(group->metrics[i].offset % sizeof(stats[0]), 0);
            stats[group->metrics[i].offset / sizeof(stats[0])] = i + 1;
        }
        json_t *told = json_object();
        metric_group_tell(told, (enum metric_group_id)id, stats);
        cr_expect_eq(json_object_size(told), group->count, "%s", group->name);
        for (size_t i = 0; i < group->count; i++)
            cr_expect_eq(json_integer_value(json_object_get(told, group->metrics[i].field)), i + 1,
                         "%s.%s", group->name, group->metrics[i].field);
        json_decref(told);
    }
}

Test(admin_metrics, a_node_that_starts_tells_what_its_admin_threads_have_counted)
{
    static char name[] = "node-1";
    static struct config config = {.node = name};
    static struct node node = {.config = &config, .phase = NODE_STARTING};
    struct admin_request request = {0};
    struct admin_answer answer = {0};
    atomic_store(&node.admin.unauthorized, 3);
    atomic_store(&node.admin.forbidden, 5);
    admin_health(&node, &request, &answer);
    json_t *health = json_loads(answer.body, 0, NULL);
    const json_t *admin = json_object_get(health, "admin");
    cr_expect_eq(json_integer_value(json_object_get(admin, "unauthorized")), 3);
    cr_expect_eq(json_integer_value(json_object_get(admin, "forbidden")), 5);
    json_decref(health);
    free(answer.body);
}

/* A group whose members the description lists has exactly those, and any other takes integers. */
Test(admin_metrics, the_description_of_health_has_each_group)
{
    struct admin_request request = {0};
    struct admin_answer answer = {0};
    admin_openapi(NULL, &request, &answer);
    json_t *document = json_loadb(answer.body, answer.length, 0, NULL);
    cr_assert_not_null(document);
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    json_t *health = json_object_get(json_object_get(schemas, "Health"), "properties");
    for (unsigned id = 0; id < METRIC_GROUPS_COUNT; id++) {
        const struct metric_group *group = &metric_groups[id];
        json_t *described = json_object_get(health, group->name);
        cr_assert_not_null(described, "openapi.json has no %s in Health", group->name);
        json_t *others = json_object_get(described, "additionalProperties");
        json_t *members = json_object_get(described, "properties");
        if (json_is_object(others)) {
            cr_expect_str_eq(json_string_value(json_object_get(others, "type")), "integer");
            continue;
        }
        size_t integers = 0;
        const char *name;
        json_t *member;
        json_object_foreach(members, name, member)
        {
            const char *type = json_string_value(json_object_get(member, "type"));
            integers += type != NULL && strcmp(type, "integer") == 0;
        }
        cr_expect_eq(integers, group->count, "%s", group->name);
        for (size_t i = 0; i < group->count; i++)
            cr_expect_not_null(json_object_get(members, group->metrics[i].field),
                               "openapi.json has no %s.%s", group->name, group->metrics[i].field);
    }
    json_decref(document);
    free(answer.body);
}
