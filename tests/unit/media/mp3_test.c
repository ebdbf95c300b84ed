/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP3 facts of bytes built here: frames of all kinds, tags around and between them, encoders'
 * summaries, damage, and what is not an MP3. Each is fed whole, byte by byte and in parts of
 * random length, and must give the same facts. tests/integration/mp3_test.c compares lame's files
 * with ffprobe.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/media/mp3_internal.h"

struct bytes {
    unsigned char data[2000000];
    size_t size;
};
static struct bytes bytes;

/* The facts of `bytes` when it is fed in parts of 1 to `most` bytes. */
static struct mp3_facts facts_in_parts(size_t most)
{
    static struct mp3_walk walk;
    struct mp3_facts facts;
    memset(&walk, 0xa5, sizeof(walk)); /* as if left from another file */
    mp3_walk_begin(&walk);
    for (size_t at = 0; at < bytes.size;) {
        size_t part = 1 + (size_t)rand() % most;
        part = part < bytes.size - at ? part : bytes.size - at;
        mp3_walk_feed(&walk, bytes.data + at, part);
        at += part;
    }
    mp3_walk_end(&walk, &facts);
    return facts;
}

static struct mp3_facts facts_of_bytes(void)
{
    static const size_t most[] = {sizeof(bytes.data), 1, 7, 500, 7000, 100000};
    struct mp3_facts facts = {0};
    for (size_t i = 0; i < sizeof(most) / sizeof(*most); i++) {
        struct mp3_facts other = facts_in_parts(most[i]);
        if (i == 0)
            facts = other;
        cr_assert_eq(other.duration_ms, facts.duration_ms, "%u ms in parts of %zu, %u ms before",
                     other.duration_ms, most[i], facts.duration_ms);
        cr_assert_eq(other.bitrate, facts.bitrate);
    }
    return facts;
}

static void expect(uint64_t duration_ms, uint32_t bitrate)
{
    struct mp3_facts facts = facts_of_bytes();
    cr_assert_eq(facts.duration_ms, duration_ms, "%u ms in place of %llu", facts.duration_ms,
                 (unsigned long long)duration_ms);
    cr_assert_eq(facts.bitrate, bitrate, "%u bit/s in place of %u", facts.bitrate, bitrate);
}

static unsigned char *add(const void *data, size_t length)
{
    cr_assert_leq(bytes.size + length, sizeof(bytes.data));
    unsigned char *at = memcpy(bytes.data + bytes.size, data, length);
    bytes.size += length;
    return at;
}

static void add_filler(int byte, size_t length)
{
    cr_assert_leq(bytes.size + length, sizeof(bytes.data));
    memset(bytes.data + bytes.size, byte, length);
    bytes.size += length;
}

static void add_random(size_t length)
{
    for (size_t i = 0; i < length; i++)
        add(&(unsigned char){(unsigned char)(rand() >> 7)}, 1);
}

/* Adds `count` frames with this header and length in bytes; returns the first. */
static unsigned char *add_frames(uint32_t header, size_t length, unsigned count)
{
    unsigned char frame[3000] = {(unsigned char)(header >> 24), (unsigned char)(header >> 16),
                                 (unsigned char)(header >> 8), (unsigned char)header};
    unsigned char *first = bytes.data + bytes.size;
    for (unsigned i = 0; i < count; i++)
        add(frame, length);
    return first;
}

#define SOUND               0xfffb9040 /* MPEG 1 layer III, 128 kbit/s, 44.1 kHz, joint stereo */
#define SOUND_WITH_CHECKSUM 0xfffa9040
#define SOUND_BYTES         417
#define SOUND_MS(n)         ((n)*1152ULL * 1000 / 44100)

static unsigned char *add_sound(unsigned count)
{
    return add_frames(SOUND, SOUND_BYTES, count);
}

/* Adds an ID3v2.4 tag with `length` bytes of sound frames in it, which must not be counted. */
static void add_id3v2(unsigned length, bool footer)
{
    unsigned char head[10] = {'I', 'D', '3', 4, 0, footer ? 0x10 : 0};
    for (int i = 0; i < 4; i++)
        head[6 + i] = (unsigned char)(length >> 7 * (3 - i) & 0x7f);
    add(head, sizeof(head));
    for (; length >= SOUND_BYTES; length -= SOUND_BYTES)
        add_sound(1);
    add_filler(0, length);
    if (footer) {
        memcpy(head, "3DI", 3);
        add(head, sizeof(head));
    }
}

