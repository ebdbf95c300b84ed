/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A response of a simulated worker, and the client that reads it. It asks, parks, sends and meters
 * by the rules of server/delivery/ (admission.c, transfer.c, metering.c); what it decides, asks and
 * spends is the real code of server/grant/. The client reads, stops, or goes away.
 */
#include <errno.h>
#include <inttypes.h>

#include "server/base/check.h"
#include "tests/simulation/sim.h"

#define READ_US       (50 * SIM_MS) /* how often the client reads, and the worker meters */
#define SOCKET_BYTES  (192 * 1024)  /* handed over and not acknowledged, at most */
#define CHUNK_BYTES   (64 * 1024)
/* stall_timeout_ms: longer than funds are kept for a node that does not ask, or shorter. */
#define STALL_US      (3 * SIM_SECOND)
#define STALL_LONG_US (12 * SIM_SECOND)

static uint64_t now_ms(const struct sim_response *response)
{
    return node_monotonic_ms(response->worker->node);
}

static struct sim_account *account_of(const struct sim_response *response)
{
    return &response->sim->accounts[response->link->account];
}

static void tell(const struct sim_response *response, const char *what)
{
    if (response->sim->story == NULL)
        return;
    const struct sim_worker *worker = response->worker;
    sim_tell(response->sim, worker->node->name,
             "worker %u, response %u.%u of link-%ld (%s; %" PRIu64 " left, %" PRIu64
             " handed, %" PRIu64 " metered): %s",
             worker->number, response->index, response->generation,
             response->link - response->sim->links, account_of(response)->name, response->left,
             response->handed, response->metered, what);
}

static struct demand demand_of(struct sim_response *response)
{
    const struct sim_link *link = response->link;
    return (struct demand){
        .window = response->window,
        .purse = &response->purse,
        .need = response->left,
        .size = response->sim->files[link->file].size,
        .iat = 1,
        .has_terms = link->max_uses > 0 || link->max_bytes > 0,
        .link_bounds = link->max_bytes > 0,
        .is_under_way = response->state == RESPONSE_SENDING,
    };
}

static struct question_terms terms_of(const struct sim_response *response)
{
    const struct sim_link *link = response->link;
    return (struct question_terms){
        .max_uses = link->max_uses,
        .max_bytes = link->max_bytes,
        .till_ms = SIM_EPOCH_MS + 86400000,
        .stage = response->state == RESPONSE_SENDING ? LEDGER_UNDER_WAY : LEDGER_BEGINNING,
    };
}

/* ---- metering ---- */

static bool delivery_begin(struct sim_response *response)
{
    if (response->count == SIM_DELIVERIES)
        return false;
    struct sim_delivery *delivery = &response->deliveries[response->count++];
    *delivery =
        (struct sim_delivery){.use = window_use_hold(response->window),
                              .funds = purse_set(response->window, response->link->max_bytes > 0),
                              .promised = response->left};
    window_use_promise(delivery->use, delivery->promised);
    ledger_download_begin(delivery->use->download);
    return true;
}

/* Settles the first delivery: what of it was not acknowledged goes back. */
static void delivery_settle(struct sim_response *response)
{
    struct sim_delivery *delivery = &response->deliveries[response->first++];
    struct funds unspent = {0};
    funds_add(&unspent, delivery->funds, delivery->handed - delivery->acknowledged);
    window_give(response->worker->node->windows, response->window, &unspent);
    window_use_promise_end(delivery->use, delivery->promised);
    const struct ledger_response told = {.length = delivery->acknowledged};
    ledger_download_end(delivery->use->download, delivery->is_part ? NULL : &told);
    window_use_drop(&delivery->use);
}

/* Meters what the client has acknowledged. */
static void meter(struct sim_response *response)
{
    struct sim_node *node = response->worker->node;
    uint64_t fresh = response->received - response->metered;
    response->metered = response->received;
    node->metered[response->link->account].all += fresh;
    for (unsigned i = response->first; i < response->count && fresh > 0; i++) {
        struct sim_delivery *delivery = &response->deliveries[i];
        uint64_t open = delivery->handed - delivery->acknowledged;
        uint64_t part = fresh < open ? fresh : open;
        delivery->acknowledged += part;
        delivery->promised -= part;
        window_use_promise_end(delivery->use, part);
        ledger_download_add(delivery->use->download, part, 0);
        fresh -= part;
    }
    check(fresh == 0);
    while (response->first + 1 < response->count &&
           response->deliveries[response->first].acknowledged ==
               response->deliveries[response->first].handed)
        delivery_settle(response);
}

