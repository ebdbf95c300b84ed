/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin interface and the commands that use it, with a real ledger, a real redis-server and
 * the real socket: what a storefront or an operator is answered, and what a hostile or broken
 * client is.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/admin/admin.h"
#include "server/admin/admin_reason.h"
#include "server/command/admin_client.h"
#include "server/command/cli.h"
#include "server/command/server.h"
#include "server/delivery/node.h"
#include "server/delivery/worker.h"
#include "server/http/refusal.h"
#include "server/redis/redis_child.h"

#define PATIENCE_MS 20000 /* reached by a failure alone */

static char top[48];
static char state_dir[64];
static char media_root[64];
static char socket_path[96];
static char issuer_id[] = "shop";
static char other_issuer_id[] = "radio";
static char node_name[] = "node-1";
static char nothing[] = "";
static struct config_issuer issuers[2];
static struct config config;
static struct node node;
static struct redis_child *redis;
static struct admin *admin;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* Waits until the ledger has replayed to a Redis, or (`wanted` false) has lost it. */
static void await_redis(bool wanted)
{
    for (int tried_ms = 0; tried_ms < PATIENCE_MS; tried_ms += 5) {
        struct ledger_stats stats;
        ledger_stats(node.ledger, &stats);
        if ((ledger_state(node.ledger) == LEDGER_READY && stats.redis_up) == wanted) {
            return;
        }
        (void)poll(NULL, 0, 5);
    }
    cr_assert_fail("Redis is still %s", wanted ? "away" : "there");
}

static void open_ledger(void)
{
    char error[512];
    struct ledger_options options = {.state_dir = state_dir,
                                     .node = node_name,
                                     .redis = node.redis.address,
                                     .segment_bytes = 1048576,
                                     .mark_ms = 10,
                                     .downloads_max = 64,
                                     .accounts_max = 64,
                                     .lease_ms = 1000};
    cr_assert(ledger_open(&node.ledger, &options, error, sizeof(error)) == 0, "%s", error);
    await_redis(true);
}

