/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remembered nodes and their file. See birth_nodes.h. The file is text, a line each, so that an
 * operator can read it:
 *
 *   birth 0123456789abcdef
 *   node INSTANCE DIRECTORY NAME SEEN_MS
 */
#include "storage/ledger/birth_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME    "nodes"
#define FILE_BESIDE  "nodes.new"
#define SAVE_EACH_MS 86400000 /* a node that is seen all the time is saved once a day */

void birth_nodes_free(struct birth_nodes *nodes)
{
    free(nodes->list);
    *nodes = (struct birth_nodes){0};
}

/* ---- the list ---- */

static struct birth_node *find(struct birth_nodes *nodes, const char *instance)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (strcmp(nodes->list[i].instance, instance) == 0)
            return &nodes->list[i];
    return NULL;
}

static struct birth_node *add(struct birth_nodes *nodes, const struct birth_node *node)
{
    if (nodes->count == LEDGER_NODES_MAX)
        return NULL;
    if (nodes->count == nodes->room) {
        size_t room = nodes->room == 0 ? 8 : 2 * nodes->room;
        struct birth_node *list = realloc(nodes->list, room * sizeof(struct birth_node));
        if (list == NULL)
            return NULL;
        nodes->list = list;
        nodes->room = room;
    }
    nodes->list[nodes->count] = *node;
    return &nodes->list[nodes->count++];
}

static void drop(struct birth_nodes *nodes, size_t index)
{
    nodes->list[index] = nodes->list[--nodes->count];
}

/* Forgets whoever had the name before: in another directory, and not seen since. */
static bool retire(struct birth_nodes *nodes, const char *name, const char *directory,
                   uint64_t seen_ms)
{
    size_t before = nodes->count;
    for (size_t i = nodes->count; i-- > 0;) {
        const struct birth_node *node = &nodes->list[i];
        if (strcmp(node->name, name) == 0 && strcmp(node->directory, directory) != 0 &&
            node->seen_ms <= seen_ms)
            drop(nodes, i);
    }
    return nodes->count != before;
}

static bool is_hex(const char *text)
{
    return strlen(text) == LEDGER_HEX_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == LEDGER_HEX_SIZE - 1;
}

bool birth_nodes_see(struct birth_nodes *nodes, const struct birth_self *self, const char *instance,
                     const char *entry, uint64_t birth, const char *run)
{
    struct birth_node seen = {0};
    char replayed[17], to[41];
    if (!is_hex(instance) ||
        sscanf(entry, "%32s %32s %16s %40s %" SCNu64, seen.name, seen.directory, replayed, to,
               &seen.seen_ms) != 5 ||
        !is_hex(seen.directory))
        return false;
    if (strcmp(instance, self->instance) == 0)
        return retire(nodes, self->name, self->directory, seen.seen_ms);
    bool has_said = strtoull(replayed, NULL, 16) == birth && strcmp(to, run) == 0;
    bool changed = retire(nodes, seen.name, seen.directory, seen.seen_ms);
    struct birth_node *node = find(nodes, instance);
    if (node == NULL) {
        snprintf(seen.instance, sizeof(seen.instance), "%s", instance);
        node = add(nodes, &seen);
        if (node == NULL)
            return changed;
        changed = true;
    }
    /* A lane of a retired node is its new owner's, and is waited for under that name. */
    changed = changed || strcmp(node->name, seen.name) != 0 ||
              strcmp(node->directory, seen.directory) != 0;
    memcpy(node->name, seen.name, sizeof(node->name));
    memcpy(node->directory, seen.directory, sizeof(node->directory));
    node->seen_ms = seen.seen_ms;
    node->has_said = has_said;
    return changed || seen.seen_ms > node->saved_ms + SAVE_EACH_MS;
}

bool birth_nodes_forget(struct birth_nodes *nodes, uint64_t now_ms)
{
    size_t before = nodes->count;
    for (size_t i = nodes->count; i-- > 0;)
        if (nodes->list[i].seen_ms + LEDGER_NODES_KEPT_MS < now_ms)
            drop(nodes, i);
    return nodes->count != before;
}

bool birth_nodes_have_said(const struct birth_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (!nodes->list[i].has_said)
            return false;
    return true;
}

/* ---- the file ---- */

static bool read_line(struct birth_nodes *nodes, const char *line)
{
    struct birth_node node = {0};
    if (sscanf(line, "birth %16" SCNx64, &nodes->birth) == 1)
        return true;
    if (sscanf(line, "node %32s %32s %32s %" SCNu64, node.instance, node.directory, node.name,
               &node.seen_ms) != 4 ||
        !is_hex(node.instance) || !is_hex(node.directory))
        return false;
    node.saved_ms = node.seen_ms;
    return add(nodes, &node) != NULL;
}

int birth_nodes_load(struct birth_nodes *nodes, int directory)
{
    char line[160];
    int fd = openat(directory, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    FILE *file = fdopen(fd, "r");
    if (file == NULL) {
        int error = errno;
        close(fd);
        return -error;
    }
    bool is_good = true;
    while (is_good && fgets(line, sizeof(line), file) != NULL)
        is_good = read_line(nodes, line);
    int result = ferror(file) != 0 ? -EIO : is_good && nodes->birth != 0 ? 0 : -EBADMSG;
    (void)fclose(file);
    if (result != 0)
        birth_nodes_free(nodes);
    return result;
}

static int write_all(const struct birth_nodes *nodes, FILE *file)
{
    (void)fprintf(file, "birth %016" PRIx64 "\n", nodes->birth);
    for (size_t i = 0; i < nodes->count; i++) {
        const struct birth_node *node = &nodes->list[i];
        (void)fprintf(file, "node %s %s %s %" PRIu64 "\n", node->instance, node->directory,
                      node->name, node->seen_ms);
    }
    if (fflush(file) != 0 || ferror(file) != 0 || fsync(fileno(file)) != 0)
        return errno != 0 ? -errno : -EIO;
    return 0;
}

int birth_nodes_save(struct birth_nodes *nodes, int directory)
{
    int fd =
        openat(directory, FILE_BESIDE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (file == NULL) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return -error;
    }
    int result = write_all(nodes, file);
    (void)fclose(file);
    if (result == 0 &&
        (renameat(directory, FILE_BESIDE, directory, FILE_NAME) != 0 || fsync(directory) != 0))
        result = -errno;
    for (size_t i = 0; i < nodes->count && result == 0; i++)
        nodes->list[i].saved_ms = nodes->list[i].seen_ms;
    return result;
}
