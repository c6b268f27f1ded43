//! Owns the setting of detection: whether a rank finds out what machine it is on, and where it looks.

use std::path::PathBuf;
use std::str::FromStr;

use super::Value;
use crate::Settings;

/// Whether a rank finds out what its node's machine is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Detect {
    /// By what the kernel and the driver of its GPUs tell; ranks that are threads of one process do not.
    #[default]
    Host,
    /// Not at all.
    Off,
    /// By files below a directory, as `crosstie topo --capture` captured them of another machine.
    Captured(PathBuf),
}

impl Value for Detect {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether there is something that is no directory. One that is missing here may be there on the node that looks.
fn is_other(root: &str) -> bool {
    std::fs::metadata(root).is_ok_and(|it| !it.is_dir())
}

impl FromStr for Detect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::Host),
            "off" => Ok(Self::Off),
            root if root.contains('/') && !is_other(root) => Ok(Self::Captured(root.into())),
            _ => Err("expected on, off or the path of a directory".to_owned()),
        }
    }
}

impl Settings {
    /// Whether this rank finds out what its node's machine is, should it be asked (`CROSSTIE_DETECT`); default
    /// [`Detect::Host`]. One rank of each machine is asked. Where a [file](Self::topo_file) says it, nobody is.
    ///
    /// ```
    /// # use crosstie::{Detect, Settings, Threads};
    /// let settings = Settings::default().detect(Detect::Off);
    /// Threads::new(2).settings(settings).run(|comm| {
    ///     assert!(comm.topology().is_none());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn detect(mut self, detect: Detect) -> Self {
        self.detect = Some(detect);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_look_at_is_a_path() {
        assert_eq!(Detect::from_text("on"), Ok(Detect::Host));
        assert_eq!(Detect::from_text("off"), Ok(Detect::Off));
        assert_eq!(Detect::from_text("./a"), Ok(Detect::Captured("./a".into())));
        for wrong in ["", "yes", "a", "/dev/zero"] {
            assert!(Detect::from_text(wrong).unwrap_err().contains("directory"), "{wrong}");
        }
    }
}
