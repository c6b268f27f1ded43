//! Owns what is said of names in the environment that look like settings, or like NCCL's, and do nothing here; and the
//! log that NCCL's names ask for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::registry::{Setting, Told};
use super::said;

/// Names of NCCL's that are heeded beside those that stand for a setting.
const HEEDED: [&str; 2] = ["NCCL_COMM_ID", "NCCL_DEBUG_FILE"];
/// Names that say where an installation of NCCL is, or belong to its tests.
const OF_OTHERS: [&str; 7] =
    ["HOME", "INCLUDE_DIR", "LIBRARY", "LIB_DIR", "ROOT", "VERSION", "DIR"];

impl Setting {
    /// What the environment of this process says of this setting: see [`told`](Self::told).
    ///
    /// ```
    /// use crosstie::Setting;
    ///
    /// let log = Setting::named("CROSSTIE_LOG").unwrap();
    /// assert!(log.told_here().value.is_some());
    /// ```
    pub fn told_here(&self) -> Told {
        self.told(&crosstie_launch::environment(std::env::vars_os()))
    }
}

/// Where `NCCL_DEBUG_FILE` has the log go, if it is set: `%h` in it is this host's name, `%p` this process's number.
///
/// ```
/// assert_eq!(crosstie::nccl_debug_file(), None, "nobody has set it here");
/// ```
pub fn nccl_debug_file() -> Option<PathBuf> {
    let environment = crosstie_launch::environment(std::env::vars_os());
    let told = environment.get("NCCL_DEBUG_FILE").filter(|file| !file.is_empty())?;
    let (host, process) = (crosstie_net::host_name(), std::process::id().to_string());
    Some(told.replace("%h", &host).replace("%p", &process).into())
}

/// Says which names do nothing here: those that begin as settings do, and once in a process NCCL's.
pub(crate) fn warn_of_names_in_vain(environment: &BTreeMap<String, String>) {
    for name in Setting::unknown(environment).filter(|name| said::first(name)) {
        match Setting::like(name) {
            Some(meant) => {
                tracing::warn!("{name} is no setting of this version; is {} meant?", meant.name);
            }
            None => tracing::warn!("{name} is no setting of this version; see `crosstie config`"),
        }
    }
    let in_vain = of_nccl_in_vain(environment);
    let names = in_vain.join(", ");
    if !names.is_empty() && said::first(&names) {
        tracing::warn!("not heeded here: {names}; see `crosstie config`");
    }
}

/// The names of NCCL's that have no equal here.
fn of_nccl_in_vain(environment: &BTreeMap<String, String>) -> Vec<&str> {
    let stands_for_a_setting =
        |name: &str| Setting::all().iter().any(|setting| setting.answers_for(name));
    let is_of_others = |name: &str| {
        let own = name.strip_prefix("NCCL_").unwrap_or(name);
        own.starts_with("TESTS_") || OF_OTHERS.contains(&own)
    };
    let names = environment.keys().map(String::as_str);
    let of_nccl = names.filter(|name| name.starts_with("NCCL_"));
    of_nccl
        .filter(|name| !HEEDED.contains(name) && !stands_for_a_setting(name) && !is_of_others(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nccl_that_do_nothing_here_are_listed() {
        let names = [
            "NCCL_ALGO",
            "NCCL_BUFFSIZE",
            "NCCL_COMM_ID",
            "NCCL_DEBUG_SUBSYS",
            "NCCL_TESTS_DEVICE",
            "NCCL_VERSION",
            "NCCLX",
        ];
        let environment = names.map(|name| (name.to_owned(), "1".to_owned())).into();
        assert_eq!(of_nccl_in_vain(&environment), ["NCCL_BUFFSIZE", "NCCL_DEBUG_SUBSYS"]);
    }
}
