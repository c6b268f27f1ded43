//! Speed of the host's reductions per type, operation and instruction set, against a plain copy.
//!
//! `cargo bench -p crosstie-benches --bench reduce [-- FILTER]`, where a name reads
//! `in L2/bfloat16 sum/avx2`. Throughput counts the bytes of all streams, reads and writes: three
//! for a reduction (two in, one out), two for a copy, so that both compare with the memory's speed.
//! `streaming 32 MiB/float sum` and its like compare plain stores with those past the cache.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use crosstie_exec::{Isa, Operand, Reducer};
use crosstie_ir::scalar::Ends;
use crosstie_ir::{DataType, ReduceOp};
use crosstie_transport::Region;

/// Per array: all three lie in a second-level cache of 512 KiB and more.
const IN_CACHE_BYTES: usize = 128 << 10;
/// Per array: past the last-level cache of most machines.
const IN_MEMORY_BYTES: usize = 64 << 20;

/// Every operation where it costs most: at the end where its first or last step applies.
fn forms() -> impl Iterator<Item = (DataType, ReduceOp, Ends)> {
    let ops = [
        ReduceOp::Sum,
        ReduceOp::Product,
        ReduceOp::Max,
        ReduceOp::Min,
        ReduceOp::Average,
        ReduceOp::pre_mul_sum(3),
    ];
    let ends = Ends { pre: true, finish: true };
    DataType::ALL.into_iter().flat_map(move |dtype| ops.map(|op| (dtype, op, ends)))
}

fn reductions(c: &mut Criterion) {
    at_size(c, "in L2", IN_CACHE_BYTES);
    at_size(c, "in memory", IN_MEMORY_BYTES);
}

fn brief<'a>(c: &'a mut Criterion, title: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(title);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(400));
    group
}

/// Bytes of 0x3f and 0x40: floats of about one, no NaNs or subnormals, as in life.
fn operand(bytes: usize, every: usize) -> Vec<u8> {
    (0..bytes).map(|i| 0x3f + u8::from(i.is_multiple_of(every))).collect()
}

fn at_size(c: &mut Criterion, title: &str, bytes: usize) {
    let mut group = brief(c, title);
    let (received, src, mut dst) = (operand(bytes, 3), operand(bytes, 5), vec![0; bytes]);
    group.throughput(Throughput::Bytes(2 * bytes as u64));
    group.bench_function("memcpy", |b| b.iter(|| black_box(&mut dst).copy_from_slice(&src)));
    group.throughput(Throughput::Bytes(3 * bytes as u64));
    for (dtype, op, ends) in forms() {
        for &isa in Isa::ALL {
            let Ok(reducer) = Reducer::select_for(isa, dtype, op, 8) else { continue };
            let name = format!("{dtype} {op}/{}", isa.name());
            group.bench_function(&name, |b| {
                b.iter(|| reducer.combine(&received, &src, &mut dst, ends));
            });
            group.bench_function(format!("{name} in place"), |b| {
                b.iter(|| reducer.combine_in_place(Operand::Src, &received, &mut dst, ends));
            });
        }
    }
    group.finish();
}

/// Sizes around that of the last-level cache.
fn streaming(c: &mut Criterion) {
    const MEBIBYTES: [usize; 9] = [1, 2, 4, 8, 12, 16, 32, 64, 128];
    let whole = [3, 5, 7].map(|every| Region::leak(operand(128 << 20, every).into()));
    for mebibytes in MEBIBYTES {
        let bytes = mebibytes << 20;
        let mut group = brief(c, &format!("streaming {mebibytes} MiB"));
        let [Some(received), Some(src), Some(dst)] = whole.map(|all| all.part(0, bytes)) else {
            continue;
        };
        group.throughput(Throughput::Bytes(2 * bytes as u64));
        group.bench_function("copy/plain", |b| b.iter(|| dst.copy_from(black_box(src))));
        group.bench_function("copy/past", |b| b.iter(|| dst.stream_from(black_box(src))));
        group.throughput(Throughput::Bytes(3 * bytes as u64));
        for dtype in [DataType::F32, DataType::Bf16] {
            let Ok(reducer) = Reducer::select(dtype, ReduceOp::Sum, 2) else { continue };
            let ends = Ends::NONE;
            group.bench_function(format!("{dtype} sum/plain"), |b| {
                b.iter(|| reducer.reduce(received, black_box(src), dst, ends));
            });
            group.bench_function(format!("{dtype} sum/past"), |b| {
                b.iter(|| reducer.reduce_streaming(received, black_box(src), dst, ends));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, reductions, streaming);
criterion_main!(benches);
