/* SPDX-License-Identifier: Apache-2.0 */
/* Client addresses: their text, and the prefixes that hold them. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "server/base/client_address.h"

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
