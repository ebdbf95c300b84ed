/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference that --print-config-reference prints: it is itself a configuration, with the
 * defaults in it.
 */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/config/fixture.h"

Test(server_config, accepts_its_own_reference_and_finds_the_defaults_in_it)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_print_reference(out);
    cr_assert_eq(fclose(out), 0);
    struct config *reference = yaml_accept(text), *least = yaml_accept(LEAST);
    cr_expect_str_eq(reference->listen, least->listen);
    cr_expect_str_eq(reference->public_origin, least->public_origin);
    cr_expect_str_eq(reference->media_root, "/srv/media");
    cr_expect_str_eq(reference->node, least->node);
    /* All members from `workers` up to `issuers` must be equal, including any added later. */
    cr_expect_arr_eq(&reference->workers, &least->workers,
                     offsetof(struct config, issuers) - offsetof(struct config, workers));
    cr_expect_eq(reference->issuers_count, 1);
    config_destroy(&reference);
    config_destroy(&least);
    free(text);
}

Test(server_config, shows_the_values_of_choices_in_its_reference)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_print_reference(out);
    fclose(out);
    cr_expect_not_null(strstr(text, "# error, warning, info, debug or trace; default \"info\""));
    cr_expect_not_null(strstr(text, "# json or combined; default \"json\""));
    cr_expect_not_null(strstr(text, "# same-origin, same-site or cross-origin; default \"\""));
    free(text);
}

Test(server_config, says_in_its_reference_what_is_read_again)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_print_reference(out);
    fclose(out);
    unsigned times = 0;
    for (const char *at = text; (at = strstr(at, "# SIGHUP reads it again.\n")) != NULL; at++)
        times++;
    cr_expect_eq(times, 3);
    cr_expect_not_null(strstr(text, "    # Read again when the file changes, and at SIGHUP.\n"
                                    "    keys: keys/shop-public.jwks\n"));
    free(text);
    json_t *keys = config_reference_json(), *key;
    size_t i;
    json_array_foreach(keys, i, key)
    {
        const char *name = json_string_value(json_object_get(key, "name"));
        bool reload = strcmp(name, "certificates") == 0 || strcmp(name, "tls_ticket_keys") == 0;
        cr_expect_eq(json_is_true(json_object_get(key, "reload")), reload, "%s", name);
    }
    json_decref(keys);
}
