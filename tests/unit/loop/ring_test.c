/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a ring, and what is said where that fails: each cause, on a pretended host, apart. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "server/loop/ring.h"

static const struct {
    const char *cause;
    struct ring_host host;
    int status;
    const char *says;
} causes[] = {
    {"old kernel, new flags", {5, 10, -1, false}, -EINVAL, "this is Linux 5.10; boot 6.1"},
    {"old kernel without it", {4, 19, -1, true}, -ENOSYS, "this is Linux 4.19; boot 6.1"},
    {"just below", {6, 0, -1, false}, -EINVAL, "this is Linux 6.0; boot 6.1"},
    {"built without", {6, 1, -1, false}, -ENOSYS, "CONFIG_IO_URING"},
    {"switched off", {6, 6, 2, false}, -EPERM, "kernel.io_uring_disabled is 2"},
    {"switched off and filtered", {6, 6, 2, true}, -EPERM, "kernel.io_uring_disabled is 2"},
    {"not for this user", {6, 6, 1, false}, -EPERM, "kernel.io_uring_group"},
    {"filter", {6, 6, 0, true}, -EPERM, "a seccomp filter"},
    {"filter that says ENOSYS", {6, 1, -1, true}, -ENOSYS, "a seccomp filter"},
    {"filter that says EACCES", {6, 1, -1, true}, -EACCES, "a seccomp filter"},
    {"filter that says EINVAL", {6, 1, -1, true}, -EINVAL, "a seccomp filter"},
    {"security module", {6, 6, 0, false}, -EACCES, "a security module"},
    {"memory", {6, 6, 0, false}, -ENOMEM, "LimitMEMLOCK"},
    {"descriptors", {6, 6, 0, false}, -EMFILE, "LimitNOFILE"},
};

Test(ring, each_cause_of_a_refusal_has_its_own_cure)
{
    char text[512];
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        ring_explain(&causes[i].host, "io_uring_setup", causes[i].status, text, sizeof(text));
        cr_assert(strstr(text, causes[i].says), "%s: no \"%s\" in: %s", causes[i].cause,
                  causes[i].says, text);
        cr_assert_eq(strncmp(text, "io_uring_setup: ", 16), 0, "%s", text);
    }
}

Test(ring, a_ring_opens_here_and_can_be_enabled_once)
{
    char error[512] = "";
    struct io_uring ring;
    cr_assert_eq(ring_open(&ring, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(ring_enable(&ring, error, sizeof(error)), 0, "%s", error);
    cr_assert_lt(ring_enable(&ring, error, sizeof(error)), 0);
    cr_assert(strstr(error, "io_uring_register: "), "%s", error);
    io_uring_queue_exit(&ring);
}
