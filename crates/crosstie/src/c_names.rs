//! Owns how calls are told that come through the C interface: by the name of NCCL's function, for the place in this
//! library where they end up says nothing of the program.

use crosstie_bootstrap::CallMark;

use crate::Settings;
use crate::settings::Resolved;

/// Set in the kind of calls that come through it; roots end below.
const FROM_C: u64 = 1 << 61;

/// NCCL's functions by the names of operations here.
const FUNCTIONS: [(&str, &str); 11] = [
    ("all_gather", "ncclAllGather"),
    ("all_reduce", "ncclAllReduce"),
    ("all_to_all", "ncclAlltoAll"),
    ("broadcast", "ncclBroadcast"),
    ("gather", "ncclGather"),
    ("group", "ncclSend or ncclRecv"),
    ("recv", "ncclRecv"),
    ("reduce", "ncclReduce"),
    ("reduce_scatter", "ncclReduceScatter"),
    ("scatter", "ncclScatter"),
    ("send", "ncclSend"),
];

impl Settings {
    /// For an interface of another language that has NCCL's functions: errors tell calls by those functions' names, and
    /// not by places in this library's own source.
    ///
    /// ```
    /// use crosstie::Settings;
    ///
    /// let settings = Settings::default().called_from_c();
    /// assert_eq!(settings.rank(0).size(1).connect()?.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn called_from_c(mut self) -> Self {
        self.from_c = true;
        self
    }
}

impl Resolved {
    /// A call's kind, with what tells where it comes from.
    pub fn kind_from(&self, kind: u64) -> u64 {
        if self.from_c { kind | FROM_C } else { kind }
    }
}

/// Where the program made a call of `operation`, or by which function.
pub(crate) fn site(mark: &CallMark, operation: &str) -> String {
    if mark.kind & FROM_C == 0 {
        return mark.site.to_string();
    }
    let known = FUNCTIONS.iter().find(|(name, _)| *name == operation);
    known.map_or("the C interface", |(_, function)| *function).to_owned()
}
