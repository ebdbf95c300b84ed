/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all parts of the ledger use: deadlines, threads, messages, and the state that workers ask for.
 * It calls none of the parts.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "storage/ledger/ledger_internal.h"

/* ---- small things the parts share ---- */

struct timespec ledger_deadline(uint64_t monotonic_ms)
{
    return (struct timespec){.tv_sec = (time_t)(monotonic_ms / 1000),
                             .tv_nsec = (long)(monotonic_ms % 1000) * 1000000};
}

int ledger_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = -pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

void ledger_say(struct ledger *ledger, enum ledger_event event, const char *format, ...)
{
    char text[LEDGER_TEXT_MAX];
    va_list arguments;
    if (ledger->options.event == NULL)
        return;
    va_start(arguments, format);
    int used = strcmp(ledger->named, ledger->instance) != 0 /* a drain */
                   ? snprintf(text, sizeof(text), "%s: ", ledger->lane.name)
                   : 0;
    vsnprintf(text + used, sizeof(text) - (size_t)used, format, arguments);
    va_end(arguments);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    ledger->options.event(ledger->options.event_context, event, format, text);
}

void ledger_turn(struct ledger *ledger, enum ledger_thread thread)
{
    atomic_store_explicit(&ledger->turned_ms[thread], ledger_monotonic_ms(ledger),
                          memory_order_relaxed);
}

uint64_t ledger_turned_ms(const struct ledger *ledger, enum ledger_thread thread)
{
    return atomic_load_explicit(&ledger->turned_ms[thread], memory_order_relaxed);
}

uint64_t ledger_renewed_ms(const struct ledger *ledger)
{
    return atomic_load_explicit(&ledger->renewed_ms, memory_order_relaxed);
}

void ledger_wake_poster(struct ledger *ledger)
{
    (void)eventfd_write(ledger->wake_fd, 1);
}

static void set_state(struct ledger *ledger, _Atomic int *state, char kept[LEDGER_TEXT_MAX],
                      enum ledger_state value, const char *text)
{
    pthread_mutex_lock(&ledger->lock);
    snprintf(kept, LEDGER_TEXT_MAX, "%s", text);
    atomic_store(state, (int)value);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_set_writer_state(struct ledger *ledger, enum ledger_state state, const char *text)
{
    set_state(ledger, &ledger->writer_state, ledger->writer_text, state, text);
}

void ledger_set_poster_state(struct ledger *ledger, enum ledger_state state, const char *text)
{
    set_state(ledger, &ledger->poster_state, ledger->poster_text, state, text);
}

/* The graver state counts: a failed journal, one without any room, a refused name, catching up, and
 * last a journal that opens no downloads. */
enum ledger_state ledger_state(const struct ledger *ledger)
{
    int writer = atomic_load_explicit(&ledger->writer_state, memory_order_relaxed);
    int poster = atomic_load_explicit(&ledger->poster_state, memory_order_relaxed);
    if (writer == LEDGER_FAILED || poster == LEDGER_FAILED)
        return LEDGER_FAILED;
    if (writer == LEDGER_EXHAUSTED)
        return LEDGER_EXHAUSTED;
    return (enum ledger_state)(poster != LEDGER_READY ? poster : writer);
}

void ledger_state_text(struct ledger *ledger, char *text, size_t size)
{
    enum ledger_state state = ledger_state(ledger);
    pthread_mutex_lock(&ledger->lock);
    bool writer = atomic_load(&ledger->writer_state) == (int)state;
    snprintf(text, size, "%s",
             state == LEDGER_READY ? ""
             : writer              ? ledger->writer_text
                                   : ledger->poster_text);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_warn_of_accounts(struct ledger *ledger)
{
    struct names_warning warning;
    while (names_warning(&ledger->names, &warning)) {
        if (warning.issuer[0] != '\0')
            ledger_say(ledger, LEDGER_EVENT_WARNING,
                       "issuer %s has %" PRIu32 " accounts of the %" PRIu32
                       " that it may have; at that bound it cannot open more: raise "
                       "accounts_per_issuer_max, or accounts_max where that is auto",
                       warning.issuer, warning.accounts, warning.accounts_max);
        else
            ledger_say(ledger, LEDGER_EVENT_WARNING,
                       "the node has %" PRIu32 " accounts of the %" PRIu32
                       " that it may have; at that bound nobody can open more: raise accounts_max",
                       warning.accounts, warning.accounts_max);
    }
}

uint64_t ledger_lease_number(const struct ledger *ledger)
{
    return atomic_load_explicit(&ledger->lease_number, memory_order_relaxed);
}

void ledger_lease_is_outdated(struct ledger *ledger, uint64_t number)
{
    uint64_t least = atomic_load(&ledger->lease_least);
    while (least < number && !atomic_compare_exchange_weak(&ledger->lease_least, &least, number))
        ;
    ledger_wake_poster(ledger);
}
