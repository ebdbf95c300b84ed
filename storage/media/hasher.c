/*
 * The hasher's thread and its queue. Workers ask through hasher_ask and never wait for it; the
 * thread opens each file for itself, hashes it and puts the outcome into the hash store. It never
 * touches a cache or a media_file: those belong to their worker.
 */
#include "storage/media/hasher_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A file up to this size stays in the page cache after it was hashed: it was asked for a moment
 * ago. */
#define KEEP_BYTES_MAX (UINT64_C(16) << 20)
/* Politer than the workers, for the processor and (where the scheduler looks) for the disk. */
#define NICENESS       10

struct job {
    struct file_identity identity;
    char path[MEDIA_PATH_MAX + 1];
};

struct hasher {
    const struct path_root *root;  /* borrowed */
    struct hash_store *hashes;     /* borrowed */
    struct content_reader *reader; /* owns; the thread's */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job came, or stop */
    struct job *queue;      /* owns; a ring of queue_max */
    uint32_t queue_max, head, waiting;
    uint64_t asked, refused; /* `asked` is the latest ticket */

    atomic_bool stop;              /* written under the lock, read anywhere */
    atomic_uint_fast64_t finished; /* tickets are finished in their order */
    atomic_uint_fast64_t files_hashed, bytes_hashed, files_abandoned;
};

/* ---- the thread
 * -------------------------------------------------------------------------------------- */

static bool go_on(void *context, uint64_t bytes)
{
    struct hasher *hasher = context;
    hasher_count_bytes(hasher, bytes);
    return !atomic_load_explicit(&hasher->stop, memory_order_relaxed);
}

/* Waits until a fresh version's change time tells it from the next one, or until stop. */
static void settle(struct hasher *hasher, const struct file_identity *identity)
{
    uint64_t wait_ns = content_settle_ns(identity, content_now_ns());
    if (wait_ns == 0)
        return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / 1000000000U);
    until.tv_nsec = (long)(ns % 1000000000U);

    pthread_mutex_lock(&hasher->lock);
    while (!atomic_load_explicit(&hasher->stop, memory_order_relaxed) &&
           pthread_cond_timedwait(&hasher->changed, &hasher->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&hasher->lock);
}

static int hash_open_file(struct hasher *hasher, int fd, const struct job *job)
{
    struct file_identity identity;
    int error = file_identify(fd, &identity, NULL);
    if (error)
        return error;
    if (!file_identity_equal(&identity, &job->identity))
        return -EBUSY; /* replaced since; the new version is asked for by who opens it */

    settle(hasher, &identity);
    struct content_hash hash;
    error =
        content_reader_hash(hasher->reader, fd, &identity, KEEP_BYTES_MAX, go_on, hasher, &hash);
    if (!error)
        hash_store_put(hasher->hashes, &identity, &hash);
    return error;
}

static void work_on(struct hasher *hasher, const struct job *job)
{
    /* Another worker may have asked for the same file, and another process may have hashed it. */
    struct content_hash known;
    if (hash_store_find(hasher->hashes, &job->identity, &known))
        return;
    hash_store_refresh(hasher->hashes);
    if (hash_store_find(hasher->hashes, &job->identity, &known))
        return;

    int fd = path_open(hasher->root, media_relative_path(job->path), 0);
    int error = fd < 0 ? fd : hash_open_file(hasher, fd, job);
    if (fd >= 0)
        close(fd);
    if (error != -ECANCELED)
        hasher_count_file(hasher, error == 0);
}

/* False when it is time to stop. */
static bool take_job(struct hasher *hasher, struct job *job)
{
    pthread_mutex_lock(&hasher->lock);
    while (!atomic_load_explicit(&hasher->stop, memory_order_relaxed) && hasher->waiting == 0)
        pthread_cond_wait(&hasher->changed, &hasher->lock);
    bool stop = atomic_load_explicit(&hasher->stop, memory_order_relaxed);
    if (!stop) {
        *job = hasher->queue[hasher->head];
        hasher->head = (hasher->head + 1) % hasher->queue_max;
        hasher->waiting--;
    }
    pthread_mutex_unlock(&hasher->lock);
    return !stop;
}

