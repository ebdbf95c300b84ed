/*
 * `tollgate doctor`: whether a node could run here, and what to do where it could not. It needs no
 * running node, works beside one, and changes nothing.
 */
#include <stdio.h>
#include <unistd.h>

#include "server/cli.h"
#include "server/config.h"
#include "server/doctor.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->input;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "%s: doctor takes options only; did you mean --config %s?", argument,
                   argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct tally {
    unsigned warnings, failures;
};

static void print(void *context, const struct doctor_finding *finding)
{
    static const char *const words[] = {
        [DOCTOR_OK] = "ok", [DOCTOR_WARNING] = "warning", [DOCTOR_FAILURE] = "FAIL"};
    struct tally *tally = context;
    tally->warnings += finding->verdict == DOCTOR_WARNING;
    tally->failures += finding->verdict == DOCTOR_FAILURE;
    printf("%-8s %s: %s\n", words[finding->verdict], finding->name, finding->text);
    fflush(stdout); /* the next check may take seconds */
}

int command_doctor(int argc, char **argv)
{
    static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
    static const struct argp argp = {
        .parser = parse,
        .doc = "Checks what a node needs from this host, from its configuration and from its "
               "Redis, and says how to cure what is wrong. Run it as the node's user, where the "
               "node will run (in its container, under its unit). Exits with 0 where a node can "
               "run, 1 where it cannot. Without a configuration it checks only the host."
               "\v"
               "Under the packaged service:\n"
               "  runuser -u tollgate -- tollgate doctor\n",
        .children = children,
    };
    struct cli_location location = {0};
    struct config *config = NULL;
    struct tally tally = {0};
    cli_parse(&argp, argc, argv, &location);
    if (cli_config_path(&location) != NULL) {
        int code = cli_config_load(argv[0], &location, &config);
        if (code != EX_OK)
            return code;
    } else {
        printf("%-8s config: no file was found, so only the host is checked; give --config FILE\n",
               "warning");
        tally.warnings++;
    }
    doctor_run(config, DOCTOR_COMMAND, print, &tally);
    config_destroy(&config);
    printf("%s: %u failed, %u warning%s\n",
           tally.failures == 0 ? "a node can run here" : "a node cannot run here", tally.failures,
           tally.warnings, tally.warnings == 1 ? "" : "s");
    return tally.failures == 0 ? EX_OK : CLI_EXIT_NO;
}
