//! The library as Rust programs load it that were written for NCCL: by `cudarc`, while they run.

mod support;

use std::ffi::{c_int, c_void};
use std::process::{Command, Stdio};
use std::ptr::null_mut;

use crosstie::{
    Buffers, Collective, DataType, F8E4M3, F8E5M2, Operation, ReduceOp, Threads, bf16, f16,
};
use cudarc::nccl::{result, sys};
use support::libraries;

/// Runs a test of this file in a process of its own, which finds the library by its name.
fn in_a_process_that_finds_the_library(test: &str) {
    let program = std::env::current_exe().expect("a test has a path");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    let out = command.env("LD_LIBRARY_PATH", libraries()).stdin(Stdio::null()).output();
    let out = out.expect("a test can be started");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// The ranks of this process, driven by this thread.
fn all(size: usize) -> Vec<sys::ncclComm_t> {
    let mut comms = vec![null_mut(); size];
    // SAFETY: there is room for as many communicators as ranks are asked for.
    let made = unsafe { result::comm_init_all(comms.as_mut_ptr(), size as i32, std::ptr::null()) };
    made.expect("ranks of one process connect");
    comms
}

fn number(value: f64, data_type: DataType) -> Vec<u8> {
    match data_type {
        DataType::I8 => (value as i8).to_ne_bytes().to_vec(),
        DataType::U8 => vec![value as u8],
        DataType::I32 => (value as i32).to_ne_bytes().to_vec(),
        DataType::U32 => (value as u32).to_ne_bytes().to_vec(),
        DataType::I64 => (value as i64).to_ne_bytes().to_vec(),
        DataType::U64 => (value as u64).to_ne_bytes().to_vec(),
        DataType::F16 => f16::from_f64(value).to_ne_bytes().to_vec(),
        DataType::Bf16 => bf16::from_f64(value).to_ne_bytes().to_vec(),
        DataType::F8E4M3 => vec![F8E4M3::from_f32(value as f32).to_bits()],
        DataType::F8E5M2 => vec![F8E5M2::from_f32(value as f32).to_bits()],
        DataType::F32 => (value as f32).to_ne_bytes().to_vec(),
        _ => value.to_ne_bytes().to_vec(),
    }
}

/// What a rank brings: small whole numbers, of which no reduction rounds one away.
fn input(rank: u32, count: usize, data_type: DataType) -> Vec<u8> {
    let value = |i: usize| f64::from(1 + (rank + i as u32) % 3);
    (0..count).flat_map(|i| number(value(i), data_type)).collect()
}

type Reduce = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    sys::ncclComm_t,
    *mut c_void,
) -> c_int;
type MakeOp =
    unsafe extern "C" fn(*mut c_int, *const c_void, c_int, c_int, sys::ncclComm_t) -> c_int;

#[test]
#[ignore = "part of a test, which starts it as a process"]
fn table_in_process() {
    const RANKS: u32 = 3;
    const COUNT: usize = 7;
    let comms = all(RANKS as usize);
    // cudarc's enumerations have no values for reductions that a program makes: plain numbers here.
    // SAFETY: the library has these functions with these parameters, as its header declares.
    let (reduce, make_op) = unsafe {
        let library = sys::culib();
        let reduce = *library.get::<Reduce>(b"ncclAllReduce").expect("it is exported");
        (reduce, *library.get::<MakeOp>(b"ncclRedOpCreatePreMulSum").expect("it is exported"))
    };
    for data_type in DataType::ALL.into_iter().filter(|data_type| data_type.code() < 12) {
        for op in ReduceOp::ALL {
            let (code, factor) = (c_int::from(data_type.code()), number(2.0, data_type));
            let ops = comms.iter().map(|comm| {
                let mut own = c_int::from(op.code());
                if let ReduceOp::PreMulSum(_) = op {
                    // SAFETY: the number and the place for the reduction outlive the call.
                    let made = unsafe { make_op(&mut own, factor.as_ptr().cast(), code, 1, *comm) };
                    assert_eq!(made, 0, "{data_type} {op}");
                }
                own
            });
            let ops: Vec<c_int> = ops.collect();
            let inputs: Vec<_> = (0..RANKS).map(|rank| input(rank, COUNT, data_type)).collect();
            let mut outputs = vec![vec![0_u8; COUNT * data_type.size()]; RANKS as usize];
            result::group_start().expect("a group opens");
            for (((comm, op), send), recv) in comms.iter().zip(&ops).zip(&inputs).zip(&mut outputs)
            {
                let (send, recv) = (send.as_ptr().cast(), recv.as_mut_ptr().cast());
                // SAFETY: both buffers have so many elements, and live until the group has ended.
                let asked = unsafe { reduce(send, recv, COUNT, code, *op, *comm, null_mut()) };
                assert_eq!(asked, 0, "{data_type}");
            }
            result::group_end().expect("a group ends");
            assert_eq!(outputs, by_rust(data_type, op, &inputs), "{data_type} {op}");
        }
    }
    for comm in comms {
        // SAFETY: it is alive, and not used again. So cudarc ends them all.
        unsafe { result::comm_abort(comm) }.expect("what nobody uses is given up");
    }
}

