/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks Redis for grants, and hands their answers on. See question.h. A question whose answer is
 * late gives up the right to ask; the answer's grant is taken all the same, but no response waits
 * for it: its funds serve the next response of the window, or go back when the window is idle.
 */
#include "server/grant/question.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "server/base/check.h"
#include "server/base/log.h"
#include "server/grant/coverage.h"
#include "server/grant/grant_take.h"

/* A question under way. */
struct question {
    struct grants *grants; /* borrows */
    struct grant_asked asked;
    uint64_t losses;           /* of Redis' data, when it was asked */
    int status;                /* what Redis answered, and */
    struct ledger_grant grant; /* with 0 what it granted */
    bool is_confirmed;         /* the answer to another command says whether it counts */
    struct grants_asker asker; /* `question` 0: a mere renewal, which nobody waits for */
};

static void wake(const struct grants *grants, uint64_t workers)
{
    if (workers != 0)
        grants->worker.wake(grants->worker.self, workers);
}

/* Ends a question that was answered, or whose time is over: others may ask for the window, and the
 * response that waited for the answer is told. */
static void end(const struct question *question, const struct grants_answer *answer)
{
    const struct grants *grants = question->grants;
    uint64_t waiters = window_asked(grants->windows, &question->asked.question);
    if (question->asker.question != 0)
        grants->worker.answered(grants->worker.self, &question->asker, answer);
    wake(grants, waiters);
}

static void on_late(void *context)
{
    struct question *question = context;
    question->asked.is_late = true;
    question->grants->overdue++;
    end(question, &(struct grants_answer){.status = -ETIMEDOUT});
}

/* Whether Redis denies an account that it has confirmed to this node before: it has lost data, which
 * the nodes' journals bring back, and so its answer does not count. */
static bool is_forgotten(const struct question *question, const struct ledger_grant *grant)
{
    const struct window *window = question->asked.question.window;
    return grant->admission == LEDGER_UNKNOWN &&
           atomic_load(&window->account_group->cover.valid_until_ms) != 0;
}

/* Whether the fund has less than the question wants of it. */
static bool has_less(const struct ledger_told *told, const struct ledger_credit *credit)
{
    return told->count != 0 && credit->bounds != LEDGER_BY_NOTHING && told->want > credit->bound;
}

/* Whether the fund gives the question more than the node held. */
static bool has_more(const struct ledger_told *told, const struct ledger_credit *credit)
{
    return told->count != 0 && credit->bounds != LEDGER_BY_NOTHING &&
           credit->ceiling > told->ceiling;
}

/* Whether Redis has raised a ceiling. Where it has lost data, it does not know what others hold. */
static bool is_raised(const struct question *question)
{
    const struct window_question *asked = &question->asked.question;
    const struct ledger_grant *grant = &question->grant;
    return grant->admission == LEDGER_GRANTED && (has_more(&asked->funds, &grant->funds) ||
                                                  has_more(&asked->link_funds, &grant->link_funds));
}

/* Whether Redis denies what it might grant if it had lost no data. What it has of revocations and of
 * uses is true in any case, since both only grow. */
static bool is_denied(const struct question *question)
{
    const struct window_question *asked = &question->asked.question;
    const struct ledger_grant *grant = &question->grant;
    switch (grant->admission) {
    case LEDGER_GRANTED:
        return has_less(&asked->funds, &grant->funds) ||
               has_less(&asked->link_funds, &grant->link_funds);
    case LEDGER_UNKNOWN:
    case LEDGER_SUSPENDED:
    case LEDGER_NOT_BEGUN:
        return true;
    case LEDGER_REVOKED:
    case LEDGER_USED_UP:
    case LEDGER_OUTDATED:
    case LEDGER_SET_ASIDE:
    case LEDGER_FILLING:
        break;
    }
    return false;
}

/* Ends the question with what Redis has answered. Where it `lacks_data`, neither a denial nor a raise
 * counts, and a want of funds may end. */
