/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds the tree of a configuration file against config_table.h: each key is known and stands once,
 * and holds a single value or a list, as its type has it. Called once, when the tree has been made.
 * It converts no value and knows no key by name but `issuers`.
 */
#include <string.h>

#include "server/base/nearest.h"
#include "server/config/config_document_internal.h"

static void validate_scalar(struct config_document *document, const yaml_node_t *node, int issuer,
                            const char *key, int entry)
{
    if (node->type != YAML_SCALAR_NODE) {
        config_refuse(document, issuer, key, entry, "a single value is expected, not a %s",
                      node->type == YAML_MAPPING_NODE ? "mapping" : "list");
        return;
    }
    if (!config_document_expand(document, node, issuer, key, entry))
        return;
    const char *expanded = document->expanded[node - document->yaml.nodes.start];
    const char *text = expanded != NULL ? expanded : config_node_text(node);
    size_t length = expanded != NULL ? strlen(expanded) : node->data.scalar.length;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte >= 0x20 && byte != 0x7f)
            continue;
        config_refuse(document, issuer, key, entry,
                      "the value holds a control character or a line break; write it on one line, "
                      "in quotes where it holds YAML's own signs");
        return;
    }
}

static void validate_list(struct config_document *document, const yaml_node_t *node, int issuer,
                          const char *key)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        config_refuse(document, issuer, key, -1, "a list is expected; write %s: [ONE, TWO]", key);
        return;
    }
    int entry = 0;
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++)
        validate_scalar(document, config_node_at(document, *item), issuer, key, entry++);
}

/* The names that a mapping's keys may have, and the prefix that messages give them. */
struct names {
    int issuer; /* below 0: the root's */
    const char *prefix;
    const char *const *names;
    size_t count;
};

static void refuse_unknown(struct config_document *document, const struct names *names,
                           const yaml_node_t *name)
{
    const char *near = nearest_name(config_node_text(name), names->names, names->count);
    if (near == NULL) {
        config_error(document->errors, config_node_line(name),
                     "%s%s: no such key; `tollgate serve --print-config-reference` lists them",
                     names->prefix, config_node_text(name));
        return;
    }
    config_error(document->errors, config_node_line(name), "%s%s: no such key; did you mean %s?",
                 names->prefix, config_node_text(name), near);
    if (config_node_find(document, names->issuer, near, -1) == NULL)
        config_document_mark(document, names->issuer, near); /* misspelt, and so not missing */
}

static bool validate_key_text(struct config_document *document, const struct names *names,
                              const yaml_node_t *name)
{
    bool sound = name->type == YAML_SCALAR_NODE;
    for (size_t i = 0; sound && i < name->data.scalar.length; i++)
        sound = name->data.scalar.value[i] >= 0x20 && name->data.scalar.value[i] != 0x7f;
    if (!sound)
        config_error(document->errors, config_node_line(name),
                     "%sa key: a single value is expected, on one line", names->prefix);
    return sound;
}

/* True where the pair's key is known and given for the first time; else its mistake was told. */
static bool validate_key(struct config_document *document, const struct names *names,
                         const yaml_node_t *mapping, const yaml_node_pair_t *pair)
{
    const yaml_node_t *name = config_node_at(document, pair->key);
    if (!validate_key_text(document, names, name))
        return false;
    bool known = false;
    for (size_t i = 0; i < names->count; i++)
        known = known || strcmp(names->names[i], config_node_text(name)) == 0;
    if (!known) {
        refuse_unknown(document, names, name);
        return false;
    }
    for (const yaml_node_pair_t *other = mapping->data.mapping.pairs.start; other < pair; other++) {
        const yaml_node_t *before = config_node_at(document, other->key);
        if (before->type != YAML_SCALAR_NODE ||
            strcmp(config_node_text(before), config_node_text(name)) != 0)
            continue;
        config_error(document->errors, config_node_line(name),
                     "%s%s: given twice (first on line %u); remove one", names->prefix,
                     config_node_text(name), config_node_line(before));
        return false;
    }
    return true;
}

static void validate_issuer(struct config_document *document, const yaml_node_t *node, int index)
{
    static const char *const known[] = {
#define X(name, ...) #name,
        CONFIG_ISSUER_KEYS(X)
#undef X
    };
    char prefix[32];
    snprintf(prefix, sizeof(prefix), "issuers[%d].", index);
    const struct names names = {index, prefix, known, sizeof(known) / sizeof(known[0])};
    if (node->type != YAML_MAPPING_NODE) {
        config_error(document->errors, config_node_line(node),
                     "issuers[%d]: a mapping is expected; write - id: NAME and the other keys "
                     "beneath it",
                     index);
        for (size_t i = 0; i < config_issuer_key_count; i++)
            config_document_mark(document, index, config_issuer_keys[i].name);
        return;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!validate_key(document, &names, node, pair))
            continue;
        const char *key = config_node_text(config_node_at(document, pair->key));
        const yaml_node_t *value = config_node_at(document, pair->value);
        for (size_t i = 0; i < config_issuer_key_count; i++) {
            if (strcmp(config_issuer_keys[i].name, key) != 0)
                continue;
            if (config_issuer_keys[i].type == CONFIG_LIST)
                validate_list(document, value, index, key);
            else
                validate_scalar(document, value, index, key, -1);
        }
    }
}

static void validate_issuers(struct config_document *document, const yaml_node_t *node)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        config_refuse(document, -1, "issuers", -1,
                      "a list is expected; `tollgate key generate` prints one to paste");
        return;
    }
    ptrdiff_t count = node->data.sequence.items.top - node->data.sequence.items.start;
    if (count > CONFIG_ISSUERS_MAX) {
        config_refuse(document, -1, "issuers", -1, "there are %td entries; give %d at most", count,
                      CONFIG_ISSUERS_MAX);
        count = CONFIG_ISSUERS_MAX;
    }
    for (int i = 0; i < (int)count; i++)
        validate_issuer(document, config_node_entry(document, node, i), i);
}

bool config_shape_judge(struct config_document *document)
{
    static const char *const known[] = {
#define X(name, ...) #name,
        CONFIG_KEYS(X)
#undef X
            "issuers"};
    const struct names names = {-1, "", known, sizeof(known) / sizeof(known[0])};
    const yaml_node_t *root = document->root;
    if (root->type != YAML_MAPPING_NODE) {
        config_error(document->errors, config_node_line(root),
                     "keys and values are expected, such as media_root: /srv/media; `tollgate "
                     "serve --print-config-reference` shows them all");
        return false;
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        if (!validate_key(document, &names, root, pair))
            continue;
        const char *key = config_node_text(config_node_at(document, pair->key));
        const yaml_node_t *value = config_node_at(document, pair->value);
        if (strcmp(key, "issuers") == 0)
            validate_issuers(document, value);
        else
            validate_scalar(document, value, -1, key, -1);
    }
    return true;
}
