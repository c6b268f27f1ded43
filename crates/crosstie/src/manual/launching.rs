//! How ranks are started and find each other.
//!
//! A process learns its rank and the number of ranks from whoever started it, and meets the others in the first of
//! these ways that it is given:
//!
//! 1. a unique id, in the program or in `CROSSTIE_ID`;
//! 2. the address in `CROSSTIE_ROOT`, with a secret in `CROSSTIE_SECRET` or `CROSSTIE_SECRET_FILE`: rank 0 opens it;
//! 3. what the launcher keeps for its ranks: PMI-1 (MPICH, Intel MPI, Slurm's `--mpi=pmi2`) or PMIx (Open MPI,
//!    Slurm's `--mpi=pmix`), whose client library is looked for when the program runs;
//! 4. a Unix socket, where all ranks are on one host: so there the launcher is asked for the job's name at most;
//! 5. `MASTER_ADDR`, with the port in `CROSSTIE_PORT` or the one after `MASTER_PORT`. No secret can be had there, which
//!    is said aloud.
//!
//! One process that its environment calls one of several, but that cannot tell which, is refused: n worlds of one
//! rank would each compute something else than was meant.
//!
//! # A line for each launcher
//!
//! The lines marked *yes* are run, as they stand here, by `ci/launchers`: each must make one world of four ranks. `n1`
//! and `n2` are two hosts, `NODE` is 0 on the first and 1 on the second. *By a stand-in* is a script that sets the
//! variables that torchrun sets. `crosstie bench all_reduce -b 1M -e 1M -n 9` stands for your program: whatever calls
//! [`Communicator::from_env`](crate::Communicator::from_env).
//!
//! | launcher | started on | line | tested |
//! |---|---|---|---|
//! | `crosstie run` | one host | `crosstie run -n 4 -- crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Open MPI | one host | `mpirun -n 4 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Open MPI | first of two | `mpirun --host n1:2,n2:2 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Open MPI | first of two | `mpirun --host n1:2,n2:2 -x CROSSTIE_ROOT=n1:29400 -x CROSSTIE_SECRET crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | MPICH | one host | `mpirun -n 4 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | MPICH | first of two | `mpirun -n 4 -hosts n1:2,n2:2 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Intel MPI | one host | `mpirun -n 4 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Intel MPI | first of two | `mpirun -n 4 -ppn 2 -hosts n1,n2 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Slurm | one host | `srun -N 1 -n 4 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Slurm | first of two | `srun -N 2 -n 4 --mpi=pmix crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Slurm | first of two | `srun -N 2 -n 4 --mpi=pmi2 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | Slurm | first of two | `CROSSTIE_ROOT=n1:29400 srun -N 2 -n 4 crosstie bench all_reduce -b 1M -e 1M -n 9` | yes |
//! | torchrun | one host | `torchrun --nproc-per-node 4 --no-python crosstie bench all_reduce -b 1M -e 1M -n 9` | by a stand-in |
//! | torchrun | each of two | `torchrun --nnodes 2 --node-rank $NODE --master-addr n1 --nproc-per-node 2 --no-python crosstie bench all_reduce -b 1M -e 1M -n 9` | by a stand-in |
//! | none | each of two | `for r in 0 1; do CROSSTIE_RANK=$((2 * NODE + r)) CROSSTIE_SIZE=4 CROSSTIE_ROOT=n1:29400 crosstie bench all_reduce -b 1M -e 1M -n 9 & done; wait` | yes |
//! | Kubernetes | each pod | `CROSSTIE_RANK=$JOB_COMPLETION_INDEX CROSSTIE_SIZE=4 CROSSTIE_ROOT=job-0.job:29400 crosstie bench all_reduce -b 1M -e 1M -n 9` | no |
//! | Flux | one host | `flux run -n 4 -o pmi=pmix crosstie bench all_reduce -b 1M -e 1M -n 9` | no |
//!
//! Lines with `CROSSTIE_ROOT` need the same `CROSSTIE_SECRET` in the environment of all ranks, for example the output
//! of `openssl rand -hex 32`; their port must be free on rank 0's host.
//!
//! Open MPI refuses more ranks than a host has cores, unless `mpirun --oversubscribe` is said. No more is needed: with four
//! ranks on two cores `--mca mpi_yield_when_idle 1` made no difference, and waiting ranks of this library give their core
//! away whatever the launcher says.
//!
//! # From the program
//!
//! A program that starts its own ranks gives them rank, size and a unique id, as
//! [`Meeting::open`](crate::Meeting::open) shows. Ranks that are threads of one process need none of this:
//!
//! ```
//! let ranks = crosstie::Threads::new(3).run(|mut comm| {
//!     comm.barrier()?;
//!     Ok(comm.rank())
//! })?;
//! assert_eq!(ranks, [0, 1, 2]);
//! # Ok::<(), crosstie::Error>(())
//! ```
