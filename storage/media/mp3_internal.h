/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an MP3 plays and at which bitrate, from the headers of all its frames (ISO 11172-3
 * 2.4.1, ISO 13818-3). The content reader feeds it the bytes of a file in their order, in
 * parts of any size, while it hashes them. It trusts no byte: whatever they are, the answer is
 * facts or none.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_MP3_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_MP3_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: unknown, or no MP3. */
struct mp3_facts {
    /* Of all frames, as ffprobe counts packets: it includes the encoder's padding and a last frame
     * that is cut, but not the frame that holds the encoder's summary. */
    uint32_t duration_ms;
    uint32_t bitrate; /* bits per second, the mean of the frames, rounded up */
};

#define MP3_FRAME_BYTES_MAX 2881 /* MPEG 2.5 layer II, 160 kbit/s, 8 kHz, padded */
/* So many bytes decide whether a frame begins at the first of them: two frames, and a header or the
 * head of a tag behind them. */
#define MP3_AHEAD_BYTES     (2 * MP3_FRAME_BYTES_MAX + 32)

/* A walk from header to header; private to mp3.c. */
struct mp3_walk {
    uint64_t left;        /* bytes of a frame or tag still to pass over */
    uint64_t ticks, bits; /* of all frames; see mp3.c */
    uint32_t kind;        /* of the last frame, 0: none yet */
    uint32_t free_bytes;  /* the last frame's length without padding */
    bool adjacent;        /* only frames and tags came since the last frame, or since the start */
    size_t held;
    unsigned char waiting[2 * MP3_AHEAD_BYTES]; /* bytes that need those behind them to be judged */
};

void mp3_walk_begin(struct mp3_walk *walk);

/* Takes the next `length` bytes of the file. Its cost grows only with their number: whatever they
 * are, it never looks at a byte again and again. */
void mp3_walk_feed(struct mp3_walk *walk, const void *bytes, size_t length);

/* Ends the file and tells the facts. */
void mp3_walk_end(struct mp3_walk *walk, struct mp3_facts *out);

#endif
