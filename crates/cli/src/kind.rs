//! Owns what kinds of files a command line may name: how to tell one by how it begins, and which option takes it.

use std::path::Path;

use crosstie_probe::Captured;
use serde_json::Value;

use crate::exit::Failure;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An NCCL topology file, or what is to be read as one.
    Topology,
    /// NCCL's graph file.
    Graph,
    /// A program for MSCCL.
    Program,
    /// A captured machine.
    Capture,
    /// A fabric.
    Fabric,
    /// A whole plan, as `crosstie plan verify` reads it.
    Plan,
    /// What `crosstie plan --json` printed.
    Explained,
    /// What `crosstie topo --json` printed.
    Shown,
    /// Some other JSON.
    Json,
}

impl Kind {
    /// By the first line that says anything; of JSON, by its keys.
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes.get(..1 << 16).unwrap_or(bytes));
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let first =
            lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        match first.chars().next() {
            _ if Captured::is_begun(&text) => Self::Capture,
            Some('<') => Self::of_xml(&text),
            Some('[') => Self::of_bracket(bytes, first),
            Some('{') => Self::of_json(bytes),
            // A key of TOML.
            Some(_) if first.split_once('=').is_some_and(|(key, _)| is_key(key.trim())) => {
                Self::Fabric
            }
            _ => Self::Topology,
        }
    }

    fn of_xml(text: &str) -> Self {
        let mut rest = text;
        while let Some(comment) = rest.find("<!--") {
            // An element before the first comment is the outermost.
            if named(&rest[..comment]).is_some() {
                break;
            }
            rest = rest[comment..].split_once("-->").map_or("", |(_, after)| after);
        }
        match named(rest).as_deref() {
            Some("graphs") => Self::Graph,
            Some("algo") => Self::Program,
            _ => Self::Topology,
        }
    }

    /// A table of TOML, or an array of JSON.
    fn of_bracket(bytes: &[u8], first: &str) -> Self {
        let header = first.trim_start_matches('[').split(']').next().unwrap_or_default();
        let is_array = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        if is_key(header.trim()) && !is_array { Self::Fabric } else { Self::Json }
    }

    fn of_json(bytes: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Self::Json };
        let has = |key: &str| value.get(key).is_some();
        match &value["schema"] {
            Value::String(schema) if schema == "crosstie.plan" => Self::Plan,
            _ if has("rings") && has("routes") => Self::Explained,
            _ if has("vertices") || has("wiring") => Self::Shown,
            _ => Self::Json,
        }
    }

    /// What it is, in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topology => "an NCCL topology file",
            Self::Graph => "a graph file (NCCL_GRAPH_FILE)",
            Self::Program => "a program for MSCCL",
            Self::Capture => "a captured machine (crosstie topo --capture)",
            Self::Fabric => "a fabric",
            Self::Plan => "a whole plan (schema crosstie.plan)",
            Self::Explained => "a plan, as `crosstie plan --json` prints it",
            Self::Shown => "a topology as `crosstie topo --json` prints it",
            Self::Json => "JSON of some other program",
        }
    }

    /// Which command takes it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Topology | Self::Capture => {
                "`crosstie topo FILE` shows one; --topo of plan, bench and run takes it"
            }
            Self::Graph => {
                "`crosstie plan --topo MACHINE --graph FILE` shows what it makes of a machine"
            }
            Self::Program | Self::Plan => "`crosstie plan verify FILE` proves it",
            Self::Fabric => "`crosstie topo FILE` shows it, `crosstie lab --fabric FILE` builds it",
            Self::Explained => {
                "`crosstie plan diff A B` compares two; it has no steps of a collective to prove"
            }
            Self::Shown => "nothing reads it back: give what --format xml printed",
            Self::Json => "give another file",
        }
    }

    /// The refusal of a file that is of this kind where another is wanted.
    pub fn refusal(self, option: &str, path: &Path, wanted: &str) -> Failure {
        let path = crate::file::shown(path);
        let option = if option.is_empty() { String::new() } else { format!("{option} ") };
        let remedy = self.remedy().replace("FILE", &path);
        Failure::usage(format!("{option}{path} is {}, not {wanted}", self.name()), remedy)
    }
}

/// The name of the first element.
fn named(text: &str) -> Option<String> {
    let name =
        |part: &str| -> String { part.chars().take_while(char::is_ascii_alphanumeric).collect() };
    // Before the first `<` stands nothing, after that of a declaration a mark.
    text.split('<').skip(1).map(name).find(|name| !name.is_empty())
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn files_are_known_by_how_they_begin() {
        for (text, kind) in [
            ("<system version=\"1\"/>", Kind::Topology),
            ("<?xml version=\"1.0\"?>\n<!-- <graphs> -->\n<system/>", Kind::Topology),
            ("\n<graphs version=\"1\"/>", Kind::Graph),
            ("<algo name=\"x\"/>", Kind::Program),
            ("# captured\n/nvml\n", Kind::Capture),
            ("name = \"x\"", Kind::Fabric),
            ("[[nodes]]", Kind::Fabric),
            ("[ nodes ] # of them", Kind::Fabric),
            ("[]", Kind::Json),
            ("[1]", Kind::Json),
            ("[\n1, 2]", Kind::Json),
            ("[{\"a\": 1}, {\"b\"", Kind::Json),
            ("{\"schema\": \"crosstie.plan\"}", Kind::Plan),
            ("{\"schema\": 1, \"rings\": [], \"routes\": []}", Kind::Explained),
            ("{\"schema\": 1, \"vertices\": []}", Kind::Shown),
            ("{\"schema\": 1", Kind::Json),
            ("", Kind::Topology),
        ] {
            assert_eq!(Kind::of(text.as_bytes()), kind, "{text}");
        }
    }
}
