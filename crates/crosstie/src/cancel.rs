//! Owns [`Cancel`]: giving up connecting, from any thread; and what else a meeting is to be like.

use std::sync::{Arc, OnceLock};

use crate::Settings;

/// Ends the connecting of ranks that were told of it by [`Settings::cancelled_by`].
///
/// ```
/// use crosstie::{Cancel, Meeting, Settings};
///
/// let (_meeting, id) = Meeting::open()?;
/// let cancel = Cancel::default();
/// // Rank 1 never comes.
/// let settings = Settings::default().rank(0).size(2).id(id).cancelled_by(&cancel);
/// let waiting = std::thread::spawn(|| settings.connect().map(drop));
/// cancel.cancel("the job is over");
/// assert_eq!(waiting.join().unwrap().unwrap_err().code().to_string(), "CT-024");
/// # Ok::<(), crosstie::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    why: Arc<OnceLock<String>>,
}

impl Cancel {
    /// Ends connecting that is under way, and that is to come: it returns within about a tenth of a second, with
    /// [`Error::Cancelled`](crate::Error::Cancelled), and the other ranks are told `why`. Of several times the first
    /// counts. Does nothing to those who have connected.
    ///
    /// ```
    /// use crosstie::{Cancel, Settings};
    ///
    /// let cancel = Cancel::default();
    /// cancel.cancel("nobody needs it");
    /// assert!(Settings::default().rank(0).size(1).cancelled_by(&cancel).connect().is_err());
    /// ```
    pub fn cancel(&self, why: &str) {
        // It is printed on all ranks, whose terminals take no orders from here.
        let printed = |c: char| if c.is_control() { ' ' } else { c };
        let _ = self.why.set(why.chars().map(printed).collect());
    }

    /// Whether it was cancelled.
    ///
    /// ```
    /// let cancel = crosstie::Cancel::default();
    /// assert!(!cancel.is_cancelled());
    /// cancel.cancel("nobody needs it");
    /// assert!(cancel.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.why.get().is_some()
    }

    /// Why, once it is.
    pub(crate) fn why(&self) -> Option<String> {
        self.why.get().cloned()
    }
}

/// What a rank's meeting is to be like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    pub cancel: Cancel,
    /// Whether ranks meet several times with one secret, each time as another world.
    pub often: bool,
}

impl Settings {
    /// Has `cancel` end the connecting of this rank.
    ///
    /// ```
    /// use crosstie::{Cancel, Settings};
    ///
    /// let cancel = Cancel::default();
    /// let comm = Settings::default().rank(0).size(1).cancelled_by(&cancel).connect()?;
    /// assert_eq!(comm.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.terms.cancel = cancel.clone();
        self
    }
}
