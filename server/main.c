/* SPDX-License-Identifier: Apache-2.0 */
/* The program's entry. All else is in the server library, so that tests can link the same code. */
#include "server/command/server.h"

int main(int argc, char **argv)
{
    return tollgate_main(argc, argv);
}
