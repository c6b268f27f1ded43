//! The canonical order of reduction: a balanced tree over rank numbers, in f32 for narrow floats, rounded
//! once: the same bits wherever the ranks are and whatever carries their messages.

use crosstie::{
    Buffers, Collective, Communicator, DataType, Error, F8E4M3, F8E5M2, Factor, Operation,
    ReduceOp, ReductionOrder, Settings, Threads, Transport, bf16, f16,
};
use crosstie_ir::Rank;

const COUNT: usize = 301;
const NARROW: [DataType; 4] = [DataType::Bf16, DataType::F16, DataType::F8E4M3, DataType::F8E5M2];
const OPS: [ReduceOp; 4] =
    [ReduceOp::Sum, ReduceOp::Product, ReduceOp::Average, ReduceOp::PreMulSum(Factor::TWO)];

/// What `rank` gives: numbers of many magnitudes, so that every rounding shows.
fn given(rank: u32, element: usize, dtype: DataType) -> f32 {
    let mixed = (element as u32 * 64 + rank + 1).wrapping_mul(2_654_435_761);
    let number =
        (1.0 + (mixed >> 8 & 0xff) as f32 / 64.0) * 2_f32.powi((mixed >> 20 & 7) as i32 - 4);
    rounded(if mixed & 1 == 0 { number } else { -number }, dtype).1
}

/// The code of the nearest number of a narrow type, as bytes and as a number.
fn rounded(wide: f32, dtype: DataType) -> (Vec<u8>, f32) {
    match dtype {
        DataType::Bf16 => {
            (bf16::from_f32(wide).to_ne_bytes().to_vec(), bf16::from_f32(wide).to_f32())
        }
        DataType::F16 => (f16::from_f32(wide).to_ne_bytes().to_vec(), f16::from_f32(wide).to_f32()),
        DataType::F8E4M3 => {
            (vec![F8E4M3::from_f32(wide).to_bits()], F8E4M3::from_f32(wide).to_f32())
        }
        _ => (vec![F8E5M2::from_f32(wide).to_bits()], F8E5M2::from_f32(wide).to_f32()),
    }
}

/// The reduction of ranks `first..first + ranks`: the tree that the documentation promises.
fn tree(first: u32, ranks: u32, op: ReduceOp, one: &dyn Fn(u32) -> f32) -> f32 {
    if ranks == 1 {
        let own = one(first);
        return if matches!(op, ReduceOp::PreMulSum(_)) { 2.0 * own } else { own };
    }
    let half = ranks.div_ceil(2);
    let (a, b) = (tree(first, half, op, one), tree(first + half, ranks - half, op, one));
    if op == ReduceOp::Product { a * b } else { a + b }
}

/// Elements `first..first + count` of the whole reduction over `ranks`.
fn expected(first: usize, count: usize, ranks: u32, dtype: DataType, op: ReduceOp) -> Vec<u8> {
    let element = |i| {
        let sum = tree(0, ranks, op, &|rank| given(rank, i, dtype));
        rounded(if op == ReduceOp::Average { sum / ranks as f32 } else { sum }, dtype).0
    };
    (first..first + count).flat_map(element).collect()
}

fn input(rank: u32, count: usize, dtype: DataType) -> Vec<u8> {
    (0..count).flat_map(|i| rounded(given(rank, i, dtype), dtype).0).collect()
}

