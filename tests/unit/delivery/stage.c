/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/delivery/stage.h"

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/config/config.h"
#include "server/config/content_types.h"
#include "server/delivery/proxies.h"
#include "server/delivery/redis_connection_internal.h"
#include "server/grant/address_table.h"
#include "tests/unit/media/fixture.h"
#include "tests/unit/tokens/fixture.h"

/* After the others, whose parameters have the names of its variables. */
#include "tests/unit/grant/scene_fixture.h"

#define HEADS_MAX   64
#define ADDRESS_MAX 20 /* connections from one address */

_Static_assert(STAGE_NOW_MS == START && STAGE_NOW_S == TEST_NOW, "as the other fixtures have them");

struct stage stage;
static struct ledger_account *anna;
static uint64_t revision; /* of anna's account, as Redis has it */
static char *heads[HEADS_MAX];
static unsigned heads_made;
static step_function *const *real; /* the table of the product */

/* ---- begin and end ---- */

static void load_config(void)
{
    char path[320], error[1024] = "";
    static const char text[] = "media_root: m\nstate_dir: s\nplain_http: serve\n"
                               "connections_max: 24\nconnections_per_address_max: 20\n"
                               "proxy_protocol_from: 192.0.2.7\nforwarded_from: 192.0.2.8\n"
                               "issuers:\n  - id: shop\n    iss: https://shop.example\n"
                               "    keys: k\n    prefixes: [/music/]\n";
    snprintf(path, sizeof(path), "%s/tollgate.yaml", fixture_top);
    write_file(path, text, strlen(text));
    cr_assert_eq(config_load(&stage.config, path, error, sizeof(error)), 0, "%s", error);
    cr_assert_eq(stage.config->connections_max, STAGE_PLACES);
}

static void make_node(void)
{
    const char *bad;
    struct node *node = &stage.node;
    *node = (struct node){.config = stage.config,
                          .media = open_media(),
                          .ledger = ledger,
                          .trust = test_trust(NULL, 0),
                          .windows = windows,
                          .has_workers = true,
                          .worker_count = 1};
    pthread_mutex_init(&node->phase_mutex, NULL);
    pthread_mutex_init(&node->reload_mutex, NULL);
    pthread_mutex_init(&node->wake_mutex, NULL);
    cr_assert_eq(content_types_create(&node->content_types, stage.config->content_types, &bad), 0);
    cr_assert_eq(proxies_create(&node->proxies, stage.config), 0);
    cr_assert_eq(verifications_create(&node->verifications, 100, 60, 100), 0);
    cr_assert_eq(address_table_create(&node->addresses, STAGE_PLACES, ADDRESS_MAX), 0);
}

static void make_worker(void)
{
    char error[512] = "";
    int status = worker_create(&stage.worker, &stage.node, 0, error, sizeof(error));
    cr_assert_eq(status, 0, "%s", error);
    struct worker *worker = stage.worker;
    stage.node.workers[0] = worker;
    worker->redis->table = test_redis;
    worker->now_s = STAGE_NOW_S;
    real = worker->steps;
    memcpy(stage.steps, real, sizeof(stage.steps));
    worker->steps = stage.steps;
    stage_pass(0);
}

void stage_begin(void)
{
    memset(&stage, 0, sizeof(stage));
    revision = 0;
    heads_made = 0;
    log_set_level(LOG_LEVEL_ERROR);
    fixture_setup();
    cr_assert_eq(mkdir(in_root("/music"), 0700), 0);
    stage_put("/music/a.mp3", STAGE_LONG);
    stage_put("/music/s.mp3", STAGE_SHORT);
    stage_put("/music/e.mp3", 0);
    load_config();
    begin_listening();
    ledger_set_poster_state(ledger, LEDGER_READY, "");
    cr_assert_eq(ledger_state(ledger), LEDGER_READY);
    make_node();
    make_worker();
    anna = account("anna");
    sent_count = 0;
}

static void end_node(void)
{
    struct node *node = &stage.node;
    address_table_destroy(&node->addresses);
    verifications_destroy(&node->verifications);
    proxies_destroy(&node->proxies);
    content_types_destroy(&node->content_types);
    token_trust_drop(&node->trust);
    media_close(&node->media);
    config_destroy(&stage.config);
}

void stage_end(void)
{
    struct worker *worker = stage.worker;
    ticks_cut_all(worker);
    stage_finish();
    stage_redis(false);
    cr_assert_eq(worker->open_count, 0);
    cr_assert_eq(atomic_load(&stage.node.connections), 0);
    cr_assert_eq(worker->input_bytes, 0);
    stage_check();
    worker_destroy(&stage.worker);
    end_node();
    ledger_account_drop(&anna);
    end_scene();
    while (heads_made > 0)
        free(heads[--heads_made]);
    fixture_teardown();
}

void stage_pass(uint64_t ms)
{
    now_ms += ms;
    stage.worker->now_ms = stage.worker->streams.now_ms = now_ms;
}

void stage_put(const char *path, size_t size)
{
    char *bytes = malloc(size + 1);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)('a' + i % 26);
    write_file(in_root(path), bytes, size);
    free(bytes);
}

const char *stage_path(const char *path)
{
    return in_root(path);
}

void stage_hash(const char *path)
{
    struct media_facts facts;
    cr_assert_eq(media_show(stage.node.media, path, &facts), 0);
    cr_assert_neq(facts.etag[0], '\0');
}

