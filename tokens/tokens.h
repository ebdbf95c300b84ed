/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens: who may have which file. Signed tokens in the profile of RFC 9246 (URI Signing), the
 * key sets that verify them, and the URI containers that say what they open. The server, the
 * command line and the bench harness use it. It never touches the network or the disk, reads no
 * clock (callers pass the time) and keeps no state of its own but the counter of generations and
 * the refusals' names.
 */
#ifndef TOLLGATE_TOKENS_TOKENS_H
#define TOLLGATE_TOKENS_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds. A token that exceeds any of them is refused, never truncated. */
#define TOKEN_LENGTH_MAX    4096 /* bytes of a compact JWS */
#define TOKEN_ISS_MAX       128  /* bytes of iss and of each aud */
#define TOKEN_KID_MAX       128
#define TOKEN_JTI_MAX       128
#define TOKEN_FILENAME_MAX  255  /* bytes of UTF-8 */
#define TOKEN_ACCOUNT_MAX   128  /* bytes of acct, 1 at least */
#define TOKEN_CONTAINER_MAX 1024 /* bytes of cdniuc */
#define TOKEN_ISSUER_ID_MAX 32   /* the configured short id, [a-z0-9-]{1,32} */
#define TOKEN_AUDIENCES_MAX 16
#define TOKEN_KEYS_MAX      64 /* live keys of one issuer */
#define TOKEN_PREFIXES_MAX  64
#define TOKEN_ISSUERS_MAX   1024
#define TOKEN_USES_MAX      1000  /* of max_uses: each use is remembered */
#define TOKEN_CONNS_MAX     65535 /* of max_conns */
#define TOKEN_PACE_MAX      1000  /* of pace, times the file's own bitrate */

/*
 * Why a token is refused: name, HTTP status, the RFC 9246 s-uri-signing code that is logged, text.
 * The names in lower case are the `reason` of the answer. The server's own refusals
 * (server/http/refusal.h) continue this table.
 *
 * The codes are the registry of RFC 9246 section 6.4, of three digits (format %03u): 000 nothing
 * verified, 200 verified, 400 signature, 401 issuer, 402 subject, 403 audience, 404 expiry, 405 not
 * before, 406 renewal claims, 407 jti, 408 version, 409 critical extension, 410 client address, 411
 * URI container, 500 could not be verified at all. Our own refusals take the nearest code: a path
 * outside the issuer's prefixes counts as issuer enforcement.
 */
