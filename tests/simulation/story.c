/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The story of a run: a line for each thing that happens, with short names in place of long
 * hexadecimal ids, and seconds in place of real times. See sim.h.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/sim.h"

#define DIGITS_MAX  64
#define TIME_DIGITS 13
#define NAMES_MAX   256
#define LONG_MS     UINT64_C(86400000) /* more than any clock is ahead */

static struct {
    char id[DIGITS_MAX + 1], name[32];
} names[NAMES_MAX];
static unsigned names_count;

void story_name(const struct sim *sim, const char *id, const char *format, ...)
{
    va_list arguments;
    if (sim->story == NULL || names_count == NAMES_MAX || strlen(id) > DIGITS_MAX)
        return;
    for (unsigned i = 0; i < names_count; i++)
        if (strcmp(names[i].id, id) == 0)
            return;
    snprintf(names[names_count].id, sizeof(names[0].id), "%s", id);
    va_start(arguments, format);
    vsnprintf(names[names_count].name, sizeof(names[0].name), format, arguments);
    va_end(arguments);
    names_count++;
}

void story_begin(const struct sim *sim)
{
    names_count = 0;
    if (sim->story == NULL)
        return;
    fprintf(sim->story,
            "@ is a real time, as a node's clock or Redis' has it, in the same seconds; "
            "\"holds\" is what Redis holds at the end\n");
    for (unsigned i = 0; i < SIM_LINKS; i++)
        story_name(sim, strrchr(sim->links[i].key, ':') + 1, "link-%u", i);
}

/* Writes a run of hexadecimal digits: an id by its name, a real time in seconds since the run's. */
static void write_digits(FILE *story, const char *digits, size_t length)
{
    uint64_t ms = length == TIME_DIGITS && strspn(digits, "0123456789") >= TIME_DIGITS
                      ? strtoull(digits, NULL, 10)
                      : 0;
    for (unsigned i = 0; i < names_count; i++) {
        if (strlen(names[i].id) == length && memcmp(names[i].id, digits, length) == 0) {
            fputs(names[i].name, story);
            return;
        }
    }
    if (ms > SIM_EPOCH_MS - LONG_MS && ms < SIM_EPOCH_MS + LONG_MS)
        fprintf(story, "@%.3f", ((double)ms - (double)SIM_EPOCH_MS) / 1000);
    else
        fwrite(digits, 1, length, story);
}

static void write_short(FILE *story, const char *text)
{
    static const char key[] = "tg:{" SIM_ISSUER "/";
    while (*text != '\0') {
        size_t length = strspn(text, "0123456789abcdef");
        if (length > 0) {
            write_digits(story, text, length);
            text += length;
        } else if (strncmp(text, key, sizeof(key) - 1) == 0) {
            size_t name = strcspn(text += sizeof(key) - 1, "}");
            fwrite(text, 1, name, story);
            text += name + (text[name] == '}');
        } else {
            fputc(*text++, story);
        }
    }
}

void sim_tell(struct sim *sim, const char *who, const char *format, ...)
{
    va_list arguments;
    char text[1000];
    if (sim->story == NULL)
        return;
    fprintf(sim->story, "%10.4f s  %-8s ", (double)sim->schedule.now_us / 1e6, who);
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    write_short(sim->story, text);
    fputc('\n', sim->story);
}
