/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tollgate media scan` hashes the library ahead of its first requests, so that every file has its
 * validator from the start; `tollgate media show` prints what is known of single files.
 * tollgate_main calls them. They need no running node, and may run beside one, as several processes
 * may add to the store of hashes. media_scan and media_show do the work; this file only prints.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/byte_count.h"
#include "server/base/clock.h"
#include "server/command/cli.h"
#include "server/command/command_admin.h"
#include "server/config/config.h"
#include "storage/media/media.h"

#define REDRAW_MS  100
#define PATH_SHOWN 48 /* bytes of a path's end, which tells most, on the progress line */

struct arguments {
    struct cli_location location;
    char **paths; /* borrows argv; for show */
    int path_count;
};

static error_t parse_scan(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case ARGP_KEY_ARG:
        cli_usage(state,
                  "%s is one argument too many, for scan takes the whole media_root; for single "
                  "files use `tollgate media show PATH`",
                  argument);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_show(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    (void)argument;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->location;
        return 0;
    case ARGP_KEY_ARGS:
        arguments->paths = state->argv + state->next;
        arguments->path_count = state->argc - state->next;
        return 0;
    case ARGP_KEY_NO_ARGS:
        cli_usage(state, "the file is missing; name it as links do, such as `tollgate media show "
                         "/albums/one.mp3`");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {CLI_CONFIG_CHILD, {0}};
static const struct argp scan_argp = {
    .parser = parse_scan,
    .doc = "Hashes the files beneath media_root that are not known yet; a scan that was stopped "
           "goes on where it was. A node may run beside it."
           "\v"
           "After a delivery of new files:\n"
           "  tollgate media scan --config tollgate.yaml\n",
    .children = children,
};
static const struct argp show_argp = {
    .parser = parse_show,
    .args_doc = "/FILE...",
    .doc =
        "Prints size, time and hash of files, and for an MP3 also duration and bitrate. Name the "
        "files as links do, such as /albums/one.mp3. A node may run beside it."
        "\v"
        "  tollgate media show --config tollgate.yaml /albums/one.mp3\n",
    .children = children,
};

struct scan {
    const char *command;
    bool follows, json, live;
    uint64_t drawn_ms, hashed_before, failed;
    struct media_scan_progress last;
};

static void erase_line(const struct scan *scan)
{
    if (scan->live) {
        fputs("\r\033[K", stdout);
    }
}

static void draw_line(struct scan *scan, const struct media_scan_progress *progress)
{
    char done[BYTE_COUNT_SIZE];
    char total[BYTE_COUNT_SIZE];
    uint64_t now_ms = clock_monotonic_ms();
    if (now_ms - scan->drawn_ms < REDRAW_MS) {
        return;
    }
    scan->drawn_ms = now_ms;
    byte_count_write((int64_t)progress->bytes_done, done);
    byte_count_write((int64_t)progress->bytes_total, total);
    size_t length = strlen(progress->path);
    const char *shown = progress->path + (length > PATH_SHOWN ? length - PATH_SHOWN : 0);
    /* The cut must not fall into a character of UTF-8. */
    while (((unsigned char)*shown & 0xc0) == 0x80) {
        shown++;
    }
    erase_line(scan);
    printf("%" PRIu64 "/%" PRIu64 " files, %s of %s  ", progress->files_done, progress->files_total,
           done, total);
    command_print_text(stdout, shown);
    (void)fflush(stdout);
}

static void warn_of_file(const char *command, const char *path, const char *text)
{
    char *shown = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&shown, &size);
    if (out == NULL) {
        return;
    }
    command_print_text(out, path);
    if (fclose(out) == 0) {
        cli_warn(command, "%s: %s", shown, text);
    }
    free(shown);
}

