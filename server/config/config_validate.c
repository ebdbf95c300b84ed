/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validation of a configuration beyond what a length or a bound can express: addresses, names,
 * prefixes, and what must agree across keys. Called by config_load once every value is converted. A
 * rule looks at another key only where that key is sound, so a mistake is told once, without its
 * consequences. No rule changes a value.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/base/client_address.h"
#include "server/config/config_internal.h"
#include "server/config/content_types.h"
#include "server/config/tls_algorithms.h"
#include "storage/ledger/ledger.h"

#define NAME_BYTES "abcdefghijklmnopqrstuvwxyz0123456789-"

static bool is_name(const char *text)
{
    size_t length = strspn(text, NAME_BYTES);
    return length > 0 && length <= 32 && text[length] == '\0';
}

/*
 * The configuration under validation, and the document that knows on which line each value stands.
 */
struct validation {
    const struct config *config;
    struct config_document *document;
};

#define REFUSE(validation, key, ...) config_refuse((validation)->document, -1, key, -1, __VA_ARGS__)

static bool is_sound(const struct validation *validation, const char *key)
{
    return config_document_is_sound(validation->document, -1, key);
}

/* What follows https:// or http://; NULL where the URL begins with neither. */
static const char *after_scheme(const char *url)
{
    return strncmp(url, "https://", 8) == 0  ? url + 8
           : strncmp(url, "http://", 7) == 0 ? url + 7
                                             : NULL;
}

/* RFC 6454 6.2: browsers write an origin in lower case and without a path. Any other form would
 * never match. */
static void validate_page_origin(const struct validation *validation, int issuer, unsigned entry)
{
    const char *origin = validation->config->issuers[issuer].origins[entry];
    const char *authority = after_scheme(origin);
    if (strcmp(origin, "*") == 0 ||
        (authority != NULL && authority[0] != '\0' && strlen(origin) <= 255 &&
         authority[strspn(authority, NAME_BYTES "._:[]")] == '\0'))
        return;
    config_refuse(validation->document, issuer, "origins", (int)entry,
                  "\"%.255s\" is not an origin; write https://shop.example, in "
                  "lower case and without a path, or \"*\" for every page",
                  origin);
}

static void validate_refusal_url(const struct validation *validation, int issuer)
{
    const char *url = validation->config->issuers[issuer].refusal_url;
    const char *authority = after_scheme(url);
    bool sound =
        url[0] == '\0' || (authority != NULL && authority[0] != '\0' && authority[0] != '/');
    for (const char *at = url; sound && *at != '\0'; at++)
        sound = (unsigned char)*at > ' ' && (unsigned char)*at < 0x7f &&
                strchr("\"<>\\^`{|}#", *at) == NULL;
    if (!sound)
        config_refuse(validation->document, issuer, "refusal_url", -1,
                      "\"%.255s\" is not an http:// or https:// URL without a fragment; write "
                      "https://shop.example/refused",
                      url);
}

/* A resume_s beyond link_lifetime_max_s would have each link of the issuer
 * refused (lifetime_too_long). */
static void validate_resume(const struct validation *validation, int issuer)
{
    const struct config *config = validation->config;
    if (is_sound(validation, "link_lifetime_max_s") &&
        config->issuers[issuer].resume_s > config->link_lifetime_max_s)
        config_refuse(validation->document, issuer, "resume_s", -1,
                      "is longer than link_lifetime_max_s; give %" PRIu64 " at most",
                      config->link_lifetime_max_s);
}

/* RFC 3986 3: scheme://authority, and nothing after it. */
static void validate_origin(const struct validation *validation)
{
    const char *origin = validation->config->public_origin;
    if (origin[0] == '\0')
        return;
    const char *authority = after_scheme(origin);
    if (authority == NULL || authority[0] == '\0')
        REFUSE(validation, "public_origin",
               "\"%s\" is not an http:// or https:// origin; write https://media.example", origin);
    else if (strpbrk(authority, "/?#@ \"<>\\^`{|}") != NULL)
        REFUSE(validation, "public_origin",
               "\"%s\" has more than scheme, host and port; leave out the path, the last slash too",
               origin);
}

