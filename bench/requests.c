/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests of a run as they go on the wire: URLs taken apart, links signed, heads written.
 * main.c calls it before the clock starts, so that signing costs the measured time nothing. It
 * opens no connection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "bench/bench.h"
#include "tokens/tokens.h"

#define ATTRIBUTE "URISigningPackage"

struct url {
    char host[256], port[8];
    const char *target; /* borrows: the path and query */
};

static int url_parse(const char *text, struct url *out, char *error, size_t error_size)
{
    static const char scheme[] = "http://";
    const char *authority = text + sizeof(scheme) - 1;
    if (strncmp(text, scheme, sizeof(scheme) - 1) != 0) {
        snprintf(error, error_size, "%s: a URL begins with http://", text);
        return -EINVAL;
    }
    size_t length = strcspn(authority, "/?#");
    const char *colon = memchr(authority, ':', length);
    size_t host = colon != NULL ? (size_t)(colon - authority) : length;
    const char *port = colon != NULL ? colon + 1 : "80";
    size_t port_length = colon != NULL ? length - host - 1 : 2;
    if (host == 0 || host >= sizeof(out->host) || port_length == 0 ||
        port_length >= sizeof(out->port) || strspn(port, "0123456789") < port_length ||
        authority[length] != '/' || strpbrk(authority, " \r\n#") != NULL) {
        snprintf(error, error_size, "%s: expected http://HOST[:PORT]/PATH, without spaces", text);
        return -EINVAL;
    }
    memcpy(out->host, authority, host);
    out->host[host] = '\0';
    memcpy(out->port, port, port_length);
    out->port[port_length] = '\0';
    out->target = authority + length;
    return 0;
}

/* Signs a link to the URL's path; `jti` NULL: without one. */
static int sign(const struct bench_signer *signer, const struct url *url, const char *jti,
                char **jws, char *error, size_t error_size)
{
    struct token_target parsed;
    if (token_target_parse(url->target, strlen(url->target), ATTRIBUTE, &parsed) !=
            TOKEN_TARGET_OK ||
        parsed.package != NULL) {
        snprintf(error, error_size, "%s: a link cannot be signed for this path", url->target);
        return -EINVAL;
    }
    char container[sizeof("exact:") + sizeof(parsed.path)];
    snprintf(container, sizeof(container), "exact:%s", parsed.path);
    int64_t now = (int64_t)time(NULL);
    const struct token_claims claims = {.iss = signer->iss,
                                        .account = signer->account,
                                        .audience = signer->audience,
                                        .container = container,
                                        .jti = jti,
                                        .iat = now,
                                        .exp = now + signer->expires_s};
    int result = token_sign(signer->keys, NULL, &claims, jws);
    if (result != 0)
        snprintf(error, error_size, "signing a link to %s: %s%s", parsed.path,
                 strerrordesc_np(-result),
                 result == -ENOKEY ? "; the key file needs the private key" : "");
    return result;
}

static int write_request(FILE *out, const struct bench_shape *shape, const struct url *url,
                         const char *jws)
{
    fprintf(out, "GET %s", url->target);
    if (jws != NULL)
        fprintf(out, "%c" ATTRIBUTE "=%s", strchr(url->target, '?') != NULL ? '&' : '?', jws);
    fprintf(out, " HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: tollgate-bench\r\n", url->host,
            url->port);
    if (shape->range != NULL)
        fprintf(out, "Range: bytes=%s\r\n", shape->range);
    for (size_t i = 0; i < shape->header_count; i++)
        fprintf(out, "%s\r\n", shape->headers[i]);
    fputs(shape->keep_alive ? "\r\n" : "Connection: close\r\n\r\n", out);
    return ferror(out) ? -ENOMEM : 0;
}

static int write_all(struct request_set *set, FILE *out, const struct bench_shape *shape,
                     const struct bench_signer *signer, const struct url *urls, char *error,
                     size_t error_size)
{
    int result = 0;
    uint64_t run = 0; /* so that no two runs, even of the same second, share a link */
    if (shape->unique != 0 && getrandom(&run, sizeof(run), 0) != (ssize_t)sizeof(run))
        return -EIO;
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        const struct url *url = &urls[i % shape->url_count];
        char *jws = NULL, jti[48];
        snprintf(jti, sizeof(jti), "bench-%016" PRIx64 "-%zu", run, i + 1);
        set->offsets[i] = (size_t)ftello(out);
        if (signer->iss != NULL)
            result = sign(signer, url, shape->unique != 0 ? jti : NULL, &jws, error, error_size);
        if (result == 0)
            result = write_request(out, shape, url, jws);
        free(jws);
    }
    set->offsets[set->count] = (size_t)ftello(out);
    return result;
}

int request_set_create(struct request_set *out, const struct bench_shape *shape,
                       const struct bench_signer *signer, char *error, size_t error_size)
{
    static const char no_memory[] = "no memory for the requests";
    struct url urls[BENCH_URLS_MAX];
    *out = (struct request_set){0};
    error[0] = '\0';
    if (shape->url_count == 0 || shape->url_count > BENCH_URLS_MAX ||
        shape->unique > BENCH_UNIQUE_MAX)
        return -EINVAL;
    for (size_t i = 0; i < shape->url_count; i++) {
        int result = url_parse(shape->urls[i], &urls[i], error, error_size);
        if (result != 0)
            return result;
        if (strcmp(urls[i].host, urls[0].host) != 0 || strcmp(urls[i].port, urls[0].port) != 0) {
            snprintf(error, error_size,
                     "%s: its host is not that of the first URL; run the bench once for each host",
                     shape->urls[i]);
            return -EINVAL;
        }
    }
    memcpy(out->host, urls[0].host, sizeof(out->host));
    memcpy(out->port, urls[0].port, sizeof(out->port));
    out->count = shape->unique != 0 ? shape->unique : shape->url_count;
    out->offsets = calloc(out->count + 1, sizeof(*out->offsets));
    size_t length = 0;
    FILE *stream = open_memstream(&out->text, &length);
    int result = -ENOMEM;
    if (out->offsets != NULL && stream != NULL)
        result = write_all(out, stream, shape, signer, urls, error, error_size);
    if (stream != NULL && fclose(stream) != 0)
        result = -ENOMEM;
    if (result == -ENOMEM && error[0] == '\0')
        snprintf(error, error_size, "%s", no_memory);
    if (result != 0)
        request_set_destroy(out);
    return result;
}

void request_set_destroy(struct request_set *set)
{
    free(set->text);
    free(set->offsets);
    *set = (struct request_set){0};
}
