/* Every function that works, on every number of ranks, however they are driven; also as C++. */
#include "ranks.h"

#define COUNT 37
#define MOST 16

/* Element i of part p as rank r has it: small whole numbers, exact in every type used here. */
static int value(int rank, int part, int i) { return 1 + (rank * 7 + part * 3 + i) % 11; }

static int *ints(int n) {
    int *all = (int *)malloc(sizeof(int) * (size_t)n);
    HOLDS(all != NULL);
    for (int i = 0; i < n; i++) all[i] = -1;
    return all;
}

typedef struct {
    int *send[MOST];
    int *recv[MOST];
} Buffers;

/* For each rank driven here, buffers with a part for each rank; send is filled. */
static Buffers buffers(const Ranks *r) {
    Buffers b;
    memset(&b, 0, sizeof b);
    for (int i = 0; i < r->count; i++) {
        b.send[i] = ints(COUNT * r->size);
        b.recv[i] = ints(COUNT * r->size);
        for (int p = 0; p < r->size; p++)
            for (int k = 0; k < COUNT; k++) b.send[i][p * COUNT + k] = value(r->rank[i], p, k);
    }
    return b;
}

static void release(const Ranks *r, Buffers *b) {
    for (int i = 0; i < r->count; i++) {
        free(b->send[i]);
        free(b->recv[i]);
    }
}

static int sum(const Ranks *r, int part, int k) {
    int all = 0;
    for (int rank = 0; rank < r->size; rank++) all += value(rank, part, k);
    return all;
}

static void who(Ranks *r) {
    for (int i = 0; i < r->count; i++) {
        int count = -1, rank = -1, device = -1;
        ncclResult_t state = ncclInternalError;
        uint64_t bytes = 1;
        DO(ncclCommCount(r->comm[i], &count));
        DO(ncclCommUserRank(r->comm[i], &rank));
        DO(ncclCommCuDevice(r->comm[i], &device));
        DO(ncclCommGetAsyncError(r->comm[i], &state));
        DO(ncclCommMemStats(r->comm[i], ncclStatGpuMemTotal, &bytes));
        HOLDS(count == r->size && rank == r->rank[i] && device >= 0);
        HOLDS(state == ncclSuccess && bytes == 0);
    }
}

