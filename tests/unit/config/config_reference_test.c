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
    cr_expect_not_null(strstr(text, "# error, warning, info or debug; default \"info\""));
    cr_expect_not_null(strstr(text, "# json or combined; default \"json\""));
    cr_expect_not_null(strstr(text, "# same-origin, same-site or cross-origin; default \"\""));
    free(text);
}
