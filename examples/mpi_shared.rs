//! Shares the ranks of a program that uses MPI already: the communicator is made of MPI's world, or of a part of it,
//! and both can be used side by side.
//!
//!     MPICC=mpicc cargo build --release -p crosstie-examples --features mpi --example mpi_shared
//!     mpirun -n 4 target/release/examples/mpi_shared

use std::process::ExitCode;

use crosstie::{Communicator, Error, Outcome, ReduceOp};
use mpi::traits::{Communicator as _, CommunicatorCollectives};

/// Elements of each sum.
const COUNT: usize = 100_000;

fn main() -> ExitCode {
    let Some(universe) = mpi::initialize() else {
        eprintln!("MPI was initialized before");
        return ExitCode::FAILURE;
    };
    let outcome = Outcome::from(share(&universe.world()));
    std::process::Termination::report(outcome)
}

fn share(world: &mpi::topology::SimpleCommunicator) -> Result<(), Error> {
    let mut comm = Communicator::from_mpi(world)?;
    let (rank, size) = (comm.rank(), comm.size());
    assert_eq!((rank, size), (world.rank().unsigned_abs(), world.size().unsigned_abs()));

    let mine: Vec<u32> = (0..COUNT as u32).map(|at| at * (rank + 1)).collect();
    let (mut ours, mut theirs) = (vec![0; COUNT], vec![0; COUNT]);
    comm.all_reduce(&mine, &mut ours, ReduceOp::Sum)?;
    world.all_reduce_into(&mine[..], &mut theirs[..], mpi::collective::SystemOperation::sum());
    assert_eq!(ours, theirs, "both libraries must tell the same sums");

    // A part of MPI's ranks, numbered as MPI numbers them: here the other way round.
    let color = mpi::topology::Color::with_value((rank % 2).cast_signed());
    if let Some(half) = world.split_by_color_with_key(color, -rank.cast_signed()) {
        let mut part = Communicator::from_mpi(&half)?;
        let mut ranks = vec![0; part.size() as usize];
        part.all_gather(&[rank], &mut ranks)?;
        let expected: Vec<u32> = (0..size).rev().filter(|other| other % 2 == rank % 2).collect();
        assert_eq!(ranks, expected);
        part.leave()?;
    }
    if rank == 0 {
        println!("{size} ranks of MPI: equal sums of {COUNT} elements, and two halves");
    }
    comm.leave()
}
