/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `tollgate media show` says about MP3s that lame makes, compared with ffprobe: as they are,
 * and with tags, cuts and junk. ffprobe's count of packets is exact. The duration that it reports
 * is the summary's, which stays when a file is cut, or a guess from the size where there is none.
 * It cannot count files of free bitrate (lame's own summary is right there), and counts sound in a
 * tag as frames (there the file without the tag is counted).
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/harness.h"

#define SECONDS 2
#define COUNT   24

struct media_list {
    struct site *site;
    size_t count;
    struct {
        const char *path;
        double expected_s, frame_s;
        int bitrate; /* expected, in kbit/s; 0: it varies */
    } files[COUNT];
};

/* Makes a sound that is quiet at first and then loud, so that the beginning of a file of variable
 * bitrate says nothing about the rest. */
static const char *make_sound(struct site *site, unsigned rate, unsigned channels)
{
    const char *path = site_format(site, "%s/sound-%u-%u", site_directory(site), rate, channels);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    uint32_t noise = 1;
    for (unsigned i = 0; i < SECONDS * rate * channels; i++) {
        noise = noise * 1664525 + 1013904223;
        double loud = i < SECONDS * rate * channels / 2 ? 200 : 12000;
        int16_t value = (int16_t)(loud * ((i / 100 % 2) + (double)(noise >> 8) / (1 << 24) - 1));
        fwrite(&value, sizeof(value), 1, file);
    }
    cr_assert_eq(fclose(file), 0);
    return path;
}

/* ffprobe's length of a file in seconds: by its count of packets, or as it reports the duration. */
static double ffprobe(struct site *site, const char *path, bool counted, double *frame_s)
{
    FILE *pipe =
        popen(site_format(site,
                          "ffprobe -v quiet %s -show_entries "
                          "stream=sample_rate,duration,nb_read_packets -of default=nw=1 '%s'",
                          counted ? "-count_packets" : "", site_media_path(site, path)),
              "re");
    cr_assert_not_null(pipe);
    char line[100];
    double duration = 0, rate = 0, packets = 0;
    while (fgets(line, sizeof(line), pipe) != NULL) {
        (void)sscanf(line, "duration=%lf", &duration);
        (void)sscanf(line, "sample_rate=%lf", &rate);
        (void)sscanf(line, "nb_read_packets=%lf", &packets);
    }
    cr_assert_eq(pclose(pipe), 0, "ffprobe, of the Debian package ffmpeg, fails at %s", path);
    if (!counted)
        return duration;
    cr_assert_gt(rate, 0, "ffprobe finds no frames in %s", path);
    *frame_s = (rate < 32000 ? 576 : 1152) / rate;
    return packets * *frame_s;
}

/* Asks for all files at once, so that the program starts only once. */
static void expect_all(const struct media_list *list)
{
    const char *words[COUNT + 4] = {"media", "show", "--json"};
    for (size_t i = 0; i < list->count; i++)
        words[3 + i] = list->files[i].path;
    struct command_result shown = site_command(list->site, words);
    cr_assert_eq(shown.exit_code, 0, "%s", shown.errors);
    json_t *facts = json_loads(shown.output, 0, NULL);
    cr_assert_eq(json_array_size(facts), list->count);
    for (size_t i = 0; i < list->count; i++) {
        const json_t *of = json_array_get(facts, i);
        double seconds = (double)json_integer_value(json_object_get(of, "duration_ms")) / 1000;
        json_int_t bits = json_integer_value(json_object_get(of, "bitrate_bits_per_s"));
        double expected = list->files[i].expected_s;
        double apart = seconds < expected ? expected - seconds : seconds - expected;
        cr_expect_leq(apart, list->files[i].frame_s + 0.001, "%s: %.3f s, for ffprobe %.3f s",
                      list->files[i].path, seconds, expected);
        int kbit = list->files[i].bitrate;
        cr_expect(kbit == 0 || (bits >= kbit * 1000 && bits <= kbit * 1000 + 100), "%s: %lld bit/s",
                  list->files[i].path, (long long)bits);
    }
    json_decref(facts);
}

static void add(struct media_list *list, const char *path, double expected_s, double frame_s,
                int bitrate)
{
    cr_assert_lt(list->count, COUNT);
    list->files[list->count].path = path;
    list->files[list->count].expected_s = expected_s;
    list->files[list->count].frame_s = frame_s;
    list->files[list->count++].bitrate = bitrate;
}

static const char *encode(struct site *site, unsigned rate, unsigned channels, const char *options)
{
    const char *path = site_format(site, "/%u %u %s.mp3", rate, channels, options);
    if (access(site_media_path(site, path), F_OK) == 0)
        return path;
    const char *command =
        site_format(site, "lame --quiet -r -s %u.%03u -m %c %s '%s' '%s' 2>/dev/null", rate / 1000,
                    rate % 1000, channels == 1 ? 'm' : 'j', options,
                    make_sound(site, rate, channels), site_media_path(site, path));
    cr_assert_eq(system(command), 0, "%s", command);
    return path;
}

Test(mp3, facts_of_what_lame_makes_are_those_of_ffprobe)
{
    static const struct {
        unsigned rate, channels;
        const char *options;
        int bitrate;
    } rows[] = {
        {44100, 2, "-b 128", 128},
        {44100, 2, "-b 128 -t", 128},
        {48000, 2, "-b 320 -p", 320},
        {32000, 1, "-b 64", 64},
        {44100, 2, "-V 4", 0},
        {44100, 2, "-V 4 -t", 0},
        {44100, 2, "-V 2 -p", 0},
        {44100, 1, "-V 2 -p -t", 0},
        {48000, 2, "--abr 150", 0},
        {48000, 2, "--abr 150 -t", 0},
        {22050, 1, "-b 64", 64},
        {24000, 2, "-V 5 -t", 0},
        {16000, 1, "-V 5 -p", 0},
        {8000, 1, "-b 16", 16},
        {11025, 2, "-V 5", 0},
        {12000, 1, "-b 24 -t", 24},
        {44100, 2, "--freeformat -b 400", 400},
        {48000, 2, "--freeformat -b 500 -p", 500},
    };
    struct media_list list = {.site = site_create(.own_media = true, .stays_down = true)};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *path = encode(list.site, rows[i].rate, rows[i].channels, rows[i].options);
        double frame_s = (rows[i].rate < 32000 ? 576.0 : 1152.0) / rows[i].rate;
        bool counted = strstr(rows[i].options, "freeformat") == NULL;
        double seconds = ffprobe(list.site, path, counted, &frame_s);
        add(&list, path, seconds, frame_s, rows[i].bitrate);
    }
    expect_all(&list);
    site_destroy(&list.site);
}

