/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of states, outcomes and waits, for the log and the admin interface. See step.h.
 */
#include "server/delivery/step.h"

const char *step_state_name(enum connection_state state)
{
    static const char *const names[STATE_COUNT] = {
        [STATE_FREE] = "FREE",
#define X(state, function) [STATE_##state] = #state,
        STEPS(X)
#undef X
            [STATE_CLOSE] = "CLOSE",
    };
    return names[state];
}

const char *step_outcome_name(enum step_outcome outcome)
{
    static const char *const names[STEP_OUTCOMES] = {
        [STEP_NEXT] = "next",      [STEP_WAIT] = "waits", [STEP_ANSWER] = "answers",
        [STEP_REFUSE] = "refuses", [STEP_DONE] = "done",  [STEP_CLOSE] = "closes",
        [STEP_CUT] = "cuts",
    };
    return names[outcome];
}

const char *step_wait_text(enum wait wait)
{
    static const char *const texts[WAIT_COUNT] = {
#define X(name, text) [WAIT_##name] = (text),
        WAITS(X)
#undef X
    };
    return texts[wait];
}