static void all_reduce(Ranks *r) {
    Buffers b = buffers(r);
    EACH(i, ncclAllReduce(b.send[i], b.recv[i], COUNT, ncclInt, ncclSum, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][k] == sum(r, 0, k));
    EACH(i, ncclAllReduce(b.send[i], b.send[i], COUNT, ncclInt, ncclSum, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(b.send[i][k] == sum(r, 0, k));
    EACH(i, ncclAllReduce(NULL, NULL, 0, ncclInt, ncclSum, r->comm[i], NULL));
    release(r, &b);
}

static void reduce_and_broadcast(Ranks *r, int root) {
    Buffers b = buffers(r);
    /* Elsewhere than at the root recvbuff may be anything. */
    EACH(i, ncclReduce(b.send[i], r->rank[i] == root ? b.recv[i] : NULL, COUNT, ncclInt, ncclSum, root,
                       r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) {
            HOLDS(b.send[i][k] == value(r->rank[i], 0, k));
            HOLDS(b.recv[i][k] == (r->rank[i] == root ? sum(r, 0, k) : -1));
        }
    EACH(i, ncclReduce(b.send[i], b.send[i], COUNT, ncclInt, ncclSum, root, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(r->rank[i] != root || b.send[i][k] == sum(r, 0, k));
    EACH(i, ncclBroadcast(r->rank[i] == root ? b.recv[i] : NULL, b.recv[i], COUNT, ncclInt, root,
                          r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][k] == sum(r, 0, k));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) b.recv[i][k] = r->rank[i] == root ? 1000 + k : -2;
    EACH(i, ncclBcast(b.recv[i], COUNT, ncclInt, root, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][k] == 1000 + k);
    release(r, &b);
}

static void all_gather_and_reduce_scatter(Ranks *r) {
    Buffers b = buffers(r);
    EACH(i, ncclAllGather(b.send[i], b.recv[i], COUNT, ncclInt, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int p = 0; p < r->size; p++)
            for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][p * COUNT + k] == value(p, 0, k));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) b.recv[i][r->rank[i] * COUNT + k] = 5 * r->rank[i] + k;
    EACH(i, ncclAllGather(b.recv[i] + r->rank[i] * COUNT, b.recv[i], COUNT, ncclInt, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int p = 0; p < r->size; p++)
            for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][p * COUNT + k] == 5 * p + k);
    EACH(i, ncclReduceScatter(b.send[i], b.recv[i], COUNT, ncclInt, ncclSum, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][k] == sum(r, r->rank[i], k));
    EACH(i, ncclReduceScatter(b.send[i], b.send[i] + r->rank[i] * COUNT, COUNT, ncclInt, ncclSum,
                              r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++)
            HOLDS(b.send[i][r->rank[i] * COUNT + k] == sum(r, r->rank[i], k));
    release(r, &b);
}

static void all_to_all(Ranks *r) {
    Buffers b = buffers(r);
    EACH(i, ncclAlltoAll(b.send[i], b.recv[i], COUNT, ncclInt, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int p = 0; p < r->size; p++)
            for (int k = 0; k < COUNT; k++)
                HOLDS(b.recv[i][p * COUNT + k] == value(p, r->rank[i], k));
    EACH(i, ncclAlltoAll(b.send[i], b.send[i], COUNT, ncclInt, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++) HOLDS(memcmp(b.send[i], b.recv[i], sizeof(int) * COUNT) == 0);
    release(r, &b);
}

static void gather_and_scatter(Ranks *r, int root) {
    Buffers b = buffers(r);
    EACH(i, ncclGather(b.send[i], r->rank[i] == root ? b.recv[i] : NULL, COUNT, ncclInt, root,
                       r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int p = 0; p < r->size; p++)
            for (int k = 0; k < COUNT; k++)
                HOLDS(b.recv[i][p * COUNT + k] == (r->rank[i] == root ? value(p, 0, k) : -1));
    EACH(i, ncclScatter(r->rank[i] == root ? b.recv[i] : NULL, b.send[i], COUNT, ncclInt, root,
                        r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) HOLDS(b.send[i][k] == value(r->rank[i], 0, k));
    /* In place at the root: its own part lies where it has to. */
    EACH(i, ncclGather(r->rank[i] == root ? b.recv[i] + root * COUNT : b.send[i], b.recv[i], COUNT,
                       ncclInt, root, r->comm[i], NULL));
    EACH(i, ncclScatter(b.recv[i], r->rank[i] == root ? b.recv[i] + root * COUNT : b.send[i], COUNT,
                        ncclInt, root, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < COUNT; k++) {
            int *own = r->rank[i] == root ? b.recv[i] + root * COUNT : b.send[i];
            HOLDS(own[k] == value(r->rank[i], 0, k));
        }
    release(r, &b);
}

static void messages(Ranks *r) {
    Buffers b = buffers(r);
    /* Around the ring, in nested groups, and to itself where it is alone. */
    DO(ncclGroupStart());
    for (int i = 0; i < r->count; i++) {
        int next = (r->rank[i] + 1) % r->size, before = (r->rank[i] + r->size - 1) % r->size;
        DO(ncclGroupStart());
        DO(ncclSend(b.send[i], COUNT, ncclInt, next, r->comm[i], NULL));
        DO(ncclGroupEnd());
        DO(ncclRecv(b.recv[i], COUNT, ncclInt, before, r->comm[i], NULL));
    }
    DO(ncclGroupEnd());
    for (int i = 0; i < r->count; i++) {
        int before = (r->rank[i] + r->size - 1) % r->size;
        for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][k] == value(before, 0, k));
    }
    /* Alone, where each rank has a thread. */
    if (r->count == 1 && r->size > 1 && r->rank[0] < 2) {
        char letter = 'a';
        if (r->rank[0] == 0) {
            letter = 'z';
            DO(ncclSend(&letter, 1, ncclChar, 1, r->comm[0], NULL));
        } else {
            DO(ncclRecv(&letter, 1, ncclChar, 0, r->comm[0], NULL));
            HOLDS(letter == 'z');
        }
    }
    release(r, &b);
}

/* Collectives and messages of several calls in one group. */
static void mixed(Ranks *r) {
    Buffers b = buffers(r);
    int more[MOST], sums[MOST];
    DO(ncclGroupStart());
    for (int i = 0; i < r->count; i++) {
        int next = (r->rank[i] + 1) % r->size, before = (r->rank[i] + r->size - 1) % r->size;
        more[i] = r->rank[i];
        if (r->rank[i] % 2 == 0) DO(ncclSend(b.send[i], COUNT, ncclInt, next, r->comm[i], NULL));
        DO(ncclAllReduce(&more[i], &sums[i], 1, ncclInt, ncclMax, r->comm[i], NULL));
        DO(ncclRecv(b.recv[i], COUNT, ncclInt, before, r->comm[i], NULL));
        if (r->rank[i] % 2 == 1) DO(ncclSend(b.send[i], COUNT, ncclInt, next, r->comm[i], NULL));
        DO(ncclBcast(&more[i], 1, ncclInt, r->size - 1, r->comm[i], NULL));
    }
    DO(ncclGroupEnd());
    for (int i = 0; i < r->count; i++) {
        int before = (r->rank[i] + r->size - 1) % r->size;
        HOLDS(sums[i] == r->size - 1 && more[i] == r->size - 1);
        for (int k = 0; k < COUNT; k++) HOLDS(b.recv[i][k] == value(before, 0, k));
    }
    release(r, &b);
}

static void multiplied(Ranks *r) {
    float factor[MOST], in[MOST], out[MOST];
    ncclRedOp_t op[MOST];
    for (int i = 0; i < r->count; i++) {
        factor[i] = 0.5f;
        in[i] = (float)(r->rank[i] * 2);
        DO(ncclRedOpCreatePreMulSum(&op[i], &factor[i], ncclFloat, ncclScalarHostImmediate, r->comm[i]));
        HOLDS(op[i] >= ncclNumOps);
        factor[i] = 100.0f;
    }
    EACH(i, ncclAllReduce(&in[i], &out[i], 1, ncclFloat, op[i], r->comm[i], NULL));
    for (int i = 0; i < r->count; i++) {
        HOLDS(out[i] == (float)(r->size * (r->size - 1) / 2));
        DO(ncclRedOpDestroy(op[i], r->comm[i]));
        /* Read when it is called: what it was before does not count. */
        DO(ncclRedOpCreatePreMulSum(&op[i], &factor[i], ncclFloat, ncclScalarDevice, r->comm[i]));
        factor[i] = 1.5f;
    }
    EACH(i, ncclAllReduce(&in[i], &out[i], 1, ncclFloat, op[i], r->comm[i], NULL));
    for (int i = 0; i < r->count; i++) {
        HOLDS(out[i] == 1.5f * (float)(r->size * (r->size - 1)));
        DO(ncclRedOpDestroy(op[i], r->comm[i]));
        REFUSED(ncclRedOpDestroy(op[i], r->comm[i]), ncclInvalidArgument, "no reduction");
    }
}

static void memory(Ranks *r) {
    void *mine[MOST], *handle, *again;
    ncclWindow_t window;
    for (int i = 0; i < r->count; i++) {
        DO(ncclMemAlloc(&mine[i], 1 << 20));
        HOLDS((uintptr_t)mine[i] % NCCL_WIN_REQUIRED_ALIGNMENT == 0);
        DO(ncclCommRegister(r->comm[i], mine[i], 1 << 20, &handle));
        DO(ncclCommWindowRegister(r->comm[i], mine[i], 1 << 20, &window, NCCL_WIN_COLL_SYMMETRIC));
        DO(ncclWinGetUserPtr(r->comm[i], window, &again));
        HOLDS(again == mine[i]);
        DO(ncclCommWindowDeregister(r->comm[i], window));
        DO(ncclCommDeregister(r->comm[i], handle));
        memset(mine[i], 1, 1 << 20);
    }
    EACH(i, ncclAllReduce(mine[i], mine[i], 1 << 20, ncclUint8, ncclSum, r->comm[i], NULL));
    for (int i = 0; i < r->count; i++) {
        for (int k = 0; k < 1 << 20; k++) HOLDS(((unsigned char *)mine[i])[k] == r->size);
        DO(ncclMemFree(mine[i]));
    }
    DO(ncclMemFree(NULL));
}

/* Even and odd ranks apart, in reverse; the last rank in neither. The children outlive the parents. */
static void split_and_end(Ranks *r) {
    ncclComm_t child[MOST], again[MOST];
    int last = r->size - 1, one[MOST], sums[MOST];
    int out_of_it = r->size > 1 ? last : -1;
    for (int i = 0; i < r->count; i++) child[i] = again[i] = (ncclComm_t)&r->size;
    EACH(i, ncclCommSplit(r->comm[i], r->rank[i] == out_of_it ? NCCL_SPLIT_NOCOLOR : r->rank[i] % 2,
                          -r->rank[i], &child[i], NULL));
    for (int i = 0; i < r->count; i++) {
        if (r->rank[i] != out_of_it) continue;
        HOLDS(child[i] == NULL);
    }
    for (int i = 0; i < r->count; i++) {
        DO(ncclCommFinalize(r->comm[i]));
        REFUSED(ncclAllReduce(one, sums, 1, ncclInt, ncclSum, r->comm[i], NULL), ncclInvalidUsage,
                "finalized");
        DO(ncclCommDestroy(r->comm[i]));
    }
    DO(ncclGroupStart());
    for (int i = 0; i < r->count; i++) {
        one[i] = r->rank[i];
        if (child[i] != NULL) DO(ncclAllReduce(&one[i], &sums[i], 1, ncclInt, ncclSum, child[i], NULL));
    }
    DO(ncclGroupEnd());
    for (int i = 0; i < r->count; i++) {
        int members = 0, total = 0, count, rank, larger = 0;
        if (child[i] == NULL) continue;
        for (int p = 0; p < r->size; p++)
            if (p != out_of_it && p % 2 == r->rank[i] % 2) members++, total += p, larger += p > r->rank[i];
        DO(ncclCommCount(child[i], &count));
        DO(ncclCommUserRank(child[i], &rank));
        HOLDS(count == members && rank == larger && sums[i] == total);
        DO(ncclCommDestroy(child[i]));
    }
}

static void body(Ranks *r) {
    who(r);
    all_reduce(r);
    for (int root = 0; root < r->size; root += r->size > 2 ? r->size - 1 : 1) {
        reduce_and_broadcast(r, root);
        gather_and_scatter(r, root);
    }
    all_gather_and_reduce_scatter(r);
    all_to_all(r);
    messages(r);
    mixed(r);
    multiplied(r);
    memory(r);
    split_and_end(r);
}

int main(int argc, char **argv) {
    int version = 0;
    DO(ncclGetVersion(&version));
    HOLDS(version == NCCL_VERSION_CODE && NCCL_VERSION(2, 30, 7) == NCCL_VERSION_CODE);
    for (int code = 0; code <= ncclNumResults; code++)
        HOLDS(strlen(ncclGetErrorString((ncclResult_t)code)) > 0);
    HOLDS(strcmp(ncclGetLastError(NULL), "") == 0);
    return run_as(argc, argv, body);
}