/* ---- ends ---- */

static void set_free(struct sim_response *response)
{
    response->state = RESPONSE_FREE;
    response->is_parked = false;
    response->generation++;
    response->first = response->count = 0;
    timer_stop(&response->tick);
}

void response_end(struct sim_response *response, const char *why)
{
    struct sim_node *node = response->worker->node;
    if (response->state == RESPONSE_FREE)
        return;
    tell(response, why);
    meter(response);
    while (response->first < response->count)
        delivery_settle(response);
    if (response->window != NULL) {
        purse_end(&response->purse, node->windows, response->window);
        window_drop(&response->window, now_ms(response));
    }
    set_free(response);
}

void response_vanish(struct sim_response *response)
{
    account_of(response)->excused += response->received - response->metered;
    response->link->excused += response->received - response->metered;
    for (unsigned i = response->first; i < response->count; i++)
        window_use_drop(&response->deliveries[i].use);
    window_drop(&response->window, now_ms(response));
    response->purse = (struct purse){0};
    set_free(response);
}

static void refuse(struct sim_response *response, const char *why)
{
    response_end(response, why);
}

/* ---- asking ---- */

static void transfer(struct sim_response *response);

static void unpark(struct sim_response *response)
{
    response->is_parked = false;
}

static void cannot_ask(struct sim_response *response)
{
    const struct demand demand = demand_of(response);
    if (decision_unanswered(&demand, now_ms(response)) == DECISION_REFUSE)
        refuse(response, "is refused: Redis cannot be asked");
}

static void ask(struct sim_response *response)
{
    const struct demand demand = demand_of(response);
    const struct question_terms terms = terms_of(response);
    struct grants_asker asker = {.index = response->index,
                                 .generation = response->generation,
                                 .question = response->question};
    int status = question_ask(&response->worker->grants, &demand, &terms, &asker);
    response->question = asker.question;
    if (status == 0)
        tell(response, "asks Redis");
    else if (status != -EALREADY)
        cannot_ask(response);
}

static void park(struct sim_response *response)
{
    response->is_parked = true;
    response->parked_us = response->sim->schedule.now_us;
    response->question = 0;
}

static void begin(struct sim_response *response)
{
    struct sim *sim = response->sim;
    uint64_t size = sim->files[response->link->file].size;
    if (response->link->max_uses > 0 && window_under_way(response->window) >= 3 * size) {
        refuse(response, "is refused: the link is busy");
        return;
    }
    response->state = RESPONSE_SENDING;
    purse_begin(&response->purse, response->window);
    sim->tally->begun++;
    tell(response, "begins");
    watch_begun(response);
    check(delivery_begin(response));
    transfer(response);
}

static void carry_out(struct sim_response *response, enum decision decision, const char *refusal)
{
    switch (decision) {
    case DECISION_GO:
        unpark(response);
        if (response->state == RESPONSE_SENDING) {
            purse_begin(&response->purse, response->window);
            transfer(response);
        } else {
            begin(response);
        }
        break;
    case DECISION_ASK:
        ask(response);
        break;
    case DECISION_WAIT:
        break;
    case DECISION_REFUSE:
        refuse(response, refusal);
        break;
    }
}

void response_retry(struct sim_response *response)
{
    const struct demand demand = demand_of(response);
    carry_out(
        response,
        decision_retry(&response->worker->grants, &demand, &response->patience, now_ms(response)),
        "is refused: Redis did not answer in time");
}

static void ask_for_more(struct sim_response *response)
{
    const struct demand demand = demand_of(response);
    park(response);
    carry_out(response, decision_more(&response->worker->grants, &demand, now_ms(response)),
              "is cut: Redis cannot be asked");
}

