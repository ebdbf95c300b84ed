/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what a call brings along: the members of its JSON body, the parameters of its query and the
 * issuer that it names. The routes' handlers call it with the list of those that the route knows. A
 * missing, unknown or malformed one is refused, never ignored, and the problem's `member` names it:
 * a misspelt "byts" must not open an account with nothing on it, nor a misspelt "form" bill another
 * month.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/admin_internal.h"
#include "server/base/nearest.h"

#define NAMES_MAX   8  /* members of a route that are offered for a misspelt one */
#define QUOTED_SIZE 65 /* bytes of a name that a sentence quotes from the request, with the NUL */

/* The name as a sentence quotes it. A long one is cut, between two characters of UTF-8. */
static const char *quote(const char *name, size_t length, char out[static QUOTED_SIZE])
{
    if (length >= QUOTED_SIZE) {
        length = QUOTED_SIZE - 1;
        while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    memcpy(out, name, length);
    out[length] = '\0';
    return out;
}

static const char *did_you_mean(const char *name, const char *const *names, size_t count,
                                char out[static QUOTED_SIZE + 16])
{
    const char *near = nearest_name(name, names, count);
    out[0] = '\0';
    if (near != NULL) {
        (void)snprintf(out, QUOTED_SIZE + 16, "; did you mean %s?", near);
    }
    return out;
}

/* ---- the issuer ---- */

/* Names the known issuers: a misspelt issuer must not be answered like an unknown account. */
static void answer_unknown_issuer(const struct config *config, const char *issuer,
                                  struct admin_answer *answer)
{
    char known[512] = "";
    size_t length = 0;
    for (unsigned i = 0; i < config->issuers_count && length < sizeof(known); i++) {
        int written = snprintf(known + length, sizeof(known) - length, "%s%s", i == 0 ? "" : ", ",
                               config->issuers[i].id);
        length += written > 0 ? (size_t)written : 0;
    }
    admin_answer_problem(answer, ADMIN_ISSUER_UNKNOWN, "issuer",
                         "no issuer %s is configured; this node knows: %s%s", issuer, known,
                         length >= sizeof(known) ? " ..." : "");
}

bool admin_issuer_is_known(const struct node *node, const char *issuer, struct admin_answer *answer)
{
    for (unsigned i = 0; i < node->config->issuers_count; i++) {
        if (strcmp(node->config->issuers[i].id, issuer) == 0) {
            return true;
        }
    }
    answer_unknown_issuer(node->config, issuer, answer);
    return false;
}

/* ---- the body ---- */

/* The last string that ends before `position`: in a flat object, the name of the member at which
 * the JSON reader stopped. "" where there is none. */
static const char *name_before(struct http_text body, int position, char out[static QUOTED_SIZE])
{
    size_t at = position > 0 && (size_t)position <= body.length ? (size_t)position : body.length;
    const char *last = memrchr(body.data, '"', at);
    const char *first = last != NULL ? memrchr(body.data, '"', (size_t)(last - body.data)) : NULL;
    out[0] = '\0';
    return first != NULL ? quote(first + 1, (size_t)(last - first) - 1, out) : out;
}

json_t *admin_read_json(const struct admin_request *request, bool may_be_empty,
                        struct admin_answer *answer)
{
    if (request->body.length == 0 && may_be_empty) {
        return json_object();
    }
    json_error_t error;
    json_t *body =
        json_loadb(request->body.data, request->body.length, JSON_REJECT_DUPLICATES, &error);
    if (body != NULL) {
        return body;
    }
    char name[QUOTED_SIZE];
    enum json_error_code code = json_error_code(&error);
    const char *member = code == json_error_duplicate_key || code == json_error_numeric_overflow
                             ? name_before(request->body, error.position, name)
                             : "";
    admin_answer_problem(answer, ADMIN_BODY_INVALID, member[0] != '\0' ? member : NULL,
                         "the body is not JSON: %s", error.text);
    return NULL;
}

static const struct admin_member *find(const struct admin_member *members, size_t count,
                                       const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, name) == 0) {
            return &members[i];
        }
    }
    return NULL;
}

static bool answer_unknown(const struct admin_member *members, size_t count, const char *name,
                           const char *form, struct admin_answer *answer)
{
    const char *names[NAMES_MAX];
    char quoted[QUOTED_SIZE], near[QUOTED_SIZE + 16];
    for (size_t i = 0; i < count && i < NAMES_MAX; i++) {
        names[i] = members[i].name;
    }
    admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, name,
                         "this call does not know the member \"%s\"%s; the body is %s",
                         quote(name, strlen(name), quoted),
                         did_you_mean(name, names, count < NAMES_MAX ? count : NAMES_MAX, near),
                         form);
    return false;
}

