/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the connections of each client address on this node, and holds them to a bound. The
 * workers share it, under one lock that is taken when a connection begins and when it ends. It
 * exists only where the configuration has a bound (connections_per_address_max).
 */
#ifndef TOLLGATE_SERVER_GRANT_ADDRESS_TABLE_H
#define TOLLGATE_SERVER_GRANT_ADDRESS_TABLE_H

#include "server/base/client_address.h"

struct address_table;

/* Makes room for `connections_max` connections, `most` of them from one address. 0, -ENOMEM, or
 * -EIO without randomness. */
int address_table_create(struct address_table **out, uint32_t connections_max, uint32_t most);
void address_table_destroy(struct address_table **table);

/*
 * Counts one more connection of the address. False, and nothing is counted, where it has as many as
 * it may or the table is full. An IPv6 client counts by its /64, which one subscriber is given.
 */
bool address_table_enter(struct address_table *table, const struct client_address *address);
/* Undoes one address_table_enter that returned true. */
void address_table_leave(struct address_table *table, const struct client_address *address);

#endif
