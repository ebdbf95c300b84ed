/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate doctor`: says whether a node could run here, and what to do where it could not.
 * tollgate_main calls it, doctor.c does the examinations. It needs no running node, works beside
 * one, and changes nothing.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/command/cli.h"
#include "server/config/config.h"
#include "server/doctor/doctor.h"

static error_t parse(int key, char *argument, struct argp_state *state)
{
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = state->input;
        return 0;
    case ARGP_KEY_ARG:
        cli_surplus(state, argument, "config", NULL);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct tally {
    unsigned warnings, failures;
    json_t *findings; /* print_tally takes it; NULL without --json */
};

static void print(void *context, const struct doctor_finding *finding)
{
    static const char *const words[] = {
        [DOCTOR_OK] = "ok", [DOCTOR_WARNING] = "warning", [DOCTOR_FAILURE] = "FAIL"};
    struct tally *tally = context;
    tally->warnings += finding->verdict == DOCTOR_WARNING;
    tally->failures += finding->verdict == DOCTOR_FAILURE;
    if (tally->findings != NULL) {
        const char *cure = strstr(finding->text, "; ");
        size_t length = cure != NULL ? (size_t)(cure - finding->text) : strlen(finding->text);
        json_t *row =
            json_pack("{s:s, s:s, s:s%}", "check", finding->name, "verdict",
                      finding->verdict == DOCTOR_FAILURE ? "failure" : words[finding->verdict],
                      "message", finding->text, length);
        if (cure != NULL)
            (void)json_object_set_new(row, "cure", json_string(cure + 2));
        (void)json_array_append_new(tally->findings, row);
        return;
    }
    printf("%-8s %s: %s\n", words[finding->verdict], finding->name, finding->text);
    fflush(stdout); /* shown now: the next examination may take seconds */
}

static int print_tally(const char *command, struct tally *tally)
{
    bool can_run = tally->failures == 0;
    int code = EX_OK;
    if (tally->findings != NULL) {
        json_t *answer = json_pack("{s:b, s:I, s:I, s:o}", "can_run", can_run, "failures",
                                   (json_int_t)tally->failures, "warnings",
                                   (json_int_t)tally->warnings, "findings", tally->findings);
        code = cli_print_json(command, answer);
        json_decref(answer);
    } else {
        printf("%s: %u failed, %u warning%s\n",
               can_run ? "a node can run here" : "a node cannot run here", tally->failures,
               tally->warnings, tally->warnings == 1 ? "" : "s");
    }
    return code != EX_OK ? code : can_run ? EX_OK : CLI_EXIT_NO;
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
    }
    tally.findings = cli_wants_json() ? json_array() : NULL;
    if (config == NULL)
        print(&tally,
              &(struct doctor_finding){
                  .name = "config",
                  .verdict = DOCTOR_WARNING,
                  .text = "no file was found, so only the host is checked; give --config FILE"});
    doctor_run(config, DOCTOR_COMMAND, print, &tally);
    config_destroy(&config);
    return print_tally(argv[0], &tally);
}
