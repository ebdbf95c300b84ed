/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers, durations and sizes: which units a key takes, its bounds, and values that are not numbers.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/unit/config/fixture.h"

Test(server_config, refuses_numbers_that_are_none_or_out_of_bounds_on_their_line)
{
    yaml_refuse(LEAST "\nhead_bytes_max: 8x\n", 9,
                "head_bytes_max: \"8x\" is not a whole number of bytes", "1024 to 65536");
    yaml_refuse(LEAST "head_bytes_max: 100\n", 8, "head_bytes_max: 100 is less than the minimum",
                "bytes");
    yaml_refuse(LEAST "journal_mark_ms: 1001\n", 8, "more than the maximum",
                "10 to 1000 milliseconds");
    yaml_refuse(LEAST "tokens_max: -1\n", 8, "not a whole number", "give 16 to");
    yaml_refuse(LEAST "tokens_max: 99999999999999999999999\n", 8, "more than the maximum",
                "16777216");
    yaml_refuse(LEAST "tokens_max:\n", 8, "\"\" is not a whole number", "give 16 to 16777216");
}

Test(server_config, takes_durations_and_sizes_with_their_unit)
{
    struct config *config =
        yaml_accept(LEAST "head_timeout_ms: 5s\nidle_timeout_ms: 250ms\n"
                          "stall_timeout_ms: 1.5m\nstop_timeout_ms: 0s\n"
                          "link_lifetime_max_s: 7d\nuse_window_s: 1.5h\n"
                          "cache_max_age_s: 60000ms\nnbf_leeway_s: 007\n"
                          "grant_slice_bytes: 16MB\nhead_bytes_max: 16KiB\n"
                          "journal_segment_bytes: 64MiB\n"
                          "rate_min_bytes_per_s: 2k\n"
                          "balance_low_bytes: 1.5GB\ngrant_validity_ms: 4000\n");
    cr_expect_eq(config->head_timeout_ms, 5000);
    cr_expect_eq(config->idle_timeout_ms, 250);
    cr_expect_eq(config->stall_timeout_ms, 90000);
    cr_expect_eq(config->stop_timeout_ms, 0);
    cr_expect_eq(config->link_lifetime_max_s, 604800);
    cr_expect_eq(config->use_window_s, 5400);
    cr_expect_eq(config->cache_max_age_s, 60);
    cr_expect_eq(config->nbf_leeway_s, 7);
    cr_expect_eq(config->grant_slice_bytes, 16000000);
    cr_expect_eq(config->head_bytes_max, 16384);
    cr_expect_eq(config->journal_segment_bytes, 67108864);
    cr_expect_eq(config->rate_min_bytes_per_s, 2000);
    cr_expect_eq(config->balance_low_bytes, 1500000000);
    cr_expect_eq(config->grant_validity_ms, 4000);
    config_destroy(&config);
}

Test(server_config, refuses_what_a_unit_cannot_hold_and_units_of_something_else)
{
    static const char *const none[][2] = {
        {"nbf_leeway_s: 1500ms\n", "\"1500ms\" is not a whole number of seconds"},
        {"nbf_leeway_s: 0.5\n", "\"0.5\" is not a whole number of seconds"},
        {"idle_timeout_ms: 100.5ms\n", "is not a whole number of milliseconds"},
        {"idle_timeout_ms: 1.00000000001s\n", "is not a whole number of milliseconds"},
        {"head_bytes_max: 1.0001KiB\n", "is not a whole number of bytes"},
        {"head_bytes_max: 5s\n", "64KiB"},
        {"idle_timeout_ms: 5MB\n", "250ms"},
        {"idle_timeout_ms: s\n", "\"s\" is no"},
        {"idle_timeout_ms: 5.s\n", "\"5.s\" is no"},
        {"idle_timeout_ms: .5s\n", "\".5s\" is no"},
        {"idle_timeout_ms: -5s\n", "\"-5s\" is no"},
        {"idle_timeout_ms: 5 s\n", "\"5 s\" is no"},
        {"idle_timeout_ms: 5ss\n", "\"5ss\" is no"},
        {"head_bytes_max: 5KiBs\n", "\"5KiBs\" is no"},
        {"connections_max: 5s\n", "\"5s\" is not a whole number of connections"},
        {"connections_max: 5k\n", "\"5k\" is not a whole number of connections"},
        {"grant_slice_bytes: 16Mb\n", "\"16Mb\" has no unit of bytes; did you mean 16MB?"},
        {"grant_slice_bytes: 1.5Gib\n", "did you mean 1.5GiB?"},
        {"idle_timeout_ms: 2h\n", "2h is more than the maximum; give 100 to 3600000 milliseconds"},
        {"idle_timeout_ms: 213503982335d\n", "is more than the maximum"},
        {"idle_timeout_ms: 99999999999999999999999999999999999999999999d\n",
         "is more than the maximum"},
        {"balance_low_bytes: 99999999999999999TiB\n", "is more than the maximum"},
        {"balance_low_bytes: 16777216TiB\n", "is more than the maximum"},
        {"workers: 1s\n", "\"1s\" is not a whole number of threads"},
    };
    char text[512];
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        snprintf(text, sizeof(text), "%s%s", LEAST, none[i][0]);
        yaml_refuse(text, 8, none[i][1], "");
    }
}
