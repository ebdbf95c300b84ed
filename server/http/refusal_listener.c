/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each refusal says to a listener: somebody who pressed download in a shop, knows nothing of
 * tokens, and can go back, wait, top up or ask. The texts of the tables (refusal_text) are for
 * those who run a shop or a node. Called by response_refusal.c. Pure.
 */
#include "server/base/check.h"
#include "server/http/refusal.h"

#define AGAIN      "Go back to the shop and press download again."
#define INCOMPLETE "This link is incomplete. " AGAIN
#define TOO_OLD    "This link has expired. " AGAIN
#define TOO_EARLY                                                                                  \
    "This link does not work yet. Wait a minute, then go back to the shop and press download "     \
    "again."
#define OTHER_FILE "This link belongs to another file. " AGAIN
#define MISTAKE                                                                                    \
    "The shop made this link in a way that does not work. Tell the shop which file you wanted, "   \
    "and "                                                                                         \
    "the code below."
#define WITHDRAWN  "The shop has withdrawn this link. Ask the shop for a new one."
#define USED_UP    "This link has been used as often as the shop allows. Ask the shop for a new one."
#define LINK_BYTES "This link has delivered as much as the shop allows. Ask the shop for a new one."
#define NO_FILE    "This file is not here any more. Tell the shop which file you wanted."
#define CHANGED    "The file has changed since your download began. Start the download again."
#define NO_ACCOUNT "The shop has not opened your account yet. Tell the shop, with the code below."
#define SUSPENDED  "Your account is suspended. Ask the shop why."
#define BALANCE                                                                                    \
    "Your balance is too low for this file. Top it up in the shop, then press download again."
#define ACCOUNT_BYTES                                                                              \
    "Your account has received as much as the shop allows. Ask the shop to raise its limit."
#define DOWNLOADS                                                                                  \
    "Too many of your downloads run at once. Wait until one has ended, then press download again."
#define LATER "The file cannot be sent at the moment. Try again in a minute."
#define NETWORK                                                                                    \
    "Too many wrong links came from your network. Wait some minutes, then press download again."
#define ADDRESS "This address cannot be right. " AGAIN
#define PROGRAM                                                                                    \
    "The program that you download with asked in a way that does not work here. Try it with a "    \
    "web "                                                                                         \
    "browser."
#define HTTPS                                                                                      \
    "This address begins with http://, but this port speaks https. Write https:// at its "         \
    "beginning."
#define SERVER "The file server is not set up correctly. Tell the shop, with the code below."

