/*
 * `tollgate serve`: loads the configuration and runs a node in the calling thread, or only checks
 * the configuration and what it names, or prints the reference. Called by tollgate_main; all of a
 * node's work is behind node_run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/cli.h"
#include "server/config.h"
#include "server/log.h"
#include "server/node.h"
#include "server/trust.h"

enum { OPTION_CHECK = 256, OPTION_REFERENCE };

struct serve_arguments {
    struct cli_location location;
    const char *listen;
    bool check, reference;
};

static const struct argp_option options[] = {
    {"listen", 'l', "ADDRESS", 0, "Serve on this address instead of the configuration's", 0},
    {"check-config", OPTION_CHECK, NULL, 0,
     "Check the configuration, the key sets and the media root, and exit", 0},
    {"print-config-reference", OPTION_REFERENCE, NULL, 0,
     "Print a configuration with every key, its default and its bounds, and exit", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct serve_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case 'l':
        arguments->listen = argument;
        return 0;
    case OPTION_CHECK:
        arguments->check = true;
        return 0;
    case OPTION_REFERENCE:
        arguments->reference = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "%s: serve takes options only; did you mean --config %s?", argument,
                   argument);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* One line on standard error for each thing that the node could not use; how many there were. */
static unsigned check_named(const struct config *config, const char *file)
{
    unsigned wrong = 0;
    char error[2048];
    struct token_trust *trust;
    if (trust_load(config, &trust, error, sizeof(error)) < 0) {
        fprintf(stderr, "%s: %s\n", file, error);
        wrong++;
    } else {
        token_trust_drop(&trust);
    }
    int root = open(config->media_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        fprintf(stderr, "%s: media_root: %s: %s; name a directory that the node may read\n", file,
                config->media_root, strerror(errno));
        wrong++;
    } else {
        close(root);
    }
    if (config->redis_password_file[0] != '\0' && access(config->redis_password_file, R_OK) < 0) {
        fprintf(stderr, "%s: redis_password_file: %s: %s; let the node's user read it\n", file,
                config->redis_password_file, strerror(errno));
        wrong++;
    }
    return wrong;
}

static int run(const struct config *config, const char *command)
{
    char error[2048] = "";
    enum log_level level;
    if (log_level_parse(config->log_level, &level) == 0)
        log_set_level(level);
    int result = node_run(config, error, sizeof(error));
    if (result == 0)
        return EX_OK;
    return cli_fail(result == -ENOMEM ? EX_SOFTWARE : EX_UNAVAILABLE, command, "%s",
                    error[0] != '\0' ? error : strerror(-result));
}

int command_serve(int argc, char **argv)
{
    static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc =
            "Runs a node: serves the files of media_root to those whose links are signed and whose "
            "accounts can pay, until SIGTERM or SIGINT.",
        .children = children,
    };
    struct serve_arguments arguments = {0};
    cli_parse(&argp, argc, argv, &arguments);
    if (arguments.reference) {
        config_print_reference(stdout);
        return EX_OK;
    }
    struct config *config;
    int code = cli_config_load(argv[0], &arguments.location, &config);
    if (code != EX_OK)
        return code;
    char error[256];
    const char *file = cli_config_path(&arguments.location);
    if (arguments.listen && config_set_listen(config, arguments.listen, error, sizeof(error)) < 0) {
        code = cli_fail(EX_USAGE, argv[0], "--listen: %s", error);
    } else if (arguments.check) {
        code = check_named(config, file) == 0 ? EX_OK : EX_CONFIG;
        if (code == EX_OK)
            printf("%s: ok\n", file);
    } else {
        code = run(config, argv[0]);
    }
    config_destroy(&config);
    return code;
}
