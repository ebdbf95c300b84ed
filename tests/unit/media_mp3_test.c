/*
 * The MP3 facts, of files that lame made (their durations are known from how they were made) and of
 * bytes built here: tags, Xing, VBRI, no header at all, and what is no MP3.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/media/mp3_internal.h"

struct bytes {
    unsigned char data[200000];
    size_t size;
};

static size_t read_bytes(void *context, uint64_t offset, void *out, size_t length)
{
    const struct bytes *bytes = context;
    size_t left = offset < bytes->size ? bytes->size - (size_t)offset : 0;
    size_t taken = length < left ? length : left;
    memcpy(out, bytes->data + offset, taken);
    return taken;
}

static struct mp3_facts facts_of(struct bytes *bytes)
{
    struct mp3_facts facts;
    mp3_read_facts(read_bytes, bytes, bytes->size, &facts);
    return facts;
}

static void add(struct bytes *bytes, const void *data, size_t length)
{
    cr_assert_leq(bytes->size + length, sizeof(bytes->data));
    memcpy(bytes->data + bytes->size, data, length);
    bytes->size += length;
}

/* Frames of MPEG 1 layer III, 128 kbit/s, 44.1 kHz, joint stereo: 417 bytes, without padding. */
static void add_frames(struct bytes *bytes, unsigned count)
{
    unsigned char frame[417] = {0xff, 0xfb, 0x90, 0x40};
    for (unsigned i = 0; i < count; i++)
        add(bytes, frame, sizeof(frame));
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void expect(struct mp3_facts facts, uint32_t duration_ms, uint32_t bitrate)
{
    cr_assert_eq(facts.duration_ms, duration_ms, "%u ms in place of %u", facts.duration_ms,
                 duration_ms);
    cr_assert_eq(facts.bitrate, bitrate, "%u bit/s in place of %u", facts.bitrate, bitrate);
}

static struct bytes bytes;

Test(mp3, of_constant_bitrate_without_a_summary_is_as_long_as_its_bytes)
{
    add_frames(&bytes, 100); /* 41,700 bytes at 128,000 bit/s */
    expect(facts_of(&bytes), 2606, 128012);
}

Test(mp3, tags_around_the_audio_are_not_counted)
{
    unsigned char id3[10] = {'I',  'D', '3', 4, 0,
                             0x10, 0,   0,   7, 0x68}; /* 1000 bytes and a footer */
    unsigned char filler[1010] = {0}, v1[128] = {'T', 'A', 'G'};
    unsigned char ape[64] = "APETAGEX";
    memset(filler, 0xff, 300); /* what looks like frames within a tag is none */
    memcpy(ape + 32, "APETAGEX", 8);
    ape[32 + 12] = 32; /* the footer alone, and a header before it */
    ape[32 + 23] = 0x80;
    add(&bytes, id3, sizeof(id3));
    add(&bytes, filler, sizeof(filler));
    add(&bytes, id3, sizeof(id3));
    add(&bytes, filler, sizeof(filler));
    add_frames(&bytes, 100);
    add(&bytes, ape, sizeof(ape));
    add(&bytes, v1, sizeof(v1));
    expect(facts_of(&bytes), 2606, 128012);
}

Test(mp3, a_Xing_header_tells_frames_and_bytes)
{
    add_frames(&bytes, 101);
    unsigned char *xing = bytes.data + 4 + 32;
    memcpy(xing, "Xing", 4);
    put_u32(xing + 4, 3);
    put_u32(xing + 8, 1000);
    put_u32(xing + 12, 41700);
    expect(facts_of(&bytes), 1000 * 1152ULL * 1000 / 44100, 12770);
    memcpy(xing + 120, "LAME3.100", 9); /* 576 samples before, 1152 behind */
    xing[141] = 0x24;
    xing[142] = 0x04;
    xing[143] = 0x80;
    expect(facts_of(&bytes), (1000 * 1152ULL - 576 - 1152) * 1000 / 44100, 12789);
    put_u32(xing + 12, 4000000000U); /* more than the file has: that of another one */
    cr_assert_eq(facts_of(&bytes).bitrate, 101 * 417 * 8000ULL / 26083);
    put_u32(xing + 8, 0);
    expect(facts_of(&bytes), 2632, 128015); /* no frames told: as if without */
}

Test(mp3, a_VBRI_header_tells_them_too)
{
    add_frames(&bytes, 101);
    unsigned char *vbri = bytes.data + 4 + 32;
    memcpy(vbri, "VBRI", 4);
    put_u32(vbri + 10, 41700);
    put_u32(vbri + 14, 1000);
    expect(facts_of(&bytes), 26122, 12770);
}

Test(mp3, what_is_none_has_no_facts)
{
    static const char *const texts[] = {"",
                                        "ID3",
                                        "ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
                                        "ID3\x04\x00\x00\xff\x00\x00\x00",
                                        "RIFF....WAVEfmt ",
                                        "OggS",
                                        "fLaC",
                                        "\xff\xfb\x90"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        bytes.size = 0;
        add(&bytes, texts[i], strlen(texts[i]));
        expect(facts_of(&bytes), 0, 0);
    }
    bytes.size = sizeof(bytes.data);
    memset(bytes.data, 0xff, bytes.size); /* a reserved layer, bitrate and rate in each header */
    expect(facts_of(&bytes), 0, 0);
    bytes.size = 0;
    add_frames(&bytes, 1); /* one whole frame is an MP3 */
    cr_assert_neq(facts_of(&bytes).bitrate, 0);
    bytes.size -= 1; /* and half of one is not */
    expect(facts_of(&bytes), 0, 0);
}
