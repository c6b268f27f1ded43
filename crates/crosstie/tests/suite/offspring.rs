//! Communicators made of another one: split by color and key, and shrunk after a failure.

use std::time::Duration;

use crosstie::{Communicator, Error, ReduceOp, Settings, Threads, Transport};

const WORLDS: [(Transport, u32); 4] = [
    (Transport::Loopback, 1),
    (Transport::SharedMemory, 1),
    (Transport::Tcp, 1),
    (Transport::Auto, 2),
];

fn worlds(ranks: u32) -> impl Iterator<Item = (Transport, Threads)> {
    WORLDS.into_iter().map(move |(transport, nodes)| {
        let settings = Settings::default().transport(transport);
        let settings = settings.init_timeout(Duration::from_secs(20));
        (transport, Threads::new(ranks).nodes(nodes).settings(settings))
    })
}

fn sum_of_ranks(comm: &mut Communicator, own: u32) -> Result<u32, Error> {
    let mut sum = [own];
    comm.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
    Ok(sum[0])
}

#[test]
fn a_rank_without_a_color_gets_no_communicator_and_the_others_do() {
    for (transport, world) in worlds(5) {
        let results = world.run(|mut comm| {
            let rank = comm.rank();
            // 0 and 4 are one color, 1 and 3 another, in descending order; 2 has none.
            let color = [Some(7), Some(9), None, Some(9), Some(7)][rank as usize];
            let part = comm.split(color, -i64::from(rank))?;
            let seen = match part {
                None => None,
                Some(mut part) => Some((part.rank(), sum_of_ranks(&mut part, rank)?)),
            };
            // The old one goes on, also beside what is left of the new.
            assert_eq!(sum_of_ranks(&mut comm, rank)?, 10);
            Ok(seen)
        });
        let expected = vec![Some((1, 4)), Some((1, 4)), None, Some((0, 4)), Some((0, 4))];
        assert_eq!(results.unwrap(), expected, "{transport:?}");
    }
}

#[test]
fn nobody_may_want_a_part_and_everyone_one_of_its_own() {
    for (transport, world) in worlds(3) {
        let all = world.run(|mut comm| {
            assert!(comm.split(None, 0)?.is_none());
            let own = comm.split(Some(comm.rank()), 0)?;
            let mut own = own.expect("a color was given");
            assert_eq!((own.rank(), own.size()), (0, 1));
            assert_eq!(sum_of_ranks(&mut own, 5)?, 5);
            comm.barrier()
        });
        assert!(all.is_ok(), "{transport:?}: {all:?}");
    }
}

/// Split again and again, and kept: a thread may hold many communicators, whose calls do not mix.
#[test]
fn parts_of_parts_and_their_wholes_work_beside_each_other() {
    for (transport, world) in worlds(4) {
        let all = world.run(|mut comm| {
            let rank = comm.rank();
            let mut half = comm.split(Some(rank % 2), 0)?.expect("a color was given");
            let mut alone = half.split(Some(half.rank()), 0)?.expect("a color was given");
            let mut again = comm.split(Some(0), -i64::from(rank))?.expect("a color was given");
            for _ in 0..10 {
                let whole = comm.owned().all_reduce_in_place(vec![rank], ReduceOp::Sum)?;
                assert_eq!(sum_of_ranks(&mut half, rank)?, [2, 4][rank as usize % 2]);
                assert_eq!(sum_of_ranks(&mut alone, rank)?, rank);
                assert_eq!(sum_of_ranks(&mut again, rank)?, 6);
                assert_eq!(whole.wait()?, [6]);
            }
            assert_eq!(again.rank(), 3 - rank);
            Ok(())
        });
        assert!(all.is_ok(), "{transport:?}: {all:?}");
    }
}

/// After an abort, and again after the next one: each time those who are left go on.
#[test]
fn those_who_are_left_after_a_failure_go_on_and_again() {
    for (transport, world) in worlds(4) {
        let results = world.run_each(|mut comm| {
            let rank = comm.rank();
            // Whoever aborts while others still connect keeps them from it.
            assert_eq!(sum_of_ranks(&mut comm, rank)?, 6);
            if rank == 1 {
                comm.abort_handle().abort("the first to go");
                return Ok(0);
            }
            assert!(sum_of_ranks(&mut comm, rank).is_err());
            let mut three = comm.shrink(&[1])?;
            assert_eq!((three.size(), three.rank()), (3, [0, 9, 1, 2][rank as usize]));
            assert_eq!(sum_of_ranks(&mut three, rank)?, 5);
            if rank == 3 {
                three.abort_handle().abort("the second");
                return Ok(0);
            }
            assert!(sum_of_ranks(&mut three, rank).is_err());
            let mut two = three.shrink(&[2])?;
            sum_of_ranks(&mut two, rank + 1)
        });
        let sums: Vec<u32> = results.into_iter().map(|result| result.unwrap()).collect();
        assert_eq!(sums, [4, 0, 4, 0], "{transport:?}");
    }
}

#[test]
fn a_communicator_that_is_whole_can_shrink_and_wrong_lists_are_refused() {
    let all = Threads::new(3).run(|mut comm| {
        let rank = comm.rank();
        let refused = comm.shrink(&[rank]).unwrap_err();
        assert_eq!(refused.code().to_string(), "CT-001", "{refused:?}");
        let refused = comm.shrink(&[3]).unwrap_err();
        assert!(refused.to_string().contains("no rank 3 among 3"), "{refused:?}");
        assert_eq!(sum_of_ranks(&mut comm, rank)?, 3);
        if rank == 0 {
            return Ok(0);
        }
        let mut rest = comm.shrink(&[0])?;
        sum_of_ranks(&mut rest, rank)
    });
    assert_eq!(all.unwrap(), [0, 3, 3]);
}
