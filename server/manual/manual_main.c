/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry of tollgate-manual, which the build runs to make the man pages and the completion:
 * `tollgate-manual program|configuration|completion` prints one of them.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "server/command/cli.h"
#include "server/manual/manual.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } outputs[] = {
        {"program", manual_print_program},
        {"configuration", manual_print_configuration},
        {"completion", manual_print_completion},
    };
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        if (argc != 2 || strcmp(argv[1], outputs[i].name) != 0)
            continue;
        outputs[i].print(stdout);
        /* Not exit: a sanitizer would report what a command had allocated before its cli_parse. */
        if (fflush(stdout) != 0)
            _exit(cli_fail(EX_IOERR, "tollgate-manual", "standard output: %s",
                           strerrordesc_np(errno)));
        _exit(EX_OK);
    }
    _exit(cli_fail(EX_USAGE, "tollgate-manual", "give one of program, configuration, completion"));
}
