/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a link leads to the node of a configuration: compares the scheme, the host and the port
 * of the two. Called by link_facts_create. It resolves no names, so the answer is about what the
 * configuration says, not about the network.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/config/config_internal.h"
#include "server/link/link_facts.h"

struct place {
    bool tls;
    char host[256]; /* in lower case; of IPv6 with its brackets */
    unsigned port;  /* 0: the kernel picks it */
};

/* Reads the place that an http:// or https:// URL names. False where it is neither, or its
 * host is malformed. */
static bool place_of(const char *url, struct place *out)
{
    out->tls = strncasecmp(url, "https://", 8) == 0;
    if (!out->tls && strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *authority = url + (out->tls ? 8 : 7);
    size_t length = strcspn(authority, "/?#");
    const char *user = memrchr(authority, '@', length);
    if (user != NULL) {
        length -= (size_t)(user + 1 - authority);
        authority = user + 1;
    }
    const char *bracket = authority[0] == '[' ? memchr(authority, ']', length) : NULL;
    size_t host = bracket != NULL ? (size_t)(bracket + 1 - authority) : strcspn(authority, ":/?#");
    if (host > length || host >= sizeof(out->host))
        return false;
    for (size_t i = 0; i < host; i++)
        out->host[i] =
            (char)(authority[i] >= 'A' && authority[i] <= 'Z' ? authority[i] | 0x20 : authority[i]);
    out->host[host] = '\0';
    if (host > 1 && out->host[host - 1] == '.') /* RFC 1034 3.1: the root, which may be left out */
        out->host[host - 1] = '\0';
    /* RFC 9110 4.2.1 and 4.2.2: the ports that may be left out. */
    out->port = out->tls ? 443 : 80;
    if (authority[host] == ':' && host + 1 < length)
        out->port = (unsigned)strtoul(authority + host + 1, NULL, 10);
    return true;
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "[::1]") == 0;
}

/* Whether the node listens on the place. `any_host`: all addresses are reached by any name. */
static bool is_listened_on(const struct place *place, const char *scheme, const char *listen,
                           bool any_host)
{
    struct place own;
    char *origin = listen[0] != '\0' ? config_origin_of(scheme, listen) : NULL;
    bool known = origin != NULL && place_of(origin, &own);
    free(origin);
    if (!known || own.tls != place->tls || (own.port != 0 && own.port != place->port))
        return false;
    bool is_wild = config_listen_is_everywhere(listen);
    return strcmp(own.host, place->host) == 0 || (is_wild && any_host) ||
           (is_loopback(place->host) && (is_wild || is_loopback(own.host)));
}

bool link_is_elsewhere(const struct config *config, const char *link)
{
    struct place place, own;
    if (!place_of(link, &place))
        return false;
    if (place_of(config->public_origin, &own) && own.tls == place.tls && own.port == place.port &&
        strcmp(own.host, place.host) == 0)
        return false;
    /* Without a public_origin nobody knows by which names clients reach the node. */
    char *standard = config_origin_default(config);
    bool any_host = standard != NULL && strcmp(standard, config->public_origin) == 0;
    free(standard);
    return !is_listened_on(&place, "http", config->listen, any_host) &&
           !is_listened_on(&place, "https", config->listen_tls, any_host);
}
