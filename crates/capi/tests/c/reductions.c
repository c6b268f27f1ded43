/* Reductions that a program makes: whose they are, and when their factors are read. */
#include "ranks.h"

static float factor = 2, x = 3, y;

static ncclRedOp_t made(ncclComm_t comm, ncclScalarResidence_t residence) {
    ncclRedOp_t op;
    DO(ncclRedOpCreatePreMulSum(&op, &factor, ncclFloat, residence, comm));
    return op;
}

static void are_of_one_communicator(ncclComm_t one, ncclComm_t other) {
    ncclRedOp_t first = made(one, ncclScalarHostImmediate), second = made(other, ncclScalarHostImmediate);
    HOLDS(first != second);
    REFUSED(ncclAllReduce(&x, &y, 1, ncclFloat, first, other, NULL), ncclInvalidArgument, "no reduction");
    REFUSED(ncclRedOpDestroy(first, other), ncclInvalidArgument, "no reduction");
    DO(ncclRedOpDestroy(first, one));
    factor = 5;
    HOLDS(made(one, ncclScalarHostImmediate) != first);
    REFUSED(ncclAllReduce(&x, &y, 1, ncclFloat, first, one, NULL), ncclInvalidArgument, "no reduction");
    DO(ncclAllReduce(&x, &y, 1, ncclFloat, second, other, NULL));
    HOLDS(y == 6);
}

static void are_read_as_they_run(ncclComm_t comm) {
    ncclRedOp_t op = made(comm, ncclScalarDevice);
    factor = 1;
    DO(ncclGroupStart());
    DO(ncclAllReduce(&x, &y, 1, ncclFloat, op, comm, NULL));
    factor = 7;
    DO(ncclGroupEnd());
    HOLDS(y == 21);
}

int main(void) {
    ncclComm_t one, other;
    DO(ncclCommInitAll(&one, 1, NULL));
    DO(ncclCommInitAll(&other, 1, NULL));
    are_of_one_communicator(one, other);
    are_read_as_they_run(one);
    DO(ncclCommDestroy(one));
    DO(ncclCommDestroy(other));
    return 0;
}