static int tell(void *context, const struct media_scan_progress *progress)
{
    struct scan *scan = context;
    bool hashed = progress->files_hashed > scan->hashed_before;
    if (progress->passed_over) {
        erase_line(scan);
        (void)fflush(stdout);
        warn_of_file(scan->command, progress->path,
                     scan->follows ? "a symbolic link, skipped, for it leads to no file within "
                                     "media_root; write it relative"
                                   : "a symbolic link, skipped, for follow_links is off; set "
                                     "it to on to follow links");
    } else if (progress->error != 0) {
        scan->failed++;
        erase_line(scan);
        (void)fflush(stdout);
        char why[160];
        (void)snprintf(why, sizeof(why), "%s; it has no validator until it can be read",
                       strerrordesc_np(-progress->error));
        warn_of_file(scan->command, progress->path, why);
    } else if (scan->live) {
        draw_line(scan, progress);
    } else if (!scan->json && hashed) {
        printf("%s ", progress->etag);
        command_print_text(stdout, progress->path);
        putchar('\n');
    }
    scan->hashed_before = progress->files_hashed;
    scan->last = *progress;
    return 0;
}

static int print_summary(const struct scan *scan)
{
    const struct media_scan_progress *last = &scan->last;
    uint64_t failed_files = scan->failed < last->files_done ? scan->failed : last->files_done;
    uint64_t known = last->files_done - last->files_hashed - failed_files;
    if (scan->json) {
        json_t *value = json_pack(
            "{s:I, s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)last->files_done, "bytes",
            (json_int_t)last->bytes_done, "hashed", (json_int_t)last->files_hashed, "known",
            (json_int_t)known, "failed", (json_int_t)scan->failed, "links_passed_over",
            (json_int_t)last->links_passed_over);
        int code = cli_print_json(scan->command, value);
        json_decref(value);
        return code;
    }
    char bytes[BYTE_COUNT_SIZE];
    byte_count_write((int64_t)last->bytes_done, bytes);
    erase_line(scan);
    printf("%" PRIu64 " file%s, %" PRIu64 " bytes (%s): %" PRIu64 " hashed, %" PRIu64
           " already known, %" PRIu64 " failed\n",
           last->files_done, last->files_done == 1 ? "" : "s", last->bytes_done, bytes,
           last->files_hashed, known, scan->failed);
    return EX_OK;
}

/* Makes the state directory, which keeps the hashes: without it a scan would be for nothing. */
static int prepare_state_dir(const char *command, const char *state_dir)
{
    if (mkdir(state_dir, 0700) != 0 && errno != EEXIST) {
        return cli_fail(EX_CONFIG, command, "create %s: %s; %s", state_dir, strerrordesc_np(errno),
                        errno == ENOENT ? "make its parent directory first"
                                        : "choose another state_dir");
    }
    if (access(state_dir, W_OK | X_OK) != 0) {
        return cli_fail(EX_CONFIG, command,
                        "%s: %s; run this as the node's user, for the hashes are kept there",
                        state_dir, strerrordesc_np(errno));
    }
    return EX_OK;
}

/* ---- show ---- */

static void print_facts(const char *path, const struct media_facts *facts)
{
    char size[BYTE_COUNT_SIZE], modified[COMMAND_TIME_SIZE];
    byte_count_write((int64_t)facts->size, size);
    command_write_time(facts->mtime_s, modified);
    command_print_text(stdout, path);
    printf("\n  size      %" PRIu64 " bytes (%s)\n  modified  %s\n  etag      %s\n", facts->size,
           size, modified, facts->etag);
    if (facts->bitrate == 0)
        return;
    uint32_t seconds = facts->duration_ms / 1000;
    printf("  duration  %u:%02u:%02u.%03u\n  bitrate   %u.%03u kbit/s\n", seconds / 3600,
           seconds / 60 % 60, seconds % 60, facts->duration_ms % 1000, facts->bitrate / 1000,
           facts->bitrate % 1000);
}

static json_t *facts_json(const char *path, const struct media_facts *facts)
{
    char modified[COMMAND_TIME_SIZE];
    command_write_time(facts->mtime_s, modified);
    json_t *value = json_pack("{s:s, s:I, s:s, s:s}", "path", path, "size", (json_int_t)facts->size,
                              "modified", modified, "etag", facts->etag);
    if (facts->bitrate != 0) {
        (void)json_object_set_new(value, "duration_ms", json_integer(facts->duration_ms));
        (void)json_object_set_new(value, "bitrate_bits_per_s", json_integer(facts->bitrate));
    }
    return value;
}

