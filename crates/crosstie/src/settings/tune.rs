//! Owns the setting of the tune file: rank 0 reads it, and all ranks go by what it says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosstie_bootstrap::{ReadForAll, World};
use crosstie_planner::cost::Tune;
use crosstie_probe::{Pipes, read_file};

use super::Resolved;
use super::registry::TUNE_FILE;
use crate::{Error, Settings};

/// Bytes of a table that can be told at a meeting.
const MOST_TOLD_BYTES: usize = 128 << 10;

impl Settings {
    /// Measured times by which algorithms are chosen, as `crosstie tune` writes them (`CROSSTIE_TUNE_FILE`). Rank 0
    /// reads the file and tells the others; what they name is not looked at. Default: what is built in.
    ///
    /// ```
    /// # use crosstie::{Settings, Threads};
    /// let settings = Settings::default().tune_file("/nowhere/tune.json");
    /// let refused = Threads::new(2).settings(settings).run_each(|_| Ok(()));
    /// assert!(refused.iter().all(|rank| rank.is_err()), "all learn that rank 0 cannot read it");
    /// ```
    #[must_use]
    pub fn tune_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.tune_file = Some(file.into());
        self
    }
}

/// What rank 0 tells all of the file that it was told.
pub(crate) fn read_for_all(file: &Path) -> ReadForAll {
    let content =
        read_file(file, Pipes::Refused).map_err(|error| format!("cannot be read: {error}"));
    let table = content.and_then(|text| Tune::from_json(&text).map_err(|error| error.to_string()));
    let content = table.map(|table| table.to_json()).and_then(|text| match text.len() {
        ..=MOST_TOLD_BYTES => Ok(text),
        bytes => {
            Err(format!("{bytes} bytes are too many to tell all ranks; at most {MOST_TOLD_BYTES}"))
        }
    });
    ReadForAll { file: file.display().to_string(), content }
}

impl Resolved {
    /// Goes by what rank 0 has read, if it has: the same on all ranks, as is the refusal of a file that cannot be
    /// used.
    pub fn heed_rank_0(&mut self, world: &mut World) -> Result<(), Error> {
        let Some(read) = world.records.first_mut().and_then(|record| record.read.take()) else {
            return Ok(());
        };
        let table = read.content.and_then(|text| {
            Tune::from_json(text.as_bytes()).map_err(|error| format!("was told wrong: {error}"))
        });
        let wrong =
            |what| TUNE_FILE.wrong(read.file, format!("rank 0 on host {}: {what}", world.host(0)));
        self.tune = Some(Arc::new(table.map_err(wrong)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crosstie_planner::cost::{Entry, Point, Provenance, Shape};
    use crosstie_planner::{Algorithm, Reach};

    use super::*;
    use crate::{Collective, DataType, Threads};

    /// A table by which four ranks of one node reduce by ring, and nothing else.
    fn ring() -> Tune {
        let entry = Entry {
            reach: Reach::Memory,
            shape: Shape { nodes: 1, ranks_per_node: 4 },
            collective: Collective::AllReduce,
            algorithm: Algorithm::Ring,
            points: vec![Point { bytes: 8, time_ns: 10 }],
        };
        Tune { provenance: Provenance::default(), entries: vec![entry] }
    }

    #[test]
    fn what_rank_0_read_decides_names_the_inputs_and_stays_with_what_is_split_off() {
        let file = std::env::temp_dir().join(format!("crosstie-tune-{}.json", std::process::id()));
        std::fs::write(&file, ring().to_json()).unwrap();
        let told = |settings: Settings| {
            Threads::new(4).settings(settings).run(|mut comm| {
                let half = comm.split(Some(comm.rank() / 2), 0)?.unwrap();
                let of = |comm: &crate::Communicator| {
                    comm.algorithm(Collective::AllReduce, DataType::F32, 2)
                };
                Ok((of(&comm), of(&half), comm.inputs()))
            })
        };
        let without = told(Settings::default()).unwrap();
        let with = told(Settings::default().tune_file(&file)).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(with.iter().all(|rank| *rank == with[0]), "{with:?}");
        assert_eq!((with[0].0, with[0].1), (Algorithm::Ring, Algorithm::Ring));
        assert_ne!(without[0].0, Algorithm::Ring);
        assert_ne!(with[0].2, without[0].2);
    }

    #[test]
    fn a_table_too_long_to_be_told_is_refused_before_the_meeting() {
        let long = Tune {
            provenance: Provenance { cpu: "x".repeat(MOST_TOLD_BYTES), ..Provenance::default() },
            ..ring()
        };
        let file =
            std::env::temp_dir().join(format!("crosstie-tune-long-{}.json", std::process::id()));
        std::fs::write(&file, long.to_json()).unwrap();
        let read = read_for_all(&file);
        std::fs::remove_file(&file).unwrap();
        assert!(read.content.unwrap_err().contains("too many to tell all ranks"));
    }
}
