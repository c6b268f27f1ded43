/* The peer's side of the comparison: one collective of MPI, timed call by call.
 *
 * usage: mpi_coll OPERATION MIN_BYTES MAX_BYTES FACTOR BUDGET_MS
 *   OPERATION  all_reduce (f32, sum) | all_to_all | all_gather | reduce_scatter (f32, sum); out of place
 *   BYTES      the buffer of one rank, as in nccl-tests: the larger of what it sends and receives
 *
 * Each timed call follows a barrier; a call's time is that of its slowest rank; p50 and p99 are over
 * the calls of one size. The number of calls fills BUDGET_MS, within [20, 4000], as on Crosstie's side.
 * Rank 0 prints one JSON object for each size. Every result is checked, so that what is timed is right. */
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

/* How many calls fill the budget, agreed upon by all ranks: the slowest one's estimate. */
static int calls_within(double budget_s, enum operation operation, const float *send, float *receive,
                        int whole, int part) {
    double spent = 0, slowest;
    int tries = 5;
    timed_call(operation, send, receive, whole, part);
    for (int k = 0; k < tries; k++) spent += timed_call(operation, send, receive, whole, part);
    MPI_Allreduce(&spent, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    double calls = budget_s / (slowest / tries);
    return calls < 20 ? 20 : calls > 4000 ? 4000 : (int)calls;
}

static void measure(enum operation operation, long bytes, double budget_s) {
    int rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    long part = bytes / 4 / ranks, whole = operation == ALL_REDUCE ? bytes / 4 : part * ranks;
    if (whole == 0) return;
    size_t room = ((size_t)whole * 4 + 4095) / 4096 * 4096;
    float *send = aligned_alloc(4096, room), *receive = aligned_alloc(4096, room);
    for (long i = 0; i < whole; i++) { send[i] = input(rank, i); receive[i] = -1; }

    call(operation, send, receive, (int)whole, (int)part);
    long wrong = 0, outputs = operation == REDUCE_SCATTER ? part : whole;
    for (long i = 0; i < outputs; i++) wrong += receive[i] != expected(operation, rank, ranks, i, part);
    MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);

    int calls = calls_within(budget_s, operation, send, receive, (int)whole, (int)part);
    double *own = malloc(calls * sizeof *own), *slowest = malloc(calls * sizeof *slowest);
    for (int k = -calls / 5; k < calls; k++) {
        double seconds = timed_call(operation, send, receive, (int)whole, (int)part);
        if (k >= 0) own[k] = seconds;
    }
    MPI_Reduce(own, slowest, calls, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        qsort(slowest, calls, sizeof *slowest, ascending);
        printf("{\"bytes\": %ld, \"calls\": %d, \"p50_us\": %.3f, \"p99_us\": %.3f, \"wrong\": %ld}\n", whole * 4,
               calls, slowest[calls / 2] * 1e6, slowest[calls * 99L / 100] * 1e6, wrong);
        fflush(stdout);
    }
    free(own); free(slowest); free(send); free(receive);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    enum operation operation = OPERATIONS;
    for (int k = 0; argc == 6 && k < OPERATIONS; k++)
        if (strcmp(argv[1], NAMES[k]) == 0) operation = (enum operation)k;
    if (operation == OPERATIONS) {
        fprintf(stderr, "usage: mpi_coll all_reduce|all_to_all|all_gather|reduce_scatter MIN_BYTES MAX_BYTES FACTOR BUDGET_MS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    long low = atol(argv[2]), high = atol(argv[3]), factor = atol(argv[4]);
    for (long bytes = low; bytes <= high && factor > 1; bytes *= factor)
        measure(operation, bytes, atol(argv[5]) / 1e3);
    MPI_Finalize();
    return 0;
}
