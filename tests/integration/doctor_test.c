/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor, and the start of a node, which uses it, on hosts where something is wrong: a seccomp
 * filter, a limit, the clock, a directory, the setup of Redis. Each test is a process of its own,
 * so that its `tollgate` inherits what the test does to itself.
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
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_tls.h"

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

static void expect_text(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no \"%s\" in: %s", part, text);
}

/* The doctor's line that starts with these words. */
static const char *line_of(struct site *site, const char *output, const char *start)
{
    const char *line = strstr(output, start);
    cr_assert(line != NULL && (line == output || line[-1] == '\n'), "no line \"%s\" in: %s", start,
              output);
    return site_format(site, "%.*s", (int)strcspn(line, "\n"), line);
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

/* ---- a port that is taken ---- */

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
    /* The check passes, because the port may be free when the node starts. */
    struct command_result check = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(check.exit_code, 0, "%s%s", check.output, check.errors);
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

/* ---- secrets ---- */

Test(doctor, does_not_call_in_order_what_it_warns_of)
{
    static const char *const checks[] = {"keys", "admin_secrets"};
    struct site *site = site_create(.shop_secret = true, .stays_down = true);
    const char *command = site_format(site, "chmod 644 '%s'/*.secret '%s'/*.jwks",
                                      site_directory(site), site_directory(site));
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): the words are the test's own
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    cr_assert_str_empty(doctor.errors, "the log is not the doctor's report: %s", doctor.errors);
    for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++) {
        expect_text(line_of(site, doctor.output, site_format(site, "warning  %s: ", checks[i])),
                    "(mode 644)");
        cr_assert_null(strstr(doctor.output, site_format(site, "ok       %s: ", checks[i])), "%s",
                       doctor.output);
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

Test(doctor, refuses_a_redis_that_evicts_and_warns_of_one_without_a_file)
{
    struct site *site = site_create(.stays_down = true, .own_redis = true);
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s", doctor.output);
    expect_text(line_of(site, doctor.output, "FAIL     redis: "),
                "; start Redis there, or correct `redis`");

    site_redis_start(site);
    site_redis_command(site, "CONFIG SET appendonly no");
    doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 0, "%s", doctor.output);
    expect_text(line_of(site, doctor.output, "warning  redis: "), "CONFIG SET appendonly yes");

    site_redis_command(site, "CONFIG SET maxmemory-policy allkeys-lru");
    doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s", doctor.output);
    const char *line = line_of(site, doctor.output, "FAIL     redis: ");
    expect_text(line, "allkeys-lru");
    expect_text(line, "CONFIG SET maxmemory-policy noeviction");
    site_destroy(&site);
}

static void set_password(struct site *site, const char *password)
{
    const char *command =
        site_format(site, "umask 077; echo '%s' >'%s/password'", password, site_directory(site));
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): the words are the test's own
}

/* The doctor's words behind "redis: ", where it finds a fault in Redis. */
static const char *failure_of_redis(struct site *site)
{
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_assert_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    return line_of(site, doctor.output, "FAIL     redis: ");
}

/* The test runs the doctor's cure as printed until there is no fault. The node must then serve with
 * these rights. */
Test(doctor, gives_the_command_by_which_a_redis_user_may_do_all_that_a_node_does)
{
    static const char run[] = "; run redis-cli ";
    struct site *site =
        site_create(.own_redis = true, .stays_down = true,
                    .settings = "redis_user: toll\nredis_password_file: password\n");
    set_password(site, "wrong");
    site_redis_start(site);
    site_redis_command(site, "ACL SETUSER toll on >secret");
    expect_text(failure_of_redis(site),
                "Redis refuses user toll or its password (WRONGPASS); correct redis_user, or ");
    set_password(site, "secret");
    expect_text(failure_of_redis(site), "Redis user toll may not run INFO (NOPERM); run ");
    struct command_result doctor = site_tollgate(site, "doctor");
    for (int rights = 0; doctor.exit_code != 0; rights++) {
        cr_assert_lt(rights, 3, "%s", doctor.output);
        const char *cure = strstr(doctor.output, run);
        cr_assert(cure, "%s", doctor.output);
        cure += sizeof(run) - 1;
        char command[512];
        size_t length = 0;
        for (; *cure != '\n' && length < sizeof(command) - 1; cure++)
            if (*cure != '\'') /* the shell removes quotes */
                command[length++] = *cure;
        command[length] = '\0';
        site_redis_command(site, command);
        doctor = site_tollgate(site, "doctor");
    }
    site_node_start(site);
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", UINT64_C(100000000));
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY, .jti = "order-1");
    answer_expect_file(site, fetch(site, link), TRACK_TINY);
    cr_assert_null(strstr(site_log(site), "NOPERM"), "%s", site_log(site));
    site_destroy(&site);
}

