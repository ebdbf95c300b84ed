/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file's text as a tree with line numbers: finds values in it, expands their
 * variables, and keeps which ones are refused, so that each mistake is told once, with its line, and
 * none hides another. config_load takes the values from here; config_parse.c makes the tree, and
 * config_shape.c goes through it. It never converts a value.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_document_internal.h"

/* Stands in `expanded` for a text whose variables could not be expanded. */
static char unexpanded[1];

static const yaml_node_t *config_node_value(const struct config_document *document,
                                            const yaml_node_t *mapping, const char *key)
{
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = config_node_at(document, pair->key);
        if (name->type == YAML_SCALAR_NODE && strcmp(config_node_text(name), key) == 0)
            return config_node_at(document, pair->value);
    }
    return NULL;
}

const yaml_node_t *config_node_entry(const struct config_document *document,
                                     const yaml_node_t *sequence, int entry)
{
    if (sequence == NULL || sequence->type != YAML_SEQUENCE_NODE || entry < 0)
        return NULL;
    ptrdiff_t count = sequence->data.sequence.items.top - sequence->data.sequence.items.start;
    return entry < count ? config_node_at(document, sequence->data.sequence.items.start[entry])
                         : NULL;
}

const yaml_node_t *config_node_find(const struct config_document *document, int issuer,
                                    const char *key, int entry)
{
    const yaml_node_t *node = document->root;
    if (issuer >= 0)
        node = config_node_entry(document, config_node_value(document, node, "issuers"), issuer);
    node = config_node_value(document, node, key);
    return entry >= 0 ? config_node_entry(document, node, entry) : node;
}

const char *config_document_value(const struct config_document *document, int issuer,
                                  const char *key, int entry)
{
    const yaml_node_t *node = config_node_find(document, issuer, key, entry);
    if (node == NULL || node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *expanded = document->expanded[node - document->yaml.nodes.start];
    return expanded == unexpanded ? NULL : expanded != NULL ? expanded : config_node_text(node);
}

unsigned config_document_count(const struct config_document *document, int issuer, const char *key)
{
    const yaml_node_t *node = config_node_find(document, issuer, key, -1);
    return node != NULL && node->type == YAML_SEQUENCE_NODE
               ? (unsigned)(node->data.sequence.items.top - node->data.sequence.items.start)
               : 0;
}

unsigned config_document_line(const struct config_document *document, int issuer, const char *key,
                              int entry)
{
    const yaml_node_t *node = document->root;
    if (node == NULL)
        return 1;
    if (issuer >= 0) {
        const yaml_node_t *issuers = config_node_value(document, node, "issuers");
        const yaml_node_t *mapping = config_node_entry(document, issuers, issuer);
        node = mapping != NULL ? mapping : issuers != NULL ? issuers : node;
    }
    const yaml_node_t *value = config_node_value(document, node, key);
    if (value == NULL)
        return config_node_line(node);
    const yaml_node_t *item = config_node_entry(document, value, entry);
    return config_node_line(item != NULL ? item : value);
}

/* ---- what was refused ---- */

size_t config_document_place_count(void)
{
    return config_key_count + 1 + CONFIG_ISSUERS_MAX * config_issuer_key_count;
}

/* The key's entry in document->refused; NULL where the tables have no such key. */
static unsigned char *refused_at(const struct config_document *document, int issuer,
                                 const char *key)
{
    if (issuer < 0) {
        for (size_t i = 0; i < config_key_count; i++)
            if (strcmp(config_keys[i].name, key) == 0)
                return &document->refused[i];
        return strcmp(key, "issuers") == 0 ? &document->refused[config_key_count] : NULL;
    }
    for (size_t i = 0; issuer < CONFIG_ISSUERS_MAX && i < config_issuer_key_count; i++)
        if (strcmp(config_issuer_keys[i].name, key) == 0)
            return &document->refused[config_key_count + 1 +
                                      (size_t)issuer * config_issuer_key_count + i];
    return NULL;
}

void config_document_mark(struct config_document *document, int issuer, const char *key)
{
    unsigned char *refused = refused_at(document, issuer, key);
    if (refused != NULL && *refused == 0)
        *refused = (unsigned char)document->stage;
}

void config_document_enter(struct config_document *document, enum config_stage stage)
{
    document->stage = stage;
}

bool config_document_is_sound(const struct config_document *document, int issuer, const char *key)
{
    const unsigned char *refused = refused_at(document, issuer, key);
    return refused == NULL || *refused == 0;
}

void config_refuse(struct config_document *document, int issuer, const char *key, int entry,
                   const char *format, ...)
{
    const unsigned char *refused = refused_at(document, issuer, key);
    if (refused != NULL && *refused != 0 && *refused < document->stage)
        return;
    char message[CONFIG_MESSAGE_SIZE], name[80];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    /* A cure that has nothing to fill in quotes no value. It is left out of the concealing, which
     * would otherwise replace its words where a variable happens to hold them. */
    const char *cure = format + strcspn(format, ";");
    size_t head = strlen(message), cure_length = strlen(cure);
    if (strchr(cure, '%') == NULL && head > cure_length)
        head -= cure_length;
    document->variables.place = refused;
    config_variables_conceal(&document->variables, message, sizeof(message), head);
    if (issuer >= 0)
        snprintf(name, sizeof(name), "issuers[%d].%s", issuer, key);
    else
        snprintf(name, sizeof(name), "%s", key);
    config_error(document->errors, config_document_line(document, issuer, key, entry), "%s: %s",
                 name, message);
    if (entry < 0) /* else the list's other entries would no longer be looked at */
        config_document_mark(document, issuer, key);
}

/* ---- variables of the environment ---- */

bool config_document_expand(struct config_document *document, const yaml_node_t *node, int issuer,
                            const char *key, int entry)
{
    char **expanded = &document->expanded[node - document->yaml.nodes.start];
    char wrong[CONFIG_VARIABLE_SIZE];
    if (*expanded != NULL || strchr(config_node_text(node), '$') == NULL)
        return *expanded != unexpanded;
    document->variables.place = refused_at(document, issuer, key);
    int result =
        config_variables_expand(&document->variables, config_node_text(node), expanded, wrong);
    if (result == 0)
        return true;
    *expanded = unexpanded;
    if (result == -ENOENT)
        config_refuse(
            document, issuer, key, entry,
            "the environment variable %s is not set; set it, or write $${ for a literal ${", wrong);
    else if (result == -EINVAL)
        config_refuse(document, issuer, key, entry,
                      "${%s does not begin a variable; write ${NAME} with letters, digits and "
                      "_, or $${ for a literal ${",
                      wrong);
    else
        config_error(document->errors, 0, "out of memory");
    return false;
}

void config_document_destroy(struct config_document **document)
{
    if (*document == NULL)
        return;
    ptrdiff_t nodes = (*document)->yaml.nodes.top - (*document)->yaml.nodes.start;
    for (ptrdiff_t i = 0; (*document)->expanded && i < nodes; i++)
        if ((*document)->expanded[i] != unexpanded)
            free((*document)->expanded[i]);
    free((*document)->expanded);
    config_variables_destroy(&(*document)->variables);
    yaml_document_delete(&(*document)->yaml);
    free((*document)->refused);
    free(*document);
    *document = NULL;
}
