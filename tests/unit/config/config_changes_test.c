/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two configurations, as a reload and the doctor tell it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"
#include "tests/unit/config/fixture.h"

static unsigned changes(const char *before, const char *after, char text[512])
{
    struct config *one = yaml_accept(before), *other = yaml_accept(after);
    unsigned count = config_changes(one, other, text, 512);
    cr_expect_lt(strlen(text), 512);
    config_destroy(&one);
    config_destroy(&other);
    return count;
}

Test(server_config, names_what_differs_between_two_configurations)
{
    char text[512];
    cr_expect_eq(changes(LEAST, LEAST, text), 0);
    cr_expect_str_eq(text, "");
    /* Values are compared, not how they are written. */
    const char *same = "workers: 0\nlisten: \"127.0.0.1:8080\"\ncache_max_age_s: 03600\n" LEAST;
    cr_expect_eq(changes("workers: auto\n" LEAST, same, text), 0, "%s", text);

    cr_expect_eq(changes(LEAST, "workers: 3\naccess_log: /log\nlisten: :81\n" LEAST, text), 3);
    cr_expect_str_eq(text, "listen (from 127.0.0.1:8080 to :81), access_log (from \"\" to /log), "
                           "workers (from auto to 3)");
    cr_expect_eq(changes(LEAST, "public_origin: https://a.example\n" LEAST, text), 1);
    cr_expect_str_eq(text, "public_origin (from http://127.0.0.1:8080 to https://a.example)");
}

Test(server_config, names_what_differs_between_issuers_by_their_ids)
{
    static const char rival[] = "  - id: rival\n"
                                "    iss: rival\n"
                                "    keys: /k\n"
                                "    prefixes: [/]\n";
    char text[512], both[1024], turned[1024];
    snprintf(both, sizeof(both), "%s%s", LEAST, rival);
    snprintf(turned, sizeof(turned), "media_root: media\nstate_dir: state\nissuers:\n%s%s", rival,
             strchr(ISSUER, '\n') + 1);
    cr_expect_eq(changes(both, turned, text), 0, "%s", text);
    cr_expect_eq(changes(LEAST, both, text), 1);
    cr_expect_str_eq(text, "issuers.rival (added)");
    cr_expect_eq(changes(both, LEAST, text), 1);
    cr_expect_str_eq(text, "issuers.rival (removed)");
    snprintf(both, sizeof(both), "admin_listen: 127.0.0.1:8090\n%s%s    admin_secret_file: /t\n",
             LEAST, rival);
    cr_expect_eq(changes(both,
                         "admin_listen: 127.0.0.1:8090\n"
                         "media_root: media\n"
                         "state_dir: state\n"
                         "issuers:\n"
                         "  - id: rival\n"
                         "    iss: other\n"
                         "    keys: /k2\n"
                         "    prefixes: [/a/, /b/]\n"
                         "    audiences: [x]\n"
                         "    origins: [\"*\"]\n"
                         "    refusal_url: https://a.example/\n"
                         "    resume_s: 60\n"
                         "    admin_secret_file: /s\n"
                         "  - id: shop\n"
                         "    iss: https://shop.example\n"
                         "    keys: keys/shop.jwks\n"
                         "    prefixes: [/music/, /]\n",
                         text),
                 8);
    cr_expect_str_eq(text, "issuers.rival.iss (from rival to other), "
                           "issuers.rival.keys (from /k to /k2), "
                           "issuers.rival.prefixes (from [/] to [/a/, /b/]), "
                           "issuers.rival.audiences (from [] to [x]), "
                           "issuers.rival.origins (from [] to [*]), "
                           "issuers.rival.refusal_url (from \"\" to https://a.example/), "
                           "issuers.rival.resume_s, issuers.rival.admin_secret_file");
}

Test(server_config, names_every_key_and_tells_how_many_there_was_no_room_for)
{
    char text[512], large[8192];
    struct config *one = yaml_accept(LEAST), *other = yaml_accept(LEAST);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        void *field = (char *)other + key->offset;
        if (key->type == CONFIG_NUMBER || key->type == CONFIG_AUTO) {
            ++*(uint64_t *)field;
        } else {
            free(*(char **)field);
            *(char **)field = strdup("another");
        }
        unsigned count = config_changes(one, other, large, sizeof(large));
        cr_expect_eq(count, i + 1, "%s is not compared", key->name);
        cr_expect(strstr(large, key->name), "%s: %s", key->name, large);
    }
    cr_expect_eq(config_changes(one, other, text, sizeof(text)), config_key_count);
    cr_expect_lt(strlen(text), sizeof(text));
    const char *more = strstr(text, ", and ");
    cr_assert(more, "%s", text);
    unsigned named = 1;
    bool in_value = false;
    for (const char *c = text; c < more; c++) {
        in_value = *c == '(' || (in_value && *c != ')');
        named += *c == ',' && !in_value;
    }
    cr_expect_eq(named + strtoul(more + 6, NULL, 10), config_key_count, "%s", text);
    config_destroy(&one);
    config_destroy(&other);
}

Test(server_config, cuts_a_long_value_after_a_whole_character)
{
    char text[512], before[1024], after[1024], name[256];
    for (unsigned lead = 0; lead < 3; lead++) {
        size_t length = (size_t)snprintf(name, sizeof(name), "/%.*s", (int)lead, "aa");
        for (int i = 0; i < 40; i++)
            length += (size_t)snprintf(name + length, sizeof(name) - length, "é");
        snprintf(before, sizeof(before), "access_log: %s\n%s", name, LEAST);
        cr_expect_eq(changes(LEAST, before, text), 1);
        const char *dots = strstr(text, "é...)");
        cr_expect(dots != NULL && dots - text < 100, "%s", text);
        /* Two values that would be shown alike, because they are cut, are left out. */
        snprintf(after, sizeof(after), "access_log: %sz\n%s", name, LEAST);
        cr_expect_eq(changes(before, after, text), 1);
        cr_expect_str_eq(text, "access_log");
    }
}