Test(doctor, says_why_redis_cannot_be_used)
{
    struct site *site = site_create(.own_redis = true);
    site_redis_command(site, "CONFIG SET requirepass secret");
    expect_text(failure_of_redis(site),
                "Redis asks for a password (NOAUTH); name the file that holds it in "
                "redis_password_file");
    struct site *http = site_create(.stays_down = true,
                                    .redis = site_format(site, "127.0.0.1:%u", site_port(site)));
    expect_text(failure_of_redis(http),
                "what answers there is not Redis, for its reply begins with "
                "\"H\"; correct `redis` in the configuration");
    struct site *name = site_create(.stays_down = true, .redis = "no..host:6379");
    expect_text(failure_of_redis(name), "redis: no..host:6379: ");
    expect_text(failure_of_redis(name),
                "; correct the host name in `redis`, or give an IP address");
    site_destroy(&name);
    site_destroy(&http);
    site_destroy(&site);
}

/* Health and the log also say that Redis is out of reach. */
Test(doctor, health_and_the_stop_say_that_redis_is_out_of_reach)
{
    struct site *site = site_create(.own_redis = true, .stays_down = true);
    struct command_result health;
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    site_node_start(site);
    do {
        health = site_tollgate(site, "health");
        cr_assert_eq(health.exit_code, 1, "%s%s", health.output, health.errors);
        cr_assert_lt(harness_now_ms(), deadline_ms, "%s", health.output);
    } while (strstr(health.output, "to post (Redis at unix:") == NULL);
    (void)line_of(site, health.output, "ready        no: Redis cannot be reached\n");
    (void)line_of(site, health.output, "ledger       catching up, ");
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);
    expect_text(site_log(site), "SIGTERM: stopping; transfers in progress may finish within ");
    expect_text(site_log(site), "stopped; no transfer was cut");
    expect_text(site_log(site), "waiting up to 5 s for Redis at unix:");
    site_destroy(&site);
}

/* A node that has another node's name starts, but never serves. */
Test(doctor, finds_a_node_name_that_is_taken)
{
    struct site *one = site_create(.own_redis = true);
    struct site *other = site_create(.stays_down = true, .redis = site_redis_address(one));
    struct command_result doctor = site_tollgate(one, "doctor");
    cr_expect_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    (void)line_of(one, doctor.output,
                  "ok       node: the name test-node belongs to this state_dir");

    doctor = site_tollgate(other, "doctor");
    cr_expect_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(other, doctor.output, "FAIL     node: "),
                "the name test-node is taken: another node runs under it; give another `node`");
    (void)line_of(other, doctor.output, "ok       redis: ");
    cr_expect_neq(access(site_state_dir(other), F_OK), 0, "the doctor made the state directory");

    /* The name stays taken when its node stops, because Redis has usage under it. */
    site_node_signal(one, SIGTERM);
    cr_assert_eq(site_node_wait(one), 0);
    doctor = site_tollgate(other, "doctor");
    cr_expect_eq(doctor.exit_code, 1, "%s%s", doctor.output, doctor.errors);
    const char *line = line_of(other, doctor.output, "FAIL     node: ");
    expect_text(line, "which does not run now; give another `node`");
    expect_text(line, "DEL 'tg:node:{test-node}'");
    site_redis_command(one, "DEL tg:node:{test-node}");
    doctor = site_tollgate(other, "doctor");
    cr_expect_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    (void)line_of(other, doctor.output, "ok       node: the name test-node is free");
    site_destroy(&other);
    site_destroy(&one);
}

