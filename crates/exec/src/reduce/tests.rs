//! The vector loops against the scalar reference, bit for bit, on every instruction set here.

use std::ptr::NonNull;

use crosstie_ir::{DataType, ReduceOp, scalar};
use crosstie_transport::Region;

use super::{Isa, ReduceError, Reducer};

/// Where the destination lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Apart,
    OnReceived,
    OnSrc,
}

const PLACES: [Place; 3] = [Place::Apart, Place::OnReceived, Place::OnSrc];

fn region(bytes: &mut [u8]) -> Region {
    let start = NonNull::new(bytes.as_mut_ptr()).unwrap();
    // SAFETY: the tests keep the slice alive, and touch it otherwise only after the reduction.
    unsafe { Region::from_raw_parts(start, bytes.len()) }
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.iter().copied().filter(|isa| isa.is_available())
}

fn reference(dtype: DataType, op: ReduceOp, received: &[u8], src: &[u8]) -> Vec<u8> {
    let mut out = vec![0; received.len()];
    scalar::combine(dtype, op, received, src, &mut out).unwrap();
    out
}

/// Reduces copies of the operands, so that either may be the destination.
fn reduced(reducer: Reducer, place: Place, received: &[u8], src: &[u8]) -> Vec<u8> {
    let (mut received, mut src, mut dst) =
        (received.to_vec(), src.to_vec(), vec![0xa5; received.len()]);
    let to = match place {
        Place::Apart => region(&mut dst),
        Place::OnReceived => region(&mut received),
        Place::OnSrc => region(&mut src),
    };
    reducer.reduce(region(&mut received), region(&mut src), to).unwrap();
    match place {
        Place::Apart => dst,
        Place::OnReceived => received,
        Place::OnSrc => src,
    }
}

#[track_caller]
fn assert_same(what: &str, dtype: DataType, found: &[u8], wanted: &[u8], a: &[u8], b: &[u8]) {
    if found == wanted {
        return;
    }
    let size = dtype.size();
    let at = found.iter().zip(wanted).position(|(f, w)| f != w).unwrap() / size * size;
    let hex = |bytes: &[u8]| format!("{:02x?}", &bytes[at..at + size]);
    panic!(
        "{what} of {dtype}, element {}: {} with {} gave {}, not {} (little-endian bytes)",
        at / size,
        hex(a),
        hex(b),
        hex(found),
        hex(wanted)
    );
}

/// Every operation on these operands, on every instruction set, out of place and in place.
#[track_caller]
fn check(dtype: DataType, received: &[u8], src: &[u8]) {
    for op in ReduceOp::ALL {
        let wanted = reference(dtype, op, received, src);
        for isa in available() {
            let reducer = Reducer::select_for(isa, dtype, op).unwrap();
            for place in PLACES {
                let found = reduced(reducer, place, received, src);
                let what = format!("{} {op} {place:?}", isa.name());
                assert_same(&what, dtype, &found, &wanted, received, src);
            }
        }
    }
}

/// All pairs of these elements, as two operands.
fn pairs<const N: usize>(values: &[[u8; N]]) -> (Vec<u8>, Vec<u8>) {
    let firsts = values.iter().flat_map(|a| values.iter().flat_map(|_| *a)).collect();
    let seconds = values.iter().flat_map(|_| values.iter().flat_map(|b| *b)).collect();
    (firsts, seconds)
}

