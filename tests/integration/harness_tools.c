/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a site's owner does beside running the node: commands, files, accounts, links, and the Redis
 * behind it. The tests call it. Accounts and usage go through the admin interface, as a storefront
 * does it, never through Redis.
 */
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/harness_internal.h"
#include "tokens/base64url_internal.h"

/* ---- commands ---- */

#define COMMAND_WORDS_MAX 32

const char *harness_tollgate(void)
{
    const char *other = getenv("TOLLGATE_BINARY");
    return other != NULL ? other : TOLLGATE_BINARY;
}

struct command_result site_command(struct site *site, const char *const *words)
{
    const char *all[COMMAND_WORDS_MAX] = {harness_tollgate()};
    size_t count = 1;
    for (; words[count - 1] != NULL; count++) {
        cr_assert(count < COMMAND_WORDS_MAX - 3);
        all[count] = words[count - 1];
    }
    bool asks_a_node = strcmp(words[0], "link") != 0 || strcmp(words[1], "revoke") == 0;
    if (asks_a_node && strcmp(words[0], "key") != 0) {
        all[count++] = "--config";
        all[count++] = site->config;
    }
    const char *output_path = site_format(site, "%s/output", site->directory);
    const char *errors_path = site_format(site, "%s/errors", site->directory);
    int output = open(output_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int errors = open(errors_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(output >= 0 && errors >= 0);
    pid_t pid = harness_spawn(all, output, errors);
    close(output);
    close(errors);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    struct command_result result = {
        .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
        .output = site_keep(site, harness_read_file(output_path, NULL)),
        .errors = site_keep(site, harness_read_file(errors_path, NULL)),
    };
    cr_assert_null(strstr(result.errors, "Sanitizer"), "tollgate %s: %s", words[0], result.errors);
    return result;
}

/* ---- files ---- */

const char *site_media_path(struct site *site, const char *path)
{
    return site_format(site, "%s%s", site->media_root, path);
}

void site_media_add(struct site *site, const char *path, const char *track, unsigned copies)
{
    cr_assert(site->own_media, "the catalogue is shared: ask for .own_media");
    size_t length = 0;
    char *bytes = harness_read_file(site_format(site, "%s%s", TOLLGATE_CATALOGUE, track), &length);
    cr_assert(bytes, "the catalogue has no %s", track);
    char *target = site_keep(site, strdup(site_media_path(site, path)));
    for (char *slash = strchr(target + strlen(site->media_root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        cr_assert(mkdir(target, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(target, "we");
    cr_assert(file, "%s: %s", target, strerrordesc_np(errno));
    for (unsigned i = 0; i < copies; i++)
        cr_assert_eq(fwrite(bytes, 1, length, file), length);
    cr_assert_eq(fclose(file), 0);
    free(bytes);
}

const unsigned char *site_media_bytes(struct site *site, const char *path, size_t *length)
{
    char *bytes = harness_read_file(site_media_path(site, path), length);
    cr_assert(bytes, "no file %s", path);
    return site_keep(site, bytes);
}

/* ---- accounts ---- */

static void account_open(struct site *site, const char *account, const char *plan, uint64_t amount)
{
    const char *path = site_format(site, "/v1/accounts/shop/%s", account);
    const char *body =
        site_format(site, "{\"plan\":\"%s\",\"bytes\":%llu,\"transaction\":\"open-%u\"}", plan,
                    (unsigned long long)amount, ++site->transactions);
    const struct answer *answer = site_admin(site, "PUT", path, body);
    cr_assert_eq(answer->status, 201, "opening %s: %u %s", account, answer->status,
                 (const char *)answer->body);
}

void site_account_open_prepaid(struct site *site, const char *account, uint64_t balance_bytes)
{
    account_open(site, account, "prepaid", balance_bytes);
}

void site_account_open_postpaid(struct site *site, const char *account)
{
    account_open(site, account, "postpaid", 0);
}

void site_account_top_up(struct site *site, const char *account, uint64_t bytes)
{
    const char *path = site_format(site, "/v1/accounts/shop/%s/top-up", account);
    const char *body = site_format(site, "{\"bytes\":%llu,\"transaction\":\"top-up-%u\"}",
                                   (unsigned long long)bytes, ++site->transactions);
    const struct answer *answer = site_admin(site, "POST", path, body);
    cr_assert_eq(answer->status, 200, "topping %s up: %u %s", account, answer->status,
                 (const char *)answer->body);
}

/* Returns the sum of the rows, which must be the totals. */
static struct usage sum_usage(const struct answer *answer)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)answer->body, answer->body_length, 0, &error);
    cr_assert(root, "usage is not JSON: %s", error.text);
    struct usage usage = {0};
    json_int_t bytes = -1, responses = -1;
    json_t *rows = NULL;
    cr_assert_eq(json_unpack_ex(root, &error, 0, "{s:o, s:{s:I, s:I}}", "rows", &rows, "totals",
                                "bytes", &bytes, "responses", &responses),
                 0, "%s", error.text);
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        usage.bytes += (uint64_t)json_integer_value(json_object_get(row, "bytes"));
        usage.responses += (uint64_t)json_integer_value(json_object_get(row, "responses"));
    }
    cr_assert_eq(usage.bytes, (uint64_t)bytes, "the rows do not sum up to the totals");
    cr_assert_eq(usage.responses, (uint64_t)responses);
    json_decref(root);
    return usage;
}

struct usage site_usage(struct site *site, const char *account)
{
    const char *path = site_format(site, "/v1/accounts/shop/%s/usage", account);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        const struct answer *answer = site_admin(site, "GET", path, NULL);
        if (answer->status == 200)
            return sum_usage(answer);
        /* 503: the node may still be catching up with a Redis that came back. */
        cr_assert_eq(answer->status, 503, "usage: %u %s", answer->status,
                     (const char *)answer->body);
        cr_assert(harness_now_ms() < deadline_ms, "usage: %s", (const char *)answer->body);
        harness_pause();
    }
}

struct balance site_balance(struct site *site, const char *account)
{
    const char *path = site_format(site, "/v1/accounts/shop/%s", account);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct answer *answer;
    while ((answer = site_admin(site, "GET", path, NULL))->status == 503 &&
           harness_now_ms() < deadline_ms)
        harness_pause();
    json_error_t error;
    json_t *root = json_loadb((const char *)answer->body, answer->body_length, 0, &error);
    json_int_t balance, reserved, used;
    cr_assert(root != NULL && json_unpack(root, "{s:I, s:I, s:I}", "balance", &balance, "reserved",
                                          &reserved, "used", &used) == 0,
              "account %s: %u %s", account, answer->status, (const char *)answer->body);
    json_decref(root);
    return (struct balance){.balance = balance, .reserved = reserved, .used = used};
}

void site_await_reserved(struct site *site, const char *account, int64_t reserved)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (site_balance(site, account).reserved != reserved) {
        cr_assert(harness_now_ms() < deadline_ms, "%lld bytes are reserved, not %lld",
                  (long long)site_balance(site, account).reserved, (long long)reserved);
        harness_pause();
    }
}

void site_await_nothing_reserved(struct site *site, const char *account)
{
    site_await_reserved(site, account, 0);
}

void site_usage_await(struct site *site, const char *account, uint64_t bytes)
{
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        struct usage usage = site_usage(site, account);
        if (usage.bytes == bytes)
            return;
        cr_assert(usage.bytes < bytes, "billed %llu, and no more than %llu arrived",
                  (unsigned long long)usage.bytes, (unsigned long long)bytes);
        cr_assert(harness_now_ms() < deadline_ms, "billed %llu of %llu",
                  (unsigned long long)usage.bytes, (unsigned long long)bytes);
        harness_pause();
    }
}

