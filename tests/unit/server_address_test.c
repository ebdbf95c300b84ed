/* Client addresses: text, prefixes, the PROXY protocol's header, and how many connections each has. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/address_table.h"
#include "server/proxy_header.h"

static struct client_address address_of(const char *text)
{
    struct client_address address = {.port = 4711};
    if (strchr(text, ':')) {
        cr_assert_eq(inet_pton(AF_INET6, text, address.ip), 1);
        return address;
    }
    address.ip[10] = address.ip[11] = 0xff;
    cr_assert_eq(inet_pton(AF_INET, text, address.ip + 12), 1);
    return address;
}

Test(client_address, is_written_as_people_write_it)
{
    char text[CLIENT_ADDRESS_TEXT];
    struct client_address address = address_of("192.0.2.1");
    client_address_write(&address, text);
    cr_assert_str_eq(text, "192.0.2.1:4711");
    address = address_of("2001:db8::1");
    client_address_write(&address, text);
    cr_assert_str_eq(text, "[2001:db8::1]:4711");
}

Test(client_address, prefixes_hold_what_is_beneath_them)
{
    static const struct {
        const char *prefix, *address;
        bool holds;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.129", true},
        {"192.0.2.128/25", "192.0.2.1", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "192.0.2.1", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client_prefix prefix;
        const char *bad;
        struct client_address address = address_of(cases[i].address);
        cr_assert_eq(client_prefixes_read(cases[i].prefix, &prefix, 1, &bad), 1, "%s",
                     cases[i].prefix);
        cr_assert_eq(client_prefix_holds(&prefix, &address), cases[i].holds, "%s %s",
                     cases[i].prefix, cases[i].address);
    }
}

Test(client_address, prefixes_that_are_none_are_pointed_at)
{
    static const char *const wrong[] = {"10.0.0.0/33", "10.0.0/8", "::/129",     "x",
                                        "10.0.0.1/",   "::1/-1",   "10.0.0.1/1x"};
    struct client_prefix prefixes[2];
    const char *bad;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(client_prefixes_read(wrong[i], prefixes, 2, &bad), -EINVAL, "%s", wrong[i]);
    const char *list = " 10.0.0.0/8, ::1  nonsense";
    cr_assert_eq(client_prefixes_read(list, prefixes, 2, &bad), -E2BIG);
    struct client_prefix three[3];
    cr_assert_eq(client_prefixes_read(list, three, 3, &bad), -EINVAL);
    cr_assert_str_eq(bad, "nonsense");
    cr_assert_eq(client_prefixes_read("", prefixes, 2, &bad), 0);
}

/* ---- PROXY ---- */

#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"

Test(proxy_header, names_the_client_of_both_versions)
{
    static const char v4[] =
        SIGNATURE "\x21\x11\x00\x0f\xc0\x00\x02\x01\xcb\x00\x71\x09\x12\x67\x00\x50"
                  "\x04\x00\x00"
                  "GET";
    struct client_address client;
    char text[CLIENT_ADDRESS_TEXT];
    size_t used;
    bool named;
    for (size_t length = 0; length < 31; length++) /* however it is cut */
        cr_assert_eq(proxy_header_read(v4, length, &used, &client, &named), PROXY_HEADER_PARTIAL,
                     "%zu", length);
    cr_assert_eq(proxy_header_read(v4, sizeof(v4) - 1, &used, &client, &named),
                 PROXY_HEADER_COMPLETE);
    cr_assert(named && used == 31);
    client_address_write(&client, text);
    cr_assert_str_eq(text, "192.0.2.1:4711");

    unsigned char v6[16 + 36] = {0};
    memcpy(v6, SIGNATURE "\x21\x21\x00\x24\x20\x01\x0d\xb8", 20);
    v6[16 + 15] = 1;
    v6[16 + 33] = 80;
    cr_assert_eq(proxy_header_read(v6, sizeof(v6), &used, &client, &named), PROXY_HEADER_COMPLETE);
    client_address_write(&client, text);
    cr_assert_str_eq(text, "[2001:db8::1]:80");
}

Test(proxy_header, of_a_proxys_own_connection_names_nobody)
{
    struct client_address client;
    size_t used;
    bool named;
    cr_assert_eq(proxy_header_read(SIGNATURE "\x20\x00\x00\x00", 16, &used, &client, &named),
                 PROXY_HEADER_COMPLETE);
    cr_assert(!named && used == 16);
    /* A Unix socket's, or one of a family to come: skipped (2.2). */
    cr_assert_eq(proxy_header_read(SIGNATURE "\x21\x31\x00\x02zz", 18, &used, &client, &named),
                 PROXY_HEADER_COMPLETE);
    cr_assert(!named && used == 18);
}

Test(proxy_header, that_cannot_be_is_wrong)
{
    static const struct {
        const char *bytes;
        size_t length;
    } wrong[] = {
        {"GET / HTTP/1.1\r\n", 16},
        {"PROXY TCP4 192.0.2.1", 20},
        {"\x0d\x0a\x0d\x0b", 4},
        {SIGNATURE "\x11\x11\x00\x0c", 16},
        {SIGNATURE "\x22\x11\x00\x0c", 16},
        {SIGNATURE "\x21\x11\xff\xff", 16},
        {SIGNATURE "\x21\x11\x00\x04zzzz", 20},
        {SIGNATURE "\x21\x21\x00\x04zzzz", 20},
    };
    struct client_address client;
    size_t used;
    bool named;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(proxy_header_read(wrong[i].bytes, wrong[i].length, &used, &client, &named),
                     PROXY_HEADER_WRONG, "%zu", i);
}

/* ---- the table ---- */

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

/* Against a plain array, over many addresses that come and go in any order. */
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
