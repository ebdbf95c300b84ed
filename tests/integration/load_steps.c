/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread polls the connections of all clients. It touches no site and fails no test: it notes the
 * first answer that nobody expects, and the test's own thread judges it. See load_steps.h.
 */
#include "tests/integration/load_steps.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUPS_MAX  16
#define CLIENTS_MAX 96
#define LINKS       64 /* of a group */
#define PAUSE_MS    20 /* after a refusal */
#define STUCK_MS    120000

struct load_group {
    const char *account;
    unsigned port;
    const char *links[LINKS];
    unsigned next_link;
    const unsigned char *bytes; /* what they ask for */
    size_t length, range;       /* of it; 0: the whole file */
    atomic_bool is_in;
    struct load_count counts[LOAD_TIMES]; /* under the load's lock */
};

struct client {
    struct load_group *group;
    int fd; /* -1: between two requests */
    unsigned time;
    uint64_t wake_ms;
    char text[4096]; /* the head, and the body of a refusal; ends in NUL */
    size_t text_length;
    unsigned status; /* 0: the head is not whole */
    size_t left, got;
    bool is_wrong; /* a byte is not the file's */
};

struct load {
    struct load_group groups[GROUPS_MAX];
    struct client clients[CLIENTS_MAX];
    unsigned group_count, client_count;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the counts and the text below */
    char unexpected[5000];
    atomic_uint time;
    atomic_bool stops;
};

struct load *load_create(void)
{
    struct load *load = calloc(1, sizeof(*load));
    cr_assert(load);
    pthread_mutex_init(&load->lock, NULL);
    return load;
}

static void make_links(struct load_group *group, const struct load_options *options)
{
    static unsigned last;
    struct site *by = options->by != NULL ? options->by : options->at;
    for (unsigned i = 0; i < LINKS; i++)
        group->links[i] =
            site_link(by, .account = options->account, .path = options->path,
                      .jti = site_format(by, "load-%u", last++), .limits = {.rate = options->rate});
}

struct load_group *load_add_with(struct load *load, const struct load_options *options)
{
    cr_assert(load->group_count < GROUPS_MAX);
    cr_assert(load->client_count + options->clients <= CLIENTS_MAX);
    struct load_group *group = &load->groups[load->group_count++];
    group->account = options->account;
    group->port = site_port(options->at);
    group->bytes = site_media_bytes(options->at, options->path, &group->length);
    cr_assert(options->length <= group->length);
    group->range = options->length;
    if (group->range != 0)
        group->length = group->range;
    atomic_store(&group->is_in, !options->comes_later);
    make_links(group, options);
    for (unsigned i = 0; i < options->clients; i++)
        load->clients[load->client_count++] = (struct client){.group = group, .fd = -1};
    return group;
}

/* ---- one client ---- */

static void note_unexpected(struct load *load, const struct client *client, const char *what)
{
    pthread_mutex_lock(&load->lock);
    if (load->unexpected[0] == '\0')
        snprintf(load->unexpected, sizeof(load->unexpected), "%s, time %u: %s after %zu bytes: %s",
                 client->group->account, client->time, what, client->got, client->text);
    pthread_mutex_unlock(&load->lock);
}

static void hang_up(struct client *client, uint64_t wake_ms)
{
    close(client->fd);
    client->fd = -1;
    client->wake_ms = wake_ms;
}

static void send_request(struct load *load, struct client *client)
{
    struct load_group *group = client->group;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)group->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char range[64] = "", request[4096];
    if (group->range != 0)
        snprintf(range, sizeof(range), "Range: bytes=0-%zu\r\n", group->range - 1);
    int length = snprintf(request, sizeof(request),
                          "GET %s HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\n\r\n",
                          group->links[group->next_link++ % LINKS], range);
    *client = (struct client){.group = group, .time = atomic_load(&load->time)};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(client->fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
        note_unexpected(load, client, "no request is taken");
        hang_up(client, harness_now_ms() + PAUSE_MS);
    }
}

static void take_text(struct client *client, const char *bytes, size_t length)
{
    size_t room = sizeof(client->text) - 1 - client->text_length;
    if (length > room)
        length = room;
    memcpy(client->text + client->text_length, bytes, length);
    client->text_length += length;
}

static void take_body(struct client *client, const char *bytes, size_t length)
{
    const struct load_group *group = client->group;
    if (client->status != 200 && client->status != 206)
        take_text(client, bytes, length);
    else if (client->got + length > group->length ||
             memcmp(bytes, group->bytes + client->got, length) != 0)
        client->is_wrong = true;
    client->got += length;
    client->left -= length < client->left ? length : client->left;
}

/* Takes what came, and splits it where the head ends. */
static void take_bytes(struct client *client, const char *bytes, size_t length)
{
    static const char name[] = "\r\nContent-Length: ";
    if (client->status != 0) {
        take_body(client, bytes, length);
        return;
    }
    size_t before = client->text_length;
    take_text(client, bytes, length);
    char *end = strstr(client->text, "\r\n\r\n");
    if (end == NULL)
        return;
    size_t head_length = (size_t)(end + 4 - client->text);
    client->text_length = head_length;
    memset(client->text + head_length, 0, sizeof(client->text) - head_length);
    const char *announced = strcasestr(client->text, name);
    client->status = (unsigned)strtoul(client->text + strlen("HTTP/1.1 "), NULL, 10);
    if (announced != NULL)
        client->left = strtoul(announced + strlen(name), NULL, 10);
    take_body(client, bytes + (head_length - before), length - (head_length - before));
}

