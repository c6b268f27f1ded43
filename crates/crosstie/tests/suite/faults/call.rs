//! Owns the random calls of a world's ranks: every operation, alike on all ranks, with its result checked.

use crosstie::{Communicator, Error, ReduceOp};
use crosstie_testkit::random::{Random, mix};

/// What all ranks know of a call, and what each makes of it.
struct Task {
    salt: u64,
    rank: usize,
    size: usize,
    root: u32,
    count: usize,
    /// Elements of each rank, where they differ: some have none.
    counts: Vec<usize>,
}

type Outcome = Result<(Vec<u64>, Vec<u64>), Error>;

/// Some call, alike on all ranks.
pub fn random(comm: &mut Communicator, random: &mut Random) -> Result<(), Error> {
    let (salt, kind) = (random.bits(), random.below(16));
    // From nothing to half a MiB, small ones most often.
    let most = 1 << random.below(17);
    let count = random.below(most) as usize;
    let (rank, size) = (comm.rank() as usize, comm.size() as usize);
    let root = random.below(size as u64) as u32;
    let counts =
        (0..size).map(|_| random.below(most) as usize * random.below(2) as usize).collect();
    let task = Task { salt, rank, size, root, count, counts };
    let (got, expected) = match kind {
        0 => task.all_reduce(comm)?,
        1 => task.reduce_scatter(comm)?,
        2 => task.all_gather(comm)?,
        3 => task.all_to_all(comm)?,
        4 => task.broadcast(comm)?,
        5 => task.reduce(comm)?,
        6 => task.gather(comm)?,
        7 => task.scatter(comm)?,
        8 => comm.barrier().map(|()| (Vec::new(), Vec::new()))?,
        9 => task.all_gather_v(comm)?,
        10 => task.reduce_scatter_v(comm)?,
        11 => task.all_to_all_v(comm)?,
        12 => task.two_at_once(comm)?,
        13 => task.owned(comm)?,
        14 => task.around(comm, size)?,
        _ => task.around(comm, 1 + size / 2)?,
    };
    assert!(got == expected, "rank {rank} of {size}, kind {kind}, count {count}: wrong data");
    Ok(())
}

impl Task {
    fn value(&self, rank: usize, at: usize) -> u64 {
        mix(self.salt ^ (rank as u64) << 40 ^ at as u64)
    }

    fn of(&self, rank: usize, from: usize, count: usize) -> Vec<u64> {
        (from..from + count).map(|at| self.value(rank, at)).collect()
    }

    fn totals(&self, from: usize, count: usize) -> Vec<u64> {
        let total =
            |at| (0..self.size).fold(0_u64, |sum, rank| sum.wrapping_add(self.value(rank, at)));
        (from..from + count).map(total).collect()
    }

    fn is_root(&self) -> bool {
        self.rank == self.root as usize
    }

    /// Only the root's, where nobody else gets anything.
    fn at_root(&self, got: Vec<u64>, expected: Vec<u64>) -> (Vec<u64>, Vec<u64>) {
        if self.is_root() { (got, expected) } else { (Vec::new(), Vec::new()) }
    }

    fn all_reduce(&self, comm: &mut Communicator) -> Outcome {
        let mut buffer = self.of(self.rank, 0, self.count);
        comm.all_reduce_in_place(&mut buffer, ReduceOp::Sum)?;
        Ok((buffer, self.totals(0, self.count)))
    }

    fn reduce_scatter(&self, comm: &mut Communicator) -> Outcome {
        let mut part = vec![0; self.count];
        let send = self.of(self.rank, 0, self.count * self.size);
        comm.reduce_scatter(&send, &mut part, ReduceOp::Sum)?;
        Ok((part, self.totals(self.rank * self.count, self.count)))
    }

    fn all_gather(&self, comm: &mut Communicator) -> Outcome {
        let mut all = vec![0; self.count * self.size];
        comm.all_gather(&self.of(self.rank, 0, self.count), &mut all)?;
        let expected = (0..self.size).flat_map(|from| self.of(from, 0, self.count)).collect();
        Ok((all, expected))
    }

    fn all_to_all(&self, comm: &mut Communicator) -> Outcome {
        let mut all = vec![0; self.count * self.size];
        comm.all_to_all(&self.of(self.rank, 0, self.count * self.size), &mut all)?;
        let from = |from| self.of(from, self.rank * self.count, self.count);
        Ok((all, (0..self.size).flat_map(from).collect()))
    }

    fn broadcast(&self, comm: &mut Communicator) -> Outcome {
        let expected = self.of(self.root as usize, 0, self.count);
        let mut buffer = if self.is_root() { expected.clone() } else { vec![0; self.count] };
        comm.broadcast(&mut buffer, self.root)?;
        Ok((buffer, expected))
    }

