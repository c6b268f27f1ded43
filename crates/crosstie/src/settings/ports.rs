//! Owns how a range of ports is written.

use std::ops::RangeInclusive;

use super::Value;

impl Value for RangeInclusive<u16> {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_ports(text)
    }
}

/// A range of ports as settings write it: `40000-40100`, or a single one.
///
/// ```
/// assert_eq!(crosstie::parse_ports("40000-40100"), Ok(40_000..=40_100));
/// assert!(crosstie::parse_ports("2-1").is_err());
/// ```
///
/// # Errors
/// What is expected, for people.
pub fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "expected FIRST-LAST, such as 40000-40100".to_owned();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first > last { Err(wrong()) } else { Ok(first..=last) }
}