/// A fixed stream of well-mixed numbers (SplitMix64).
fn mixed(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |i: u64| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

fn mixed_bytes(seed: u64, len: usize) -> Vec<u8> {
    mixed(seed).flat_map(u64::to_le_bytes).take(len).collect()
}

#[test]
fn every_pair_of_bytes_agrees_with_the_reference() {
    let values: Vec<[u8; 1]> = (0..=u8::MAX).map(|v| [v]).collect();
    let (a, b) = pairs(&values);
    check(DataType::U8, &a, &b);
}

#[test]
fn integers_at_their_edges_agree_with_the_reference() {
    let edges = [0, 1, -1, 2, -2, 7, -8, 0x7f, 0x80, 0xffff, 0x1_0000];
    let i32s = edges.iter().map(|&v| v as i32).chain([i32::MIN, i32::MIN + 1, i32::MAX]);
    let i32s = i32s.chain(mixed(1).take(80).map(|v| v as i32));
    let (a, b) = pairs(&i32s.map(i32::to_le_bytes).collect::<Vec<_>>());
    check(DataType::I32, &a, &b);

    let wide = [i64::from(i32::MIN), i64::from(i32::MAX), 1 << 32, -(1 << 32), 1 << 31];
    let i64s = edges.into_iter().chain(wide).chain([i64::MIN, i64::MIN + 1, i64::MAX]);
    let i64s = i64s.chain(mixed(2).take(80).map(|v| v as i64));
    let (a, b) = pairs(&i64s.map(i64::to_le_bytes).collect::<Vec<_>>());
    check(DataType::I64, &a, &b);
}

/// Partners that are special, or that bring sums near to ties, plus mixed ones: 256 in all.
fn bf16_partners() -> Vec<u16> {
    let special = [
        0x0000, 0x0001, 0x0002, 0x007b, 0x007f, 0x0080, 0x0081, 0x00ff, 0x0100, 0x3380, 0x3381,
        0x3b00, 0x3b80, 0x3b81, 0x3bc0, 0x3c00, 0x3f7f, 0x3f80, 0x3f81, 0x3f82, 0x4000, 0x4049,
        0x7e80, 0x7eff, 0x7f00, 0x7f7e, 0x7f7f, 0x7f80, 0x7f81, 0x7fbf, 0x7fc0, 0x7fc1, 0x7fff,
    ];
    let signed = special.into_iter().flat_map(|v| [v, v | 0x8000]);
    signed.chain(mixed(3).map(|v| v as u16)).take(256).collect()
}

#[test]
fn every_bf16_with_256_partners_agrees_with_the_reference() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for partner in bf16_partners() {
        let partners = partner.to_le_bytes().repeat(1 << 16);
        check(DataType::Bf16, &all, &partners);
    }
}

#[test]
fn special_and_mixed_floats_agree_with_the_reference() {
    let special = [
        0x0000_0000,
        0x0000_0001,
        0x0000_0002,
        0x007f_ffff,
        0x0080_0000,
        0x0080_0001,
        0x00ff_ffff,
        0x3380_0000,
        0x3380_0001,
        0x3400_0000,
        0x3f7f_ffff,
        0x3f80_0000,
        0x3f80_0001,
        0x3f80_0002,
        0x4000_0000,
        0x4b00_0000,
        0x4b80_0000,
        0x4b80_0001,
        0x7e80_0000,
        0x7eff_ffff,
        0x7f00_0000,
        0x7f7f_fffe,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7f80_0001,
        0x7fbf_ffff,
        0x7fc0_0000,
        0x7fc0_0001,
        0x7fff_ffff,
    ];
    let signed = special.into_iter().flat_map(|v| [v, v | 0x8000_0000]);
    let values = signed.chain(mixed(4).take(300).map(|v| v as u32));
    let (a, b) = pairs(&values.map(u32::to_le_bytes).collect::<Vec<_>>());
    check(DataType::F32, &a, &b);
}

#[test]
fn special_and_mixed_doubles_agree_with_the_reference() {
    let special = [
        0x0000_0000_0000_0000,
        0x0000_0000_0000_0001,
        0x0000_0000_0000_0002,
        0x000f_ffff_ffff_ffff,
        0x0010_0000_0000_0000,
        0x0010_0000_0000_0001,
        0x001f_ffff_ffff_ffff,
        0x3ca0_0000_0000_0000,
        0x3ca0_0000_0000_0001,
        0x3cb0_0000_0000_0000,
        0x3fef_ffff_ffff_ffff,
        0x3ff0_0000_0000_0000,
        0x3ff0_0000_0000_0001,
        0x4000_0000_0000_0000,
        0x4330_0000_0000_0000,
        0x4340_0000_0000_0001,
        0x7fd0_0000_0000_0000,
        0x7fe0_0000_0000_0000,
        0x7fef_ffff_ffff_fffe,
        0x7fef_ffff_ffff_ffff,
        0x7ff0_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0x7ff7_ffff_ffff_ffff,
        0x7ff8_0000_0000_0000,
        0x7ff8_0000_0000_0001,
        0x7fff_ffff_ffff_ffff,
    ];
    let signed = special.into_iter().flat_map(|v| [v, v | 1 << 63]);
    let values = signed.chain(mixed(5).take(300));
    let (a, b) = pairs(&values.map(u64::to_le_bytes).collect::<Vec<_>>());
    check(DataType::F64, &a, &b);
}

