/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor on Redis: one that is away, that evicts, that keeps no file, that refuses the node's
 * user, or that another node of the same name uses. Each fault is told with the command that cures it.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/doctor_steps.h"
#include "tests/integration/harness.h"

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
    (void)line_of(site, health.output, "ready        no: Redis at unix:");
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
