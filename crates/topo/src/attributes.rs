//! Owns the reading of attributes: numbers and addresses, with an error that shows the place.

use alloc::string::String;
use core::str::FromStr;

use crate::bus_id::BusId;
use crate::error::{Fault, ReadError, quote};
use crate::xml::{Attribute, Element};

/// The largest count of parallel links, and of similar things, that is believed.
const MOST: u64 = 1 << 20;

/// An error about an attribute's value.
pub fn wrong(element: &Element, attribute: &Attribute, expected: &'static str) -> ReadError {
    let fault = Fault::Value {
        element: quote(&element.name),
        attribute: quote(&attribute.name),
        value: quote(&attribute.value),
        expected,
    };
    ReadError { at: attribute.at, fault }
}

/// An error about an attribute that is not there.
pub fn missing(element: &Element, attribute: &'static str, expected: &'static str) -> ReadError {
    let element_name = quote(&element.name);
    let fault = Fault::Missing { element: element_name, attribute, expected };
    ReadError { at: element.at, fault }
}

/// A bus id that must be there.
pub fn bus_id(element: &Element) -> Result<BusId, ReadError> {
    let expected = "a PCI address such as 0000:1b:00.0";
    let attribute = element.find("busid").ok_or_else(|| missing(element, "busid", expected))?;
    BusId::from_str(attribute.value.trim()).map_err(|_| wrong(element, attribute, expected))
}

/// A number, decimal or hexadecimal with `0x`; `None` where there is none, or an empty text.
pub fn number(element: &Element, name: &str) -> Result<Option<u64>, ReadError> {
    let Some(attribute) = element.find(name) else { return Ok(None) };
    let text = attribute.value.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let expected = "a number from 0 to 18446744073709551615";
    parse(text).map(Some).ok_or_else(|| wrong(element, attribute, expected))
}

fn parse(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign.
    let good = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    good.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

/// A number of 32 bits.
pub fn small(element: &Element, name: &str) -> Result<Option<u32>, ReadError> {
    let Some(value) = number(element, name)? else { return Ok(None) };
    let attribute = element.find(name);
    match (u32::try_from(value), attribute) {
        (Err(_), Some(attribute)) => {
            Err(wrong(element, attribute, "a number from 0 to 4294967295"))
        }
        (value, _) => Ok(value.ok()),
    }
}

/// A number of 32 bits where −1 stands for none.
pub fn small_or_minus_one(element: &Element, name: &str) -> Result<Option<u32>, ReadError> {
    match element.attribute(name).map(str::trim) {
        Some("-1") => Ok(None),
        _ => small(element, name),
    }
}

/// A number of lanes, `16` or `x16`.
pub fn lanes(element: &Element, name: &str) -> Result<Option<u32>, ReadError> {
    let text = element.attribute(name).unwrap_or_default().trim();
    match text.strip_prefix(['x', 'X']).and_then(|digits| parse(digits)?.try_into().ok()) {
        Some(lanes) => Ok(Some(lanes)),
        None => small_or_minus_one(element, name),
    }
}

/// A count that must be there, up to about a million.
pub fn count(element: &Element, name: &'static str) -> Result<u32, ReadError> {
    let expected = "a number from 0 to 1048576";
    let attribute = element.find(name).ok_or_else(|| missing(element, name, expected))?;
    match parse(attribute.value.trim()) {
        Some(value @ 0..=MOST) => Ok(value as u32),
        _ => Err(wrong(element, attribute, expected)),
    }
}

/// Yes or no, as 1 or 0; `None` where it is not told, or −1.
pub fn flag(element: &Element, name: &str) -> Result<Option<bool>, ReadError> {
    match element.attribute(name).map(str::trim) {
        Some("-1") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        _ => Ok(number(element, name)?.map(|value| value != 0)),
    }
}

/// Bits in hexadecimal, with `0x` or without.
pub fn hexadecimal(element: &Element, name: &str) -> Result<Option<u64>, ReadError> {
    let Some(attribute) = element.find(name) else { return Ok(None) };
    let text = attribute.value.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    match (text.is_empty(), digits.starts_with(|c: char| c.is_ascii_hexdigit())) {
        (true, _) => Ok(None),
        (_, true) => u64::from_str_radix(digits, 16)
            .map(Some)
            .map_err(|_| wrong(element, attribute, "up to 16 hexadecimal digits")),
        (_, false) => Err(wrong(element, attribute, "up to 16 hexadecimal digits")),
    }
}

/// A time in µs, with decimals, as ns; 0 where it is not told.
pub fn microseconds(element: &Element, name: &str) -> Result<u64, ReadError> {
    let Some(attribute) = element.find(name) else { return Ok(0) };
    let expected = "microseconds from 0 to 1000000";
    let text = attribute.value.trim();
    let value = if text.is_empty() { Ok(0.0) } else { text.parse::<f64>() };
    match value {
        Ok(us) if (0.0..=1e6).contains(&us) => Ok((us * 1000.0) as u64),
        _ => Err(wrong(element, attribute, expected)),
    }
}

/// A PCIe rate, such as `16.0 GT/s PCIe`, in MT/s a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rate {
    /// None is told: no attribute, or an empty one, or 0.
    Untold,
    /// A number.
    Told(u32),
    /// Words, such as `Unknown`.
    Words(String),
}

/// Reads a PCIe rate.
pub fn rate(element: &Element, name: &str) -> Result<Rate, ReadError> {
    let Some(attribute) = element.find(name) else { return Ok(Rate::Untold) };
    let text = attribute.value.trim();
    let Some(first) = text.chars().next() else { return Ok(Rate::Untold) };
    if !first.is_ascii_digit() && first != '-' {
        return Ok(Rate::Words(quote(text)));
    }
    let number = text.split(|c: char| c.is_whitespace() || c == 'G').next().unwrap_or_default();
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let thousandths = decimals.get(..decimals.len().min(3)).and_then(parse);
    let scale = 10_u64.pow(3 - decimals.len().min(3) as u32);
    let rate = parse(whole).zip(thousandths).and_then(|(whole, rest)| {
        u32::try_from(whole.checked_mul(1000)?.checked_add(rest * scale)?).ok()
    });
    match rate {
        Some(0) => Ok(Rate::Untold),
        Some(rate) => Ok(Rate::Told(rate)),
        None => Err(wrong(element, attribute, "a rate such as \"16.0 GT/s PCIe\"")),
    }
}
