//! The words, each with one meaning.
//!
//! | word | means |
//! |---|---|
//! | rank | one member of a world, by its number from 0: a process, or a thread |
//! | world | the ranks that met at one place |
//! | communicator | a world, or a part of it, as one rank holds it: its connections, its settings, its calls in order |
//! | node | ranks that share memory: a host, or what plays one |
//! | rail | the NICs of equal number on all nodes, and the switches that join them |
//! | channel | one of several instances of an algorithm that run side by side |
//! | connection | an ordered way from one rank to another, on a channel |
//! | slot | where one message of a connection lies until it is taken |
//! | chunk | the part of a buffer that a plan moves as one |
//! | block | a list of instructions that one rank carries out one after the other |
//! | plan | for each rank, the blocks that carry out one operation by one algorithm |
//! | algorithm | ring, direct, flat, tree, hierarchical, PAT, canonical |
//! | protocol | how messages pass inside a node: copied by way of slots, or lent where they lie |
//! | wire | what joins a NIC to a rank on another node: sockets, or a queue pair; connections share it |
//! | relay | the rank of the sender's node whose NIC is on the receiver's rail, when it sends for others: PXN |
//! | region | memory that was registered, so that peers or NICs may reach it |
//! | meeting | where ranks come together before they are connected |
//! | monitor | a rank's thread that knows who lives, and spreads verdicts |
//! | verdict | what all ranks agree to say of a failure |
//! | fingerprint | a short name for all that plans are made from; equal on all ranks |
//! | bus bandwidth | bytes that the busiest link must carry, by the time: comparable across operations and numbers of ranks |
