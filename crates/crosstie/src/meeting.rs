//! Owns the place where ranks first meet, for programs that start ranks themselves.

use crosstie_bootstrap::MeetingHost;
use crosstie_net::{ListenOptions, Listener, UniqueId};

use crate::Error;

/// A meeting that this process hosts, for ranks that it starts or tells the [`UniqueId`].
///
/// Keep it until every rank has connected.
pub struct Meeting {
    _host: MeetingHost,
}

impl Meeting {
    /// Opens a meeting; the id carries its addresses and a fresh secret.
    ///
    /// ```
    /// use crosstie::{Meeting, Settings};
    ///
    /// let (_meeting, id) = Meeting::open()?;
    /// let other = std::thread::spawn({
    ///     let settings = Settings::default().rank(1).size(2).id(id.clone());
    ///     move || settings.connect()?.barrier()
    /// });
    /// Settings::default().rank(0).size(2).id(id).connect()?.barrier()?;
    /// other.join().unwrap()?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Network`] when no port can be opened.
    pub fn open() -> Result<(Self, UniqueId), Error> {
        let listener = Listener::shared(&ListenOptions::default())?;
        let (host, id) = MeetingHost::open(&listener)?;
        Ok((Self { _host: host }, id))
    }
}
