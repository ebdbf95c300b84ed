/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/config/fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char yaml_directory[64], yaml_file[96];
char yaml_error[65536];

static void make_directory(void)
{
    strcpy(yaml_directory, "/tmp/tollgate-config-XXXXXX");
    cr_assert_not_null(mkdtemp(yaml_directory));
    snprintf(yaml_file, sizeof(yaml_file), "%s/tollgate.yaml", yaml_directory);
}

static void remove_directory(void)
{
    unlink(yaml_file);
    cr_assert_eq(rmdir(yaml_directory), 0);
}

TestSuite(server_config, .init = make_directory, .fini = remove_directory);

int yaml_load(const char *text, size_t length, struct config **config)
{
    FILE *out = fopen(yaml_file, "w");
    cr_assert_not_null(out);
    cr_assert_eq(fwrite(text, 1, length, out), length);
    cr_assert_eq(fclose(out), 0);
    return config_load(config, yaml_file, yaml_error, sizeof(yaml_error));
}

struct config *yaml_accept(const char *text)
{
    struct config *config = NULL;
    int result = yaml_load(text, strlen(text), &config);
    cr_assert_eq(result, 0, "refused: %s", yaml_error);
    cr_assert_not_null(config);
    return config;
}

void yaml_refuse(const char *text, unsigned line, const char *what, const char *cure)
{
    struct config *config = NULL;
    char place[128];
    cr_assert_eq(yaml_load(text, strlen(text), &config), -EINVAL, "accepted: %s", text);
    cr_assert_null(config);
    snprintf(place, sizeof(place), "%s:%u: ", yaml_file, line);
    cr_assert_not_null(strstr(yaml_error, place), "no \"%s\" in: %s", place, yaml_error);
    cr_assert_not_null(strstr(yaml_error, what), "no \"%s\" in: %s", what, yaml_error);
    cr_assert_not_null(strstr(yaml_error, cure), "no \"%s\" in: %s", cure, yaml_error);
}

void yaml_expect_mistakes(const char *text, const char *const *mistakes, size_t count)
{
    struct config *config = NULL;
    cr_assert_eq(yaml_load(text, strlen(text), &config), -EINVAL, "accepted: %s", text);
    cr_assert_null(config);
    size_t lines = 1;
    for (const char *at = yaml_error; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    for (size_t i = 0; i < count; i++)
        cr_expect_not_null(strstr(yaml_error, mistakes[i]), "no \"%s\" in:\n%s", mistakes[i],
                           yaml_error);
    cr_expect_eq(lines, count, "%zu mistakes are told, %zu were made:\n%s", lines, count,
                 yaml_error);
}