static void conclude(struct question *question, int status, bool lacks_data)
{
    struct grants *grants = question->grants;
    const struct ledger_grant *grant = &question->grant;
    struct grants_answer answer = {.status = status,
                                   .lacks_data = lacks_data,
                                   .admission = grant->admission,
                                   .subjects = question->asked.question.subjects,
                                   .funds = grant->funds,
                                   .link_funds = grant->link_funds};
    if (status == 0 && lacks_data && (grant->admission != LEDGER_GRANTED || is_raised(question)))
        answer.status = -ESTALE;
    if (question->asked.is_late)
        grants->overdue--;
    if (answer.status == 0)
        answer.is_overtaken = !grant_take(grants->windows, &question->asked, grant);
    if (!question->asked.is_late)
        end(question, &answer);
    window_drop(&question->asked.question.window, grants->clock->monotonic_ms(grants->clock->self));
    free(question);
}

/* Whether Redis has lost data since it was asked, or had by then. */
static bool lacks_data(const struct question *question)
{
    const struct ledger *ledger = question->grants->ledger;
    return ledger_data_is_lost(ledger) || ledger_losses(ledger) != question->losses;
}

/* Whether the answer depends on data that Redis may have lost. */
static bool is_doubtful(const struct question *question)
{
    return question->status == 0 && (is_denied(question) || is_raised(question));
}

static void on_confirmed(void *context, const struct redisReply *reply)
{
    struct question *question = context;
    if (!is_doubtful(question)) {
        conclude(question, question->status, false);
        return;
    }
    int status = ledger_confirm_reply(question->grants->ledger, reply);
    bool is_lost = status == -ESTALE || lacks_data(question);
    conclude(question, reply == NULL ? -ENOTCONN : status == -EPROTO ? status : 0, is_lost);
}

/* What Redis denies or raises counts only where it had all of its data by then, as it says behind the
 * answer. False where it cannot be asked. */
static bool confirm(struct question *question, ledger_redis_late *late)
{
    const struct ledger_redis *redis = question->grants->redis;
    struct ledger_command command;
    ledger_confirm_command(&command);
    question->is_confirmed = true;
    if (redis->send(redis->self, command.argc, command.argv, command.lengths, on_confirmed, late,
                    question) == 0)
        return true;
    question->is_confirmed = false;
    return false;
}

static void on_reply(void *context, const struct redisReply *reply)
{
    struct question *question = context;
    struct grants *grants = question->grants;
    const struct ledger_grant *grant = &question->grant;
    int status = reply == NULL ? -ENOTCONN : ledger_admit_reply(reply, &question->grant);
    if (status == -EPROTO)
        log_error("worker %u: Redis refuses the admission function: %s", grants->number,
                  reply->str != NULL ? reply->str : "its answer has an unexpected form");
    if (status == 0 && grant->admission == LEDGER_OUTDATED) {
        if (grant->revision > ledger_lease_number(grants->ledger))
            ledger_lease_is_outdated(grants->ledger, grant->revision);
        status = -ESTALE; /* the question is not answered */
    }
    /* Neither does that count which parts of the account are missing to judge. */
    if (status == 0 && (is_forgotten(question, grant) || grant->admission == LEDGER_FILLING))
        status = -ESTALE;
    question->status = status;
    if (question->is_confirmed)
        return;
    bool doubtful = is_doubtful(question);
    if (!doubtful || lacks_data(question)) {
        conclude(question, status, doubtful);
        return;
    }
    if (!confirm(question, question->asked.is_late ? NULL : on_late))
        conclude(question, -ENOTCONN, false);
}

static bool wants_more(const struct ledger_told *told)
{
    return told->count != 0 && told->want > told->ceiling;
}

