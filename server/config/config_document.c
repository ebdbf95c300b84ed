/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file's text as a tree with line numbers, by libyaml. config_load takes the
 * values from it and reports to it which ones are refused, so that each mistake is told once, with
 * its line, and none hides another. It never converts a value.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "server/base/nearest.h"
#include "server/config/config_internal.h"
#include "server/config/config_table.h"

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

/* Stands in `expanded` for a text whose variables could not be expanded. */
static char unexpanded[1];

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
    if (mapping == NULL || mapping->type != YAML_MAPPING_NODE)
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
    if (sequence == NULL || sequence->type != YAML_SEQUENCE_NODE || entry < 0)
        return NULL;
    ptrdiff_t count = sequence->data.sequence.items.top - sequence->data.sequence.items.start;
    return entry < count ? node_at(document, sequence->data.sequence.items.start[entry]) : NULL;
}

/* The value's node, or its entry's; NULL where it is absent. */
static const yaml_node_t *node_of(const struct config_document *document, int issuer,
                                  const char *key, int entry)
{
    const yaml_node_t *node = document->root;
    if (issuer >= 0)
        node = sequence_entry(document, mapping_value(document, node, "issuers"), issuer);
    node = mapping_value(document, node, key);
    return entry >= 0 ? sequence_entry(document, node, entry) : node;
}

const char *config_document_value(const struct config_document *document, int issuer,
                                  const char *key, int entry)
{
    const yaml_node_t *node = node_of(document, issuer, key, entry);
    if (node == NULL || node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *expanded = document->expanded[node - document->yaml.nodes.start];
    return expanded == unexpanded ? NULL : expanded != NULL ? expanded : text_of(node);
}

unsigned config_document_count(const struct config_document *document, int issuer, const char *key)
{
    const yaml_node_t *node = node_of(document, issuer, key, -1);
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
        const yaml_node_t *issuers = mapping_value(document, node, "issuers");
        const yaml_node_t *mapping = sequence_entry(document, issuers, issuer);
        node = mapping != NULL ? mapping : issuers != NULL ? issuers : node;
    }
    const yaml_node_t *value = mapping_value(document, node, key);
    if (value == NULL)
        return line_of(node);
    const yaml_node_t *item = sequence_entry(document, value, entry);
    return line_of(item != NULL ? item : value);
}

/* ---- what was refused ---- */

static size_t place_count(void)
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

static void mark(struct config_document *document, int issuer, const char *key)
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
        mark(document, issuer, key);
}

/* ---- the shape ---- */

/* Expands the variables in the node's text, once. False, after a refusal, where one cannot be. */
static bool expand(struct config_document *document, const yaml_node_t *node, int issuer,
                   const char *key, int entry)
{
    char **expanded = &document->expanded[node - document->yaml.nodes.start];
    char wrong[CONFIG_VARIABLE_SIZE];
    if (*expanded != NULL || strchr(text_of(node), '$') == NULL)
        return *expanded != unexpanded;
    document->variables.place = refused_at(document, issuer, key);
    int result = config_variables_expand(&document->variables, text_of(node), expanded, wrong);
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

static void check_scalar(struct config_document *document, const yaml_node_t *node, int issuer,
                         const char *key, int entry)
{
    if (node->type != YAML_SCALAR_NODE) {
        config_refuse(document, issuer, key, entry, "a single value is expected, not a %s",
                      node->type == YAML_MAPPING_NODE ? "mapping" : "list");
        return;
    }
    if (!expand(document, node, issuer, key, entry))
        return;
    const char *expanded = document->expanded[node - document->yaml.nodes.start];
    const char *text = expanded != NULL ? expanded : text_of(node);
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

static void check_list(struct config_document *document, const yaml_node_t *node, int issuer,
                       const char *key)
{
    if (node->type != YAML_SEQUENCE_NODE) {
        config_refuse(document, issuer, key, -1, "a list is expected; write %s: [ONE, TWO]", key);
        return;
    }
    int entry = 0;
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++)
        check_scalar(document, node_at(document, *item), issuer, key, entry++);
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
    const char *near = nearest_name(text_of(name), names->names, names->count);
    if (near == NULL) {
        config_error(document->errors, line_of(name),
                     "%s%s: no such key; `tollgate serve --print-config-reference` lists them",
                     names->prefix, text_of(name));
        return;
    }
    config_error(document->errors, line_of(name), "%s%s: no such key; did you mean %s?",
                 names->prefix, text_of(name), near);
    if (node_of(document, names->issuer, near, -1) == NULL)
        mark(document, names->issuer, near); /* misspelt, and so not missing */
}

static bool check_key_text(struct config_document *document, const struct names *names,
                           const yaml_node_t *name)
{
    bool sound = name->type == YAML_SCALAR_NODE;
    for (size_t i = 0; sound && i < name->data.scalar.length; i++)
        sound = name->data.scalar.value[i] >= 0x20 && name->data.scalar.value[i] != 0x7f;
    if (!sound)
        config_error(document->errors, line_of(name),
                     "%sa key: a single value is expected, on one line", names->prefix);
    return sound;
}

/* True where the pair's key is known and given for the first time; else its mistake was told. */
static bool check_key(struct config_document *document, const struct names *names,
                      const yaml_node_t *mapping, const yaml_node_pair_t *pair)
{
    const yaml_node_t *name = node_at(document, pair->key);
    if (!check_key_text(document, names, name))
        return false;
    bool known = false;
    for (size_t i = 0; i < names->count; i++)
        known = known || strcmp(names->names[i], text_of(name)) == 0;
    if (!known) {
        refuse_unknown(document, names, name);
        return false;
    }
    for (const yaml_node_pair_t *other = mapping->data.mapping.pairs.start; other < pair; other++) {
        const yaml_node_t *before = node_at(document, other->key);
        if (before->type != YAML_SCALAR_NODE || strcmp(text_of(before), text_of(name)) != 0)
            continue;
        config_error(document->errors, line_of(name),
                     "%s%s: given twice (first on line %u); remove one", names->prefix,
                     text_of(name), line_of(before));
        return false;
    }
    return true;
}

static void check_issuer(struct config_document *document, const yaml_node_t *node, int index)
{
    static const char *const known[] = {
#define X(name, type, minimum, maximum, help) #name,
        CONFIG_ISSUER_KEYS(X)
#undef X
    };
    char prefix[32];
    snprintf(prefix, sizeof(prefix), "issuers[%d].", index);
    const struct names names = {index, prefix, known, sizeof(known) / sizeof(known[0])};
    if (node->type != YAML_MAPPING_NODE) {
        config_error(document->errors, line_of(node),
                     "issuers[%d]: a mapping is expected; write - id: NAME and the other keys "
                     "beneath it",
                     index);
        for (size_t i = 0; i < config_issuer_key_count; i++)
            mark(document, index, config_issuer_keys[i].name);
        return;
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        if (!check_key(document, &names, node, pair))
            continue;
        const char *key = text_of(node_at(document, pair->key));
        const yaml_node_t *value = node_at(document, pair->value);
        for (size_t i = 0; i < config_issuer_key_count; i++) {
            if (strcmp(config_issuer_keys[i].name, key) != 0)
                continue;
            if (config_issuer_keys[i].type == CONFIG_LIST)
                check_list(document, value, index, key);
            else
                check_scalar(document, value, index, key, -1);
        }
    }
}

static void check_issuers(struct config_document *document, const yaml_node_t *node)
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
        check_issuer(document, sequence_entry(document, node, i), i);
}

