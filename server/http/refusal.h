/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every reason for which a request is refused: one table, which continues that of tokens/tokens.h.
 * It makes the enum, the `reason` of the answer, the status, the s-uri-signing code of RFC 9246 and
 * the text. Called wherever a request is refused; it writes no answer.
 */
#ifndef TOLLGATE_SERVER_HTTP_REFUSAL_H
#define TOLLGATE_SERVER_HTTP_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokens/tokens.h"

/*
 * name, status, s-uri-signing code (0: the token was not at fault or not reached), close the
 * connection (the framing of what follows is not known, or is not worth reading), text
 */
#define SERVER_REFUSALS(X)                                                                         \
    X(HEAD_MALFORMED, 400, 0, true, "the request is not valid HTTP/1.1 (RFC 9112)")                \
    X(HOST_INVALID, 400, 0, true,                                                                  \
      "an HTTP/1.1 request has exactly one Host, and it is a valid one")                           \
    X(TARGET_INVALID, 400, 0, true,                                                                \
      "the request target is not an absolute path or an http URL, or has characters that must be " \
      "percent-encoded")                                                                           \
    X(PATH_INVALID, 400, 0, false,                                                                 \
      "the path has a segment that is empty or . or .., or has a byte or an escape that no path "  \
      "may have")                                                                                  \
    X(TARGET_TOO_LONG, 414, 0, true, "the request target is longer than this server reads")        \
    X(HEAD_TOO_LARGE, 431, 0, true, "the request head is larger than this server reads")           \
    X(HEAD_TIMEOUT, 408, 0, true, "the request head did not arrive in time")                       \
    X(BODY_REFUSED, 413, 0, true, "requests with a body are not accepted here")                    \
    X(METHOD_NOT_ALLOWED, 405, 0, true, "files are fetched with GET or HEAD")                      \
    X(METHOD_UNKNOWN, 501, 0, true, "this method is not implemented")                              \
    X(CODING_UNKNOWN, 501, 0, true, "chunked is the only transfer coding that is implemented")     \
    X(EXPECTATION_FAILED, 417, 0, true,                                                            \
      "100-continue is the only expectation that is implemented")                                  \
    X(VERSION_REFUSED, 505, 0, true, "this server speaks HTTP/1.1 and HTTP/1.0")                   \
    X(TOO_MANY_BAD_SIGNATURES, 429, 0, false,                                                      \
      "too many links from this address had a wrong signature; this one was not checked: ask "     \
      "again later")                                                                               \
    X(FILE_NOT_FOUND, 404, 200, false, "there is no such file")                                    \
    X(PRECONDITION_FAILED, 412, 200, false, "the file is not the version that was asked for")      \
    X(FILE_NOT_HASHED, 503, 200, false,                                                            \
      "the file's entity tag is not known yet, so If-Match cannot be checked; ask again")          \
    X(RANGE_NOT_SATISFIABLE, 416, 200, false,                                                      \
      "the requested range begins after the end of the file")                                      \
    X(ACCOUNT_UNKNOWN, 402, 200, false, "the account has not been opened")                         \
    X(ACCOUNT_SUSPENDED, 402, 200, false, "the account is suspended")                              \
    X(BALANCE_INSUFFICIENT, 402, 200, false, "the account's balance does not cover this file")     \
    X(ACCOUNT_BYTES_USED_UP, 402, 200, false,                                                      \
      "what is left of the account's max_bytes does not cover this file")                          \
    X(ACCOUNT_CONNECTIONS, 429, 200, false,                                                        \
      "the account has reached its limit of downloads at once")                                    \
    X(LINK_REVOKED, 410, 200, false, "the link has been revoked")                                  \
    X(LINK_USED_UP, 410, 200, false, "the link has been used as often as it allows")               \
    X(LINK_BYTES_USED_UP, 410, 200, false,                                                         \
      "what is left of the link's max_bytes does not cover what was asked for")                    \
    X(LINK_CONNECTIONS, 429, 200, false, "the link has reached its limit of downloads at once")    \
    X(LINK_BUSY, 429, 200, false,                                                                  \
      "this link has delivered, or is delivering, three times the file's size; wait for its "      \
      "downloads to end")                                                                          \
    X(TOO_MANY_UNACKNOWLEDGED, 429, 200, false,                                                    \
      "too many downloads of this link or account ended before most of their bytes were received") \
    X(FUNDS_HELD_ELSEWHERE, 503, 200, false,                                                       \
      "the account can pay, but another node holds what it needs and has not given it back; ask "  \
      "again")                                                                                     \
    X(REDIS_UNAVAILABLE, 503, 200, false, "the account cannot be checked just now")                \
    X(ACCOUNT_SET_ASIDE, 503, 200, false,                                                          \
      "what is stored of the account is damaged; nothing is lost, and it is looked after")         \
    X(JOURNAL_UNAVAILABLE, 503, 200, false, "the delivery cannot be recorded just now")            \
    X(NODE_BUSY, 503, 200, false, "this node is busy just now; ask again")                         \
    X(NODE_STARTING, 503, 200, false, "this node is catching up with its ledger")                  \
    X(NODE_DRAINING, 503, 200, false,                                                              \
      "this node takes no new download, as it is about to be stopped; ask again")                  \
    X(CONNECTIONS_EXHAUSTED, 503, 0, true, "this node has reached its limit of connections")       \
    X(ADDRESS_EXHAUSTED, 429, 0, false, "this address has reached its limit of connections")       \
    X(PROXY_HEADER_MISSING, 400, 0, true,                                                          \
      "connections of this proxy begin with a PROXY protocol header, and this one did not")        \
    X(PLAIN_HTTP, 400, 0, true, "this port speaks https; ask again with https:// in the URL")      \
    X(FILE_UNREADABLE, 500, 200, false, "the file cannot be read just now")

enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_FIRST_OF_SERVER = TOKEN_VERDICT_COUNT - 1,
#define X(name, status, code, close, text) REFUSAL_##name,
    SERVER_REFUSALS(X)
#undef X
        REFUSAL_COUNT
};

/* A token's verdict is a refusal of the same number. */
static inline enum refusal refusal_of_verdict(enum token_verdict verdict)
{
    return (enum refusal)verdict;
}

const char *refusal_name(enum refusal refusal); /* "balance_insufficient" */
const char *refusal_text(enum refusal refusal); /* for those who run a shop or a node */
/* Sentences for a listener, who knows nothing of tokens: what is wrong, and what to do now. */
const char *refusal_listener(enum refusal refusal);
unsigned refusal_status(enum refusal refusal);
unsigned refusal_uri_signing(enum refusal refusal);
bool refusal_closes(enum refusal refusal);

/* The reason phrase of a status that this server sends; "" for any other. */
const char *http_status_phrase(unsigned status);

#endif
