/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A response of a simulated worker, and the client that reads it. It asks, parks, sends and meters
 * by the rules of server/delivery/ (admission.c, transfer.c, metering.c); what it decides, asks and
 * spends is the real code of server/grant/. The client reads, stops, or goes away.
 */
#include <errno.h>
#include <inttypes.h>

#include "server/base/check.h"
#include "storage/ledger/wake.h"
#include "tests/simulation/leaving.h"
#include "tests/simulation/sim.h"

#define READ_US      (50 * SIM_MS) /* how often the client reads, and the worker meters */
#define SOCKET_BYTES (192 * 1024)  /* handed over and not acknowledged, at most */
#define CHUNK_BYTES  (64 * 1024)
#define STALL_US     (12 * SIM_SECOND) /* longer than funds are kept for a node that does not ask */

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
        .claim = &response->claim,
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

static void delivery_begin(struct sim_response *response)
{
    response->use = window_use_hold(response->window);
    response->promised = response->left;
    window_use_promise(response->use, response->promised);
    ledger_download_begin(response->use->download);
}

/* What of it was not acknowledged goes back. */
static void delivery_settle(struct sim_response *response)
{
    if (response->use == NULL)
        return;
    claim_return(response->window, response->link->max_bytes > 0,
                 response->handed - response->metered);
    window_use_promise_end(response->use, response->promised);
    const struct ledger_response told = {.length = response->metered};
    ledger_download_end(response->use->download, &told);
    window_use_drop(&response->use);
}

/* Meters what the client has acknowledged. */
static void meter(struct sim_response *response)
{
    struct sim_node *node = response->worker->node;
    uint64_t fresh = response->received - response->metered;
    if (fresh == 0)
        return;
    response->metered = response->received;
    node->metered[response->link->account].all += fresh;
    response->promised -= fresh;
    window_use_promise_end(response->use, fresh);
    ledger_download_add(response->use->download, fresh, 0);
}

/* ---- ends ---- */

static void set_free(struct sim_response *response)
{
    response->state = RESPONSE_FREE;
    response->is_parked = false;
    response->generation++;
    response->promised = 0;
    timer_stop(&response->tick);
}

void response_end(struct sim_response *response, const char *why)
{
    if (response->state == RESPONSE_FREE)
        return;
    tell(response, why);
    meter(response);
    delivery_settle(response);
    if (response->window != NULL) {
        claim_end(&response->claim, response->window);
        window_drop(&response->window, now_ms(response));
    }
    set_free(response);
}

void response_vanish(struct sim_response *response)
{
    account_of(response)->excused += response->received - response->metered;
    response->link->excused += response->received - response->metered;
    window_use_drop(&response->use);
    window_drop(&response->window, now_ms(response));
    response->claim = (struct claim){0};
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
    if (decision_unanswered(&response->worker->grants, &demand, now_ms(response)) ==
        DECISION_REFUSE)
        refuse(response, "is refused: Redis cannot be asked");
}

static void ask(struct sim_response *response)
{
    const struct demand demand = demand_of(response);
    const struct question_terms terms = terms_of(response);
    struct grants_asker asker = {.index = response->index,
                                 .generation = response->generation,
                                 .question = response->question,
                                 .round = response->round};
    int status = question_ask(&response->worker->grants, &demand, &terms, &asker);
    response->question = asker.question;
    response->round = asker.round;
    if (status == 0)
        tell(response, "asks Redis");
    else if (status != -EALREADY)
        cannot_ask(response);
}

static void park(struct sim_response *response)
{
    response->is_parked = true;
    response->parked_us = response->sim->schedule.now_us;
    response->question = response->round = 0;
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
    sim->tally->begun++;
    tell(response, "begins");
    watch_begun(response);
    delivery_begin(response);
    transfer(response);
}

static void carry_out(struct sim_response *response, enum decision decision, const char *refusal)
{
    switch (decision) {
    case DECISION_GO:
        unpark(response);
        if (response->state == RESPONSE_SENDING) {
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

static struct sim_response *asker_of(const struct sim_worker *worker,
                                     const struct grants_asker *asker)
{
    struct sim_response *response = &worker->node->sim->responses[asker->index];
    bool waits = response->generation == asker->generation && response->is_parked &&
                 response->question == asker->question && worker->node->is_up;
    return waits ? response : NULL;
}

void response_answered(void *self, const struct grants_asker *asker,
                       const struct grants_answer *answer)
{
    static const char *const names[] = {
#define X(name, number) [number] = "answered " #name,
        LEDGER_ADMISSIONS(X)
#undef X
    };
    static const char *const refusals[] = {
        [SHORTAGE_NONE] = "is refused",
        [SHORTAGE_BALANCE] = "is refused: its account cannot pay",
        [SHORTAGE_ACCOUNT_BYTES] = "is refused: the account's max_bytes are used up",
        [SHORTAGE_LINK_BYTES] = "is refused: the link's max_bytes are used up",
        [SHORTAGE_ELSEWHERE] = "is refused: another node holds the funds",
    };
    struct sim_response *response = asker_of(self, asker);
    if (response == NULL)
        return;
    tell(response, answer->status != 0    ? "is not answered"
                   : answer->is_overtaken ? "is answered, and overtaken by a revocation"
                                          : names[answer->admission]);
    if (answer->status != 0) {
        cannot_ask(response);
    } else if (answer->is_overtaken) {
        ask(response);
    } else {
        const struct demand demand = demand_of(response);
        enum shortage shortage;
        enum decision decision =
            decision_answered(&demand, answer, &response->patience, now_ms(response), &shortage);
        carry_out(response, decision, refusals[shortage]);
    }
}

/* ---- sending ---- */

/* Sends up to `most` bytes. False: there are no funds. */
static bool send_chunk(struct sim_response *response, uint64_t most)
{
    uint64_t bytes = claim_pay(&response->claim, response->window, most);
    if (bytes == 0)
        return false;
    claim_hand(&response->claim, bytes);
    response->handed += bytes;
    response->left -= bytes;
    watch_sent(response);
    return true;
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
        uint64_t most = response->left < CHUNK_BYTES ? response->left : CHUNK_BYTES;
        if (!send_chunk(response, most < room ? most : room)) {
            ask_for_more(response);
            return;
        }
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
        sim->schedule.now_us - response->progress_us > STALL_US) {
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
    /* As the writer would, a moment later. */
    status = account_wake(node->ledger, key.account);
    if (status == 0)
        status = grants_open_window(&response->worker->grants, &key, now_ms(response),
                                    &response->window);
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
    if (leaving_is_aside(response->worker->node, response->link->account)) {
        refuse(response, "is refused: its account is set aside");
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

/* Where accounts become quiet, each is so for half of the time. */
static bool is_quiet(const struct sim *sim, unsigned account)
{
    return sim->quiet_ms != 0 && sim->schedule.now_us / (20 * SIM_SECOND) % 2 == account % 2;
}

void response_request(struct sim *sim, struct random *random)
{
    struct sim_response *response = sim->responses;
    struct sim_node *node = &sim->nodes[random_below(random, SIM_NODES + SIM_COPIES)];
    struct sim_link *link = &sim->links[random_below(random, SIM_LINKS)];
    unsigned worker = (unsigned)random_below(random, SIM_WORKERS);
    if (!node->is_up || node->is_ending || is_quiet(sim, link->account))
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
