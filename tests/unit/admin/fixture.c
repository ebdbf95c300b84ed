/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/admin/fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/admin/admin.h"
#include "server/command/admin_client.h"
#include "server/config/config.h"
#include "server/delivery/node.h"
#include "server/redis/redis_child.h"

#define PATIENCE_MS 20000 /* reached by a failure alone */

char admin_socket[96];
char admin_state_dir[64];
char admin_printed[8192];
struct node admin_node;
struct redis_child *admin_redis;
struct admin *admin_served;

static char top[48];
static char media_root[64];
static char issuer_id[] = "shop";
static char other_issuer_id[] = "radio";
static char node_name[] = "node-1";
static char nothing[] = "";
static struct config_issuer issuers[2];
static struct config config;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void await_redis(bool wanted)
{
    for (int tried_ms = 0; tried_ms < PATIENCE_MS; tried_ms += 5) {
        struct ledger_stats stats;
        ledger_stats(admin_node.ledger, &stats);
        if ((ledger_state(admin_node.ledger) == LEDGER_READY && stats.redis_up) == wanted) {
            return;
        }
        (void)poll(NULL, 0, 5);
    }
    cr_assert_fail("Redis is still %s", wanted ? "away" : "there");
}

static void open_ledger(void)
{
    char error[512];
    struct ledger_options options = {.state_dir = admin_state_dir,
                                     .node = node_name,
                                     .redis = admin_node.redis.address,
                                     .segment_bytes = 1048576,
                                     .mark_ms = 10,
                                     .downloads_max = 64,
                                     .accounts_max = 64,
                                     .lease_ms = 1000};
    cr_assert(ledger_open(&admin_node.ledger, &options, error, sizeof(error)) == 0, "%s", error);
    await_redis(true);
}

static void set_up(void)
{
    char error[512];
    (void)snprintf(top, sizeof(top), "/tmp/tollgate-admin-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    (void)snprintf(admin_state_dir, sizeof(admin_state_dir), "%s/state", top);
    (void)snprintf(media_root, sizeof(media_root), "%s/media", top);
    (void)snprintf(admin_socket, sizeof(admin_socket), "%s/admin.sock", admin_state_dir);
    cr_assert_eq(mkdir(media_root, 0700), 0);
    issuers[0].id = issuer_id;
    issuers[1].id = other_issuer_id;
    issuers[0].admin_secret_file = issuers[1].admin_secret_file = nothing;
    config = (struct config){.node = node_name,
                             .state_dir = admin_state_dir,
                             .admin_listen = nothing,
                             .issuers = issuers,
                             .issuers_count = 2,
                             .ready_grace_ms = 60000};
    cr_assert(redis_child_start(&admin_redis, admin_state_dir, admin_node.redis.address,
                                sizeof(admin_node.redis.address), error, sizeof(error)) == 0,
              "%s", error);
    admin_node.config = &config;
    open_ledger();
    struct media_options media_options = {
        .root = media_root, .hash_queue_max = 1, .hash_first_max = 1, .hash_entries_max = 16};
    cr_assert_eq(media_open(&admin_node.media, &media_options, error, sizeof(error)), 0);
    cr_assert(admin_start(&admin_served, &admin_node, error, sizeof(error)) == 0, "%s", error);
}

static void tear_down(void)
{
    admin_stop(&admin_served);
    media_close(&admin_node.media);
    (void)ledger_close(&admin_node.ledger, 1000);
    redis_child_stop(&admin_redis);
    (void)nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(admin, .init = set_up, .fini = tear_down, .timeout = 90);

json_t *admin_ask(const char *method, const char *target, const char *body, unsigned expected)
{
    struct admin_response response;
    int failure = admin_client_call(admin_socket, method, target, body, &response);
    cr_assert(failure == 0, "%s %s: %s", method, target, strerrordesc_np(-failure));
    cr_assert_eq(response.status, expected, "%s %s %s: %u %s", method, target,
                 body != NULL ? body : "", response.status, response.body);
    json_t *answer = json_loads(response.body, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(answer, "%s", response.body);
    free(response.body);
    return answer;
}

void expect_number(const json_t *answer, const char *member, json_int_t expected)
{
    const json_t *value = json_object_get(answer, member);
    cr_assert(json_is_integer(value), "%s", member);
    cr_assert_eq(json_integer_value(value), expected, "%s: %" PRIdMAX, member,
                 (intmax_t)json_integer_value(value));
}

void expect_text(const json_t *answer, const char *member, const char *expected)
{
    const char *text = json_string_value(json_object_get(answer, member));
    cr_assert_not_null(text, "%s", member);
    cr_assert_str_eq(text, expected);
}

void expect_refusal(const char *method, const char *target, const char *body, unsigned status,
                    const char *reason)
{
    json_t *answer = admin_ask(method, target, body, status);
    expect_text(answer, "reason", reason);
    expect_number(answer, "status", status);
    cr_assert_not_null(json_object_get(answer, "detail"));
    json_decref(answer);
}

void open_account(const char *body)
{
    json_decref(admin_ask("PUT", "/v1/accounts/shop/alice", body, 201));
}

int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", admin_socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void read_raw(int fd, char *out, size_t size)
{
    size_t length = 0;
    ssize_t got;
    while (length + 1 < size && (got = recv(fd, out + length, size - 1 - length, 0)) > 0) {
        length += (size_t)got;
    }
    out[length] = '\0';
}

void exchange_raw(const char *request, char *out, size_t size)
{
    int fd = connect_raw();
    (void)send(fd, request, strlen(request), MSG_NOSIGNAL);
    read_raw(fd, out, size);
    (void)close(fd);
}

int send_raw(const char *request)
{
    int fd = connect_raw();
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    return fd;
}

void deliver(const char *path, size_t length, uint64_t bytes)
{
    struct ledger_account *account;
    struct ledger_file *file;
    struct ledger_download *download;
    cr_assert_eq(ledger_account_get(admin_node.ledger, "shop", "alice", 5, &account), 0);
    cr_assert_eq(ledger_file_get(admin_node.ledger, path, length, &file), 0);
    cr_assert_eq(ledger_download_open(admin_node.ledger, account, file, &download), 0);
    ledger_download_add(download, bytes, 1);
    ledger_download_close(&download);
    ledger_file_drop(&file);
    ledger_account_drop(&account);
}

int admin_run(int (*command)(int argc, char **argv), const char *name, const char *line)
{
    char words[512];
    char *argv[24];
    int argc = 0;
    char program[64];
    (void)snprintf(program, sizeof(program), "%s", name);
    (void)snprintf(words, sizeof(words), "%s --socket %s", line, admin_socket);
    argv[argc++] = program;
    char *rest;
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/printed", top);
    (void)fflush(stdout);
    (void)fflush(stderr);
    int kept[2] = {dup(1), dup(2)};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    (void)dup2(fd, 1);
    (void)dup2(fd, 2);
    int code = command(argc, argv);
    (void)fflush(stdout);
    (void)dup2(kept[0], 1);
    (void)dup2(kept[1], 2);
    ssize_t length = pread(fd, admin_printed, sizeof(admin_printed) - 1, 0);
    admin_printed[length > 0 ? length : 0] = '\0';
    (void)close(kept[0]);
    (void)close(kept[1]);
    (void)close(fd);
    return code;
}

void expect_printed(const char *text)
{
    cr_assert_not_null(strstr(admin_printed, text), "no %s in: %s", text, admin_printed);
}
