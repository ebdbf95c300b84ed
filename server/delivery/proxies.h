/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which proxies are trusted to name their clients, and how each names them: by a PROXY protocol
 * header before each connection, or by a field of each request. The node makes it from the
 * configuration and the workers share it. It also logs, with the cure, what a proxy should send and
 * does not.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_PROXIES_H
#define TOLLGATE_SERVER_DELIVERY_PROXIES_H

#include "server/config/config.h"
#include "server/http/forwarded.h"

struct proxies;

/* Returns 0, -ENOMEM, or an error of client_prefixes_read, which config_validate has ruled out. */
int proxies_create(struct proxies **out, const struct config *config);
void proxies_destroy(struct proxies **proxies);

/* Whether proxy_protocol_from lists the peer: its connections begin with a PROXY header. */
bool proxies_begin(const struct proxies *proxies, const struct client_address *peer);
/* Whether forwarded_from lists the peer: a field of its requests names the client. */
bool proxies_forward(const struct proxies *proxies, const struct client_address *peer);

/* Calls forwarded_read on a head that came from the proxy *client; *client becomes the client that
 * the head names. */
enum forwarded_status proxies_read(const struct proxies *proxies, const struct http_head *head,
                                   struct client_address *client);
/* Whether the head has the field that is not configured (Forwarded or X-Forwarded-For). */
bool proxies_has_other(const struct proxies *proxies, const struct http_head *head);

enum proxies_fault {
    PROXIES_NO_HEADER,    /* the connection began with something else */
    PROXIES_WRONG_HEADER, /* the header is not a valid one */
    PROXIES_LATE_HEADER,  /* only part of a header came in time */
    PROXIES_NO_FIELD,     /* the request lacks the configured field */
    PROXIES_OTHER_FIELD,  /* it has the other field instead */
    PROXIES_WRONG_FIELD,  /* the field holds no address */
};
#define PROXIES_SAID_MAX 64     /* lines remembered; at the bound the oldest one is forgotten */
#define PROXIES_SAY_MS   600000 /* between two lines about the same fault of a proxy */
/* Names the proxy and the cure in the log. From any thread. */
void proxies_say(struct proxies *proxies, enum proxies_fault fault,
                 const struct client_address *proxy);

#endif
