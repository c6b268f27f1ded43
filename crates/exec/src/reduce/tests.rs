//! The vector loops against the scalar reference, bit for bit, on every instruction set here.

use std::ptr::NonNull;

use crosstie_ir::scalar::{Ends, Reduction};
use crosstie_ir::{DataType, ReduceOp};
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

/// What is reduced how, at which ends.
#[derive(Debug, Clone, Copy)]
struct Form {
    dtype: DataType,
    op: ReduceOp,
    ranks: u32,
    ends: Ends,
}

const PRE: Ends = Ends { pre: true, finish: false };
const FINISH: Ends = Ends { pre: false, finish: true };

/// Every operation where it has loops of its own: in the middle, and where its step applies.
fn forms(dtype: DataType) -> Vec<Form> {
    let factor = match dtype.integer_range() {
        Some((0, _)) => ReduceOp::pre_mul_sum(11),
        Some(_) => ReduceOp::pre_mul_sum(-11),
        None => ReduceOp::pre_mul_sum(-1.0 / 3.0),
    };
    [
        (ReduceOp::Sum, Ends::NONE),
        (ReduceOp::Product, Ends::NONE),
        (ReduceOp::Min, Ends::NONE),
        (ReduceOp::Max, Ends::NONE),
        (ReduceOp::Average, FINISH),
        (factor, PRE),
    ]
    .map(|(op, ends)| Form { dtype, op, ranks: 3, ends })
    .to_vec()
}

impl Form {
    fn reducer(&self, isa: Isa) -> Reducer {
        Reducer::select_for(isa, self.dtype, self.op, self.ranks).unwrap()
    }

    fn reference(&self, received: Option<&[u8]>, src: &[u8]) -> Vec<u8> {
        let mut out = vec![0; src.len()];
        let reduction = Reduction::new(self.dtype, self.op, self.ranks).unwrap();
        reduction.value(self.ends, received, src, &mut out).unwrap();
        out
    }

    /// Reduces copies of the operands, so that either may be the destination.
    fn reduced(&self, isa: Isa, place: Place, received: &[u8], src: &[u8]) -> Vec<u8> {
        let (mut received, mut src, mut dst) =
            (received.to_vec(), src.to_vec(), vec![0xa5; received.len()]);
        let to = match place {
            Place::Apart => region(&mut dst),
            Place::OnReceived => region(&mut received),
            Place::OnSrc => region(&mut src),
        };
        let reducer = self.reducer(isa);
        reducer.reduce(region(&mut received), region(&mut src), to, self.ends).unwrap();
        match place {
            Place::Apart => dst,
            Place::OnReceived => received,
            Place::OnSrc => src,
        }
    }

    fn copied(&self, isa: Isa, place: Place, src: &[u8]) -> Vec<u8> {
        let (mut src, mut dst) = (src.to_vec(), vec![0xa5; src.len()]);
        let to = if place == Place::Apart { region(&mut dst) } else { region(&mut src) };
        self.reducer(isa).copy(region(&mut src), to, self.ends).unwrap();
        if place == Place::Apart { dst } else { src }
    }
}

fn region(bytes: &mut [u8]) -> Region {
    let start = NonNull::new(bytes.as_mut_ptr()).unwrap();
    // SAFETY: the tests keep the slice alive, and touch it otherwise only after the reduction.
    unsafe { Region::from_raw_parts(start, bytes.len()) }
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.iter().copied().filter(|isa| isa.is_available())
}

#[track_caller]
fn assert_same(isa: Isa, form: &Form, found: &[u8], wanted: &[u8], a: &[u8], b: &[u8]) {
    if found == wanted {
        return;
    }
    let size = form.dtype.size();
    let at = found.iter().zip(wanted).position(|(f, w)| f != w).unwrap() / size * size;
    let hex = |bytes: &[u8]| format!("{:02x?}", &bytes[at..at + size]);
    panic!(
        "{} {form:?}, element {}: {} with {} gave {}, not {} (little-endian bytes)",
        isa.name(),
        at / size,
        hex(a),
        hex(b),
        hex(found),
        hex(wanted)
    );
}

