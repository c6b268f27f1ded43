//! Owns the place where ranks first meet, for programs that start ranks themselves.

use crosstie_bootstrap::MeetingHost;
use crosstie_launch::LaunchError;
use crosstie_net::{ListenOptions, Listener, Reserved, Secret, UniqueId};

use crate::{Error, Settings};

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

    /// The same for `ranks` ranks that are all to be in this process.
    ///
    /// ```
    /// assert!(crosstie::Meeting::of_all(2).is_ok());
    /// let refused = crosstie::Meeting::of_all(1 << 20).err().unwrap();
    /// assert_eq!(refused.code().to_string(), "CT-041");
    /// ```
    ///
    /// # Errors
    /// [`Error::Network`] when no port can be opened, or the process may not open as many files as so many ranks need.
    pub fn of_all(ranks: u32) -> Result<(Self, UniqueId), Error> {
        Reserved::check_for_all_of(ranks)?;
        Self::open()
    }

    /// The `host:port` at which `NCCL_COMM_ID` has ranks meet that have no id, if it is set; for
    /// [`Settings::open_root`](crate::Settings::open_root).
    ///
    /// ```
    /// assert_eq!(crosstie::Meeting::named_by_nccl(), None, "nobody has set it here");
    /// ```
    pub fn named_by_nccl() -> Option<String> {
        let environment = crosstie_launch::environment(std::env::vars_os());
        environment.get("NCCL_COMM_ID").filter(|address| !address.is_empty()).cloned()
    }
}

impl Settings {
    /// As [`root`](Self::root), for worlds that meet at one address one after the other, while those before are still
    /// alive; at the same time only such of another `purpose`. Where
    /// neither a secret nor `CROSSTIE_SECRET` was given, the address stands for one: whoever knows it and reaches its
    /// port may join, as with NCCL. Set rank and size before.
    ///
    /// ```
    /// use crosstie::Settings;
    ///
    /// let settings = Settings::default().rank(0).size(1);
    /// let comm = settings.open_root("127.0.0.1:29417", "the first").connect()?;
    /// assert_eq!(comm.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn open_root(self, address: impl Into<String>, purpose: &str) -> Self {
        let address = address.into();
        let open = || Secret::from_passphrase(&format!("whoever reaches {address}"));
        let mut settings = self.root(address.clone());
        if Meeting::named_by_nccl().as_ref() == Some(&address) {
            settings.explicit.root_named_by = Some("NCCL_COMM_ID");
        }
        settings.terms.often = true;
        let environment = crosstie_launch::environment(std::env::vars_os());
        let identity = crosstie_launch::identify(&settings.explicit, &environment);
        let secret = match identity.map(|identity| identity.meeting) {
            Ok(crosstie_launch::Meeting::Root { secret, .. }) => secret,
            Err(LaunchError::NoSecret { .. }) => open(),
            // Connecting tells what is wrong.
            _ => return settings,
        };
        settings.secret(secret.derive(purpose))
    }
}
