/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs one path for `tollgate link sign` and prints the link: refuses a path that no node would
 * serve, and warns of a link that the node of the configuration will refuse. Called by
 * command_link_sign.c. It reads no option and opens no file.
 */
#include "server/command/link_signing.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void link_signing_warn(void *context, const char *text)
{
    const char *command = context;
    cli_warn(command, "%s", text);
}

/* Writes 128 random bits in hex. 0, or -EIO without randomness. */
static int random_jti(char *text, size_t size)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return -EIO;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(text + 2 * i, size - 2 * i, "%02x", bytes[i]);
    return 0;
}

/*
 * Percent-encodes the path for the URL. A path that a node would refuse with any token is refused
 * here, by the node's own code. EX_OK, or an exit code after printing why.
 */
static int encode_path(const char *command, const struct sign_arguments *arguments,
                       const char *path, char *encoded, size_t size)
{
    static struct token_target target;
    size_t length = strlen(path);
    if (length == 0)
        return cli_fail(EX_USAGE, command, "--path is empty; name a file, such as /song.mp3");
    if (path[0] != '/')
        return cli_fail(EX_USAGE, command,
                        "--path %s does not begin with a slash; the media root is /, so write /%s",
                        path, path);
    if (arguments->prefix && path[length - 1] != '/')
        return cli_fail(
            EX_USAGE, command,
            "--path %s is a directory for --prefix but does not end with a slash; write %s/", path,
            path);
    if (!arguments->prefix && path[length - 1] == '/')
        return cli_fail(EX_USAGE, command,
                        "--path %s names a directory; add --prefix to open every file beneath it",
                        path);
    int written = token_path_encode(path, length, encoded, size);
    enum token_target_error failure =
        written < 0 ? TOKEN_TARGET_TOO_LONG
                    : token_target_parse(encoded, (size_t)written, arguments->attribute, &target);
    if (failure == TOKEN_TARGET_TOO_LONG || length + strlen("prefix:") > TOKEN_CONTAINER_MAX)
        return cli_fail(EX_USAGE, command,
                        "--path %.64s... is too long with %zu bytes; name a shorter one", path,
                        length);
    if (failure == TOKEN_TARGET_BAD_PATH) {
        char why[TOKEN_PATH_FAULT_SIZE];
        token_path_fault_write(&target, why);
        return cli_fail(EX_USAGE, command, "--path %s: no node would serve it: %s", path, why);
    }
    if (failure != TOKEN_TARGET_OK || target.path_length != length ||
        memcmp(target.path, path, length) != 0)
        return cli_fail(EX_USAGE, command,
                        "--path %s: no node would serve it: it holds %s=, where a token begins; "
                        "rename the file",
                        path, arguments->attribute);
    return EX_OK;
}

static int fail_sign(const char *command, const struct sign_arguments *arguments,
                     const struct key_set *keys, int failure)
{
    char known[1024] = "";
    size_t length = 0;
    if (failure == -ENOMEM)
        return cli_fail(EX_SOFTWARE, command, "out of memory");
    if (failure != -ENOKEY)
        return cli_fail(EX_USAGE, command,
                        "the link could not be signed: %s; give issuer, account and jti without "
                        "control characters",
                        strerrordesc_np(-failure));
    if (arguments->kid == NULL)
        return cli_fail(
            EX_DATAERR, command,
            "%s: holds no key that can sign; is it the public key set? The private one signs",
            arguments->key);
    for (size_t i = 0; i < key_set_count(keys) && length < sizeof(known); i++)
        length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s (%s%s)",
                                   i > 0 ? ", " : "", key_set_kid(keys, i),
                                   token_algorithm_name(key_set_algorithm(keys, i)),
                                   key_set_can_sign(keys, i) ? "" : ", public half only");
    return cli_fail(EX_DATAERR, command, "%s: has no key %s that can sign; it has: %s",
                    arguments->key, arguments->kid, known);
}

