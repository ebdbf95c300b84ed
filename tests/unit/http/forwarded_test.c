/* SPDX-License-Identifier: Apache-2.0 */
/* Which client X-Forwarded-For and Forwarded (RFC 7239) name, in heads as the parser gives them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "server/http/forwarded.h"

#define PROXY "10.0.0.1" /* the trusted proxy that sends the head */

static enum forwarded_status status_of(enum forwarded_field field, const char *fields,
                                       char name[CLIENT_ADDRESS_TEXT])
{
    char text[8192];
    struct http_head head;
    enum refusal refusal;
    struct client_prefix trusted[2];
    struct client_address client;
    const char *bad;
    int length = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    cr_assert_eq(http_head_parse(text, (size_t)length, &head, &refusal), HTTP_HEAD_COMPLETE, "%s",
                 fields);
    cr_assert_eq(client_prefixes_read("10.0.0.0/8 2001:db8:a::/48", trusted, 2, &bad), 2);
    cr_assert(client_address_read(PROXY, strlen(PROXY), &client));
    enum forwarded_status status = forwarded_read(field, &head, trusted, 2, &client);
    client_address_write(&client, name);
    return status;
}

struct expected {
    const char *fields;
    enum forwarded_status status;
    const char *client;
};

static void expect(enum forwarded_field field, const struct expected *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[CLIENT_ADDRESS_TEXT];
        cr_assert_eq(status_of(field, cases[i].fields, name), cases[i].status, "%s",
                     cases[i].fields);
        cr_assert_str_eq(name, cases[i].client, "%s in place of %s: %s", name, cases[i].client,
                         cases[i].fields);
    }
}
#define EXPECT(field, cases) expect(field, cases, sizeof(cases) / sizeof(cases[0]))

Test(forwarded, x_forwarded_for_names_the_rightmost_that_is_no_proxy)
{
    static const struct expected cases[] = {
        {"X-Forwarded-For: 192.0.2.1\r\n", FORWARDED_NAMED, "192.0.2.1"},
        {"x-forwarded-for:192.0.2.1:4711\r\n", FORWARDED_NAMED, "192.0.2.1:4711"},
        {"X-Forwarded-For: 2001:db8::1\r\n", FORWARDED_NAMED, "2001:db8::1"},
        {"X-Forwarded-For: [2001:db8::1]:4711\r\n", FORWARDED_NAMED, "[2001:db8::1]:4711"},
        {"X-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n", FORWARDED_NAMED, "192.0.2.1"},
        {"X-Forwarded-For: 198.51.100.9,192.0.2.1,10.0.0.3 , 2001:db8:a::7\r\n", FORWARDED_NAMED,
         "192.0.2.1"},
        {"X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: "
         "10.0.0.2\r\n",
         FORWARDED_NAMED, "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For:\r\nX-Forwarded-For: ,, ,\t\r\n",
         FORWARDED_NAMED, "192.0.2.1"},
        {"X-Forwarded-For: \"<no address>, 192.0.2.1\r\n", FORWARDED_NAMED, "192.0.2.1"},
        {"X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", FORWARDED_NAMED, "10.0.0.3"}, /* trusted */
        {"", FORWARDED_ABSENT, PROXY},
        {"X-Forwarded-For:\r\nX-Forwarded: 192.0.2.1\r\n", FORWARDED_ABSENT, PROXY},
        {"Forwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n", FORWARDED_ABSENT, PROXY},
        {"X-Forwarded-For: 192.0.2.1, unknown\r\n", FORWARDED_HIDDEN, PROXY},
        {"X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.2\r\n", FORWARDED_HIDDEN, "10.0.0.2"},
        {"X-Forwarded-For: 192.0.2.1, client.example\r\n", FORWARDED_WRONG, PROXY},
        {"X-Forwarded-For: 192.0.2.1, 192.0.2.300, 10.0.0.2\r\n", FORWARDED_WRONG, "10.0.0.2"},
        {"X-Forwarded-For: 192.0.2.1 192.0.2.2\r\n", FORWARDED_WRONG, PROXY},
    };
    EXPECT(FORWARDED_X_FORWARDED_FOR, cases);
}