/// One reduction inside larger buffers, at given misalignments; nothing beside it may change.
fn check_placed(isa: Isa, dtype: DataType, op: ReduceOp, elements: usize, starts: [usize; 3]) {
    const MARGIN: usize = 64;
    let reducer = Reducer::select_for(isa, dtype, op).unwrap();
    let len = elements * dtype.size();
    for place in PLACES {
        let seed = (elements * 8 + starts[0]) as u64;
        let mut buffers = [0, 1, 2].map(|i| mixed_bytes(seed + i, len + 2 * MARGIN));
        let before = buffers.clone();
        let to = match place {
            Place::OnReceived => 0,
            Place::OnSrc => 1,
            Place::Apart => 2,
        };
        let spans = starts.map(|start| MARGIN - start..MARGIN - start + len);
        let wanted = {
            let [received, src, _] = &before;
            reference(dtype, op, &received[spans[0].clone()], &src[spans[1].clone()])
        };
        let views = [0, 1, 2].map(|i| region(&mut buffers[i][spans[i].clone()]));
        reducer.reduce(views[0], views[1], views[to]).unwrap();

        let mut expected = before;
        expected[to][spans[to].clone()].copy_from_slice(&wanted);
        let what = format!("{} {op} {dtype} {place:?} x{elements} {starts:?}", isa.name());
        assert!(buffers == expected, "{what}: wrong result, or bytes beside it were written");
    }
}

#[test]
fn every_length_and_misalignment_is_exact_and_touches_nothing_else() {
    let lengths = (0..=70).chain([127, 128, 129, 255, 257, 511, 1023, 1025]);
    let starts = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 2, 3], [16, 4, 8], [5, 5, 5]];
    for elements in lengths {
        for isa in available() {
            for dtype in DataType::ALL {
                for op in ReduceOp::ALL {
                    // The full cross of lengths and starts for sums, a rotation for the rest.
                    let few = starts[elements % starts.len()];
                    let chosen = if op == ReduceOp::Sum { &starts[..] } else { &[few] };
                    for &starts in chosen {
                        check_placed(isa, dtype, op, elements, starts);
                    }
                }
            }
        }
    }
}

#[test]
fn one_buffer_may_be_both_operands() {
    let mut both = mixed_bytes(9, 4 * 101);
    let mut dst = vec![0; both.len()];
    let wanted = reference(DataType::F32, ReduceOp::Sum, &both, &both);
    let operand = region(&mut both);
    let reducer = Reducer::select(DataType::F32, ReduceOp::Sum).unwrap();
    reducer.reduce(operand, operand, region(&mut dst)).unwrap();
    assert_eq!(dst, wanted);
}

#[test]
fn unequal_ragged_or_overlapping_regions_are_refused_untouched() {
    let mut memory = vec![1; 64];
    let all = region(&mut memory);
    let part = |offset, len| all.part(offset, len).unwrap();
    let reducer = Reducer::select(DataType::I32, ReduceOp::Sum).unwrap();
    let refused = |received, src, dst| reducer.reduce(received, src, dst).unwrap_err();

    let error = refused(part(0, 8), part(16, 12), part(32, 8));
    assert_eq!(error, ReduceError::Lengths { received: 8, src: 12, dst: 8, element_bytes: 4 });
    assert!(matches!(refused(part(0, 6), part(16, 6), part(32, 6)), ReduceError::Lengths { .. }));
    let overlaps = [(0, 16, 4), (0, 16, 20), (0, 4, 0), (4, 0, 0), (0, 0, 0), (0, 16, 12)];
    for (received, src, dst) in overlaps {
        let error = refused(part(received, 8), part(src, 8), part(dst, 8));
        assert!(matches!(error, ReduceError::Overlap { bytes: 8, .. }), "{error}");
    }
    assert_eq!(memory, [1; 64]);
}

#[test]
fn no_bytes_are_reduced_wherever_they_lie() {
    for dtype in DataType::ALL {
        let reducer = Reducer::select(dtype, ReduceOp::Max).unwrap();
        reducer.reduce(Region::empty(), Region::empty(), Region::empty()).unwrap();
    }
}
