/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of the refusal table: names, texts, HTTP statuses and s-uri-signing codes. Called by
 * the server's answers and logs and by `link explain`; it never decides anything.
 */
#include <pthread.h>

#include "server/base/check.h"
#include "tokens/tokens.h"

#define NAME_SIZE_MAX 32

static const struct {
    const char *name; /* in capitals, as in the table */
    const char *text;
    unsigned status;
    unsigned uri_signing;
} facts[TOKEN_VERDICT_COUNT] = {
    /* RFC 9246 section 6.4: 200 is "performed and verified". */
    [TOKEN_OK] = {"OK", "the token is good for this request", 200, 200},
#define X(name, status, code, text) [REFUSED_##name] = {#name, text, status, code},
    TOKEN_REFUSALS(X)
#undef X
};

/* The names in lower case, made once from the table: the only data in here that is ever written. */
static char lower_names[TOKEN_VERDICT_COUNT][NAME_SIZE_MAX];
/* pthread_once and not call_once, because TSan knows the order that it makes. */
static pthread_once_t lower_names_made = PTHREAD_ONCE_INIT;

static void make_lower_names(void)
{
    for (size_t i = 0; i < TOKEN_VERDICT_COUNT; i++) {
        for (size_t j = 0; facts[i].name[j] != '\0'; j++) {
            char letter = facts[i].name[j];
            check(j + 1 < NAME_SIZE_MAX);
            lower_names[i][j] =
                (char)(letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter);
        }
    }
}

const char *token_verdict_name(enum token_verdict verdict)
{
    check(verdict < TOKEN_VERDICT_COUNT);
    pthread_once(&lower_names_made, make_lower_names);
    return lower_names[verdict];
}

const char *token_verdict_text(enum token_verdict verdict)
{
    check(verdict < TOKEN_VERDICT_COUNT);
    return facts[verdict].text;
}

unsigned token_verdict_status(enum token_verdict verdict)
{
    check(verdict < TOKEN_VERDICT_COUNT);
    return facts[verdict].status;
}

unsigned token_verdict_uri_signing(enum token_verdict verdict)
{
    check(verdict < TOKEN_VERDICT_COUNT);
    return facts[verdict].uri_signing;
}