static void set_up(void)
{
    char error[512];
    (void)snprintf(top, sizeof(top), "/tmp/tollgate-admin-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    (void)snprintf(state_dir, sizeof(state_dir), "%s/state", top);
    (void)snprintf(media_root, sizeof(media_root), "%s/media", top);
    (void)snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", state_dir);
    cr_assert_eq(mkdir(media_root, 0700), 0);
    issuers[0].id = issuer_id;
    issuers[1].id = other_issuer_id;
    issuers[0].admin_secret_file = issuers[1].admin_secret_file = nothing;
    config = (struct config){.node = node_name,
                             .state_dir = state_dir,
                             .admin_listen = nothing,
                             .issuers = issuers,
                             .issuers_count = 2};
    cr_assert(redis_child_start(&redis, state_dir, node.redis.address, sizeof(node.redis.address),
                                error, sizeof(error)) == 0,
              "%s", error);
    node.config = &config;
    open_ledger();
    struct media_options media_options = {
        .root = media_root, .hash_queue_max = 1, .hash_first_max = 1, .hash_entries_max = 16};
    cr_assert_eq(media_open(&node.media, &media_options, error, sizeof(error)), 0);
    cr_assert(admin_start(&admin, &node, error, sizeof(error)) == 0, "%s", error);
}

static void tear_down(void)
{
    admin_stop(&admin);
    media_close(&node.media);
    (void)ledger_close(&node.ledger, 1000);
    redis_child_stop(&redis);
    (void)nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(admin, .init = set_up, .fini = tear_down, .timeout = 90);

/* ---- steps ---- */

/* Sends a request and expects the status. The caller owns the answer (json_decref). */
static json_t *call(const char *method, const char *target, const char *body, unsigned expected)
{
    struct admin_response response;
    int failure = admin_client_call(socket_path, method, target, body, &response);
    cr_assert(failure == 0, "%s %s: %s", method, target, strerrordesc_np(-failure));
    cr_assert_eq(response.status, expected, "%s %s %s: %u %s", method, target,
                 body != NULL ? body : "", response.status, response.body);
    json_t *answer = json_loads(response.body, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(answer, "%s", response.body);
    free(response.body);
    return answer;
}

static void expect_number(const json_t *answer, const char *member, json_int_t expected)
{
    const json_t *value = json_object_get(answer, member);
    cr_assert(json_is_integer(value), "%s", member);
    cr_assert_eq(json_integer_value(value), expected, "%s: %" PRIdMAX, member,
                 (intmax_t)json_integer_value(value));
}

static void expect_text(const json_t *answer, const char *member, const char *expected)
{
    const char *text = json_string_value(json_object_get(answer, member));
    cr_assert_not_null(text, "%s", member);
    cr_assert_str_eq(text, expected);
}

static void expect_refusal(const char *method, const char *target, const char *body,
                           unsigned status, const char *reason)
{
    json_t *answer = call(method, target, body, status);
    expect_text(answer, "reason", reason);
    expect_number(answer, "status", status);
    cr_assert_not_null(json_object_get(answer, "detail"));
    json_decref(answer);
}

static void open_account(const char *body)
{
    json_decref(call("PUT", "/v1/accounts/shop/alice", body, 201));
}

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Reads everything until the server closes. */
static void read_raw(int fd, char *out, size_t size)
{
    size_t length = 0;
    ssize_t got;
    while (length + 1 < size && (got = recv(fd, out + length, size - 1 - length, 0)) > 0) {
        length += (size_t)got;
    }
    out[length] = '\0';
}

static void exchange_raw(const char *request, char *out, size_t size)
{
    int fd = connect_raw();
    (void)send(fd, request, strlen(request), MSG_NOSIGNAL);
    read_raw(fd, out, size);
    (void)close(fd);
}

static void expect_raw(const char *request, const char *status_line)
{
    char answer[4096];
    exchange_raw(request, answer, sizeof(answer));
    cr_assert(strncmp(answer, status_line, strlen(status_line)) == 0, "%.60s: %s", request, answer);
    cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"));
    cr_assert_not_null(strstr(answer, "\r\nDate: ")); /* RFC 9110 6.6.1 */
}

static void deliver(const char *path, size_t length, uint64_t bytes)
{
    struct ledger_account *account;
    struct ledger_file *file;
    struct ledger_download *download;
    cr_assert_eq(ledger_account_get(node.ledger, "shop", "alice", 5, &account), 0);
    cr_assert_eq(ledger_file_get(node.ledger, path, length, &file), 0);
    cr_assert_eq(ledger_download_open(node.ledger, account, file, &download), 0);
    ledger_download_add(download, bytes, 1);
    ledger_download_close(&download);
    ledger_file_drop(&file);
    ledger_account_drop(&account);
}

static char printed[8192];

/* Runs a command as the dispatcher would, with --socket. `printed` gets its output. */
static int run(int (*command)(int argc, char **argv), const char *name, const char *line)
{
    char words[512];
    char *argv[24];
    int argc = 0;
    char program[64];
    (void)snprintf(program, sizeof(program), "%s", name);
    (void)snprintf(words, sizeof(words), "%s --socket %s", line, socket_path);
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
    ssize_t length = pread(fd, printed, sizeof(printed) - 1, 0);
    printed[length > 0 ? length : 0] = '\0';
    (void)close(kept[0]);
    (void)close(kept[1]);
    (void)close(fd);
    return code;
}

static void expect_printed(const char *text)
{
    cr_assert_not_null(strstr(printed, text), "no %s in: %s", text, printed);
}

/* ---- health ---- */

Test(admin, health_tells_a_ready_node_and_its_counters)
{
    json_t *answer = call("GET", "/v1/health", NULL, 200);
    cr_assert(json_is_true(json_object_get(answer, "ready")));
    expect_text(answer, "node", "node-1");
    const json_t *ledger = json_object_get(answer, "ledger");
    expect_text(ledger, "state", "ready");
    cr_assert(json_is_integer(json_object_get(ledger, "records_unposted")));
    const json_t *redis_health = json_object_get(answer, "redis");
    cr_assert(json_is_true(json_object_get(redis_health, "up")));
    expect_text(redis_health, "address", node.redis.address);
    expect_number(json_object_get(answer, "traffic"), "requests", 0);
    expect_number(json_object_get(answer, "media"), "files_hashed", 0);
    json_decref(answer);
}

Test(admin, health_tells_when_redis_is_gone)
{
    redis_child_stop(&redis);
    await_redis(false);
    struct admin_response response;
    cr_assert_eq(admin_client_call(socket_path, "GET", "/v1/health", NULL, &response), 0);
    json_t *answer = json_loads(response.body, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(json_is_false(json_object_get(json_object_get(answer, "redis"), "up")), "%s",
              response.body);
    free(response.body);
    json_decref(answer);
}

Test(admin, health_is_503_until_every_worker_may_ask_redis)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    cr_assert_not_null(worker);
    node.workers[0] = worker;
    node.worker_count = 1;
    json_t *answer = call("GET", "/v1/health", NULL, 503);
    cr_assert(json_is_false(json_object_get(answer, "ready")));
    json_decref(answer);
    char raw[4096];
    exchange_raw("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n", raw, sizeof(raw));
    cr_assert_not_null(strstr(raw, "\r\nRetry-After: 1\r\n"), "%s", raw);
    atomic_store(&worker->redis_generation, ledger_redis_generation(node.ledger));
    json_decref(call("GET", "/v1/health", NULL, 200));
    node.worker_count = 0;
    free(worker);
}

Test(admin, health_is_503_while_the_node_stops)
{
    atomic_store(&node.stopping, true);
    json_t *answer = call("GET", "/v1/health", NULL, 503);
    cr_assert(json_is_true(json_object_get(answer, "stopping")));
    json_decref(answer);
}

/* Sends a whole request and leaves the answer in the socket. */
static int send_raw(const char *request)
{
    int fd = connect_raw();
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    return fd;
}

static int send_top_up(unsigned number)
{
    char body[96], request[320];
    int length = snprintf(body, sizeof(body), "{\"bytes\":1,\"transaction\":\"burst-%u\"}", number);
    (void)snprintf(request, sizeof(request),
                   "POST /v1/accounts/shop/alice/top-up HTTP/1.1\r\nHost: x\r\n"
                   "Content-Length: %d\r\n\r\n%s",
                   length, body);
    return send_raw(request);
}

static bool is_answered(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) == 1;
}

/* No time is measured: health is answered while the requests before it are not. */
Test(admin, health_waits_for_no_call_and_no_client)
{
    enum { TOP_UPS = 40, IDLE = 300 };
    int top_ups[TOP_UPS], idle[IDLE];
    open_account("{\"bytes\":1000,\"transaction\":\"t1\"}");
    pid_t pid = redis_child_pid(redis);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    for (unsigned i = 0; i < TOP_UPS; i++) {
        top_ups[i] = send_top_up(i);
    }
    struct admin_response response;
    for (unsigned i = 0; i < IDLE; i++) {
        idle[i] = i % 2 == 0 ? connect_raw() : send_raw("GET /v1/he");
        if (i % 100 == 99) {
            cr_assert_eq(admin_client_call(socket_path, "GET", "/v1/health", NULL, &response), 0);
            cr_assert_not_null(strstr(response.body, "\"ready\":"), "%s", response.body);
            free(response.body);
            cr_assert(!is_answered(top_ups[0]), "health waited for a top-up");
        }
    }
    int code = run(command_health, "tollgate health", "");
    cr_assert(code == EX_OK || code == CLI_EXIT_NO, "%d: %s", code, printed);
    cr_assert_eq(kill(pid, SIGCONT), 0);
    unsigned done = 0;
    for (unsigned i = 0; i < TOP_UPS; i++) {
        char answer[2048];
        read_raw(top_ups[i], answer, sizeof(answer));
        (void)close(top_ups[i]);
        bool paid = strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
        cr_assert(paid || strncmp(answer, "HTTP/1.1 503 ", 13) == 0 ||
                      strncmp(answer, "HTTP/1.1 202 ", 13) == 0,
                  "%s", answer);
        done += paid;
    }
    cr_assert_gt(done, 0, "those that waited are done when Redis is back");
    for (unsigned i = 0; i < IDLE; i++) {
        (void)close(idle[i]);
    }
}

Test(admin, calls_beyond_the_bound_are_503_at_once_and_nothing_of_them_is_done)
{
    enum { MANY = 100 };
    int calls[MANY];
    unsigned refused = 0;
    open_account("{\"bytes\":0,\"transaction\":\"t1\"}");
    pid_t pid = redis_child_pid(redis);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    for (unsigned i = 0; i < MANY; i++) {
        calls[i] = send_top_up(i);
    }
    char answer[2048];
    read_raw(calls[MANY - 1], answer, sizeof(answer));
    cr_assert(strncmp(answer, "HTTP/1.1 503 ", 13) == 0, "%s", answer);
    cr_assert_not_null(strstr(answer, "\r\nRetry-After: "), "%s", answer);
    cr_assert_not_null(strstr(answer, "\"calls_too_many\""), "%s", answer);
    cr_assert(!is_answered(calls[0]), "the bound was not what refused it");
    cr_assert_eq(kill(pid, SIGCONT), 0);
    unsigned paid = 0, open_end = 0;
    for (unsigned i = 0; i < MANY; i++) {
        if (i < MANY - 1) {
            read_raw(calls[i], answer, sizeof(answer));
        }
        (void)close(calls[i]);
        refused += strstr(answer, "calls_too_many") != NULL;
        paid += strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
        open_end += strncmp(answer, "HTTP/1.1 202 ", 13) == 0;
    }
    cr_assert_gt(refused, 0);
    cr_assert_lt(refused, MANY);
    json_t *account = call("GET", "/v1/accounts/shop/alice", NULL, 200);
    json_int_t balance = json_integer_value(json_object_get(account, "balance"));
    json_decref(account);
    cr_assert_geq(balance, paid);
    cr_assert_leq(balance, paid + open_end);
}

Test(admin, the_health_command_does_not_wait_for_a_node_that_accepts_nobody)
{
    admin_stop(&admin);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    int deaf = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(deaf, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(deaf, 0), 0);
    int first = connect_raw(); /* fills the socket's queue */
    cr_assert_eq(run(command_health, "tollgate health", ""), EX_UNAVAILABLE, "%s", printed);
    expect_printed("did not answer in time");
    (void)close(first);
    (void)close(deaf);
}

/* ---- accounts ---- */

Test(admin, an_account_is_opened_shown_topped_up_and_adjusted)
{
    json_t *answer =
        call("PUT", "/v1/accounts/shop/alice",
             "{\"plan\":\"prepaid\",\"bytes\":9007199254740000,\"transaction\":\"order-1\"}", 201);
    expect_number(answer, "balance", 9007199254740000);
    cr_assert(json_is_false(json_object_get(answer, "repeated")));
    json_decref(answer);
    answer = call("POST", "/v1/accounts/shop/alice/top-up",
                  "{\"bytes\":991,\"transaction\":\"order-2\"}", 200);
    expect_number(answer, "balance", 9007199254740991);
    json_decref(answer);
    answer = call("POST", "/v1/accounts/shop/alice/adjust",
                  "{\"bytes\":-9007199254740990,\"transaction\":\"order-3\"}", 200);
    expect_number(answer, "balance", 1);
    json_decref(answer);
    answer = call("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_text(answer, "issuer", "shop");
    expect_text(answer, "account", "alice");
    expect_text(answer, "plan", "prepaid");
    expect_text(answer, "status", "active");
    expect_number(answer, "balance", 1);
    expect_number(answer, "reserved", 0);
    expect_number(answer, "available", 1);
    expect_number(answer, "used", 0);
    json_decref(answer);
}

Test(admin, an_adjustment_below_zero_needs_to_be_allowed)
{
    static const char path[] = "/v1/accounts/shop/alice/adjust";
    open_account("{\"bytes\":100,\"transaction\":\"order-1\"}");
    expect_refusal("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\"}", 409,
                   "balance_negative");
    expect_refusal("POST", path,
                   "{\"bytes\":-101,\"transaction\":\"fix\",\"allow_negative\":false}", 409,
                   "balance_negative");
    expect_refusal("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\",\"allow_negative\":1}",
                   422, "members_invalid");
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":1,\"transaction\":\"t\",\"allow_negative\":true}", 422,
                   "members_invalid");
    json_t *answer =
        call("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\",\"allow_negative\":true}", 200);
    expect_number(answer, "balance", -1);
    json_decref(answer);
    answer = call("POST", path, "{\"bytes\":-101,\"transaction\":\"fix\"}", 200);
    expect_number(answer, "balance", -1);
    cr_assert(json_is_true(json_object_get(answer, "repeated")));
    json_decref(answer);
}

Test(admin, a_postpaid_account_has_no_available_limit)
{
    open_account("{\"plan\":\"postpaid\",\"transaction\":\"order-1\"}");
    json_t *answer = call("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_text(answer, "plan", "postpaid");
    cr_assert(json_is_null(json_object_get(answer, "available")));
    json_decref(answer);
}

Test(admin, an_account_is_suspended_and_activated)
{
    open_account("{\"bytes\":1,\"transaction\":\"order-1\"}");
    json_t *answer = call("POST", "/v1/accounts/shop/alice/suspend", NULL, 200);
    expect_text(answer, "status", "suspended");
    json_decref(answer);
    answer = call("POST", "/v1/accounts/shop/alice/activate", "{}", 200);
    expect_text(answer, "status", "active");
    json_decref(answer);
}

Test(admin, a_repeated_transaction_answers_as_the_first_time_and_pays_once)
{
    static const char open[] = "{\"bytes\":100,\"transaction\":\"order-1\"}";
    static const char top_up[] = "{\"bytes\":7,\"transaction\":\"order-2\"}";
    open_account(open);
    json_decref(call("POST", "/v1/accounts/shop/alice/top-up", top_up, 200));
    json_t *answer = call("POST", "/v1/accounts/shop/alice/top-up", top_up, 200);
    cr_assert(json_is_true(json_object_get(answer, "repeated")));
    expect_number(answer, "balance", 107);
    json_decref(answer);
    answer = call("PUT", "/v1/accounts/shop/alice", open, 201);
    cr_assert(json_is_true(json_object_get(answer, "repeated")));
    expect_number(answer, "balance", 107);
    json_decref(answer);
}

Test(admin, conflicts_are_409_each_with_its_reason)
{
    open_account("{\"bytes\":100,\"transaction\":\"order-1\"}");
    expect_refusal("PUT", "/v1/accounts/shop/alice", "{\"bytes\":100,\"transaction\":\"order-9\"}",
                   409, "account_open");
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":100,\"transaction\":\"order-1\"}", 409, "transaction_reused");
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":9007199254740991,\"transaction\":\"order-2\"}", 422,
                   "total_too_large");
    json_t *answer = call("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_number(answer, "balance", 100);
    json_decref(answer);
}

Test(admin, what_does_not_exist_is_404_and_known_issuers_are_named)
{
    expect_refusal("GET", "/v1/accounts/shop/bob", NULL, 404, "account_unknown");
    expect_refusal("GET", "/v1/accounts/shop/bob/usage", NULL, 404, "account_unknown");
    expect_refusal("POST", "/v1/accounts/shop/bob/top-up", "{\"bytes\":1,\"transaction\":\"t\"}",
                   404, "account_unknown");
    expect_refusal("GET", "/v1/nothing", NULL, 404, "route_unknown");
    expect_refusal("GET", "/v1/accounts/shop/bob/usage/more", NULL, 404, "route_unknown");
    json_t *answer = call("GET", "/v1/accounts/shpo/alice", NULL, 404);
    expect_text(answer, "reason", "issuer_unknown");
    const char *detail = json_string_value(json_object_get(answer, "detail"));
    cr_assert_not_null(strstr(detail, "shop, radio"), "%s", detail);
    json_decref(answer);
}

Test(admin, an_account_is_decoded_after_the_path_was_split)
{
    json_t *answer =
        call("PUT", "/v1/accounts/shop/a%2Fb%20%C3%A9", "{\"bytes\":5,\"transaction\":\"t\"}", 201);
    expect_text(answer, "account", "a/b \xc3\xa9");
    json_decref(answer);
    expect_refusal("GET", "/v1/accounts/shop/a/b", NULL, 404, "route_unknown");
    static const char *const invalid[] = {"", "%", "%4", "%zz", "a%00", "%ff"};
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        char target[64];
        (void)snprintf(target, sizeof(target), "/v1/accounts/shop/%s", invalid[i]);
        expect_refusal("GET", target, NULL, 422, "account_invalid");
    }
    char longest[200];
    (void)snprintf(longest, sizeof(longest), "/v1/accounts/shop/%0128d", 0);
    expect_refusal("GET", longest, NULL, 404, "account_unknown");
    (void)snprintf(longest, sizeof(longest), "/v1/accounts/shop/%0129d", 0);
    expect_refusal("GET", longest, NULL, 422, "account_invalid");
}

Test(admin, a_body_is_read_strictly_and_nothing_is_opened_by_a_bad_one)
{
    static const struct {
        const char *body;
        unsigned status;
        const char *reason;
    } bad[] = {
        {"", 400, "body_invalid"},
        {"{", 400, "body_invalid"},
        {"{\"bytes\":1,\"bytes\":2,\"transaction\":\"t\"}", 400, "body_invalid"},
        {"{\"bytes\":1,\"transaction\":\"t\"} x", 400, "body_invalid"},
        {"[]", 422, "members_invalid"},
        {"{\"bytes\":1}", 422, "members_invalid"},
        {"{\"byts\":1,\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":\"1\",\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":1.5,\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":1e3,\"transaction\":\"t\"}", 422, "members_invalid"},
        {"{\"bytes\":1,\"transaction\":7}", 422, "members_invalid"},
        {"{\"plan\":\"gold\",\"transaction\":\"t\"}", 422, "plan_invalid"},
        {"{\"bytes\":-1,\"transaction\":\"t\"}", 422, "out_of_bounds"},
        {"{\"bytes\":9007199254740992,\"transaction\":\"t\"}", 422, "out_of_bounds"},
        {"{\"bytes\":1,\"transaction\":\"\"}", 422, "out_of_bounds"},
        {"{\"bytes\":1,\"transaction\":\"a b\"}", 422, "out_of_bounds"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect_refusal("PUT", "/v1/accounts/shop/alice", bad[i].body, bad[i].status, bad[i].reason);
    }
    expect_refusal("GET", "/v1/accounts/shop/alice", NULL, 404, "account_unknown");
}

#define ALICE "/v1/accounts/shop/alice"

Test(admin, a_problem_names_the_member_that_is_at_fault)
{
    static const struct {
        const char *method, *target, *body, *member;
    } bad[] = {
        {"PUT", ALICE, "{\"byts\":1,\"transaction\":\"t\"}", "byts"},
        {"PUT", ALICE, "{\"bytes\":\"1\",\"transaction\":\"t\"}", "bytes"},
        {"PUT", ALICE, "{\"bytes\":-1,\"transaction\":\"t\"}", "bytes"},
        {"PUT", ALICE, "{\"bytes\":18446744073709551616,\"transaction\":\"t\"}", "bytes"},
        {"PUT", ALICE, "{\"bytes\":1}", "transaction"},
        {"PUT", ALICE, "{\"bytes\":1,\"transaction\":\"a b\"}", "transaction"},
        {"PUT", ALICE, "{\"transaction\":\"t\",\"transaction\":\"t\"}", "transaction"},
        {"PUT", ALICE, "{\"plan\":\"gold\",\"transaction\":\"t\"}", "plan"},
        {"POST", ALICE "/top-up", "{\"transaction\":\"t\"}", "bytes"},
        {"POST", ALICE "/top-up", "{\"bytes\":0,\"transaction\":\"t\"}", "bytes"},
        {"POST", ALICE "/adjust", "{\"bytes\":null,\"transaction\":\"t\"}", "bytes"},
        {"POST", ALICE "/suspend", "{\"transaktion\":\"t\"}", "transaktion"},
        {"POST", ALICE "/activate", "{\"transaction\":[]}", "transaction"},
        {"PUT", ALICE "/limits", "{\"rate\":-1}", "rate"},
        {"PUT", ALICE "/limits", "{\"max_bytes\":9007199254740992}", "max_bytes"},
        {"PUT", ALICE "/limits", "{\"max_conns\":4294967296}", "max_conns"},
        {"POST", ALICE "/revoke", "{}", "jti"},
        {"POST", ALICE "/revoke", "{\"jti\":\"\"}", "jti"},
        {"POST", ALICE "/revoke", "{\"jti\":\"a\",\"issued_before\":5}", "issued_before"},
        {"POST", ALICE "/revoke", "{\"issued_before\":0}", "issued_before"},
        {"POST", ALICE "/revoke", "{\"issued_by_now\":false}", "issued_by_now"},
        {"POST", "/v1/links/revoke", "{}", "url"},
        {"POST", "/v1/links/explain", "{\"url\":\"/a?x\",\"uri\":1}", "uri"},
        {"GET", ALICE "/usage?form=2026-11-01", NULL, "form"},
        {"GET", ALICE "/usage?from=2026-02-30", NULL, "from"},
        {"GET", ALICE "/usage?to=x", NULL, "to"},
        {"GET", ALICE "/usage?from=2024-01-01&to=2026-01-01", NULL, "from"},
        {"GET", ALICE "/usage?limit=1&limit=2", NULL, "limit"},
        {"GET", ALICE "/usage?limit=0", NULL, "limit"},
        {"GET", ALICE "/usage?cursor=x", NULL, "cursor"},
        {"GET", "/v1/events", NULL, "issuer"},
        {"GET", "/v1/events?issuer=nobody", NULL, "issuer"},
        {"GET", "/v1/events?issuer=shop&after=x", NULL, "after"},
        {"GET", "/v1/events?issuer=shop&limit=1001", NULL, "limit"},
        {"GET", "/v1/accounts/shop/%00", NULL, "account"},
        {"GET", "/v1/accounts/nobody/alice", NULL, "issuer"},
    };
    open_account("{\"transaction\":\"order-1\"}");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct admin_response response;
        cr_assert_eq(
            admin_client_call(socket_path, bad[i].method, bad[i].target, bad[i].body, &response),
            0);
        json_t *answer = json_loads(response.body, JSON_REJECT_DUPLICATES, NULL);
        const char *member = json_string_value(json_object_get(answer, "member"));
        cr_expect(response.status >= 400 && member != NULL && strcmp(member, bad[i].member) == 0,
                  "%s %s %s: not %s: %u %s", bad[i].method, bad[i].target,
                  bad[i].body != NULL ? bad[i].body : "", bad[i].member, response.status,
                  response.body);
        json_decref(answer);
        free(response.body);
    }
}

/* Expects that the list has each word once, and no other. */
static void expect_words(json_t *list, const char *what, json_t *words)
{
    const char *word;
    json_t *left = json_deep_copy(words), *value;
    size_t i;
    cr_assert(json_is_array(list), "%s has no enum", what);
    json_array_foreach(list, i, value)
        cr_expect(json_object_del(left, json_string_value(value)) == 0,
                  "%s: %s is twice there, or not in the tables", what, json_string_value(value));
    json_object_foreach(left, word, value) cr_expect(false, "%s lacks %s", what, word);
    json_decref(left);
}

Test(admin, the_description_has_the_tables_reasons_and_no_other)
{
    json_t *document = call("GET", "/v1/openapi.json", NULL, 200);
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    json_t *refusals = json_object();
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++) {
        (void)json_object_set_new(refusals, refusal_name((enum refusal)i), json_true());
    }
    json_t *problems = json_copy(refusals);
    for (int i = 0; i < ADMIN_REASON_COUNT; i++) {
        (void)json_object_set_new(problems, admin_reason_name((enum admin_reason)i), json_true());
    }
    (void)json_object_set_new(refusals, "ok", json_true());
    json_t *reason = json_object_get(
        json_object_get(json_object_get(schemas, "Problem"), "properties"), "reason");
    expect_words(json_object_get(reason, "enum"), "Problem.reason", problems);
    expect_words(json_object_get(json_object_get(schemas, "LinkReason"), "enum"), "LinkReason",
                 refusals);
    json_decref(problems);
    json_decref(refusals);
    json_decref(document);
}

