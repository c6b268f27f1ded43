//! Owns the way from an identity to a world: find the meeting, go there, say who one is, learn who the others are.

mod announcer;
mod describing;
mod gathering;
mod guest;
mod host;
mod message;
mod place;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_launch::Identity;
use crosstie_net::{Dial, Link, Listener, NetError, Purpose, Secret, Target, dial_unless};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::BootstrapError;
use crate::meeting::describing::{Question, Reply};
use crate::meeting::host::Door;
use crate::meeting::message::{JOIN_MAX_BYTES, Join, Outcome, broken};
use crate::meeting::place::{Place, Root, Server};
use crate::world::{Record, World};

pub use crate::meeting::describing::Description;
pub use crate::meeting::gathering::REMARK;
pub use crate::meeting::host::MeetingHost;

/// Brings this process to its world's meeting and waits until all ranks have come.
///
/// `own` is this process's record; its rank is the identity's. The host of the meeting tells every rank the same
/// error when ranks are missing as the first deadline of those present comes near, come twice, disagree, or die; where
/// the host itself cannot be reached, `deadline` ends the call.
pub fn meet(
    identity: &Identity,
    listener: &Arc<Listener>,
    own: Record,
    deadline: Instant,
) -> Result<World, BootstrapError> {
    meet_describing(identity, listener, own, deadline, (&|| None, &|| None))
}

/// Why whoever meets gives up, once it does.
pub type GivenUp<'a> = &'a (dyn Fn() -> Option<String> + Sync);

