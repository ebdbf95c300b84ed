/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of a configuration that a length or a bound cannot express: addresses, names,
 * prefixes, and what must agree across keys. Called by config_load once every value is converted. A
 * check looks at another key only where that key is sound, so a mistake is told once, without its
 * consequences. No check changes a value.
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

/* The configuration under check, and the document that knows on which line each value stands. */
struct check {
    const struct config *config;
    struct config_document *document;
};

#define REFUSE(check, key, ...) config_refuse((check)->document, -1, key, -1, __VA_ARGS__)

static bool is_sound(const struct check *check, const char *key)
{
    return config_document_is_sound(check->document, -1, key);
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
static void check_page_origin(const struct check *check, int issuer, unsigned entry)
{
    const char *origin = check->config->issuers[issuer].origins[entry];
    const char *authority = after_scheme(origin);
    if (strcmp(origin, "*") == 0 ||
        (authority != NULL && authority[0] != '\0' && strlen(origin) <= 255 &&
         authority[strspn(authority, NAME_BYTES "._:[]")] == '\0'))
        return;
    config_refuse(check->document, issuer, "origins", (int)entry,
                  "\"%.255s\" is not an origin; write https://shop.example, in "
                  "lower case and without a path, or \"*\" for every page",
                  origin);
}

static void check_refusal_url(const struct check *check, int issuer)
{
    const char *url = check->config->issuers[issuer].refusal_url;
    const char *authority = after_scheme(url);
    bool sound =
        url[0] == '\0' || (authority != NULL && authority[0] != '\0' && authority[0] != '/');
    for (const char *at = url; sound && *at != '\0'; at++)
        sound = (unsigned char)*at > ' ' && (unsigned char)*at < 0x7f &&
                strchr("\"<>\\^`{|}#", *at) == NULL;
    if (!sound)
        config_refuse(check->document, issuer, "refusal_url", -1,
                      "\"%.255s\" is not an http:// or https:// URL without a fragment; write "
                      "https://shop.example/refused",
                      url);
}

/* A resume_s beyond link_lifetime_max_s would have each link of the issuer
 * refused (lifetime_too_long). */
static void check_resume(const struct check *check, int issuer)
{
    const struct config *config = check->config;
    if (is_sound(check, "link_lifetime_max_s") &&
        config->issuers[issuer].resume_s > config->link_lifetime_max_s)
        config_refuse(check->document, issuer, "resume_s", -1,
                      "is longer than link_lifetime_max_s; give %" PRIu64 " at most",
                      config->link_lifetime_max_s);
}

/* RFC 3986 3: scheme://authority, and nothing after it. */
static void check_origin(const struct check *check)
{
    const char *origin = check->config->public_origin;
    if (origin[0] == '\0')
        return;
    const char *authority = after_scheme(origin);
    if (authority == NULL || authority[0] == '\0')
        REFUSE(check, "public_origin",
               "\"%s\" is not an http:// or https:// origin; write https://media.example", origin);
    else if (strpbrk(authority, "/?#@ \"<>\\^`{|}") != NULL)
        REFUSE(check, "public_origin",
               "\"%s\" has more than scheme, host and port; leave out the path, the last slash too",
               origin);
}

static void check_redis(const struct check *check)
{
    const char *redis = check->config->redis;
    if (!is_sound(check, "redis"))
        return;
    if (strcmp(redis, "embedded") == 0) {
        if (check->config->redis_user[0] != '\0')
            REFUSE(check, "redis_user", "the embedded Redis has no users; remove it");
        if (check->config->redis_password_file[0] != '\0')
            REFUSE(check, "redis_password_file", "the embedded Redis has no password; remove it");
        return;
    }
    if (check->config->redis_user[0] != '\0' && is_sound(check, "redis_password_file") &&
        check->config->redis_password_file[0] == '\0')
        REFUSE(check, "redis_user", "a user needs a password; add redis_password_file: FILE");
    char why[512];
    if (ledger_redis_check(redis, why, sizeof(why)) != 0)
        REFUSE(check, "redis", "%s", why);
}

static void check_answers(const struct check *check)
{
    const struct config *config = check->config;
    if (!content_type_is_valid(config->content_type))
        REFUSE(check, "content_type", "\"%s\" is not a media type; write application/octet-stream",
               config->content_type);
    struct content_types *types;
    const char *bad;
    int result = content_types_create(&types, config->content_types, &bad);
    content_types_destroy(&types);
    int entry = result == -EINVAL ? (int)strcspn(bad, ", ") : 0;
    const char *equals = entry > 0 ? memchr(bad, '=', (size_t)entry) : NULL;
    if (result == -EINVAL && bad[0] == '.' && equals != NULL &&
        memchr(equals, '/', (size_t)(bad + entry - equals)) != NULL)
        REFUSE(check, "content_types",
               "\"%.*s\" is not valid, or its extension is given twice; write each once, such as "
               ".mp3=audio/mpeg",
               entry, bad);
    else if (result == -EINVAL)
        REFUSE(check, "content_types",
               "\"%.*s\": the extension needs a dot and the media type a slash; write "
               ".mp3=audio/mpeg",
               entry, bad);
    /* RFC 9110 5.6.1 and 5.6.2: a list of field names. */
    const char *headers = config->cors_allow_headers;
    if (headers[strspn(headers, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$%&'*+-.^_`|~, ")] != '\0')
        REFUSE(check, "cors_allow_headers",
               "\"%s\" is not a list of field names; write Authorization, Range", headers);
}

static void check_names(const struct check *check)
{
    const struct config *config = check->config;
    const char *wrong = config_check_listen(config->listen);
    if (wrong != NULL)
        REFUSE(check, "listen", "\"%s\" %s", config->listen, wrong);
    if (!is_name(config->node))
        REFUSE(check, "node", "\"%s\" is not a name; use 1 to 32 of a-z, 0-9 and -", config->node);
    /* RFC 9110 5.6.2 allows more bytes in a token; these may also stand in a path parameter and in
     * a cookie's name. */
    const char *attribute = config->token_attribute;
    if (attribute[strspn(attribute, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789_-")] != '\0')
        REFUSE(check, "token_attribute", "\"%s\" is not a name; use letters, digits, _ and -",
               attribute);
}

static void check_admin(const struct check *check)
{
    const struct config *config = check->config;
    const char *listen = config->admin_listen;
    bool secrets = false, known = is_sound(check, "issuers");
    for (unsigned i = 0; i < config->issuers_count; i++) {
        secrets = secrets || config->issuers[i].admin_secret_file[0] != '\0';
        known = known && config_document_is_sound(check->document, (int)i, "admin_secret_file");
    }
    if (listen[0] == '\0' && secrets)
        REFUSE(check, "admin_listen",
               "an issuer has an admin_secret_file and nothing listens; add admin_listen: "
               "127.0.0.1:8090");
    if (listen[0] == '\0')
        return;
    if ((is_sound(check, "listen") && config_listen_is_same_place(listen, config->listen)) ||
        (is_sound(check, "listen_tls") && config_listen_is_same_place(listen, config->listen_tls)))
        REFUSE(check, "admin_listen", "\"%s\" is where clients are served; choose another port",
               listen);
    const char *wrong = strncmp(listen, "unix:", 5) == 0 ? NULL : config_check_listen(listen);
    if (wrong != NULL)
        REFUSE(check, "admin_listen", "\"%s\" %s", listen, wrong);
    else if (strncmp(listen, "unix:", 5) == 0 ? listen[5] != '/' || strlen(listen) > 5 + 107
                                              : !config_listen_is_loopback(listen))
        REFUSE(check, "admin_listen",
               "\"%s\" can be reached from other hosts, and the secrets would travel unencrypted; "
               "write 127.0.0.1:8090 or unix:/run/tollgate/admin.sock (107 bytes at most)",
               listen);
    else if (known && !secrets)
        REFUSE(check, "admin_listen",
               "nobody could use it; give an issuer an admin_secret_file, or remove it");
}

static void check_tls(const struct check *check)
{
    const struct config *config = check->config;
    const char *plain = config->plain_http, *origin = config->public_origin;
    bool tls = config->listen_tls[0] != '\0';
    const char *wrong = tls ? config_check_listen(config->listen_tls) : NULL;
    if (wrong != NULL)
        REFUSE(check, "listen_tls", "\"%s\" %s", config->listen_tls, wrong);
    if (tls && is_sound(check, "listen") &&
        config_listen_is_same_place(config->listen, config->listen_tls))
        REFUSE(check, "listen_tls", "\"%s\" is `listen`; choose another port", config->listen_tls);
    if (tls && is_sound(check, "certificates") && config->certificates[0] == '\0')
        REFUSE(check, "listen_tls", "TLS needs a certificate; add certificates: FILE.pem");
    if (!tls && is_sound(check, "listen_tls") && config->certificates[0] != '\0')
        REFUSE(
            check, "certificates",
            "has no effect, because listen_tls is not set; set listen_tls, or remove certificates");
    if (!tls && is_sound(check, "listen_tls") && config->tls_ticket_keys[0] != '\0')
        REFUSE(check, "tls_ticket_keys",
               "has no effect, because listen_tls is not set; set listen_tls, or remove "
               "tls_ticket_keys");
    char why[512];
    if (config->tls_groups[0] != '\0' && tls_groups_check(config->tls_groups, why, sizeof(why)) < 0)
        REFUSE(check, "tls_groups", "%s", why);
    if (config->tls_ciphers[0] != '\0' &&
        tls_ciphers_check(config->tls_ciphers, why, sizeof(why)) < 0)
        REFUSE(check, "tls_ciphers", "%s", why);
    if (strcmp(plain, "redirect") == 0 && is_sound(check, "public_origin") &&
        is_sound(check, "listen_tls") &&
        (origin[0] == '\0' ? !tls : strncmp(origin, "https://", 8) != 0))
        REFUSE(check, "plain_http",
               "there is no https:// origin to redirect to; set public_origin: "
               "https://media.example");
}

static void check_prefixes(const struct check *check, const char *key, const char *text)
{
    struct client_prefix prefixes[CONFIG_PROXIES_MAX];
    const char *bad = "";
    int count = client_prefixes_read(text, prefixes, CONFIG_PROXIES_MAX, &bad);
    if (count == -E2BIG)
        config_refuse(check->document, -1, key, -1, "has more than %d prefixes; join some",
                      CONFIG_PROXIES_MAX);
    else if (count < 0)
        config_refuse(check->document, -1, key, -1,
                      "\"%.*s\" is not an address or a prefix; write 10.0.0.5 or 10.0.0.0/8",
                      (int)strcspn(bad, " ,\t"), bad);
}

static void check_proxies(const struct check *check)
{
    check_prefixes(check, "proxy_protocol_from", check->config->proxy_protocol_from);
    check_prefixes(check, "forwarded_from", check->config->forwarded_from);
}

static void check_agreement(const struct check *check)
{
    const struct config *config = check->config;
    char path[108];
    if (config_admin_socket(config, path, sizeof(path)) < 0)
        REFUSE(check, "state_dir",
               "\"%.128s\" is too long for the Unix sockets in it (107 bytes with the name); use a "
               "shorter path",
               config->state_dir);
    if (config->journal_segment_bytes % 4096 != 0)
        REFUSE(check, "journal_segment_bytes", "%ju is not a multiple of 4096; write %ju",
               (uintmax_t)config->journal_segment_bytes,
               (uintmax_t)((config->journal_segment_bytes + 4095) / 4096 * 4096));
    if (is_sound(check, "grant_validity_ms") &&
        config->admission_timeout_ms > config->grant_validity_ms)
        REFUSE(check, "admission_timeout_ms",
               "%ju is longer than grant_validity_ms (%ju): a grant could be over before it "
               "arrives; make it shorter",
               (uintmax_t)config->admission_timeout_ms, (uintmax_t)config->grant_validity_ms);
}

static void check_prefix(const struct check *check, int issuer, unsigned entry, const char *prefix)
{
    size_t length = strlen(prefix);
    if (length == 0 || prefix[0] != '/' || prefix[length - 1] != '/')
        config_refuse(check->document, issuer, "prefixes", (int)entry,
                      "\"%s\" does not start and end with a slash; write a "
                      "directory such as /music/, or / for all",
                      prefix);
    else if (length > 1024)
        config_refuse(check->document, issuer, "prefixes", (int)entry,
                      "an entry is %zu bytes long; paths have 1024 at most", length);
}

static void check_unique(const struct check *check, int issuer, const char *key, const char *value,
                         const char *before, int index_before)
{
    if (strcmp(value, before) != 0)
        return;
    config_refuse(check->document, issuer, key, -1,
                  "\"%s\" is already the %s of issuers[%d] (line %u); give each issuer its own %s",
                  value, key, index_before,
                  config_document_line(check->document, index_before, key, -1), key);
}

static void check_issuer(const struct check *check, int index)
{
    const struct config_issuer *issuer = &check->config->issuers[index];
    if (!is_name(issuer->id))
        config_refuse(check->document, index, "id", -1,
                      "\"%s\" is not a name; use 1 to 32 of a-z, 0-9 and -", issuer->id);
    for (int before = 0; before < index; before++) {
        const struct config_issuer *other = &check->config->issuers[before];
        check_unique(check, index, "id", issuer->id, other->id, before);
        /* The token's iss chooses the issuer: two with the same could not be told apart. */
        check_unique(check, index, "iss", issuer->iss, other->iss, before);
    }
    for (unsigned i = 0; i < issuer->prefixes_count; i++)
        if (issuer->prefixes[i] != NULL)
            check_prefix(check, index, i, issuer->prefixes[i]);
    for (unsigned i = 0; i < issuer->origins_count; i++)
        if (issuer->origins[i] != NULL)
            check_page_origin(check, index, i);
    check_refusal_url(check, index);
    check_resume(check, index);
    for (unsigned i = 0; i < issuer->audiences_count; i++) {
        size_t length = issuer->audiences[i] != NULL ? strlen(issuer->audiences[i]) : 1;
        if (length == 0 || length > 128)
            config_refuse(check->document, index, "audiences", (int)i,
                          "an entry is %zu bytes long; give 1 to 128", length);
    }
}

void config_check(const struct config *config, struct config_document *document, const char *file)
{
    const struct check check = {config, document};
    check_answers(&check);
    check_names(&check);
    check_origin(&check);
    check_redis(&check);
    check_agreement(&check);
    check_proxies(&check);
    check_tls(&check);
    check_admin(&check);
    config_check_exposure(config, document, file);
    if (config->issuers_count == 0)
        REFUSE(
            &check, "issuers",
            "there is no issuer, so no link would be admitted; `tollgate key generate` prints the "
            "lines to add");
    for (unsigned i = 0; i < config->issuers_count; i++)
        check_issuer(&check, (int)i);
}
