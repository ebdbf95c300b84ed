/*
 * `tollgate serve`: loads the configuration and runs a node in the calling thread, or only checks
 * the configuration and what it names, or prints the reference. Called by tollgate_main; all of a
 * node's work is behind node_run.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string.h> /* after libgen.h, which would take its basename */

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
     "Check the configuration, the key sets, the media root and the state directory, and exit", 0},
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

/* The node makes the directory itself, but not its parent. 1 where it could not be used. */
static unsigned check_state_dir(const struct config *config, const char *file)
{
    struct stat facts;
    const char *wrong = NULL;
    char parent[PATH_MAX];
    if (stat(config->state_dir, &facts) == 0) {
        wrong = !S_ISDIR(facts.st_mode) ? "is no directory; choose another"
                : access(config->state_dir, W_OK | X_OK) < 0
                    ? "cannot be written; let the node's user own it"
                    : NULL;
    } else {
        snprintf(parent, sizeof(parent), "%s", config->state_dir);
        if (access(dirname(parent), W_OK | X_OK) < 0)
            wrong = errno == ENOENT ? "has no parent directory; make it first"
                                    : "cannot be made there; make it for the node's user";
    }
    if (wrong)
        fprintf(stderr, "%s: state_dir: %s: %s\n", file, config->state_dir, wrong);
    return wrong ? 1 : 0;
}

/* One line on standard error for each place that the node could not use; how many there were. */
static unsigned check_places(const struct config *config, const char *file)
{
    unsigned wrong = 0;
    int root = open(config->media_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        fprintf(stderr, "%s: media_root: %s: %s; name a directory that the node may read\n", file,
                config->media_root, strerror(errno));
        wrong++;
    } else {
        close(root);
    }
    wrong += check_state_dir(config, file);
    if (config->redis_password_file[0] != '\0' && access(config->redis_password_file, R_OK) < 0) {
        fprintf(stderr, "%s: redis_password_file: %s: %s; let the node's user read it\n", file,
                config->redis_password_file, strerror(errno));
        wrong++;
    }
    return wrong;
}

/* The same for all that the configuration names. */
static unsigned check_named(const struct config *config, const char *file)
{
    char error[2048];
    struct token_trust *trust;
    unsigned wrong = check_places(config, file);
    if (trust_load(config, &trust, error, sizeof(error)) < 0) {
        fprintf(stderr, "%s: %s\n", file, error);
        return wrong + 1;
    }
    token_trust_drop(&trust);
    return wrong;
}

/*
 * The node's sockets share their port (SO_REUSEPORT, one for each worker), so a second node would
 * start on it, too, and take half of the first one's clients. A socket that does not share is
 * refused where anybody listens. 0, or a negative errno; an address that is bad in another way is
 * the node's to report.
 */
static int probe_listen(const char *listen)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    char host[64];
    const char *colon = strrchr(listen, ':');
    in_port_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    bool v6 = listen[0] == '[';
    int length = (int)(colon - listen) - (v6 ? 2 : 0);
    if (port == 0)
        return 0;
    snprintf(host, sizeof(host), "%.*s", length, listen + (v6 ? 1 : 0));
    address.any.sa_family = v6 ? AF_INET6 : AF_INET;
    if (v6) {
        address.v6.sin6_port = port;
        inet_pton(AF_INET6, host, &address.v6.sin6_addr);
    } else {
        address.v4.sin_port = port;
        if (length > 0)
            inet_pton(AF_INET, host, &address.v4.sin_addr);
    }
    int one = 1, result = 0;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    /* SO_REUSEADDR lets a restart pass by the closed connections of the node before. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, &address.any, v6 ? sizeof(address.v6) : sizeof(address.v4)) < 0 &&
        errno == EADDRINUSE)
        result = -EADDRINUSE;
    close(fd);
    return result;
}

static int run(const struct config *config, const char *file, const char *command)
{
    char error[2048] = "";
    /* Before the journal is opened and a Redis started for nothing. */
    if (check_places(config, file) > 0)
        return EX_CONFIG;
    int taken = probe_listen(config->listen);
    if (taken < 0)
        return cli_fail(EX_UNAVAILABLE, command,
                        "listen on %s: %s; stop what serves there, or choose another address with "
                        "--listen",
                        config->listen, strerror(-taken));
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
        code = run(config, file, argv[0]);
    }
    config_destroy(&config);
    return code;
}