void response_look_again(struct sim_response *response)
{
    const struct demand demand = demand_of(response);
    bool renew;
    if (response->left > 0 &&
        decision_next(&response->worker->grants, &demand, now_ms(response), &renew) != DECISION_GO)
        ask_for_more(response);
}

bool response_find(void *self, const struct grants_asker *asker, struct demand *out)
{
    const struct sim_worker *worker = self;
    struct sim_response *response = &worker->node->sim->responses[asker->index];
    if (response->generation != asker->generation || !response->is_parked ||
        response->question != asker->question || !worker->node->is_up)
        return false;
    *out = demand_of(response);
    return true;
}

void response_answered(void *self, const struct grants_asker *asker,
                       const struct grants_answer *answer)
{
    static const char *const names[] = {
#define X(name, number) "answered " #name,
        LEDGER_ADMISSIONS(X)
#undef X
    };
    struct sim_worker *worker = self;
    struct sim_response *response = &worker->node->sim->responses[asker->index];
    struct demand demand;
    if (!response_find(self, asker, &demand))
        return;
    tell(response, answer->status != 0    ? "is not answered"
                   : answer->is_overtaken ? "is answered, and overtaken by a revocation"
                                          : names[answer->admission]);
    if (answer->status != 0)
        cannot_ask(response);
    else if (answer->is_overtaken)
        ask(response);
    else
        carry_out(response,
                  decision_answered(&worker->grants, &demand, answer->admission,
                                    &response->patience, now_ms(response)),
                  "is refused");
}

/* ---- sending ---- */

static bool pay_from(struct sim_response *response)
{
    struct sim_delivery *last = &response->deliveries[response->count - 1];
    unsigned set = purse_set(response->window, response->link->max_bytes > 0);
    if (last->funds == set)
        return true;
    if (last->handed == 0) {
        last->funds = set;
        return true;
    }
    if (!delivery_begin(response))
        return false;
    last = &response->deliveries[response->count - 2];
    window_use_promise_end(last->use, response->left);
    last->promised -= response->left;
    last->is_part = true;
    return true;
}

static void send_chunk(struct sim_response *response, uint64_t most)
{
    struct sim_delivery *delivery = &response->deliveries[response->count - 1];
    funds_spend(&response->purse.funds, delivery->funds, most);
    delivery->handed += most;
    response->handed += most;
    response->left -= most;
    watch_sent(response);
}

static void transfer(struct sim_response *response)
{
    struct sim_node *node = response->worker->node;
    struct sim *sim = response->sim;
    while (response->left > 0 && !sim->is_broken) {
        enum ledger_state state = ledger_state(node->ledger);
        const struct demand demand = demand_of(response);
        bool renew = false;
        if (state == LEDGER_EXHAUSTED || state == LEDGER_FAILED) {
            response_end(response, "is cut: the journal cannot be written");
            return;
        }
        if (decision_next(&response->worker->grants, &demand, now_ms(response), &renew) !=
            DECISION_GO) {
            ask_for_more(response);
            return;
        }
        if (renew) {
            const struct question_terms terms = terms_of(response);
            (void)question_renew(&response->worker->grants, &demand, &terms);
        }
        uint64_t room = SOCKET_BYTES - (response->handed - response->received);
        if (room == 0)
            return;
        if (!pay_from(response)) {
            response_end(response, "is cut: no more deliveries");
            return;
        }
        uint64_t funds =
            funds_least(&response->purse.funds, response->deliveries[response->count - 1].funds);
        if (funds == 0) {
            ask_for_more(response);
            return;
        }
        uint64_t most = response->left < CHUNK_BYTES ? response->left : CHUNK_BYTES;
        most = most < funds ? most : funds;
        send_chunk(response, most < room ? most : room);
    }
}

/* ---- the client ---- */

