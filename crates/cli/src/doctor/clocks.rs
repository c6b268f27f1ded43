//! Owns the check of the clock that deadlines and benchmarks read.

use super::finding::{Finding, Group};
use super::state::State;

/// Those that a program reads without a call of the kernel.
const FAST: [&str; 4] = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"];

pub fn check(state: &State, found: &mut Vec<Finding>) {
    let clock = &state.clock;
    let Some(source) = &clock.source else {
        found.push(Finding::good(Group::Clocks, "source", "not told (/sys is not there)"));
        return;
    };
    let told = format!("{source} (there are {})", clock.others.join(", "));
    let finding = Finding::good(Group::Clocks, "source", told);
    if FAST.contains(&source.as_str()) {
        found.push(finding.wanted(
            "one that needs no call of the kernel; hosts need not agree: deadlines are each rank's own",
        ));
        return;
    }
    let wanted =
        "tsc, or a virtual machine's own: each reading of this one takes a call of the kernel, µs";
    let remedy = match clock.others.iter().find(|other| FAST.contains(&other.as_str())) {
        Some(other) => format!(
            "`echo {other} > /sys/devices/system/clocksource/clocksource0/current_clocksource` as root; `dmesg | grep -i -e tsc -e clocksource` tells why the kernel left it (drift between cores)"
        ),
        None => "`dmesg | grep -i tsc` tells why the kernel found the TSC unstable: update firmware, or boot with tsc=reliable where it is known to be good".to_owned(),
    };
    found.push(finding.wanted(wanted).warning(remedy));
}