    fn reduce(&self, comm: &mut Communicator) -> Outcome {
        let mut sum = vec![0; self.count];
        let send = self.of(self.rank, 0, self.count);
        comm.reduce(&send, Some(&mut sum), ReduceOp::Sum, self.root)?;
        Ok(self.at_root(sum, self.totals(0, self.count)))
    }

    fn gather(&self, comm: &mut Communicator) -> Outcome {
        let mut all = vec![0; self.count * self.size];
        comm.gather(&self.of(self.rank, 0, self.count), Some(&mut all), self.root)?;
        let expected = (0..self.size).flat_map(|from| self.of(from, 0, self.count)).collect();
        Ok(self.at_root(all, expected))
    }

    fn scatter(&self, comm: &mut Communicator) -> Outcome {
        let mut part = vec![0; self.count];
        let send = self.of(self.root as usize, 0, self.count * self.size);
        comm.scatter(Some(&send), &mut part, self.root)?;
        Ok((part, self.of(self.root as usize, self.rank * self.count, self.count)))
    }

    fn all_gather_v(&self, comm: &mut Communicator) -> Outcome {
        let mut all = vec![0; self.counts.iter().sum()];
        let send = self.of(self.rank, 0, self.counts[self.rank]);
        comm.all_gather_v(&send, &mut all, &self.counts)?;
        let from = |from: usize| self.of(from, 0, self.counts[from]);
        Ok((all, (0..self.size).flat_map(from).collect()))
    }

    fn reduce_scatter_v(&self, comm: &mut Communicator) -> Outcome {
        let count = self.counts[self.rank];
        let before = self.counts[..self.rank].iter().sum();
        let mut part = vec![0; count];
        let send = self.of(self.rank, 0, self.counts.iter().sum());
        comm.reduce_scatter_v(&send, &mut part, &self.counts, ReduceOp::Sum)?;
        Ok((part, self.totals(before, count)))
    }

    /// Each sends `counts` of itself to the next, less one to each further rank.
    fn all_to_all_v(&self, comm: &mut Communicator) -> Outcome {
        let between = |from: usize, to: usize| self.counts[(from + to) % self.size];
        let send_counts: Vec<usize> = (0..self.size).map(|to| between(self.rank, to)).collect();
        let recv_counts: Vec<usize> = (0..self.size).map(|from| between(from, self.rank)).collect();
        let send: Vec<u64> =
            (0..self.size).flat_map(|to| self.of(self.rank, to << 20, send_counts[to])).collect();
        let mut recv = vec![0; recv_counts.iter().sum()];
        comm.all_to_all_v(&send, &send_counts, &mut recv, &recv_counts)?;
        let from = |from: usize| self.of(from, self.rank << 20, recv_counts[from]);
        Ok((recv, (0..self.size).flat_map(from).collect()))
    }

    /// Two calls under way at a time, on borrowed buffers.
    fn two_at_once(&self, comm: &mut Communicator) -> Outcome {
        let own = self.of(self.rank, 0, self.count);
        let (mut sum, mut all) = (own.clone(), vec![0; self.count * self.size]);
        comm.scope(|calls| {
            let first = calls.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
            let second = calls.all_gather(&own, &mut all);
            // In this order: what comes after a call that failed only refers to it.
            first.wait()?;
            second?.wait().map(drop)
        })?;
        let gathered = (0..self.size).flat_map(|from| self.of(from, 0, self.count));
        let expected = self.totals(0, self.count).into_iter().chain(gathered).collect();
        Ok((sum.into_iter().chain(all).collect(), expected))
    }

    /// A call that the background thread drives.
    fn owned(&self, comm: &mut Communicator) -> Outcome {
        let work =
            comm.owned().all_reduce_in_place(self.of(self.rank, 0, self.count), ReduceOp::Sum)?;
        Ok((work.wait()?, self.totals(0, self.count)))
    }

    /// A group of messages among the first `part` ranks: to the next, to the one before, and to oneself.
    fn around(&self, comm: &mut Communicator, part: usize) -> Outcome {
        if self.rank >= part {
            return Ok((Vec::new(), Vec::new()));
        }
        let (next, before) = ((self.rank + 1) % part, (self.rank + part - 1) % part);
        let message = |from: usize, way: usize| self.of(from, way << 20, self.count / (way + 1));
        let sent = [0, 1, 2].map(|way| message(self.rank, way));
        let expected = [message(before, 0), message(next, 1), message(self.rank, 2)];
        let mut got = expected.each_ref().map(|message| vec![0; message.len()]);
        comm.group(|group| {
            let [first, second, third] = &mut got;
            for (way, (to, from, recv)) in
                [(next, before, first), (before, next, second), (self.rank, self.rank, third)]
                    .into_iter()
                    .enumerate()
            {
                group.send(&sent[way], to as u32);
                group.recv(recv, from as u32);
            }
        })?;
        Ok((got.concat(), expected.concat()))
    }
}