/* Looks that find the same, a tenth of a second apart: a busy machine keeps a worker from counting
 * for a part of a second. */
#define SETTLED_LOOKS 8

uint64_t site_usage_settled(struct site *site, const char *account)
{
    uint64_t before = site_usage(site, account).bytes;
    for (unsigned equal = 0; equal < SETTLED_LOOKS;) {
        for (int i = 0; i < 10; i++)
            harness_pause();
        uint64_t now = site_usage(site, account).bytes;
        cr_assert(now >= before, "usage went back from %llu to %llu", (unsigned long long)before,
                  (unsigned long long)now);
        equal = now == before ? equal + 1 : 0;
        before = now;
    }
    return before;
}

/* ---- links ---- */

const char *site_token_with(struct site *site, const struct link_options *options)
{
    const char *container = options->container;
    if (container == NULL)
        container = site_format(site, "exact:%s", options->path);
    time_t now = time(NULL);
    struct token_claims claims = {
        .iss = options->iss != NULL ? options->iss
               : options->by_rival  ? SITE_RIVAL_ISS
                                    : SITE_ISS,
        .account = options->account,
        .container = container,
        .filename = options->filename,
        .exp = now + (options->expires_in_s ? options->expires_in_s : 3600),
        .nbf = options->begins_in_s ? now + options->begins_in_s : 0,
        .iat = options->issued_in_s ? now + options->issued_in_s : 0,
        .jti = options->jti,
        .limits = options->limits,
    };
    char *jws = NULL;
    int result = token_sign(options->by_rival ? site->rival_keys : site->keys, NULL, &claims, &jws);
    cr_assert_eq(result, 0, "token_sign: %s", strerrordesc_np(-result));
    return site_keep(site, jws);
}

