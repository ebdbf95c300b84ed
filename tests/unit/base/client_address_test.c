/* Client addresses: their text, prefixes, the PROXY protocol's header, and the table that counts
 * each address's connections. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/grant/address_table.h"
#include "server/http/proxy_header.h"

static struct client_address address_of(const char *text)
{
    struct client_address address = {.port = 4711};
    if (strchr(text, ':') != NULL) {
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
    address.port = 0; /* 0: not known */
    client_address_write(&address, text);
    cr_assert_str_eq(text, "2001:db8::1");
}

Test(client_address, is_read_as_proxies_write_it)
{
    static const struct {
        const char *text, *read; /* read: NULL where the text is not an address */
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1:4711", "192.0.2.1:4711"},
        {"2001:db8::1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:DB8::1]:65535", "[2001:db8::1]:65535"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:+80", NULL},
        {"192.0.2.01", NULL},
        {"192.0.2", NULL},
        {"[192.0.2.1]", NULL},
        {"[2001:db8::1", NULL},
        {"[2001:db8::1]80", NULL},
        {"[]", NULL},
        {"2001:db8::1]:80", NULL},
        {"fe80::1%eth0", NULL},
        {"client.example", NULL},
        {" 192.0.2.1", NULL},
        {"", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CLIENT_ADDRESS_TEXT];
        struct client_address address;
        bool read = client_address_read(cases[i].text, strlen(cases[i].text), &address);
        cr_assert_eq(read, cases[i].read != NULL, "%s", cases[i].text);
        if (!read)
            continue;
        client_address_write(&address, text);
        cr_assert_str_eq(text, cases[i].read);
    }
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
    for (size_t length = 0; length < 31; length++) /* at every cut */
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
    /* PROXY protocol 2.2: the address of a Unix socket or of an unknown family is skipped. */
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
        {SIGNATURE "\x11\x11\x00\x0c", 16},     {SIGNATURE "\x22\x11\x00\x0c", 16},
        {SIGNATURE "\x21\x11\xff\xff", 16},     {SIGNATURE "\x21\x11\x00\x04zzzz", 20},
        {SIGNATURE "\x21\x21\x00\x04zzzz", 20},
    };
    struct client_address client;
    size_t used;
    bool named;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(proxy_header_read(wrong[i].bytes, wrong[i].length, &used, &client, &named),
                     PROXY_HEADER_WRONG, "%zu", i);
    static const char *const absent[] = {"GET / HTTP/1.1\r\n", "\x0d\x0a\x0d\x0b", "PROXIES",
                                         "proxy TCP4", "\x16\x03\x01"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        cr_assert_eq(proxy_header_read(absent[i], strlen(absent[i]), &used, &client, &named),
                     PROXY_HEADER_ABSENT, "%s", absent[i]);
}

static enum proxy_header_status read_text(const char *text, char name[CLIENT_ADDRESS_TEXT])
{
    struct client_address client = {0};
    size_t used = 0, length = strlen(text);
    bool named;
    enum proxy_header_status status = proxy_header_read(text, length, &used, &client, &named);
    strcpy(name, "");
    if (status != PROXY_HEADER_COMPLETE)
        return status;
    cr_assert_eq(used, strstr(text, "\r\n") + 2 - text, "%s", text);
    if (named)
        client_address_write(&client, name);
    return status;
}

Test(proxy_header, of_version_1_names_the_client)
{
    static const struct {
        const char *line, *client;
    } cases[] = {
        {"PROXY TCP4 192.0.2.1 203.0.113.9 4711 80\r\nGET", "192.0.2.1:4711"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"},
        {"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n\x16\x03", "[2001:db8::1]:4711"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"PROXY UNKNOWN\r\n", ""},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", /* 107 bytes: the longest */
         ""},
        {"PROXY UNKNOWN whatever it says\r\n", ""},
    };
    char name[CLIENT_ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_eq(read_text(cases[i].line, name), PROXY_HEADER_COMPLETE, "%s", cases[i].line);
        cr_assert_str_eq(name, cases[i].client);
        for (size_t length = 0;
             length < (size_t)(strstr(cases[i].line, "\r\n") + 2 - cases[i].line);
             length++) { /* at every cut */
            struct client_address client;
            size_t used;
            bool named;
            cr_assert_eq(proxy_header_read(cases[i].line, length, &used, &client, &named),
                         PROXY_HEADER_PARTIAL, "%zu of %s", length, cases[i].line);
        }
    }
}

Test(proxy_header, of_version_1_is_read_strictly)
{
    static const char *const wrong[] = {
        "PROXY TCP4 192.0.2.1 203.0.113.9 4711\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 4711 80 \r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 4711 80 x\r\n",
        "PROXY TCP4  192.0.2.1 203.0.113.9 4711 80\r\n",
        "PROXY TCP4 192.0.2.1\t203.0.113.9 4711 80\r\n",
        "PROXY TCP4 192.0.2.01 203.0.113.9 4711 80\r\n",
        "PROXY TCP4 192.0.2.256 203.0.113.9 4711 80\r\n",
        "PROXY TCP4 192.0.2 203.0.113.9 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 nobody 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 65536 80\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 04711 80\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 -1 80\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 4711 \r\n",
        "PROXY TCP4 2001:db8::1 ::1 4711 80\r\n",
        "PROXY TCP4 192.0.2.1:5 203.0.113.9 4711 80\r\n",
        "PROXY TCP6 192.0.2.1 203.0.113.9 4711 80\r\n",
        "PROXY TCP6 [2001:db8::1] ::1 4711 80\r\n",
        "PROXY TCP6 2001:db8::1%eth0 ::1 4711 80\r\n",
        "PROXY TCP5 192.0.2.1 203.0.113.9 4711 80\r\n",
        "PROXY tcp4 192.0.2.1 203.0.113.9 4711 80\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 4711 80\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9\r4711 80\r\n",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n", /* 108 bytes: too long */
    };
    char name[CLIENT_ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(read_text(wrong[i], name), PROXY_HEADER_WRONG, "%s", wrong[i]);
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