/// One form on these operands, on every instruction set, in these places.
#[track_caller]
fn check_form(form: &Form, places: &[Place], received: &[u8], src: &[u8]) {
    let wanted = form.reference(Some(received), src);
    for isa in available() {
        for &place in places {
            let found = form.reduced(isa, place, received, src);
            assert_same(isa, form, &found, &wanted, received, src);
        }
    }
}

/// Every form on these operands, on every instruction set, out of place and in place.
#[track_caller]
fn check(dtype: DataType, received: &[u8], src: &[u8]) {
    for form in forms(dtype) {
        check_form(&form, &PLACES, received, src);
    }
}

/// Every step alone on these elements, on every instruction set, out of place and in place.
#[track_caller]
fn check_copies(form: &Form, src: &[u8]) {
    let wanted = form.reference(None, src);
    for isa in available() {
        for place in [Place::Apart, Place::OnSrc] {
            let found = form.copied(isa, place, src);
            assert_same(isa, form, &found, &wanted, src, src);
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
fn every_pair_of_8_bit_patterns_agrees_with_the_reference() {
    let values: Vec<[u8; 1]> = (0..=u8::MAX).map(|v| [v]).collect();
    let (a, b) = pairs(&values);
    for dtype in DataType::ALL.into_iter().filter(|dtype| dtype.size() == 1) {
        check(dtype, &a, &b);
    }
}

/// Factors and divisors that overflow, underflow, or are no numbers.
#[test]
fn fp8_with_extreme_factors_and_divisors_agrees_with_the_reference() {
    let values: Vec<[u8; 1]> = (0..=u8::MAX).map(|v| [v]).collect();
    let (a, b) = pairs(&values);
    let factors = [0.0, -0.0, 1e-9, 1e-3, 0.1, 1e9, f64::INFINITY, f64::NAN];
    for dtype in [DataType::F8E4M3, DataType::F8E5M2] {
        for factor in factors {
            let form = Form { dtype, op: ReduceOp::pre_mul_sum(factor), ranks: 1, ends: PRE };
            check_form(&form, &PLACES, &a, &b);
            check_copies(&form, &a);
        }
        for ranks in [1, 2, 7, 1 << 16, u32::MAX] {
            let form = Form { dtype, op: ReduceOp::Average, ranks, ends: FINISH };
            check_form(&form, &PLACES, &a, &b);
            check_copies(&form, &a);
        }
    }
}

/// Values at which a truncated quotient by these ranks changes, and mixed ones.
fn dividends(ranks: u32) -> Vec<u64> {
    let multiples = [1, 2, 3, 1 << 8, 1 << 14, 1 << 15, 1 << 30, u64::from(u32::MAX / ranks)];
    let near = multiples.into_iter().flat_map(|k| {
        let multiple = k * u64::from(ranks);
        [multiple - 1, multiple, multiple + 1]
    });
    let near: Vec<u64> = near.collect();
    let edges = [0, i32::MAX as u64, i32::MIN as u64, i64::MAX as u64, i64::MIN as u64, u64::MAX];
    let both = near.into_iter().chain(edges).flat_map(|n| [n, n.wrapping_neg()]);
    both.chain(mixed(6).take(500)).collect()
}

#[test]
fn integer_averages_are_truncated_exactly_whatever_the_divisor() {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for ranks in [1, 2, 3, 5, 7, 100, 127, 255, 256, 641, 32_767, 32_768, 65_535, 65_536, 1 << 31] {
        let wide = dividends(ranks);
        for dtype in DataType::ALL.into_iter().filter(|dtype| dtype.integer_range().is_some()) {
            let form = Form { dtype, op: ReduceOp::Average, ranks, ends: FINISH };
            match dtype.size() {
                1 | 2 => check_copies(&form, &all),
                size => {
                    let cut = |n: &u64| n.to_le_bytes()[..size].to_vec();
                    check_copies(&form, &wide.iter().flat_map(cut).collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn integers_at_their_edges_agree_with_the_reference() {
    for (dtype, seed) in DataType::ALL.into_iter().zip(10..) {
        let Some((least, greatest)) = dtype.integer_range() else { continue };
        let edges = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xffff, 0x1_0000, 1 << 31, 1 << 32, 1 << 53];
        let edges = edges.into_iter().flat_map(|n| [n, -n]).chain([least, greatest]);
        let values = edges.chain(mixed(seed).take(80).map(i128::from));
        let bytes = |value: i128| value.to_le_bytes();
        match dtype.size() {
            1 => {} // all pairs are tested elsewhere
            2 => check_pairs(dtype, values.map(|v| bytes(v).first_chunk::<2>().copied().unwrap())),
            4 => check_pairs(dtype, values.map(|v| bytes(v).first_chunk::<4>().copied().unwrap())),
            _ => check_pairs(dtype, values.map(|v| bytes(v).first_chunk::<8>().copied().unwrap())),
        }
    }
}

fn check_pairs<const N: usize>(dtype: DataType, values: impl Iterator<Item = [u8; N]>) {
    let (a, b) = pairs(&values.collect::<Vec<_>>());
    check(dtype, &a, &b);
    for form in forms(dtype) {
        check_copies(&form, &a);
    }
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

fn f16_partners() -> Vec<u16> {
    let special = [
        0x0000, 0x0001, 0x0002, 0x0003, 0x01ff, 0x0200, 0x03fe, 0x03ff, 0x0400, 0x0401, 0x07ff,
        0x0800, 0x1000, 0x1001, 0x1400, 0x1401, 0x3800, 0x3bff, 0x3c00, 0x3c01, 0x3c02, 0x4000,
        0x4248, 0x7800, 0x7a00, 0x7bfe, 0x7bff, 0x7c00, 0x7c01, 0x7dff, 0x7e00, 0x7e01, 0x7fff,
    ];
    let signed = special.into_iter().flat_map(|v| [v, v | 0x8000]);
    signed.chain(mixed(7).map(|v| v as u16)).take(256).collect()
}

/// In one place in turn, as the three loops differ only in that.
fn check_all_16_bit_patterns(dtype: DataType, partners: Vec<u16>) {
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for form in forms(dtype) {
        check_copies(&form, &all);
        for (partner, place) in partners.iter().zip(PLACES.into_iter().cycle()) {
            let partners = partner.to_le_bytes().repeat(1 << 16);
            check_form(&form, &[place], &all, &partners);
        }
    }
}

#[test]
fn every_bf16_with_256_partners_agrees_with_the_reference() {
    check_all_16_bit_patterns(DataType::Bf16, bf16_partners());
}

#[test]
fn every_f16_with_256_partners_agrees_with_the_reference() {
    check_all_16_bit_patterns(DataType::F16, f16_partners());
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
    check_pairs(DataType::F32, values.map(u32::to_le_bytes));
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
    check_pairs(DataType::F64, values.map(u64::to_le_bytes));
}

/// One reduction inside larger buffers, at given misalignments; nothing beside it may change.
fn check_placed(isa: Isa, form: &Form, elements: usize, starts: [usize; 3]) {
    const MARGIN: usize = 64;
    let reducer = form.reducer(isa);
    let len = elements * form.dtype.size();
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
            form.reference(Some(&received[spans[0].clone()]), &src[spans[1].clone()])
        };
        let views = [0, 1, 2].map(|i| region(&mut buffers[i][spans[i].clone()]));
        reducer.reduce(views[0], views[1], views[to], form.ends).unwrap();

        let mut expected = before;
        expected[to][spans[to].clone()].copy_from_slice(&wanted);
        let what = format!("{} {form:?} {place:?} x{elements} {starts:?}", isa.name());
        assert!(buffers == expected, "{what}: wrong result, or bytes beside it were written");
    }
}

#[test]
fn every_length_and_misalignment_is_exact_and_touches_nothing_else() {
    let lengths = (0..=70).chain([127, 128, 129, 255, 256, 257, 511, 1023, 1025]);
    let starts = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 2, 3], [16, 4, 8], [5, 5, 5]];
    for elements in lengths {
        for isa in available() {
            for form in DataType::ALL.into_iter().flat_map(forms) {
                // The full cross of lengths and starts for sums, a rotation for the rest.
                let few = starts[elements % starts.len()];
                let chosen = if form.op == ReduceOp::Sum { &starts[..] } else { &[few] };
                for &starts in chosen {
                    check_placed(isa, &form, elements, starts);
                }
            }
        }
    }
}

#[test]
fn steps_alone_are_exact_at_every_length_and_touch_nothing_else() {
    for elements in (0..=70).chain([255, 256, 257, 513]) {
        for form in DataType::ALL.into_iter().flat_map(forms) {
            let (start, len) = (elements % 7, elements * form.dtype.size());
            let mut src = mixed_bytes(elements as u64, len);
            let wanted = form.reference(None, &src);
            for isa in available() {
                let mut dst = vec![0x5a; start + len + 64];
                let to = region(&mut dst[start..start + len]);
                form.reducer(isa).copy(region(&mut src), to, form.ends).unwrap();
                let expected = [vec![0x5a; start], wanted.clone(), vec![0x5a; 64]].concat();
                assert!(dst == expected, "{} {form:?} x{elements}", isa.name());
            }
        }
    }
}

/// As the plain stores: around lines, pieces, and elements that lie across lines.
#[test]
fn stores_past_the_cache_are_those_of_plain_ones() {
    for elements in [0, 1, 7, 15, 16, 63, 64, 65, 255, 257, 1000, 1023, 1024, 1031, 4099] {
        for form in DataType::ALL.into_iter().flat_map(forms) {
            let size = form.dtype.size();
            let len = elements * size;
            let (mut received, mut src) = (mixed_bytes(1, len), mixed_bytes(2, len));
            let wanted = [form.reference(Some(&received), &src), form.reference(None, &src)];
            for start in [0, size, 24, 63] {
                let mut memory = [vec![0x5a; len + 192], vec![0x5a; len + 192]];
                let at = |bytes: &[u8]| bytes.as_ptr().align_offset(64) + start;
                let [reduced, copied] = memory.each_mut().map(|bytes| {
                    let start = at(bytes);
                    region(&mut bytes[start..start + len])
                });
                let reducer = form.reducer(Isa::best());
                let (received, src) = (region(&mut received), region(&mut src));
                reducer.reduce_streaming(received, src, reduced, form.ends).unwrap();
                reducer.copy_streaming(src, copied, form.ends).unwrap();
                for (memory, wanted) in memory.iter().zip(&wanted) {
                    let (before, rest) = memory.split_at(at(memory));
                    let (found, after) = rest.split_at(len);
                    assert!(found == wanted, "{form:?} x{elements} at {start}");
                    assert!(before.iter().chain(after).all(|&byte| byte == 0x5a), "{form:?}");
                }
            }
        }
    }
}

#[test]
fn stores_past_the_cache_in_place_are_plain_and_overlaps_are_refused() {
    let form = forms(DataType::F32)[4];
    let (mut received, mut src) = (mixed_bytes(1, 4096), mixed_bytes(2, 4096));
    let wanted = form.reference(Some(&received), &src);
    let (other, own) = (region(&mut received), region(&mut src));
    let reducer = form.reducer(Isa::best());
    reducer.reduce_streaming(other, own, own, form.ends).unwrap();
    assert_eq!(src, wanted);

    let part = |offset| own.part(offset, 2048).unwrap();
    let error = reducer.reduce_streaming(part(0), part(2048), part(4), form.ends).unwrap_err();
    assert!(matches!(error, ReduceError::Overlap { .. }), "{error}");
    let error = reducer.copy_streaming(part(0), part(4), form.ends).unwrap_err();
    assert!(matches!(error, ReduceError::Overlap { .. }), "{error}");
    assert_eq!(src, wanted);
}

#[test]
fn a_step_applies_at_its_own_end_only() {
    let (received, src) = (mixed_bytes(1, 96), mixed_bytes(2, 96));
    for form in DataType::ALL.into_iter().flat_map(forms) {
        for ends in Ends::ALL {
            let form = Form { ends, ..form };
            check_form(&form, &PLACES, &received, &src);
            check_copies(&form, &src);
        }
        let stepped = matches!(form.op, ReduceOp::Average | ReduceOp::PreMulSum(_));
        assert_eq!(form.reducer(Isa::Baseline).plain_copy(), !stepped);
    }
}

#[test]
fn one_buffer_may_be_both_operands() {
    let mut both = mixed_bytes(9, 4 * 101);
    let mut dst = vec![0; both.len()];
    let form = forms(DataType::F32)[0];
    let wanted = form.reference(Some(&both), &both);
    let operand = region(&mut both);
    form.reducer(Isa::best()).reduce(operand, operand, region(&mut dst), Ends::NONE).unwrap();
    assert_eq!(dst, wanted);
}

#[test]
fn unequal_ragged_or_overlapping_regions_are_refused_untouched() {
    let mut memory = vec![1; 64];
    let all = region(&mut memory);
    let part = |offset, len| all.part(offset, len).unwrap();
    let reducer = Reducer::select(DataType::I32, ReduceOp::Average, 2).unwrap();
    let refused = |received, src, dst| reducer.reduce(received, src, dst, FINISH).unwrap_err();
    let copy_refused = |src, dst| reducer.copy(src, dst, FINISH).unwrap_err();

    let error = refused(part(0, 8), part(16, 12), part(32, 8));
    assert_eq!(error, ReduceError::Lengths { received: 8, src: 12, dst: 8, element_bytes: 4 });
    assert!(matches!(refused(part(0, 6), part(16, 6), part(32, 6)), ReduceError::Lengths { .. }));
    assert!(matches!(copy_refused(part(0, 8), part(32, 12)), ReduceError::Lengths { .. }));
    assert!(matches!(copy_refused(part(0, 6), part(32, 6)), ReduceError::Lengths { .. }));
    let overlaps = [(0, 16, 4), (0, 16, 20), (0, 4, 0), (4, 0, 0), (0, 0, 0), (0, 16, 12)];
    for (received, src, dst) in overlaps {
        let error = refused(part(received, 8), part(src, 8), part(dst, 8));
        assert!(matches!(error, ReduceError::Overlap { bytes: 8, .. }), "{error}");
    }
    assert!(matches!(copy_refused(part(0, 8), part(4, 8)), ReduceError::Overlap { .. }));
    assert_eq!(memory, [1; 64]);
}

#[test]
fn a_factor_that_an_integer_type_lacks_is_refused() {
    let error = Reducer::select(DataType::U8, ReduceOp::pre_mul_sum(0.5), 2).unwrap_err();
    assert!(matches!(error, ReduceError::Factor(_)), "{error}");
    Reducer::select(DataType::F8E4M3, ReduceOp::pre_mul_sum(0.5), 2).unwrap();
}

#[test]
fn no_bytes_are_reduced_wherever_they_lie() {
    let none = Region::empty();
    for form in DataType::ALL.into_iter().flat_map(forms) {
        form.reducer(Isa::best()).reduce(none, none, none, form.ends).unwrap();
        form.reducer(Isa::best()).copy(none, none, form.ends).unwrap();
    }
}
