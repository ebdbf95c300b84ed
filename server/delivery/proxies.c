/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks peers up among the prefixes of trusted proxies, and remembers which faults of theirs the
 * log has named lately. It reads no socket. See proxies.h.
 */
#include "server/delivery/proxies.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/http/proxy_header.h"

struct list {
    struct client_prefix prefixes[CONFIG_PROXIES_MAX];
    unsigned count;
};

struct said {
    unsigned char ip[16];
    uint64_t at_ms; /* 0: none */
    enum proxies_fault fault;
};

struct proxies {
    struct list begin, forward; /* immutable, as is `field` */
    enum forwarded_field field;
    pthread_mutex_t mutex; /* of `said` */
    struct said said[PROXIES_SAID_MAX];
};

static int read_list(struct list *list, const char *text)
{
    const char *bad;
    int count = client_prefixes_read(text, list->prefixes, CONFIG_PROXIES_MAX, &bad);
    list->count = count > 0 ? (unsigned)count : 0;
    return count < 0 ? count : 0;
}

int proxies_create(struct proxies **out, const struct config *config)
{
    struct proxies *proxies = calloc(1, sizeof(*proxies));
    *out = NULL;
    if (proxies == NULL)
        return -ENOMEM;
    int status = read_list(&proxies->begin, config->proxy_protocol_from);
    if (status == 0)
        status = read_list(&proxies->forward, config->forwarded_from);
    if (status == 0 && !forwarded_field_parse(config->forwarded_field, &proxies->field))
        status = -EINVAL;
    if (status < 0) {
        free(proxies);
        return status;
    }
    pthread_mutex_init(&proxies->mutex, NULL);
    *out = proxies;
    return 0;
}

void proxies_destroy(struct proxies **proxies)
{
    if (*proxies == NULL)
        return;
    pthread_mutex_destroy(&(*proxies)->mutex);
    free(*proxies);
    *proxies = NULL;
}

bool proxies_begin(const struct proxies *proxies, const struct client_address *peer)
{
    return client_prefixes_hold(proxies->begin.prefixes, proxies->begin.count, peer);
}

bool proxies_forward(const struct proxies *proxies, const struct client_address *peer)
{
    return client_prefixes_hold(proxies->forward.prefixes, proxies->forward.count, peer);
}

enum forwarded_status proxies_read(const struct proxies *proxies, const struct http_head *head,
                                   struct client_address *client)
{
    return forwarded_read(proxies->field, head, proxies->forward.prefixes, proxies->forward.count,
                          client);
}

static enum forwarded_field other_of(enum forwarded_field field)
{
    return field == FORWARDED_FORWARDED ? FORWARDED_X_FORWARDED_FOR : FORWARDED_FORWARDED;
}

bool proxies_has_other(const struct proxies *proxies, const struct http_head *head)
{
    return forwarded_is_sent(other_of(proxies->field), head);
}

/* ---- saying ---- */

/* Whether the log has not named this fault of the proxy within PROXIES_SAY_MS; remembers it from
 * now on. */
static bool is_news(struct proxies *proxies, enum proxies_fault fault,
                    const struct client_address *proxy)
{
    uint64_t now = clock_coarse_ms();
    bool known = false;
    pthread_mutex_lock(&proxies->mutex);
    struct said *said = &proxies->said[0];
    for (unsigned i = 0; i < PROXIES_SAID_MAX && !known; i++) {
        struct said *at = &proxies->said[i];
        known =
            at->at_ms != 0 && at->fault == fault && memcmp(at->ip, proxy->ip, sizeof(at->ip)) == 0;
        if (known || at->at_ms < said->at_ms)
            said = at;
    }
    bool news = !known || now - said->at_ms >= PROXIES_SAY_MS;
    if (news) {
        memcpy(said->ip, proxy->ip, sizeof(said->ip));
        said->fault = fault;
        said->at_ms = now;
    }
    pthread_mutex_unlock(&proxies->mutex);
    return news;
}

#define SEND_HEADER                                                                                \
    "have it send one (HAProxy: send-proxy-v2; nginx: proxy_protocol on), or take it out of "      \
    "proxy_protocol_from; a proxy that sends X-Forwarded-For or Forwarded belongs in "             \
    "forwarded_from"

void proxies_say(struct proxies *proxies, enum proxies_fault fault,
                 const struct client_address *proxy)
{
    char name[CLIENT_ADDRESS_TEXT];
    struct client_address address = *proxy;
    if (!is_news(proxies, fault, proxy))
        return;
    address.port = 0;
    client_address_write(&address, name);
    const char *field = forwarded_field_name(proxies->field);
    const char *other = forwarded_field_name(other_of(proxies->field));
    switch (fault) {
    case PROXIES_NO_HEADER:
        log_warning("proxy %s: refused a connection that began without a PROXY protocol header, "
                    "which proxy_protocol_from demands; " SEND_HEADER,
                    name);
        break;
    case PROXIES_WRONG_HEADER:
        log_warning(
            "proxy %s: refused a connection whose PROXY protocol header is malformed "
            "(version 1 has 107 bytes at most, version 2 %d after the fixed ones); " SEND_HEADER,
            name, PROXY_HEADER_MAX);
        break;
    case PROXIES_LATE_HEADER:
        log_warning("proxy %s: ended a connection whose PROXY protocol header did not arrive whole "
                    "within head_timeout_ms; " SEND_HEADER,
                    name);
        break;
    case PROXIES_NO_FIELD:
        log_warning("proxy %s: a request came without %s, which forwarded_from demands, so the "
                    "proxy counts as the client; have it send the field (nginx: proxy_set_header "
                    "X-Forwarded-For $proxy_add_x_forwarded_for; HAProxy: option forwardfor), or "
                    "take it out of forwarded_from",
                    name, field);
        break;
    case PROXIES_OTHER_FIELD:
        log_warning("proxy %s: a request came without %s, which forwarded_from demands, so the "
                    "proxy counts as the client; the request has %s: where the proxy writes that, "
                    "and does not merely pass it on, set forwarded_field: %s",
                    name, field, other, other);
        break;
    case PROXIES_WRONG_FIELD:
        log_warning(
            "proxy %s: what it wrote in %s is not an address, so the proxy counts as the client; "
            "have it write 192.0.2.1 or [2001:db8::1], with or without a port",
            name, field);
        break;
    }
}
