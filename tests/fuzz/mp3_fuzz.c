/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target for the MP3 facts: any bytes are a file. It asserts that either both facts are
 * found or none, and that they do not depend on how the file is cut into parts.
 */
#include <stdint.h>
#include <string.h>

#include "server/base/check.h"
#include "storage/media/mp3_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds the file in parts, the first of `part` bytes, each `growth` longer than the one before. */
static struct mp3_facts walk_in_parts(const uint8_t *data, size_t size, size_t part, size_t growth)
{
    static struct mp3_walk walk;
    struct mp3_facts facts;
    mp3_walk_begin(&walk);
    while (size > 0) {
        size_t taken = part < size ? part : size;
        mp3_walk_feed(&walk, data, taken);
        data += taken;
        size -= taken;
        part += growth;
    }
    mp3_walk_end(&walk, &facts);
    return facts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp3_facts whole = walk_in_parts(data, size, size, 0);
    check((whole.duration_ms == 0) == (whole.bitrate == 0));
    struct mp3_facts bytes = walk_in_parts(data, size, 1, 0);
    struct mp3_facts parts = walk_in_parts(data, size, 1 + size % 61, 1 + size % 7);
    check(memcmp(&whole, &bytes, sizeof(whole)) == 0);
    check(memcmp(&whole, &parts, sizeof(whole)) == 0);
    return 0;
}
