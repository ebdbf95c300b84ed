/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Link ids; see link_id.h. The admin interface computes them here. A worker's token
 * cache takes the texts from here, but digests them itself with an algorithm that it fetches once.
 */
#include "server/link/link_id.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "server/base/check.h"

static bool digest(const char *text, size_t length, unsigned char out[LEDGER_LINK_ID_BYTES])
{
    size_t size = 0;
    return EVP_Q_digest(NULL, "SHA256", NULL, text, length, out, &size) == 1 &&
           size == LEDGER_LINK_ID_BYTES;
}

bool link_id_of_jti(const char *tag, const char *jti, unsigned char out[LEDGER_LINK_ID_BYTES])
{
    char text[LINK_ID_TEXT_MAX];
    return digest(text, link_id_text(tag, jti, text), out);
}

bool link_id_of_token(const char *jws, size_t length, unsigned char out[LEDGER_LINK_ID_BYTES])
{
    return digest(jws, link_id_signed_length(jws, length), out);
}

size_t link_id_signed_length(const char *jws, size_t length)
{
    const char *dot = memrchr(jws, '.', length);
    return dot != NULL ? (size_t)(dot - jws) : length;
}

size_t link_id_text(const char *tag, const char *jti, char out[LINK_ID_TEXT_MAX])
{
    /* The tag holds no space, so no two pairs give one text. */
    int length = snprintf(out, LINK_ID_TEXT_MAX, "%s %s", tag, jti);
    check(length > 0 && length < (int)LINK_ID_TEXT_MAX);
    return (size_t)length;
}