#define TOKEN_REFUSALS(X)                                                                          \
    X(TOKEN_MISSING, 403, 0, "the link carries no token")                                          \
    X(TOKEN_AMBIGUOUS, 403, 500, "the link carries more than one token in the same place")         \
    X(TOKEN_TOO_LONG, 403, 500, "the token is longer than 4096 bytes")                             \
    X(TOKEN_MALFORMED, 403, 500,                                                                   \
      "the token is not a JWS in compact form: three parts of base64url, without padding: the "    \
      "link was cut or changed, or = was not removed from the end of its parts, or + and / stand " \
      "in place of - and _")                                                                       \
    X(TOKEN_ENCRYPTED, 403, 500, "the token is a JWE; only signed tokens are taken here")          \
    X(HEADER_MALFORMED, 403, 500,                                                                  \
      "the token's header is not a JSON object of the expected members")                           \
    X(HEADER_UNSUPPORTED, 403, 400, "the token's header uses crit, b64, jwk, jku, x5c or x5u")     \
    X(ALGORITHM_REFUSED, 403, 400, "the token's alg is not the algorithm of its key")              \
    X(KEY_ID_MISSING, 403, 400, "the token's header names no key (kid)")                           \
    X(KEY_UNKNOWN, 403, 401, "the token's issuer has no key with that kid")                        \
    X(BAD_SIGNATURE, 403, 400, "the signature does not match the token")                           \
    X(CLAIMS_MALFORMED, 403, 500,                                                                  \
      "the token's claims are not a JSON object of the expected types")                            \
    X(CLAIM_MISSING, 403, 500, "the token lacks one of iss, exp, cdniuc and acct")                 \
    X(ISSUER_UNKNOWN, 403, 401, "the token's iss is not a configured issuer")                      \
    X(AUDIENCE_MISMATCH, 403, 403, "the token's aud does not name this service")                   \
    X(VERSION_UNSUPPORTED, 403, 408, "the token's cdniv is not 1")                                 \
    X(CRITICAL_UNSUPPORTED, 403, 409, "cdnicrit names a claim that this service does not enforce") \
    X(CLIENT_IP_UNSUPPORTED, 403, 410, "cdniip (encrypted client address) is not supported")       \
    X(SUBJECT_UNSUPPORTED, 403, 402, "sub (encrypted subject) is not supported")                   \
    X(RENEWAL_UNSUPPORTED, 403, 406, "cdniets, cdnistt and cdnistd (renewal) are not supported")   \
    X(JTI_MISSING, 403, 407, "the token has max_uses and no jti that would name the link")         \
    X(LIFETIME_TOO_LONG, 403, 404,                                                                 \
      "the token's exp lies further ahead, or its resume is longer, than link_lifetime_max_s "     \
      "allows")                                                                                    \
    X(NOT_YET_VALID, 403, 405, "the token's nbf has not come yet")                                 \
    X(ISSUED_AHEAD, 403, 405, "the token's iat is ahead of now")                                   \
    X(EXPIRED, 410, 404, "the link's exp has passed")                                              \
    X(CONTAINER_UNSUPPORTED, 403, 411,                                                             \
      "the token's cdniuc is not an exact:, prefix:, hash: or regex: container")                   \
    X(CONTAINER_MALFORMED, 403, 411, "the token's cdniuc cannot be read or is too costly")         \
    X(OUT_OF_CONTAINER, 403, 411, "the token does not cover this path")                            \
    X(OUT_OF_ISSUER_PATHS, 403, 401, "the token's issuer may not sign for this path")

enum token_verdict {
    TOKEN_OK = 0,
#define X(name, status, code, text) REFUSED_##name,
    TOKEN_REFUSALS(X)
#undef X
        TOKEN_VERDICT_COUNT
};

enum token_algorithm { TOKEN_HS256, TOKEN_ES256, TOKEN_EDDSA };

/* ---- keys ---- */

/*
 * A JWKS (RFC 7517) of one issuer. Every key must have kid and alg, one of HS256 (oct, 32 to 512
 * bytes), ES256 (EC, P-256) and EdDSA (OKP, Ed25519; RFC 8037). Immutable once parsed; any number
 * of threads may read it.
 */
struct key_set;

/*
 * Parses the JSON text of a JWKS, or of a single JWK. On success *out is owned by the caller. On
 * failure returns -EINVAL (or -ENOMEM) and writes one sentence that names the member and the cure
 * into `error`; key material never appears in it. Duplicate JSON members, duplicate kids, unknown
 * kty, short HS256 keys and keys whose alg and kty disagree are refused.
 */
int key_set_parse(struct key_set **out, const char *json, size_t length, char *error,
                  size_t error_size);
void key_set_destroy(struct key_set **set);
size_t key_set_count(const struct key_set *set);
/* The kid of key `index` (below key_set_count), its algorithm, and whether it can sign. */
const char *key_set_kid(const struct key_set *set, size_t index);
enum token_algorithm key_set_algorithm(const struct key_set *set, size_t index);
bool key_set_can_sign(const struct key_set *set, size_t index);
/* Whether the key came with the private half of an asymmetric pair, which no verifier needs. */
bool key_set_has_private(const struct key_set *set, size_t index);
/* Whether the key is an HS256 secret that repeats itself or counts: fewer than 24 steps (each a
 * byte, or a copy of 4 or more earlier ones) write it down, or write down its differences. */
bool key_set_is_guessable(const struct key_set *set, size_t index);

/* A fingerprint of the key material: equal for equal material, whatever the kid and with or without
 * the private half, and for no other; of a secret it is a MAC. False when memory runs out. */
#define KEY_PRINT_SIZE 32
bool key_set_print(const struct key_set *set, size_t index, unsigned char print[KEY_PRINT_SIZE]);

