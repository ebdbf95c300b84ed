/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the tree of a configuration file, by libyaml. What is not YAML is told with its line and
 * ends the reading; aliases and a second document are told, and the reading goes on. Called by
 * config_load.
 */
#include <stdlib.h>

#include "server/config/config_document_internal.h"

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
static bool validate_events(const char *text, size_t length, struct config_errors *errors)
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
    if (!validate_events(text, length, errors))
        return NULL;
    struct config_document *document = calloc(1, sizeof(*document));
    unsigned char *refused = calloc(config_document_place_count(), 1);
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
    if (document->root != NULL && !config_shape_judge(document))
        config_document_destroy(&document);
    return document;
}