Test(admin, money_waits_while_redis_is_gone_and_nothing_is_done_twice)
{
    open_account("{\"bytes\":100,\"transaction\":\"order-1\"}");
    redis_child_stop(&redis);
    await_redis(false);
    expect_refusal("POST", "/v1/accounts/shop/alice/top-up",
                   "{\"bytes\":1,\"transaction\":\"order-2\"}", 503, "redis_unavailable");
    char answer[4096];
    exchange_raw("GET /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof(answer));
    cr_assert_not_null(strstr(answer, "\r\nRetry-After: 1\r\n"), "%s", answer);
    char error[512];
    cr_assert_eq(redis_child_start(&redis, state_dir, node.redis.address,
                                   sizeof(node.redis.address), error, sizeof(error)),
                 0);
    await_redis(true);
    json_t *shown = call("POST", "/v1/accounts/shop/alice/top-up",
                         "{\"bytes\":1,\"transaction\":\"order-2\"}", 200);
    expect_number(shown, "balance", 101);
    json_decref(shown);
}

/* ---- usage ---- */

Test(admin, usage_is_by_day_and_file_and_its_totals_are_exact)
{
    open_account("{\"bytes\":1000000,\"transaction\":\"order-1\"}");
    deliver("/a.mp3", 6, 1234);
    deliver("/a.mp3", 6, 1);
    deliver("/b \"q\".mp3", 10, 4000);
    deliver("/caf\xe9.mp3", 9, 7); /* Latin-1, which JSON cannot hold */
    json_t *answer = call("GET", "/v1/accounts/shop/alice/usage", NULL, 200);
    const json_t *rows = json_object_get(answer, "rows");
    const json_t *totals = json_object_get(answer, "totals");
    cr_assert_eq(json_array_size(rows), 3);
    expect_text(json_array_get(rows, 0), "file", "/a.mp3");
    expect_number(json_array_get(rows, 0), "bytes", 1235);
    expect_number(json_array_get(rows, 0), "responses", 2);
    expect_text(json_array_get(rows, 1), "file", "/b \"q\".mp3");
    expect_text(json_array_get(rows, 2), "file", "/caf%E9.mp3");
    cr_assert(json_is_true(json_object_get(json_array_get(rows, 2), "file_encoded")));
    expect_number(totals, "bytes", 5242);
    expect_number(totals, "responses", 4);
    expect_number(totals, "rows", 3);
    json_decref(answer);
    answer = call("GET", "/v1/accounts/shop/alice", NULL, 200);
    expect_number(answer, "used", 5242);
    expect_number(answer, "balance", 1000000 - 5242);
    json_decref(answer);
    answer = call("GET", "/v1/accounts/shop/alice/usage?from=2020-02-28&to=2020-03-01", NULL, 200);
    cr_assert_eq(json_array_size(json_object_get(answer, "rows")), 0);
    expect_text(answer, "from", "2020-02-28");
    json_decref(answer);
}

Test(admin, days_that_do_not_exist_or_are_too_many_are_422)
{
    open_account("{\"bytes\":1,\"transaction\":\"order-1\"}");
    static const char *const bad[] = {
        "from=2026-02-30",
        "from=2026-1-01",
        "from=2026-11-011",
        "from=x",
        "to=",
        "from=2026-11-02&to=2026-11-01",
        "from=%202026-1-1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char target[96];
        (void)snprintf(target, sizeof(target), "/v1/accounts/shop/alice/usage?%s", bad[i]);
        expect_refusal("GET", target, NULL, 422, "days_invalid");
    }
    expect_refusal("GET", "/v1/accounts/shop/alice/usage?from=2024-01-01&to=2026-01-01", NULL, 422,
                   "out_of_bounds");
}

/* ---- the socket ---- */

Test(admin, requests_that_are_no_small_http_1_1_are_refused)
{
    expect_raw("hello\r\n\r\n", "HTTP/1.1 400 ");
    expect_raw("GET /v1/health HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "); /* no Host */
    expect_raw("GET /v1/health HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 ");
    expect_raw("GET /v1/health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
               "HTTP/1.1 411 ");
    expect_raw("GET /v1/health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               "HTTP/1.1 200 "); /* as proxies translate it from HTTP/2 */
    expect_raw("PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
               "HTTP/1.1 411 ");
    expect_raw("PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
               "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
               "HTTP/1.1 400 ");
    expect_raw("PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
               "Content-Length: 65537\r\n\r\n",
               "HTTP/1.1 413 ");
    char answer[4096];
    exchange_raw("DELETE /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n\r\n", answer,
                 sizeof(answer));
    cr_assert(strncmp(answer, "HTTP/1.1 405 ", 13) == 0, "%s", answer);
    cr_assert_not_null(strstr(answer, "\r\nAllow: GET, PUT\r\n"), "%s", answer);
    cr_assert_not_null(strstr(answer, "application/problem+json"), "%s", answer);
}

Test(admin, a_head_of_more_than_8_kib_is_431_and_one_of_8_kib_is_read)
{
    static const char start[] = "GET /v1/health HTTP/1.1\r\nHost: x\r\nX: ";
    char request[8192 + 2];
    for (size_t length = 8192; length <= 8193; length++) {
        memset(request, 'a', length);
        memcpy(request, start, sizeof(start) - 1);
        memcpy(request + length - 4, "\r\n\r\n", 5);
        expect_raw(request, length == 8192 ? "HTTP/1.1 200 " : "HTTP/1.1 431 ");
    }
}

Test(admin, a_body_may_come_in_pieces_and_after_100_continue)
{
    static const char head[] = "PUT /v1/accounts/shop/alice HTTP/1.1\r\nHost: x\r\n"
                               "Expect: 100-continue\r\nContent-Length: 31\r\n\r\n";
    static const char body[] = "{\"bytes\":10,\"transaction\":\"t1\"}";
    cr_assert_eq(sizeof(body) - 1, 31);
    int fd = connect_raw();
    cr_assert_eq(send(fd, head, sizeof(head) - 1, 0), (ssize_t)sizeof(head) - 1);
    char answer[4096];
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    cr_assert_eq(recv(fd, answer, sizeof(interim) - 1, MSG_WAITALL), (ssize_t)sizeof(interim) - 1);
    cr_assert_eq(memcmp(answer, interim, sizeof(interim) - 1), 0);
    for (size_t i = 0; i < sizeof(body) - 1; i++) {
        cr_assert_eq(send(fd, body + i, 1, 0), 1);
    }
    read_raw(fd, answer, sizeof(answer));
    (void)close(fd);
    cr_assert(strncmp(answer, "HTTP/1.1 201 Created\r\n", 22) == 0, "%s", answer);
}

Test(admin, a_client_that_leaves_half_way_harms_nobody)
{
    int fd = connect_raw();
    cr_assert_gt(send(fd, "GET /v1/he", 10, 0), 0);
    (void)close(fd);
    fd = connect_raw(); /* leaves before the answer comes */
    static const char request[] = "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    cr_assert_gt(send(fd, request, sizeof(request) - 1, 0), 0);
    (void)close(fd);
    json_decref(call("GET", "/v1/health", NULL, 200));
}

Test(admin, a_stop_does_not_wait_for_a_request_that_does_not_come)
{
    int fd = connect_raw();
    cr_assert_gt(send(fd, "GET /v1/he", 10, 0), 0);
    struct timespec before;
    struct timespec after;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    admin_stop(&admin);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    char byte;
    cr_assert_leq(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
    cr_assert_lt(after.tv_sec - before.tv_sec, 5, "the request's own deadline");
    cr_assert_eq(access(socket_path, F_OK), -1);
}

Test(admin, the_socket_is_the_owners_alone_and_a_stale_one_is_replaced)
{
    struct stat status;
    cr_assert_eq(stat(socket_path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0600);
    admin_stop(&admin);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    (void)close(stale);
    char error[512];
    cr_assert(admin_start(&admin, &node, error, sizeof(error)) == 0, "%s", error);
    json_decref(call("GET", "/v1/health", NULL, 200));
}

Test(admin, somebodys_file_in_the_sockets_place_is_not_removed)
{
    admin_stop(&admin);
    FILE *file = fopen(socket_path, "w");
    cr_assert_not_null(file);
    (void)fclose(file);
    char error[512];
    cr_assert_eq(admin_start(&admin, &node, error, sizeof(error)), -EEXIST);
    cr_assert_not_null(strstr(error, "move it away"), "%s", error);
    cr_assert_eq(access(socket_path, F_OK), 0);
}

/* ---- the commands ---- */

#define ACCOUNT(line) run(tollgate_main, "tollgate", "account " line)

Test(admin, the_account_command_walks_through_an_accounts_life)
{
    cr_assert_eq(ACCOUNT("open shop/alice --bytes 1.5GB --transaction order-1"), EX_OK, "%s",
                 printed);
    expect_printed("balance      1500000000 bytes (1.50 GB)");
    cr_assert_eq(ACCOUNT("top-up --issuer shop --account alice --credit 1KiB -t order-2"), EX_OK,
                 "%s", printed);
    expect_printed("1500001024 bytes");
    cr_assert_eq(ACCOUNT("top-up shop/alice --bytes 1KiB -t order-2"), EX_OK);
    expect_printed("done before");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -1024"), EX_OK, "%s", printed);
    expect_printed("transaction  cli-");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -2GB"), CLI_EXIT_NO);
    expect_printed("shop/alice: the balance of 1500000000 bytes would fall below zero");
    expect_printed("--allow-negative");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -2GB -t fix --json"), CLI_EXIT_NO);
    expect_printed("\"kind\":\"no\",\"exit_code\":1,\"command\":\"tollgate account adjust\"");
    expect_printed("\"status\":409,\"reason\":\"balance_negative\"");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes -2GB -t fix --allow-negative"), EX_OK);
    expect_printed("balance      -500000000 bytes");
    cr_assert_eq(ACCOUNT("adjust shop/alice --bytes 2GB"), EX_OK);
    cr_assert_eq(ACCOUNT("suspend shop/alice"), EX_OK);
    expect_printed("status       suspended");
    cr_assert_eq(ACCOUNT("activate shop/alice"), EX_OK);
    cr_assert_eq(ACCOUNT("show shop/alice --json"), EX_OK);
    json_t *answer = json_loads(printed, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(answer, "%s", printed);
    expect_number(answer, "balance", 1500000000);
    expect_text(answer, "status", "active");
    json_decref(answer);
}

Test(admin, the_account_commands_exit_codes_tell_the_classes_apart)
{
    cr_assert_eq(ACCOUNT("show shop/bob"), CLI_EXIT_NO);
    expect_printed("open it first");
    cr_assert_eq(ACCOUNT("show shpo/bob"), CLI_EXIT_NO);
    expect_printed("shop, radio");
    cr_assert_eq(ACCOUNT("show bob"), EX_USAGE);
    cr_assert_eq(ACCOUNT("show"), EX_USAGE);
    cr_assert_eq(ACCOUNT("shwo shop/bob"), EX_USAGE);
    expect_printed("did you mean tollgate account show?");
    cr_assert_eq(ACCOUNT("top-up shop/bob"), EX_USAGE);
    expect_printed("--bytes 500MB");
    cr_assert_eq(ACCOUNT("open shop/bob --bytes plenty"), EX_USAGE);
    cr_assert_eq(ACCOUNT("open shop/bob --bytes 1 --transaction a/b"), EX_USAGE);
    admin_stop(&admin);
    cr_assert_eq(ACCOUNT("open shop/bob --bytes 1"), EX_UNAVAILABLE);
    expect_printed("start one with `tollgate serve --config FILE`");
    expect_printed("repeat it with --transaction cli-");
}

Test(admin, the_usage_command_prints_rows_and_totals_without_steering_the_terminal)
{
    cr_assert_eq(ACCOUNT("open shop/alice --bytes 1GB"), EX_OK);
    deliver("/a.mp3", 6, 1234567);
    deliver("/b\033.mp3", 7, 1);
    cr_assert_eq(run(command_usage, "tollgate usage", "shop/alice"), EX_OK, "%s", printed);
    expect_printed("1234567    1.23 MB          1  /a.mp3\n");
    expect_printed("/b\\x1b.mp3\n");
    expect_printed("total       1234568    1.23 MB          2  ");
    cr_assert_null(strchr(printed, '\033'));
    cr_assert_eq(run(command_usage, "tollgate usage", "shop/alice --from 2026-02-30"), EX_USAGE);
    cr_assert_eq(run(command_usage, "tollgate usage", "shop/alice --from today"), EX_USAGE);
    cr_assert_eq(run(command_usage, "tollgate usage", "shop/bob"), CLI_EXIT_NO);
}

Test(admin, the_health_command_exits_with_0_1_or_69)
{
    cr_assert_eq(run(command_health, "tollgate health", ""), EX_OK, "%s", printed);
    expect_printed("ready        yes");
    atomic_store(&node.stopping, true);
    cr_assert_eq(run(command_health, "tollgate health", ""), CLI_EXIT_NO, "%s", printed);
    expect_printed("no: the node is stopping");
    cr_assert_eq(run(command_health, "tollgate health", "--json"), CLI_EXIT_NO);
    json_t *answer = json_loads(printed, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(json_is_false(json_object_get(answer, "ready")), "%s", printed);
    json_decref(answer);
    admin_stop(&admin);
    cr_assert_eq(run(command_health, "tollgate health", ""), EX_UNAVAILABLE);
}
