//! Exact inputs are what they promise: their results are those of the scalar reference, in whatever
//! order it is applied, and no wrong byte passes.
#![cfg(test)]

use crosstie_ir::exact::{Case, Exact};
use crosstie_ir::scalar::{Ends, Reduction};
use crosstie_ir::{Collective, DataType, Factor, MAX_RANKS, ReduceOp};

fn case(collective: Collective, dtype: DataType, op: ReduceOp, ranks: u32, count: usize) -> Case {
    Case { collective, dtype, op, ranks, count }
}

fn input(exact: &Exact, rank: u32) -> Vec<u8> {
    let mut input = vec![0; exact.case().input_bytes()];
    exact.fill_input(rank, &mut input);
    input
}

/// Reduces one input after the other: the first is multiplied, the last sum divided.
fn reduced(case: &Case, mut inputs: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let reduction = Reduction::new(case.dtype, case.op, case.ranks).unwrap();
    let first = inputs.next().unwrap();
    let mut result = vec![0; first.len()];
    let ends = |left| Ends { pre: true, finish: left == 0 };
    reduction.value(ends(inputs.len()), None, &first, &mut result).unwrap();
    while let Some(input) = inputs.next() {
        let received = result.clone();
        reduction.value(ends(inputs.len()), Some(&received), &input, &mut result).unwrap();
    }
    result
}

/// Every operation, as exact inputs exist for it.
fn ops(dtype: DataType) -> Vec<ReduceOp> {
    let factors: &[Factor] = match dtype.integer_range() {
        Some(_) => &[3.into()],
        None => &[0.5.into(), (-1).into()],
    };
    let scaled = factors.iter().copied().map(ReduceOp::PreMulSum);
    ReduceOp::ALL.into_iter().chain(scaled).collect()
}

#[test]
fn reductions_are_exact_in_every_type_from_either_end() {
    for dtype in DataType::ALL {
        for op in ops(dtype) {
            for ranks in [1, 2, 3, 7, 8, 16, 17, 64, 65, 300, 1000] {
                let case = case(Collective::AllReduce, dtype, op, ranks, 67);
                let exact = Exact::new(case, 3);
                let up = reduced(&case, (0..ranks).map(|rank| input(&exact, rank)));
                let down = reduced(&case, (0..ranks).rev().map(|rank| input(&exact, rank)));
                assert_eq!(exact.wrong(0, &up), 0, "{dtype} {op} of {ranks} ranks");
                assert_eq!(exact.wrong(0, &down), 0, "{dtype} {op} of {ranks} ranks, reversed");
            }
        }
    }
}

#[test]
fn reductions_of_narrow_floats_are_exact_over_the_most_ranks_there_are() {
    for dtype in [DataType::F8E4M3, DataType::F8E5M2] {
        for op in [ReduceOp::Sum, ReduceOp::Product] {
            let case = case(Collective::AllReduce, dtype, op, MAX_RANKS, 8);
            let exact = Exact::new(case, 1);
            let inputs = (0..MAX_RANKS as usize).map(|rank| input(&exact, rank as u32));
            assert_eq!(exact.wrong(0, &reduced(&case, inputs)), 0, "{dtype} {op}");
        }
    }
}

#[test]
fn a_product_that_lacks_a_rank_or_has_one_twice_is_wrong() {
    for dtype in DataType::ALL {
        for ranks in [1, 2, 8, 64, 1000] {
            let case = case(Collective::AllReduce, dtype, ReduceOp::Product, ranks, 256);
            let exact = Exact::new(case, 1);
            for other in [0, ranks / 2, ranks - 1] {
                let all: Vec<u32> = (0..ranks).collect();
                let (lacking, twice) = (all.iter().filter(|&&r| r != other), all.iter());
                let lacking: Vec<u32> = lacking.copied().collect();
                let twice: Vec<u32> = twice.chain([&other]).copied().collect();
                for ranks in [lacking, twice].into_iter().filter(|ranks| !ranks.is_empty()) {
                    let product = reduced(&case, ranks.iter().map(|&rank| input(&exact, rank)));
                    assert!(exact.wrong(0, &product) > 0, "{dtype}: {other} of {}", ranks.len());
                }
            }
        }
    }
}