static const char *const texts[REFUSAL_COUNT] = {
    [REFUSED_TOKEN_MISSING] = INCOMPLETE,
    [REFUSED_TOKEN_AMBIGUOUS] = INCOMPLETE,
    [REFUSED_TOKEN_TOO_LONG] = MISTAKE,
    [REFUSED_TOKEN_MALFORMED] = INCOMPLETE,
    [REFUSED_TOKEN_ENCRYPTED] = MISTAKE,
    [REFUSED_HEADER_MALFORMED] = INCOMPLETE,
    [REFUSED_HEADER_UNSUPPORTED] = MISTAKE,
    [REFUSED_ALGORITHM_REFUSED] = MISTAKE,
    [REFUSED_KEY_ID_MISSING] = MISTAKE,
    [REFUSED_KEY_UNKNOWN] = MISTAKE,
    [REFUSED_BAD_SIGNATURE] = INCOMPLETE, /* its end was cut, or the mail program broke the line */
    [REFUSED_CLAIMS_MALFORMED] = MISTAKE,
    [REFUSED_CLAIM_MISSING] = MISTAKE,
    [REFUSED_ISSUER_UNKNOWN] = MISTAKE,
    [REFUSED_AUDIENCE_MISMATCH] = MISTAKE,
    [REFUSED_VERSION_UNSUPPORTED] = MISTAKE,
    [REFUSED_CRITICAL_UNSUPPORTED] = MISTAKE,
    [REFUSED_CLIENT_IP_UNSUPPORTED] = MISTAKE,
    [REFUSED_SUBJECT_UNSUPPORTED] = MISTAKE,
    [REFUSED_RENEWAL_UNSUPPORTED] = MISTAKE,
    [REFUSED_JTI_MISSING] = MISTAKE,
    [REFUSED_LIFETIME_TOO_LONG] = MISTAKE,
    [REFUSED_NOT_YET_VALID] = TOO_EARLY,
    [REFUSED_ISSUED_AHEAD] = TOO_EARLY,
    [REFUSED_EXPIRED] = TOO_OLD,
    [REFUSED_CONTAINER_UNSUPPORTED] = MISTAKE,
    [REFUSED_CONTAINER_MALFORMED] = MISTAKE,
    [REFUSED_OUT_OF_CONTAINER] = OTHER_FILE,
    [REFUSED_OUT_OF_ISSUER_PATHS] = MISTAKE,
    [REFUSAL_HEAD_MALFORMED] = PROGRAM,
    [REFUSAL_HOST_INVALID] = PROGRAM,
    [REFUSAL_TARGET_INVALID] = ADDRESS,
    [REFUSAL_PATH_INVALID] = ADDRESS,
    [REFUSAL_TARGET_TOO_LONG] = ADDRESS,
    [REFUSAL_HEAD_TOO_LARGE] = PROGRAM,
    [REFUSAL_HEAD_TIMEOUT] = LATER,
    [REFUSAL_BODY_REFUSED] = PROGRAM,
    [REFUSAL_METHOD_NOT_ALLOWED] = PROGRAM,
    [REFUSAL_METHOD_UNKNOWN] = PROGRAM,
    [REFUSAL_CODING_UNKNOWN] = PROGRAM,
    [REFUSAL_EXPECTATION_FAILED] = PROGRAM,
    [REFUSAL_VERSION_REFUSED] = PROGRAM,
    [REFUSAL_TOO_MANY_BAD_SIGNATURES] = NETWORK,
    [REFUSAL_FILE_NOT_FOUND] = NO_FILE,
    [REFUSAL_PRECONDITION_FAILED] = CHANGED,
    [REFUSAL_FILE_NOT_HASHED] = LATER,
    [REFUSAL_RANGE_NOT_SATISFIABLE] = CHANGED,
    [REFUSAL_ACCOUNT_UNKNOWN] = NO_ACCOUNT,
    [REFUSAL_ACCOUNT_SUSPENDED] = SUSPENDED,
    [REFUSAL_BALANCE_INSUFFICIENT] = BALANCE,
    [REFUSAL_ACCOUNT_BYTES_USED_UP] = ACCOUNT_BYTES,
    [REFUSAL_ACCOUNT_CONNECTIONS] = DOWNLOADS,
    [REFUSAL_LINK_REVOKED] = WITHDRAWN,
    [REFUSAL_LINK_USED_UP] = USED_UP,
    [REFUSAL_LINK_BYTES_USED_UP] = LINK_BYTES,
    [REFUSAL_LINK_CONNECTIONS] = DOWNLOADS,
    [REFUSAL_LINK_BUSY] = DOWNLOADS,
    [REFUSAL_TOO_MANY_UNACKNOWLEDGED] = DOWNLOADS,
    [REFUSAL_FUNDS_HELD_ELSEWHERE] = LATER,
    [REFUSAL_REDIS_UNAVAILABLE] = LATER,
    [REFUSAL_JOURNAL_UNAVAILABLE] = LATER,
    [REFUSAL_NODE_BUSY] = LATER,
    [REFUSAL_NODE_STARTING] = LATER,
    [REFUSAL_NODE_DRAINING] = LATER,
    [REFUSAL_ACCOUNT_SET_ASIDE] = LATER,
    [REFUSAL_CONNECTIONS_EXHAUSTED] = LATER,
    [REFUSAL_ADDRESS_EXHAUSTED] = DOWNLOADS,
    [REFUSAL_PROXY_HEADER_MISSING] = SERVER,
    [REFUSAL_PLAIN_HTTP] = HTTPS,
    [REFUSAL_FILE_UNREADABLE] = LATER,
};

const char *refusal_listener(enum refusal refusal)
{
    check(refusal < REFUSAL_COUNT);
    return texts[refusal];
}