static void tick(void *object, uint64_t number)
{
    struct sim_response *response = object;
    struct sim *sim = response->sim;
    (void)number;
    if (response->state == RESPONSE_SENDING)
        meter(response);
    uint64_t room = response->handed - response->received;
    uint64_t bytes = response->speed < room ? response->speed : room;
    if (sim->schedule.now_us < response->reads_us)
        bytes = 0;
    response->received += bytes;
    if (bytes > 0) {
        response->progress_us = sim->schedule.now_us;
        watch_received(response, bytes);
    }
    if (response->ends_us != 0 && sim->schedule.now_us >= response->ends_us) {
        response_end(response, "its client goes away");
        return;
    }
    if (response->state == RESPONSE_SENDING && response->left == 0 &&
        response->metered == response->handed) {
        sim->tally->completed++;
        response_end(response, "is complete");
        return;
    }
    if (response->state == RESPONSE_SENDING && response->handed > response->received &&
        sim->schedule.now_us - response->progress_us >
            (sim->is_known_off[SIM_KNOWN_expired_funds] ? STALL_US : STALL_LONG_US)) {
        response_end(response, "is cut: its client reads nothing");
        return;
    }
    timer_set(&sim->schedule, &response->tick, sim->schedule.now_us + READ_US);
    if (response->state == RESPONSE_SENDING && !response->is_parked)
        transfer(response);
}

static int open_window(struct sim_response *response)
{
    struct sim *sim = response->sim;
    struct sim_node *node = response->worker->node;
    const struct sim_link *link = response->link;
    const struct sim_file *file = &sim->files[link->file];
    struct window_key key = {.link_id = link->link_id, .size = file->size};
    int status = ledger_file_get(node->ledger, file->path, strlen(file->path), &key.file);
    check(status == 0);
    const char *name = sim->accounts[link->account].name;
    status = ledger_account_get(node->ledger, SIM_ISSUER, name, strlen(name), &key.account);
    check(status == 0);
    status =
        grants_open_window(&response->worker->grants, &key, now_ms(response), &response->window);
    ledger_account_drop(&key.account);
    ledger_file_drop(&key.file);
    return status;
}

static void draw_client(struct sim_response *response, struct random *random)
{
    struct sim *sim = response->sim;
    uint64_t size = sim->files[response->link->file].size;
    response->left = random_happens(random, 1, 2) ? size : random_between(random, 1, size);
    response->speed = random_between(random, 2048, 8192) << random_below(random, 6);
    if (random_happens(random, 1, 10))
        response->reads_us = sim->schedule.now_us + random_between(random, 1, 14) * SIM_SECOND;
    if (random_happens(random, 1, 4))
        response->ends_us = sim->schedule.now_us + random_between(random, 1, 4 * SIM_SECOND);
}

static void admit(struct sim_response *response)
{
    if (decision_readiness(&response->worker->grants) != READINESS_SERVES) {
        refuse(response, "is refused: the node does not serve now");
        return;
    }
    if (open_window(response) != 0) {
        refuse(response, "is refused: no window can be opened");
        return;
    }
    const struct demand demand = demand_of(response);
    enum decision decision = decision_begin(&response->worker->grants, &demand, now_ms(response));
    if (decision == DECISION_ASK) {
        park(response);
        patience_begin(&response->patience, now_ms(response), SIM_TIMEOUT_MS);
    }
    carry_out(response, decision, "is refused");
}

void response_request(struct sim *sim, struct random *random)
{
    struct sim_response *response = sim->responses;
    struct sim_node *node = &sim->nodes[random_below(random, SIM_NODES + SIM_COPIES)];
    struct sim_link *link = &sim->links[random_below(random, SIM_LINKS)];
    unsigned worker = (unsigned)random_below(random, SIM_WORKERS);
    if (!node->is_up || node->is_ending)
        return;
    while (response < sim->responses + SIM_RESPONSES && response->state != RESPONSE_FREE)
        response++;
    if (response == sim->responses + SIM_RESPONSES)
        return;
    uint32_t index = (uint32_t)(response - sim->responses), generation = response->generation + 1;
    uint64_t timer_generation = response->tick.generation;
    *response = (struct sim_response){
        .sim = sim,
        .worker = &node->workers[worker],
        .link = link,
        .state = RESPONSE_ADMITTING,
        .index = index,
        .generation = generation,
        .progress_us = sim->schedule.now_us,
        .tick = {.fire = tick, .object = response, .generation = timer_generation + 1},
    };
    sim->tally->requests++;
    draw_client(response, random);
    timer_set(&sim->schedule, &response->tick, sim->schedule.now_us + READ_US);
    admit(response);
}
