/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tollgate-bench: the command line of the load generator. It reads options, has the links signed,
 * runs the load with a live line, and reports the result as text or JSON. It sends no byte itself.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tokens/tokens.h"

#define KEY_FILE_BYTES_MAX ((size_t)1024 * 1024)

const char *argp_program_version = "tollgate-bench " TOLLGATE_VERSION;

static const char summary[] =
    "Downloads the URLs over and over and reports how fast they arrived.\v"
    "Each connection sends a request, reads the answer to its last byte and sends the next. With "
    "--key, links to the URLs are signed first; signing is not part of what is measured.\n"
    "\n"
    "Examples:\n"
    "  tollgate-bench --key shop-private.jwks --issuer shop --account demo \\\n"
    "      --duration 10s http://127.0.0.1:8080/a.mp3\n"
    "  tollgate-bench --range 0-65535 --connections 256 "
    "'http://127.0.0.1:8080/a.mp3?URISigning...'\n"
    "  tollgate-bench --key shop-private.jwks --issuer shop --account demo \\\n"
    "      --unique-links=100000 http://127.0.0.1:8080/a.mp3\n"
    "\n"
    "Exit status: 0 all requests were answered well; 1 some failed or none was done; 64 the "
    "command "
    "line is wrong; 65 an input is wrong; 66 a file cannot be read; 69 the load cannot run here.";

enum {
    OPTION_THREADS = 256,
    OPTION_RANGE,
    OPTION_HEADER,
    OPTION_KEY,
    OPTION_ISSUER,
    OPTION_ACCOUNT,
    OPTION_AUDIENCE,
    OPTION_EXPIRES,
    OPTION_UNIQUE,
    OPTION_NO_KEEP_ALIVE,
    OPTION_IDLE,
    OPTION_VERIFY,
    OPTION_TIMEOUT,
    OPTION_JSON,
};

static const struct argp_option options_table[] = {
    {NULL, 0, NULL, 0, "How much:", 1},
    {"connections", 'c', "N", 0, "Connections at once, 1 to 60000 (64)", 0},
    {"threads", OPTION_THREADS, "N", 0, "Threads of the client, 1 to 64 (1)", 0},
    {"duration", 'd', "DURATION", 0, "Stop after this long: 500ms, 10s, 5m; at most 1h (10s)", 0},
    {"requests", 'n', "N", 0, "Stop after so many requests, if that is sooner", 0},
    {"timeout", OPTION_TIMEOUT, "DURATION", 0, "A request that takes longer has failed (30s)", 0},
    {NULL, 0, NULL, 0, "What:", 2},
    {"range", OPTION_RANGE, "FIRST-LAST", 0, "Ask for these bytes of the file", 0},
    {"header", OPTION_HEADER, "'NAME: VALUE'", 0, "Send this field too; may be repeated", 0},
    {"no-keep-alive", OPTION_NO_KEEP_ALIVE, NULL, 0, "A connection for each request", 0},
    {"idle", OPTION_IDLE, NULL, 0,
     "One request on each connection, which is then held open without a word", 0},
    {"verify", OPTION_VERIFY, NULL, 0,
     "Compare whole bodies with the XXH3-128 in their ETag (takes the client more time)", 0},
    {NULL, 0, NULL, 0, "Links:", 3},
    {"key", OPTION_KEY, "FILE", 0, "Sign links with the private key of this JWKS", 0},
    {"issuer", OPTION_ISSUER, "ISS", 0, "The links' iss", 0},
    {"account", OPTION_ACCOUNT, "NAME", 0, "The account that pays", 0},
    {"audience", OPTION_AUDIENCE, "AUD", 0, "The links' aud", 0},
    {"expires-in", OPTION_EXPIRES, "DURATION", 0, "How long the links are valid (1h)", 0},
    {"unique-links", OPTION_UNIQUE, "N", OPTION_ARG_OPTIONAL,
     "A link of its own for each request: N are signed before the clock starts, and each is used "
     "once (100000; at most 1000000)",
     0},
    {NULL, 0, NULL, 0, "Output:", 4},
    {"json", OPTION_JSON, NULL, 0, "Report as JSON", 0},
    {"quiet", 'q', NULL, 0, "No live line", 0},
    {0},
};

struct arguments {
    const char *urls[BENCH_URLS_MAX], *headers[BENCH_HEADERS_MAX];
    size_t url_count, header_count;
    const char *range, *key, *iss, *account, *audience;
    uint64_t connections, threads, duration_ms, requests, timeout_ms, expires_ms, unique;
    bool no_keep_alive, idle, verify, json, quiet;
};

