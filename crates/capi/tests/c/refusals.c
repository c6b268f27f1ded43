/* What is refused: with which code, in which words, and that nothing else is harmed. */
#include "ranks.h"

static void foreign_handles(ncclComm_t good) {
    float x = 1, y = 0;
    int n;
    ncclResult_t state;
    ncclComm_t stack = (ncclComm_t)(void *)&n;
    REFUSED(ncclCommCount(NULL, &n), ncclInvalidArgument, "null");
    REFUSED(ncclCommCount(stack, &n), ncclInvalidArgument, "never made");
    REFUSED(ncclCommCount(good, NULL), ncclInvalidArgument, "null pointer");
    REFUSED(ncclCommGetAsyncError(NULL, &state), ncclInvalidArgument, "null");
    REFUSED(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, NULL, NULL), ncclInvalidArgument, "null");
    REFUSED(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, stack, NULL), ncclInvalidArgument, "never made");
    REFUSED(ncclCommDestroy(stack), ncclInvalidArgument, "never made");
    DO(ncclCommDestroy(NULL));
    DO(ncclCommAbort(NULL));
    DO(ncclCommFinalize(NULL));
}

static void wrong_values(ncclComm_t comm) {
    float x[4] = {1, 2, 3, 4}, y[4];
    ncclRedOp_t op;
    ncclComm_t made = comm;
    void *handle;
    REFUSED(ncclAllReduce(NULL, y, 1, ncclFloat, ncclSum, comm, NULL), ncclInvalidArgument, "sendbuff");
    REFUSED(ncclAllReduce(x, NULL, 1, ncclFloat, ncclSum, comm, NULL), ncclInvalidArgument, "recvbuff");
    REFUSED(ncclAllReduce(x, x + 1, 2, ncclFloat, ncclSum, comm, NULL), ncclInvalidArgument, "overlap");
    REFUSED(ncclAllReduce(x, y, SIZE_MAX / 2, ncclFloat, ncclSum, comm, NULL), ncclInvalidArgument, "memory");
    REFUSED(ncclAllReduce(x, y, 1, (ncclDataType_t)12, ncclSum, comm, NULL), ncclInvalidArgument, "data type");
    REFUSED(ncclAllReduce(x, y, 1, ncclFloat, (ncclRedOp_t)5, comm, NULL), ncclInvalidArgument, "reduction");
    REFUSED(ncclBroadcast(x, y, 1, ncclFloat, 1, comm, NULL), ncclInvalidArgument, "root 1");
    REFUSED(ncclReduce(x, y, 1, ncclFloat, ncclSum, -1, comm, NULL), ncclInvalidArgument, "root -1");
    REFUSED(ncclSend(x, 1, ncclFloat, 7, comm, NULL), ncclInvalidArgument, "peer 7");
    REFUSED(ncclSend(x, 1, ncclFloat, 0, comm, NULL), ncclInvalidArgument, "itself");
    REFUSED(ncclRedOpCreatePreMulSum(&op, x, ncclFloat, (ncclScalarResidence_t)2, comm),
            ncclInvalidArgument, "Residence");
    DO(ncclRedOpCreatePreMulSum(&op, x, ncclFloat, ncclScalarHostImmediate, comm));
    REFUSED(ncclAllReduce(x, y, 1, ncclInt, op, comm, NULL), ncclInvalidArgument, "made for");
    REFUSED(ncclCommSplit(comm, -2, 0, &made, NULL), ncclInvalidArgument, "-2 is no color");
    REFUSED(ncclMemFree(x), ncclInvalidArgument, "ncclMemAlloc");
    REFUSED(ncclMemAlloc(&handle, SIZE_MAX / 4), ncclSystemError, "no memory");
    REFUSED(ncclCommDeregister(comm, x), ncclInvalidArgument, "registration");
    ncclWindow_t window;
    REFUSED(ncclCommWindowRegister(comm, (char *)x + 1, 4, &window, 0), ncclInvalidArgument, "ALIGNMENT");
    int excluded[2] = {1, 1};
    REFUSED(ncclCommShrink(comm, excluded, 2, &made, NULL, 0), ncclInvalidArgument, "named twice");
}

