//! Asynchronous calls end in order whoever drives them, and give their buffers back.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, ReduceOp, Settings, Threads, Transport, Work};

const WIRES: [Transport; 3] = [Transport::Loopback, Transport::SharedMemory, Transport::Tcp];

fn world(ranks: u32, transport: Transport) -> Vec<Communicator> {
    let settings = vec![Settings::default().transport(transport); ranks as usize];
    Communicator::connect_all(settings).unwrap()
}

fn until(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing more happens");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_thread_drives_four_ranks_through_every_call() {
    for transport in WIRES {
        let mut ranks = world(4, transport);
        for count in [0, 1, 1000, 100_003] {
            let mut sums = Vec::new();
            let mut parts = Vec::new();
            let mut ends = Vec::new();
            for comm in &mut ranks {
                let own = vec![comm.rank(); count];
                let mut calls = comm.owned();
                sums.push(calls.all_reduce_in_place(own.clone(), ReduceOp::Sum).unwrap());
                let all = vec![0; 4 * count].into_boxed_slice();
                parts.push(calls.all_gather(own, all).unwrap());
                ends.push(calls.barrier().unwrap());
            }
            for end in ends {
                end.wait().unwrap();
            }
            for sum in sums {
                assert!(sum.is_done() && sum.wait().unwrap().iter().all(|&x| x == 6));
            }
            for part in parts {
                let (_, all) = part.wait().unwrap();
                let mut expected = (0..).zip(&all);
                assert!(expected.all(|(i, &x): (usize, _)| x as usize == i / count));
            }
        }
    }
}

#[test]
fn three_communicators_at_once_are_moved_between_threads_and_do_not_mix() {
    thread::scope(|scope| {
        for transport in WIRES {
            scope.spawn(move || {
                let mut ranks = world(3, transport);
                for round in 0..10_u64 {
                    let thread = |mut comm: Communicator| {
                        scope.spawn(move || {
                            let mut sum = [u64::from(comm.rank()) + round; 50];
                            comm.all_reduce_in_place(&mut sum, ReduceOp::Sum).unwrap();
                            assert_eq!(sum, [3 + 3 * round; 50]);
                            comm
                        })
                    };
                    let threads: Vec<_> = ranks.drain(..).map(thread).collect();
                    ranks.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
                }
            });
        }
    });
}

#[test]
fn works_are_waited_for_in_any_order_and_in_other_threads() {
    Threads::new(3)
        .run(|mut comm| {
            let submit = |n: u32| comm.owned().all_reduce_in_place(vec![n; 2000], ReduceOp::Sum);
            let works: Vec<Work<Vec<u32>>> = (0..8).map(submit).collect::<Result<_, _>>()?;
            thread::scope(|scope| {
                for (n, work) in (0..8).zip(works).rev() {
                    scope.spawn(move || {
                        assert!(work.wait().unwrap().iter().all(|&x| x == 3 * n));
                    });
                }
            });
            Ok(())
        })
        .unwrap();
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A small executor: the waker says when to look again.
fn block_on<F: Future>(future: F) -> F::Output {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        until(|| flag.0.swap(false, Ordering::AcqRel));
    }
}

#[test]
fn works_are_futures() {
    Threads::new(3)
        .run(|mut comm| {
            let first = comm.owned().all_reduce_in_place(vec![1_i64; 5000], ReduceOp::Sum)?;
            let own = vec![comm.rank(); 3];
            let second = comm.owned().all_to_all(own, vec![9; 3])?;
            block_on(async {
                assert_eq!(second.await?.1, [0, 1, 2]);
                assert_eq!(first.await?, [3; 5000]);
                Ok(())
            })
        })
        .unwrap();
}

#[test]
fn dropped_works_are_carried_out_all_the_same() {
    let sums = Threads::new(3).run(|mut comm| {
        for _ in 0..20 {
            let work = comm.owned().all_reduce_in_place(vec![1; 3000], ReduceOp::Sum)?;
            if comm.rank() == 0 {
                drop(work);
            } else {
                assert_eq!(work.wait()?, [3; 3000]);
            }
        }
        let mut last = [comm.rank()];
        comm.all_reduce_in_place(&mut last, ReduceOp::Sum)?;
        Ok(last[0])
    });
    assert_eq!(sums.unwrap(), [3; 3]);
}

#[test]
fn a_communicator_that_is_dropped_finishes_what_it_was_asked() {
    for transport in WIRES {
        let settings = Settings::default().transport(transport);
        let results = Threads::new(3).settings(settings).run_each(|mut comm| {
            let work = comm.owned().all_reduce_in_place(vec![1; 100_000], ReduceOp::Sum)?;
            drop(comm);
            assert!(work.is_done());
            work.wait()
        });
        for result in results {
            assert!(result.unwrap().iter().all(|&x| x == 3));
        }
    }
}