const char *site_link_with(struct site *site, const struct link_options *options)
{
    char encoded[3 * 1024 + 1];
    int length = token_path_encode(options->path, strlen(options->path), encoded, sizeof(encoded));
    cr_assert(length > 0);
    return site_format(site, "%s?URISigningPackage=%s", encoded, site_token_with(site, options));
}

/* ---- Redis ---- */

static redisContext *redis_connect(const char *socket_path)
{
    redisContext *context = redisConnectUnix(socket_path);
    if (context != NULL && context->err == 0)
        return context;
    if (context != NULL)
        redisFree(context);
    return NULL;
}

static redisContext *site_redis_connect(struct site *site)
{
    char path[300];
    if (site->own_redis)
        snprintf(path, sizeof(path), "%s", site->redis_socket);
    else
        snprintf(path, sizeof(path), "%s/redis/redis.sock", site->state_dir);
    if (!site->own_redis && access(path, F_OK) < 0)
        snprintf(path, sizeof(path), "%s/redis.sock", site->state_dir);
    redisContext *context = redis_connect(path);
    cr_assert(context, "%s: no Redis answers", path);
    return context;
}

void site_redis_command(struct site *site, const char *command)
{
    redisContext *context = site_redis_connect(site);
    redisReply *reply = redisCommand(context, command); // NOLINT: the tests' own words
    cr_assert(reply, "%s: no answer", command);
    cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s: %s", command, reply->str);
    freeReplyObject(reply);
    redisFree(context);
}

int64_t site_redis_number(struct site *site, const char *script)
{
    redisContext *context = site_redis_connect(site);
    redisReply *reply = redisCommand(context, "EVAL %s 0", script);
    cr_assert(reply, "%s: no answer", script);
    cr_assert_eq(reply->type, REDIS_REPLY_INTEGER, "%s: %s", script, reply->str);
    int64_t number = reply->integer;
    freeReplyObject(reply);
    redisFree(context);
    return number;
}

void site_redis_start(struct site *site)
{
    cr_assert(site->own_redis && site->redis == 0);
    const char *const words[] = {"redis-server",
                                 "--port",
                                 "0",
                                 "--unixsocket",
                                 site->redis_socket,
                                 "--dir",
                                 site->directory,
                                 "--appendonly",
                                 "yes",
                                 "--maxmemory-policy",
                                 "noeviction",
                                 "--save",
                                 "",
                                 NULL};
    unlink(site->redis_socket);
    site->redis = harness_spawn(words, -1, -1);
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    for (;;) {
        redisContext *context = redis_connect(site->redis_socket);
        redisReply *reply = context != NULL ? redisCommand(context, "PING") : NULL;
        bool ready = reply != NULL && reply->type == REDIS_REPLY_STATUS;
        if (reply != NULL)
            freeReplyObject(reply);
        if (context != NULL)
            redisFree(context);
        if (ready)
            return;
        cr_assert(harness_now_ms() < deadline_ms, "the test's redis-server does not start");
        harness_pause();
    }
}

