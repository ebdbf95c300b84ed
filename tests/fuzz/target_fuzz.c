/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the request target. It asserts what the server relies on: an accepted
 * path is absolute and plain, the URI spells the same path, and the encoded path reads as that
 * path again.
 */
#include <stdint.h>
#include <string.h>

#include "server/base/check.h"
#include "tokens/tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path has no segment that a file system reads as something else ("..") and no control byte. */
static void expect_path(const struct token_target *target)
{
    const char *path = target->path;

    check(target->path_length > 0 && target->path_length <= 1024 && path[0] == '/');
    check(strlen(path) == target->path_length);
    check(strstr(path, "//") == NULL && strchr(path, '\\') == NULL);
    for (const char *at = path; at != NULL; at = strchr(at + 1, '/')) {
        const char *segment = at + 1;
        size_t length = strcspn(segment, "/");
        check(!(length == 1 && segment[0] == '.'));
        check(!(length == 2 && segment[0] == '.' && segment[1] == '.'));
    }
    for (size_t i = 0; i < target->path_length; i++)
        check((unsigned char)path[i] >= 0x20 && path[i] != 0x7f);
}

/* The URI is its own normal form, and its path is the target's. */
static void expect_uri(const struct token_target *target, const char *attribute)
{
    static struct token_target again;
    enum token_target_error error;

    check(strlen(target->uri) == target->uri_length && target->uri[0] == '/');
    for (size_t i = 0; i < target->uri_length; i++)
        check(target->uri[i] > 0x20 && target->uri[i] < 0x7f);
    error = token_target_parse(target->uri, target->uri_length, attribute, &again);
    /* "%70=" is not a package, but its normal form "p=" reads like one: nothing to compare then. */
    if (again.package != NULL)
        return;
    check(error == TOKEN_TARGET_OK);
    check(again.path_length == target->path_length);
    check(memcmp(again.path, target->path, target->path_length) == 0);
    check(again.uri_length == target->uri_length);
    check(memcmp(again.uri, target->uri, target->uri_length) == 0);
}

static void expect_encoding(const struct token_target *target)
{
    static struct token_target again;
    char encoded[3 * sizeof(target->path)];
    int length = token_path_encode(target->path, target->path_length, encoded, sizeof(encoded));

    check(length > 0);
    /* An attribute that no path holds: the whole text is path. */
    check(token_target_parse(encoded, (size_t)length, "\n", &again) == TOKEN_TARGET_OK);
    check(again.path_length == target->path_length);
    check(memcmp(again.path, target->path, target->path_length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_target target;
    const char *text = (const char *)data;

    if (token_target_parse(text, size, "p", &target) != TOKEN_TARGET_OK)
        return 0;
    expect_path(&target);
    expect_uri(&target, "p");
    expect_encoding(&target);
    if (target.package != NULL)
        check(target.package >= text && target.package_length <= size &&
              (size_t)(target.package - text) <= size - target.package_length);
    return 0;
}
