/* SPDX-License-Identifier: Apache-2.0 */
/* The table that counts each address's connections. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/grant/address_table.h"

static struct client_address address_of(const char *text)
{
    struct client_address address = {0};
    cr_assert(client_address_read(text, strlen(text), &address), "%s", text);
    return address;
}

Test(address_table, holds_each_address_to_its_bound)
{
    struct address_table *table;
    struct client_address one = address_of("192.0.2.1"), other = address_of("192.0.2.2");
    cr_assert_eq(address_table_create(&table, 100, 2), 0);
    cr_assert(address_table_enter(table, &one));
    cr_assert(address_table_enter(table, &one));
    cr_assert_not(address_table_enter(table, &one));
    cr_assert(address_table_enter(table, &other));
    address_table_leave(table, &one);
    cr_assert(address_table_enter(table, &one));
    address_table_destroy(&table);
}

Test(address_table, takes_a_subscribers_64_bits_as_one)
{
    struct address_table *table;
    struct client_address one = address_of("2001:db8:1:2::1"), same = address_of("2001:db8:1:2::2"),
                          other = address_of("2001:db8:1:3::1");
    cr_assert_eq(address_table_create(&table, 100, 1), 0);
    cr_assert(address_table_enter(table, &one));
    cr_assert_not(address_table_enter(table, &same));
    cr_assert(address_table_enter(table, &other));
    address_table_destroy(&table);
}

/* The table is compared with a plain array while many addresses come and go in random order. */
Test(address_table, counts_as_an_array_would)
{
    enum { ADDRESSES = 300, MOST = 3, ROOM = 200 };
    unsigned counts[ADDRESSES] = {0}, used = 0;
    struct address_table *table;
    cr_assert_eq(address_table_create(&table, ROOM, MOST), 0);
    srand(1);
    for (unsigned step = 0; step < 200000; step++) {
        unsigned which = (unsigned)rand() % ADDRESSES;
        struct client_address address = {.ip = {[10] = 0xff, [11] = 0xff}};
        address.ip[14] = (unsigned char)(which >> 8);
        address.ip[15] = (unsigned char)which;
        if (rand() % 2 == 0) {
            bool room = counts[which] > 0 ? counts[which] < MOST : used < ROOM;
            cr_assert_eq(address_table_enter(table, &address), room, "step %u", step);
            used += room && counts[which] == 0;
            counts[which] += room;
        } else if (counts[which] > 0) {
            address_table_leave(table, &address);
            used -= --counts[which] == 0;
        }
    }
    address_table_destroy(&table);
}

/* A table without free slots would look for one for ever. */
Test(address_table, full_of_addresses_refuses_another_one, .timeout = 10)
{
    struct address_table *table;
    cr_assert_eq(address_table_create(&table, 16, 1), 0);
    for (unsigned i = 0; i <= 16; i++) {
        struct client_address address = {.ip = {[10] = 0xff, [11] = 0xff, [15] = (unsigned char)i}};
        cr_expect_eq(address_table_enter(table, &address), i < 16, "%u", i);
    }
    address_table_destroy(&table);
}
