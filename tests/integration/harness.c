/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sites: their directory, processes and log. Every integration and fault test calls it. A janitor
 * process outlives the test, however the test ends, and removes the directory. The other children
 * die with the test by PDEATHSIG.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"

struct kept {
    struct kept *next;
    void *memory;
};

void *site_keep(struct site *site, void *memory)
{
    struct kept *kept = malloc(sizeof(*kept));
    cr_assert(memory != NULL && kept != NULL, "out of memory");
    *kept = (struct kept){.next = site->kept, .memory = memory};
    site->kept = kept;
    return memory;
}

const char *site_format(struct site *site, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    cr_assert(length >= 0, "out of memory");
    return site_keep(site, text);
}

uint64_t harness_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void harness_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

char *harness_read_file(const char *path, size_t *length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) < 0 || status.st_size < 0) {
        close(fd);
        return NULL;
    }
    size_t size = (size_t)status.st_size;
    char *text = malloc(size + 1);
    size_t have = 0;
    while (text != NULL && have < size) {
        ssize_t got = read(fd, text + have, size - have);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    close(fd);
    if (text != NULL)
        text[have] = '\0';
    if (length != NULL)
        *length = have;
    return text;
}

void harness_write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    cr_assert(file, "%s: %s", path, strerrordesc_np(errno));
    cr_assert(fputs(text, file) >= 0);
    cr_assert_eq(fclose(file), 0);
}

/* ---- processes ---- */

pid_t harness_spawn(const char *const *words, int output, int errors)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    cr_assert(pid >= 0, "fork: %s", strerrordesc_np(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126); /* the test died before the line above */
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null_fd, 0);
    dup2(output >= 0 ? output : null_fd, 1);
    dup2(errors >= 0 ? errors : null_fd, 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(words[0], (char *const *)(uintptr_t)words);
    dprintf(2, "%s: %s\n", words[0], strerrordesc_np(errno));
    _exit(127);
}

/* Prints the end of the node's log, because the test has failed. */
static void janitor_print_log(const struct site *site)
{
    size_t length = 0;
    char *log = harness_read_file(site->log, &length);
    if (log == NULL)
        return;
    size_t from = length > 6000 ? length - 6000 : 0;
    dprintf(2, "---- the node's log, %s ----\n%s\n----\n", site->log, log + from);
    free(log);
}

/*
 * The child that cleans up. Its pipe ends when the test ends; a byte before the end says that the
 * test passed. Processes that are still dying write into the directory, so removing it may take
 * more than one try.
 */
static void janitor_run(const struct site *site, int pipe_fd)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    char byte = 0;
    bool well = read(pipe_fd, &byte, 1) == 1;
    if (!well)
        janitor_print_log(site);
    for (int attempt = 0; attempt < 100; attempt++) {
        pid_t remover = fork();
        if (remover == 0) {
            execlp("rm", "rm", "-rf", site->directory, (char *)NULL);
            _exit(127);
        }
        waitpid(remover, NULL, 0);
        if (access(site->directory, F_OK) < 0)
            break;
        harness_pause();
    }
    _exit(0);
}

static void janitor_start(struct site *site)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    site->janitor = fork();
    cr_assert(site->janitor >= 0);
    if (site->janitor == 0) {
        close(ends[1]);
        setsid();
        janitor_run(site, ends[0]);
    }
    close(ends[0]);
    site->janitor_pipe = ends[1];
}

/* ---- the site's files ---- */

static void write_key_set(const char *path, const char *text)
{
    harness_write_file(path, text);
    cr_assert_eq(chmod(path, 0600), 0);
}

