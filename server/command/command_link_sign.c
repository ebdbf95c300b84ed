/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate link sign`: signs one link for each --path with a key from a file and prints the URLs.
 * tollgate_main calls it; link_signing.c signs. It never asks a node, so a storefront's machine needs nothing else. Where
 * it finds the configuration of a node, it takes the beginning of the URLs from there, and warns of
 * links that the node will refuse.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/byte_count.h"
#include "server/command/cli.h"
#include "server/command/link_signing.h"
#include "server/link/trust.h"

enum {
    OPTION_PREFIX = 256,
    OPTION_NOT_BEFORE,
    OPTION_JTI,
    OPTION_KID,
    OPTION_AUDIENCE,
    OPTION_ORIGIN,
    OPTION_ATTRIBUTE,
    OPTION_FILENAME,
    OPTION_MAX_USES,
    OPTION_MAX_BYTES,
    OPTION_RATE,
    OPTION_MAX_CONNS,
    OPTION_RESUME,
    OPTION_PACE
};

static const struct argp_option options[] = {
    {"key", 'k', "FILE", 0, "The private key set; - for standard input (required)", 0},
    {"issuer", 'i', "ID", 0,
     "The issuer's short id, as in the configuration; or its iss claim, which is the same "
     "where the configuration gives no other (required)",
     0},
    {"account", 'a', "NAME", 0, "Whose account pays (required)", 0},
    {"path", 'p', "/FILE", 0,
     "The file, as it is named beneath the media root; may be repeated; - for standard input, a "
     "path on each line",
     0},
    {"prefix", OPTION_PREFIX, NULL, 0,
     "Each --path is a directory: the link opens every file beneath it", 0},
    {"expires-in", 'e', "DURATION", 0, "How long the link lives: 30s, 15m, 1h, 7d (required)", 0},
    {"not-before", OPTION_NOT_BEFORE, "DURATION", 0, "The link opens only after this time", 0},
    {"jti", OPTION_JTI, "ID", 0,
     "Names the link, for revocation; auto makes a random name for each link", 0},
    {"filename", OPTION_FILENAME, "NAME", 0,
     "Browsers save the file under this name instead of playing it", 0},
    {"max-uses", OPTION_MAX_USES, "N", 0,
     "How many times each path may be downloaded; resumes and seeks belong to one use. Needs --jti",
     0},
    {"max-bytes", OPTION_MAX_BYTES, "AMOUNT", 0,
     "How many bytes the link may deliver in all: 500000, 20MB, 1GiB", 0},
    {"rate", OPTION_RATE, "AMOUNT", 0,
     "Bytes per second of all its connections at a node: 64kB, 1MB", 0},
    {"max-conns", OPTION_MAX_CONNS, "N", 0, "How many downloads the link may have at once", 0},
    {"resume", OPTION_RESUME, "DURATION", 0,
     "How long after the link has expired a download that began in time may go on", 0},
    {"pace", OPTION_PACE, "FACTOR", 0,
     "After ten seconds of sound, send no faster than this many times the file's bitrate: 1.5", 0},
    {"kid", OPTION_KID, "KID", 0,
     "The key to sign with (default: the first key of the set that can sign)", 0},
    {"audience", OPTION_AUDIENCE, "AUD", 0, "The aud claim, where the node has audiences", 0},
    {"origin", OPTION_ORIGIN, "URL", 0,
     "What the URL begins with (default: the configuration's public_origin or, where that is "
     "empty, "
     "the address on which the node listens; without a configuration, http://127.0.0.1:8080)",
     0},
    {"attribute", OPTION_ATTRIBUTE, "NAME", 0,
     "The URL parameter (default: the configuration's token_attribute, else URISigningPackage)", 0},
    {0},
};

/* Reads "500000", "64KiB" or "20MB", 1 to 2^53 - 1 bytes; ends the process for anything else. */
static uint64_t size_of(const struct argp_state *state, const char *option, const char *text)
{
    int64_t bytes = 0;
    int failure = byte_count_read(text, &bytes);
    if (failure != 0 || bytes < 1)
        cli_usage(state, "%s %s is not an amount here; %s", option, text,
                  failure == -ERANGE ? "give a whole number of bytes below 2^53"
                                     : "write an amount of 1 byte or more, as 500000, 20MB or "
                                       "64KiB");
    return (uint64_t)bytes;
}

static uint32_t count_of(const struct argp_state *state, const char *option, const char *text,
                         uint32_t max)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || count < 1 || count > max)
        cli_usage(state, "%s %s is not a count here; give a whole number of 1 to %u", option, text,
                  max);
    return (uint32_t)count;
}

static uint32_t pace_of(const struct argp_state *state, const char *text)
{
    char *end;
    double pace = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || !(pace >= 1 && pace <= TOKEN_PACE_MAX))
        cli_usage(state, "--pace %s is not a factor; give a number of 1 to %d, such as 1.5", text,
                  TOKEN_PACE_MAX);
    return (uint32_t)(pace * 1000 + 0.5);
}

static void validate_length(const struct argp_state *state, const char *option, const char *what,
                            const char *value, size_t maximum)
{
    if (value == NULL)
        cli_usage(state, "%s is missing; give %s", option, what);
    else if (value[0] == '\0' || strlen(value) > maximum)
        cli_usage(state, "%s has a wrong length; give 1 to %zu bytes", option, maximum);
}

static void validate_arguments(const struct argp_state *state,
                               const struct sign_arguments *arguments)
{
    validate_length(state, "--key", "the private key set, such as shop-private.jwks",
                    arguments->key, 4095);
    validate_length(state, "--issuer", "the id that the configuration has for this storefront",
                    arguments->issuer, TOKEN_ISS_MAX);
    validate_length(state, "--account", "the name of who pays, such as alice", arguments->account,
                    TOKEN_ACCOUNT_MAX);
    if (arguments->jti != NULL)
        validate_length(state, "--jti", "", arguments->jti, TOKEN_JTI_MAX);
    if (arguments->audience != NULL)
        validate_length(state, "--audience", "", arguments->audience, TOKEN_ISS_MAX);
    if (arguments->filename != NULL) {
        validate_length(state, "--filename", "", arguments->filename, TOKEN_FILENAME_MAX);
        if (strpbrk(arguments->filename, "/\\") != NULL)
            cli_usage(state, "--filename %s is a path; give the name alone", arguments->filename);
    }
    if (arguments->limits.max_uses > 0 && arguments->jti == NULL)
        cli_usage(state, "--max-uses needs --jti, under which the uses are counted; --jti auto "
                         "makes one");
    if (strchr(arguments->account, '/') != NULL) /* other commands name an account ISSUER/NAME */
        cli_warn(
            state->name,
            "--account %s has a slash; give the name alone, for alice is shop/alice at the node",
            arguments->account);
    if (arguments->path_count == 0)
        cli_usage(state, "--path is missing; name a file, such as --path /song.mp3");
    if (arguments->exp == 0)
        cli_usage(state, "--expires-in is missing; give a duration such as 1h");
    if (arguments->nbf >= arguments->exp)
        cli_usage(
            state,
            "--not-before is not before --expires-in, so the link would never open; give less");
    unsigned inputs = strcmp(arguments->key, "-") == 0;
    for (size_t i = 0; i < arguments->path_count; i++)
        inputs += strcmp(arguments->paths[i], "-") == 0;
    if (inputs > 1)
        cli_usage(state, "standard input can be read only once; give one - among --key and --path");
    size_t length = arguments->origin != NULL ? strlen(arguments->origin) : 0;
    if (arguments->origin == NULL)
        return; /* the configuration's is taken, which config_load validates */
    if (strncmp(arguments->origin, "http://", 7) != 0 &&
        strncmp(arguments->origin, "https://", 8) != 0)
        cli_usage(state, "--origin %s does not begin with http:// or https://; write %s%s",
                  arguments->origin, length > 0 ? "https://" : "https://media.example",
                  arguments->origin);
    if (length == 0 || arguments->origin[length - 1] == '/')
        cli_usage(state, "--origin %s ends with a slash; leave that out", arguments->origin);
}

static void add_path(const struct argp_state *state, struct sign_arguments *arguments,
                     const char *path)
{
    if (arguments->path_count == SIGN_PATHS_MAX)
        cli_usage(state, "--path stands more than %d times; sign the rest in another call",
                  SIGN_PATHS_MAX);
    arguments->paths[arguments->path_count++] = path;
}

/* Where an option's text goes that is taken as it is; NULL for all other options. */
static const char **text_at(struct sign_arguments *arguments, int key)
{
    switch (key) {
    case 'k':
        return &arguments->key;
    case 'i':
        return &arguments->issuer;
    case 'a':
        return &arguments->account;
    case OPTION_JTI:
        return &arguments->jti;
    case OPTION_FILENAME:
        return &arguments->filename;
    case OPTION_KID:
        return &arguments->kid;
    case OPTION_AUDIENCE:
        return &arguments->audience;
    case OPTION_ORIGIN:
        return &arguments->origin;
    case OPTION_ATTRIBUTE:
        return &arguments->attribute;
    default:
        return NULL;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct sign_arguments *arguments = state->input;
    const char **text = text_at(arguments, key);
    if (text != NULL) {
        *text = argument;
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case 'p':
        add_path(state, arguments, argument);
        return 0;
    case OPTION_PREFIX:
        arguments->prefix = true;
        return 0;
    case 'e':
        arguments->exp = arguments->now + cli_duration(state, "--expires-in", argument);
        return 0;
    case OPTION_NOT_BEFORE:
        arguments->nbf = arguments->now + cli_duration(state, "--not-before", argument);
        return 0;
    case OPTION_MAX_USES:
        arguments->limits.max_uses = count_of(state, "--max-uses", argument, TOKEN_USES_MAX);
        return 0;
    case OPTION_MAX_BYTES:
        arguments->limits.max_bytes = size_of(state, "--max-bytes", argument);
        return 0;
    case OPTION_RATE:
        arguments->limits.rate = size_of(state, "--rate", argument);
        return 0;
    case OPTION_MAX_CONNS:
        arguments->limits.max_conns = count_of(state, "--max-conns", argument, TOKEN_CONNS_MAX);
        return 0;
    case OPTION_RESUME:
        arguments->limits.resume_s = (uint32_t)cli_duration(state, "--resume", argument);
        return 0;
    case OPTION_PACE:
        arguments->limits.pace_thousandth = pace_of(state, argument);
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "path", NULL);
    case ARGP_KEY_END:
        validate_arguments(state, arguments);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Signs a link for each line of standard input; empty lines are skipped. */
static int sign_lines(const struct link_signing *signing)
{
    static char line[3 * TOKEN_CONTAINER_MAX];
    unsigned count = 0;
    int code = EX_OK;
    while (code == EX_OK && fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0')
            continue;
        code = link_signing_path(signing, line);
        count++;
    }
    if (ferror(stdin))
        return cli_fail(EX_IOERR, signing->command, "standard input: %s", strerrordesc_np(errno));
    if (count == 0)
        return cli_fail(EX_NOINPUT, signing->command,
                        "standard input: it holds no path; write one on each line");
    return code;
}

/*
 * Loads the configuration that is found, if any, into *out (else NULL), and takes the origin and
 * the attribute from it. A broken one is an error only where --config or TOLLGATE_CONFIG names it,
 * as links can be signed without one. EX_OK, or an exit code after printing why.
 */
static int find_config(const char *command, struct sign_arguments *arguments, struct config **out)
{
    char error[65536];
    const char *file = cli_config_path(&arguments->location), *named = getenv("TOLLGATE_CONFIG");
    *out = NULL;
    if (arguments->location.config != NULL || (named != NULL && named[0] != '\0')) {
        int code = cli_config_load(command, &arguments->location, out);
        if (code != EX_OK)
            return code;
    } else if (file != NULL && config_load(out, file, error, sizeof(error)) < 0) {
        error[strcspn(error, "\n")] = '\0';
        cli_warn(command, "%s. So nothing is taken from this configuration", error);
    }
    if (arguments->origin == NULL)
        arguments->origin = *out != NULL ? (*out)->public_origin : "http://127.0.0.1:8080";
    if (arguments->attribute == NULL)
        arguments->attribute = *out != NULL ? (*out)->token_attribute : "URISigningPackage";
    return EX_OK;
}

/* Replaces an issuer's id by its iss, which links have: --issuer is the id in other commands. */
static void resolve_issuer(struct sign_arguments *arguments, const struct config *config)
{
    const char *iss = NULL;
    for (unsigned i = 0; config != NULL && i < config->issuers_count; i++) {
        if (strcmp(config->issuers[i].iss, arguments->issuer) == 0)
            return;
        if (strcmp(config->issuers[i].id, arguments->issuer) == 0)
            iss = config->issuers[i].iss;
    }
    if (iss != NULL)
        arguments->issuer = iss;
}

static int load_keys(char *command, const char *file, struct key_set **keys)
{
    char error[1024];
    int result = strcmp(file, "-") == 0 ? trust_keys_load_descriptor(STDIN_FILENO, "standard input",
                                                                     keys, error, sizeof(error))
                                        : trust_keys_load(file, keys, error, sizeof(error));
    if (result == -EINVAL)
        return cli_fail(EX_DATAERR, command,
                        "%s; --key is the private JWKS file that `tollgate key generate` wrote",
                        error);
    if (result < 0)
        return cli_fail(EX_NOINPUT, command, "%s", error);
    trust_keys_warn(file, *keys,
                    &(struct trust_warner){.warn = link_signing_warn, .context = command});
    return EX_OK;
}

static int sign(struct link_signing *signing)
{
    const struct sign_arguments *arguments = signing->arguments;
    int code = EX_OK;
    for (size_t i = 0; code == EX_OK && i < arguments->path_count; i++)
        code = strcmp(arguments->paths[i], "-") == 0
                   ? sign_lines(signing)
                   : link_signing_path(signing, arguments->paths[i]);
    return code;
}

int command_link_sign(int argc, char **argv)
{
    static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Signs a link for each --path and prints its URL. The account that pays is ID/NAME, "
               "where ID is the id of the issuer with this iss in tollgate.yaml. The command does "
               "not ask the node. It asks no node. Where it finds the configuration of one, the "
               "URL begins with the node's public_origin, and a warning says what the node will "
               "refuse: a path that is not there, a lifetime that is too long.",
        .children = children,
    };
    struct sign_arguments *arguments = calloc(1, sizeof(*arguments));
    if (arguments == NULL)
        return cli_fail(EX_SOFTWARE, argv[0], "out of memory");
    arguments->now = (int64_t)time(NULL);
    cli_parse(&argp, argc, argv, arguments);
    struct config *config = NULL;
    struct key_set *keys = NULL;
    struct link_signing signing = {.command = argv[0], .arguments = arguments};
    int code = find_config(argv[0], arguments, &config);
    resolve_issuer(arguments, config);
    if (code == EX_OK)
        code = load_keys(argv[0], arguments->key, &keys);
    if (code == EX_OK && config != NULL)
        signing.review = link_review_create(config, cli_config_path(&arguments->location));
    signing.keys = keys;
    signing.links = cli_wants_json() ? json_array() : NULL;
    if (code == EX_OK)
        code = sign(&signing);
    if (code == EX_OK && signing.links != NULL)
        code = cli_print_json(argv[0], signing.links);
    json_decref(signing.links);
    link_review_destroy(&signing.review);
    key_set_destroy(&keys);
    config_destroy(&config);
    free(arguments);
    return code;
}
