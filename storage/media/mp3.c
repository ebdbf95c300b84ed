/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over an MP3's frames and tags. See mp3_internal.h. */
#include <string.h>

#include "storage/media/mp3_internal.h"

/* A second has so many ticks: the least number that all nine sampling frequencies divide. */
#define TICKS_PER_S    UINT64_C(14112000)
/* Three days and a half: no recording is longer, and bits times ticks stay below 2^64. */
#define TICKS_MAX      (UINT64_C(1) << 42)
#define HEADER_BYTES   4
#define FREE_BYTES_MIN 24 /* the shortest frame that a bitrate of the tables makes */
#define ID3V2_BYTES    10
#define ID3V1_BYTES    128
#define APE_BYTES      32

struct frame {
    uint32_t bitrate; /* 0: free, so the header tells no length */
    uint32_t length;  /* bytes, the header and the padding included */
    uint32_t padding; /* bytes */
    uint32_t ticks;
    uint32_t samples; /* of each channel */
    uint32_t kind;    /* see kind_of: frames of one stream share it; never 0 */
};

/* The version, layer, sampling frequency, and whether the bitrate is free, as one number. */
static uint32_t kind_of(const unsigned char at[static HEADER_BYTES])
{
    return (uint32_t)(at[1] & 0xfe) << 8 | (at[2] & 0x0cU) | (at[2] >> 4 == 0 ? 1U : 0U);
}

