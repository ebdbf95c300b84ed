/*
 * The configuration file's text as a tree with line numbers, by libyaml, which libcyaml is built
 * on. config_load asks it for the line of a value that it refuses, and lets it find what libcyaml
 * reports with the line of another node: unknown keys and duplicates. It never converts a value.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "server/cli.h"
#include "server/config_internal.h"
#include "server/config_table.h"

struct config_document {
    yaml_document_t yaml;
    yaml_document_t *tree;   /* borrows: &yaml, which libyaml's accessors take as writable */
    const yaml_node_t *root; /* borrows; NULL: empty */
};

static unsigned line_of(const yaml_node_t *node)
{
    return (unsigned)node->start_mark.line + 1;
}

static const yaml_node_t *node_at(const struct config_document *document, int index)
{
    return yaml_document_get_node(document->tree, index);
}

static const char *text_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static const yaml_node_t *mapping_value(const struct config_document *document,
                                        const yaml_node_t *mapping, const char *key)
{
    if (!mapping || mapping->type != YAML_MAPPING_NODE)
        return NULL;
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = node_at(document, pair->key);
        if (name->type == YAML_SCALAR_NODE && strcmp(text_of(name), key) == 0)
            return node_at(document, pair->value);
    }
    return NULL;
}

static const yaml_node_t *sequence_entry(const struct config_document *document,
                                         const yaml_node_t *sequence, int entry)
{
    if (!sequence || sequence->type != YAML_SEQUENCE_NODE || entry < 0)
        return NULL;
    ptrdiff_t count = sequence->data.sequence.items.top - sequence->data.sequence.items.start;
    return entry < count ? node_at(document, sequence->data.sequence.items.start[entry]) : NULL;
}

unsigned config_document_line(const struct config_document *document, int issuer, const char *key,
                              int entry)
{
    const yaml_node_t *node = document->root;
    if (!node)
        return 1;
    if (issuer >= 0) {
        const yaml_node_t *issuers = mapping_value(document, node, "issuers");
        const yaml_node_t *mapping = sequence_entry(document, issuers, issuer);
        node = mapping ? mapping : issuers ? issuers : node;
    }
    const yaml_node_t *value = mapping_value(document, node, key);
    if (!value)
        return line_of(node);
    const yaml_node_t *item = sequence_entry(document, value, entry);
    return line_of(item ? item : value);
}

/* ---- the shape ----------------------------------------------------------------------------------
 */

static bool check_scalar(const yaml_node_t *node, const char *prefix, const char *key,
                         struct config_errors *errors)
{
    if (node->type != YAML_SCALAR_NODE) {
        config_error(errors, line_of(node), "%s%s: a single value is expected, not a %s", prefix,
                     key, node->type == YAML_MAPPING_NODE ? "mapping" : "list");
        return false;
    }
    for (size_t i = 0; i < node->data.scalar.length; i++) {
        unsigned char byte = node->data.scalar.value[i];
        if (byte < 0x20 || byte == 0x7f) {
            config_error(errors, line_of(node),
                         "%s%s: the value holds a control character or a line break; write it on "
                         "one line, in quotes where it holds YAML's own signs",
                         prefix, key);
            return false;
        }
    }
    return true;
}

static void check_list(const struct config_document *document, const yaml_node_t *node,
                       const char *prefix, const char *key, struct config_errors *errors)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        config_error(errors, line_of(node), "%s%s: a list is expected; write %s: [ONE, TWO]",
                     prefix, key, key);
        return;
    }
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++)
        check_scalar(node_at(document, *item), prefix, key, errors);
}

static void refuse_unknown(const yaml_node_t *name, const char *prefix, const char *const *names,
                           size_t count, struct config_errors *errors)
{
    const char *near = cli_nearest(text_of(name), names, count);
    if (near)
        config_error(errors, line_of(name), "%s%s: no such key; did you mean %s?", prefix,
                     text_of(name), near);
    else
        config_error(errors, line_of(name),
                     "%s%s: no such key; `tollgate serve --print-config-reference` lists them",
                     prefix, text_of(name));
}

/* True where the pair's key is a known name that stands there for the first time. */
static bool check_key(const struct config_document *document, const yaml_node_t *mapping,
                      const yaml_node_pair_t *pair, const char *prefix, const char *const *names,
                      size_t count, struct config_errors *errors)
{
    const yaml_node_t *name = node_at(document, pair->key);
    if (!check_scalar(name, prefix, "a key", errors))
        return false;
    bool known = false;
    for (size_t i = 0; i < count; i++)
        known = known || strcmp(names[i], text_of(name)) == 0;
    if (!known) {
        refuse_unknown(name, prefix, names, count, errors);
        return false;
    }
    for (const yaml_node_pair_t *other = mapping->data.mapping.pairs.start; other < pair; other++) {
        const yaml_node_t *before = node_at(document, other->key);
        if (before->type != YAML_SCALAR_NODE || strcmp(text_of(before), text_of(name)) != 0)
            continue;
        config_error(errors, line_of(name), "%s%s: given twice (first on line %u); remove one",
                     prefix, text_of(name), line_of(before));
        return false;
    }
    return true;
}

