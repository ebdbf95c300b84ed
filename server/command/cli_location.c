/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the commands find the configuration, the admin socket and a link: options, environment and
 * standard input. Called by the commands.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/check.h"
#include "server/command/cli.h"
#include "server/config/config.h"

#define LINK_BYTES_MAX 65536 /* the most that head_bytes_max may be: no node reads a longer link */

static error_t parse_location(int key, char *argument, struct argp_state *state)
{
    struct cli_location *location = state->input;
    switch (key) {
    case 'c':
        location->config = argument;
        return 0;
    case 's':
        location->socket = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option location_options[] = {
    {"config", 'c', "FILE", 0,
     "The configuration (else TOLLGATE_CONFIG, ./tollgate.yaml, /etc/tollgate/tollgate.yaml)", 0},
    {"socket", 's', "PATH", 0, "The node's admin socket, instead of the configuration's", 0},
    {0},
};
static const struct argp_option config_options[] = {
    {"config", 'c', "FILE", 0,
     "The configuration (else TOLLGATE_CONFIG, ./tollgate.yaml, /etc/tollgate/tollgate.yaml)", 0},
    {0},
};
const struct argp cli_location_argp = {.options = location_options, .parser = parse_location};
const struct argp cli_config_argp = {.options = config_options, .parser = parse_location};

const char *cli_config_path(const struct cli_location *location)
{
    static const char *const usual[] = {"./tollgate.yaml", "/etc/tollgate/tollgate.yaml"};
    if (location->config != NULL)
        return location->config;
    const char *environment = getenv("TOLLGATE_CONFIG");
    if (environment != NULL && environment[0] != '\0')
        return environment;
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
        if (access(usual[i], F_OK) == 0)
            return usual[i];
    }
    return NULL;
}

int cli_read_link(const char *command, const char **link)
{
    static char line[LINK_BYTES_MAX + 2], more[8];
    if (strcmp(*link, "-") != 0)
        return EX_OK;
    *link = line;
    if (fgets(line, sizeof(line), stdin) == NULL)
        return cli_fail(EX_NOINPUT, command,
                        "standard input: %s; write the link there, as the only line",
                        ferror(stdin) ? strerrordesc_np(errno) : "is empty");
    size_t length = strcspn(line, "\n");
    bool is_whole = line[length] == '\n' || feof(stdin);
    length = strcspn(line, "\r\n");
    line[length] = '\0';
    if (!is_whole)
        return cli_fail(EX_DATAERR, command,
                        "standard input: its first line is longer than %d "
                        "bytes; write one link there",
                        LINK_BYTES_MAX);
    if (length == 0)
        return cli_fail(EX_DATAERR, command,
                        "standard input: its first line is empty; write the "
                        "link there");
    /* On a terminal it does not wait for a second line. */
    if (!isatty(STDIN_FILENO) && fgets(more, sizeof(more), stdin) != NULL &&
        more[strspn(more, " \r\n")] != '\0')
        return cli_fail(EX_DATAERR, command,
                        "standard input: has more than one line; write one "
                        "link there");
    return EX_OK;
}

/* Tells the mistakes of config_load, one on each line: "FILE:7: what is wrong", as editors want. */
static int tell_mistakes(const char *command, const char *path, char *lines, int exit_code)
{
    struct cli_mistakes mistakes = {0};
    size_t length = strlen(path);
    for (char *line = lines, *next; line != NULL; line = next) {
        unsigned number = 0;
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        char *text = line;
        if (strncmp(line, path, length) == 0 && line[length] == ':') {
            text = line + length + 1;
            number = (unsigned)strtoul(text, &text, 10);
            text += strspn(text, ": ");
        }
        cli_mistakes_add(&mistakes, path, number, text);
    }
    return cli_mistakes_end(&mistakes, exit_code, command);
}

int cli_config_load(const char *command, const struct cli_location *location, struct config **out)
{
    *out = NULL;
    const char *path = cli_config_path(location);
    if (path == NULL)
        return cli_fail(
            EX_NOINPUT, command,
            "no configuration was found; give --config FILE, set TOLLGATE_CONFIG, or write "
            "./tollgate.yaml or /etc/tollgate/tollgate.yaml");
    char error[65536]; /* room for a mistake in each key */
    int result = config_load(out, path, error, sizeof(error));
    if (result == 0)
        return EX_OK;
    return tell_mistakes(command, path, error,
                         result == -EINVAL || result == -EFBIG ? EX_CONFIG
                         : result == -ENOMEM                   ? EX_SOFTWARE
                                                               : EX_NOINPUT);
}

int cli_socket_path(const char *command, const struct cli_location *location, char *path,
                    size_t size)
{
    if (location->socket != NULL) {
        int length = snprintf(path, size, "%s", location->socket);
        if (length < 0 || (size_t)length >= size || length > 107)
            return cli_fail(
                EX_USAGE, command,
                "--socket %s is longer than a Unix socket's path may be (107 bytes); give a "
                "shorter one",
                location->socket);
        return EX_OK;
    }
    struct config *config;
    int code = cli_config_load(command, location, &config);
    if (code != EX_OK)
        return code;
    check(config != NULL);
    if (config_admin_socket(config, path, size) < 0)
        code = cli_fail(EX_CONFIG, command,
                        "state_dir %s is too long for a Unix socket in it; choose a shorter one",
                        config->state_dir);
    config_destroy(&config);
    return code;
}
