/* The library in handlers of the program's end, and of a thread's: PROGRAM exit | destructor | thread. */
#include "ranks.h"

static ncclComm_t comm;
static int is_main, is_destructor;

static void sure(int holds, int line) {
    if (holds) return;
    fprintf(stderr, "late.c:%d: %s\n", line, ncclGetLastError(NULL));
    _exit(1);
}
#define SURE(condition) sure((condition), __LINE__)

/* What is refused is told; groups are not there any more; to destroy works, be it already done. */
static void use(void) {
    ncclResult_t state;
    float x = 1, y = 0;
    int n = 0;
    SURE(ncclCommCount(NULL, &n) == ncclInvalidArgument);
    SURE(strstr(ncclGetLastError(NULL), "null") != NULL);
    SURE(ncclGetLastError(comm) != NULL);
    SURE(ncclCommCount(comm, &n) == ncclSuccess && n == 1);
    SURE(ncclCommGetAsyncError(comm, &state) == ncclSuccess && state == ncclSuccess);
    if (!is_main) {
        SURE(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, comm, NULL) == ncclSuccess && y == 1);
    }
    ncclResult_t opened = ncclGroupStart();
    SURE((opened == ncclSuccess) == (ncclGroupEnd() == ncclSuccess));
    SURE(ncclCommDestroy(comm) == ncclSuccess);
    SURE(ncclCommDestroy(comm) == ncclInvalidArgument);
}

static void of_thread(void *none) {
    (void)none;
    use();
}

static void *thread(void *key) {
    int n;
    HOLDS(ncclCommCount(NULL, &n) == ncclInvalidArgument);
    HOLDS(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
    return NULL;
}

static void at_exit(void) {
    if (is_main && !is_destructor) use();
}

__attribute__((destructor)) static void destructor(void) {
    if (is_destructor) use();
}

int main(int argc, char **argv) {
    int n;
    HOLDS(argc > 1);
    /* Before the library's own handler, so that it runs after that. */
    HOLDS(atexit(at_exit) == 0);
    DO(ncclCommInitAll(&comm, 1, NULL));
    HOLDS(ncclCommCount(NULL, &n) == ncclInvalidArgument);
    if (strcmp(argv[1], "thread") == 0) {
        pthread_key_t key;
        pthread_t started;
        HOLDS(pthread_key_create(&key, of_thread) == 0);
        HOLDS(pthread_create(&started, NULL, thread, &key) == 0);
        HOLDS(pthread_join(started, NULL) == 0);
        return 0;
    }
    is_main = 1;
    is_destructor = strcmp(argv[1], "destructor") == 0;
    return 0;
}