/* Sends the question. The caller has the right to ask, and keeps it where this fails. */
static int send_question(struct grants *grants, const struct demand *demand,
                         const struct question_terms *terms, const struct window_question *asked,
                         const struct grants_asker *asker)
{
    const struct grants_settings *settings = &grants->settings;
    struct window *window = demand->window;
    struct question *question = malloc(sizeof(*question));
    if (question == NULL)
        return -ENOMEM;
    window_hold(window);
    *question = (struct question){
        .grants = grants,
        .asked = {.question = *asked,
                  .validity_ms = settings->validity_ms,
                  .heard = ledger_heard(grants->ledger, window->account),
                  /* Kept for the life of another link, as the same jti may be signed again. */
                  .keep_ms = terms->till_ms + settings->link_lifetime_ms,
                  .takes_nothing = demand->takes_nothing},
        .losses = ledger_losses(grants->ledger),
        .asker = *asker,
    };
    struct ledger_terms kept = {
        .size = demand->size,
        .max_uses = terms->max_uses,
        .max_bytes = terms->max_bytes,
        .till_ms = terms->till_ms,
        .keep_ms = question->asked.keep_ms,
        .use_period_ms = settings->use_period_ms,
        .stage = terms->stage,
    };
    kept.path = ledger_file_path(window->file, &kept.path_length);
    const struct ledger_ask ask = {
        .account = window->account,
        .link_id = window->link_id,
        .need = demand_unclaimed(demand),
        .validity_ms = (uint32_t)settings->validity_ms,
        .iat = demand->iat,
        .terms = demand->has_terms ? &kept : NULL,
        .funds = asked->funds,
        .link_funds = asked->link_funds,
        .takes_nothing = demand->takes_nothing,
    };
    struct ledger_command command;
    ledger_admit_command(grants->ledger, &ask, &command);
    int status = grants->redis->send(grants->redis->self, command.argc, command.argv,
                                     command.lengths, on_reply, on_late, question);
    if (status != 0) {
        window_drop(&question->asked.question.window, asked->asked_ms);
        free(question);
    } else if (wants_more(&asked->funds) || wants_more(&asked->link_funds)) {
        (void)confirm(question, NULL); /* at once, since what it wants is most often raised */
    }
    return status;
}

/* Gives the right to ask back where the question could not be sent. */
static int sent(struct grants *grants, const struct window_question *question, int status)
{
    if (status != 0)
        wake(grants, window_asked(grants->windows, question));
    return status;
}

/* Whether the pool is short, or half of its validity is over. */
static bool is_due(const struct grants *grants, const struct pool *pool, uint64_t need,
                   uint64_t now_ms)
{
    return pool_is_bounded(pool) &&
           (!pool_covers(pool, need) ||
            !pool_is_valid(pool, now_ms + grants->settings.validity_ms / 2));
}

/*
 * What the question is about: beside the link, the account and its funds, unless it is confirmed for a
 * while and its pool needs nothing; and the funds of a link with max_bytes likewise. So questions
 * about links alone do not wait for each other.
 */
static unsigned subjects(const struct grants *grants, const struct demand *demand, uint64_t now_ms)
{
    const struct window *window = demand->window;
    uint64_t need = demand_unclaimed(demand);
    uint64_t soon_ms = now_ms + grants->settings.validity_ms / 2;
    unsigned set = SUBJECT_WINDOW;
    if (!coverage_of_account(grants->ledger, window, demand->iat, soon_ms) ||
        is_due(grants, &window->account_group->pool, need, now_ms))
        set |= SUBJECT_ACCOUNT;
    if (demand->link_bounds && is_due(grants, &window->link_group->pool, need, now_ms))
        set |= SUBJECT_LINK;
    return set;
}

/* Asks, for the response that `asker` names, or for nobody. */
static int ask(struct grants *grants, const struct demand *demand,
               const struct question_terms *terms, uint64_t *round,
               const struct grants_asker *asker)
{
    uint64_t now_ms = grants->clock->monotonic_ms(grants->clock->self);
    const struct window_need need = {.bytes = demand_unclaimed(demand),
                                     .spare = grants->settings.slice_bytes};
    struct window_question question;
    /* What Redis has of it is not what the account has: no response under way is granted more. */
    if (ledger_account_is_set_aside(demand->window->account))
        return -ENOTCONN;
    bool mine = demand->takes_nothing
                    ? window_inquire(grants->windows, demand->window, grants->number, &need,
                                     demand->link_bounds, now_ms, &question)
                    : window_ask(grants->windows, demand->window, subjects(grants, demand, now_ms),
                                 grants->number, &need, round, now_ms, &question);
    if (!mine)
        return -EALREADY;
    return sent(grants, &question, send_question(grants, demand, terms, &question, asker));
}

int question_ask(struct grants *grants, const struct demand *demand,
                 const struct question_terms *terms, struct grants_asker *asker)
{
    struct grants_asker own = *asker;
    own.question = grants->questions + 1;
    int status = ask(grants, demand, terms, &asker->round, &own);
    if (status != 0)
        return status;
    asker->question = ++grants->questions;
    return 0;
}

int question_renew(struct grants *grants, const struct demand *demand,
                   const struct question_terms *terms)
{
    const struct grants_asker nobody = {0};
    uint64_t round = UINT64_MAX;
    return ask(grants, demand, terms, &round, &nobody);
}
