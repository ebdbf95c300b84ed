/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of the refusal table, looked up by number. Pure: it writes no answer and logs nothing
 * (the steps of server/delivery/ do).
 */
#include "server/http/refusal.h"

#include "server/base/check.h"

struct refusal_fact {
    const char *name, *text;
    unsigned status, uri_signing;
    bool closes;
};

#define INDEX(refusal) ((unsigned)(refusal) - (unsigned)REFUSAL_FIRST_OF_SERVER - 1)

static const struct refusal_fact facts[] = {
#define X(name, status, code, closes, text) {#name, text, status, code, closes},
    SERVER_REFUSALS(X)
#undef X
};

/* The names in lower case, made once at the program's start: a table in two spellings would drift
 * apart. */
#define NAME_MAX_LENGTH 32
static char lower_names[sizeof(facts) / sizeof(*facts)][NAME_MAX_LENGTH];

__attribute__((constructor)) static void make_lower_names(void)
{
    for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
        for (size_t j = 0; facts[i].name[j] != '\0' && j < NAME_MAX_LENGTH - 1; j++) {
            char c = facts[i].name[j];
            lower_names[i][j] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        }
    }
}

static bool of_token(enum refusal refusal)
{
    check(refusal < REFUSAL_COUNT);
    return refusal <= REFUSAL_FIRST_OF_SERVER;
}

const char *refusal_name(enum refusal refusal)
{
    return of_token(refusal) ? token_verdict_name((enum token_verdict)refusal)
                             : lower_names[INDEX(refusal)];
}

const char *refusal_text(enum refusal refusal)
{
    return of_token(refusal) ? token_verdict_text((enum token_verdict)refusal)
                             : facts[INDEX(refusal)].text;
}

unsigned refusal_status(enum refusal refusal)
{
    return of_token(refusal) ? token_verdict_status((enum token_verdict)refusal)
                             : facts[INDEX(refusal)].status;
}

unsigned refusal_uri_signing(enum refusal refusal)
{
    return of_token(refusal) ? token_verdict_uri_signing((enum token_verdict)refusal)
                             : facts[INDEX(refusal)].uri_signing;
}

bool refusal_closes(enum refusal refusal)
{
    return !of_token(refusal) && facts[INDEX(refusal)].closes;
}

const char *http_status_phrase(unsigned status)
{
    /* RFC 9110 15 */
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {303, "See Other"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "";
}