static void validate_sentinels(const struct validation *validation)
{
    const struct config *config = validation->config;
    bool has_user = config->sentinel_user[0] != '\0';
    if (strncmp(config->redis, "sentinel:", 9) != 0) {
        if (has_user)
            REFUSE(validation, "sentinel_user", "`redis` names no Sentinels; remove it");
        if (config->sentinel_password_file[0] != '\0')
            REFUSE(validation, "sentinel_password_file", "`redis` names no Sentinels; remove it");
    } else if (has_user && is_sound(validation, "sentinel_password_file") &&
               config->sentinel_password_file[0] == '\0') {
        REFUSE(validation, "sentinel_user",
               "a user needs a password; add sentinel_password_file: FILE");
    }
}

static void validate_redis(const struct validation *validation)
{
    const char *redis = validation->config->redis;
    if (!is_sound(validation, "redis"))
        return;
    validate_sentinels(validation);
    if (strcmp(redis, "embedded") == 0) {
        if (validation->config->redis_user[0] != '\0')
            REFUSE(validation, "redis_user", "the embedded Redis has no users; remove it");
        if (validation->config->redis_password_file[0] != '\0')
            REFUSE(validation, "redis_password_file",
                   "the embedded Redis has no password; remove it");
        return;
    }
    if (validation->config->redis_user[0] != '\0' && is_sound(validation, "redis_password_file") &&
        validation->config->redis_password_file[0] == '\0')
        REFUSE(validation, "redis_user", "a user needs a password; add redis_password_file: FILE");
    char why[512];
    if (ledger_redis_validate(redis, why, sizeof(why)) != 0)
        REFUSE(validation, "redis", "%s", why);
}

