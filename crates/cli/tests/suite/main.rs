//! What the command line does, as its users meet it: each part of these tests is one of its commands.
//!
//! One program for all of a crate's tests: each is a second of linking.
#![cfg(test)]

mod bench;
mod config;
mod doctor;
mod failure;
mod lab;
mod lab_failures;
mod plan;
mod plan_search;
mod planned;
mod run;
mod support;
mod topo;
mod tune;
