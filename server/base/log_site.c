/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of each message: a bucket of LOG_SITE_BURST that fills by LOG_SITE_PER_S, kept as the
 * moment at which it will be full (the generic cell rate algorithm), and a list of the sites that
 * ever left something out. Sites are static: the list only grows, by as many as there are messages.
 */
#include "server/base/log_site.h"

#include <string.h>
#include <time.h>

#include "server/base/clock.h"

#define INTERVAL_MS (1000 / LOG_SITE_PER_S)
#define BURST_MS    ((uint64_t)(LOG_SITE_BURST - 1) * INTERVAL_MS)

static _Atomic(struct log_site *) sites;

static bool has_room(struct log_site *site)
{
    uint64_t now = clock_coarse_ms();
    unsigned long long due = atomic_load_explicit(&site->due_ms, memory_order_relaxed), begin;
    do {
        begin = due > now ? due : now;
        if (begin - now > BURST_MS)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&site->due_ms, &due, begin + INTERVAL_MS,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void list(struct log_site *site, enum log_level level, const char *format)
{
    if (atomic_load_explicit(&site->listed, memory_order_relaxed) ||
        atomic_exchange(&site->listed, true))
        return;
    site->level = level;
    const char *none = NULL;
    atomic_compare_exchange_strong(&site->text, &none, format);
    site->next = atomic_load(&sites);
    while (!atomic_compare_exchange_weak(&sites, &site->next, site))
        ;
}

bool log_site_admits(struct log_site *site, enum log_level level, const char *format)
{
    if (has_room(site))
        return true;
    atomic_fetch_add_explicit(&site->left_out, 1, memory_order_relaxed);
    list(site, level, format);
    return false;
}

/* Writes the format as readers know its message, with dots for values: "refused: status=...". */
static void describe(const char *format, char *out, size_t size)
{
    size_t used = 0;
    while (*format != '\0' && used + 4 < size) {
        if (*format != '%') {
            out[used++] = *format++;
        } else if (format[1] == '%') {
            out[used++] = '%';
            format += 2;
        } else { /* flags, width, precision and length stand before the conversion's letter */
            format += 1 + strspn(format + 1, "#0- +0123456789.*hlLjzt");
            format += *format != '\0';
            memcpy(out + used, "...", 3);
            used += 3;
        }
    }
    out[used] = '\0';
}

void log_sites_report(bool (*say)(enum log_level level, const char *format, ...))
{
    char text[256];
    for (struct log_site *site = atomic_load(&sites); site != NULL; site = site->next) {
        unsigned long long count = atomic_exchange(&site->left_out, 0);
        if (count == 0)
            continue;
        describe(atomic_load(&site->text), text, sizeof(text));
        if (!say(site->level, "left out %llu more of: %s", count, text))
            atomic_fetch_add(&site->left_out, count);
    }
}

struct log_site *log_site_of(const char *kind)
{
    static struct log_site kinds[LOG_KINDS_MAX]; /* `text` of all but the last is their kind */
    for (unsigned i = 0; i < LOG_KINDS_MAX - 1; i++) {
        const char *here = NULL;
        if (atomic_compare_exchange_strong(&kinds[i].text, &here, kind) || here == kind)
            return &kinds[i];
    }
    return &kinds[LOG_KINDS_MAX - 1];
}