static void judge(struct load *load, struct client *client)
{
    struct load_count *count = &client->group->counts[client->time];
    unsigned good = client->group->range != 0 ? 206 : 200;
    bool is_unavailable = client->status == 503, is_served = client->status == good;
    bool waits = is_unavailable && strstr(client->text, "\"redis_unavailable\"") != NULL;
    bool elsewhere = is_unavailable && strstr(client->text, "\"funds_held_elsewhere\"") != NULL;
    if (client->is_wrong || (is_served && client->got != client->group->length))
        note_unexpected(load, client, "other bytes than the file's");
    else if (!is_served && !waits && !elsewhere)
        note_unexpected(load, client, "an answer that nobody expects");
    pthread_mutex_lock(&load->lock);
    count->served += is_served;
    count->bytes += is_served ? client->got : 0;
    count->waiting += waits;
    count->elsewhere += elsewhere;
    pthread_mutex_unlock(&load->lock);
    hang_up(client, is_served ? 0 : harness_now_ms() + PAUSE_MS);
}

static void take(struct load *load, struct client *client)
{
    static char bytes[65536];
    ssize_t got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        note_unexpected(load, client, "the connection was cut");
        hang_up(client, harness_now_ms() + PAUSE_MS);
        return;
    }
    take_bytes(client, bytes, (size_t)got);
    if (client->status != 0 && client->left == 0)
        judge(load, client);
}

/* ---- the thread ---- */

/* Looks whether the client sends a request now. Returns whether it waits for an answer. */
static bool is_asking(struct load *load, struct client *client, uint64_t now_ms)
{
    if (client->fd < 0 && !atomic_load(&load->stops) && atomic_load(&client->group->is_in) &&
        now_ms >= client->wake_ms)
        send_request(load, client);
    return client->fd >= 0;
}

static void *run(void *argument)
{
    struct load *load = argument;
    for (;;) {
        struct pollfd items[CLIENTS_MAX];
        unsigned asking = 0;
        uint64_t now_ms = harness_now_ms();
        for (unsigned i = 0; i < load->client_count; i++) {
            asking += is_asking(load, &load->clients[i], now_ms);
            items[i] = (struct pollfd){.fd = load->clients[i].fd, .events = POLLIN};
        }
        if (asking == 0 && atomic_load(&load->stops))
            return NULL;
        if (poll(items, load->client_count, 5) <= 0)
            continue;
        for (unsigned i = 0; i < load->client_count; i++)
            if (items[i].revents != 0)
                take(load, &load->clients[i]);
    }
}

/* ---- the test's side ---- */

void load_start(struct load *load)
{
    cr_assert_eq(pthread_create(&load->thread, NULL, run, load), 0);
}

void load_let_in(struct load_group *group)
{
    atomic_store(&group->is_in, true);
}

unsigned load_next_time(struct load *load)
{
    cr_assert(atomic_load(&load->time) + 1 < LOAD_TIMES);
    return atomic_fetch_add(&load->time, 1) + 1;
}

unsigned load_time(struct load *load)
{
    return atomic_load(&load->time);
}

struct load_count load_counted(struct load *load, struct load_group *group, unsigned time)
{
    pthread_mutex_lock(&load->lock);
    struct load_count count = group->counts[time];
    pthread_mutex_unlock(&load->lock);
    return count;
}

struct load_count load_counted_all(struct load *load, struct load_group *group)
{
    struct load_count sum = {0};
    for (unsigned time = 0; time < LOAD_TIMES; time++) {
        struct load_count count = load_counted(load, group, time);
        sum.served += count.served;
        sum.bytes += count.bytes;
        sum.waiting += count.waiting;
        sum.elsewhere += count.elsewhere;
    }
    return sum;
}

static void expect_nothing_unexpected(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    char *text = strdup(load->unexpected);
    pthread_mutex_unlock(&load->lock);
    cr_assert_str_empty(text, "%s", text);
    free(text);
}

/* A busy machine answers late: the wait ends where no answer at all comes any more. */
static void await(struct load *load, struct load_group *group, bool served, uint64_t number)
{
    unsigned time = load_time(load);
    uint64_t until_ms = harness_now_ms() + STUCK_MS;
    for (;;) {
        const struct load_count count = load_counted(load, group, time);
        expect_nothing_unexpected(load);
        if ((served ? count.served : count.waiting + count.elsewhere) >= number)
            return;
        cr_assert(harness_now_ms() < until_ms,
                  "%s, time %u: %llu served, %llu wait, %llu elsewhere", group->account, time,
                  (unsigned long long)count.served, (unsigned long long)count.waiting,
                  (unsigned long long)count.elsewhere);
        harness_pause();
    }
}

void load_await_served(struct load *load, struct load_group *group, uint64_t served)
{
    await(load, group, true, served);
}

void load_await_waiting(struct load *load, struct load_group *group, uint64_t waiting)
{
    await(load, group, false, waiting);
}

void load_stop(struct load *load)
{
    atomic_store(&load->stops, true);
    cr_assert_eq(pthread_join(load->thread, NULL), 0);
    expect_nothing_unexpected(load);
}

void load_destroy(struct load **load)
{
    pthread_mutex_destroy(&(*load)->lock);
    free(*load);
    *load = NULL;
}
