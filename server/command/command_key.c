/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate key generate`: makes an issuer's key, writes the private half for the storefront (0600)
 * and the public one for the node (0644), and prints the configuration lines to paste.
 * tollgate_main calls it. Key material goes to those files and nowhere else.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/file_write.h"
#include "server/command/cli.h"
#include "tokens/tokens.h"

enum { OPTION_ISS = 256, OPTION_PRIVATE, OPTION_PUBLIC, OPTION_FORCE };

struct key_arguments {
    const char *issuer, *iss, *algorithm_name, *directory, *private_file, *public_file;
    enum token_algorithm algorithm;
    bool force;
};

static const struct argp_option options[] = {
    {"issuer", 'i', "ID", 0, "The issuer's short name, 1 to 32 of a-z, 0-9 and - (required)", 0},
    {"iss", OPTION_ISS, "VALUE", 0, "The iss claim of its tokens (default: ID)", 0},
    {"alg", 'a', "ALGORITHM", 0,
     "HS256 (one secret, shared), ES256 or EdDSA (the node holds no secret) (required)", 0},
    {"directory", 'd', "DIR", 0,
     "Write DIR/ID-private.jwks and, except for HS256, DIR/ID-public.jwks (default: .); DIR must "
     "exist",
     0},
    {"private", OPTION_PRIVATE, "FILE", 0, "Write the private key set there", 0},
    {"public", OPTION_PUBLIC, "FILE", 0, "Write the public key set there", 0},
    {"force", OPTION_FORCE, NULL, 0,
     "Replace files that exist; links signed with their keys stop working", 0},
    {0},
};

static void validate_arguments(const struct argp_state *state, struct key_arguments *arguments)
{
    if (arguments->issuer == NULL)
        cli_usage(state, "--issuer is missing; give the issuer's short name, such as shop");
    size_t length = strspn(arguments->issuer, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (length == 0 || length > TOKEN_ISSUER_ID_MAX || arguments->issuer[length] != '\0')
        cli_usage(state, "--issuer %s is not a short name; use 1 to 32 of a-z, 0-9 and -",
                  arguments->issuer);
    if (arguments->algorithm_name == NULL)
        cli_usage(state, "--alg is missing; give ES256, EdDSA or HS256");
    if (token_algorithm_parse(arguments->algorithm_name, &arguments->algorithm) < 0)
        cli_usage(state, "--alg %s is not an algorithm here; give ES256, EdDSA or HS256",
                  arguments->algorithm_name);
    if (arguments->directory != NULL &&
        (arguments->private_file != NULL || arguments->public_file != NULL))
        cli_usage(state, "--directory stands beside --private or --public; give one or the other");
    if (arguments->public_file != NULL && arguments->algorithm == TOKEN_HS256)
        cli_usage(state, "--public stands beside --alg HS256, which has one secret and no public "
                         "half; leave it out");
    if (arguments->public_file != NULL && arguments->private_file == NULL)
        cli_usage(state, "--private is missing beside --public; give --private FILE, too");
    if (arguments->private_file != NULL && arguments->public_file == NULL &&
        arguments->algorithm != TOKEN_HS256)
        cli_usage(state,
                  "--public is missing beside --private; give --public FILE, too, for the node "
                  "reads the public key set");
    if (arguments->iss == NULL)
        arguments->iss = arguments->issuer;
    if (arguments->iss[0] == '\0' || strlen(arguments->iss) > TOKEN_ISS_MAX)
        cli_usage(state, "--iss has a wrong length; give 1 to %d bytes", TOKEN_ISS_MAX);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct key_arguments *arguments = state->input;
    switch (key) {
    case 'i':
        arguments->issuer = argument;
        return 0;
    case OPTION_ISS:
        arguments->iss = argument;
        return 0;
    case 'a':
        arguments->algorithm_name = argument;
        return 0;
    case 'd':
        arguments->directory = argument;
        return 0;
    case OPTION_PRIVATE:
        arguments->private_file = argument;
        return 0;
    case OPTION_PUBLIC:
        arguments->public_file = argument;
        return 0;
    case OPTION_FORCE:
        arguments->force = true;
        return 0;
    case ARGP_KEY_END:
        validate_arguments(state, arguments);
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "issuer", NULL);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- writing ---- */

/*
 * Writes a temporary file beside `path` first, so that readers find either the old file or the
 * whole new one. Without `replace` the name is given by link, which fails where rename would
 * overwrite a file that has appeared meanwhile. 0, or a negative errno.
 */
static int write_file(const char *path, const char *text, mode_t mode, bool replace)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return -ENAMETOOLONG;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = fchmod(fd, mode) < 0 ? -errno : file_write_all(fd, text, strlen(text));
    if (result == 0 && fsync(fd) < 0)
        result = -errno;
    if (close(fd) < 0 && result == 0)
        result = -errno;
    if (result == 0 && replace)
        result = rename(temporary, path) < 0 ? -errno : 0;
    else if (result == 0)
        result = link(temporary, path) < 0 ? -errno : 0;
    if (result < 0 || !replace)
        unlink(temporary);
    return result;
}

struct key_files {
    char private_path[PATH_MAX], public_path[PATH_MAX]; /* "": there is none */
};

static int name_files(const struct key_arguments *arguments, struct key_files *files)
{
    int private_length, public_length = 0;
    files->public_path[0] = '\0';
    if (arguments->private_file != NULL) {
        private_length = snprintf(files->private_path, PATH_MAX, "%s", arguments->private_file);
        if (arguments->public_file != NULL)
            public_length = snprintf(files->public_path, PATH_MAX, "%s", arguments->public_file);
    } else {
        const char *directory = arguments->directory != NULL ? arguments->directory : ".";
        private_length = snprintf(files->private_path, PATH_MAX, "%s/%s-private.jwks", directory,
                                  arguments->issuer);
        if (arguments->algorithm != TOKEN_HS256)
            public_length = snprintf(files->public_path, PATH_MAX, "%s/%s-public.jwks", directory,
                                     arguments->issuer);
    }
    return private_length >= PATH_MAX || public_length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int fail_file(const char *command, const char *path, int failure)
{
    const char *cure = failure == -EEXIST   ? "; choose another name, or --force to replace it "
                                              "(links signed with the old key stop working)"
                       : failure == -ENOENT ? "; create the directory first"
                       : failure == -EACCES || failure == -EROFS
                           ? "; choose a directory that you may write"
                       : failure == -ENOSPC ? "; make room, or choose another directory"
                                            : "";
    return cli_fail(failure == -ENOSPC || failure == -EIO ? EX_IOERR : EX_CANTCREAT, command,
                    "%s: %s%s", path, strerrordesc_np(-failure), cure);
}

static int write_files(const char *command, const struct key_files *files, bool force,
                       const char *private_jwks, const char *public_jwks)
{
    /* Both names are looked at before either file is written: half a pair helps nobody. */
    if (!force && access(files->private_path, F_OK) == 0)
        return fail_file(command, files->private_path, -EEXIST);
    if (!force && public_jwks != NULL && access(files->public_path, F_OK) == 0)
        return fail_file(command, files->public_path, -EEXIST);
    int result = write_file(files->private_path, private_jwks, 0600, force);
    if (result < 0)
        return fail_file(command, files->private_path, result);
    if (public_jwks == NULL)
        return EX_OK;
    result = write_file(files->public_path, public_jwks, 0644, force);
    if (result == 0)
        return EX_OK;
    if (!force)
        unlink(files->private_path);
    return fail_file(command, files->public_path, result);
}

/* ---- telling ---- */

/* Prints a YAML string in double quotes, where control bytes, " and \ need an escape (YAML 1.1). */
static void print_quoted(const char *text)
{
    putchar('"');
    for (const char *c = text; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte < 0x20 || byte == 0x7f)
            printf("\\x%02x", byte);
        else if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

/* Whether `path` is `directory` or lies below it; both resolved. */
static bool is_below(const char *directory, const char *path)
{
    size_t length = strlen(directory);
    return strcmp(directory, "/") == 0 ||
           (strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0'));
}

static const char *skip_slashes(const char *path)
{
    return path + strspn(path, "/");
}

/* Writes `path` relative to `directory`; both are resolved. False where that is too long. */
static bool name_from(const char *directory, const char *path, char out[PATH_MAX])
{
    size_t length = 0;
    char above[PATH_MAX];
    snprintf(above, sizeof(above), "%s", directory);
    out[0] = '\0';
    while (!is_below(above, path)) {
        if (length + 3 >= PATH_MAX)
            return false;
        length += (size_t)snprintf(out + length, PATH_MAX - length, "../");
        char *slash = strrchr(above, '/');
        slash[slash == above] = '\0'; /* "/a" becomes "/", not "" */
    }
    const char *rest = skip_slashes(path + (strcmp(above, "/") == 0 ? 0 : strlen(above)));
    return (size_t)snprintf(out + length, PATH_MAX - length, "%s", rest) < PATH_MAX - length;
}

/*
 * Writes the key file's name as the configuration should have it: relative to the configuration's
 * directory, so that both can be moved together, into a container for instance. The configuration
 * is the one that the other commands find. Where they find none, it will be written into the
 * current directory, or, where the key file lies elsewhere and was given by its absolute path,
 * beside it.
 */
static void name_in_config(const char *file, char out[PATH_MAX])
{
    static const struct cli_location nowhere;
    const char *config = cli_config_path(&nowhere);
    char whole[PATH_MAX], directory[PATH_MAX], copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", config != NULL ? config : "./tollgate.yaml");
    bool known = realpath(file, whole) != NULL && realpath(dirname(copy), directory) != NULL;
    if (known && config == NULL && file[0] == '/' && !is_below(directory, whole)) {
        snprintf(copy, sizeof(copy), "%s", whole);
        snprintf(directory, sizeof(directory), "%s", dirname(copy));
    }
    if (!known || !name_from(directory, whole, out))
        snprintf(out, PATH_MAX, "%s", file);
}

/* Prints the answer of --json. `keys` is the value for the configuration's `keys`; `public` is left
 * out where there is no public file. */
static int print_key(const char *command, const struct key_arguments *arguments,
                     const struct key_files *files, const char *kid, const char *keys)
{
    json_t *value =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:s}", "issuer", arguments->issuer, "iss",
                  arguments->iss, "kid", kid, "alg", token_algorithm_name(arguments->algorithm),
                  "private", files->private_path, "public",
                  files->public_path[0] ? files->public_path : NULL, "keys", keys);
    int code = cli_print_json(command, value);
    json_decref(value);
    return code;
}

/* Prints all but the lines to paste as comments, so that the output can be appended to the file. */
static int print_next_steps(const char *command, const struct key_arguments *arguments,
                            const struct key_files *files, const char *kid)
{
    char private_name[PATH_MAX], public_name[PATH_MAX];
    bool has_public = files->public_path[0] != '\0';
    name_in_config(files->private_path, private_name);
    if (has_public)
        name_in_config(files->public_path, public_name);
    if (cli_wants_json())
        return print_key(command, arguments, files, kid, has_public ? public_name : private_name);
    printf("# key %s (%s)\n", kid, token_algorithm_name(arguments->algorithm));
    printf("# %s: give it to the storefront, which signs with it; keep it secret\n", private_name);
    if (has_public)
        printf("# %s: give it to the node, which verifies with it; it is not secret\n",
               public_name);
    else
        printf("# the node verifies with the same secret: give it the same file, mode 600\n");
    printf(
        "# add these lines to tollgate.yaml; where it has issuers: already, only those below it. "
        "The path in\n# keys: is relative to the directory of tollgate.yaml\n");
    printf("issuers:\n  - id: \"%s\"\n    iss: ", arguments->issuer);
    print_quoted(arguments->iss);
    printf("\n    keys: ");
    print_quoted(has_public ? public_name : private_name);
    printf("\n    prefixes: [\"/\"]\n");
    return EX_OK;
}

int command_key_generate(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Makes a signing key for an issuer. ES256 and EdDSA make two files: the storefront "
               "signs with the private one, and the node verifies with the public one. HS256 makes "
               "one secret file, which both need. Standard output is the lines for tollgate.yaml.",
    };
    struct key_arguments arguments = {0};
    cli_parse(&argp, argc, argv, &arguments);
    struct key_files files;
    if (name_files(&arguments, &files) < 0)
        return cli_fail(EX_USAGE, argv[0],
                        "the file names are too long; choose a shorter --directory");
    char *private_jwks = NULL, *public_jwks = NULL, error[256] = "";
    int result = key_generate(arguments.algorithm, &private_jwks, &public_jwks);
    if (result < 0)
        return cli_fail(EX_SOFTWARE, argv[0], "the key could not be made: %s",
                        strerrordesc_np(-result));
    struct key_set *keys = NULL;
    int code = EX_OK;
    if (key_set_parse(&keys, private_jwks, strlen(private_jwks), error, sizeof(error)) < 0)
        code = cli_fail(EX_SOFTWARE, argv[0], "the new key cannot be read back: %s", error);
    if (code == EX_OK)
        code = write_files(argv[0], &files, arguments.force, private_jwks, public_jwks);
    if (code == EX_OK)
        code = print_next_steps(argv[0], &arguments, &files, key_set_kid(keys, 0));
    key_set_destroy(&keys);
    key_text_free(&private_jwks);
    key_text_free(&public_jwks);
    return code;
}
