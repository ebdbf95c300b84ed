/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor, and the start of a node, which uses it, on hosts where something is wrong: a seccomp
 * filter, a limit, the clock, a port, a directory. Each test is a process of its own, so that its
 * `tollgate` inherits what the test does to itself.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/integration/doctor_steps.h"
#include "tests/integration/harness.h"

/* Makes a system call fail with `error` in this process and its children. */
static void refuse(unsigned number, unsigned error)
{
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {
        .len = sizeof(instructions) / sizeof(instructions[0]),
        .filter = instructions,
    };
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "%s",
                 strerrordesc_np(errno));
}

Test(doctor, finds_nothing_wrong_with_a_node_that_runs)
{
    struct site *site = site_create();
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    (void)line_of(site, doctor.output, "ok       io_uring: ");
    (void)line_of(site, doctor.output, "ok       keys: of 2 issuers");
    expect_text(line_of(site, doctor.output, "ok       redis: "), "append-only, noeviction");
    expect_text(doctor.output, "a node can run here: 0 failed");
    site_destroy(&site);
}

Test(doctor, knows_the_embedded_redis_before_its_first_start)
{
    struct site *site = site_create(.stays_down = true);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "ok       redis: "), "embedded: the node will run /");
    cr_assert_neq(access(site_state_dir(site), F_OK), 0, "the doctor made the state directory");
    site_destroy(&site);
}

static void expect_filter_is_named(unsigned number, unsigned error, const char *call)
{
    struct site *site = site_create(.stays_down = true);
    refuse(number, error);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    const char *line =
        line_of(site, doctor.output, site_format(site, "FAIL     io_uring: %s: ", call));
    expect_text(line, "a seccomp filter refuses it");
    expect_text(line, "docker/seccomp.json");
    expect_text(doctor.output, "a node cannot run here: 1 failed");

    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 69, "%d: %s", serve.exit_code, serve.errors);
    expect_text(serve.errors, site_format(site, "tollgate serve: io_uring: %s: ", call));
    expect_text(serve.errors, "a seccomp filter refuses it");
    cr_assert_neq(access(site_state_dir(site), F_OK), 0, "something was started all the same");
    site_destroy(&site);
}

Test(doctor, and_the_start_name_the_filter_that_refuses_io_uring)
{
    expect_filter_is_named(SYS_io_uring_setup, EPERM, "io_uring_setup");
}

Test(doctor, and_the_start_name_a_filter_that_pretends_an_old_kernel)
{
    expect_filter_is_named(SYS_io_uring_setup, ENOSYS, "io_uring_setup");
}

Test(doctor, and_the_start_name_the_one_call_that_a_filter_forgot)
{
    expect_filter_is_named(SYS_io_uring_enter, EPERM, "io_uring_enter");
}

Test(doctor, and_the_start_name_a_filter_that_refuses_openat2)
{
    struct site *site = site_create(.stays_down = true);
    refuse(SYS_openat2, ENOSYS);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "FAIL     media_root: "), "allow openat2");
    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 78, "%d: %s", serve.exit_code, serve.errors);
    expect_text(serve.errors, "RestrictSUIDSGID");
    site_destroy(&site);
}

Test(doctor, warns_where_the_descriptors_do_not_suffice)
{
    struct site *site = site_create(.stays_down = true);
    struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "warning  nofile: "), "1000 descriptors are allowed");
    expect_text(doctor.output, "LimitNOFILE");
    site_destroy(&site);
}

Test(doctor, and_the_start_refuse_where_a_node_has_too_few_descriptors)
{
    struct site *site = site_create(.stays_down = true);
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "FAIL     nofile: "), "64 descriptors are allowed");
    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 69, "%d: %s", serve.exit_code, serve.errors);
    expect_text(serve.errors, "64 descriptors are allowed, but a node needs at least ");
    expect_text(serve.errors, "raise LimitNOFILE (ulimit -n)");
    site_destroy(&site);
}