/*
 * Makes a key pair (or a secret) with a fresh random kid. *private_jwks and *public_jwks are JWKS
 * texts owned by the caller (free with key_text_free, which wipes); *public_jwks is NULL for HS256,
 * whose verifier needs the secret. Returns 0, -ENOMEM or -EIO (no randomness).
 */
int key_generate(enum token_algorithm algorithm, char **private_jwks, char **public_jwks);
void key_text_free(char **text);

/* The names are "HS256", "ES256" and "EdDSA". Parsing returns 0 or -EINVAL. */
const char *token_algorithm_name(enum token_algorithm algorithm);
int token_algorithm_parse(const char *name, enum token_algorithm *out);

/* ---- trust ---- */

/*
 * One issuer as configured. token_trust_create copies everything but the keys, which it takes over.
 */
struct token_issuer {
    const char *id;       /* short id, [a-z0-9-]{1,32} */
    const char *iss;      /* the claim's value */
    struct key_set *keys; /* owned by the trust from token_trust_create on */
    const char *const
        *prefixes;       /* decoded path prefixes that it may sign for, each starting with / */
    size_t prefix_count; /* 1 at least */
    /*
     * The values of aud that name this service. A token without aud passes in any case (RFC 9246
     * 2.1.3: aud is optional); where aud is present, one of its values must be here (RFC 7519
     * 4.1.3), so with none configured any aud refuses the token.
     */
    const char *const *audiences;
    size_t audience_count;
    uint32_t resume_s; /* `resume` of tokens that carry none, in seconds; 0: none */
};

struct token_policy {
    uint32_t lifetime_max_s; /* link_lifetime_max */
    uint32_t nbf_leeway_s;
    bool jti_single_use; /* RFC 9246 2.1.7 to the letter: a token with jti is good for one use */
    /*
     * "http://media.example:8080", without a path: hash: and regex: containers compare URIs under
     * it. token_trust_create brings it into the normal form of RFC 3986 6.2.2 and 6.2.3 (lower
     * case, no default port).
     */
    char public_origin[256];
};

/*
 * An immutable snapshot of all issuers and the policy, with a process-wide unique
 * generation. Reference counted with atomics: a reload makes a new one, and readers drop
 * theirs when they notice.
 */
struct token_trust;

/*
 * Validates and copies everything. On success the trust owns the key sets, on failure the caller
 * still does, and *out is NULL. Returns 0, -EINVAL with a sentence in `error` that names the issuer
 * and the cure, or -ENOMEM.
 */
int token_trust_create(struct token_trust **out, const struct token_issuer *issuers, size_t count,
                       const struct token_policy *policy, char *error, size_t error_size);
/* Take a reference, and give one back: the last drop frees the trust and its key sets. */
struct token_trust *token_trust_hold(struct token_trust *trust);
void token_trust_drop(struct token_trust **trust);
uint64_t token_trust_generation(const struct token_trust *trust);
const struct token_policy *token_trust_policy(const struct token_trust *trust);

/* ---- verifying ---- */

/* The limits of a link, from claims of our own; 0: not limited. */
struct token_limits {
    uint32_t max_uses;        /* downloads of each path, 1 to TOKEN_USES_MAX; needs a jti */
    uint32_t max_conns;       /* responses under way at once, 1 to TOKEN_CONNS_MAX */
    uint64_t max_bytes;       /* bytes that the link delivers in all, below 2^53 */
    uint64_t rate;            /* bytes per second, of all its connections together, below 2^53 */
    uint32_t resume_s;        /* how long after exp a download that began before may go on */
    uint32_t pace_thousandth; /* of the file's own bitrate: 1500 is one and a half */
};

/* A token whose signature was verified, with its claims. Immutable, not reference counted: the
 * caller of token_verify owns it, and it must not outlive the trust under which it was verified. */
struct token {
    const char *issuer_id;               /* the configured short id, borrowed from the trust */
    char account[TOKEN_ACCOUNT_MAX + 1]; /* acct */
    char kid[TOKEN_KID_MAX + 1];
    char jti[TOKEN_JTI_MAX + 1];           /* "" where absent */
    char filename[TOKEN_FILENAME_MAX + 1]; /* UTF-8, no path; "" where absent */
    int64_t exp;                           /* seconds since 1970 */
    int64_t nbf;                           /* 0 where absent */
    int64_t iat;                           /* 0 where absent: older than every iat revocation */
    struct token_limits limits;
    struct token_container *container;       /* owned */
    const struct token_issuer_entry *issuer; /* borrowed from the trust; opaque */
};

