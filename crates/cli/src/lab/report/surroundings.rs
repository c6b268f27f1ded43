//! Owns what of the caller's environment a report takes over, and what it refuses: settings that it chooses for
//! each way itself, and such as would make ranks do other than it expects of the devices.

use crosstie::{Origin, Setting};
use crosstie_launch::Environment;

use crate::exit::Failure;

/// What a report or its lab chooses, or presumes.
const CHOSEN: [&str; 7] = [
    "CROSSTIE_PXN",
    "CROSSTIE_AGGREGATE",
    "CROSSTIE_RAILS",
    "CROSSTIE_NICS",
    "CROSSTIE_INTERFACE",
    "CROSSTIE_TRANSPORT",
    "CROSSTIE_TOPO_FILE",
];
/// Of those, what a lab tells its ranks or withholds from them, so that NCCL's variables do not reach them.
const OF_THE_LAB: [&str; 2] = ["CROSSTIE_INTERFACE", "CROSSTIE_TOPO_FILE"];
/// What changes times and counts, but nothing that devices are held against.
const TAKEN_OVER: [&str; 8] = [
    "CROSSTIE_ALGORITHM",
    "CROSSTIE_FLUSH",
    "CROSSTIE_OPEN_AHEAD",
    "CROSSTIE_PROTOCOL",
    "CROSSTIE_PULL",
    "CROSSTIE_REDUCTION_ORDER",
    "CROSSTIE_RELAY_BELOW",
    "CROSSTIE_SLOT_BYTES",
];

/// Refuses settings that would bend the report.
pub fn refuse_bending(environment: &Environment) -> Result<(), Failure> {
    let bends = |name: &&str| {
        let (variable, value) = told(name, environment)?;
        let reaches = variable == *name || !OF_THE_LAB.contains(name);
        reaches.then(|| (variable, format!("{variable}={value}")))
    };
    let found: Vec<_> = CHOSEN.iter().filter_map(bends).collect();
    if found.is_empty() {
        return Ok(());
    }
    let (names, told): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Err(Failure::usage(
        format!("{}: a report itself says how messages travel, by which NICs", told.join(", ")),
        format!(
            "unset it (env -u {} crosstie lab report …), or measure that one way: crosstie lab -- bench …",
            names.join(" -u ")
        ),
    ))
}

/// The settings that ranks take over, each as a variable with its value.
pub fn taken_over(environment: &Environment) -> Vec<String> {
    let set = |name: &&str| told(name, environment);
    let set = TAKEN_OVER.iter().filter_map(set);
    set.map(|(variable, value)| format!("{variable}={value}")).collect()
}

/// The variable that sets a setting to something else than its default, and what to; none where none does.
fn told(name: &str, environment: &Environment) -> Option<(&'static str, String)> {
    let setting = Setting::named(name)?;
    let told = setting.told(environment);
    let variable = match told.origin {
        Origin::Environment => setting.name,
        Origin::Nccl(name) => name,
        _ => return None,
    };
    let value = told.value.filter(|value| Some(value.as_str()) != setting.default)?;
    // As its owner wrote it, where it is NCCL's.
    Some((variable, environment.get(variable).cloned().unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn refusal(variables: &[(&str, &str)]) -> String {
        let refused = refuse_bending(&environment(variables)).err();
        refused.map_or(String::new(), |failure| failure.to_string())
    }

    #[test]
    fn what_would_bend_a_report_is_refused_by_its_variable() {
        for (name, value) in [
            ("CROSSTIE_RAILS", "2"),
            ("CROSSTIE_TRANSPORT", "tcp"),
            ("CROSSTIE_AGGREGATE", "1"),
            ("CROSSTIE_PXN", "on"),
            ("CROSSTIE_NICS", "10.0.0.1"),
            ("CROSSTIE_INTERFACE", "eth0"),
            ("CROSSTIE_TOPO_FILE", "machine.xml"),
            ("NCCL_SHM_DISABLE", "1"),
        ] {
            let said = refusal(&[(name, value), ("HOME", "/")]);
            assert!(said.starts_with(&format!("{name}={value}: ")), "{name}: {said}");
            assert!(said.contains(&format!("env -u {name} ")), "{name}: {said}");
        }
        let two = refusal(&[("CROSSTIE_RAILS", "2"), ("CROSSTIE_PXN", "on")]);
        assert!(two.contains("-u CROSSTIE_PXN -u CROSSTIE_RAILS "), "{two}");
    }

    #[test]
    fn defaults_and_what_a_lab_overrules_are_no_reason_to_refuse() {
        for (name, value) in [
            ("CROSSTIE_TRANSPORT", "auto"),
            ("CROSSTIE_PXN", "off"),
            ("CROSSTIE_FLUSH", "full"),
            ("NCCL_SOCKET_IFNAME", "eth9"),
            ("NCCL_TOPO_FILE", "machine.xml"),
        ] {
            assert_eq!(refusal(&[(name, value)]), "", "{name}={value}");
        }
    }

    #[test]
    fn settings_that_a_report_takes_over_are_told() {
        let variables = [("CROSSTIE_FLUSH", "full"), ("CROSSTIE_SLOT_BYTES", "64K"), ("A", "b")];
        let told = taken_over(&environment(&variables));
        assert_eq!(told, ["CROSSTIE_FLUSH=full", "CROSSTIE_SLOT_BYTES=64K"]);
        assert!(taken_over(&environment(&[])).is_empty());
    }
}
