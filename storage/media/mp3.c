/* Tags, frame headers, Xing and VBRI. See mp3_internal.h. */
#include "storage/media/mp3_internal.h"

#include <stdbool.h>
#include <string.h>

#define WINDOW_BYTES ((size_t)48 * 1024) /* in which the first frame must begin */
#define TAGS_MAX     8                   /* ID3v2 tags in a row */
#define ID3V2_BYTES  10
#define ID3V1_BYTES  128
#define APE_BYTES    32
#define XING_FRAMES  1U
#define XING_BYTES   2U
#define LAME_OFFSET  120 /* of the encoder's name, from "Xing" */

struct frame {
    uint32_t bitrate, samples_per_s;
    uint32_t samples; /* of each channel */
    uint32_t length;  /* bytes, the header included */
    uint32_t side;    /* bytes between header and main data */
    uint32_t kind;    /* of the header: what all frames of a file share */
};

static uint32_t get_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* ISO 11172-3 2.4.1.3, layer III alone; MPEG 2 and 2.5 halve the samples. */
static bool frame_parse(const unsigned char at[static 4], struct frame *out)
{
    static const uint16_t kbit[2][15] = {
        {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
        {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}};
    static const uint32_t rates[3] = {44100, 48000, 32000};
    unsigned version = at[1] >> 3 & 3; /* 0: 2.5, 1: reserved, 2: MPEG 2, 3: MPEG 1 */
    unsigned bitrate = at[2] >> 4, rate = at[2] >> 2 & 3, padding = at[2] >> 1 & 1;
    bool mono = at[3] >> 6 == 3, checked = (at[1] & 1) == 0;
    if (at[0] != 0xff || (at[1] & 0xe0) != 0xe0 || version == 1 || (at[1] >> 1 & 3) != 1 ||
        bitrate == 0 || bitrate == 15 || rate == 3 || (at[3] & 3) == 2)
        return false; /* a free bitrate (0) tells no length */
    bool first = version == 3;
    out->bitrate = kbit[first ? 0 : 1][bitrate] * 1000U;
    out->samples_per_s = rates[rate] >> (first ? 0 : version == 2 ? 1 : 2);
    out->samples = first ? 1152 : 576;
    out->length = out->samples / 8 * out->bitrate / out->samples_per_s + padding;
    out->side = (first ? (mono ? 17U : 32U) : (mono ? 9U : 17U)) + (checked ? 2U : 0U);
    out->kind = (uint32_t)(at[1] >> 1) << 8 | rate;
    return true;
}

/* Where the audio begins: behind the ID3v2 tags (section 3.1: 28 bits of length in 4 bytes). */
static uint64_t skip_tags(mp3_reader *reader, void *context, uint64_t size)
{
    uint64_t at = 0;
    for (int i = 0; i < TAGS_MAX && at < size; i++) {
        unsigned char tag[ID3V2_BYTES];
        if (reader(context, at, tag, sizeof(tag)) != sizeof(tag) || memcmp(tag, "ID3", 3) != 0 ||
            ((tag[6] | tag[7] | tag[8] | tag[9]) & 0x80) != 0)
            break;
        uint32_t length = (uint32_t)tag[6] << 21 | (uint32_t)tag[7] << 14 | (uint32_t)tag[8] << 7 |
                          (uint32_t)tag[9];
        at += ID3V2_BYTES + (uint64_t)length + ((tag[5] & 0x10) != 0 ? ID3V2_BYTES : 0);
    }
    return at;
}

/* Where it ends: before an ID3v1 tag, and before an APE tag that stands there. */
static uint64_t cut_tags(mp3_reader *reader, void *context, uint64_t start, uint64_t end)
{
    unsigned char tag[APE_BYTES];
    if (end - start >= ID3V1_BYTES && reader(context, end - ID3V1_BYTES, tag, 3) == 3 &&
        memcmp(tag, "TAG", 3) == 0)
        end -= ID3V1_BYTES;
    if (end - start < APE_BYTES || reader(context, end - APE_BYTES, tag, APE_BYTES) != APE_BYTES ||
        memcmp(tag, "APETAGEX", 8) != 0)
        return end;
    uint64_t length = (uint64_t)tag[15] << 24 | (uint64_t)tag[14] << 16 | (uint64_t)tag[13] << 8 |
                      (uint64_t)tag[12]; /* little-endian, without its header */
    length += (tag[23] & 0x80) != 0 ? APE_BYTES : 0;
    return length < end - start ? end - length : end;
}

/* The first frame that another follows, or that ends the audio. False: there is none. */
static bool find_frame(const unsigned char *data, size_t length, bool whole, size_t *at,
                       struct frame *out)
{
    for (size_t i = 0; i + 4 <= length; i++) {
        struct frame next;
        if (data[i] != 0xff || !frame_parse(data + i, out))
            continue;
        size_t behind = i + out->length;
        bool last = whole && behind == length;
        if (!last &&
            (behind + 4 > length || !frame_parse(data + behind, &next) || next.kind != out->kind))
            continue;
        *at = i;
        return true;
    }
    return false;
}

/* What an encoder wrote into the first frame: frames, bytes (0: not told), samples to leave out. */
struct summary {
    uint32_t frames, bytes, padding;
};

static bool read_xing(const unsigned char *data, size_t length, struct summary *out)
{
    if (length < 16 || (memcmp(data, "Xing", 4) != 0 && memcmp(data, "Info", 4) != 0))
        return false;
    uint32_t flags = get_u32(data + 4);
    const unsigned char *at = data + 8;
    if ((flags & XING_FRAMES) == 0)
        return false;
    out->frames = get_u32(at);
    if ((flags & XING_BYTES) != 0)
        out->bytes = get_u32(at + 4);
    /* LAME's tag: 12 bits each of samples before and behind the music. */
    const unsigned char *lame = data + LAME_OFFSET;
    if (length >= LAME_OFFSET + 24 &&
        (memcmp(lame, "LAME", 4) == 0 || memcmp(lame, "Lavc", 4) == 0))
        out->padding =
            ((uint32_t)lame[21] << 4 | lame[22] >> 4) + ((uint32_t)(lame[22] & 15) << 8 | lame[23]);
    return out->frames > 0;
}

/* Fraunhofer's, always 32 bytes behind the header. */
static bool read_vbri(const unsigned char *data, size_t length, struct summary *out)
{
    if (length < 18 || memcmp(data, "VBRI", 4) != 0)
        return false;
    out->bytes = get_u32(data + 10);
    out->frames = get_u32(data + 14);
    return out->frames > 0;
}

static void facts_of(uint64_t samples, uint32_t samples_per_s, uint64_t bytes,
                     struct mp3_facts *out)
{
    /* Bounds that no recording meets, so that nothing overflows: 2^40 samples are ten months. */
    if (samples == 0 || samples > UINT64_C(1) << 40 || bytes > UINT64_C(1) << 40)
        return;
    uint64_t duration_ms = samples * 1000 / samples_per_s;
    uint64_t bitrate = duration_ms > 0 ? bytes * 8000 / duration_ms : 0;
    if (duration_ms == 0 || duration_ms > UINT32_MAX || bitrate == 0 || bitrate > UINT32_MAX)
        return;
    out->duration_ms = (uint32_t)duration_ms;
    out->bitrate = (uint32_t)bitrate;
}

/* Without a summary: the mean of the frames at hand, which for a constant bitrate is exact. */
static uint32_t mean_bitrate(const unsigned char *data, size_t length, size_t at,
                             const struct frame *first)
{
    struct frame frame = *first;
    uint64_t sum = 0, count = 0;
    do {
        sum += frame.bitrate;
        count++;
        at += frame.length;
    } while (at + 4 <= length && frame_parse(data + at, &frame) && frame.kind == first->kind);
    return (uint32_t)(sum / count);
}

void mp3_read_facts(mp3_reader *reader, void *context, uint64_t size, struct mp3_facts *out)
{
    unsigned char data[WINDOW_BYTES];
    struct frame frame;
    struct summary summary = {0};
    size_t at;
    *out = (struct mp3_facts){0};
    uint64_t start = skip_tags(reader, context, size);
    if (start >= size)
        return;
    uint64_t end = cut_tags(reader, context, start, size);
    uint64_t left = end - start;
    size_t length = reader(context, start, data, left < sizeof(data) ? (size_t)left : sizeof(data));
    if (!find_frame(data, length, length == left, &at, &frame))
        return;
    uint64_t audio = left - at;
    const unsigned char *body = data + at + 4;
    size_t rest = length - at - 4;
    bool told = (rest > frame.side && read_xing(body + frame.side, rest - frame.side, &summary)) ||
                (rest > 32 && read_vbri(body + 32, rest - 32, &summary));
    if (!told) {
        uint32_t bitrate = mean_bitrate(data, length, at, &frame);
        facts_of(audio * 8 * frame.samples_per_s / bitrate, frame.samples_per_s, audio, out);
        return;
    }
    uint64_t samples = (uint64_t)summary.frames * frame.samples;
    samples -= summary.padding < samples ? summary.padding : 0;
    /* A length that the file does not have is of another file, or of one that was cut. */
    bool plausible = summary.bytes > 0 && summary.bytes <= audio;
    facts_of(samples, frame.samples_per_s, plausible ? summary.bytes : audio, out);
}
