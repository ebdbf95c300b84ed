/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tollgate-micro: how many instructions the parts of a request take. It runs under callgrind;
 * run.sh calls it, gives it a state directory whose account is open, and prints the counts. It
 * prints nothing but errors itself.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <valgrind/callgrind.h>

#include "bench/micro/micro.h"

void micro_toggle(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}

void micro_begin(void)
{
    CALLGRIND_ZERO_STATS;
}

void micro_end(const char *name, unsigned count)
{
    char label[64];
    snprintf(label, sizeof(label), "%s %u", name, count);
    CALLGRIND_DUMP_STATS_AT(label);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "parts") == 0) {
        micro_parts(argv[2]);
        return EX_OK;
    }
    if (argc == 5 && strcmp(argv[1], "exchanges") == 0) {
        const struct micro_exchanges exchanges = {
            .configuration = argv[2], .small = argv[3], .large = argv[4]};
        return micro_exchanges(&exchanges) == 0 ? EX_OK : EX_UNAVAILABLE;
    }
    fputs("usage: tollgate-micro parts DIRECTORY | exchanges CONFIGURATION SMALL LARGE\n"
          "bench/micro/run.sh calls it.\n",
          stderr);
    return EX_USAGE;
}
