/*
 * libFuzzer target for the MP3 facts: any bytes are a file. It asserts that what comes out is whole
 * (both facts or none) and that no read lies outside of the file.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "storage/media/mp3_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t size;
};

static size_t read_bytes(void *context, uint64_t offset, void *out, size_t length)
{
    const struct bytes *bytes = context;
    assert(offset <= bytes->size);
    size_t left = bytes->size - (size_t)offset;
    size_t taken = length < left ? length : left;
    memcpy(out, bytes->data + offset, taken);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, size};
    struct mp3_facts facts;
    mp3_read_facts(read_bytes, &bytes, size, &facts);
    assert((facts.duration_ms == 0) == (facts.bitrate == 0));
    return 0;
}
