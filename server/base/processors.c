/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the affinity and the cgroup's quota. See processors.h. */
#include "server/base/processors.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Reads "MAX PERIOD" from one cgroup's cpu.max. The processors that it allows, rounded up; 0 where
 * there is no quota ("max PERIOD"). */
static unsigned quota_of(const char *directory)
{
    char path[4200];
    unsigned long long quota, period;
    unsigned processors = 0;
    snprintf(path, sizeof(path), "%s/cpu.max", directory);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &quota, &period) == 2 && period > 0)
        processors = (unsigned)((quota + period - 1) / period);
    fclose(file);
    return processors;
}

/* A quota may stand at any level from our own cgroup up to the root; the smallest holds. */
static unsigned cgroup_quota(void)
{
    char line[4000], directory[4100];
    unsigned smallest = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(directory, sizeof(directory), "/sys/fs/cgroup%s", line + 3);
        while (strlen(directory) >= strlen("/sys/fs/cgroup")) {
            unsigned quota = quota_of(directory);
            if (quota > 0 && (smallest == 0 || quota < smallest))
                smallest = quota;
            char *slash = strrchr(directory, '/');
            if (slash == NULL)
                break;
            *slash = '\0';
        }
    }
    fclose(file);
    return smallest;
}

unsigned processors_available(void)
{
    cpu_set_t set;
    unsigned processors = 1, quota = cgroup_quota();
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        processors = (unsigned)CPU_COUNT(&set);
    return quota > 0 && quota < processors ? quota : processors;
}
