//! Speed of the host's reductions per type, operation and instruction set, against a plain copy.
//!
//! `cargo bench -p crosstie-benches --bench reduce [-- FILTER]`, where a name reads
//! `in L2/bf16 sum/avx2`. Throughput counts the bytes of all streams, reads and writes: three for
//! a reduction (two in, one out), two for a copy, so that both compare with the memory's speed.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use crosstie_exec::{Isa, Operand, Reducer};
use crosstie_ir::scalar::Ends;
use crosstie_ir::{DataType, ReduceOp};

/// Per array: all three lie in a second-level cache of 512 KiB and more.
const IN_CACHE_BYTES: usize = 128 << 10;
/// Per array: past the last-level cache of most machines.
const IN_MEMORY_BYTES: usize = 64 << 20;

fn reductions(c: &mut Criterion) {
    at_size(c, "in L2", IN_CACHE_BYTES);
    at_size(c, "in memory", IN_MEMORY_BYTES);
}

fn at_size(c: &mut Criterion, title: &str, bytes: usize) {
    let mut group = c.benchmark_group(title);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(400));
    // Bytes of 0x3f and 0x40: floats of about one, no NaNs or subnormals, as in life.
    let received: Vec<u8> = (0..bytes).map(|i| 0x3f + (i % 3 == 0) as u8).collect();
    let src: Vec<u8> = (0..bytes).map(|i| 0x3f + (i % 5 == 0) as u8).collect();
    let mut dst = vec![0; bytes];

    group.throughput(Throughput::Bytes(2 * bytes as u64));
    group.bench_function("memcpy", |b| b.iter(|| black_box(&mut dst).copy_from_slice(&src)));
    group.throughput(Throughput::Bytes(3 * bytes as u64));
    for dtype in DataType::ALL {
        for op in ReduceOp::ALL {
            per_isa(&mut group, (dtype, op), &received, &src, &mut dst);
        }
    }
    group.finish();
}

fn per_isa(
    group: &mut BenchmarkGroup<'_, WallTime>,
    (dtype, op): (DataType, ReduceOp),
    received: &[u8],
    src: &[u8],
    dst: &mut [u8],
) {
    for &isa in Isa::ALL {
        let Ok(reducer) = Reducer::select_for(isa, dtype, op, 8) else { continue };
        let name = format!("{dtype} {op}/{}", isa.name());
        let ends = Ends::NONE;
        group.bench_function(name, |b| b.iter(|| reducer.combine(received, src, dst, ends)));
        let name = format!("{dtype} {op}/{} in place", isa.name());
        let onto = Operand::Src;
        group.bench_function(name, |b| b.iter(|| reducer.combine_in_place(onto, src, dst, ends)));
    }
}

criterion_group!(benches, reductions);
criterion_main!(benches);
