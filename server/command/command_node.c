/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands about a node ask it, and how they put its answer. See command_node.h. It prints no
 * result.
 */
#include "server/command/command_node.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/command/command_admin.h"

static bool counts(const struct node_lanes *lanes, const char *instance)
{
    bool found = lanes->instances == NULL;
    for (unsigned i = 0; i < lanes->count && !found; i++)
        found = strcmp(lanes->instances[i], instance) == 0;
    return found;
}

static void say_lane(const json_t *lane, FILE *out)
{
    intmax_t unposted = (intmax_t)command_number(lane, "unposted");
    intmax_t aside = (intmax_t)command_number(lane, "set_aside");
    const char *text = command_text(lane, "text");
    fprintf(out, "%s%s: ", ftell(out) > 0 ? ", " : "", command_text(lane, "lane"));
    if (unposted > 0)
        fprintf(out, "%" PRIdMAX " record%s not posted", unposted, unposted == 1 ? "" : "s");
    if (aside > 0)
        fprintf(out, "%s%" PRIdMAX " account%s set aside", unposted > 0 ? " and " : "", aside,
                aside == 1 ? "" : "s");
    if (unposted == 0 && aside == 0)
        fputs("not posted", out);
    if (text[0] != '\0') {
        fputs(" (", out);
        command_print_text(out, text);
        fputc(')', out);
    }
}

void node_rest_read(const json_t *answer, const struct node_lanes *lanes, struct node_rest *out)
{
    size_t i;
    const json_t *lane;
    unsigned found = 0;
    *out = (struct node_rest){.is_posted = true, .only_aside = true};
    FILE *text = fmemopen(out->sentence, sizeof(out->sentence), "w");
    json_array_foreach(json_object_get(answer, "lanes"), i, lane)
    {
        if (!counts(lanes, command_text(lane, "instance")))
            continue;
        found++;
        out->unposted += command_number(lane, "unposted");
        out->set_aside += command_number(lane, "set_aside");
        if (json_is_true(json_object_get(lane, "posted")))
            continue;
        out->is_posted = false;
        if (command_number(lane, "unposted") > 0 || command_number(lane, "set_aside") == 0)
            out->only_aside = false;
        if (text != NULL)
            say_lane(lane, text);
    }
    if (text != NULL)
        (void)fclose(text);
    out->missing = lanes->instances != NULL && found < lanes->count ? lanes->count - found : 0;
    out->is_posted = out->is_posted && out->missing == 0;
    out->only_aside = out->only_aside && !out->is_posted && out->missing == 0;
}

int node_call(const char *command, const struct cli_location *location, const json_t *body,
              json_t **answer)
{
    unsigned status = 0;
    int code = command_call(command, location, body != NULL ? "PUT" : "GET", "/v1/node", body,
                            &status, answer);
    return code == EX_OK && status != 200 ? command_refused(command, status, *answer) : code;
}

void node_progress(const char *text)
{
    static bool is_drawn;
    if (isatty(STDERR_FILENO) != 1 || cli_wants_json() || (text[0] == '\0' && !is_drawn))
        return;
    fprintf(stderr, "\r\033[K%s", text);
    (void)fflush(stderr);
    is_drawn = text[0] != '\0';
}

void node_pause(void)
{
    const struct timespec pause = {.tv_nsec = NODE_POLL_MS * 1000000L};
    (void)nanosleep(&pause, NULL);
}