static uint64_t number_of(struct argp_state *state, const char *option, const char *text,
                          uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < min || value > max)
        argp_error(state, "--%s %s: expected a number from %" PRIu64 " to %" PRIu64, option, text,
                   min, max);
    return value;
}

static uint64_t time_of(struct argp_state *state, const char *option, const char *text,
                        uint64_t max_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (errno == 0 && *text >= '0' && *text <= '9' && strcmp(end, units[i].unit) == 0 &&
            value >= 1 && value <= max_ms / units[i].ms)
            return value * units[i].ms;
    argp_error(state, "--%s %s: expected a time such as 500ms, 10s or 5m, at most %" PRIu64 " s",
               option, text, max_ms / 1000);
    return 0;
}

static void validate_arguments(struct argp_state *state, const struct arguments *arguments)
{
    if (arguments->url_count == 0)
        argp_error(state, "which URL? For example http://127.0.0.1:8080/a.mp3");
    if ((arguments->key != NULL) != (arguments->iss != NULL) ||
        (arguments->key != NULL) != (arguments->account != NULL))
        argp_error(state, "links are signed with --key, --issuer and --account together");
    if (arguments->unique != 0 && arguments->key == NULL)
        argp_error(state, "--unique-links needs --key, --issuer and --account");
    if (arguments->threads > arguments->connections)
        argp_error(state, "--threads is more than --connections, so some threads would have "
                          "nothing to do; lower --threads");
    if (arguments->range != NULL &&
        strspn(arguments->range, "0123456789-,") != strlen(arguments->range))
        argp_error(state, "--range %s: expected FIRST-LAST, such as 0-65535", arguments->range);
}

/* Where an option's text goes that is taken as it is; NULL for all other options. */
static const char **text_at(struct arguments *arguments, int key)
{
    switch (key) {
    case OPTION_RANGE:
        return &arguments->range;
    case OPTION_KEY:
        return &arguments->key;
    case OPTION_ISSUER:
        return &arguments->iss;
    case OPTION_ACCOUNT:
        return &arguments->account;
    case OPTION_AUDIENCE:
        return &arguments->audience;
    default:
        return NULL;
    }
}

/* What an option without an argument switches on; NULL for all other options. */
static bool *flag_at(struct arguments *arguments, int key)
{
    switch (key) {
    case OPTION_NO_KEEP_ALIVE:
        return &arguments->no_keep_alive;
    case OPTION_IDLE:
        return &arguments->idle;
    case OPTION_VERIFY:
        return &arguments->verify;
    case OPTION_JSON:
        return &arguments->json;
    case 'q':
        return &arguments->quiet;
    default:
        return NULL;
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    const char **taken = text_at(arguments, key);
    bool *flag = flag_at(arguments, key);
    if (taken != NULL) {
        *taken = text;
        return 0;
    }
    if (flag != NULL) {
        *flag = true;
        return 0;
    }
    switch (key) {
    case 'c':
        arguments->connections = number_of(state, "connections", text, 1, 60000);
        return 0;
    case OPTION_THREADS:
        arguments->threads = number_of(state, "threads", text, 1, 64);
        return 0;
    case 'd':
        arguments->duration_ms = time_of(state, "duration", text, 3600000);
        return 0;
    case 'n':
        arguments->requests = number_of(state, "requests", text, 1, UINT64_C(1000000000000));
        return 0;
    case OPTION_TIMEOUT:
        arguments->timeout_ms = time_of(state, "timeout", text, 3600000);
        return 0;
    case OPTION_HEADER:
        if (strchr(text, ':') == NULL || strpbrk(text, "\r\n") != NULL)
            argp_error(state, "--header '%s': expected 'NAME: VALUE'", text);
        if (arguments->header_count == BENCH_HEADERS_MAX)
            argp_error(state, "more than %d fields", BENCH_HEADERS_MAX);
        arguments->headers[arguments->header_count++] = text;
        return 0;
    case OPTION_EXPIRES:
        arguments->expires_ms = time_of(state, "expires-in", text, UINT64_C(365) * 86400000);
        return 0;
    case OPTION_UNIQUE:
        arguments->unique =
            text != NULL ? number_of(state, "unique-links", text, 1, BENCH_UNIQUE_MAX) : 100000;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->url_count == BENCH_URLS_MAX)
            argp_error(state, "more than %d URLs", BENCH_URLS_MAX);
        arguments->urls[arguments->url_count++] = text;
        return 0;
    case ARGP_KEY_END:
        validate_arguments(state, arguments);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- keys ---- */

static int read_keys(const char *path, struct key_set **keys)
{
    FILE *file = fopen(path, "re");
    char *text = file != NULL ? malloc(KEY_FILE_BYTES_MAX) : NULL, error[256] = "";
    if (text == NULL) {
        fprintf(stderr, "tollgate-bench: %s: %s\n", path, strerrordesc_np(errno));
        if (file != NULL)
            fclose(file);
        return EX_NOINPUT;
    }
    size_t length = fread(text, 1, KEY_FILE_BYTES_MAX, file);
    bool bad = ferror(file) != 0;
    fclose(file);
    int result = bad ? -EIO : key_set_parse(keys, text, length, error, sizeof(error));
    explicit_bzero(text, length);
    free(text);
    if (result == 0)
        return EX_OK;
    fprintf(stderr, "tollgate-bench: %s: %s\n", path, bad ? "it cannot be read" : error);
    return bad ? EX_NOINPUT : EX_DATAERR;
}

/* ---- the live line ---- */

static struct bench_progress progress;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&progress.stop, true);
}

