/*
 * How many connections each address has on this node, against a bound. Shared by the workers, under
 * one lock that is taken at an accept and at an end; made only where the configuration has a bound.
 */
#ifndef TOLLGATE_SERVER_ADDRESS_TABLE_H
#define TOLLGATE_SERVER_ADDRESS_TABLE_H

#include "server/base/client_address.h"

struct address_table;

/* Room for `connections_max` connections of as many addresses, `most` of one. 0, -ENOMEM or -EIO. */
int address_table_create(struct address_table **out, uint32_t connections_max, uint32_t most);
void address_table_destroy(struct address_table **table);

/*
 * False where the address has as many as it may, or the table is full. An IPv6 client counts by its
 * /64, which is what one subscriber is given.
 */
bool address_table_enter(struct address_table *table, const struct client_address *address);
void address_table_leave(struct address_table *table, const struct client_address *address);

#endif