void site_redis_kill(struct site *site)
{
    cr_assert(site->redis > 0);
    kill(site->redis, SIGKILL);
    waitpid(site->redis, NULL, 0);
    site->redis = 0;
}

void site_redis_signal(struct site *site, int signal)
{
    cr_assert(site->redis > 0);
    cr_assert_eq(kill(site->redis, signal), 0);
}

pid_t site_embedded_redis_pid(struct site *site)
{
    char *text = harness_read_file(site_format(site, "%s/redis/redis.pid", site->state_dir), NULL);
    cr_assert(text, "the embedded Redis has no pid file");
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    free(text);
    cr_assert(pid > 1);
    return pid;
}

/* ---- one link in two spellings ---- */

/* The token with the other signature (r, n - s), which anybody can compute (SEC 1, 4.1.4). */
static char *with_other_s(const char *jws)
{
    static const unsigned char order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                            0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    unsigned char signature[64];
    size_t length = 0;
    char *other = strdup(jws), *text = strrchr(other, '.') + 1;
    cr_assert_eq(base64url_decode(text, strlen(text), signature, sizeof(signature), &length), 0);
    cr_assert_eq(length, sizeof(signature));
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int digit = order[i] - signature[32 + i] - borrow;
        borrow = digit < 0;
        signature[32 + i] = (unsigned char)(digit + 256 * borrow);
    }
    base64url_encode(signature, sizeof(signature), text);
    return other;
}

void site_twins(struct site *site, const struct key_set *keys, const char *path,
                struct token_limits limits, const char *twins[2])
{
    const struct token_claims claims = {.iss = "https://shop.example",
                                        .account = "alice",
                                        .container = site_format(site, "exact:%s", path),
                                        .exp = time(NULL) + 3600,
                                        .limits = limits};
    char *jws = NULL;
    cr_assert_eq(token_sign(keys, NULL, &claims, &jws), 0);
    char *other = with_other_s(jws);
    twins[0] = site_format(site, "%s?URISigningPackage=%s", path, jws);
    twins[1] = site_format(site, "%s?URISigningPackage=%s", path, other);
    free(other);
    free(jws);
}

/* Waits until every worker verifies by these keys: each takes them over at its next turn, which may
 * come after the log's line. So many new connections in a row reach both. */
static void await_keys(struct site *site, const struct key_set *keys)
{
    const char *twins[2];
    uint64_t deadline_ms = harness_now_ms() + HARNESS_DEADLINE_MS;
    site_twins(site, keys, "/nothing.mp3", (struct token_limits){0}, twins);
    for (int in_a_row = 0; in_a_row < 16;) {
        cr_assert_lt(harness_now_ms(), deadline_ms, "a worker keeps the old keys");
        in_a_row = fetch(site, twins[0], .fresh = true)->status == 404 ? in_a_row + 1 : 0;
    }
}

struct key_set *site_es256_keys(struct site *site)
{
    char *private_text = NULL, *public_text = NULL, error[256] = "";
    struct key_set *keys = NULL;
    const char *fresh = site_format(site, "%s.new", site_key_file(site));
    cr_assert_eq(key_generate(TOKEN_ES256, &private_text, &public_text), 0);
    cr_assert_eq(key_set_parse(&keys, private_text, strlen(private_text), error, sizeof(error)), 0,
                 "%s", error);
    harness_write_file(fresh, public_text);
    cr_assert_eq(rename(fresh, site_key_file(site)), 0);
    site_log_await(site, "reloaded the key sets");
    await_keys(site, keys);
    key_text_free(&private_text);
    key_text_free(&public_text);
    return keys;
}