void stage_occupy_hasher(void)
{
    struct media_cache *files = stage.worker->files;
    put_endless_file("/music/endless");
    struct media_file *endless = must_fetch(stage.node.media, files, "/music/endless", now_ms);
    cr_assert_neq(media_file_hash_first(files, endless, clock_monotonic_ms() + 600000), 0u);
    media_file_drop(files, &endless);
}

/* ---- keys ---- */

void stage_remove_keys(void)
{
    static const char *const prefixes[] = {"/"};
    char *private_jwks = NULL, *public_jwks = NULL, error[256] = "";
    struct token_issuer issuer = {
        .id = "shop", .iss = "https://shop.example", .prefixes = prefixes, .prefix_count = 1};
    const struct token_policy policy = {.lifetime_max_s = 86400,
                                        .public_origin = "http://media.example"};
    cr_assert_eq(key_generate(TOKEN_ES256, &private_jwks, &public_jwks), 0);
    cr_assert_eq(
        key_set_parse(&issuer.keys, public_jwks, strlen(public_jwks), error, sizeof(error)), 0);
    key_text_free(&private_jwks);
    free(public_jwks);
    token_trust_drop(&stage.worker->trust);
    cr_assert_eq(
        token_trust_create(&stage.worker->trust, &issuer, 1, &policy, error, sizeof(error)), 0,
        "%s", error);
}

void stage_restore_keys(void)
{
    token_trust_drop(&stage.worker->trust);
    stage.worker->trust = node_trust_hold(&stage.node);
}

/* ---- steps ---- */

static enum step_outcome stay(struct worker *worker, struct connection *connection)
{
    (void)worker, (void)connection;
    return STEP_WAIT;
}

void stage_stop_at(enum connection_state state)
{
    memcpy(stage.steps, real, sizeof(stage.steps));
    for (unsigned later = state; later < STATE_CLOSE; later++)
        stage.steps[later] = stay;
}

enum step_outcome stage_step(struct connection *connection)
{
    return real[connection->state](stage.worker, connection);
}

enum step_outcome stage_step_of(struct connection *connection, enum connection_state state)
{
    connection->state = (uint8_t)state;
    return stage_step(connection);
}

void stage_feed(struct connection *connection, const char *text)
{
    connection->unread = text;
    connection->unread_length = strlen(text);
}

enum step_outcome stage_run_to(struct connection *connection, enum connection_state state,
                               const char *head)
{
    stage_feed(connection, head);
    for (connection->state = STATE_HEAD; connection->state < state; connection->state++)
        cr_assert_eq(stage_step(connection), STEP_NEXT, "%s: refusal %d",
                     step_state_name((enum connection_state)connection->state),
                     (int)connection->exchange.refusal);
    return stage_step(connection);
}

const char *stage_head(const char *method, const char *path, const char *claims, const char *fields)
{
    char *text = NULL, *head = NULL;
    cr_assert_gt(asprintf(&text,
                          "{\"iss\":\"https://shop.example\",\"exp\":%u,\"cdniuc\":\"exact:%s\","
                          "\"acct\":\"anna\",\"jti\":\"j%u\"%s%s}",
                          STAGE_NOW_S + 3600, path, stage.tokens++, claims != NULL ? "," : "",
                          claims != NULL ? claims : ""),
                 0);
    char *token = test_token(text);
    cr_assert_gt(asprintf(&head, "%s %s?URISigningPackage=%s HTTP/1.1\r\nHost: media\r\n%s\r\n",
                          method, path, token, fields != NULL ? fields : ""),
                 0);
    free(token);
    free(text);
    cr_assert_lt(heads_made, (unsigned)HEADS_MAX);
    heads[heads_made++] = head;
    return head;
}

void stage_reach(struct connection *connection, enum connection_state state, const char *head)
{
    stage_stop_at(state);
    driver_input(stage.worker, connection, head, strlen(head));
    while (stage_asked() > 0)
        stage_grant(1000000000);
    cr_assert_eq(connection->state, state, "%s",
                 step_state_name((enum connection_state)connection->state));
}

struct connection *stage_get(enum connection_state state, const char *path)
{
    struct connection *connection = stage_connect();
    stage_reach(connection, state, stage_head("GET", path, NULL, NULL));
    return connection;
}

/* ---- Redis ---- */

/* Forgets what was answered. */
static void forget(void)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < sent_count; i++) {
        if (sent[i].done != NULL)
            sent[kept++] = sent[i];
    }
    sent_count = kept;
}

unsigned stage_asked(void)
{
    forget();
    return sent_count;
}

static void answer_first(struct ledger_grant grant)
{
    cr_assert_gt(stage_asked(), 0u, "nothing was asked");
    answer(0, &grant);
}

void stage_grant(uint64_t bytes)
{
    struct ledger_grant grant = balance(bytes, bytes);
    grant.revision = revision;
    answer_first(grant);
}

void stage_deny(enum ledger_admission admission)
{
    answer_first((struct ledger_grant){.admission = admission, .revision = revision});
}

void stage_grant_as_of(uint64_t of)
{
    struct ledger_grant grant = balance(1000000, 1000000);
    grant.revision = of;
    answer_first(grant);
}

void stage_be_late(void)
{
    cr_assert_gt(stage_asked(), 0u, "nothing was asked");
    be_late(0);
}

void stage_redis(bool up)
{
    is_up = up;
    while (!up && stage_asked() > 0)
        lose(0);
}

void stage_hear(uint64_t number)
{
    revision = number;
    hear(anna, revision);
}

void stage_write_journal(void)
{
    (void)writer_step(ledger);
}