struct bytes {
    unsigned char data[300000];
    size_t size;
};

static void put(struct bytes *bytes, const void *data, size_t length)
{
    cr_assert_leq(bytes->size + length, sizeof(bytes->data));
    memcpy(bytes->data + bytes->size, data, length);
    bytes->size += length;
}

static void fill(struct bytes *bytes, size_t length, bool random)
{
    for (size_t i = 0; i < length; i++)
        put(bytes, &(unsigned char){random ? (unsigned char)(rand() >> 7) : 0}, 1);
}

static void put_id3v2(struct bytes *bytes, const struct bytes *within, bool footer)
{
    unsigned char head[10] = {'I', 'D', '3', 4, 0, footer ? 0x10 : 0};
    for (int i = 0; i < 4; i++)
        head[6 + i] = (unsigned char)(within->size >> 7 * (3 - i) & 0x7f);
    put(bytes, head, sizeof(head));
    put(bytes, within->data, within->size);
    if (footer) {
        memcpy(head, "3DI", 3);
        put(bytes, head, sizeof(head));
    }
}

static void put_ape(struct bytes *bytes, const struct bytes *within, unsigned version)
{
    unsigned char end[32] = "APETAGEX";
    uint32_t words[3] = {version, (uint32_t)within->size + 32, 1};
    for (unsigned i = 0; i < 12; i++)
        end[8 + i] = (unsigned char)(words[i / 4] >> 8 * (i % 4));
    end[23] = 0xa0;
    if (version == 2000) {
        put(bytes, end, sizeof(end));
        put(bytes, within->data, within->size);
    } else {
        fill(bytes, within->size, true);
    }
    end[23] = version == 2000 ? 0x80 : 0;
    put(bytes, end, sizeof(end));
}

