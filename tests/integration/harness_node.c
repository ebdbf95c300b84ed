/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site's node: starts `tollgate serve`, reads from its log where it listens, signals it and waits
 * for its end. Tests call it, and harness.c, which starts the first node and ends the last. It never
 * starts Redis.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"

const char *site_log(struct site *site)
{
    char *log = harness_read_file(site->log, NULL);
    return log != NULL ? site_keep(site, log) : "";
}

/* The text behind the `count`th mark in the log; NULL where it has fewer. */
static const char *find_listening(const char *log, const char *mark, unsigned count)
{
    for (const char *at = strstr(log, mark); at != NULL; at = strstr(at, mark)) {
        at += strlen(mark);
        if (--count == 0)
            return strchr(at, '\n') != NULL ? at : NULL;
    }
    return NULL;
}

/* Returns the write end, which becomes the node's standard error. */
static int open_log_pipe(struct site *site)
{
    int ends[2];
    if (site->log_pipe > 0)
        close(site->log_pipe);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 0);
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    site->log_pipe = ends[0];
    return ends[1];
}

void site_log_read(struct site *site)
{
    char some[4096];
    ssize_t got;
    int log = open(site->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cr_assert(log >= 0);
    while ((got = read(site->log_pipe, some, sizeof(some))) > 0)
        cr_assert_eq(write(log, some, (size_t)got), got);
    close(log);
}

void site_node_start(struct site *site)
{
    cr_assert_eq(site->node, 0, "the node runs already");
    int log = site->log_unread ? open_log_pipe(site)
                               : open(site->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cr_assert(log >= 0);
    const char *const words[] = {harness_tollgate(), "serve", "--config", site->config, NULL};
    site->node = harness_spawn(words, -1, log);
    close(log);
    site->starts++;
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        if (site->log_unread)
            site_log_read(site);
        char *text = harness_read_file(site->log, NULL);
        const char *listening =
            text != NULL ? find_listening(text, "listening on 127.0.0.1:", site->starts) : NULL;
        const char *secure = listening != NULL && site->tls
                                 ? find_listening(text, "speaking TLS on 127.0.0.1:", site->starts)
                                 : NULL;
        if (listening != NULL)
            site->port = (unsigned)strtoul(listening, NULL, 10);
        const char *shops =
            listening != NULL && site->has_shop
                ? find_listening(text, "admin interface on 127.0.0.1:", site->starts)
                : NULL;
        if (shops != NULL)
            site->port_shops = (unsigned)strtoul(shops, NULL, 10);
        if (secure != NULL)
            site->port_tls = (unsigned)strtoul(secure, NULL, 10);
        free(text);
        if (listening != NULL)
            return;
        cr_assert(site_node_is_running(site), "the node ended before it listened; its log:\n%s",
                  site_log(site));
        cr_assert(harness_now_ms() < deadline_ms, "the node does not say that it listens");
        harness_pause();
    }
}

void site_node_await_ready(struct site *site)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const struct answer *health = site_admin(site, "GET", "/v1/health", NULL);
        if (health->status == 200)
            return;
        cr_assert(harness_now_ms() < deadline_ms, "the node does not become ready: %s",
                  (const char *)health->body);
        harness_pause();
    }
}

void site_serve_after(struct site *site, const char *lines)
{
    const char *original = getenv("TOLLGATE_BINARY");
    const char *path = site_format(site, "%s/serve-after", site_directory(site));
    FILE *script = fopen(path, "we");
    cr_assert(script);
    fprintf(script,
            "#!/bin/bash\n"
            "if [ \"$1\" = serve ]; then\n"
            "    %s\n"
            "fi\n"
            "exec '%s' \"$@\"\n",
            lines, original != NULL ? original : TOLLGATE_BINARY);
    cr_assert_eq(fclose(script), 0);
    cr_assert_eq(chmod(path, 0700), 0);
    cr_assert_eq(setenv("TOLLGATE_BINARY", path, 1), 0);
}

void site_node_signal(struct site *site, int number)
{
    cr_assert(site->node > 0);
    cr_assert_eq(kill(site->node, number), 0);
}

pid_t site_node_pid(const struct site *site)
{
    return site->node;
}

bool site_node_is_running(struct site *site)
{
    siginfo_t information = {0};
    if (site->node <= 0)
        return false;
    cr_assert_eq(waitid(P_PID, (id_t)site->node, &information, WEXITED | WNOHANG | WNOWAIT), 0);
    return information.si_pid == 0;
}

uint64_t site_node_memory_bytes(struct site *site)
{
    static const char field[] = "\nVmRSS:";
    char text[4096];
    FILE *file = fopen(site_format(site, "/proc/%d/status", site->node), "re");
    cr_assert(file, "%s", strerrordesc_np(errno));
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    const char *at = strstr(text, field);
    cr_assert(at, "%s", text);
    return strtoull(at + strlen(field), NULL, 10) * 1024;
}

int site_node_wait(struct site *site)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_node_is_running(site)) {
        if (harness_now_ms() >= deadline_ms) {
            kill(site->node, SIGABRT); /* its core or trace shows where it hangs */
            cr_assert_fail("the node does not end");
        }
        harness_pause();
    }
    int status = 0;
    cr_assert_eq(waitpid(site->node, &status, 0), site->node);
    site->node = 0;
    curl_easy_cleanup(site->curl); /* its connections were to the dead node */
    site->curl = curl_easy_init();
    cr_assert(site->curl);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void site_node_kill(struct site *site)
{
    site_node_signal(site, SIGKILL);
    cr_assert_eq(site_node_wait(site), -SIGKILL);
}

const char *site_log_await(struct site *site, const char *text)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        char *log = harness_read_file(site->log, NULL);
        if (log != NULL && strstr(log, text) != NULL)
            return site_keep(site, log);
        free(log);
        cr_assert(harness_now_ms() < deadline_ms, "the log does not say '%s'", text);
        harness_pause();
    }
}