/*
 * Verifies a compact JWS: shape, header, key, signature, claims (types, required ones, versions,
 * critical ones, audience), and parses the container. It does not look at times: token_validate
 * does, for each request. `jws` need not end in NUL. On TOKEN_OK the caller owns *out; otherwise
 * *out is NULL. Limits are read and bounded here; the caller enforces them.
 */
enum token_verdict token_verify(const struct token_trust *trust, const char *jws, size_t length,
                                struct token **out);
/* The same; for REFUSED_CLAIMS_MALFORMED it also tells which claim it is: *claim is a constant, or
 * NULL where the payload as a whole cannot be read. Otherwise *claim is NULL. */
enum token_verdict token_verify_named(const struct token_trust *trust, const char *jws,
                                      size_t length, struct token **out, const char **claim);
/*
 * The same as token_verify, for callers that bound how many signatures are verified, which costs
 * more than all else: `may_verify` is called with `context`, at most once, when all that comes
 * before the signature is right. Where it returns false, the signature is not looked at and the
 * verdict is REFUSED_BAD_SIGNATURE.
 */
enum token_verdict token_verify_if(const struct token_trust *trust, const char *jws, size_t length,
                                   struct token **out, bool (*may_verify)(void *context),
                                   void *context);
void token_destroy(struct token **token);

/* Whether the issuer's set in `trust`, which may be a later one than the token's, still has the key
 * that signed the token, with the same material. */
bool token_is_live(const struct token_trust *trust, const struct token *token);

/* The request as the container sees it. */
struct token_request {
    const char *path; /* decoded, absolute, normalised, no NUL: the path that is opened */
    size_t path_length;
    const char *uri; /* path and query, percent-encoded, from the / on, without the token */
    size_t uri_length;
};

/*
 * Validates what changes from request to request: exp (refused from the second exp on, or exp +
 * resume; RFC 9246 2.1.4), nbf (with nbf_leeway_s), iat (not past token_iat_max), lifetime_max_s,
 * the container, the issuer's path prefixes. `now` in seconds since 1970. `trust` gives the policy.
 */
enum token_verdict token_validate(const struct token_trust *trust, const struct token *token,
                                  const struct token_request *request, int64_t now);

/*
 * The latest iat, in seconds since 1970, that token_validate takes at `now`, since a storefront's
 * clock may run ahead. A revocation by iat must begin after it to reach each token that is in use
 * at `now`.
 */
int64_t token_iat_max(const struct token_policy *policy, int64_t now);

/*
 * The second since 1970 from which on token_validate refuses the token for good: exp, or exp +
 * resume.
 */
int64_t token_ends_at(const struct token *token);

/* Whether exp has passed: then only `resume` keeps the link, for downloads that began before. */
bool token_is_resuming(const struct token *token, int64_t now);

/* The facts of the table above. The verdict must be below TOKEN_VERDICT_COUNT. */
const char *token_verdict_name(enum token_verdict verdict); /* "bad_signature"; "ok" for TOKEN_OK */
const char *token_verdict_text(enum token_verdict verdict);
unsigned token_verdict_status(enum token_verdict verdict);
unsigned token_verdict_uri_signing(enum token_verdict verdict);

/* ---- signing ---- */

struct token_claims {
    const char *iss;
    const char *account;
    const char *container; /* "exact:/x.mp3": decoded path, byte for byte */
    const char *jti;       /* or NULL */
    const char *audience;  /* or NULL */
    const char *filename;  /* or NULL */
    int64_t exp;           /* seconds since 1970 */
    int64_t nbf;           /* 0: none */
    int64_t iat;           /* 0: none */
    struct token_limits limits;
};

/*
 * Signs with the key of `kid`, or with the first one that can sign where kid is NULL. *jws is owned
 * by the caller (free()). Returns 0, -ENOKEY (no such key, or it cannot sign), -EINVAL (the
 * verifier would refuse a value), -ENOMEM.
 */
