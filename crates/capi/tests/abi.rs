//! The header and the library as others declare them: sizes, offsets and values, and the names exported.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::process::Command;

use cudarc::nccl::sys;
use support::{build, built, command, finish, has, include};

/// What the header says, by name.
fn layout(compiler: &str) -> BTreeMap<String, i64> {
    let program = build(compiler, "layout.c");
    let child = command(&program, &[]).spawn().expect("the program starts");
    let (code, text) = finish(child, "layout");
    assert_eq!(code, Some(0), "{text}");
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), value.parse().expect("a number"))
    };
    text.lines().map(pair).collect()
}

macro_rules! offsets {
    ($($field:ident)*) => {
        [$((concat!("offset ncclConfig_t.", stringify!($field)), offset_of!(sys::ncclConfig_t, $field))),*]
    };
}

macro_rules! values {
    ($($kind:ident::{$($name:ident)*})*) => {
        [$($((concat!("value ", stringify!($name)), sys::$kind::$name as i64)),*),*]
    };
}

fn sizes() -> [(&'static str, usize); 11] {
    [
        ("size ncclUniqueId", size_of::<sys::ncclUniqueId>()),
        ("size ncclConfig_t", size_of::<sys::ncclConfig_t>()),
        ("size ncclSimInfo_t", size_of::<sys::ncclSimInfo_t>()),
        ("size ncclWaitSignalDesc_t", size_of::<sys::ncclWaitSignalDesc_t>()),
        ("size ncclResult_t", size_of::<sys::ncclResult_t>()),
        ("size ncclDataType_t", size_of::<sys::ncclDataType_t>()),
        ("size ncclRedOp_t", size_of::<sys::ncclRedOp_t>()),
        ("size ncclScalarResidence_t", size_of::<sys::ncclScalarResidence_t>()),
        ("size ncclCommMemStat_t", size_of::<sys::ncclCommMemStat_t>()),
        ("size ncclComm_t", size_of::<sys::ncclComm_t>()),
        ("size ncclWindow_t", size_of::<sys::ncclWindow_t>()),
    ]
}

#[test]
fn sizes_offsets_and_values_are_those_that_others_compiled_in() {
    for compiler in ["gcc", "g++"] {
        if !has(compiler) {
            continue;
        }
        let ours = layout(compiler);
        let offsets = offsets! {
            size magic version blocking cgaClusterSize minCTAs maxCTAs netName splitShare trafficClass
            commName collnetEnable CTAPolicy shrinkShare nvlsCTAs nChannelsPerNetPeer nvlinkCentricSched
            graphUsageMode numRmaCtx maxP2pPeers
        };
        for (name, theirs) in sizes().into_iter().chain(offsets) {
            assert_eq!(ours[name], theirs as i64, "{name}");
        }
        let values = values! {
            ncclResult_t::{ncclSuccess ncclUnhandledCudaError ncclSystemError ncclInternalError
                ncclInvalidArgument ncclInvalidUsage ncclRemoteError ncclInProgress}
            ncclDataType_t::{ncclInt8 ncclUint8 ncclInt32 ncclUint32 ncclInt64 ncclUint64 ncclFloat16
                ncclFloat32 ncclFloat64 ncclBfloat16 ncclFloat8e4m3 ncclFloat8e5m2 ncclNumTypes}
            ncclRedOp_t::{ncclSum ncclProd ncclMax ncclMin ncclAvg ncclNumOps ncclMaxRedOp}
            ncclScalarResidence_t::{ncclScalarDevice ncclScalarHostImmediate}
            ncclCommMemStat_t::{ncclStatGpuMemSuspend ncclStatGpuMemSuspended ncclStatGpuMemPersist
                ncclStatGpuMemTotal}
        };
        for (name, theirs) in values {
            assert_eq!(ours[name], theirs, "{name}");
        }
        // The last field came within the padding of the version that they know.
        assert_eq!(ours["offset ncclConfig_t.graphStreamOrdering"], 92);
        assert_eq!((ours["value config.size"], ours["value config.magic"]), (96, 0xcafe_beef));
        assert_eq!((ours["value config.version"], ours["value NCCL_VERSION_CODE"]), (23007, 23007));
        assert_eq!(ours["value config.blocking"], i64::from(i32::MIN));
        assert_eq!(ours["value config.last"], i64::from(i32::MIN));
    }
}

/// The names of the functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(include().join("nccl.h")).expect("the header is there");
    let before_brackets = header.split('(').filter_map(|before| {
        let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next()?;
        (name.starts_with("nccl") || name.starts_with("pnccl")).then(|| name.to_owned())
    });
    before_brackets.collect()
}

#[test]
fn what_the_header_declares_is_exported_and_nothing_else() {
    let out = Command::new("nm").args(["-D", "--defined-only"]).arg(built()).output();
    let Ok(out) = out else { return println!("SKIPPED: nm is not installed") };
    let text = String::from_utf8(out.stdout).expect("names are ASCII");
    let exported: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next_back()).map(str::to_owned).collect();
    assert_eq!(exported, declared());
    assert!(exported.len() > 100, "{exported:?}");
    let single = exported.iter().filter(|name| !exported.contains(&format!("p{name}")));
    assert!(
        single.clone().all(|name| name.starts_with("pnccl")),
        "{:?}",
        single.collect::<Vec<_>>()
    );
}