/// As [`meet`], which ends when this rank is given up; all are told why. But of each machine the lowest rank whose
/// record names it is asked what it is, when all have come. `None` where nothing can be told. All learn each kind of
/// machine once, by its text.
pub fn meet_describing(
    identity: &Identity,
    listener: &Arc<Listener>,
    own: Record,
    deadline: Instant,
    (describe, given_up): (&dyn Fn() -> Option<Description>, GivenUp<'_>),
) -> Result<World, BootstrapError> {
    let own = Record { rank: identity.rank, ..own };
    let mut phases = Phases::begin();
    let Some(place) = Place::find(identity, listener, deadline)? else {
        return alone(identity, own);
    };
    phases.end("finding the meeting");
    let elsewhere = |error| maybe_of_another_job(&place.server, error);
    let link = reach(identity, &place, deadline, given_up).map_err(elsewhere)?;
    phases.end("reaching it");
    let join = Join::new(identity.size, own, deadline);
    let met = attend(link, &place, join, deadline, describe, given_up);
    let (records, kinds) = met.map_err(elsewhere)?;
    phases.end("waiting for all ranks");
    let Identity { rank, size, .. } = *identity;
    let kinds = kinds.into();
    let secret = match records.first().and_then(|root| root.world) {
        Some(number) => place.secret.derive(&format!("world {number:016x}")),
        None => place.secret,
    };
    Ok(World { rank, size, secret, records, kinds, phases: phases.ended })
}

/// Tells all ranks that this one does not come, and why: it failed before. Returns when the meeting's host knows it, or
/// at the `deadline`; rank 0, which serves the meeting, stays for a few seconds to tell it to those who come.
pub fn give_up(
    identity: &Identity,
    listener: &Arc<Listener>,
    why: String,
    deadline: Instant,
) -> Result<(), BootstrapError> {
    let Some(place) = Place::find(identity, listener, deadline)? else { return Ok(()) };
    let link = reach(identity, &place, deadline, &|| None)?;
    let own = Record::of_this_process(identity.rank, Vec::new());
    let join = Join { gives_up: Some(why), ..Join::new(identity.size, own, deadline) };
    match attend(link, &place, join, deadline, &|| None, &|| None) {
        // All are told the same, this rank too.
        Err(BootstrapError::GaveUp { .. }) => Ok(()),
        other => other.map(drop),
    }
}

/// Brings `ranks` of a world together again, to make a world of their own: those that are left after a failure.
///
/// Each of them calls it with the same list and `purpose`; the lowest serves the meeting. An error tells ranks by
/// their numbers in `world`: those that did not come, the one that serves too, and whose lists differ.
pub fn meet_again(
    world: &World,
    ranks: &[u32],
    purpose: &str,
    listener: &Arc<Listener>,
    (deadline, given_up): (Instant, GivenUp<'_>),
) -> Result<World, BootstrapError> {
    let mut phases = Phases::begin();
    let outside = || BootstrapError::CalledOff {
        reason: format!("rank {} is not among those that meet again: {ranks:?}", world.rank),
    };
    let part = world.part(ranks, purpose).ok_or_else(outside)?;
    let host = match part.rank {
        0 => Some(MeetingHost::serve(listener, &part.secret, Door::Stays)?),
        _ => None,
    };
    let (server, root) = (ranks[0], &part.records[0]);
    let place = Place::of_rank0(
        (root.addresses.clone(), part.secret.clone()),
        format!("rank {server} of the world that they leave"),
        host,
    );
    let own = part.records[part.rank as usize].clone();
    let started = Instant::now();
    let missing = |missing: Vec<u32>, waited: Duration| BootstrapError::Missing {
        ranks: missing,
        size: world.size,
        waited,
        strangers: format!(
            "this rank waited for ranks {ranks:?}, and those who wait for others do not come; {}",
            listener.strangers()
        ),
    };
    let call = Dial {
        from: Some(world.rank),
        ..Dial::new(&place.addresses, &place.secret, Target::Meeting, Purpose::Meeting, deadline)
    };
    let link = match dial_unless(&call, &|| given_up().is_some()) {
        Ok(link) => link,
        Err(error @ NetError::Interrupted { .. }) => {
            return Err(BootstrapError::net("meeting again")(error));
        }
        Err(error) => {
            tracing::warn!(%error, "rank {server}, which serves the meeting, cannot be reached");
            return Err(missing(vec![server], started.elapsed()));
        }
    };
    phases.end("reaching it");
    let join = Join { of: ranks.to_vec(), ..Join::new(part.size, own, deadline) };
    let met = attend(link, &place, join, deadline, &|| None, given_up);
    let (records, _) = met.map_err(|error| match error {
        BootstrapError::Missing { ranks: new, waited, .. } => missing(
            new.iter().filter_map(|&new| ranks.get(new as usize).copied()).collect(),
            waited,
        ),
        other => other,
    })?;
    phases.end("waiting for all ranks");
    Ok(World { records, phases: phases.ended, ..part })
}

fn alone(identity: &Identity, own: Record) -> Result<World, BootstrapError> {
    let secret = Secret::generate().map_err(BootstrapError::net("making a secret"))?;
    let records = vec![Record { settings: String::new(), ..own }];
    let (rank, size) = (identity.rank, identity.size);
    Ok(World { rank, size, secret, records, kinds: Arc::default(), phases: Vec::new() })
}

fn reach(
    identity: &Identity,
    place: &Place,
    deadline: Instant,
    given_up: GivenUp<'_>,
) -> Result<Link, BootstrapError> {
    let call = Dial {
        from: Some(identity.rank),
        ..Dial::new(&place.addresses, &place.secret, Target::Meeting, Purpose::Meeting, deadline)
    };
    let doing = format!("rank {} of {}, reaching {}", identity.rank, identity.size, place.server);
    dial_unless(&call, &|| given_up().is_some()).map_err(BootstrapError::net(doing))
}

/// `error`, and that another job may be the cause, where one may: at an address that was given, others who were given
/// it meet as well.
fn maybe_of_another_job(server: &Server, error: BootstrapError) -> BootstrapError {
    let is_foreign = match &error {
        BootstrapError::Net { source, .. } => {
            matches!(source, NetError::WrongSecret { .. } | NetError::NoSuchWorld { .. })
        }
        BootstrapError::Duplicate { .. }
        | BootstrapError::SizeDiffers { .. }
        | BootstrapError::Disagreement { .. }
        | BootstrapError::Complete { .. } => true,
        _ => false,
    };
    match server {
        Server::Root(Root { named_by, address }) if is_foreign => BootstrapError::AtRoot {
            named_by: (*named_by).to_owned(),
            address: address.clone(),
            source: Box::new(error),
        },
        _ => error,
    }
}

/// Says who we are, answers for the machine if asked, and hears the end of the meeting.
fn attend(
    mut link: Link,
    place: &Place,
    join: Join,
    deadline: Instant,
    describe: &dyn Fn() -> Option<Description>,
    given_up: GivenUp<'_>,
) -> Result<(Vec<Record>, Vec<String>), BootstrapError> {
    let host = link.peer_host().to_owned();
    let (rank, size) = (join.record.rank, join.size);
    let bytes = join.encode()?;
    let gone = |source| at_the_meeting(source, &place.server, &host);
    link.send(&bytes, deadline).map_err(gone)?;
    let mut description = None;
    loop {
        let Some(bytes) = hear(&mut link, deadline, given_up).map_err(gone)? else {
            return Err(withdraw(link, &join.record, given_up().unwrap_or_default()));
        };
        match Outcome::decode(&bytes, &host)? {
            Outcome::Failed(error) => return Err(error),
            Outcome::Describe(question) => {
                let told = description.get_or_insert_with(|| describe().filter(fits));
                let reply = answer(question, told.as_ref()).encode(&host)?;
                link.send(&reply, deadline).map_err(gone)?;
            }
            Outcome::Table { records, kinds } if is_table(&records, size) => {
                return Ok((records, kinds));
            }
            Outcome::Table { records, .. } => {
                let what =
                    format!("it told rank {rank} a table of {} for {size} ranks", records.len());
                return Err(broken(&host, what));
            }
        }
    }
}

/// The next message; none where this rank is given up before it comes.
fn hear(
    link: &mut Link,
    deadline: Instant,
    given_up: GivenUp<'_>,
) -> Result<Option<Vec<u8>>, NetError> {
    let started = Instant::now();
    loop {
        match link.recv(deadline.min(Instant::now() + LOOK)) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(NetError::Deadline { doing, host, address, .. }) => {
                if given_up().is_some() {
                    return Ok(None);
                }
                if Instant::now() >= deadline {
                    let waited = started.elapsed();
                    return Err(NetError::Deadline { doing, host, address, waited });
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells the others that this rank is given up.
fn withdraw(mut link: Link, own: &Record, why: String) -> BootstrapError {
    if let Ok(bytes) = (Reply::Withdraw { why: why.clone() }).encode(&own.host) {
        // Where it cannot be told, they see the link end.
        let _ = link.send(&bytes, Instant::now() + LOOK);
    }
    BootstrapError::Withdrawn { who: own.claimant(), why }
}

/// How often a rank that waits looks whether it is given up.
const LOOK: Duration = Duration::from_millis(50);

/// Whether a description can be told: escaped it may be twice as long.
fn fits(description: &Description) -> bool {
    let fits = description.text.len() <= JOIN_MAX_BYTES / 4;
    if !fits {
        let bytes = description.text.len();
        tracing::warn!("this machine is not told to the others: its description has {bytes} bytes");
    }
    fits
}

fn answer(question: Question, told: Option<&Description>) -> Reply {
    match (question, told) {
        (Question::Kind, None) => Reply::Kind { fingerprint: None, nics: Vec::new() },
        (Question::Kind, Some(Description { text, nics })) => {
            Reply::Kind { fingerprint: Some(xxh3_64(text.as_bytes())), nics: nics.clone() }
        }
        (Question::Text, told) => {
            Reply::Text(told.map_or_else(String::new, |told| told.text.clone()))
        }
    }
}

fn is_table(records: &[Record], size: u32) -> bool {
    let by_rank = (0..size).eq(records.iter().map(|record| record.rank));
    by_rank && records.len() == size as usize
}

/// What a failed link to the meeting's host means.
fn at_the_meeting(source: NetError, server: &Server, host: &str) -> BootstrapError {
    match source {
        NetError::Ended { .. } => BootstrapError::CalledOff {
            reason: format!("{server}, on {host}, died or lost its link to this rank"),
        },
        source => BootstrapError::net("waiting for the other ranks at the meeting")(source),
    }
}

/// The stop watch of the phases.
struct Phases {
    ended: Vec<(&'static str, Duration)>,
    since: Instant,
}

impl Phases {
    fn begin() -> Phases {
        Phases { ended: Vec::new(), since: Instant::now() }
    }

    fn end(&mut self, name: &'static str) {
        let now = Instant::now();
        self.ended.push((name, now - self.since));
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Barrier;
    use std::thread;

    use crosstie_launch::{Launcher, Meeting};
    use crosstie_net::ListenOptions;

    use super::*;
    use crate::pmi1::tests::{Values, serve};

    /// What becomes of `size` ranks, of which the launcher says that `local_size` are on this host.
    fn meet_by_pmi(size: u32, local_size: u32) -> Vec<World> {
        let (values, all_here) = (Values::default(), Arc::new(Barrier::new(size as usize)));
        let come = |rank: u32| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (values, all_here) = (values.clone(), all_here.clone());
            thread::spawn(move || serve(theirs, values, all_here));
            let meeting = Meeting::Pmi1 { fd: ours.as_raw_fd() };
            let local = Some((rank % local_size, local_size));
            let who =
                Identity { rank, size, local, launcher: Launcher::Mpich, meeting, node: None };
            let listener = Arc::new(Listener::open(&ListenOptions::default()).unwrap());
            let own = Record::of_this_process(rank, listener.addresses());
            meet(&who, &listener, own, Instant::now() + Duration::from_secs(10)).unwrap()
        };
        thread::scope(|s| {
            let ranks: Vec<_> = (0..size).map(|rank| s.spawn(move || come(rank))).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    #[test]
    fn ranks_of_several_hosts_meet_in_the_launchers_key_value_space() {
        let worlds = meet_by_pmi(4, 2);
        assert!(worlds.iter().all(|world| world.records == worlds[0].records));
    }

    #[test]
    fn ranks_of_one_host_need_the_launcher_once_and_can_meet_again() {
        for _ in 0..3 {
            assert_eq!(meet_by_pmi(3, 3).len(), 3);
        }
    }
}