Test(doctor, refuses_a_clock_from_before_the_program_was_made)
{
    struct site *site = site_create(.stays_down = true);
    const char *original = getenv("TOLLGATE_BINARY");
    const char *copy = site_format(site, "%s/tollgate", site_directory(site));
    const char *command = site_format(site, "cp '%s' '%s' && touch -d '2 days' '%s'",
                                      original != NULL ? original : TOLLGATE_BINARY, copy,
                                      copy); /* two days from now */
    cr_assert_eq(system(command), 0);        // NOLINT(cert-env33-c): the words are the test's own
    cr_assert_eq(setenv("TOLLGATE_BINARY", copy, 1), 0);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "FAIL     clock: "),
                "before tollgate itself was made");
    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 69);
    expect_text(serve.errors, "set the clock");
    site_destroy(&site);
}

static void set_listen(struct site *site, unsigned port)
{
    const char *command =
        site_format(site, "sed -i 's/^listen: .*/listen: 127.0.0.1:%u/' '%s/tollgate.yaml'", port,
                    site_directory(site));
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): the words are the test's own
}

Test(doctor, names_a_port_that_something_else_has_and_the_check_does_not)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    struct site *site = site_create(.stays_down = true);
    set_listen(site, ntohs(address.sin_port));
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    expect_text(doctor.output,
                site_format(site,
                            "FAIL     addresses: listen 127.0.0.1:%u: Address already in use; stop "
                            "what serves there, or change listen\n",
                            ntohs(address.sin_port)));
    expect_text(doctor.output, "a node cannot run here: 1 failed");
    /* --check-config passes, because the port may be free when the node starts. */
    struct command_result verdict = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(verdict.exit_code, 0, "%s%s", verdict.output, verdict.errors);
    close(fd);
    site_destroy(&site);
}

Test(doctor, says_that_the_node_runs_already_whose_port_is_taken)
{
    struct site *site = site_create();
    set_listen(site, site_port(site));
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    expect_text(doctor.output,
                site_format(site, "ok       state_dir: a node runs here already (pid %d)\n",
                            (int)site_node_pid(site)));
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    cr_assert_null(strstr(doctor.output, "already"), "%s", doctor.output);
    site_destroy(&site);
}

Test(doctor, does_not_call_in_order_what_it_warns_of)
{
    static const char *const examinations[] = {"keys", "admin_secrets"};
    struct site *site = site_create(.shop_secret = true, .stays_down = true);
    const char *command = site_format(site, "chmod 644 '%s'/*.secret '%s'/*.jwks",
                                      site_directory(site), site_directory(site));
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): the words are the test's own
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    cr_assert_str_empty(doctor.errors, "the log is not the doctor's report: %s", doctor.errors);
    for (size_t i = 0; i < sizeof(examinations) / sizeof(*examinations); i++) {
        expect_text(
            line_of(site, doctor.output, site_format(site, "warning  %s: ", examinations[i])),
            "(mode 644)");
        cr_assert_null(strstr(doctor.output, site_format(site, "ok       %s: ", examinations[i])),
                       "%s", doctor.output);
    }
    site_destroy(&site);
}

/* Other users who may write there could change what was billed. */
Test(doctor, refuses_a_state_directory_that_others_may_write)
{
    static const struct {
        mode_t mode;
        const char *fault;
    } modes[] = {
        {0777, "may be written by others"}, {0720, "may be written by others"}, {0755, NULL}};
    struct site *site = site_create(.stays_down = true);
    cr_assert_eq(mkdir(site_state_dir(site), 0700), 0);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        cr_assert_eq(chmod(site_state_dir(site), modes[i].mode), 0);
        struct command_result doctor = site_tollgate(site, "doctor");
        if (modes[i].fault == NULL) {
            (void)line_of(site, doctor.output, "ok       state_dir: ");
            continue;
        }
        expect_text(line_of(site, doctor.output, "FAIL     state_dir: "), modes[i].fault);
        struct command_result serve = site_tollgate(site, "serve");
        cr_assert_neq(serve.exit_code, 0);
        expect_text(serve.errors, modes[i].fault);
    }
    cr_assert_eq(rmdir(site_state_dir(site)), 0);
    site_destroy(&site);
}

Test(doctor, refuses_a_state_directory_that_is_none)
{
    struct site *site = site_create(.stays_down = true, .state_dir = "/dev/null");
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "FAIL     state_dir: "), "is not a directory");
    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 78);
    expect_text(serve.errors, "tollgate.yaml: state_dir: /dev/null: is not a directory");
    site_destroy(&site);
}