static bool read_value(const struct admin_member *member, const json_t *value, const char *form,
                       struct admin_answer *answer)
{
    const char *needs = NULL;
    switch (member->kind) {
    case ADMIN_MEMBER_TEXT:
        needs = json_is_string(value) ? NULL : "a string";
        break;
    case ADMIN_MEMBER_NUMBER:
        needs = json_is_integer(value) ? NULL : "a whole number, without quotes or exponent";
        break;
    case ADMIN_MEMBER_TRUTH:
        needs = json_is_boolean(value) ? NULL : "true or false, without quotes";
        break;
    }
    if (needs != NULL) {
        admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, member->name,
                             "%s must be %s; the body is %s", member->name, needs, form);
        return false;
    }
    json_int_t number = json_integer_value(value);
    if (member->kind == ADMIN_MEMBER_NUMBER && (number < member->low || number > member->high)) {
        admin_answer_problem(answer, ADMIN_OUT_OF_BOUNDS, member->name,
                             "%s is %lld and must be %lld to %lld; nothing was done", member->name,
                             (long long)number, (long long)member->low, (long long)member->high);
        return false;
    }
    if (member->kind == ADMIN_MEMBER_TEXT) {
        *member->text = json_string_value(value);
    } else if (member->kind == ADMIN_MEMBER_NUMBER) {
        *member->number = number;
    } else {
        *member->truth = json_is_true(value);
    }
    return true;
}

bool admin_read_members(json_t *body, const struct admin_member *members, size_t count,
                        const char *form, struct admin_answer *answer)
{
    const char *name;
    json_t *value;
    if (!json_is_object(body)) {
        admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, NULL,
                             "the body is not a JSON object; it must be %s", form);
        return false;
    }
    json_object_foreach(body, name, value)
    {
        const struct admin_member *member = find(members, count, name);
        if (member == NULL) {
            return answer_unknown(members, count, name, form, answer);
        }
        if (!read_value(member, value, form, answer)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (members[i].required && json_object_get(body, members[i].name) == NULL) {
            admin_answer_problem(answer, ADMIN_MEMBERS_INVALID, members[i].name,
                                 "the member %s is missing; the body is %s", members[i].name, form);
            return false;
        }
    }
    return true;
}

/* ---- the query ---- */

/* Takes the first parameter off `rest`; value->data is NULL without a "=". False: none is left. */
static bool next_parameter(struct http_text *rest, struct http_text *name, struct http_text *value)
{
    if (rest->data == NULL || rest->length == 0) {
        return false;
    }
    const char *ampersand = memchr(rest->data, '&', rest->length);
    size_t length = ampersand != NULL ? (size_t)(ampersand - rest->data) : rest->length;
    const char *equals = memchr(rest->data, '=', length);
    *name = (struct http_text){rest->data, equals != NULL ? (size_t)(equals - rest->data) : length};
    *value = (struct http_text){NULL, 0};
    if (equals != NULL) {
        *value = (struct http_text){equals + 1, length - name->length - 1};
    }
    size_t passed = length + (ampersand != NULL);
    *rest = (struct http_text){rest->data + passed, rest->length - passed};
    return true;
}

static bool is_name(struct http_text text, const char *name)
{
    return text.length == strlen(name) && memcmp(text.data, name, text.length) == 0;
}

struct http_text admin_query_value(struct http_text query, const char *name)
{
    struct http_text parameter, value;
    while (next_parameter(&query, &parameter, &value)) {
        if (value.data != NULL && is_name(parameter, name)) {
            return value;
        }
    }
    return (struct http_text){NULL, 0};
}

bool admin_validate_parameters(const struct admin_request *request, const char *const *names,
                               size_t count, struct admin_answer *answer)
{
    struct http_text rest = request->query, parameter, value;
    while (next_parameter(&rest, &parameter, &value)) {
        char quoted[QUOTED_SIZE], near[QUOTED_SIZE + 16];
        const char *known = NULL;
        if (parameter.length == 0 && value.data == NULL) {
            continue; /* "a=1&&b=2", "a=1&" */
        }
        for (size_t i = 0; i < count && known == NULL; i++) {
            known = is_name(parameter, names[i]) ? names[i] : NULL;
        }
        if (known == NULL) {
            (void)quote(parameter.data, parameter.length, quoted);
            admin_answer_problem(answer, ADMIN_PARAMETERS_INVALID, quoted,
                                 "this call does not know the parameter %s%s", quoted,
                                 did_you_mean(quoted, names, count, near));
            return false;
        }
        if (value.data == NULL || admin_query_value(request->query, known).data != value.data) {
            admin_answer_problem(answer, ADMIN_PARAMETERS_INVALID, known, "the parameter %s %s",
                                 known,
                                 value.data == NULL ? "has no value; write a = after its name"
                                                    : "is given twice; give it once");
            return false;
        }
    }
    return true;
}
