//! Owns the reading of graph files, bounded, with line and column for what is wrong.

use alloc::string::String;
use alloc::vec::Vec;

use crosstie_topo::xml::{Attribute, Document, Element};
use crosstie_topo::{PathKind, shown};

use super::{
    Channel, CrossNic, Device, Graph, GraphError, GraphFault, GraphFile, HOST_SHIFT, MOST_CHANNELS,
    NVLS, Pattern, Place,
};

/// The fastest link that is believed, GB/s in thousandths.
const FASTEST: u64 = 1_000_000_000;

impl GraphFile {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Where they are no graph file: what was found, what was expected, and where.
    pub fn read(bytes: &[u8]) -> Result<Self, GraphError> {
        let document = Document::read_bytes(bytes)
            .map_err(|error| GraphError { at: error.at, fault: GraphFault::Xml(error.fault) })?;
        Self::of_document(&document)
    }

    /// What a tree of elements says.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of_document(document: &Document) -> Result<Self, GraphError> {
        let root = &document.root;
        if root.name != "graphs" {
            return fault(root, GraphFault::Root { found: quote(&root.name) });
        }
        one_of(root, "graphs", "version", &[(1, ())], "1")?;
        let mut graphs: Vec<Graph> = Vec::new();
        for element in inside(root, "graphs", &["graph"], "<graph>") {
            let element = element?;
            let graph = graph(element)?;
            if graphs.iter().any(|other| other.id == graph.id) {
                return fault(element, GraphFault::Twice { id: graph.id });
            }
            graphs.push(graph);
        }
        Ok(Self { graphs })
    }
}

fn graph(element: &Element) -> Result<Graph, GraphError> {
    const NAME: &str = "graph";
    let number = |name, most, expected| number(element, NAME, name, most, expected);
    let id = number("id", 255, "0 ring, 1 tree, 2 or 4 CollNet, 3 NVLS")? as u32;
    let patterns = "1 balanced tree, 2 split tree, 3 tree, 4 ring, 5 NVLS or 6 CollNet direct";
    let pattern = one_of(element, NAME, "pattern", &Pattern::ALL, patterns)?;
    let cross = "0 no, 1 any or 2 in pairs";
    let cross_nic = one_of(element, NAME, "crossnic", &CrossNic::ALL, cross)?;
    let told = number("nchannels", u64::from(u32::MAX), "how many channels follow")? as usize;
    let same = [(0, false), (1, true)];
    let same_channels = one_of(element, NAME, "samechannels", &same, "0 or 1")?;
    let mut channels = Vec::new();
    for inner in inside(element, NAME, &["channel"], "<channel>") {
        channels.push(channel(inner?, id)?);
    }
    let found = channels.len();
    if found > MOST_CHANNELS {
        return fault(element, GraphFault::TooMany { found, most: MOST_CHANNELS });
    }
    if found != told {
        let what = "channels of a graph whose nchannels says otherwise";
        return fault(element, GraphFault::Count { what, found, expected: told });
    }
    // Older releases write no latency.
    let latency_inter_ns = match element.find("latencyinter") {
        Some(_) => thousandths(element, "latencyinter", "a number of µs")?,
        None => 0,
    };
    Ok(Graph {
        id,
        pattern,
        cross_nic,
        speed_intra_mb_s: thousandths(element, "speedintra", "a number of GB/s")?,
        speed_inter_mb_s: thousandths(element, "speedinter", "a number of GB/s")?,
        latency_inter_ns,
        type_intra: kind(element, "typeintra")?,
        type_inter: kind(element, "typeinter")?,
        same_channels,
        channels,
        at: Place(element.at),
    })
}

fn channel(element: &Element, id: u32) -> Result<Channel, GraphError> {
    let (mut nets, mut gpus) = (Vec::new(), Vec::new());
    for inner in inside(element, "channel", &["net", "gpu"], "<net> or <gpu>") {
        let inner = inner?;
        match inner.name == "net" {
            true => nets.push(device(inner, "net")?),
            false => gpus.push(device(inner, "gpu")?),
        }
    }
    let nets = match nets[..] {
        [] => None,
        [into, out] => Some([into, out]),
        _ => return fault(element, GraphFault::Nets { found: nets.len() }),
    };
    let what = "GPUs of a channel of NVLS, which names the first alone";
    if id == NVLS && gpus.len() != 1 {
        return fault(element, GraphFault::Count { what, found: gpus.len(), expected: 1 });
    }
    Ok(Channel { nets, gpus, at: Place(element.at) })
}

/// Its number has digits alone where an older release wrote it, which means decimal ones there.
fn device(element: &Element, name: &'static str) -> Result<Device, GraphError> {
    let number = |attribute, expected| number(element, name, attribute, u64::MAX, expected);
    let expected = "a device's number, decimal, or hexadecimal with 0x";
    let id = number("dev", expected)?;
    let (host, dev) = ((id >> HOST_SHIFT) as u8, id & ((1 << HOST_SHIFT) - 1));
    let wrong = |attribute: &'static str, expected| {
        wrong(name, require(element, name, attribute, expected)?, attribute, expected)
    };
    let Ok(dev) = u32::try_from(dev) else { return wrong("dev", expected) };
    let rank = match element.find("rank") {
        None => None,
        Some(_) => match u32::try_from(number("rank", "a rank")?) {
            Ok(rank) => Some(rank),
            Err(_) => return wrong("rank", "a rank"),
        },
    };
    Ok(Device { host, dev, rank, at: Place(element.at) })
}