/* Adds an APEv2 tag (with a header), or an APEv1 tag (with a footer alone, and no sound in it). */
static void add_ape(unsigned length, bool header)
{
    unsigned char end[32] = "APETAGEX";
    end[8] = header ? 0xd0 : 0xe8;
    end[9] = header ? 0x07 : 0x03;
    unsigned told = length + 32;
    for (int i = 0; i < 4; i++)
        end[12 + i] = (unsigned char)(told >> 8 * i);
    end[23] = header ? 0xa0 : 0;
    if (header)
        add(end, sizeof(end));
    for (; header && length >= SOUND_BYTES; length -= SOUND_BYTES)
        add_sound(1);
    add_random(length);
    end[23] = header ? 0x80 : 0;
    add(end, sizeof(end));
}

static void add_id3v1(void)
{
    add("TAG", 3);
    add_filler('x', 125);
}

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

Test(mp3, every_frame_counts)
{
    add_sound(100);
    expect(SOUND_MS(100), 128000);
    bytes.size -= 300; /* the last frame counts though it is cut, as for ffprobe */
    expect(SOUND_MS(100), 128000);
}

Test(mp3, the_bitrate_is_the_mean_of_all_frames_not_of_the_first)
{
    add_frames(0xfffb1040, 104, 1000); /* 32 kbit/s: more than 100 KB */
    add_frames(0xfffbe040, 1044, 1000);
    expect(SOUND_MS(2000), 176000);
}