Test(forwarded, field_of_rfc_7239_names_the_rightmost_that_is_no_proxy)
{
    static const struct expected cases[] = {
        {"Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43\r\n", FORWARDED_NAMED, "192.0.2.60"},
        {"Forwarded: For=\"[2001:db8:cafe::17]:4711\"\r\n", FORWARDED_NAMED,
         "[2001:db8:cafe::17]:4711"},
        {"Forwarded: for=\"[2001:db8::1]\"\r\n", FORWARDED_NAMED, "2001:db8::1"},
        {"Forwarded: for=\"192.0.2.43:47011\"\r\n", FORWARDED_NAMED, "192.0.2.43:47011"},
        {"Forwarded: for=\"192.0.2.43:_port\"\r\n", FORWARDED_NAMED, "192.0.2.43"},
        {"Forwarded: for=\"\\1\\92.0.2.43\"\r\n", FORWARDED_NAMED, "192.0.2.43"},
        {"Forwarded: for=192.0.2.43:80\r\n", FORWARDED_NAMED,
         "192.0.2.43:80"}, /* wrong without quotes, but common */
        {"Forwarded: for=[2001:db8::1]; proto=https\r\n", FORWARDED_NAMED, "2001:db8::1"},
        {"Forwarded: for=198.51.100.9, for=192.0.2.43;by=\"a,b;for=1.1.1.1\"\r\n", FORWARDED_NAMED,
         "192.0.2.43"},
        {"Forwarded: for=198.51.100.9, for=192.0.2.43\r\nForwarded: for=10.0.0.7;by=10.0.0.1\r\n",
         FORWARDED_NAMED, "192.0.2.43"},
        {"Forwarded: by=_a;;for=192.0.2.43;\r\n", FORWARDED_NAMED, "192.0.2.43"},
        /* The client's own part leaves quotes open, or closes quotes that were not open. */
        {"Forwarded: for=\", for=192.0.2.43\r\n", FORWARDED_NAMED, "192.0.2.43"},
        {"Forwarded: for=\"\\, for=\"192.0.2.43:1\"\r\n", FORWARDED_NAMED, "192.0.2.43:1"},
        {"Forwarded: \"\r\nForwarded: for=192.0.2.43;host=\"a\\\",for=1.1.1.1,\\\"b\"\r\n",
         FORWARDED_NAMED, "192.0.2.43"},
        {"X-Forwarded-For: 192.0.2.1\r\n", FORWARDED_ABSENT, PROXY},
        {"Forwarded: for=192.0.2.1, for=unknown\r\n", FORWARDED_HIDDEN, PROXY},
        {"Forwarded: for=192.0.2.1, for=Unknown, for=10.0.0.9\r\n", FORWARDED_HIDDEN, "10.0.0.9"},
        {"Forwarded: for=_hidden\r\n", FORWARDED_HIDDEN, PROXY},
        {"Forwarded: for=\"_gazonk:443\"\r\n", FORWARDED_HIDDEN, PROXY},
        {"Forwarded: for=192.0.2.1, proto=https\r\n", FORWARDED_HIDDEN, PROXY},
        {"Forwarded: for=\"_gaz/onk\"\r\n", FORWARDED_WRONG, PROXY},
        {"Forwarded: for=_\r\n", FORWARDED_WRONG, PROXY},
        {"Forwarded: for=\r\n", FORWARDED_WRONG, PROXY},
        {"Forwarded: 192.0.2.1\r\n", FORWARDED_WRONG, PROXY},
        {"Forwarded: for=192.0.2.1;for=192.0.2.2\r\n", FORWARDED_WRONG, PROXY},
        {"Forwarded: for =192.0.2.1\r\n", FORWARDED_HIDDEN, PROXY}, /* a parameter called "for " */
        {"Forwarded: for=\"192.0.2.1\"x\r\n", FORWARDED_WRONG, PROXY},
        {"Forwarded: for=\"192.0.2.1\r\n", FORWARDED_WRONG, PROXY},
    };
    EXPECT(FORWARDED_FORWARDED, cases);
}

Test(forwarded, lists_are_walked_so_far_and_no_further)
{
    for (unsigned proxies = FORWARDED_HOPS_MAX - 1; proxies <= FORWARDED_HOPS_MAX; proxies++) {
        char fields[2048], name[CLIENT_ADDRESS_TEXT];
        size_t length = (size_t)sprintf(fields, "X-Forwarded-For: 192.0.2.1");
        for (unsigned i = 0; i < proxies; i++)
            length += (size_t)sprintf(fields + length, ", 10.0.1.%u", i);
        (void)sprintf(fields + length, "\r\n");
        cr_assert_eq(status_of(FORWARDED_X_FORWARDED_FOR, fields, name),
                     proxies < FORWARDED_HOPS_MAX ? FORWARDED_NAMED : FORWARDED_WRONG);
        cr_assert_str_eq(name, proxies < FORWARDED_HOPS_MAX ? "192.0.2.1" : "10.0.1.0");
    }
}