static void check_issuer(const struct config_document *document, const yaml_node_t *node, int index,
                         struct config_errors *errors)
{
    static const char *const names[] = {
#define X(name, type, minimum, maximum, help) #name,
        CONFIG_ISSUER_KEYS(X)
#undef X
    };
    char prefix[32]; /* of the keys in messages */
    snprintf(prefix, sizeof(prefix), "issuers[%d].", index);
    if (node->type != YAML_MAPPING_NODE) {
        config_error(errors, line_of(node),
                     "issuers[%d]: a mapping is expected; write - id: NAME and the other keys "
                     "beneath it",
                     index);
        return;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!check_key(document, node, pair, prefix, names, sizeof(names) / sizeof(names[0]),
                       errors))
            continue;
        const char *key = text_of(node_at(document, pair->key));
        const yaml_node_t *value = node_at(document, pair->value);
        for (size_t i = 0; i < config_issuer_key_count; i++) {
            if (strcmp(config_issuer_keys[i].name, key) != 0)
                continue;
            if (config_issuer_keys[i].type == CONFIG_LIST)
                check_list(document, value, prefix, key, errors);
            else
                check_scalar(value, prefix, key, errors);
        }
    }
}

static void check_issuers(const struct config_document *document, const yaml_node_t *node,
                          struct config_errors *errors)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        config_error(errors, line_of(node),
                     "issuers: a list is expected; `tollgate key generate` prints one to paste");
        return;
    }
    ptrdiff_t count = node->data.sequence.items.top - node->data.sequence.items.start;
    if (count > CONFIG_ISSUERS_MAX) {
        config_error(errors, line_of(node), "issuers: there are %td, of %d at most", count,
                     CONFIG_ISSUERS_MAX);
        return;
    }
    for (int i = 0; i < (int)count; i++)
        check_issuer(document, sequence_entry(document, node, i), i, errors);
}

static void check_root(const struct config_document *document, struct config_errors *errors)
{
    static const char *const names[] = {
#define X(name, type, standard, minimum, maximum, unit, help) #name,
        CONFIG_KEYS(X)
#undef X
            "issuers"};
    const yaml_node_t *root = document->root;
    if (root->type != YAML_MAPPING_NODE) {
        config_error(errors, line_of(root),
                     "keys and values are expected, such as media_root: /srv/media; `tollgate "
                     "serve --print-config-reference` shows them all");
        return;
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        if (!check_key(document, root, pair, "", names, sizeof(names) / sizeof(names[0]), errors))
            continue;
        const char *key = text_of(node_at(document, pair->key));
        const yaml_node_t *value = node_at(document, pair->value);
        if (strcmp(key, "issuers") == 0)
            check_issuers(document, value, errors);
        else
            check_scalar(value, "", key, errors);
    }
}

/* ---- parsing ------------------------------------------------------------------------------------
 */

static void parser_error(const yaml_parser_t *parser, struct config_errors *errors)
{
    if (parser->error == YAML_READER_ERROR) /* has no line, only an offset */
        config_error(errors, 0, "not readable as YAML: %s at byte %zu; save the file as UTF-8",
                     parser->problem, parser->problem_offset);
    else
        config_error(errors, (unsigned)parser->problem_mark.line + 1,
                     "not readable as YAML: %s%s%s; mind the indentation (spaces, never tabs), and "
                     "put quotes around "
                     "values that hold : or #",
                     parser->problem ? parser->problem : "out of memory",
                     parser->context ? ", " : "", parser->context ? parser->context : "");
}

/*
 * Aliases and more than one document are refused before the tree is built: the tree would share the
 * nodes of an alias, and libcyaml reads the first document only.
 */
static bool check_events(const char *text, size_t length, struct config_errors *errors)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        config_error(errors, 0, "out of memory");
        return false;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    bool good = true, end = false;
    unsigned documents = 0;
    while (good && !end) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            parser_error(&parser, errors);
            good = false;
            break;
        }
        unsigned line = (unsigned)event.start_mark.line + 1;
        end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_ALIAS_EVENT) {
            config_error(errors, line, "aliases (*name) are not taken here; write the value out");
            good = false;
        } else if (event.type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
            config_error(errors, line, "a second document begins here; remove the line ---");
            good = false;
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return good;
}

struct config_document *config_document_create(const char *text, size_t length,
                                               struct config_errors *errors)
{
    if (!check_events(text, length, errors))
        return NULL;
    struct config_document *document = calloc(1, sizeof(*document));
    yaml_parser_t parser;
    if (!document || !yaml_parser_initialize(&parser)) {
        config_error(errors, 0, "out of memory");
        free(document);
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (!yaml_parser_load(&parser, &document->yaml)) {
        parser_error(&parser, errors);
        yaml_parser_delete(&parser);
        free(document);
        return NULL;
    }
    yaml_parser_delete(&parser);
    document->tree = &document->yaml;
    document->root = yaml_document_get_root_node(document->tree);
    if (document->root)
        check_root(document, errors);
    return document;
}

void config_document_destroy(struct config_document **document)
{
    if (!*document)
        return;
    yaml_document_delete(&(*document)->yaml);
    free(*document);
    *document = NULL;
}
