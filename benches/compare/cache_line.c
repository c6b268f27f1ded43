/* The floor under a tiny operation: how long a cache line takes to another process and back.
 *
 * usage: cache_line
 * Two processes on two cores take turns to count up one word of shared memory; prints one JSON object.
 * The best of the batches is what the hardware does, the median what a busy machine makes of it. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 400, ROUNDS = 500 };

/* Puts this process on the given one of the allowed cores. */
static void pin(const cpu_set_t *allowed, int number) {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, allowed) && number-- == 0) CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first to move turns even numbers into odd ones, the other odd ones into even. */
static void play(atomic_long *word, long turn, double *batches_ns) {
    for (int batch = 0; batch < BATCHES; batch++) {
        double began = now_ns();
        for (int k = 0; k < ROUNDS; k++, turn += 2) {
            while (atomic_load_explicit(word, memory_order_acquire) != turn) {}
            atomic_store_explicit(word, turn + 1, memory_order_release);
        }
        batches_ns[batch] = (now_ns() - began) / ROUNDS;
    }
}

int main(void) {
    atomic_long *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static double batches_ns[BATCHES];
    if (word == MAP_FAILED) return perror("mmap"), 1;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2)
        return fprintf(stderr, "two cores are needed\n"), 1;
    pid_t child = fork();
    if (child < 0) return perror("fork"), 1;
    pin(&allowed, child == 0);
    play(word, child == 0, batches_ns);
    if (child == 0) return 0;
    waitpid(child, NULL, 0);
    qsort(batches_ns, BATCHES, sizeof *batches_ns, ascending);
    printf("{\"best_ns\": %.1f, \"median_ns\": %.1f}\n", batches_ns[0], batches_ns[BATCHES / 2]);
    return 0;
}