fn by_rust(data_type: DataType, op: ReduceOp, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let ranks = Threads::new(inputs.len() as u32).run(|mut comm| {
        let send = &inputs[comm.rank() as usize][..];
        let mut recv = vec![0; send.len()];
        let operation = Operation::new(Collective::AllReduce, data_type).reducing(op);
        comm.perform(operation, Buffers::OutOfPlace { send, recv: &mut recv })?;
        Ok(recv)
    });
    ranks.expect("ranks that are threads reduce")
}

#[test]
fn every_type_and_reduction_gives_what_the_rust_interface_gives() {
    in_a_process_that_finds_the_library("table_in_process");
}

#[test]
#[ignore = "part of a test, which starts it as a process"]
fn calls_in_process() {
    let comms = all(2);
    assert_eq!(result::get_nccl_version().expect("it tells its version"), 23007);
    for (index, comm) in comms.iter().enumerate() {
        // SAFETY: the communicator is alive.
        let told = unsafe { (result::comm_count(*comm), result::comm_user_rank(*comm)) };
        assert_eq!(told, (Ok(2), Ok(index as i32)));
    }
    let numbers = [[0.0_f32; 4], [1.0; 4]];
    let mut received = [[9.0_f32; 4]; 2];
    let kind = sys::ncclDataType_t::ncclFloat32;
    result::group_start().expect("a group opens");
    for (index, comm) in comms.iter().enumerate() {
        let peer = 1 - index as i32;
        // SAFETY: the buffers have four elements, and live until the group has ended.
        unsafe {
            result::send(numbers[index].as_ptr().cast(), 4, kind, peer, *comm, null_mut())
                .expect("it may be sent");
            result::recv(received[index].as_mut_ptr().cast(), 4, kind, peer, *comm, null_mut())
                .expect("it may be received");
        }
    }
    result::group_end().expect("a group ends");
    assert_eq!(received, [[1.0; 4], [0.0; 4]]);
    for comm in comms {
        // SAFETY: it is alive, and not used again.
        unsafe { result::comm_destroy(comm) }.expect("it leaves");
    }
}

#[test]
fn programs_that_load_nccl_by_its_name_run() {
    in_a_process_that_finds_the_library("calls_in_process");
}

mod cost {
    use std::time::{Duration, Instant};

    use crosstie::{Communicator, Meeting, Settings};

    use super::*;

    const CALLS: u32 = 20_000;

    fn each(mut call: impl FnMut()) -> Duration {
        let began = Instant::now();
        (0..CALLS).for_each(|_| call());
        began.elapsed() / CALLS
    }

    /// The medians of five rounds that take turns: (Rust, C).
    fn rounds(mut comm: Communicator, through_c: sys::ncclComm_t) -> [Duration; 2] {
        // SAFETY: the library has this function with these parameters, as its header declares.
        let reduce = unsafe { *sys::culib().get::<Reduce>(b"ncclAllReduce").expect("exported") };
        let (mine, mut sum) = ([1.0_f64], [0.0_f64]);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..6 {
            times[0].push(each(|| {
                comm.all_reduce(&mine, &mut sum, ReduceOp::Sum).expect("both ranks call")
            }));
            let (send, recv) = (mine.as_ptr().cast(), sum.as_mut_ptr().cast());
            // SAFETY: both have one element.
            let call = || unsafe { reduce(send, recv, 1, 8, 0, through_c, null_mut()) };
            times[1].push(each(|| assert_eq!(call(), 0)));
        }
        times.map(|mut times| {
            times.remove(0); // It warms up.
            times.sort_unstable();
            times[times.len() / 2]
        })
    }

    #[test]
    #[ignore = "slow: a measurement, which wants a quiet machine"]
    fn of_a_call_in_process() {
        // Alone, nothing but the interfaces takes time; in twos, cache lines travel too.
        [1, 2].into_iter().for_each(of_calls_on);
    }

    fn of_calls_on(size: u32) {
        let (_meeting, id) = Meeting::open().expect("a meeting opens");
        let comms: Vec<usize> = all(size as usize).into_iter().map(|comm| comm as usize).collect();
        let times = std::thread::scope(|scope| {
            let ranks = comms.iter().zip(0..).map(|(&through_c, rank)| {
                let settings = Settings::default().rank(rank).size(size).id(id.clone());
                scope.spawn(move || {
                    let comm = settings.connect().expect("ranks of one process connect");
                    rounds(comm, through_c as sys::ncclComm_t)
                })
            });
            let ranks: Vec<_> = ranks.collect();
            let join = |rank: std::thread::ScopedJoinHandle<'_, _>| rank.join();
            ranks.into_iter().map(join).collect::<Result<Vec<_>, _>>().expect("none has panicked")
        });
        let [rust, c] = times[0];
        print(&format!("8 B all_reduce, {size} ranks: Rust {rust:?}, C {c:?}"));
    }

    #[expect(clippy::print_stdout, reason = "a measurement tells its result")]
    fn print(line: &str) {
        println!("{line}");
    }

    #[test]
    #[ignore = "slow: a measurement, which wants a quiet machine"]
    fn of_a_call_over_the_rust_interface() {
        let program = std::env::current_exe().expect("a test has a path");
        let mut command = Command::new(program);
        command.args(["cost::of_a_call_in_process", "--exact", "--ignored", "--nocapture"]);
        assert!(command.env("LD_LIBRARY_PATH", libraries()).status().expect("it starts").success());
    }
}