#[test]
fn a_scope_gives_results_back_before_its_end_and_all_at_its_end() {
    Threads::new(3)
        .run(|mut comm| {
            let own: Vec<u32> = vec![comm.rank() + 1; 1000];
            let (mut sum, mut largest, mut all) = (vec![0; 1000], own.clone(), vec![0; 3000]);
            let first = comm.scope(|s| {
                let sums = s.all_reduce(&own, &mut sum, ReduceOp::Sum)?;
                let _ = s.all_reduce_in_place(&mut largest, ReduceOp::Max)?;
                let _ = s.all_gather(&own, &mut all)?;
                let sums = sums.wait()?;
                sums[0] += 1;
                Ok(sums[0])
            })?;
            assert_eq!((first, sum[0], sum[1]), (7, 7, 6));
            assert!(largest.iter().all(|&x| x == 3));
            assert!((0..).zip(&all).all(|(i, &x): (u32, _)| x == i / 1000 + 1));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_scope_that_panics_or_forgets_its_handles_waits_first() {
    Threads::new(3)
        .run(|mut comm| {
            for panics in [false, true] {
                let mut sum = vec![1; 200_000];
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    comm.scope(|s| {
                        let work = s.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
                        #[expect(clippy::mem_forget, reason = "that is what the test is about")]
                        std::mem::forget(work);
                        assert!(!panics, "as the test has it");
                        Ok(())
                    })
                }));
                assert_eq!(ended.is_err(), panics);
                assert!(sum.iter().all(|&x| x == 3));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_failure_shows_in_every_work_and_in_calls_after_it() {
    let settings = Settings::default().timeout(Duration::from_millis(300));
    let results = Threads::new(2).settings(settings).run_each(|mut comm| {
        if comm.rank() == 1 {
            thread::sleep(Duration::from_millis(1500));
            return Ok(());
        }
        let works: Result<Vec<_>, Error> =
            (0..3).map(|_| comm.owned().all_reduce_in_place(vec![1; 10], ReduceOp::Sum)).collect();
        let errors: Vec<Error> = works?.into_iter().map(|work| work.wait().unwrap_err()).collect();
        let codes: Vec<String> = errors.iter().map(|error| error.code().to_string()).collect();
        assert_eq!(codes, ["CT-062", "CT-065", "CT-065"], "{errors:?}");
        let next = comm.barrier().unwrap_err();
        assert_eq!(next.code().to_string(), "CT-065");
        assert!(next.to_string().contains(&errors[0].to_string()), "{next}");
        assert_eq!(comm.metrics().leaked_bytes, 0);
        Ok(())
    });
    results.into_iter().for_each(Result::unwrap);
}

#[test]
fn a_failed_scope_says_so_though_nobody_waited_for_its_work() {
    let settings = Settings::default().timeout(Duration::from_millis(300));
    let results = Threads::new(2).settings(settings).run_each(|mut comm| {
        if comm.rank() == 1 {
            thread::sleep(Duration::from_millis(1500));
            return Ok(());
        }
        let (mut sum, mut later) = ([1; 10], [1; 10]);
        let ended = comm.scope(|s| {
            let _ = s.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
            thread::sleep(Duration::from_millis(1000));
            // Refused, for the first has failed.
            let _ = s.all_reduce_in_place(&mut later, ReduceOp::Sum)?;
            Ok(())
        });
        let error = ended.unwrap_err();
        let Error::Failed(failure) = &error else { panic!("{error:?}") };
        assert_eq!((error.code().to_string().as_str(), failure.culprit), ("CT-062", Some(1)));
        let again = comm.scope(|s| s.barrier().map(|_| ())).unwrap_err();
        assert!(matches!(again, Error::AlreadyFailed { .. }), "{again:?}");
        assert_eq!(again.failure().and_then(|failure| failure.culprit), Some(1));
        assert_eq!((again.exit_code(), error.exit_code()), (3, 3));
        Ok(())
    });
    results.into_iter().for_each(Result::unwrap);
}

/// A waker that does something of its own, in the thread that wakes it.
struct Inline(Box<dyn Fn() + Send + Sync>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(act: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Inline(Box::new(act))))
}

/// An executor may run a task where it is woken, and the task's next call may be of a new kind.
#[test]
fn a_waker_may_make_the_next_call_itself() {
    for transport in WIRES {
        let made = Arc::new(AtomicU32::new(0));
        let ranks: Vec<_> =
            world(2, transport).into_iter().map(|comm| Arc::new(Mutex::new(comm))).collect();
        let firsts: Vec<_> =
            ranks.iter().map(|comm| comm.lock().unwrap().owned().barrier().unwrap()).collect();
        let mut polled = Vec::new();
        for (mut first, comm) in firsts.into_iter().zip(&ranks) {
            let (comm, made) = (Arc::clone(comm), Arc::clone(&made));
            let next = waker(move || {
                let next = comm.lock().unwrap().owned().all_to_all_in_place(vec![1, 2]).unwrap();
                assert_eq!(next.wait().unwrap().len(), 2);
                made.fetch_add(1, Ordering::SeqCst);
            });
            if pin!(&mut first).poll(&mut Context::from_waker(&next)).is_ready() {
                next.wake_by_ref();
            }
            polled.push(first);
        }
        until(|| made.load(Ordering::SeqCst) == 2);
    }
}

#[test]
fn a_waker_that_panics_stops_nobody() {
    for transport in WIRES {
        let mut ranks = world(2, transport);
        for round in 0..3 {
            let works: Vec<_> = ranks
                .iter_mut()
                .map(|comm| comm.owned().all_reduce_in_place(vec![round; 100], ReduceOp::Sum))
                .collect();
            let mut works: Vec<_> = works.into_iter().map(Result::unwrap).collect();
            for work in &mut works {
                let panics = waker(|| panic!("a waker of this test"));
                let _ = pin!(work).poll(&mut Context::from_waker(&panics));
            }
            until(|| works.iter().all(Work::is_done));
        }
        for comm in ranks {
            thread::spawn(move || comm.leave().unwrap());
        }
    }
}