int token_sign(const struct key_set *keys, const char *kid, const struct token_claims *claims,
               char **jws);

/* ---- reading without trusting ---- */

/*
 * For `link explain`: the header and claims as JSON texts (owned by the caller, free()),
 * unverified. Either is NULL where that part cannot be read. Returns TOKEN_OK, or why the token
 * cannot be read.
 */
enum token_verdict token_peek(const char *jws, size_t length, char **header_json,
                              char **claims_json);

/* ---- URIs ---- */

/*
 * token_target_parse takes the request target (origin-form) apart: it finds the signed package in
 * the query (?NAME=JWT, &NAME=JWT) or in the path (;NAME=JWT), strips it as RFC 9246 section 2.1.15
 * says, decodes the path and normalises the rest (RFC 3986 6.2.2: %7e becomes ~, %c3 becomes %C3;
 * bytes that no URI may hold raw are percent-encoded). `path` and the path of `uri` are always the
 * same path: a package that ends in another delimiter than its place allows is refused. All outputs
 * are the caller's buffers, and mean something on TOKEN_TARGET_OK only. A package includes its
 * padding, though no token may have any, so that the refusal blames the token and not the path.
 */

/* Why a path or a query is refused instead of repaired, and the cure. */
#define TOKEN_PATH_FAULTS(X)                                                                       \
    X(RELATIVE, "does not begin with a slash: write one")                                          \
    X(EMPTY_SEGMENT, "is empty: write one slash, not two")                                         \
    X(DOT_SEGMENT, "is a dot-segment: write the path without . and ..")                            \
    X(ESCAPED_SLASH, "has an escaped slash (%2F), which no name can have: write /")                \
    X(BACKSLASH, "has a backslash (%5C), which some systems take for a slash: rename the file")    \
    X(CONTROL, "has a control byte (%00 to %1F, %7F), which no served name can have: remove it")   \
    X(BAD_ESCAPE, "has a % that two hexadecimal digits do not follow: write %25 for %")            \
    X(UNESCAPED, "has a space, a control byte, # or a backslash as it is: percent-encode it")      \
    X(PACKAGE_END,                                                                                 \
      "has other text directly after the token: write & between them in a query, / in a path")

enum token_path_fault {
#define X(name, text) TOKEN_PATH_##name,
    TOKEN_PATH_FAULTS(X)
#undef X
};

struct token_target {
    char path[1024 + 1]; /* decoded, NUL-terminated, begins with /, holds no dot-segment */
    size_t path_length;
    char uri[8192 + 1]; /* percent-encoded, without the package */
    size_t uri_length;
    const char *package; /* borrowed: points into the target; NULL where there is none */
    size_t package_length;
    enum token_path_fault fault; /* on TOKEN_TARGET_BAD_PATH: what is wrong */
    unsigned segment;            /* likewise: in which segment, from 1; 0: in none */
};

enum token_target_error {
    TOKEN_TARGET_OK = 0,
    TOKEN_TARGET_BAD_PATH,  /* 400: token_path_fault_write says why */
    TOKEN_TARGET_TOO_LONG,  /* 414 */
    TOKEN_TARGET_AMBIGUOUS, /* two packages: REFUSED_TOKEN_AMBIGUOUS */
};

enum token_target_error token_target_parse(const char *target, size_t length, const char *attribute,
                                           struct token_target *out);

/*
 * Says what is wrong with a target that was TOKEN_TARGET_BAD_PATH, where, and the cure: "segment 2
 * of the path is empty: ...". The text holds no quotes, no backslashes and nothing of the target.
 */
#define TOKEN_PATH_FAULT_SIZE 128
void token_path_fault_write(const struct token_target *target, char out[TOKEN_PATH_FAULT_SIZE]);

/* Whether a text has 1 to `max` bytes and no control characters (C0, DEL), as `acct`, `jti` and the
 * other claims that are text must: it may then be logged and become part of a key. */
bool token_text_is_plain(const char *text, size_t length, size_t max);

/* Percent-encodes a decoded path for a URL (all but pchar and / of RFC 3986 3.3). Returns the
 * length without the NUL, or -ENOSPC. */
int token_path_encode(const char *path, size_t length, char *out, size_t out_size);

#endif
