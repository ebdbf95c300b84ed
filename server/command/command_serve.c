/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate serve`: loads the configuration and runs a node in the calling thread, or only judges
 * the configuration and what it names, or prints the reference of all keys. tollgate_main calls it.
 * It does none of a node's work: that is behind node_run.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "server/base/log.h"
#include "server/command/cli.h"
#include "server/config/config.h"
#include "server/doctor/doctor.h"
#include "server/node/run.h"

enum { OPTION_CHECK_CONFIG = 256, OPTION_REFERENCE, OPTION_DEBUG };

struct serve_arguments {
    struct cli_location location;
    const char *listen;
    bool check_config, reference, debug;
};

static const struct argp_option options[] = {
    {"listen", 'l', "ADDRESS", 0, "Serve on this address instead of the configuration's", 0},
    {"check-config", OPTION_CHECK_CONFIG, NULL, 0,
     "Check the configuration, the key sets, the media root and the state directory, and exit", 0},
    {"print-config-reference", OPTION_REFERENCE, NULL, 0,
     "Print a configuration with every key, its default and its bounds, and exit", 0},
    {"debug", OPTION_DEBUG, NULL, 0,
     "Allow core dumps and debuggers, which are off otherwise, because they would hold keys", 0},
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
    case OPTION_CHECK_CONFIG:
        arguments->check_config = true;
        return 0;
    case OPTION_REFERENCE:
        arguments->reference = true;
        return 0;
    case OPTION_DEBUG:
        arguments->debug = true;
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "config", NULL);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- examining before anything is opened or started ---- */

struct examination {
    const char *file, *command;
    int exit_code; /* of the first failure */
    struct cli_mistakes mistakes;
    json_t *warnings; /* owns; NULL: warnings go to the log */
};

static void tell_failure(struct examination *examination, const char *of,
                         const struct doctor_finding *finding)
{
    char text[sizeof(finding->text) + 64];
    snprintf(text, sizeof(text), "%s: %s", finding->name, finding->text);
    cli_mistakes_add(&examination->mistakes, of, 0, text);
    if (examination->exit_code == 0)
        examination->exit_code = finding->exit_code;
}

static void tell_warning(struct examination *examination, const struct doctor_finding *finding)
{
    if (examination->warnings == NULL)
        log_warning("%s: %s", finding->name, finding->text);
    else
        (void)json_array_append_new(
            examination->warnings,
            json_pack("{s:s, s:s}", "check", finding->name, "message", finding->text));
}

static void report_config(void *context, const struct doctor_finding *finding)
{
    struct examination *examination = context;
    if (finding->verdict == DOCTOR_WARNING)
        tell_warning(examination, finding);
    if (finding->verdict == DOCTOR_FAILURE)
        tell_failure(examination, examination->file, finding);
}

static void report_start(void *context, const struct doctor_finding *finding)
{
    struct examination *examination = context;
    if (finding->verdict == DOCTOR_WARNING)
        tell_warning(examination, finding);
    if (finding->verdict == DOCTOR_FAILURE)
        tell_failure(examination,
                     finding->exit_code == EX_CONFIG ? examination->file : examination->command,
                     finding);
}

static int run(const struct config *config, const struct config_source *source, const char *command)
{
    char error[2048] = "";
    struct examination examination = {.file = source->file, .command = command};
    enum log_level level;
    if (log_level_parse(config->log_level, &level) == 0)
        log_set_level(level);
    /* The doctor comes first, so that no journal is opened and no Redis started for nothing. */
    doctor_run(config, DOCTOR_START, report_start, &examination);
    if (examination.exit_code != 0)
        return cli_mistakes_end(&examination.mistakes, examination.exit_code, command);
    int result = node_run(config, source, error, sizeof(error));
    if (result == 0)
        return EX_OK;
    return cli_fail(result == -ENOMEM ? EX_SOFTWARE : EX_UNAVAILABLE, command, "%s",
                    error[0] != '\0' ? error : strerrordesc_np(-result));
}

/* A core would hold keys, secrets and tokens. A Redis that the node starts inherits the limit. */
static void forbid_dumps(void)
{
    const struct rlimit none = {0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
}

static int validate_config(const struct config *config, const char *file, const char *command)
{
    struct examination examination = {
        .file = file, .command = command, .warnings = cli_wants_json() ? json_array() : NULL};
    doctor_run(config, DOCTOR_CONFIG, report_config, &examination);
    int code = examination.exit_code;
    if (code != EX_OK) {
        code = cli_mistakes_end(&examination.mistakes, code, command);
    } else if (examination.warnings != NULL) {
        json_t *answer = json_pack("{s:b, s:s, s:O}", "ok", true, "file", file, "warnings",
                                   examination.warnings);
        code = cli_print_json(command, answer);
        json_decref(answer);
    } else {
        printf("%s: ok\n", file);
    }
    json_decref(examination.warnings);
    return code;
}

/* "the issuers' key sets, ", and so on. */
#define LISTED(name, what, help) what ", "
#define RELOADED                 CONFIG_RELOADS(LISTED)

int command_serve(int argc, char **argv)
{
    static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Runs a node: serves the files of media_root to those whose links are signed and "
               "whose accounts can pay, until SIGTERM or SIGINT.\vSIGHUP reads " RELOADED
               "all of them again; if a file is broken, its previous content stays in force. "
               "SIGHUP does not apply changes of tollgate.yaml: the log says which of them take "
               "effect only after a restart, or what is wrong with them. A key set that changes "
               "is read again without SIGHUP, too. SIGUSR1 reopens the access log. Sockets that "
               "systemd passes (LISTEN_FDS) are served in place of `listen`, those named tls in "
               "place of `listen_tls`, and systemd is told when the node serves, reloads and "
               "stops (NOTIFY_SOCKET).",
        .children = children,
    };
    struct serve_arguments arguments = {0};
    cli_parse(&argp, argc, argv, &arguments);
    if (arguments.reference && cli_wants_json()) {
        json_t *keys = config_reference_json();
        int printed = cli_print_json(argv[0], keys);
        json_decref(keys);
        return printed;
    }
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
    if (arguments.listen != NULL &&
        config_set_listen(config, arguments.listen, error, sizeof(error)) < 0) {
        code = cli_fail(EX_USAGE, argv[0], "--listen: %s", error);
    } else if (arguments.check_config) {
        code = validate_config(config, file, argv[0]);
    } else {
        if (!arguments.debug)
            forbid_dumps();
        const struct config_source source = {.file = file, .listen = arguments.listen};
        code = run(config, &source, argv[0]);
    }
    config_destroy(&config);
    return code;
}
