/* What other ranks do wrong, as the ones that are left see it. PROGRAM CASE RANK FILE */
#include "ranks.h"

static ncclComm_t comm;
static int rank;

static ncclResult_t sum(int count) {
    float x[4] = {1, 2, 3, 4}, y[4];
    return ncclAllReduce(x, y, (size_t)count, ncclFloat, ncclSum, comm, NULL);
}

/* A rank dies: who waits for it is told, and so is who only asks. The rest go on without it. */
static void dies(void) {
    ncclResult_t state = ncclSuccess;
    int gone[1] = {2};
    ncclComm_t rest;
    int n = -1;
    if (rank == 2) _exit(0);
    if (rank == 0) REFUSED(sum(1), ncclRemoteError, "rank 2");
    for (int tries = 0; state == ncclSuccess && tries < 10000; tries++) {
        DO(ncclCommGetAsyncError(comm, &state));
        usleep(1000);
    }
    HOLDS(state == ncclRemoteError && strstr(ncclGetLastError(comm), "rank 2") != NULL);
    DO(ncclCommShrink(comm, gone, 1, &rest, NULL, NCCL_SHRINK_ABORT));
    DO(ncclCommAbort(comm));
    DO(ncclCommCount(rest, &n));
    HOLDS(n == 2);
    comm = rest;
    DO(sum(2));
    DO(ncclCommDestroy(comm));
}

/* Ranks whose calls differ are told so. */
static void differs(void) {
    REFUSED(sum(rank == 1 ? 2 : 1), ncclInvalidUsage, "all_reduce #1 of 2 float, sum, called by ncclAllReduce");
    HOLDS(strstr(ncclGetLastError(NULL), ".rs:") == NULL);
    DO(ncclCommAbort(comm));
}

/* Two roots of a last broadcast: nobody waits for anybody, and all are told as they leave. */
static void roots(void) {
    int x = 0;
    DO(ncclBcast(&x, 1, ncclInt, rank == 1 ? 1 : 0, comm, NULL));
    REFUSED(ncclCommDestroy(comm), ncclInvalidUsage, "broadcast #1 of 1 int32, root 1");
}

/* A message that is not the one received: both are told, with their types. */
static void messages(void) {
    float x[8] = {0};
    if (rank == 0) {
        DO(ncclSend(x, 4, ncclFloat, 1, comm, NULL));
        REFUSED(sum(1), ncclInvalidUsage, "send to rank 1 of 4 float");
    } else if (rank == 1) {
        REFUSED(ncclRecv(x, 16, ncclInt8, 0, comm, NULL), ncclInvalidUsage, "recv from rank 0 of 16 int8");
        HOLDS(strstr(ncclGetLastError(comm), "send to rank 1 of 4 float") != NULL);
    } else {
        REFUSED(sum(1), ncclInvalidUsage, "int8");
    }
    DO(ncclCommAbort(comm));
}

/* Who had no part in messages that differ leaves without a fault. */
static void bystander(void) {
    float x[8] = {0};
    if (rank == 0) DO(ncclSend(x, 4, ncclFloat, 1, comm, NULL));
    if (rank == 1) REFUSED(ncclRecv(x, 16, ncclInt8, 0, comm, NULL), ncclInvalidUsage, "recv from rank 0 of 16 int8");
    if (rank == 2) usleep(500000);
    if (rank == 2) DO(ncclCommDestroy(comm));
    else DO(ncclCommAbort(comm));
}

static ncclResult_t settled(ncclComm_t of) {
    ncclResult_t state = ncclInProgress;
    for (int tries = 0; state == ncclInProgress && tries < 20000; tries++) {
        DO(ncclCommGetAsyncError(of, &state));
        usleep(1000);
    }
    return state;
}

/* Who asks the communicator that has failed how its shrinking stands is told that, and not of the old failure. */
static void shrinks(void) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    int gone[1] = {2};
    ncclComm_t rest;
    ncclResult_t state = ncclSuccess;
    if (rank == 2) _exit(0);
    for (int tries = 0; state == ncclSuccess && tries < 10000; tries++) {
        DO(ncclCommGetAsyncError(comm, &state));
        usleep(1000);
    }
    HOLDS(state == ncclRemoteError);
    /* So that the other waits for it. */
    if (rank == 1) usleep(300000);
    config.blocking = 0;
    state = ncclCommShrink(comm, gone, 1, &rest, &config, NCCL_SHRINK_DEFAULT);
    HOLDS(state == ncclInProgress);
    DO(ncclCommGetAsyncError(comm, &state));
    HOLDS(rank == 1 || state == ncclInProgress);
    HOLDS(settled(comm) == ncclSuccess && settled(rest) == ncclSuccess);
    DO(ncclCommDestroy(comm));
    comm = rest;
    state = sum(2);
    HOLDS((state == ncclSuccess || state == ncclInProgress) && settled(comm) == ncclSuccess);
    DO(ncclCommDestroy(comm));
}

