/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the client of a connection, and of each request where a proxy forwards the requests of many
 * clients on one connection: the socket's peer, the client in a trusted proxy's header, or the one
 * in a field of the head. Called by connection*.c and request*.c. Only this file enters and leaves
 * the table that counts against the bound of an address.
 */
#include <errno.h>

#include "server/delivery/connection.h"
#include "server/delivery/proxies.h"
#include "server/grant/address_table.h"
#include "server/http/proxy_header.h"

/* A trusted proxy is not counted itself: the clients that it speaks for are. */
static bool is_proxy(const struct node *node, const struct client_address *peer)
{
    return proxies_begin(node->proxies, peer) || proxies_forward(node->proxies, peer);
}

int connection_client_of(const struct node *node, int fd, struct client_address *client)
{
    int status = client_address_of(fd, client);
    if (status != 0)
        return status;
    return node->addresses == NULL || is_proxy(node, client) ||
                   address_table_enter(node->addresses, client)
               ? 0
               : -EDQUOT;
}

void connection_client_begin(const struct node *node, struct connection *connection,
                             const struct client_address *client)
{
    connection->peer = connection->client = *client;
    connection->expects_proxy = proxies_begin(node->proxies, client);
    connection->forwards = proxies_forward(node->proxies, client);
    connection->counted =
        node->addresses != NULL && !connection->expects_proxy && !connection->forwards;
}

/* Counts the client. True where its address may have one more, or no bound is configured. */
static bool enter(const struct node *node, struct connection *connection)
{
    connection->counted =
        node->addresses != NULL && address_table_enter(node->addresses, &connection->client);
    return node->addresses == NULL || connection->counted;
}

static void leave(const struct node *node, struct connection *connection)
{
    if (connection->counted)
        address_table_leave(node->addresses, &connection->client);
    connection->counted = false;
}

enum refusal connection_client_header(const struct node *node, struct connection *connection,
                                      const char *data, size_t length, size_t *used)
{
    bool named;
    struct client_address client;
    switch (proxy_header_read(data, length, used, &client, &named)) {
    case PROXY_HEADER_PARTIAL:
        *used = 0;
        return REFUSAL_NONE;
    case PROXY_HEADER_ABSENT:
        proxies_say(node->proxies, PROXIES_NO_HEADER, &connection->peer);
        return REFUSAL_PROXY_HEADER_MISSING;
    case PROXY_HEADER_WRONG:
        proxies_say(node->proxies, PROXIES_WRONG_HEADER, &connection->peer);
        return REFUSAL_PROXY_HEADER_MISSING;
    case PROXY_HEADER_COMPLETE:
        break;
    }
    connection->expects_proxy = false;
    if (!named) /* the proxy's own connection: a health check */
        return REFUSAL_NONE;
    connection->peer = connection->client = client;
    connection->introduced = true;
    connection->forwards = proxies_forward(node->proxies, &client);
    if (connection->forwards || enter(node, connection))
        return REFUSAL_NONE;
    return REFUSAL_ADDRESS_EXHAUSTED;
}

void connection_client_late(const struct node *node, const struct connection *connection)
{
    proxies_say(node->proxies, PROXIES_LATE_HEADER, &connection->peer);
}

bool connection_client_request(const struct node *node, struct connection *connection,
                               const struct http_head *head)
{
    if (!connection->forwards)
        return true;
    connection->client = connection->peer;
    switch (proxies_read(node->proxies, head, &connection->client)) {
    case FORWARDED_NAMED:
        return enter(node, connection);
    case FORWARDED_ABSENT:
        proxies_say(node->proxies,
                    proxies_has_other(node->proxies, head) ? PROXIES_OTHER_FIELD : PROXIES_NO_FIELD,
                    &connection->client);
        break;
    case FORWARDED_WRONG:
        proxies_say(node->proxies, PROXIES_WRONG_FIELD, &connection->client);
        break;
    case FORWARDED_HIDDEN: /* RFC 7239 6.2, 6.3: a proxy may hide its client */
        break;
    }
    return true;
}

const struct client_address *connection_client_asker(const struct node *node,
                                                     const struct connection *connection)
{
    bool has_none = connection->inquiry != NULL || is_proxy(node, &connection->client);
    return has_none ? NULL : &connection->client;
}

void connection_client_release(const struct node *node, struct connection *connection)
{
    if (!connection->forwards)
        return;
    leave(node, connection);
    connection->client = connection->peer;
}

void connection_client_end(const struct node *node, struct connection *connection)
{
    leave(node, connection);
}
