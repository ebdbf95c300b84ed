/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the configuration share. Each test of the suite server_config has a directory of
 * its own, into which it writes a configuration as people write it; the files that values name need
 * not exist. Used by tests/unit/config/ only.
 */
#ifndef TOLLGATE_TESTS_CONFIG_FIXTURE_H
#define TOLLGATE_TESTS_CONFIG_FIXTURE_H

#include <stddef.h>

#include "server/config/config.h"

extern char yaml_directory[64], yaml_file[96];
extern char yaml_error[65536]; /* what the last refusal said */

/* The least configuration that is accepted has seven lines; a further one is line 8. */
#define ISSUER                                                                                     \
    "issuers:\n"                                                                                   \
    "  - id: shop\n"                                                                               \
    "    iss: https://shop.example\n"                                                              \
    "    keys: keys/shop.jwks\n"                                                                   \
    "    prefixes: [/music/, /]\n"
#define LEAST                                                                                      \
    "media_root: media\n"                                                                          \
    "state_dir: state\n" ISSUER

/* Writes the bytes into yaml_file and loads it. Returns config_load's result. */
int yaml_load(const char *text, size_t length, struct config **config);
/* Expects that the text is accepted. The caller destroys the configuration. */
struct config *yaml_accept(const char *text);
/* Expects that the text is refused, with a message that has FILE:LINE: and both parts. */
void yaml_refuse(const char *text, unsigned line, const char *what, const char *cure);
/* Expects one line of yaml_error for each mistake, and no other line. */
void yaml_expect_mistakes(const char *text, const char *const *mistakes, size_t count);

#define EXPECT_MISTAKES(text, ...)                                                                 \
    yaml_expect_mistakes(text, (const char *const[]){__VA_ARGS__},                                 \
                         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

#endif