/// all_reduce, reduce, reduce_scatter and its v-form; in place and out of place, now and later.
fn check(comm: &mut Communicator, dtype: DataType, op: ReduceOp) -> Result<(), Error> {
    let (rank, ranks, size) = (comm.rank(), comm.size(), dtype.size());
    let send = input(rank, COUNT, dtype);
    let whole = expected(0, COUNT, ranks, dtype, op);
    let all = Operation::new(Collective::AllReduce, dtype).reducing(op);
    let mut recv = vec![0xee; send.len()];
    comm.perform(all, Buffers::OutOfPlace { send: &send, recv: &mut recv })?;
    assert_eq!(recv, whole, "{dtype} {op}: all_reduce");
    let mut buffer = send.clone();
    comm.perform(all, Buffers::InPlace(&mut buffer))?;
    assert_eq!(buffer, whole, "{dtype} {op}: all_reduce in place");

    let root = ranks - 1;
    let to_root = Operation::new(Collective::Reduce { root: Rank(root) }, dtype).reducing(op);
    buffer.clone_from(&send);
    comm.perform(to_root, Buffers::InPlace(&mut buffer))?;
    let kept = if rank == root { &whole } else { &send };
    assert_eq!(&buffer, kept, "{dtype} {op}: reduce in place, rank {rank}");

    // Blocks of 0, 1, 2, … elements, and a part of the buffer that is of no block.
    let counts: Vec<usize> = (0..ranks as usize).collect();
    let blocks = input(rank, counts.iter().sum(), dtype);
    let first: usize = counts[..rank as usize].iter().sum();
    let scatter =
        Operation::new(Collective::ReduceScatter, dtype).reducing(op).with_counts(&counts);
    let own = expected(first, counts[rank as usize], ranks, dtype, op);
    let mut recv = vec![0xee; own.len()];
    comm.perform(scatter, Buffers::OutOfPlace { send: &blocks, recv: &mut recv })?;
    assert_eq!(recv, own, "{dtype} {op}: reduce_scatter_v");
    let mut buffer = blocks.clone();
    comm.perform(scatter, Buffers::InPlace(&mut buffer))?;
    let place = first * size..first * size + own.len();
    assert_eq!(buffer[place.clone()], own, "{dtype} {op}: reduce_scatter_v in place");
    buffer[place.clone()].copy_from_slice(&blocks[place]);
    assert_eq!(buffer, blocks, "{dtype} {op}: what is outside the own block stays");
    Ok(())
}

fn worlds() -> impl Iterator<Item = (u32, u32, Transport)> {
    let one = [Transport::Loopback, Transport::SharedMemory, Transport::Tcp].map(|t| (1, t));
    let several = [(2, Transport::Auto), (3, Transport::Auto)];
    one.into_iter().chain(several).flat_map(|(nodes, transport)| {
        [2, 3, 5, 8].map(|ranks| (ranks, nodes.min(ranks), transport))
    })
}

#[test]
fn narrow_floats_are_reduced_in_a_tree_of_f32_and_rounded_once_everywhere() {
    for (ranks, nodes, transport) in worlds() {
        let settings = Settings::default();
        let settings = settings.transport(transport).reduction_order(ReductionOrder::Canonical);
        let body = |mut comm: Communicator| {
            for dtype in NARROW {
                for op in OPS {
                    check(&mut comm, dtype, op)?;
                }
            }
            Ok(())
        };
        Threads::new(ranks).nodes(nodes).settings(settings).run(body).unwrap();
    }
}

/// The check above tells the two ways apart.
#[test]
fn rounding_at_each_node_of_the_tree_gives_other_bits() {
    let dtype = DataType::F16;
    let at_each = |i| {
        let one = |rank| given(rank, i, dtype);
        let pair = |a: f32, b: f32| rounded(a + b, dtype).1;
        let sum = pair(pair(pair(one(0), one(1)), one(2)), pair(one(3), one(4)));
        rounded(sum, dtype).0
    };
    let at_each: Vec<u8> = (0..COUNT).flat_map(at_each).collect();
    assert_ne!(at_each, expected(0, COUNT, 5, dtype, ReduceOp::Sum));
}

#[test]
fn asynchronous_calls_round_once_too() {
    let settings = Settings::default().reduction_order(ReductionOrder::Canonical);
    let body = |mut comm: Communicator| {
        let own: Vec<f16> =
            (0..COUNT).map(|i| f16::from_f32(given(comm.rank(), i, DataType::F16))).collect();
        let sum = comm.owned().all_reduce_in_place(own, ReduceOp::Sum)?.wait()?;
        let sum: Vec<u8> = sum.into_iter().flat_map(f16::to_ne_bytes).collect();
        assert_eq!(sum, expected(0, COUNT, 3, DataType::F16, ReduceOp::Sum));
        Ok(())
    };
    Threads::new(3).settings(settings).run(body).unwrap();
}
