/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The algorithms' names, apart from what is done with secrets (algorithm.c). Called by the header's
 * and the key set's readers and by the command line.
 */
#include <errno.h>
#include <string.h>

#include "tokens/tokens.h"

/* RFC 7518 section 3.1 and RFC 8037 section 3.1. */
static const char *const names[] = {
    [TOKEN_HS256] = "HS256",
    [TOKEN_ES256] = "ES256",
    [TOKEN_EDDSA] = "EdDSA",
};

const char *token_algorithm_name(enum token_algorithm algorithm)
{
    return names[algorithm];
}

int token_algorithm_parse(const char *name, enum token_algorithm *out)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum token_algorithm)i;
            return 0;
        }
    }
    return -EINVAL;
}
