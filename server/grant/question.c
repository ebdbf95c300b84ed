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
#include "server/grant/grant_take.h"

/* A question under way. */
struct question {
    struct grants *grants; /* borrows */
    struct grant_asked asked;
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
    uint64_t waiters = window_asked(grants->windows, question->asked.window);
    if (question->asker.question != 0)
        grants->worker.answered(grants->worker.self, &question->asker, answer);
    wake(grants, waiters);
}

static void on_late(void *context)
{
    struct question *question = context;
    question->asked.is_late = true;
    end(question, &(struct grants_answer){.status = -ETIMEDOUT});
}

/* The demand of the response that waits for the answer; NULL where none does. */
static const struct demand *demand_of(const struct question *question, struct demand *out)
{
    const struct grants_worker *worker = &question->grants->worker;
    if (question->asked.is_late || question->asker.question == 0 ||
        !worker->find(worker->self, &question->asker, out))
        return NULL;
    check(out->window == question->asked.window);
    return out;
}

static void on_reply(void *context, const struct redisReply *reply)
{
    struct question *question = context;
    struct grants *grants = question->grants;
    struct ledger_grant grant = {0};
    struct grants_answer answer = {
        .status = reply == NULL ? -ENOTCONN : ledger_admit_reply(reply, &grant),
    };
    if (answer.status == 0 && grant.admission == LEDGER_OUTDATED) {
        ledger_lease_is_outdated(grants->ledger, grant.granted);
        answer.status = -ENOTCONN; /* the question is not answered */
    }
    answer.admission = grant.admission;
    if (answer.status == -EPROTO)
        log_error("worker %u: Redis refuses the admission function: %s", grants->number,
                  reply->str != NULL ? reply->str : "its answer has an unexpected form");
    if (answer.status == 0) {
        struct demand demand;
        answer.is_overtaken =
            !grant_take(grants->windows, &question->asked, &grant, demand_of(question, &demand));
    }
    if (!question->asked.is_late)
        end(question, &answer);
    window_drop(&question->asked.window, grants->clock->monotonic_ms(grants->clock->self));
    free(question);
}

/* Sends the question. The caller has the right to ask, and keeps it where this fails. */
static int send_question(struct grants *grants, const struct demand *demand,
                         const struct question_terms *terms, uint64_t need, uint64_t want,
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
        .asked = {.window = window,
                  .asked_ms = grants->clock->monotonic_ms(grants->clock->self),
                  .validity_ms = settings->validity_ms,
                  .heard = ledger_heard(grants->ledger, window->account),
                  /* Kept for the life of another link, as the same jti may be signed again. */
                  .keep_ms = terms->till_ms + settings->link_lifetime_ms,
                  .iat = demand->iat,
                  .takes_nothing = demand->takes_nothing},
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
        .need = need,
        .want = want,
        .validity_ms = (uint32_t)settings->validity_ms,
        .iat = demand->iat,
        .terms = demand->has_terms ? &kept : NULL,
        .takes_nothing = demand->takes_nothing,
    };
    struct ledger_command command;
    ledger_admit_command(grants->ledger, &ask, &command);
    int status = grants->redis->send(grants->redis->self, command.argc, command.argv,
                                     command.lengths, on_reply, on_late, question);
    if (status != 0) {
        window_drop(&question->asked.window, question->asked.asked_ms);
        free(question);
    }
    return status;
}

/* Gives the right to ask back where the question could not be sent. */
static int sent(struct grants *grants, struct window *window, int status)
{
    if (status != 0)
        wake(grants, window_asked(grants->windows, window));
    return status;
}

/* How many bytes to ask for, where `need` are lacking. */
static uint64_t wanted(const struct grants *grants, const struct demand *demand, uint64_t need)
{
    uint64_t last = demand->window->slice;
    uint64_t slice = last == 0 ? demand->size : last * 2;
    if (slice > grants->settings.slice_bytes)
        slice = grants->settings.slice_bytes;
    if (need == 0 || demand->takes_nothing)
        return need; /* 0: only the validity is renewed; an inquiry is granted nothing */
    return need > slice ? need : slice;
}

int question_ask(struct grants *grants, const struct demand *demand,
                 const struct question_terms *terms, struct grants_asker *asker)
{
    if (!window_ask(grants->windows, demand->window, grants->number))
        return -EALREADY;
    uint64_t need = grants_need(grants, demand);
    asker->question = ++grants->questions;
    return sent(grants, demand->window,
                send_question(grants, demand, terms, need, wanted(grants, demand, need), asker));
}

int question_renew(struct grants *grants, const struct demand *demand,
                   const struct question_terms *terms)
{
    const struct grants_asker nobody = {0};
    if (!window_ask(grants->windows, demand->window, grants->number))
        return -EALREADY;
    return sent(grants, demand->window, send_question(grants, demand, terms, 0, 0, &nobody));
}