Test(doctor, warns_of_a_node_that_runs_with_a_copy_of_the_state_directory)
{
    struct site *one = site_create(.own_redis = true);
    struct site *copy = site_create(.stays_down = true, .redis = site_redis_address(one));
    const char *command =
        site_format(copy, "cp -r '%s' '%s'", site_state_dir(one), site_state_dir(copy));
    cr_assert_eq(system(command), 0); // NOLINT(cert-env33-c): the words are the test's own
    struct command_result doctor = site_tollgate(copy, "doctor");
    cr_expect_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(copy, doctor.output, "warning  node: "), "a node with a copy of it");
    site_destroy(&copy);
    site_destroy(&one);
}

Test(doctor, says_where_it_may_not_ask_for_the_name)
{
    struct site *site = site_create(.stays_down = true, .own_redis = true);
    site_redis_start(site);
    site_redis_command(site, "ACL SETUSER default -hmget");
    struct command_result doctor = site_tollgate(site, "doctor");
    cr_expect_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    expect_text(line_of(site, doctor.output, "warning  node: "), "NOPERM");
    (void)line_of(site, doctor.output, "ok       redis: ");
    site_destroy(&site);
}

/* ---- certificates ---- */

static void expect_certificates(struct site *site, const char *const *parts, size_t count)
{
    struct command_result doctor = site_tollgate(site, "doctor");
    struct command_result check = site_tollgate(site, "serve", "--check-config");
    cr_assert_eq(doctor.exit_code, 0, "%s%s", doctor.output, doctor.errors);
    cr_assert_eq(check.exit_code, 0, "%s%s", check.output, check.errors);
    for (size_t i = 0; i < count; i++) {
        expect_text(doctor.output, parts[i]);
        expect_text(check.errors, parts[i]);
    }
    size_t lines = 0;
    for (const char *at = doctor.output; (at = strstr(at, "warning  certificates: ")); at++)
        lines++;
    cr_assert_eq(lines, count, "%s", doctor.output);
}

Test(doctor, and_the_check_name_certificates_that_no_client_gets)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    int64_t now_s = time(NULL);
    expect_certificates(site, NULL, 0);
    /* Some client gets each of these: another kind of key, another host, a wildcard. */
    CERTIFICATE(site, .file = "media.example-rsa.pem", .names = "DNS:media.example",
                .subject = "rsa", .rsa = true);
    CERTIFICATE(site, .file = "more.pem", .names = "DNS:media.example,DNS:more.example",
                .subject = "more");
    CERTIFICATE(site, .file = "wild.pem", .names = "DNS:*.more.example", .subject = "wild");
    expect_certificates(site, NULL, 0);
    CERTIFICATE(site, .file = "z-again.pem", .names = "DNS:media.example,DNS:more.example",
                .subject = "again");
    CERTIFICATE(site, .file = "a-old.pem", .names = "DNS:old.more.example", .subject = "old",
                .starts_s = now_s - 9000, .ends_s = now_s + 5000000);
    CERTIFICATE(site, .file = "z-wild.pem", .names = "DNS:*.more.example", .subject = "wild");
    CERTIFICATE(site, .file = "z-address.pem", .names = "IP:192.0.2.1", .subject = "");
    static const char *const parts[] = {
        "/z-again.pem: no client gets this certificate, because ",
        "/z-wild.pem: no client gets this certificate, because ",
        "/z-address.pem: no client gets this certificate, because it names no host",
    };
    expect_certificates(site, parts, sizeof(parts) / sizeof(*parts));
    site_destroy(&site);
}

Test(doctor, and_the_check_name_a_chain_without_its_intermediate)
{
    struct site *site = site_create(.tls = true, .stays_down = true);
    CERTIFICATE(site, .file = "lacking.pem", .names = "DNS:lacking.example", .subject = "lacking",
                .issued = true);
    CERTIFICATE(site, .file = "whole.pem", .names = "DNS:whole.example", .subject = "whole",
                .issued = true, .with_issuer = true);
    static const char *const parts[] = {
        "/lacking.pem: the chain lacks the certificate of its issuer /CN=Authority of a test",
    };
    expect_certificates(site, parts, 1);
    site_destroy(&site);
}

Test(doctor, and_the_check_name_an_origin_that_has_no_certificate)
{
    struct site *site =
        site_create(.tls = true, .stays_down = true, .origin = "https://nobody.example:8443");
    static const char *const parts[] = {
        "no certificate is for nobody.example, the host of public_origin"};
    expect_certificates(site, parts, 1);
    site_destroy(&site);
}
