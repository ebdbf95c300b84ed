/*
 * Which proxies are trusted to speak for their clients, and how they do: by a PROXY protocol header
 * before each connection, or by a field of each request. Made of the configuration, shared by the
 * workers. It also says of each proxy what it does not send, with the cure.
 */
#ifndef TOLLGATE_SERVER_DELIVERY_PROXIES_H
#define TOLLGATE_SERVER_DELIVERY_PROXIES_H

#include "server/config/config.h"
#include "server/http/forwarded.h"

struct proxies;

/* 0, -ENOMEM, or what client_prefixes_read returns, which config_check has asked before. */
int proxies_create(struct proxies **out, const struct config *config);
void proxies_destroy(struct proxies **proxies);

/* proxy_protocol_from holds it: its connections begin with a header. */
bool proxies_begin(const struct proxies *proxies, const struct client_address *peer);
/* forwarded_from holds it: its requests name their clients. */
bool proxies_forward(const struct proxies *proxies, const struct client_address *peer);

/* forwarded_read of a head that came from *client. */
enum forwarded_status proxies_read(const struct proxies *proxies, const struct http_head *head,
                                   struct client_address *client);
/* Whether the head has a line of the other field. */
bool proxies_has_other(const struct proxies *proxies, const struct http_head *head);

enum proxies_fault {
    PROXIES_NO_HEADER,    /* the connection began with something else */
    PROXIES_WRONG_HEADER, /* or with a header that cannot be */
    PROXIES_LATE_HEADER,  /* or with part of one, and no more came in time */
    PROXIES_NO_FIELD,     /* the request has no such field */
    PROXIES_OTHER_FIELD,  /* but the other one */
    PROXIES_WRONG_FIELD,  /* or nothing in it that is an address */
};
#define PROXIES_SAID_MAX 64 /* that are remembered; past them the one said the longest ago goes */
#define PROXIES_SAY_MS   600000 /* between two lines about the same */
/* Names the proxy and the cure in the log. From any thread. */
void proxies_say(struct proxies *proxies, enum proxies_fault fault,
                 const struct client_address *proxy);

#endif