static void init_and_config(void) {
    ncclUniqueId id, none;
    ncclComm_t comm = NULL;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    memset(&none, 0, sizeof none);
    DO(ncclGetUniqueId(&id));
    REFUSED(ncclGetUniqueId(NULL), ncclInvalidArgument, "null");
    REFUSED(ncclCommInitRank(NULL, 1, id, 0), ncclInvalidArgument, "null");
    REFUSED(ncclCommInitRank(&comm, 0, id, 0), ncclInvalidArgument, "no such rank");
    REFUSED(ncclCommInitRank(&comm, 2, id, 2), ncclInvalidArgument, "no such rank");
    REFUSED(ncclCommInitRank(&comm, 1, none, 0), ncclInvalidArgument, "unique id");
    REFUSED(ncclCommInitAll(&comm, 0, NULL), ncclInvalidArgument, "0 devices");
    int twice[2] = {3, 3};
    ncclComm_t two[2];
    REFUSED(ncclCommInitAll(two, 2, twice), ncclInvalidUsage, "twice");
    ncclUniqueId ids[2] = {id, id};
    REFUSED(ncclCommInitRankScalable(&comm, 1, 0, 2, ids, NULL), ncclInvalidArgument, "2 ids for 1 ranks");
    config.blocking = 2;
    REFUSED(ncclCommInitRankConfig(&comm, 1, id, 0, &config), ncclInvalidArgument, "blocking");
    config.blocking = 1;
    config.netName = "pigeons";
    REFUSED(ncclCommInitRankConfig(&comm, 1, id, 0, &config), ncclInvalidUsage, "pigeons");
    config.netName = "Socket";
    config.magic = 7;
    REFUSED(ncclCommInitRankConfig(&comm, 1, id, 0, &config), ncclInvalidArgument, "CONFIG_INITIALIZER");
    HOLDS(comm == NULL);
}

/* What was told of a communicator goes with it. */
static void registrations_end(void) {
    ncclComm_t one, other;
    void *memory, *handle;
    ncclWindow_t window;
    DO(ncclCommInitAll(&one, 1, NULL));
    DO(ncclCommInitAll(&other, 1, NULL));
    DO(ncclMemAlloc(&memory, 8));
    DO(ncclCommRegister(one, memory, 8, &handle));
    DO(ncclCommWindowRegister(one, memory, 8, &window, NCCL_WIN_DEFAULT));
    REFUSED(ncclCommDeregister(other, handle), ncclInvalidArgument, "another communicator");
    DO(ncclCommDestroy(one));
    REFUSED(ncclCommDeregister(other, handle), ncclInvalidArgument, "no registration that is alive");
    REFUSED(ncclCommWindowDeregister(other, window), ncclInvalidArgument, "no window that is alive");
    DO(ncclMemFree(memory));
    DO(ncclCommDestroy(other));
}

/* A config of 2.14 has 24 bytes, of which the last four are padding: nothing beyond is read. */
static void old_config(void) {
    struct {
        size_t size;
        unsigned int magic, version;
        int blocking, padding;
    } *old = malloc(24);
    ncclUniqueId id;
    ncclComm_t comm, again;
    HOLDS(old != NULL && sizeof *old == 24);
    old->size = 24;
    old->magic = NCCL_API_MAGIC;
    old->version = 21400;
    old->blocking = 1;
    old->padding = -99;
    DO(ncclGetUniqueId(&id));
    DO(ncclCommInitRankConfig(&comm, 1, id, 0, (ncclConfig_t *)(void *)old));
    free(old);
    REFUSED(ncclCommInitRank(&again, 1, id, 0), ncclInvalidUsage, "an id is of one communicator");
    DO(ncclCommDestroy(comm));
}

