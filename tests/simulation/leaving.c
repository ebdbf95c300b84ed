/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches each segment that leaves the journal of a simulated node, at the moment when its disk is told to remove it:
 * two checkpoints cover it, Redis has had all of its records, and the archive has the very bytes. What the ledger itself
 * thinks of these is not asked.
 */
#include "tests/simulation/leaving.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/base/check.h"
#include "storage/ledger/archive.h"
#include "storage/ledger/checkpoint_make.h"
#include "tests/simulation/sim.h"

#define NEEDED 2 /* checkpoints that cover a segment which leaves */

/* How many sound checkpoints of the node cover the segment. */
static unsigned count_covering(const struct sim_node *node, uint32_t segment, struct names *names)
{
    const struct ledger *ledger = node->ledger;
    const struct checkpoint_place place = {.disk = &node->disk.table,
                                           .journal = ledger->journal.directory,
                                           .checkpoints = ledger->lane.checkpoints,
                                           .instance = ledger->lane.instance};
    unsigned count = 0;
    int64_t one = checkpoint_newest(&place, UINT32_MAX);
    for (; one >= segment; one = checkpoint_newest(&place, (uint32_t)one - 1)) {
        struct checkpoint found;
        count += checkpoint_read(&place, (uint32_t)one, names, NULL, NULL, &found) == 0;
        checkpoint_clear(&found);
    }
    return count;
}

/* Which account of the simulation it is. */
static unsigned number_of(const struct sim *sim, const struct ledger_account *account)
{
    unsigned i = 0;
    while (i < SIM_ACCOUNTS && strcmp(sim->accounts[i].name, account->account) != 0)
        i++;
    check(i < SIM_ACCOUNTS);
    return i;
}

static uint64_t watermark_of(const struct sim_node *node, unsigned account)
{
    char field[LEDGER_HEX_SIZE + 2];
    snprintf(field, sizeof(field), "w:%s", node->id);
    return (uint64_t)redis_number(node->sim, node->sim->accounts[account].key, field);
}

/* How many records of the account Redis has, as far as the node can know: of what Redis has lost it hears once it
 * has asked again. */
static uint64_t known_of(const struct sim_node *node, unsigned account)
{
    bool knows = node->resynced_us > node->sim->redis.lost_us;
    return knows ? watermark_of(node, account) : watch_most(node->sim, node->id, account);
}

/* Whether Redis has each record of the segment. */
static void check_posted(struct sim_node *node, uint32_t segment, struct names *names)
{
    struct sim *sim = node->sim;
    const struct ledger *ledger = node->ledger;
    struct journal_reader reader;
    struct journal_entry entry;
    check(reader_init(&reader, &node->disk.table, names, ledger->journal.directory) == 0);
    int result = reader_enter(&reader, segment, 0, false);
    while (result == 0 && (result = reader_next(&reader, &entry)) == 1) {
        unsigned account = entry.account != NULL ? number_of(sim, entry.account) : SIM_ACCOUNTS;
        uint64_t has = account < SIM_ACCOUNTS ? known_of(node, account) : UINT64_MAX;
        result = 0;
        if (account < SIM_ACCOUNTS)
            node->left[account] = entry.record.sequence;
        if (entry.record.sequence > has)
            sim_break(sim, SIM_PROMISE_leaves,
                      "segment %" PRIu32 " leaves the journal of %s with record %" PRIu64
                      " of account %s, of which Redis has %" PRIu64,
                      segment, node->name, entry.record.sequence, sim->accounts[account].name, has);
    }
    check(result == 0);
    reader_free(&reader);
}

