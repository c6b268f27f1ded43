//! Owns how NCCL's variables stand in for settings of ours, and what is said of those that do not.

use crosstie_probe::PortNames;

use super::Transport;

/// A variable of NCCL's that a setting of ours answers for.
#[derive(Debug)]
pub(super) struct Nccl {
    pub name: &'static str,
    pub says: Says,
}

/// What it is to us.
#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    /// The same as the setting, for some of its values at least.
    Same(fn(&str) -> Meant),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What a value of an NCCL variable means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// This value of ours.
    Ours(String),
    /// What our default means.
    Default,
    /// Something that has no equal here; what is understood instead.
    NoEqual(&'static str),
}

/// What NCCL's variables say of a setting.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// By this variable, in our words.
    pub value: Option<(&'static str, String)>,
    /// What is not heeded, a sentence for each.
    pub ignored: Vec<String>,
}

impl Heard {
    /// What `value` of this variable adds. Of two variables that say something the first is heeded.
    pub fn hear(&mut self, setting: &str, nccl: &Nccl, value: &str) {
        let name = nccl.name;
        match nccl.says {
            Says::Nothing(_) if value.trim().is_empty() => {}
            Says::Nothing(why) => self.ignored.push(format!("{name}={value} is ignored: {why}")),
            Says::Same(translate) => match (translate(value), &self.value) {
                (Meant::Default, _) => {}
                (Meant::Ours(ours), None) => self.value = Some((name, ours)),
                (Meant::Ours(ours), Some((_, heeded))) if ours == *heeded => {}
                (Meant::Ours(_), Some((other, heeded))) => self.ignored.push(format!(
                    "{name}={value} is ignored: {other} is honoured as {setting}={heeded}"
                )),
                (Meant::NoEqual(known), _) => self.ignored.push(format!(
                    "{name}={value} is ignored: of {name} only {known} can be honoured here; {setting} says more"
                )),
            },
        }
    }
}

/// NCCL's sockets are what is left without verbs; by `IB` it fails where there are none.
pub(super) fn transport_of_net(net: &str) -> Meant {
    match net.trim().to_ascii_lowercase().as_str() {
        "" | "socket" => Meant::Default,
        "ib" => Meant::Ours(Transport::Verbs.name().to_owned()),
        _ => Meant::NoEqual("IB and Socket"),
    }
}

/// As [`transport_of_net`], of the setting that forbids verbs.
pub(super) fn verbs_of_net(net: &str) -> Meant {
    match net.trim().eq_ignore_ascii_case("socket") {
        true => Meant::Ours("off".to_owned()),
        false => Meant::Default,
    }
}

/// NCCL also numbers rails and planes behind the port.
pub(super) fn ports_of_nccl(ports: &str) -> Meant {
    match ports.parse::<PortNames>() {
        _ if ports.trim().is_empty() => Meant::Default,
        Ok(ports) => Meant::Ours(ports.to_string()),
        Err(_) => Meant::NoEqual("lists of devices and `device:port`, after ^, = or neither,"),
    }
}

/// Why queue pairs have no settings of their own for that.
pub(super) const BY_STALL: &str = "queue pairs repeat what is not acknowledged for more than half of CROSSTIE_STALL, and so \
                                   live through what passes within that; raise it to wait longer";