/* Those who are left do not agree who is gone: told at once, with both lists. */
static void lists(void) {
    int gone[1];
    ncclComm_t rest;
    if (rank == 2) {
        usleep(300000);
        DO(ncclCommAbort(comm));
        return;
    }
    gone[0] = rank == 0 ? 1 : 2;
    REFUSED(ncclCommShrink(comm, gone, 1, &rest, NULL, 0), ncclInvalidUsage, "[0, 2]");
    HOLDS(strstr(ncclGetLastError(comm), "[0, 1]") != NULL);
    DO(ncclCommAbort(comm));
}

static ncclUniqueId the_id;

static void *connect_in_a_group(void *none) {
    ncclResult_t code;
    DO(ncclGroupStart());
    DO(ncclCommInitRank(&comm, 3, the_id, rank));
    code = ncclGroupEnd();
    HOLDS(code != ncclSuccess && strstr(ncclGetLastError(NULL), "ncclCommAbort") != NULL);
    return none;
}

/* Aborting what connects ends it at once; who waits learns why, and so does who comes later. */
static void given_up(ncclUniqueId id) {
    pthread_t thread;
    the_id = id;
    if (rank == 0) {
        HOLDS(pthread_create(&thread, NULL, connect_in_a_group, NULL) == 0);
        usleep(500000);
        DO(ncclCommAbort(comm));
        HOLDS(pthread_join(thread, NULL) == 0);
        /* It hosts the meeting. */
        sleep(2);
        return;
    }
    if (rank == 2) sleep(1);
    REFUSED(ncclCommInitRank(&comm, 3, id, rank), ncclRemoteError, "ncclCommAbort");
}

static void *abort_soon(void *none) {
    usleep(100000);
    DO(ncclCommAbort(comm));
    return none;
}

/* A call that waits is ended by an abort from another thread, and no rank waits any more. */
static void aborts(void) {
    pthread_t thread;
    if (rank == 1) {
        HOLDS(pthread_create(&thread, NULL, abort_soon, NULL) == 0);
        HOLDS(sum(1) != ncclSuccess);
        HOLDS(pthread_join(thread, NULL) == 0);
        REFUSED(sum(1), ncclInvalidArgument, "aborted");
    } else if (rank == 0) {
        REFUSED(sum(1), ncclRemoteError, "ncclCommAbort");
        DO(ncclCommAbort(comm));
    } else {
        usleep(400000);
        REFUSED(sum(1), ncclRemoteError, "ncclCommAbort");
        DO(ncclCommDestroy(comm));
    }
}

/* As its last act a rank aborts, as some bindings do: nobody who is slower is harmed. */
static void leaves_by_abort(void) {
    for (int i = 0; i < 200; i++) DO(sum(4));
    if (rank == 0) usleep(50000);
    DO(ncclCommAbort(comm));
}

/* A program ends that has destroyed nothing: so be it. */
static void forgets(void) {
    for (int i = 0; i < 200; i++) DO(sum(4));
}

/* A rank that never comes: the others wait as long as they were told to, and are told whom they missed. */
static void missing(ncclUniqueId id) {
    HOLDS(setenv("CROSSTIE_INIT_TIMEOUT", "2", 1) == 0);
    if (rank != 2) REFUSED(ncclCommInitRank(&comm, 3, id, rank), ncclTimeout, "rank 2");
    /* It hosts the meeting: who waits a little longer would else be told of its end. */
    if (rank == 0) sleep(3);
}

/* Nobody is where the ranks are to meet: whoever was to be there has gone before, or goes while a rank comes. */
static void nobody(ncclUniqueId id) {
    ncclResult_t code;
    if (rank != 1) return;
    HOLDS(setenv("CROSSTIE_INIT_TIMEOUT", "1", 1) == 0);
    usleep(300000);
    code = ncclCommInitRank(&comm, 3, id, rank);
    HOLDS(code == ncclTimeout || code == ncclRemoteError);
    HOLDS(strstr(ncclGetLastError(NULL), "CT-") != NULL);
}

int main(int argc, char **argv) {
    ncclUniqueId id;
    HOLDS(argc > 3);
    rank = atoi(argv[2]);
    exchange_id(&id, rank, argv[3]);
    if (strcmp(argv[1], "missing") == 0) return missing(id), 0;
    if (strcmp(argv[1], "given_up") == 0) return given_up(id), 0;
    if (strcmp(argv[1], "nobody") == 0) return nobody(id), 0;
    DO(ncclCommInitRank(&comm, 3, id, rank));
    if (strcmp(argv[1], "dies") == 0) dies();
    else if (strcmp(argv[1], "differs") == 0) differs();
    else if (strcmp(argv[1], "roots") == 0) roots();
    else if (strcmp(argv[1], "aborts") == 0) aborts();
    else if (strcmp(argv[1], "messages") == 0) messages();
    else if (strcmp(argv[1], "lists") == 0) lists();
    else if (strcmp(argv[1], "bystander") == 0) bystander();
    else if (strcmp(argv[1], "shrinks") == 0) shrinks();
    else if (strcmp(argv[1], "forgets") == 0) forgets();
    else leaves_by_abort();
    return 0;
}