/* Whether `path` looks as if it were percent-encoded already. */
static bool holds_escape(const char *path)
{
    for (const char *c = strchr(path, '%'); c != NULL; c = strchr(c + 1, '%')) {
        if (isxdigit((unsigned char)c[1]) && isxdigit((unsigned char)c[2]))
            return true;
    }
    return false;
}

/* Prints the URL, or with --json adds it to the list that is printed in the end. */
static int print_link(const struct link_signing *signing, const char *path, const char *encoded,
                      const char *jti, const char *jws)
{
    const struct sign_arguments *arguments = signing->arguments;
    if (signing->links == NULL) {
        printf("%s%s?%s=%s\n", arguments->origin, encoded, arguments->attribute, jws);
        return EX_OK;
    }
    json_t *link =
        json_pack("{s:s, s:o, s:s, s:I, s:s*}", "path", path, "url",
                  json_sprintf("%s%s?%s=%s", arguments->origin, encoded, arguments->attribute, jws),
                  "account", arguments->account, "exp", (json_int_t)arguments->exp, "jti", jti);
    if (link == NULL)
        return cli_fail(EX_USAGE, signing->command,
                        "--path %s is not UTF-8, which JSON cannot hold; leave out --json", path);
    (void)json_array_append_new(signing->links, link);
    return EX_OK;
}

/* Warns of everything for which the node of the configuration will refuse the link. */
static void review(const struct link_signing *signing, const char *path, const char *encoded,
                   const char *jws)
{
    const struct sign_arguments *arguments = signing->arguments;
    char *link = NULL;
    /* A link to a directory opens only files in it, so that one of them, "x", is reviewed. */
    if (signing->review == NULL ||
        asprintf(&link, "%s%s?%s=%s", encoded, arguments->prefix ? "x" : "", arguments->attribute,
                 jws) < 0)
        return;
    const struct link_review_subject subject = {
        .link = link,
        .path = path,
        .begins_s = arguments->nbf > arguments->now ? arguments->nbf : arguments->now,
        .ends_s = arguments->exp,
        .resume_s = arguments->limits.resume_s,
    };
    link_review_run(signing->review, &subject, link_signing_warn, signing->command);
    free(link);
}

int link_signing_path(const struct link_signing *signing, const char *path)
{
    const char *command = signing->command;
    const struct sign_arguments *arguments = signing->arguments;
    const struct key_set *keys = signing->keys;
    char encoded[3 * TOKEN_CONTAINER_MAX + 1], container[TOKEN_CONTAINER_MAX + 16], jti[40];
    int code = encode_path(command, arguments, path, encoded, sizeof(encoded));
    if (code != EX_OK)
        return code;
    if (holds_escape(path)) /* only a warning, as a file may have such a name */
        cli_warn(command,
                 "--path %s is taken as the file's name on disk, with its %%XX; if the path is "
                 "percent-encoded, give it decoded",
                 path);
    snprintf(container, sizeof(container), "%s:%s", arguments->prefix ? "prefix" : "exact", path);
    bool random = arguments->jti != NULL && strcmp(arguments->jti, "auto") == 0;
    if (random && random_jti(jti, sizeof(jti)) < 0)
        return cli_fail(EX_SOFTWARE, command,
                        "the kernel gave no random bytes; name the link with --jti ID");
    const struct token_claims claims = {
        .iss = arguments->issuer,
        .account = arguments->account,
        .container = container,
        .jti = random ? jti : arguments->jti,
        .filename = arguments->filename,
        .audience = arguments->audience,
        .exp = arguments->exp,
        .nbf = arguments->nbf,
        .iat = arguments->now,
        .limits = arguments->limits,
    };
    char *jws = NULL;
    int result = token_sign(keys, arguments->kid, &claims, &jws);
    if (result < 0)
        return fail_sign(command, arguments, keys, result);
    code = print_link(signing, path, encoded, claims.jti, jws);
    if (code == EX_OK)
        review(signing, path, encoded, jws);
    free(jws);
    return code;
}