/* False where the root is not a mapping, so that nothing more can be said about the file. */
static bool check_root(struct config_document *document)
{
    static const char *const known[] = {
#define X(name, type, standard, minimum, maximum, unit, help) #name,
        CONFIG_KEYS(X)
#undef X
            "issuers"};
    const struct names names = {-1, "", known, sizeof(known) / sizeof(known[0])};
    const yaml_node_t *root = document->root;
    if (root->type != YAML_MAPPING_NODE) {
        config_error(document->errors, line_of(root),
                     "keys and values are expected, such as media_root: /srv/media; `tollgate "
                     "serve --print-config-reference` shows them all");
        return false;
    }
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        if (!check_key(document, &names, root, pair))
            continue;
        const char *key = text_of(node_at(document, pair->key));
        const yaml_node_t *value = node_at(document, pair->value);
        if (strcmp(key, "issuers") == 0)
            check_issuers(document, value);
        else
            check_scalar(document, value, -1, key, -1);
    }
    return true;
}

/* ---- parsing ---- */

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
                     parser->problem != NULL ? parser->problem : "out of memory",
                     parser->context != NULL ? ", " : "",
                     parser->context != NULL ? parser->context : "");
}

/*
 * Refuses aliases and a second document. Only libyaml's events show them: its tree shares the nodes
 * of an alias and holds the first document alone. False where the text is not YAML.
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
        if (event.type == YAML_ALIAS_EVENT)
            config_error(errors, line,
                         "aliases (*name) are not supported here; write the value out");
        else if (event.type == YAML_DOCUMENT_START_EVENT && ++documents == 2)
            config_error(errors, line, "a second document begins here; remove the line ---");
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
    unsigned char *refused = calloc(place_count(), 1);
    yaml_parser_t parser;
    if (document == NULL || refused == NULL || !yaml_parser_initialize(&parser)) {
        config_error(errors, 0, "out of memory");
        free(refused);
        free(document);
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    bool loaded = yaml_parser_load(&parser, &document->yaml) != 0;
    if (!loaded)
        parser_error(&parser, errors);
    yaml_parser_delete(&parser);
    if (!loaded) {
        free(refused);
        free(document);
        return NULL;
    }
    document->refused = refused;
    size_t nodes = (size_t)(document->yaml.nodes.top - document->yaml.nodes.start);
    document->expanded = calloc(nodes > 0 ? nodes : 1, sizeof(*document->expanded));
    if (document->expanded == NULL) {
        config_error(errors, 0, "out of memory");
        config_document_destroy(&document);
        return NULL;
    }
    document->errors = errors;
    document->stage = CONFIG_SHAPE;
    document->tree = &document->yaml;
    document->root = yaml_document_get_root_node(document->tree);
    if (document->root != NULL && !check_root(document))
        config_document_destroy(&document);
    return document;
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