static void validate_answers(const struct validation *validation)
{
    const struct config *config = validation->config;
    if (!content_type_is_valid(config->content_type))
        REFUSE(validation, "content_type",
               "\"%s\" is not a media type; write application/octet-stream", config->content_type);
    struct content_types *types;
    const char *bad;
    int result = content_types_create(&types, config->content_types, &bad);
    content_types_destroy(&types);
    int entry = result == -EINVAL ? (int)strcspn(bad, ", ") : 0;
    const char *equals = entry > 0 ? memchr(bad, '=', (size_t)entry) : NULL;
    if (result == -EINVAL && bad[0] == '.' && equals != NULL &&
        memchr(equals, '/', (size_t)(bad + entry - equals)) != NULL)
        REFUSE(validation, "content_types",
               "\"%.*s\" is not valid, or its extension is given twice; write each once, such as "
               ".mp3=audio/mpeg",
               entry, bad);
    else if (result == -EINVAL)
        REFUSE(validation, "content_types",
               "\"%.*s\": the extension needs a dot and the media type a slash; write "
               ".mp3=audio/mpeg",
               entry, bad);
    /* RFC 9110 5.6.1 and 5.6.2: a list of field names. */
    const char *headers = config->cors_allow_headers;
    if (headers[strspn(headers, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$%&'*+-.^_`|~, ")] != '\0')
        REFUSE(validation, "cors_allow_headers",
               "\"%s\" is not a list of field names; write Authorization, Range", headers);
}

static void validate_names(const struct validation *validation)
{
    const struct config *config = validation->config;
    const char *wrong = config_validate_listen(config->listen);
    if (wrong != NULL)
        REFUSE(validation, "listen", "\"%s\" %s", config->listen, wrong);
    if (!is_name(config->node))
        REFUSE(validation, "node", "\"%s\" is not a name; use 1 to 32 of a-z, 0-9 and -",
               config->node);
    /* RFC 9110 5.6.2 allows more bytes in a token; these may also stand in a path parameter and in
     * a cookie's name. */
    const char *attribute = config->token_attribute;
    if (attribute[strspn(attribute, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789_-")] != '\0')
        REFUSE(validation, "token_attribute", "\"%s\" is not a name; use letters, digits, _ and -",
               attribute);
}

static void validate_admin(const struct validation *validation)
{
    const struct config *config = validation->config;
    const char *listen = config->admin_listen;
    bool secrets = false, known = is_sound(validation, "issuers");
    for (unsigned i = 0; i < config->issuers_count; i++) {
        secrets = secrets || config->issuers[i].admin_secret_file[0] != '\0';
        known =
            known && config_document_is_sound(validation->document, (int)i, "admin_secret_file");
    }
    if (listen[0] == '\0' && secrets)
        REFUSE(validation, "admin_listen",
               "an issuer has an admin_secret_file and nothing listens; add admin_listen: "
               "127.0.0.1:8090");
    if (listen[0] == '\0')
        return;
    if ((is_sound(validation, "listen") && config_listen_is_same_place(listen, config->listen)) ||
        (is_sound(validation, "listen_tls") &&
         config_listen_is_same_place(listen, config->listen_tls)))
        REFUSE(validation, "admin_listen",
               "\"%s\" is where clients are served; choose another port", listen);
    const char *wrong = strncmp(listen, "unix:", 5) == 0 ? NULL : config_validate_listen(listen);
    if (wrong != NULL)
        REFUSE(validation, "admin_listen", "\"%s\" %s", listen, wrong);
    else if (strncmp(listen, "unix:", 5) == 0 ? listen[5] != '/' || strlen(listen) > 5 + 107
                                              : !config_listen_is_loopback(listen))
        REFUSE(validation, "admin_listen",
               "\"%s\" can be reached from other hosts, and the secrets would travel unencrypted; "
               "write 127.0.0.1:8090 or unix:/run/tollgate/admin.sock (107 bytes at most)",
               listen);
    else if (known && !secrets)
        REFUSE(validation, "admin_listen",
               "nobody could use it; give an issuer an admin_secret_file, or remove it");
}

static void validate_tls(const struct validation *validation)
{
    const struct config *config = validation->config;
    const char *plain = config->plain_http, *origin = config->public_origin;
    bool tls = config->listen_tls[0] != '\0';
    const char *wrong = tls ? config_validate_listen(config->listen_tls) : NULL;
    if (wrong != NULL)
        REFUSE(validation, "listen_tls", "\"%s\" %s", config->listen_tls, wrong);
    if (tls && is_sound(validation, "listen") &&
        config_listen_is_same_place(config->listen, config->listen_tls))
        REFUSE(validation, "listen_tls", "\"%s\" is `listen`; choose another port",
               config->listen_tls);
    if (tls && is_sound(validation, "certificates") && config->certificates[0] == '\0')
        REFUSE(validation, "listen_tls", "TLS needs a certificate; add certificates: FILE.pem");
    if (!tls && is_sound(validation, "listen_tls") && config->certificates[0] != '\0')
        REFUSE(
            validation, "certificates",
            "has no effect, because listen_tls is not set; set listen_tls, or remove certificates");
    if (!tls && is_sound(validation, "listen_tls") && config->tls_ticket_keys[0] != '\0')
        REFUSE(validation, "tls_ticket_keys",
               "has no effect, because listen_tls is not set; set listen_tls, or remove "
               "tls_ticket_keys");
    char why[512];
    if (config->tls_groups[0] != '\0' &&
        tls_groups_validate(config->tls_groups, why, sizeof(why)) < 0)
        REFUSE(validation, "tls_groups", "%s", why);
    if (config->tls_ciphers[0] != '\0' &&
        tls_ciphers_validate(config->tls_ciphers, why, sizeof(why)) < 0)
        REFUSE(validation, "tls_ciphers", "%s", why);
    if (strcmp(plain, "redirect") == 0 && is_sound(validation, "public_origin") &&
        is_sound(validation, "listen_tls") &&
        (origin[0] == '\0' ? !tls : strncmp(origin, "https://", 8) != 0))
        REFUSE(validation, "plain_http",
               "there is no https:// origin to redirect to; set public_origin: "
               "https://media.example");
}

static void validate_prefixes(const struct validation *validation, const char *key,
                              const char *text)
{
    struct client_prefix prefixes[CONFIG_PROXIES_MAX];
    const char *bad = "";
    int count = client_prefixes_read(text, prefixes, CONFIG_PROXIES_MAX, &bad);
    if (count == -E2BIG)
        config_refuse(validation->document, -1, key, -1, "has more than %d prefixes; join some",
                      CONFIG_PROXIES_MAX);
    else if (count < 0)
        config_refuse(validation->document, -1, key, -1,
                      "\"%.*s\" is not an address or a prefix; write 10.0.0.5 or 10.0.0.0/8",
                      (int)strcspn(bad, " ,\t"), bad);
}

static void validate_proxies(const struct validation *validation)
{
    validate_prefixes(validation, "proxy_protocol_from", validation->config->proxy_protocol_from);
    validate_prefixes(validation, "forwarded_from", validation->config->forwarded_from);
}

static void validate_agreement(const struct validation *validation)
{
    const struct config *config = validation->config;
    char path[108];
    if (config_admin_socket(config, path, sizeof(path)) < 0)
        REFUSE(validation, "state_dir",
               "\"%.128s\" is too long for the Unix sockets in it (107 bytes with the name); use a "
               "shorter path",
               config->state_dir);
    if (config->journal_segment_bytes % 4096 != 0)
        REFUSE(validation, "journal_segment_bytes", "%ju is not a multiple of 4096; write %ju",
               (uintmax_t)config->journal_segment_bytes,
               (uintmax_t)((config->journal_segment_bytes + 4095) / 4096 * 4096));
    if (is_sound(validation, "grant_validity_ms") &&
        config->admission_timeout_ms > config->grant_validity_ms)
        REFUSE(validation, "admission_timeout_ms",
               "%ju is longer than grant_validity_ms (%ju): a grant could be over before it "
               "arrives; make it shorter",
               (uintmax_t)config->admission_timeout_ms, (uintmax_t)config->grant_validity_ms);
}

static void validate_prefix(const struct validation *validation, int issuer, unsigned entry,
                            const char *prefix)
{
    size_t length = strlen(prefix);
    if (length == 0 || prefix[0] != '/' || prefix[length - 1] != '/')
        config_refuse(validation->document, issuer, "prefixes", (int)entry,
                      "\"%s\" does not start and end with a slash; write a "
                      "directory such as /music/, or / for all",
                      prefix);
    else if (length > 1024)
        config_refuse(validation->document, issuer, "prefixes", (int)entry,
                      "an entry is %zu bytes long; paths have 1024 at most", length);
}

static void validate_unique(const struct validation *validation, int issuer, const char *key,
                            const char *value, const char *before, int index_before)
{
    if (strcmp(value, before) != 0)
        return;
    config_refuse(validation->document, issuer, key, -1,
                  "\"%s\" is already the %s of issuers[%d] (line %u); give each issuer its own %s",
                  value, key, index_before,
                  config_document_line(validation->document, index_before, key, -1), key);
}

static void validate_issuer(const struct validation *validation, int index)
{
    const struct config_issuer *issuer = &validation->config->issuers[index];
    if (!is_name(issuer->id))
        config_refuse(validation->document, index, "id", -1,
                      "\"%s\" is not a name; use 1 to 32 of a-z, 0-9 and -", issuer->id);
    for (int before = 0; before < index; before++) {
        const struct config_issuer *other = &validation->config->issuers[before];
        validate_unique(validation, index, "id", issuer->id, other->id, before);
        /* The token's iss chooses the issuer: two with the same could not be told apart. */
        validate_unique(validation, index, "iss", issuer->iss, other->iss, before);
    }
    for (unsigned i = 0; i < issuer->prefixes_count; i++)
        if (issuer->prefixes[i] != NULL)
            validate_prefix(validation, index, i, issuer->prefixes[i]);
    for (unsigned i = 0; i < issuer->origins_count; i++)
        if (issuer->origins[i] != NULL)
            validate_page_origin(validation, index, i);
    validate_refusal_url(validation, index);
    validate_resume(validation, index);
    for (unsigned i = 0; i < issuer->audiences_count; i++) {
        size_t length = issuer->audiences[i] != NULL ? strlen(issuer->audiences[i]) : 1;
        if (length == 0 || length > 128)
            config_refuse(validation->document, index, "audiences", (int)i,
                          "an entry is %zu bytes long; give 1 to 128", length);
    }
}

void config_validate(const struct config *config, struct config_document *document,
                     const char *file)
{
    const struct validation validation = {config, document};
    validate_answers(&validation);
    validate_names(&validation);
    validate_origin(&validation);
    validate_redis(&validation);
    validate_agreement(&validation);
    validate_proxies(&validation);
    validate_tls(&validation);
    validate_admin(&validation);
    config_validate_exposure(config, document, file);
    if (config->issuers_count == 0)
        REFUSE(
            &validation, "issuers",
            "there is no issuer, so no link would be admitted; `tollgate key generate` prints the "
            "lines to add");
    for (unsigned i = 0; i < config->issuers_count; i++)
        validate_issuer(&validation, (int)i);
}
