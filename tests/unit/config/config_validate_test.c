/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that can be read and cannot be used: addresses, names and media types that are none, keys
 * that do not agree with one another, and what no answer can carry.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/unit/config/fixture.h"

Test(server_config, refuses_what_no_answer_can_carry)
{
    yaml_refuse(LEAST "content_types: .mp3=audio/mpeg mp4=video/mp4\n", 8, "\"mp4=video/mp4\"",
                ".mp3=audio/mpeg");
    yaml_refuse(LEAST "content_types: .a=a/b .b=b/c .A=c/d\n", 8, "or its extension is given twice",
                ".mp3=");
    yaml_refuse(LEAST "content_types: .a=nothing\n", 8, "\".a=nothing\"", ".mp3=audio/mpeg");
    yaml_refuse(LEAST "cors_allow_headers: \"Range; X\"\n", 8, "not a list of field names",
                "Range");
    yaml_refuse(LEAST "cross_origin_resource_policy: none\n", 8, "same-origin", "same-site");
}

Test(server_config, refuses_addresses_and_names_that_are_none)
{
    static const char *const wrong[] = {
        "localhost:80",   "127.0.0.1", "127.0.0.1:65536", "::1:80", "1.2.3.4:80 x",
        "[127.0.0.1]:80", "5"};
    char text[512];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "listen: \"%s\"\n%s", wrong[i], LEAST);
        yaml_refuse(text, 1, "is not an address and port", "127.0.0.1:8080");
    }
    yaml_refuse("content_type: x\n" LEAST, 1, "\"x\" is not a media type",
                "application/octet-stream");
    yaml_refuse("node: Node_1\n" LEAST, 1, "node: \"Node_1\" is not a name", "a-z");
    yaml_refuse("log_level: loud\n" LEAST, 1, "log_level",
                "write error, warning, info, debug or trace");
    yaml_refuse("token_attribute: a=b\n" LEAST, 1, "token_attribute", "letters");
    yaml_refuse("redis: redis.example\n" LEAST, 1, "redis: \"redis.example\" is not an address",
                "unix:");
    yaml_refuse("redis: 'h:0'\n" LEAST, 1, "is not an address", "embedded");
    yaml_refuse("public_origin: https://a.example/\n" LEAST, 1, "public_origin", "last slash");
    yaml_refuse("public_origin: ftp://a.example\n" LEAST, 1, "public_origin", "write https://");
}

Test(server_config, refuses_proxies_that_are_none)
{
    yaml_refuse(LEAST "proxy_protocol_from: 10.0.0.0/33\n", 8,
                "proxy_protocol_from: \"10.0.0.0/33\"", "10.0.0.0/8");
    yaml_refuse(LEAST "forwarded_from: 10.0.0.0/8 proxy\n", 8, "forwarded_from: \"proxy\"",
                "10.0.0.5");
    yaml_refuse(LEAST "forwarded_field: X-Real-IP\n", 8, "\"X-Real-IP\"",
                "write X-Forwarded-For or Forwarded");
}

Test(server_config, refuses_keys_that_do_not_agree)
{
    yaml_refuse(LEAST "  - {id: shop, iss: b, keys: b, prefixes: [/]}\n", 8,
                "issuers[1].id: \"shop\" is already the id of issuers[0] (line 4)", "its own id");
    yaml_refuse(LEAST "  - {id: b, iss: 'https://shop.example', keys: b, prefixes: [/]}\n", 8,
                "issuers[1].iss", "its own");
    yaml_refuse(LEAST
                "  - id: b\n    iss: b\n    keys: b\n    prefixes:\n      - /a/\n      - /b\n",
                13, "\"/b\" does not start and end with a slash", "/music/");
    yaml_refuse("journal_segment_bytes: 70000\n" LEAST, 1, "not a multiple of 4096", "write 73728");
    yaml_refuse("redis_user: u\n" LEAST, 1, "redis_user", "remove it");
    yaml_refuse("redis: 'h:1'\nredis_user: u\n" LEAST, 2, "redis_user", "redis_password_file");
    yaml_refuse("redis: 'sentinel:m@h:1'\nsentinel_user: u\n" LEAST, 2, "sentinel_user",
                "sentinel_password_file");
    yaml_refuse("redis: 'h:1'\nsentinel_password_file: f\n" LEAST, 2, "sentinel_password_file",
                "remove it");
    yaml_refuse("redis: 'sentinel:h:1'\n" LEAST, 1, "redis", "sentinel:mymaster@");
    yaml_refuse("admission_timeout_ms: 5000\ngrant_validity_ms: 4000\n" LEAST, 1,
                "longer than grant_validity_ms (4000)", "shorter");
}

Test(server_config, refuses_a_state_directory_whose_sockets_would_not_bind)
{
    char text[512];
    snprintf(text, sizeof(text), "media_root: m\nstate_dir: /%0100d\n%s", 0, ISSUER);
    yaml_refuse(text, 2, "too long for the Unix sockets", "shorter path");
}

Test(server_config, gives_an_issuer_a_default_resume_within_the_longest_lifetime)
{
    struct config *config = yaml_accept(LEAST "    resume_s: 3600\n");
    cr_expect_eq(config->issuers[0].resume_s, 3600);
    config_destroy(&config);
    yaml_refuse("link_lifetime_max_s: 60\n" LEAST "    resume_s: 61\n", 9,
                "issuers[0].resume_s:", "give 60 at most");
    config = yaml_accept(LEAST "    resume_s: 1h\n");
    cr_expect_eq(config->issuers[0].resume_s, 3600);
    config_destroy(&config);
    yaml_refuse(LEAST "    resume_s: 1y\n", 8, "issuers[0].resume_s: \"1y\" is not a whole number",
                "or a duration such as 5s");
    yaml_refuse(LEAST "    resume_s: 500ms\n", 8, "\"500ms\" is not a whole number of seconds",
                "5s");
}

/* A socket on [::] takes IPv4's clients, too, so each of these pairs would share them. */
Test(server_config, refuses_two_keys_on_one_port_however_all_addresses_are_written)
{
    static const char *const all[] = {":8443", "0.0.0.0:8443", "'[::]:8443'", "'[0::0]:8443'"};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 LEAST "listen_tls: 127.0.0.1:8443\ncertificates: c.pem\nlisten: %s\n", all[i]);
        yaml_refuse(text, 8, "listen_tls: \"127.0.0.1:8443\" is `listen`", "another port");
        snprintf(text, sizeof(text), LEAST "admin_listen: 127.0.0.1:8443\nlisten: %s\n", all[i]);
        yaml_refuse(text, 8, "where clients are served", "another port");
    }
}

Test(server_config, derives_an_origin_that_can_be_reached_from_a_listener_on_all_addresses)
{
    static const char *const rows[][2] = {{":81", "http://127.0.0.1:81"},
                                          {"0.0.0.0:81", "http://127.0.0.1:81"},
                                          {"'[::]:81'", "http://[::1]:81"},
                                          {"'[::1]:81'", "http://[::1]:81"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[1024];
        snprintf(text, sizeof(text), LEAST "listen: %s\n", rows[i][0]);
        struct config *config = yaml_accept(text);
        cr_expect_str_eq(config->public_origin, rows[i][1]);
        config_destroy(&config);
    }
}