/// The elements inside one, each of a name that may stand there.
fn inside<'a>(
    element: &'a Element,
    inside: &'static str,
    names: &'static [&'static str],
    expected: &'static str,
) -> impl Iterator<Item = Result<&'a Element, GraphError>> {
    element.elements().map(move |inner| match names.contains(&&*inner.name) {
        true => Ok(inner),
        false => fault(inner, GraphFault::Element { found: quote(&inner.name), inside, expected }),
    })
}

fn fault<T>(element: &Element, fault: GraphFault) -> Result<T, GraphError> {
    Err(GraphError { at: element.at, fault })
}

fn require<'a>(
    element: &'a Element,
    name: &'static str,
    attribute: &'static str,
    expected: &'static str,
) -> Result<&'a Attribute, GraphError> {
    let missing = GraphFault::Missing { element: name, attribute, expected };
    element.find(attribute).ok_or(GraphError { at: element.at, fault: missing })
}

fn wrong<T>(
    element: &'static str,
    found: &Attribute,
    attribute: &'static str,
    expected: &'static str,
) -> Result<T, GraphError> {
    let value = quote(&found.value);
    Err(GraphError {
        at: found.at,
        fault: GraphFault::Value { element, attribute, value, expected },
    })
}

/// As much of a text that somebody else wrote as an error has room for.
fn quote(text: &str) -> String {
    shown(&text.chars().take(60).collect::<String>())
}

fn number(
    element: &Element,
    name: &'static str,
    attribute: &'static str,
    most: u64,
    expected: &'static str,
) -> Result<u64, GraphError> {
    let found = require(element, name, attribute, expected)?;
    let text = found.value.trim();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign.
    let good = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    let value = good.then(|| u64::from_str_radix(digits, radix).ok()).flatten();
    match value.filter(|&value| value <= most) {
        Some(value) => Ok(value),
        None => wrong(name, found, attribute, expected),
    }
}

fn one_of<T: Copy>(
    element: &Element,
    name: &'static str,
    attribute: &'static str,
    all: &[(u64, T)],
    expected: &'static str,
) -> Result<T, GraphError> {
    let value = number(element, name, attribute, u64::MAX, expected)?;
    match all.iter().find(|&&(number, _)| number == value) {
        Some(&(_, meaning)) => Ok(meaning),
        None => {
            let found = require(element, name, attribute, expected)?;
            wrong(name, found, attribute, expected)
        }
    }
}

fn kind(element: &Element, attribute: &'static str) -> Result<PathKind, GraphError> {
    let expected = "a kind of path: LOC, NVL, NVB, C2C, PIX, PXB, P2C, PXN, PHB or SYS";
    let found = require(element, "graph", attribute, expected)?;
    let is = |kind: &PathKind| kind.name() == found.value.trim() && *kind != PathKind::Net;
    match PathKind::ALL.into_iter().find(is) {
        Some(kind) => Ok(kind),
        None => wrong("graph", found, attribute, expected),
    }
}

/// A decimal fraction in thousandths, rounded: `%g` writes 17.5, and 1e-05 of small ones.
fn thousandths(
    element: &Element,
    attribute: &'static str,
    expected: &'static str,
) -> Result<u64, GraphError> {
    let found = require(element, "graph", attribute, expected)?;
    match parse(found.value.trim()).filter(|&value| value <= FASTEST) {
        Some(value) => Ok(value),
        None => wrong("graph", found, attribute, expected),
    }
}

fn parse(text: &str) -> Option<u64> {
    const MOST_DIGITS: usize = 20;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, part].concat();
    if digits.is_empty()
        || digits.len() > MOST_DIGITS
        || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let digits: u128 = digits.parse().ok()?;
    let shift = i32::from(exponent) + 3 - part.len() as i32;
    let value = match u32::try_from(shift) {
        Ok(_) if digits == 0 => 0,
        Ok(up) => digits.checked_mul(10u128.checked_pow(up)?)?,
        Err(_) => {
            10u128.checked_pow(shift.unsigned_abs()).map_or(0, |unit| (digits + unit / 2) / unit)
        }
    };
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn fractions_are_read_as_c_writes_them() {
        for (text, value) in [
            ("12", Some(12_000)),
            ("17.5", Some(17_500)),
            (".24", Some(240)),
            ("0.0004", Some(0)),
            ("1e-05", Some(0)),
            ("1.2E+2", Some(120_000)),
            ("0e9999", Some(0)),
            ("1e9999", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("inf", None),
        ] {
            assert_eq!(parse(text), value, "{text}");
        }
    }
}
