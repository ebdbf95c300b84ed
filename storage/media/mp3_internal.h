/*
 * How long an MP3 plays and at which bitrate, from the headers of all its frames (ISO 11172-3
 * 2.4.1, ISO 13818-3). The bytes of a file are fed to it in their order, in parts of any size, while
 * they are hashed; whatever they are, the answer is facts or none.
 */
#ifndef TOLLGATE_STORAGE_MEDIA_MP3_INTERNAL_H
#define TOLLGATE_STORAGE_MEDIA_MP3_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: not known, or no MP3. */
struct mp3_facts {
    /* Of all frames, as ffprobe counts packets: the encoder's padding and a last frame that is cut
     * are in it, the frame that holds the encoder's summary is not. */
    uint32_t duration_ms;
    uint32_t bitrate; /* bits per second, the mean of the frames, rounded up */
};

#define MP3_FRAME_BYTES_MAX 2881 /* MPEG 2.5 layer II, 160 kbit/s, 8 kHz, padded */
/* So much must be known to judge whether a frame begins at a byte: two frames, and a header or the
 * head of a tag behind them. */
#define MP3_AHEAD_BYTES     (2 * MP3_FRAME_BYTES_MAX + 32)

/* A walk from header to header; private to mp3.c. */
struct mp3_walk {
    uint64_t left;        /* bytes to pass over: of a frame, or of a tag */
    uint64_t ticks, bits; /* of all frames; see mp3.c */
    uint32_t kind;        /* of the last frame, 0: none yet */
    uint32_t free_bytes;  /* its length without padding, where its header tells no bitrate */
    bool adjacent;        /* nothing but frames and tags came since the last one, or the start */
    size_t held;
    unsigned char window[2 * MP3_AHEAD_BYTES]; /* what could not be judged without what follows */
};

void mp3_walk_begin(struct mp3_walk *walk);

/* The next `length` bytes of the file. What they cost grows with their number alone: nothing is
 * looked at again and again, whatever it is. */
void mp3_walk_feed(struct mp3_walk *walk, const void *bytes, size_t length);

/* The file ends here. */
void mp3_walk_end(struct mp3_walk *walk, struct mp3_facts *out);

#endif
