/* What is left of ranks that could not connect: nothing. PROGRAM */
#include "ranks.h"
#include <dirent.h>
#include <sys/resource.h>

static int entries(const char *path) {
    DIR *directory = opendir(path);
    int count = 0;
    HOLDS(directory != NULL);
    while (readdir(directory) != NULL) count++;
    HOLDS(closedir(directory) == 0);
    return count;
}

/* Threads and files go within a moment. */
static void are_at_most(int threads, int files) {
    for (int tries = 0; tries < 5000; tries++) {
        if (entries("/proc/self/task") <= threads && entries("/proc/self/fd") <= files) return;
        usleep(1000);
    }
    HOLDS(entries("/proc/self/task") <= threads);
    HOLDS(entries("/proc/self/fd") <= files);
}

static void may_open(rlim_t files) {
    struct rlimit limit;
    HOLDS(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max = files;
    HOLDS(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Before anything is opened, with the number that is needed; no handle is left. */
static void refused_for_want_of_files(void) {
    ncclComm_t comms[64];
    for (int i = 0; i < 64; i++) comms[i] = (ncclComm_t)(void *)&comms;
    REFUSED(ncclCommInitAll(comms, 64, NULL), ncclSystemError, "open files");
    HOLDS(strstr(ncclGetLastError(NULL), "ulimit -n") != NULL);
    HOLDS(strstr(ncclGetLastError(NULL), "this host") != NULL);
    for (int i = 0; i < 64; i++) HOLDS(comms[i] == NULL);
}

/* Ranks that wait for one who never comes, again and again: a few meetings stay, and no more. */
static void failed_again_and_again(int threads, int files) {
    HOLDS(setenv("CROSSTIE_INIT_TIMEOUT", "100ms", 1) == 0);
    for (int i = 0; i < 8; i++) {
        ncclUniqueId id;
        ncclComm_t comm = NULL;
        DO(ncclGetUniqueId(&id));
        REFUSED(ncclCommInitRank(&comm, 2, id, 0), ncclTimeout, "rank 1");
        HOLDS(strstr(ncclGetLastError(NULL), "NCCL_COMM_ID") != NULL);
        HOLDS(comm == NULL);
    }
    are_at_most(threads + 5, files + 16);
}

/* All ranks of InitAll fail: one of them for a setting that it cannot have. */
static void failed_together(int threads, int files) {
    ncclComm_t comms[4] = {NULL, NULL, NULL, NULL};
    HOLDS(setenv("CROSSTIE_MEMORY_LIMIT", "1", 1) == 0);
    HOLDS(ncclCommInitAll(comms, 4, NULL) != ncclSuccess);
    for (int i = 0; i < 4; i++) HOLDS(comms[i] == NULL);
    HOLDS(unsetenv("CROSSTIE_MEMORY_LIMIT") == 0);
    are_at_most(threads, files);
}

int main(void) {
    ncclComm_t comm;
    int threads, files;
    may_open(1000);
    DO(ncclCommInitAll(&comm, 1, NULL));
    DO(ncclCommDestroy(comm));
    /* What the library keeps for the process: its port. */
    usleep(100000);
    threads = entries("/proc/self/task") + 1;
    files = entries("/proc/self/fd") + 4;
    refused_for_want_of_files();
    are_at_most(threads, files);
    failed_together(threads, files);
    failed_again_and_again(threads, files);
    return 0;
}
