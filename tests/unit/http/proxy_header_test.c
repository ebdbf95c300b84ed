/* SPDX-License-Identifier: Apache-2.0 */
/* The header of the PROXY protocol, versions 1 and 2: whom it names, and what is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "server/http/proxy_header.h"

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