static void ends(void) {
    ncclComm_t comm;
    float x = 1, y;
    int count;
    DO(ncclCommInitAll(&comm, 1, NULL));
    DO(ncclCommFinalize(comm));
    REFUSED(ncclCommFinalize(comm), ncclInvalidArgument, "finalized before");
    DO(ncclCommCount(comm, &count));
    DO(ncclCommDestroy(comm));
    REFUSED(ncclCommDestroy(comm), ncclInvalidArgument, "destroyed");
    REFUSED(ncclCommAbort(comm), ncclInvalidArgument, "destroyed");
    DO(ncclCommInitAll(&comm, 1, NULL));
    DO(ncclCommAbort(comm));
    REFUSED(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, comm, NULL), ncclInvalidArgument, "aborted");
    DO(ncclCommInitAll(&comm, 1, NULL));
    DO(ncclCommRevoke(comm, NCCL_REVOKE_DEFAULT));
    ncclResult_t state;
    DO(ncclCommGetAsyncError(comm, &state));
    HOLDS(state == ncclSuccess);
    REFUSED(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, comm, NULL), ncclInvalidUsage, "ncclCommRevoke");
    DO(ncclCommAbort(comm));
}

static void groups(ncclComm_t comm) {
    float x = 1, y = 0;
    REFUSED(ncclGroupEnd(), ncclInvalidUsage, "no group is open");
    /* What is refused in a group is refused at its end, and nothing of it is carried out. */
    DO(ncclGroupStart());
    DO(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, comm, NULL));
    REFUSED(ncclSend(&x, 1, ncclFloat, 3, comm, NULL), ncclInvalidArgument, "peer 3");
    REFUSED(ncclCommDestroy(comm), ncclInvalidUsage, "group");
    REFUSED(ncclGroupEnd(), ncclInvalidArgument, "peer 3");
    HOLDS(y == 0);
    DO(ncclGroupStart());
    DO(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, comm, NULL));
    REFUSED(ncclGroupSimulateEnd(NULL), ncclInvalidUsage, "not carried out");
    HOLDS(y == 0);
    DO(ncclAllReduce(&x, &y, 1, ncclFloat, ncclSum, comm, NULL));
    HOLDS(y == 1);
}

#define YET "not supported by this library yet"

static void missing(ncclComm_t comm) {
    ncclUniqueId id;
    ncclComm_t made = NULL;
    ncclParamHandle_t parameter;
    ncclWindow_t window = NULL;
    ncclWaitSignalDesc_t signal = {1, 0, 0, 0};
    REFUSED(ncclCommGetUniqueId(comm, &id), ncclInvalidUsage, YET);
    REFUSED(ncclCommGrow(comm, 2, NULL, -1, &made, NULL), ncclInvalidUsage, YET);
    REFUSED(ncclCommSuspend(comm, NCCL_SUSPEND_MEM), ncclInvalidUsage, YET);
    REFUSED(ncclCommResume(comm), ncclInvalidUsage, YET);
    REFUSED(ncclPutSignal(&id, 1, ncclChar, 0, window, 0, 0, 0, 0, comm, NULL), ncclInvalidUsage, YET);
    REFUSED(ncclSignal(0, 0, 0, 0, comm, NULL), ncclInvalidUsage, YET);
    REFUSED(ncclWaitSignal(1, &signal, comm, NULL), ncclInvalidUsage, YET);
    REFUSED(ncclParamBind(&parameter, "NCCL_ALGO"), ncclInvalidUsage, YET);
}

int main(void) {
    ncclComm_t comm;
    DO(ncclCommInitAll(&comm, 1, NULL));
    foreign_handles(comm);
    wrong_values(comm);
    init_and_config();
    registrations_end();
    old_config();
    ends();
    groups(comm);
    missing(comm);
    DO(ncclCommDestroy(comm));
    return 0;
}