struct live {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void *show_progress(void *context)
{
    struct live *live = context;
    unsigned long long requests = 0, bytes = 0;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    pthread_mutex_lock(&live->lock);
    for (unsigned second = 1; !live->done; second++) {
        until.tv_sec++;
        while (!live->done &&
               pthread_cond_timedwait(&live->changed, &live->lock, &until) != ETIMEDOUT)
            ;
        unsigned long long requests_now = atomic_load(&progress.requests);
        unsigned long long bytes_now = atomic_load(&progress.body_bytes);
        if (!live->done)
            fprintf(stderr, "\r%4u s  %8llu requests/s  %8.1f MB/s  %llu failed \033[K", second,
                    requests_now - requests, (double)(bytes_now - bytes) / 1e6,
                    (unsigned long long)atomic_load(&progress.errors));
        requests = requests_now;
        bytes = bytes_now;
    }
    pthread_mutex_unlock(&live->lock);
    fputs("\r\033[K", stderr);
    return NULL;
}

static int run_with_live_line(const struct bench_options *options, bool shown,
                              struct bench_result *result, char *error, size_t error_size)
{
    struct live live = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    shown = shown && pthread_create(&thread, NULL, show_progress, &live) == 0;
    int status = bench_run(options, &progress, result, error, error_size);
    if (shown) {
        pthread_mutex_lock(&live.lock);
        live.done = true;
        pthread_cond_signal(&live.changed);
        pthread_mutex_unlock(&live.lock);
        pthread_join(thread, NULL);
    }
    return status;
}

/* ---- the report ---- */

static const double percents[] = {50, 90, 99, 99.9};
#define PERCENTS (sizeof(percents) / sizeof(*percents))

static uint64_t failed(const struct bench_result *result)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < BENCH_ERROR_COUNT; i++)
        sum += result->errors[i];
    return sum;
}