/* The shop signs with Ed25519 and the rival with a shared secret, so that both kinds are tried. */
static void make_keys(struct site *site, const struct site *beside)
{
    char error[256] = "", path[128], *private_text = NULL, *public_text = NULL;
    if (beside != NULL) {
        static const char *const names[] = {"shop.jwks", "rival.jwks"};
        for (size_t i = 0; i < 2; i++) {
            snprintf(path, sizeof(path), "%s/%s", beside->directory, names[i]);
            char *text = harness_read_file(path, NULL);
            cr_assert(text);
            snprintf(path, sizeof(path), "%s/%s", site->directory, names[i]);
            write_key_set(path, text);
            free(text);
        }
        return;
    }
    cr_assert_eq(key_generate(TOKEN_EDDSA, &private_text, &public_text), 0);
    cr_assert_eq(
        key_set_parse(&site->keys, private_text, strlen(private_text), error, sizeof(error)), 0,
        "%s", error);
    snprintf(path, sizeof(path), "%s/shop.jwks", site->directory);
    write_key_set(path, public_text);
    key_text_free(&private_text);
    key_text_free(&public_text);

    cr_assert_eq(key_generate(TOKEN_HS256, &private_text, &public_text), 0);
    cr_assert_eq(
        key_set_parse(&site->rival_keys, private_text, strlen(private_text), error, sizeof(error)),
        0, "%s", error);
    snprintf(path, sizeof(path), "%s/rival.jwks", site->directory);
    write_key_set(path, private_text);
    key_text_free(&private_text);
    key_text_free(&public_text);
}

static void write_config(struct site *site, const struct site_options *options)
{
    char own[128] = "embedded";
    if (options->own_redis)
        snprintf(own, sizeof(own), "unix:%s", site->redis_socket);
    const char *text = site_format(
        site,
        "listen: 127.0.0.1:0\n"
        "public_origin: %s\n"
        "media_root: %s\n"
        "state_dir: %s\n"
        "node: %s\n"
        "redis: %s\n"
        "%s"
        "%s"
        "stop_timeout_ms: 60000\n"
        "%s"
        "%s"
        "issuers:\n"
        "  - id: shop\n"
        "    iss: " SITE_ISS "\n"
        "    keys: shop.jwks\n"
        "    prefixes: [/]\n"
        "%s"
        "%s"
        "  - id: rival\n"
        "    iss: " SITE_RIVAL_ISS "\n"
        "    keys: rival.jwks\n"
        "    prefixes: [/rival/]\n"
        "%s",
        options->origin != NULL ? options->origin : "http://media.example", site->media_root,
        site->state_dir, options->node != NULL ? options->node : "test-node",
        options->redis != NULL ? options->redis : own,
        options->shop_secret ? "admin_listen: 127.0.0.1:0\n" : "",
        options->tls ? "listen_tls: 127.0.0.1:0\ncertificates: certificates\n" : "",
        options->settings != NULL && strstr(options->settings, "windows_max:")
            ? ""
            : "windows_max: 100\njournal_segment_bytes: 262144\n",
        options->settings != NULL ? options->settings : "",
        options->issuer != NULL ? options->issuer : "",
        options->shop_secret ? "    admin_secret_file: shop.secret\n" : "",
        options->shop_secret ? "    admin_secret_file: rival.secret\n" : "");
    harness_write_file(site->config, text);
}

