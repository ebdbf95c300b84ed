/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a configuration file as libyaml has it, for the three files that know libyaml:
 * config_document.c, which owns it, config_parse.c, which makes it, and config_shape.c, which goes
 * through it. All others see values and lines, by config_internal.h.
 */
#ifndef TOLLGATE_SERVER_CONFIG_CONFIG_DOCUMENT_INTERNAL_H
#define TOLLGATE_SERVER_CONFIG_CONFIG_DOCUMENT_INTERNAL_H

#include <stdbool.h>
#include <yaml.h>

#include "server/config/config_internal.h"

struct config_document {
    yaml_document_t yaml;
    yaml_document_t *tree;        /* borrows: &yaml, which libyaml's accessors take as writable */
    const yaml_node_t *root;      /* borrows; NULL: empty */
    struct config_errors *errors; /* borrows */
    enum config_stage stage;
    /* Owns; by key (those of the root, then `issuers`, then those of each issuer): the first stage
     * that refused it, or 0. */
    unsigned char *refused;
    struct config_variables variables;
    char **expanded; /* owns; by node: its text with variables expanded; NULL: as written */
};

static inline unsigned config_node_line(const yaml_node_t *node)
{
    return (unsigned)node->start_mark.line + 1;
}

static inline const yaml_node_t *config_node_at(const struct config_document *document, int index)
{
    return yaml_document_get_node(document->tree, index);
}

static inline const char *config_node_text(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* The sequence's entry; NULL where there is no such entry, or no sequence. */
const yaml_node_t *config_node_entry(const struct config_document *document,
                                     const yaml_node_t *sequence, int entry);
/* The value's node, or its entry's; NULL where it is absent. */
const yaml_node_t *config_node_find(const struct config_document *document, int issuer,
                                    const char *key, int entry);

/* How many keys a file may have: the size of `refused`. */
size_t config_document_place_count(void);
/* Counts the key as refused in this stage, by a message that was given otherwise. */
void config_document_mark(struct config_document *document, int issuer, const char *key);
/* Expands the variables in the node's text, once. False, after a refusal, where one cannot be. */
bool config_document_expand(struct config_document *document, const yaml_node_t *node, int issuer,
                            const char *key, int entry);

/* Holds the tree against the tables: known keys, no duplicates, strings where strings belong. False
 * where the root is not a mapping, so that nothing more can be said about the file. */
bool config_shape_judge(struct config_document *document);

#endif