static void *run(void *context)
{
    struct hasher *hasher = context;
    (void)pthread_setname_np(pthread_self(), "media-hasher");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS); /* Linux: this thread only */

    struct job job;
    while (take_job(hasher, &job)) {
        work_on(hasher, &job);
        /* Release: who sees the ticket finished finds its hash in the store. */
        atomic_fetch_add_explicit(&hasher->finished, 1, memory_order_release);
    }
    return NULL;
}

/* ---- what the others call
 * ----------------------------------------------------------------------------- */

/* The process's signals are for the threads that expect them. */
static int start(struct hasher *hasher)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&hasher->thread, NULL, run, hasher);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    hasher->started = error == 0;
    return -error;
}

int hasher_create(struct hasher **out, const struct path_root *root, struct hash_store *hashes,
                  uint32_t queue_max)
{
    if (queue_max == 0)
        return -EINVAL;
    struct hasher *hasher = calloc(1, sizeof(*hasher));
    if (!hasher)
        return -ENOMEM;
    hasher->root = root;
    hasher->hashes = hashes;
    hasher->queue_max = queue_max;
    pthread_mutex_init(&hasher->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&hasher->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    hasher->queue = calloc(queue_max, sizeof(*hasher->queue));
    int error = hasher->queue ? content_reader_create(&hasher->reader) : -ENOMEM;
    if (!error)
        error = start(hasher);
    if (error) {
        hasher_destroy(&hasher);
        return error;
    }
    *out = hasher;
    return 0;
}

void hasher_destroy(struct hasher **hasher)
{
    struct hasher *ending = *hasher;
    if (!ending)
        return;
    if (ending->started) {
        pthread_mutex_lock(&ending->lock);
        atomic_store_explicit(&ending->stop, true, memory_order_relaxed);
        pthread_cond_signal(&ending->changed);
        pthread_mutex_unlock(&ending->lock);
        pthread_join(ending->thread, NULL);
    }
    content_reader_destroy(&ending->reader);
    pthread_cond_destroy(&ending->changed);
    pthread_mutex_destroy(&ending->lock);
    free(ending->queue);
    free(ending);
    *hasher = NULL;
}

uint64_t hasher_ask(struct hasher *hasher, const char *path, size_t path_length,
                    const struct file_identity *identity)
{
    uint64_t ticket = 0;
    pthread_mutex_lock(&hasher->lock);
    if (path_length > MEDIA_PATH_MAX || hasher->waiting == hasher->queue_max) {
        hasher->refused++;
    } else {
        struct job *job = &hasher->queue[(hasher->head + hasher->waiting) % hasher->queue_max];
        job->identity = *identity;
        memcpy(job->path, path, path_length);
        job->path[path_length] = '\0';
        hasher->waiting++;
        ticket = ++hasher->asked;
        pthread_cond_signal(&hasher->changed);
    }
    pthread_mutex_unlock(&hasher->lock);
    return ticket;
}

bool hasher_is_through(const struct hasher *hasher, uint64_t ticket)
{
    return atomic_load_explicit(&hasher->finished, memory_order_acquire) >= ticket;
}

void hasher_count_bytes(struct hasher *hasher, uint64_t bytes)
{
    atomic_fetch_add_explicit(&hasher->bytes_hashed, bytes, memory_order_relaxed);
}

void hasher_count_file(struct hasher *hasher, bool hashed)
{
    atomic_fetch_add_explicit(hashed ? &hasher->files_hashed : &hasher->files_abandoned, 1,
                              memory_order_relaxed);
}

void hasher_stats(struct hasher *hasher, struct media_hash_stats *out)
{
    pthread_mutex_lock(&hasher->lock);
    out->queue_length =
        hasher->asked - atomic_load_explicit(&hasher->finished, memory_order_acquire);
    out->queue_refused = hasher->refused;
    pthread_mutex_unlock(&hasher->lock);
    out->files_hashed = atomic_load_explicit(&hasher->files_hashed, memory_order_relaxed);
    out->bytes_hashed = atomic_load_explicit(&hasher->bytes_hashed, memory_order_relaxed);
    out->files_abandoned = atomic_load_explicit(&hasher->files_abandoned, memory_order_relaxed);
}