struct site *site_create_with(const struct site_options *options)
{
    signal(SIGPIPE, SIG_IGN);
    struct site *site = calloc(1, sizeof(*site));
    cr_assert(site);
    /* Short, because a Unix socket's path must fit in 107 bytes. */
    snprintf(site->directory, sizeof(site->directory), "/tmp/tollgate-test-XXXXXX");
    cr_assert(mkdtemp(site->directory), "mkdtemp: %s", strerrordesc_np(errno));
    snprintf(site->config, sizeof(site->config), "%s/tollgate.yaml", site->directory);
    snprintf(site->log, sizeof(site->log), "%s/log", site->directory);
    snprintf(site->redis_socket, sizeof(site->redis_socket), "%s/own-redis.sock", site->directory);
    if (options->state_dir != NULL)
        snprintf(site->state_dir, sizeof(site->state_dir), "%s", options->state_dir);
    else
        snprintf(site->state_dir, sizeof(site->state_dir), "%s/state", site->directory);
    janitor_start(site);
    site->own_redis = options->own_redis;
    site->own_media = options->own_media || options->media_root != NULL;
    site->log_unread = options->log_unread;
    if (options->media_root != NULL) {
        snprintf(site->media_root, sizeof(site->media_root), "%s", options->media_root);
    } else if (options->own_media) {
        snprintf(site->media_root, sizeof(site->media_root), "%s/media", site->directory);
        cr_assert_eq(mkdir(site->media_root, 0755), 0);
    } else {
        snprintf(site->media_root, sizeof(site->media_root), "%s", TOLLGATE_CATALOGUE);
    }
    site->curl = curl_easy_init();
    cr_assert(site->curl);
    make_keys(site, options->beside);
    if (options->shop_secret) {
        write_key_set(site_format(site, "%s/shop.secret", site->directory), SHOP_SECRET "\n");
        write_key_set(site_format(site, "%s/rival.secret", site->directory), RIVAL_SECRET "\n");
    }
    site->has_shop = options->shop_secret;
    site->tls = options->tls;
    if (options->tls) {
        cr_assert_eq(mkdir(site_format(site, "%s/certificates", site->directory), 0700), 0);
        (void)site_certificate_make(site, "media.example", "ec");
        (void)site_certificate_make(site, "other.example", "rsa");
    }
    write_config(site, options);
    if (options->stays_down)
        return site;
    if (options->own_redis)
        site_redis_start(site);
    site_node_start(site);
    site_node_await_ready(site);
    return site;
}

static void expect_clean_log(struct site *site)
{
    static const char *const reports[] = {"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
                                          "runtime error:", "invariant broken"};
    const char *log = site_log(site);
    for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++)
        cr_assert_null(strstr(log, reports[i]), "the node's log has: %s", strstr(log, reports[i]));
}

void site_destroy(struct site **handle)
{
    struct site *site = *handle;
    if (site->node > 0) {
        site_node_signal(site, SIGTERM);
        int ended = site_node_wait(site);
        cr_assert_eq(ended, 0, "the node ended with %d on SIGTERM", ended);
    }
    expect_clean_log(site);
    if (site->redis > 0)
        site_redis_kill(site);
    key_set_destroy(&site->keys);
    key_set_destroy(&site->rival_keys);
    curl_easy_cleanup(site->curl);
    while (site->kept != NULL) {
        struct kept *next = site->kept->next;
        free(site->kept->memory);
        free(site->kept);
        site->kept = next;
    }
    cr_assert_eq(write(site->janitor_pipe, "", 1), 1);
    close(site->janitor_pipe);
    waitpid(site->janitor, NULL, 0);
    free(site);
    *handle = NULL;
}

const char *site_directory(const struct site *site)
{
    return site->directory;
}

const char *site_state_dir(const struct site *site)
{
    return site->state_dir;
}

unsigned site_port(const struct site *site)
{
    return site->port;
}

const char *site_redis_address(struct site *site)
{
    cr_assert(site->own_redis);
    return site_format(site, "unix:%s", site->redis_socket);
}

const char *site_key_file(struct site *site)
{
    return site_format(site, "%s/shop.jwks", site->directory);
}

unsigned site_port_tls(const struct site *site)
{
    return site->port_tls;
}

const char *site_certificate_make(struct site *site, const char *host, const char *algorithm)
{
    const char *path = site_format(site, "%s/certificates/%s.pem", site->directory, host);
    const char *const words[] = {
        "openssl",
        "req",
        "-x509",
        "-newkey",
        strcmp(algorithm, "ec") == 0 ? "ec" : "rsa:2048",
        "-pkeyopt",
        strcmp(algorithm, "ec") == 0 ? "ec_paramgen_curve:P-256" : "rsa_keygen_bits:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        site_format(site, "/CN=%s", host),
        "-addext",
        site_format(site, "subjectAltName=DNS:%s", host),
        "-keyout",
        site_format(site, "%s.key", path),
        "-out",
        path,
        NULL,
    };
    int status = 0;
    pid_t pid = harness_spawn(words, -1, -1);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "openssl req ended with %d", status);
    return path;
}

/* ---- the node ---- */

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
        cr_assert(site_node_is_running(site), "the node ended before it listened");
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
