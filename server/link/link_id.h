/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The id of a link across its tokens: 32 bytes, under which windows, uses and revocations are
 * kept. With a jti it is made of issuer, account and jti, which a storefront may sign again (a
 * longer exp for the same purchase); without one it is made of the signed text, header.payload. The
 * signature is not part of it: a holder of an ES256 token can compute a second signature (r, n - s)
 * of the same text, and would have a second link.
 */
#ifndef TOLLGATE_SERVER_LINK_LINK_ID_H
#define TOLLGATE_SERVER_LINK_LINK_ID_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/ledger/ledger.h"
#include "tokens/tokens.h"

/* Writes the text whose SHA-256 is the link id of an account's tag and a jti; its length. */
#define LINK_ID_TEXT_MAX (LEDGER_TAG_MAX + 1 + TOKEN_JTI_MAX + 1)
size_t link_id_text(const char *tag, const char *jti, char out[LINK_ID_TEXT_MAX]);

/* The id by jti, of an account's tag (see ledger_account_tag). False: no memory. */
bool link_id_of_jti(const char *tag, const char *jti, unsigned char out[LEDGER_LINK_ID_BYTES]);
/* The id of a token without jti. False: no memory. */
bool link_id_of_token(const char *jws, size_t length, unsigned char out[LEDGER_LINK_ID_BYTES]);
/* The length of a compact JWS' signing input (RFC 7515 5.1), header.payload, which is digested. */
size_t link_id_signed_length(const char *jws, size_t length);

#endif