#[test]
fn a_sum_that_lacks_a_rank_is_wrong_however_many_there_are() {
    for ranks in [2, 64, 256, 1000, 5000] {
        let case = case(Collective::AllReduce, DataType::Bf16, ReduceOp::Sum, ranks, 1024);
        let exact = Exact::new(case, 1);
        for missing in [0, ranks / 2, ranks - 1] {
            let rest: Vec<u32> = (0..ranks).filter(|&rank| rank != missing).collect();
            let sum = reduced(&case, rest.iter().map(|&rank| input(&exact, rank)));
            assert!(exact.wrong(0, &sum) > 0, "{ranks} ranks without {missing}");
        }
    }
}

#[test]
fn reduce_scatter_expects_part_r_of_the_reduction() {
    let case = case(Collective::ReduceScatter, DataType::U8, ReduceOp::Sum, 3, 4099);
    let exact = Exact::new(case, 2);
    let whole = reduced(&case, (0..3).map(|rank| input(&exact, rank)));
    for rank in 0..3 {
        assert_eq!(exact.wrong(rank, &whole[case.output_in_place(rank)]), 0);
    }
}

#[test]
fn all_to_all_expects_part_r_of_each_input() {
    // No multiple of a piece or a word.
    let case = case(Collective::AllToAll, DataType::U8, ReduceOp::Sum, 3, 4099);
    let exact = Exact::new(case, 7);
    let inputs = [0, 1, 2].map(|rank| input(&exact, rank));
    for rank in 0..3 {
        let mine = rank as usize * 4099..(rank as usize + 1) * 4099;
        let mut result = inputs.each_ref().map(|input| &input[mine.clone()]).concat();
        assert_eq!(exact.wrong(rank, &result), 0);
        result[4099 + 5] ^= 1;
        assert_eq!(exact.wrong(rank, &result), 1);
    }
}

#[test]
fn all_gather_expects_the_inputs_in_rank_order() {
    let case = case(Collective::AllGather, DataType::I64, ReduceOp::Sum, 3, 125);
    let exact = Exact::new(case, 9);
    let result = [0, 1, 2].map(|rank| input(&exact, rank)).concat();
    assert_eq!(exact.wrong(1, &result), 0);
}

#[test]
fn a_spoilt_result_is_wrong_in_every_element() {
    for collective in Collective::ALL {
        for dtype in DataType::ALL {
            let case = case(collective, dtype, ReduceOp::Max, 3, 1500);
            let exact = Exact::new(case, 3);
            let mut result = vec![0; case.output_bytes()];
            exact.spoil(0, &mut result);
            let elements = (result.len() / dtype.size()) as u64;
            assert_eq!(exact.wrong(0, &result), elements, "{collective:?} {dtype}");
        }
    }
}

#[test]
fn a_result_too_short_or_too_long_is_wrong() {
    let case = case(Collective::AllGather, DataType::F32, ReduceOp::Sum, 2, 10);
    let exact = Exact::new(case, 0);
    let mut result = [0, 1].map(|rank| input(&exact, rank)).concat();
    assert_eq!(exact.wrong(0, &result[..76]), 1);
    result.extend([0; 8]);
    assert_eq!(exact.wrong(0, &result), 2);
}

#[test]
fn another_iteration_gives_other_inputs() {
    for collective in Collective::ALL {
        let case = case(collective, DataType::F32, ReduceOp::Sum, 3, 1024);
        assert_ne!(input(&Exact::new(case, 1), 0), input(&Exact::new(case, 2), 0));
    }
}

#[test]
fn no_operations_means_no_bytes() {
    for collective in Collective::ALL {
        let exact = Exact::new(case(collective, DataType::F64, ReduceOp::Min, 4, 0), 0);
        exact.spoil(3, &mut []);
        assert_eq!((input(&exact, 3), exact.wrong(3, &[])), (vec![], 0));
    }
}
