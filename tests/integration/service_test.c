/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node under a service manager: sockets that the manager passes to it, a port that belongs to
 * one node alone, and a manager that reads no notices. The test plays the manager's part.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness.h"
#include "tests/integration/harness_internal.h"
#include "tests/integration/service_steps.h"

static void serves_on_a_passed_socket(bool blocking)
{
    struct site *site = site_create(.stays_down = true, .settings = "workers: 3\n");
    int fd = listen_anywhere(blocking);
    pass_descriptor(site, fd);
    site_node_start(site);
    site_node_await_ready(site);
    cr_assert(strstr(site_log(site), "passed by the service manager"));
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    for (int i = 0; i < 8; i++) /* so that several workers take some */
        answer_expect_file(site, fetch(site, link, .fresh = true), TRACK_TINY);
    site_destroy(&site);
    close(fd);
}

Test(service, serves_on_a_passed_socket)
{
    serves_on_a_passed_socket(true);
}

Test(service, serves_on_a_passed_socket_that_does_not_block)
{
    serves_on_a_passed_socket(false);
}

Test(service, a_restart_refuses_nobody_while_the_manager_holds_the_socket)
{
    struct site *site = site_create(.stays_down = true);
    int fd = listen_anywhere(true);
    pass_descriptor(site, fd);
    site_node_start(site);
    site_node_await_ready(site);
    site_account_open_prepaid(site, "alice", 1000000);
    const char *link = site_link(site, .account = "alice", .path = TRACK_TINY);
    site_node_signal(site, SIGTERM);
    cr_assert_eq(site_node_wait(site), 0);

    int client = raw_connect(site, 0); /* while no node runs */
    raw_print(client, "GET %s HTTP/1.1\r\nHost: media.example\r\n\r\n", link);
    site_node_start(site);
    const struct answer *answer = raw_answer(site, client, false);
    if (answer->status == 503) { /* the node listens before it has asked Redis */
        site_node_await_ready(site);
        raw_print(client, "GET %s HTTP/1.1\r\nHost: media.example\r\n\r\n", link);
        answer = raw_answer(site, client, false);
    }
    answer_expect_file(site, answer, TRACK_TINY);
    close(client);
    site_destroy(&site);
    close(fd);
}

Test(service, refuses_a_passed_descriptor_that_is_no_listening_socket)
{
    struct site *site = site_create(.stays_down = true);
    int fd = open("/dev/null", O_RDWR); // NOLINT(android-cloexec-open): the script takes it over
    pass_descriptor(site, fd);
    struct command_result serve = site_tollgate(site, "serve");
    cr_assert_eq(serve.exit_code, 69);
    cr_assert(
        strstr(serve.errors, "descriptor 3, passed by LISTEN_FDS, is not a listening TCP socket"),
        "%s", serve.errors);
    site_destroy(&site);
    close(fd);
}

Test(service, ends_on_SIGTERM_though_the_manager_reads_nothing_that_it_is_told)
{
    struct site *site = site_create(.stays_down = true);
    int notices = open_notify_socket(site);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", getenv("NOTIFY_SOCKET"));
    int filler = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(filler >= 0);
    while (sendto(filler, "X=1", 3, MSG_DONTWAIT, (struct sockaddr *)&address, sizeof(address)) > 0)
        ;
    cr_assert_eq(errno, EAGAIN);
    site_node_start(site);
    site_node_await_ready(site);
    site_destroy(&site);
    close(filler);
    close(notices);
}

static bool limits_have(struct site *site, const char *text)
{
    char line[256];
    bool has = false;
    FILE *limits = fopen(site_format(site, "/proc/%ld/limits", (long)site_node_pid(site)), "re");
    cr_assert(limits != NULL);
    while (fgets(line, sizeof(line), limits) != NULL)
        has = has || strncmp(line, text, strlen(text)) == 0;
    fclose(limits);
    return has;
}

Test(service, leaves_no_core)
{
    static const char none[] = "Max core file size        0                    0 ";
    struct rlimit some = {.rlim_cur = 4096, .rlim_max = 4096};
    cr_assert_eq(setrlimit(RLIMIT_CORE, &some), 0);
    struct site *site = site_create();
    cr_assert(limits_have(site, none));
    site_destroy(&site);
}

/* A port belongs to one node, although the sockets of that node's workers share it. */
Test(service, of_a_port_is_by_one_alone_of_the_nodes_that_start_at_once)
{
    enum { NODES = 4 };
    struct site *sites[NODES];
    pid_t nodes[NODES];
    const char *logs[NODES];
    int held = listen_anywhere(true);
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    cr_assert_eq(getsockname(held, (struct sockaddr *)&address, &size), 0);
    close(held);
    for (int i = 0; i < NODES; i++)
        sites[i] = site_create(.stays_down = true);
    for (int i = 0; i < NODES; i++) {
        struct site *site = sites[i];
        const char *const words[] = {harness_tollgate(),
                                     "serve",
                                     "--config",
                                     site_format(site, "%s/tollgate.yaml", site_directory(site)),
                                     "--listen",
                                     site_format(site, "127.0.0.1:%u", ntohs(address.sin_port)),
                                     NULL};
        logs[i] = site_format(site, "%s/started", site_directory(site));
        int log = open(logs[i], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        nodes[i] = harness_spawn(words, -1, log);
        close(log);
    }
    /* One node begins to serve, and the others end. */
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    unsigned refused = 0, serving = 0;
    while (refused + serving < NODES) {
        cr_assert(harness_now_ms() < deadline_ms, "%u serve, %u are refused", serving, refused);
        harness_pause();
        serving = 0;
        for (int i = 0; i < NODES; i++) {
            int status;
            char *text = harness_read_file(logs[i], NULL);
            if (nodes[i] > 0 && waitpid(nodes[i], &status, WNOHANG) == nodes[i]) {
                nodes[i] = 0;
                refused++;
                free(text);
                text = harness_read_file(logs[i], NULL);
                cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 69, "%s", text);
                cr_assert(strstr(text, "listen: 127.0.0.1:") != NULL &&
                              strstr(text, "Address already in use") != NULL,
                          "%s", text);
            } else if (text != NULL && strstr(text, "listening on") != NULL) {
                serving++;
            }
            free(text);
        }
    }
    for (int i = 0; i < NODES; i++) {
        int status = 0;
        if (nodes[i] > 0) {
            kill(nodes[i], SIGTERM);
            waitpid(nodes[i], &status, 0);
        }
        cr_expect_eq(status, 0);
        site_destroy(&sites[i]);
    }
    cr_assert_eq(serving, 1, "%u nodes serve on one port", serving);
}

Test(service, begins_nothing_on_an_address_that_is_not_the_hosts)
{
    struct site *site = site_create(.stays_down = true);
    site_serve_after(site, "set -- \"$@\" --listen 192.0.2.7:29700");
    struct command_result refused = site_tollgate(site, "serve");
    cr_assert_eq(refused.exit_code, 69);
    cr_assert(strstr(refused.errors, "listen: 192.0.2.7:29700 is not an address of this host; "
                                     "change listen in the configuration, or give --listen"),
              "%s", refused.errors);
    /* The start is refused before the node has begun anything. */
    cr_assert(strstr(refused.errors, "journal") == NULL &&
                  strstr(refused.errors, "stopped") == NULL,
              "%s", refused.errors);
    cr_assert_neq(access(site_format(site, "%s/lane-a/journal", site_state_dir(site)), F_OK), 0);
    site_destroy(&site);
}
