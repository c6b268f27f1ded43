//! Owns the proofs that misuse does not compile: each is followed by its nearest neighbour that does, so that
//! neither can fail for another reason than the one that it is about.
//!
//! Rustdoc runs them as tests. The number of the error is what rustc says (nightly checks it).
//!
//! # A buffer that a call of a scope reads cannot be written meanwhile
//!
//! ```compile_fail,E0502
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut mine, mut sum) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let work = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     mine[0] = 2.0;
//!     work.wait()?;
//!     Ok(())
//! })?;
//! mine[0] = 2.0;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut mine, mut sum) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let work = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     work.wait()?;
//!     Ok(())
//! })?;
//! mine[0] = 2.0;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A result cannot be read before its call was waited for
//!
//! ```compile_fail,E0502
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mine, mut sum) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let work = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     assert_eq!(sum[0], 1.0);
//!     work.wait()?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mine, mut sum) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let work = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     assert_eq!(work.wait()?[0], 1.0);
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer cannot be dropped or replaced while a call uses it
//!
//! ```compile_fail,E0506
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut mine, mut sum) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let work = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     mine = Vec::new();
//!     work.wait()?;
//!     Ok(())
//! })?;
//! mine = Vec::new();
//! # mine.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut mine, mut sum) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let work = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     work.wait()?;
//!     Ok(())
//! })?;
//! mine = Vec::new();
//! # mine.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer that ends before its scope does not last
//!
//! ```compile_fail,E0597
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![0.0; 4];
//! comm.scope(|s| {
//!     let mine = vec![1.0_f32; 4];
//!     s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?.wait()?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![0.0; 4];
//! let mine = vec![1.0_f32; 4];
//! comm.scope(|s| {
//!     s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?.wait()?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # Two calls cannot receive into one buffer
//!
//! ```compile_fail,E0499
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mine = vec![1.0_f32; 4];
//! let (mut sum, mut other) = (vec![0.0; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let one = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     let two = s.all_reduce(&mine, &mut sum, ReduceOp::Max)?;
//!     one.wait()?;
//!     two.wait()?;
//!     Ok(())
//! })?;
//! # other.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mine = vec![1.0_f32; 4];
//! let (mut sum, mut other) = (vec![0.0; 4], vec![0.0; 4]);
//! comm.scope(|s| {
//!     let one = s.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!     let two = s.all_reduce(&mine, &mut other, ReduceOp::Max)?;
//!     one.wait()?;
//!     two.wait()?;
//!     Ok(())
//! })?;
//! # other.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A handle cannot leave its scope, nor its result
//!
//! ```compile_fail
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![1.0_f32; 4];
//! let work = comm.scope(|s| s.all_reduce_in_place(&mut sum, ReduceOp::Sum))?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![1.0_f32; 4];
//! let work = comm.scope(|s| Ok(s.all_reduce_in_place(&mut sum, ReduceOp::Sum)?.wait()?.to_vec()))?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A communicator cannot be used beside its own scope
//!
//! ```compile_fail,E0499
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![1.0_f32; 4];
//! comm.scope(|s| {
//!     let work = s.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
//!     comm.barrier()?;
//!     work.wait()?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![1.0_f32; 4];
//! comm.scope(|s| {
//!     let work = s.all_reduce_in_place(&mut sum, ReduceOp::Sum)?;
//!     s.barrier()?.wait()?;
//!     work.wait()?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A scope stays in its thread
//!
//! ```compile_fail,E0277
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![1.0_f32; 4];
//! comm.scope(|s| {
//!     std::thread::scope(|threads| {
//!         threads.spawn(|| _ = s.all_reduce_in_place(&mut sum, ReduceOp::Sum).is_ok());
//!     });
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut sum = vec![1.0_f32; 4];
//! comm.scope(|s| {
//!     _ = s.all_reduce_in_place(&mut sum, ReduceOp::Sum).is_ok();
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # The two buffers of a blocking call are apart
//!
//! ```compile_fail,E0502
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut buffer, mut other) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.all_reduce(&buffer, &mut buffer, ReduceOp::Sum)?;
//! # other.clear(); buffer.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut buffer, mut other) = (vec![1.0_f32; 4], vec![0.0; 4]);
//! comm.all_reduce(&buffer, &mut other, ReduceOp::Sum)?;
//! # other.clear(); buffer.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # Threads do not share a communicator, but may hand it on
//!
//! ```compile_fail,E0277
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! fn shared<T: Sync>(_: &T) {}
//! shared(&comm);
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! fn handed_on<T: Send>(_: &T) {}
//! handed_on(&comm);
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer that moved into a call is out of reach until it comes back
//!
//! ```compile_fail,E0382
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let buffer = vec![1.0_f32; 4];
//! let work = comm.owned().all_reduce_in_place(buffer, ReduceOp::Sum)?;
//! assert_eq!(buffer[0], 1.0);
//! work.wait()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let buffer = vec![1.0_f32; 4];
//! let work = comm.owned().all_reduce_in_place(buffer, ReduceOp::Sum)?;
//! assert_eq!(work.wait()?[0], 1.0);
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A work gives its buffers back once
//!
//! ```compile_fail,E0382
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let work = comm.owned().all_reduce_in_place(vec![1.0_f32; 4], ReduceOp::Sum)?;
//! work.wait()?;
//! work.wait()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let work = comm.owned().all_reduce_in_place(vec![1.0_f32; 4], ReduceOp::Sum)?;
//! work.wait()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # Only buffers that own their memory can move into a call
//!
//! ```compile_fail,E0277
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut buffer = vec![1.0_f32; 4];
//! _ = comm.owned().all_reduce_in_place(&mut buffer[..], ReduceOp::Sum)?;
//! # buffer = Vec::new(); buffer.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut buffer = vec![1.0_f32; 4];
//! _ = comm.owned().all_reduce_in_place(buffer, ReduceOp::Sum)?;
//! # buffer = Vec::new(); buffer.clear();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # Nobody else can say that a type is such a buffer
//!
//! ```compile_fail,E0277
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! # use crosstie_exec as _;
//! struct Mine(Vec<f32>);
//! impl crosstie::OwnedBuffer for Mine {
//!     type Element = f32;
//!     fn into_memory(self) -> Box<dyn crosstie_exec::Memory> { Box::new(self.0) }
//!     fn from_memory(_: Box<dyn crosstie_exec::Memory>) -> Option<Self> { None }
//! }
//! # comm.barrier()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! # use crosstie_exec as _;
//! struct Mine(Vec<f32>);
//! let work = comm.owned().all_reduce_in_place(Mine(vec![1.0]).0, ReduceOp::Sum)?;
//! work.wait()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # What has bytes of no meaning is no element
//!
//! ```compile_fail,E0277
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! comm.broadcast(&mut [true], 0)?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! comm.broadcast(&mut [1_u8], 0)?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # Who has left makes no call
//!
//! ```compile_fail,E0382
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! comm.barrier()?;
//! comm.leave()?;
//! comm.barrier()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! comm.barrier()?;
//! comm.leave()?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer of `alloc` is one owner's
//!
//! ```compile_fail,E0599
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut buffer = comm.alloc::<f32>(4)?;
//! let other = buffer.clone();
//! buffer[0] = other[0];
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut buffer = comm.alloc::<f32>(4)?;
//! let other = buffer.to_vec();
//! buffer[0] = other[0];
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer of `alloc` is borrowed as any other
//!
//! ```compile_fail,E0499
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut buffer = comm.alloc::<f32>(4)?;
//! let (left, right) = (&mut buffer[..2], &mut buffer[2..]);
//! left.swap_with_slice(right);
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut buffer = comm.alloc::<f32>(4)?;
//! let (left, right) = buffer.split_at_mut(2);
//! left.swap_with_slice(right);
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # What a group receives it cannot send at the same time
//!
//! ```compile_fail,E0502
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut buffer, other) = ([1_u32], [2_u32]);
//! comm.group(|g| {
//!     g.recv(&mut buffer, 0);
//!     g.send(&buffer, 0);
//! })?;
//! # _ = other;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let (mut buffer, other) = ([1_u32], [2_u32]);
//! comm.group(|g| {
//!     g.recv(&mut buffer, 0);
//!     g.send(&other, 0);
//! })?;
//! # _ = other;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer of a group outlasts the group
//!
//! ```compile_fail,E0597
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut got = [0_u32];
//! comm.group(|g| {
//!     let mine = [1_u32];
//!     g.send(&mine, 0);
//!     g.recv(&mut got, 0);
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut got = [0_u32];
//! let mine = [1_u32];
//! comm.group(|g| {
//!     g.send(&mine, 0);
//!     g.recv(&mut got, 0);
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A buffer of a scope's group outlasts the scope
//!
//! ```compile_fail,E0373
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut got = [0_u32];
//! comm.scope(|s| {
//!     let mine = [1_u32];
//!     _ = s.group(|g| {
//!         g.send(&mine, 0);
//!         g.recv(&mut got, 0);
//!     })?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mut got = [0_u32];
//! let mine = [1_u32];
//! comm.scope(|s| {
//!     _ = s.group(|g| {
//!         g.send(&mine, 0);
//!         g.recv(&mut got, 0);
//!     })?;
//!     Ok(())
//! })?;
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # A group cannot be kept for later
//!
//! ```compile_fail,E0521
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mine = [1_u32];
//! let mut got = [0_u32];
//! let mut kept = None;
//! comm.group(|g| {
//!     g.send(&mine, 0);
//!     g.recv(&mut got, 0);
//!     kept = Some(g);
//! })?;
//! # got.sort();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! ```
//! # use crosstie::{ReduceOp, Threads};
//! # Threads::new(1).run(|mut comm| {
//! let mine = [1_u32];
//! let mut got = [0_u32];
//! comm.group(|g| {
//!     g.send(&mine, 0);
//!     g.recv(&mut got, 0);
//! })?;
//! # got.sort();
//! # Ok(())
//! # })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