/* Whether the archive has the segment, byte for byte. */
static void check_archived(struct sim_node *node, uint32_t segment)
{
    const struct disk_segment *gone = disk_journal_segment(&node->disk, segment);
    uint64_t size = 0;
    int archive = open(node->archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(archive >= 0);
    int fd = archive_unpack(archive, node->ledger->instance, segment, &size);
    bool is_there = fd >= 0 && size == gone->bytes;
    const uint8_t *bytes =
        is_there ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : (const uint8_t *)MAP_FAILED;
    if (bytes == MAP_FAILED || memcmp(bytes, gone->written, size) != 0)
        sim_break(node->sim, SIM_PROMISE_leaves,
                  "segment %" PRIu32 " leaves the journal of %s, and its archive %s", segment,
                  node->name, fd < 0 ? "does not have it" : "has something else");
    if (bytes != MAP_FAILED)
        munmap((void *)(uintptr_t)bytes, size);
    if (fd >= 0)
        close(fd);
    close(archive);
}

void leaving_watch(void *self, uint32_t segment)
{
    struct sim_node *node = self;
    struct names names;
    if (!node->is_leaving) /* a start removes what was never used */
        return;
    watch_looked(node->sim, SIM_PROMISE_leaves);
    check(names_init(&names, 64, 64) == 0);
    unsigned covering = count_covering(node, segment, &names);
    if (covering < NEEDED)
        sim_break(node->sim, SIM_PROMISE_leaves,
                  "segment %" PRIu32 " leaves the journal of %s, and %u checkpoint%s it", segment,
                  node->name, covering, covering == 1 ? " covers" : "s cover");
    check_posted(node, segment, &names);
    if (node->sim->has_archive)
        check_archived(node, segment);
    names_free(&names);
    watch_lacking(node->sim);
}

/* ---- what Redis lacks then ---- */

bool leaving_lacks(const struct sim_node *node, unsigned account)
{
    uint64_t has = watermark_of(node, account);
    return has > 0 && has < node->left[account]; /* a checkpoint fills what Redis has nothing of */
}

bool leaving_lacks_any(struct sim *sim, unsigned account)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (leaving_lacks(&sim->nodes[i], account))
            return true;
    return false;
}

bool leaving_is_aside(struct sim_node *node, unsigned account)
{
    char tag[32];
    int length = snprintf(tag, sizeof(tag), SIM_ISSUER "/%s", node->sim->accounts[account].name);
    struct ledger_account *found = names_find_tag(&node->ledger->names, tag, (size_t)length);
    bool is_aside = found != NULL && ledger_account_is_set_aside(found);
    ledger_account_drop(&found);
    return is_aside;
}

void leaving_hear(struct sim_node *node, const char *text)
{
    for (unsigned i = 0; i < SIM_ACCOUNTS; i++) {
        char said[80];
        int length = snprintf(said, sizeof(said),
                              "account " SIM_ISSUER "/%s is set aside: Redis has its first ",
                              node->sim->accounts[i].name);
        if (strncmp(text, said, (size_t)length) == 0)
            node->told_aside[i] = true;
    }
}

void leaving_check_aside(struct sim_node *node)
{
    struct sim *sim = node->sim;
    for (unsigned i = 0; i < SIM_ACCOUNTS && node->ledger != NULL; i++) {
        bool lacks = leaving_lacks(node, i);
        if (lacks)
            watch_looked(sim, SIM_PROMISE_set_aside);
        if (leaving_is_aside(node, i) != lacks)
            sim_break(sim, SIM_PROMISE_set_aside,
                      "%s has %s account %s, of which Redis has %" PRIu64 " records, and %" PRIu64
                      " have left the journal",
                      node->name, lacks ? "not set aside" : "set aside", sim->accounts[i].name,
                      watermark_of(node, i), node->left[i]);
        else if (lacks && !node->told_aside[i])
            sim_break(sim, SIM_PROMISE_set_aside, "%s has not said that it sets account %s aside",
                      node->name, sim->accounts[i].name);
    }
}

/* ---- what goes wrong on the way ---- */

/* Changes the byte in the middle of a file. */
static void spoil(int directory, const char *name)
{
    uint8_t byte;
    int fd = openat(directory, name, O_RDWR | O_CLOEXEC);
    off_t middle = lseek(fd, 0, SEEK_END) / 2;
    check(fd >= 0 && pread(fd, &byte, 1, middle) == 1);
    byte ^= 0x55;
    check(pwrite(fd, &byte, 1, middle) == 1);
    close(fd);
}

/* The name of the file in the archive that has not got its own yet. False: there is none. */
static bool find_packed(const struct sim_node *node, char name[NAME_MAX + 1])
{
    char instance[LEDGER_HEX_SIZE];
    bool is_found = false;
    DIR *names = opendir(node->archive);
    check(names != NULL);
    for (struct dirent *entry; !is_found && (entry = readdir(names)) != NULL;) {
        is_found = archive_number(entry->d_name, instance) == 0 &&
                   strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
        snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
    }
    closedir(names);
    return is_found;
}

bool leaving_is_packed(const struct sim_node *node)
{
    char name[NAME_MAX + 1];
    return find_packed(node, name);
}

void leaving_spoil(struct sim_node *node)
{
    char name[NAME_MAX + 1];
    if (!find_packed(node, name))
        return;
    int directory = open(node->archive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(directory >= 0);
    sim_tell(node->sim, node->name, "what it has written to its archive is damaged");
    spoil(directory, name);
    close(directory);
    node->spoils_archive = false;
}