Test(mp3, all_versions_layers_and_rates_are_walked)
{
    static const struct {
        uint32_t header;
        size_t length;
        uint32_t samples, samples_per_s, bitrate;
    } rows[] = {
        {0xfffb5480, 192, 1152, 48000, 64000},   {0xfffb58c0, 288, 1152, 32000, 64000},
        {0xfffbe240, 1045, 1152, 44100, 320000}, /* padded */
        {0xfff38040, 208, 576, 22050, 64000},    {0xfff31440, 24, 576, 24000, 8000},
        {0xfff3e840, 720, 576, 16000, 160000},   {0xffe38040, 417, 576, 11025, 64000},
        {0xffe3e440, 960, 576, 12000, 160000},   {0xffe3ea40, 1441, 576, 8000, 160000},
        {0xfffd8040, 417, 1152, 44100, 128000},  {0xfffde840, 1728, 1152, 32000, 384000},
        {0xfff58040, 417, 1152, 22050, 64000},   {0xffe5ea40, 2881, 1152, 8000, 160000},
        {0xffff8040, 276, 384, 44100, 256000},   {0xffff8240, 280, 384, 44100, 256000},
        {0xfff78440, 256, 384, 24000, 128000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        bytes.size = 0;
        add_frames(rows[i].header, rows[i].length, 50);
        add_id3v1();
        expect(50ULL * rows[i].samples * 1000 / rows[i].samples_per_s, rows[i].bitrate);
    }
}

Test(mp3, a_free_bitrate_is_told_by_the_distance_of_headers)
{
    for (unsigned i = 0; i < 90; i++) /* 400 kbit/s at 44.1 kHz: 1306.12 bytes */
        add_frames(i % 8 == 0 ? 0xfffb0240 : 0xfffb0040, i % 8 == 0 ? 1307 : 1306, 1);
    struct mp3_facts facts = facts_of_bytes();
    cr_assert_eq(facts.duration_ms, SOUND_MS(90));
    cr_assert(facts.bitrate >= 400000 && facts.bitrate < 400100, "%u", facts.bitrate);
    add_random(5000);
    add_frames(0xfffb0040, 1306, 10); /* the length is found again */
    cr_assert_eq(facts_of_bytes().duration_ms, SOUND_MS(100));
}

Test(mp3, tags_around_the_sound_are_passed_over_whatever_is_in_them)
{
    add_id3v2(5000, true);
    add_id3v2(5000, false);
    add_ape(3000, true);
    add_filler(0, 700); /* padding that the tag's length leaves out */
    add_sound(100);
    size_t sound_end = bytes.size;
    for (unsigned tags = 0; tags < 8; tags++) {
        bytes.size = sound_end;
        switch (tags) {
        case 0:
            break;
        case 1:
            add_ape(3000, true);
            break;
        case 2:
            add_ape(3000, false);
            break;
        case 3:
            add_id3v2(4000, true);
            break;
        case 4:
            add("LYRICSBEGINtake me home LYRICSEND", 33);
            break;
        case 5:
            add("LYRICSBEGININD0000200LYR00004home000032LYRICS200", 48);
            break;
        case 6:
            add_ape(3000, true);
            add_id3v2(4000, true);
            break;
        default:
            add_filler(0, 4000);
            break;
        }
        expect(SOUND_MS(100), 128000);
        add_id3v1();
        expect(SOUND_MS(100), 128000);
    }
}

Test(mp3, a_length_that_ID3v2_does_not_allow_makes_no_tag)
{
    add("ID3\x03\0\0\0\0\x01\xf4", 10); /* 500 in 8 bits a byte, as old programs wrote it */
    add_random(500);
    add_sound(100);
    expect(SOUND_MS(100), 128000);
}

Test(mp3, a_summary_is_no_sound_and_is_not_believed)
{
    static const char *const names[] = {"Xing", "Info", "VBRI"};
    static const uint32_t frames[] = {0, 99, 100, 1000};
    for (unsigned i = 0; i < 3 * 4 * 3; i++) {
        const char *name = names[i % 3];
        bool vbri = strcmp(name, "VBRI") == 0;
        unsigned checksum = i / 12; /* 0: none; 1: without room for it (LAME); 2: with room */
        bytes.size = 0;
        unsigned char *at =
            add_frames(checksum > 0 ? SOUND_WITH_CHECKSUM : SOUND, SOUND_BYTES, 101) + 4 + 32;
        at += checksum == 2 && !vbri ? 2 : 0;
        memcpy(at, name, 4);
        put_u32(at + 4, 3);
        put_u32(at + (vbri ? 14 : 8), frames[i / 3 % 4]);
        put_u32(at + (vbri ? 10 : 12), 417 * frames[i / 3 % 4]);
        memcpy(at + 120, "LAME3.100", 9);
        at[141] = 0x24; /* 576 samples of delay, 1152 of padding: they still count */
        at[142] = 0x04;
        at[143] = 0x80;
        expect(SOUND_MS(100), 128000);
    }
    bytes.size = SOUND_BYTES; /* cut behind the summary */
    expect(0, 0);
}

Test(mp3, the_walk_goes_on_behind_damage)
{
    add_sound(50);
    add_random(3000);
    add_sound(30);
    add_filler(0xff, 3000);
    add_sound(20);
    expect(SOUND_MS(100), 128000);
    bytes.data[10 * SOUND_BYTES] = 0; /* not a header any more: one frame is lost */
    expect(SOUND_MS(99), 128000);
    bytes.data[20 * SOUND_BYTES + 2] = 0xe0; /* 320 kbit/s: its length leads to a wrong place */
    struct mp3_facts facts = facts_of_bytes();
    cr_assert(facts.duration_ms >= SOUND_MS(96) && facts.duration_ms <= SOUND_MS(99), "%u",
              facts.duration_ms);
}

Test(mp3, two_recordings_in_a_row_are_both_counted)
{
    add_id3v2(1000, false);
    add_sound(100);
    add_id3v1();
    add_id3v2(1000, false);
    add_frames(0xfff38040, 208, 100); /* half the sampling frequency, and as long a frame in ms */
    expect(SOUND_MS(200), 96000);
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
                                        "TAG",
                                        "APETAGEX",
                                        "\xff",
                                        "\xff\xfb",
                                        "\xff\xfb\x90",
                                        "\xff\xfb\x90\x40"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        bytes.size = 0;
        add(texts[i], strlen(texts[i]));
        expect(0, 0);
    }
    bytes.size = 0;
    add_random(sizeof(bytes.data)); /* some 200 headers occur in it by chance */
    expect(0, 0);
    bytes.size = 0;
    add_filler(0xff, sizeof(bytes.data));
    expect(0, 0);
    bytes.size = 0;
    add_random(5000);
    add_sound(2); /* two frames amid noise may be chance */
    add_random(5000);
    expect(0, 0);
    bytes.size = 0;
    add_sound(1); /* one whole frame is an MP3 */
    expect(26, 128000);
    bytes.size -= 1; /* a part of one frame is not */
    expect(0, 0);
    add_filler(0, 1);
    add_id3v1();
    expect(26, 128000);
}