static void report_json(const struct bench_result *result)
{
    double seconds = (double)result->elapsed_ns / 1e9;
    json_t *latency = json_object(), *errors = json_object(), *statuses = json_object();
    for (size_t i = 0; i < PERCENTS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%g", percents[i]);
        json_object_set_new(
            latency, name,
            json_real((double)histogram_percentile(&result->latency_ns, percents[i]) / 1e3));
    }
    json_object_set_new(latency, "max", json_real((double)result->latency_ns.max / 1e3));
    for (size_t i = 0; i < BENCH_ERROR_COUNT; i++)
        if (result->errors[i] != 0)
            json_object_set_new(errors, bench_error_key((enum bench_error)i),
                                json_integer((json_int_t)result->errors[i]));
    for (size_t i = 0; i < sizeof(result->statuses) / sizeof(*result->statuses); i++) {
        char name[16];
        snprintf(name, sizeof(name), "%zu", i);
        if (result->statuses[i] != 0)
            json_object_set_new(statuses, name, json_integer((json_int_t)result->statuses[i]));
    }
    json_t *report =
        json_pack("{s:f, s:I, s:f, s:I, s:f, s:I, s:I, s:I, s:f, s:o, s:o, s:o}", "seconds",
                  seconds, "requests", (json_int_t)result->requests, "requests_per_s",
                  (double)result->requests / seconds, "body_bytes", (json_int_t)result->body_bytes,
                  "bytes_per_s", (double)result->body_bytes / seconds, "connections",
                  (json_int_t)result->connects, "open_at_end", (json_int_t)result->open, "verified",
                  (json_int_t)result->verified, "client_cpu_s", (double)result->cpu_ns / 1e9,
                  "latency_us", latency, "errors", errors, "statuses", statuses);
    json_dumpf(report, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(report);
}

static void report_text(const struct bench_result *result)
{
    double seconds = (double)result->elapsed_ns / 1e9;
    printf("%" PRIu64 " requests in %.2f s, %" PRIu64 " bytes of bodies, %" PRIu64 " connections\n",
           result->requests, seconds, result->body_bytes, result->connects);
    printf("  requests/s  %.0f\n  MB/s        %.1f\n  client CPU  %.2f s\n",
           (double)result->requests / seconds, (double)result->body_bytes / 1e6 / seconds,
           (double)result->cpu_ns / 1e9);
    fputs("  latency us ", stdout);
    for (size_t i = 0; i < PERCENTS; i++)
        printf(" p%g %.0f ", percents[i],
               (double)histogram_percentile(&result->latency_ns, percents[i]) / 1e3);
    printf(" max %.0f\n", (double)result->latency_ns.max / 1e3);
    if (result->verified != 0)
        printf("  verified    %" PRIu64 " bodies\n", result->verified);
    for (size_t i = 0; i < BENCH_ERROR_COUNT; i++)
        if (result->errors[i] != 0)
            printf("  failed      %" PRIu64 " %s: %s\n", result->errors[i],
                   bench_error_key((enum bench_error)i), bench_error_text((enum bench_error)i));
    for (size_t i = 0; i < sizeof(result->statuses) / sizeof(*result->statuses); i++)
        if (result->statuses[i] != 0 && i / 100 != 2)
            printf("  status %zu  %" PRIu64 "\n", i, result->statuses[i]);
}

int main(int argc, char **argv)
{
    static struct bench_result result;
    struct arguments arguments = {.connections = 64,
                                  .threads = 1,
                                  .duration_ms = 10000,
                                  .timeout_ms = 30000,
                                  .expires_ms = 3600000};
    const struct argp argp = {options_table, parse, "URL...", summary, NULL, NULL, NULL};
    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);

    struct key_set *keys = NULL;
    int status = arguments.key != NULL ? read_keys(arguments.key, &keys) : EX_OK;
    if (status != EX_OK)
        return status;
    const struct bench_signer signer = {keys, arguments.iss, arguments.account, arguments.audience,
                                        (uint32_t)(arguments.expires_ms / 1000)};
    const struct bench_shape shape = {.urls = arguments.urls,
                                      .url_count = arguments.url_count,
                                      .headers = arguments.headers,
                                      .header_count = arguments.header_count,
                                      .range = arguments.range,
                                      .keep_alive = !arguments.no_keep_alive,
                                      .unique = (uint32_t)arguments.unique};
    struct request_set requests;
    char error[512];
    int failure = request_set_create(&requests, &shape, &signer, error, sizeof(error));
    key_set_destroy(&keys);
    if (failure != 0) {
        fprintf(stderr, "tollgate-bench: %s\n", error);
        return failure == -ENOMEM ? EX_UNAVAILABLE : EX_DATAERR;
    }

    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL); /* a second one ends the process at once */
    sigaction(SIGTERM, &action, NULL);
    const struct bench_options options = {.requests = &requests,
                                          .connections = (unsigned)arguments.connections,
                                          .threads = (unsigned)arguments.threads,
                                          .duration_ms = arguments.duration_ms,
                                          .requests_max = arguments.requests,
                                          .timeout_ms = (uint32_t)arguments.timeout_ms,
                                          .once = arguments.idle,
                                          .each_once = arguments.unique != 0,
                                          .verify = arguments.verify,
                                          .keep_alive = !arguments.no_keep_alive};
    bool shown = !arguments.quiet && isatty(STDERR_FILENO);
    failure = run_with_live_line(&options, shown, &result, error, sizeof(error));
    request_set_destroy(&requests);
    if (failure != 0) {
        fprintf(stderr, "tollgate-bench: %s\n", error);
        return EX_UNAVAILABLE;
    }
    if (arguments.json)
        report_json(&result);
    else
        report_text(&result);
    return failed(&result) == 0 && result.requests > 0 ? EX_OK : 1;
}