/* ISO 11172-3 2.4.1.3 and 2.4.3.1; ISO 13818-3 halves the frequencies, MPEG 2.5 once more. */
static bool frame_parse(const unsigned char *at, size_t length, uint32_t free_bytes,
                        struct frame *out)
{
    static const uint16_t kbits[2][3][15] = {
        {{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
         {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
         {0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256}},
        {{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
         {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
         {0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448}}};
    static const uint16_t ticks[3] = {320, 294, 441}; /* of a sample at 44.1, 48 and 32 kHz */
    if (length < HEADER_BYTES || at[0] != 0xff || (at[1] & 0xe0) != 0xe0)
        return false;
    unsigned version = at[1] >> 3 & 3; /* 0: 2.5, 1: reserved, 2: MPEG 2, 3: MPEG 1 */
    unsigned layer = at[1] >> 1 & 3;   /* 0: reserved, 1: III, 2: II, 3: I */
    unsigned bitrate = at[2] >> 4, frequency = at[2] >> 2 & 3;
    if (version == 1 || layer == 0 || bitrate == 15 || frequency == 3 ||
        (bitrate == 0 && layer != 1)) /* free bitrates of layers I and II do not occur */
        return false;
    unsigned halved = version == 3 ? 0 : version == 2 ? 1 : 2;
    uint32_t ticks_of_sample = (uint32_t)ticks[frequency] << halved;
    uint32_t slot = layer == 3 ? 4 : 1; /* frames grow by so many bytes */
    out->bitrate = kbits[version == 3][layer - 1][bitrate] * 1000U;
    out->samples = layer == 3 ? 384 : layer == 1 && halved > 0 ? 576 : 1152;
    out->ticks = out->samples * ticks_of_sample;
    out->padding = (at[2] >> 1 & 1) * slot;
    out->length = (uint32_t)((uint64_t)out->bitrate * out->ticks / (TICKS_PER_S * 8));
    out->length = bitrate == 0 ? free_bytes : out->length - out->length % slot;
    out->length += out->padding;
    out->kind = kind_of(at);
    return true;
}

/* The length without padding of a frame of free bitrate: up to the next header of its kind. 0:
 * there is none. */
static uint32_t measure_free(const unsigned char *at, size_t length, const struct frame *frame)
{
    size_t most = MP3_FRAME_BYTES_MAX - 1 + HEADER_BYTES; /* a padded one is not longer, either */
    const unsigned char *end = at + (length < most ? length : most);
    const unsigned char *next = at + FREE_BYTES_MIN;
    while (end - next >= HEADER_BYTES &&
           (next = memchr(next, 0xff, (size_t)(end - next) - HEADER_BYTES + 1)) != NULL) {
        if (kind_of(next) == frame->kind)
            return (uint32_t)(next - at) - frame->padding;
        next++;
    }
    return 0;
}

/*
 * The bytes of the tag that begins here; 0: none does. Tags that have no length in front (Lyrics3,
 * and the items of APEv1) are passed over like other bytes that are not a frame. ID3v2.4 section
 * 3.1: 28 bits in 4 bytes; APEv2: little-endian, without the header.
 */
static uint64_t tag_bytes(const unsigned char *at, size_t length)
{
    if (length >= ID3V2_BYTES && memcmp(at, "ID3", 3) == 0 &&
        ((at[6] | at[7] | at[8] | at[9]) & 0x80) == 0)
        return ID3V2_BYTES +
               ((uint32_t)at[6] << 21 | (uint32_t)at[7] << 14 | (uint32_t)at[8] << 7 |
                (uint32_t)at[9]) +
               ((at[5] & 0x10) != 0 ? ID3V2_BYTES : 0);
    if (length >= APE_BYTES && memcmp(at, "APETAGEX", 8) == 0) {
        uint32_t items = (uint32_t)at[15] << 24 | (uint32_t)at[14] << 16 | (uint32_t)at[13] << 8 |
                         (uint32_t)at[12];
        return APE_BYTES + ((at[23] & 0x20) != 0 ? (uint64_t)items : 0); /* else it is a footer */
    }
    return length >= 3 && memcmp(at, "TAG", 3) == 0 ? ID3V1_BYTES : 0;
}

/*
 * Whether the bytes behind a header confirm it. In bytes that are not MP3 two headers fit each
 * other by chance about once a gigabyte, and three do not, so two more are wanted. One is enough
 * where the stream is known, and the end or a tag is where only tags came before.
 */
static bool is_borne_out(const struct mp3_walk *walk, const unsigned char *at, size_t length,
                         const struct frame *frame, bool whole)
{
    bool known = frame->kind == walk->kind;
    /* The length of a free frame came from the next header, which therefore proves nothing. */
    unsigned wanted = known && frame->bitrate > 0 ? 1 : 2;
    size_t behind = frame->length;
    for (unsigned found = 0; found < wanted; found++) {
        struct frame next;
        bool enough = found > 0 || known || walk->adjacent;
        if (behind >= length) /* only at the file's end, where the last frame may be cut */
            return whole && enough && (behind == length || found > 0);
        if (enough && tag_bytes(at + behind, length - behind) > 0)
            return true;
        if (!frame_parse(at + behind, length - behind, frame->length - frame->padding, &next) ||
            next.kind != frame->kind)
            return false;
        behind += next.length;
    }
    return true;
}

/*
 * Whether this frame holds an encoder's summary instead of sound: Xing's and LAME's behind the side
 * information (LAME forgets the two bytes of a checksum), Fraunhofer's 32 bytes behind the header.
 * The summary itself is not used: it keeps its numbers when the file is cut.
 */
static bool is_summary(const unsigned char *at, const struct frame *frame)
{
    bool mono = at[3] >> 6 == 3;
    uint32_t side = HEADER_BYTES + (frame->samples == 1152 ? (mono ? 17 : 32) : (mono ? 9 : 17));
    for (uint32_t checksum = 0; checksum <= 2; checksum += 2)
        if (frame->length >= side + checksum + 4 && (memcmp(at + side + checksum, "Xing", 4) == 0 ||
                                                     memcmp(at + side + checksum, "Info", 4) == 0))
            return true;
    return frame->length >= HEADER_BYTES + 32 + 4 && memcmp(at + HEADER_BYTES + 32, "VBRI", 4) == 0;
}

/* The first byte at which a header may begin. Two or three bytes exclude most places, also where
 * all are 0xff. */
static size_t find_header(const unsigned char *bytes, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        const unsigned char *next =
            bytes[at] == 0xff ? bytes + at : memchr(bytes + at, 0xff, length - at);
        if (next == NULL)
            break;
        at = (size_t)(next - bytes);
        if (length - at < 3 || ((next[1] & 0xe0) == 0xe0 && next[2] < 0xf0))
            return at;
    }
    return length;
}

/* Begins to pass over the frame or the tag that stands here (0), or returns how many bytes on the
 * next one may begin. */
static size_t step(struct mp3_walk *walk, const unsigned char *at, size_t length, bool whole)
{
    struct frame frame;
    bool parsed = frame_parse(at, length, walk->free_bytes, &frame);
    bool goes_on = parsed && walk->adjacent && frame.kind == walk->kind;
    if (parsed && !goes_on && frame.bitrate == 0) {
        uint32_t free_bytes = measure_free(at, length, &frame);
        parsed = free_bytes >= FREE_BYTES_MIN;
        frame.length = free_bytes + frame.padding;
    }
    if (goes_on || (parsed && is_borne_out(walk, at, length, &frame, whole))) {
        if (walk->kind != 0 || !is_summary(at, &frame)) {
            walk->ticks += frame.ticks;
            walk->bits += frame.bitrate > 0 ? (uint64_t)frame.bitrate * frame.ticks
                                            : 8 * TICKS_PER_S * frame.length;
        }
        walk->left = frame.length;
        walk->kind = frame.kind;
        walk->free_bytes = frame.length - frame.padding;
        walk->adjacent = true;
        return 0;
    }
    /* Amid unknown bytes, three letters are not enough for a tag. */
    walk->left = walk->adjacent ? tag_bytes(at, length) : 0;
    if (walk->left > 0)
        return 0;
    walk->adjacent = false;
    return 1 + find_header(at + 1, length - 1);
}

/* Walks over the bytes and returns how many are done with: all but MP3_AHEAD_BYTES, or all where
 * the file ends. */
static size_t walk_over(struct mp3_walk *walk, const unsigned char *bytes, size_t length,
                        bool whole)
{
    size_t at = 0;
    for (;;) {
        size_t passed = walk->left < length - at ? (size_t)walk->left : length - at;
        at += passed;
        walk->left -= passed;
        if (at == length || (length - at < MP3_AHEAD_BYTES && !whole))
            return at;
        at += step(walk, bytes + at, length - at, whole);
    }
}

void mp3_walk_begin(struct mp3_walk *walk)
{
    memset(walk, 0, offsetof(struct mp3_walk, waiting));
    walk->adjacent = true;
}

void mp3_walk_feed(struct mp3_walk *walk, const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    while (length > 0 && walk->held > 0) {
        size_t before = walk->held, room = sizeof(walk->waiting) - before;
        size_t taken = length < room ? length : room;
        memcpy(walk->waiting + before, from, taken);
        size_t done = walk_over(walk, walk->waiting, before + taken, false);
        if (done >= before) { /* all bytes that are left lie in the new ones */
            walk->held = 0;
            taken = done - before;
        } else {
            walk->held = before + taken - done;
            memmove(walk->waiting, walk->waiting + done, walk->held);
        }
        from += taken;
        length -= taken;
    }
    if (length == 0)
        return;
    size_t done = walk_over(walk, from, length, false);
    walk->held = length - done;
    memcpy(walk->waiting, from + done, walk->held);
}

void mp3_walk_end(struct mp3_walk *walk, struct mp3_facts *out)
{
    (void)walk_over(walk, walk->waiting, walk->held, true);
    *out = (struct mp3_facts){0};
    if (walk->ticks == 0 || walk->ticks > TICKS_MAX)
        return;
    out->duration_ms = (uint32_t)(walk->ticks * 1000 / TICKS_PER_S);
    out->bitrate = (uint32_t)((walk->bits + walk->ticks - 1) / walk->ticks);
}
