/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of config_table.h as data: their fields, and what a reload takes of them. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/config/config_internal.h"

/* What a reload takes. SIGHUP is sent to a node, and the file read again, in the test named. */
static const struct {
    const char *key;
    enum config_reload reload;
    const char *proof; /* in tests/integration/ */
} reloaded[] = {
    {"certificates", CONFIG_CERTIFICATES, "tls_certificates_test.c"},
    {"tls_ticket_keys", CONFIG_CERTIFICATES, "tls_sessions_test.c"},
    {"keys", CONFIG_KEY_SETS, "service_reload_test.c"},
    {"admin_secret_file", CONFIG_SECRETS, "shop_secrets_test.c"},
};
#define RELOADED_COUNT (sizeof(reloaded) / sizeof(reloaded[0]))

static void expect_reload(const char *name, enum config_type type, enum config_reload reload)
{
    enum config_reload expected = CONFIG_RESTART;
    for (size_t i = 0; i < RELOADED_COUNT; i++)
        expected = strcmp(reloaded[i].key, name) == 0 ? reloaded[i].reload : expected;
    cr_expect_eq(reload, expected, "%s: which test shows what a reload does with it?", name);
    cr_expect(reload == CONFIG_RESTART || type == CONFIG_PATH, "%s names no file", name);
    cr_expect_eq(config_reload_help(reload) == NULL, reload == CONFIG_RESTART);
}

Test(server_config, a_reload_takes_the_files_that_the_table_says_and_no_value)
{
    size_t taken = 0;
    for (size_t i = 0; i < config_key_count; i++) {
        expect_reload(config_keys[i].name, config_keys[i].type, config_keys[i].reload);
        taken += config_keys[i].reload != CONFIG_RESTART;
    }
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        const struct config_issuer_key *key = &config_issuer_keys[i];
        expect_reload(key->name, key->type, key->reload);
        taken += key->reload != CONFIG_RESTART;
    }
    cr_expect_eq(taken, RELOADED_COUNT);
    for (enum config_reload part = CONFIG_RESTART + 1; part < CONFIG_RELOADS_END; part++) {
        bool has_keys = false;
        for (size_t i = 0; i < RELOADED_COUNT; i++)
            has_keys = has_keys || reloaded[i].reload == part;
        cr_expect(has_keys, "no key belongs to part %u of a reload", (unsigned)part);
    }
}

/* config_destroy frees what the rows name: each text of its own, each list with its entries. */
Test(server_config, each_key_of_an_issuer_has_a_field_of_its_own)
{
    for (size_t i = 0; i < config_issuer_key_count; i++) {
        const struct config_issuer_key *key = &config_issuer_keys[i];
        cr_expect_lt(key->offset, sizeof(struct config_issuer));
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(config_issuer_keys[j].offset, key->offset, "%s", key->name);
        cr_expect_eq(key->count_offset > key->offset, key->type == CONFIG_LIST, "%s", key->name);
    }
}