static int fail_show(const char *command, const char *path, int error)
{
    if (error == -EINVAL && path[0] != '/')
        return cli_fail(EX_USAGE, command, "%s: a path begins with /, as in a link; write /%s",
                        path, path);
    if (error == -EINVAL)
        return cli_fail(EX_USAGE, command, "%s: no link can name it; write it as it is on disk",
                        path);
    return cli_fail(
        EX_NOINPUT, command, "%s: %s", path,
        error == -ENOENT
            ? "there is no such file beneath media_root; name it as links do, from media_root on"
            : strerrordesc_np(-error));
}

/* Shows the files. With --json the answer is whole or there is none: where one file cannot be
 * shown, no list is printed. */
static int show(struct media *media, const char *command, const struct arguments *arguments)
{
    int code = EX_OK;
    bool json = cli_wants_json();
    json_t *list = json_array();
    for (int i = 0; i < arguments->path_count; i++) {
        const char *path = arguments->paths[i];
        struct media_facts facts;
        int error = media_show(media, path, &facts);
        if (error != 0) {
            int failed = fail_show(command, path, error);
            code = code == EX_OK ? failed : code;
        } else if (json) {
            (void)json_array_append_new(list, facts_json(path, &facts));
        } else {
            print_facts(path, &facts);
        }
    }
    if (json && code == EX_OK)
        code = cli_print_json(command, list);
    json_decref(list);
    return code;
}

/* ---- both ---- */

static int scan(struct media *media, const char *command, const struct config *config)
{
    bool json = cli_wants_json();
    struct scan scan = {.command = command,
                        .follows = strcmp(config->follow_links, "on") == 0,
                        .json = json,
                        .live = !json && isatty(STDOUT_FILENO) == 1};
    int result = media_scan(media, tell, &scan);
    if (result < 0) {
        erase_line(&scan);
        return cli_fail(EX_CONFIG, command, "media_root %s: %s; let this user read it",
                        config->media_root, strerrordesc_np(-result));
    }
    /* Hashes that were not stored would be made again by every scan: that is a failure, and with
     * --json a program reads either an answer or an error. */
    struct media_hash_stats stats;
    media_stats(media, &stats);
    int code = json && stats.store_error != 0 ? EX_IOERR : print_summary(&scan);
    if (stats.store_error != 0)
        return cli_fail(EX_IOERR, command, "%s/hashes: %s; the hashes are not kept: %s",
                        config->state_dir, strerrordesc_np(-stats.store_error),
                        stats.store_error == -EBADMSG
                            ? "a node of another version holds them, stop it and scan again"
                            : "make it writable, with room for more, and scan again");
    return code == EX_OK && scan.failed > 0 ? EX_IOERR : code;
}

static int run(const struct config *config, const char *command, const struct arguments *arguments)
{
    struct media_options media_options = {.root = config->media_root,
                                          .follow_links = strcmp(config->follow_links, "on") == 0,
                                          .state_dir = config->state_dir,
                                          .hash_queue_max = 1, /* these commands queue nothing */
                                          .hash_first_max = 1,
                                          .hash_entries_max = (uint32_t)config->hash_entries_max};
    char error[512];
    struct media *media = NULL;
    if (media_open(&media, &media_options, error, sizeof(error)) != 0) {
        return cli_fail(EX_CONFIG, command, "%s", error);
    }
    int code =
        arguments->path_count > 0 ? show(media, command, arguments) : scan(media, command, config);
    media_close(&media);
    return code;
}

static int command_media(const struct argp *argp, int argc, char **argv)
{
    struct arguments arguments = {0};
    cli_parse(argp, argc, argv, &arguments);
    struct config *config = NULL;
    int code = cli_config_load(argv[0], &arguments.location, &config);
    if (code != EX_OK) {
        return code;
    }
    code = prepare_state_dir(argv[0], config->state_dir);
    if (code == EX_OK) {
        code = run(config, argv[0], &arguments);
    }
    config_destroy(&config);
    return code;
}

int command_media_scan(int argc, char **argv)
{
    return command_media(&scan_argp, argc, argv);
}

int command_media_show(int argc, char **argv)
{
    return command_media(&show_argp, argc, argv);
}
