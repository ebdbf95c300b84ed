/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits the column `unit` of a CHOICE in config_table.h into the values that it lists: for the
 * validation of a value, for messages, the reference and the manual. It knows no key by name.
 */
#include <string.h>

#include "server/base/check.h"
#include "server/config/config_internal.h"

void config_choices_of(struct config_choices *choices, const struct config_key *key)
{
    size_t length = strlen(key->unit), used = 0;
    check(length < sizeof(choices->words));
    memcpy(choices->words, key->unit, length + 1);
    choices->count = 0;
    choices->sentence[0] = '\0';
    char *rest = NULL;
    for (const char *word = strtok_r(choices->words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        check(choices->count < CONFIG_CHOICES_MAX);
        choices->values[choices->count++] = word;
    }
    for (size_t i = 0; i < choices->count; i++) {
        const char *before = i == 0 ? "" : i + 1 < choices->count ? ", " : " or ";
        int written = snprintf(choices->sentence + used, sizeof(choices->sentence) - used, "%s%s",
                               before, choices->values[i]);
        check(written > 0 && (size_t)written < sizeof(choices->sentence) - used);
        used += (size_t)written;
    }
}
