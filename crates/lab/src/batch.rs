//! Owns the commands `ip` and `tc`: finding them, giving them many lines at once, and what their refusals
//! mean.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::LabError;
use crate::wiring::Orders;

/// Where they are on systems whose PATH for users leaves such folders out.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Refuses if a command that the lab calls is not there.
pub fn require_tools() -> Result<(), LabError> {
    Tools::find().map(drop)
}

/// The commands, found.
#[derive(Debug)]
pub(crate) struct Tools {
    ip: PathBuf,
    tc: PathBuf,
}

impl Tools {
    pub fn find() -> Result<Self, LabError> {
        Ok(Self { ip: find("ip")?, tc: find("tc")? })
    }

    /// Carries out orders in the namespace that the calling thread is in.
    pub fn carry_out(&self, orders: &Orders) -> Result<(), LabError> {
        for (name, value) in &orders.settings {
            write_setting(name, value)?;
        }
        batch("ip", &self.ip, &orders.ip)?;
        batch("tc", &self.tc, &orders.tc)
    }
}

fn find(name: &'static str) -> Result<PathBuf, LabError> {
    let searched = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&searched).chain(MORE_FOLDERS.map(PathBuf::from));
    let mut found = folders.map(|folder| folder.join(name)).filter(|path| path.is_file());
    found.next().ok_or(LabError::Tool { name })
}

/// A kernel without IPv6 has no settings of it, which is as good.
fn write_setting(name: &str, value: &str) -> Result<(), LabError> {
    let path = Path::new("/proc/sys/net").join(name);
    match std::fs::write(&path, value) {
        Err(_) if name.starts_with("ipv6/") && !path.exists() => Ok(()),
        Err(e) => Err(LabError::host(format!("write {value} to {}", path.display()), e)),
        Ok(()) => Ok(()),
    }
}

fn batch(name: &str, tool: &Path, lines: &[String]) -> Result<(), LabError> {
    if lines.is_empty() {
        return Ok(());
    }
    let failed = |e| LabError::host(format!("run {}", tool.display()), e);
    let mut child = Command::new(tool)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why itself.
        let _ = input.write_all((lines.join("\n") + "\n").as_bytes());
    }
    let done = child.wait_with_output().map_err(failed)?;
    match done.status.success() {
        true => Ok(()),
        false => Err(refusal(name, lines, &String::from_utf8_lossy(&done.stderr))),
    }
}

/// What a refusal is worth: which line it was about, and whether the kernel lacks something.
fn refusal(name: &str, lines: &[String], said: &str) -> LabError {
    let number = said.lines().find_map(|line| line.strip_prefix("Command failed -:"));
    let number: Option<usize> = number.and_then(|number| number.trim().parse().ok());
    let line = number.and_then(|number| lines.get(number.checked_sub(1)?));
    let command = format!("{name} {}", line.map_or("-batch", String::as_str));
    let mut words = said.lines().filter(|line| !line.starts_with("Command failed"));
    let said = words.next().unwrap_or("nothing").trim().to_owned();
    if said.contains("Operation not permitted") {
        let source = std::io::ErrorKind::PermissionDenied.into();
        return LabError::Privilege { action: format!("run `{command}`"), source };
    }
    let lacks = ["Unknown device type", "not supported", "kind is unknown", "No such file"];
    let part = PARTS.iter().find(|(mark, ..)| command.contains(mark));
    match part.filter(|_| lacks.iter().any(|sign| said.contains(sign))) {
        Some(&(_, part, module)) => LabError::Kernel { part, module, command, said },
        None => LabError::Command { command, said },
    }
}

/// Parts of the kernel that a lab is made of: by what commands they are asked for, their names, their
/// modules.
const PARTS: [(&str, &str, &str); 4] = [
    (" type veth", "pairs of virtual devices (veth)", "veth"),
    (" type bridge", "bridges", "bridge"),
    (" tbf ", "token buckets (tbf)", "sch_tbf"),
    ("rule add", "routing by source address", "fib_rules"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_named_with_its_module() {
        let lines = ["link set lo up".to_owned(), "link add a type veth peer name b".to_owned()];
        let said = "Error: Unknown device type.\nCommand failed -:2\n";
        let told = refusal("ip", &lines, said).to_string();
        assert!(told.contains("modprobe veth") && told.contains("`ip link add a type"), "{told}");
        let lines = ["qdisc add dev a root tbf rate 1mbit".to_owned()];
        let said = "Error: Specified qdisc kind is unknown.\nCommand failed -:1\n";
        assert!(refusal("tc", &lines, said).to_string().contains("modprobe sch_tbf"));
    }

    #[test]
    fn a_right_that_lacks_is_named() {
        let said = "RTNETLINK answers: Operation not permitted\nCommand failed -:1\n";
        let told = refusal("ip", &["link set lo up".to_owned()], said).to_string();
        assert!(told.contains("`ip link set lo up`") && told.contains("CAP_NET_ADMIN"), "{told}");
    }

    #[test]
    fn another_refusal_is_told_with_the_command_that_it_met() {
        let lines = ["link set lo up".to_owned(), "address add 10.77.0.1/24 dev eth9".to_owned()];
        let told = refusal("ip", &lines, "Cannot find device \"eth9\"\nCommand failed -:2\n");
        assert_eq!(
            told.to_string(),
            "`ip address add 10.77.0.1/24 dev eth9` failed: Cannot find device \"eth9\""
        );
    }
}
