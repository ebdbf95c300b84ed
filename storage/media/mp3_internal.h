/*
 * How long an MP3 plays and at which bitrate, from its tags and first frames (ISO 11172-3 2.4.1,
 * ISO 13818-3; ID3v2 section 3.1; the Xing and VBRI headers of encoders). Called once for each
 * version of a file, beside its hash; whatever the bytes are, the answer is facts or none.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_MP3_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_MP3_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* All zero: not known, or no MP3. */
struct mp3_facts {
    uint32_t duration_ms;
    uint32_t bitrate; /* bits per second, on average, of the audio alone */
};

/* Puts up to `length` bytes from `offset` into `out`; how many there were. */
typedef size_t mp3_reader(void *context, uint64_t offset, void *out, size_t length);

/* Reads some 64 KiB at most of a file of `size` bytes. */
void mp3_read_facts(mp3_reader *reader, void *context, uint64_t size, struct mp3_facts *out);

#endif