/* Adds the part for which each letter stands; `sound` fills the tags that may hold anything. */
static void put_parts(struct bytes *bytes, const char *letters, const struct bytes *sound)
{
    static const char text[] = "LYRICSBEGININD0000200LYR00004home000032LYRICS200";
    for (; *letters != '\0'; letters++) {
        switch (*letters) {
        case 'i':
            put_id3v2(bytes, sound, false);
            break;
        case 'f':
            put_id3v2(bytes, sound, true);
            break;
        case 'u': /* a tag's length in 8 bits a byte, which makes it no tag by the standard */
            put(bytes, "ID3\x03\0\0\0\0\x01\xf4", 10);
            fill(bytes, 500, true);
            break;
        case 'z':
            fill(bytes, 5000, false);
            break;
        case 'j':
            fill(bytes, 5000, true);
            break;
        case 'a':
            put_ape(bytes, sound, 2000);
            break;
        case 'v':
            put_ape(bytes, sound, 1000);
            break;
        case 'l':
            put(bytes, text, sizeof(text) - 1);
            break;
        case 'k':
            put(bytes, "LYRICSBEGINtake me home LYRICSEND", 33);
            break;
        default:
            put(bytes, "TAG", 3);
            fill(bytes, 125, false);
        }
    }
}

Test(mp3, facts_are_of_the_sound_that_is_there_whatever_is_around_it)
{
    static const struct {
        const char *options, *front, *middle, *end;
        int kept; /* per cent of the file */
        bool without_frames;
    } rows[] = {
        {"-V 4", "", "", "", 50, false}, /* an upload that broke off */
        {"-V 2 -p", "", "", "", 70, false},      {"-b 128", "", "", "", 30, false},
        {"-b 128", "", "", "1", 61, false},      {"-V 4", "", "", "", 100, true},
        {"-V 4", "ifi", "", "", 100, false},     {"-V 4 -t", "iz", "", "1", 100, false},
        {"-V 4 -t", "u", "", "", 100, false},    {"-V 4 -t", "a", "", "a1", 100, false},
        {"-V 4 -t", "", "", "v1", 100, false},   {"-V 4 -t", "", "", "l1", 100, false},
        {"-V 4 -t", "", "", "k1", 100, false},   {"-V 4 -t", "", "", "f", 100, false},
        {"-V 4 -t", "", "", "afl1", 100, false}, {"-V 4 -t", "", "j", "", 100, false},
        {"-V 4 -t", "", "z", "j", 100, false},   {"-V 4 -t", "j", "", "", 100, false},
    };
    struct media_list list = {.site = site_create(.own_media = true, .stays_down = true)};
    double seconds = 0, frame_s = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *whole = encode(list.site, 44100, 2, rows[i].options);
        size_t length = 0;
        const unsigned char *read = site_media_bytes(list.site, whole, &length);
        static struct bytes sound, quoted, bytes;
        sound.size = quoted.size = bytes.size = 0;
        put(&sound, read, length);
        put(&quoted, read + length / 4, 5000);
        if (rows[i].without_frames) {
            unsigned char *xing = memmem(sound.data, 200, "Xing", 4);
            cr_assert_not_null(xing);
            memset(xing + 8, 0, 4);
        }
        put_parts(&bytes, rows[i].front, &quoted);
        put(&bytes, sound.data, length / 2);
        put_parts(&bytes, rows[i].middle, &quoted);
        put(&bytes, sound.data + length / 2, length - length / 2);
        bytes.size = bytes.size * (unsigned)rows[i].kept / 100;
        put_parts(&bytes, rows[i].end, &quoted);
        const char *path = site_format(list.site, "/%zu.mp3", i);
        FILE *file = fopen(site_media_path(list.site, path), "we");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
        cr_assert_eq(fclose(file), 0);
        bool cut = rows[i].kept < 100;
        if (cut || i == 0 || strcmp(rows[i].options, rows[i - 1].options) != 0)
            seconds = ffprobe(list.site, cut ? path : whole, true, &frame_s);
        add(&list, path, seconds, frame_s, strcmp(rows[i].options, "-b 128") == 0 ? 128 : 0);
    }
    expect_all(&list);
    site_destroy(&list.site);
}
