/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sites: their directory, keys, configuration and memory, from the making to the end. Every
 * integration and fault test calls it. The node is harness_node.c's, and what runs beside the test
 * harness_process.c's.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
        /* Without it tests would wait ten seconds for a node to be not ready. */
        options->settings != NULL && strstr(options->settings, "ready_grace_ms:")
            ? ""
            : "ready_grace_ms: 0\n",
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
    site_janitor_start(site);
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
