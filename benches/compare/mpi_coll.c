/* The peer's side of the comparison: one collective of MPI, timed call by call.
 *
 * usage: mpi_coll OPERATION MIN_BYTES MAX_BYTES FACTOR CALLS WARMUP_CALLS SETTLE_MS
 *   OPERATION  all_reduce (f32, sum) | all_to_all | all_gather | reduce_scatter (f32, sum); out of place
 *   BYTES      the buffer of one rank, as in nccl-tests: the larger of what it sends and receives
 *
 * What is done is what `crosstie bench` does. First the largest size is called WARMUP_CALLS times, and
 * the smallest for SETTLE_MS: memory is touched, ranks are spread over the cores. Then, for each size, one
 * call is checked, WARMUP_CALLS and CALLS more are made in a row, and CALLS are timed, each after a
 * barrier; a call's time is that of its slowest rank; p50 and p99 are over the calls of one size. All
 * sizes use the same two page-aligned buffers. Rank 0 prints one JSON object for each size. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum operation { ALL_REDUCE, ALL_TO_ALL, ALL_GATHER, REDUCE_SCATTER, OPERATIONS };
static const char *const NAMES[OPERATIONS] = {"all_reduce", "all_to_all", "all_gather", "reduce_scatter"};

static void call(enum operation operation, const float *send, float *receive, int whole, int part) {
    switch (operation) {
    case ALL_REDUCE: MPI_Allreduce(send, receive, whole, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); break;
    case ALL_TO_ALL: MPI_Alltoall(send, part, MPI_FLOAT, receive, part, MPI_FLOAT, MPI_COMM_WORLD); break;
    case ALL_GATHER: MPI_Allgather(send, part, MPI_FLOAT, receive, part, MPI_FLOAT, MPI_COMM_WORLD); break;
    default: MPI_Reduce_scatter_block(send, receive, part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
}

/* What rank sends at an index: small whole numbers, so that sums are exact in any order. */
static float input(int rank, long index) { return (float)((rank * 7 + index) % 32); }

static float expected(enum operation operation, int rank, int ranks, long index, long part) {
    float sum = 0;
    switch (operation) {
    case ALL_TO_ALL: return input((int)(index / part), rank * part + index % part);
    case ALL_GATHER: return input((int)(index / part), index % part);
    case REDUCE_SCATTER: index += rank * part; /* fall through */
    default:
        for (int r = 0; r < ranks; r++) sum += input(r, index);
        return sum;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double timed_call(enum operation operation, const float *send, float *receive, int whole, int part) {
    MPI_Barrier(MPI_COMM_WORLD);
    double began = MPI_Wtime();
    call(operation, send, receive, whole, part);
    return MPI_Wtime() - began;
}

struct effort { int calls, warmup_calls; double settle_s; };

struct buffers { float *send, *receive; };

/* Elements of the whole buffer, and of one rank's part of it. */
struct elements { int whole, part; };

static struct elements elements(enum operation operation, long bytes) {
    int ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int part = (int)(bytes / 4 / ranks);
    return (struct elements){operation == ALL_REDUCE ? (int)(bytes / 4) : part * ranks, part};
}

static struct buffers touched(long bytes) {
    size_t room = ((size_t)bytes + 4095) / 4096 * 4096;
    struct buffers buffers = {aligned_alloc(4096, room), aligned_alloc(4096, room)};
    memset(buffers.send, 0, room);
    memset(buffers.receive, 0, room);
    return buffers;
}

static void settle(enum operation operation, long low, long high, struct effort effort, struct buffers b) {
    struct elements large = elements(operation, high), small = elements(operation, low);
    for (int k = 0; k < effort.warmup_calls; k++) call(operation, b.send, b.receive, large.whole, large.part);
    double began = MPI_Wtime();
    int over;
    do {
        for (int k = 0; k < 10; k++) call(operation, b.send, b.receive, small.whole, small.part);
        over = MPI_Wtime() - began > effort.settle_s;
        MPI_Bcast(&over, 1, MPI_INT, 0, MPI_COMM_WORLD);
    } while (!over);
}

/* How many elements of one call are wrong, on all ranks. */
static long check(enum operation operation, struct elements n, struct buffers b) {
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (long i = 0; i < n.whole; i++) { b.send[i] = input(rank, i); b.receive[i] = -1; }
    call(operation, b.send, b.receive, n.whole, n.part);
    long wrong = 0, outputs = operation == REDUCE_SCATTER ? n.part : n.whole;
    for (long i = 0; i < outputs; i++) wrong += b.receive[i] != expected(operation, rank, ranks, i, n.part);
    MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    return wrong;
}

static void measure(enum operation operation, long bytes, struct effort effort, struct buffers b) {
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    struct elements n = elements(operation, bytes);
    if (n.whole == 0) return;
    long wrong = check(operation, n, b);
    for (int k = 0; k < effort.warmup_calls + effort.calls; k++) call(operation, b.send, b.receive, n.whole, n.part);

    double *own = malloc(effort.calls * sizeof *own), *slowest = malloc(effort.calls * sizeof *slowest);
    for (int k = 0; k < effort.calls; k++) own[k] = timed_call(operation, b.send, b.receive, n.whole, n.part);
    MPI_Reduce(own, slowest, effort.calls, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        qsort(slowest, effort.calls, sizeof *slowest, ascending);
        printf("{\"bytes\": %ld, \"calls\": %d, \"p50_us\": %.3f, \"p99_us\": %.3f, \"wrong\": %ld}\n", n.whole * 4L,
               effort.calls, slowest[effort.calls / 2] * 1e6, slowest[effort.calls * 99L / 100] * 1e6, wrong);
        fflush(stdout);
    }
    free(own); free(slowest);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    enum operation operation = OPERATIONS;
    for (int k = 0; argc == 8 && k < OPERATIONS; k++)
        if (strcmp(argv[1], NAMES[k]) == 0) operation = (enum operation)k;
    long low = 0, high = 0, factor = 0;
    struct effort effort = {0};
    if (operation != OPERATIONS) {
        low = atol(argv[2]), high = atol(argv[3]), factor = atol(argv[4]);
        effort = (struct effort){atoi(argv[5]), atoi(argv[6]), atof(argv[7]) / 1e3};
    }
    if (low < 4 || factor < 2 || effort.calls < 1) {
        fprintf(stderr, "usage: mpi_coll all_reduce|all_to_all|all_gather|reduce_scatter "
                        "MIN_BYTES MAX_BYTES FACTOR CALLS WARMUP_CALLS SETTLE_MS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    struct buffers buffers = touched(high);
    settle(operation, low, high, effort, buffers);
    for (long bytes = low; bytes <= high; bytes *= factor) measure(operation, bytes, effort, buffers);
    free(buffers.send); free(buffers.receive);
    MPI_Finalize();
    return 0;
}
