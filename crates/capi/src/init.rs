//! Owns how communicators begin: ids, the meetings that they lead to, and connecting.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use crosstie::{Meeting, Settings, UniqueId};

use crate::communicator::{COMMUNICATORS, Comm};
use crate::config::{Config, Given};
use crate::device;
use crate::errors::{Answer, Code, MISSED, Refusal, lock};
use crate::group::{self, Item};
use crate::handles::Handle;
use crate::log;
use crate::pointer::{In, Out};
use crate::turn::Turn;
use crate::types::{IdBytes, Place, UniqueIdBytes};

/// The meetings that this process hosts, until one of its own ranks has connected by it.
static MEETINGS: Mutex<BTreeMap<IdBytes, Meeting>> = Mutex::new(BTreeMap::new());

/// Meetings by which ranks of this process failed to connect: the last few stay, so that ranks which come late are
/// told why.
static FAILED: Mutex<VecDeque<(IdBytes, Meeting)>> = Mutex::new(VecDeque::new());
const FAILED_MAX: usize = 4;

/// By which ids ranks of this process have met, the last of them: a meeting is over then, and to wait for it would be in
/// vain.
static MET: Mutex<VecDeque<(IdBytes, u32)>> = Mutex::new(VecDeque::new());
const MET_MAX: usize = 1024;

/// What an id begins with that names the address of NCCL_COMM_ID, in place of a meeting of its own.
const ADDRESS_MAGIC: &[u8; 8] = b"ctaddr\0\0";

/// A new id, and the place where those who have it meet: here, or where `NCCL_COMM_ID` says.
pub fn unique_id() -> Answer<IdBytes> {
    log::begin();
    if let Some(address) = Meeting::named_by_nccl() {
        return of_address(&address);
    }
    let (meeting, id) = Meeting::open()?;
    let bytes = id.encode();
    lock(&MEETINGS).insert(bytes, meeting);
    Ok(bytes)
}

fn of_address(address: &str) -> Answer<IdBytes> {
    let mut bytes = [0; UniqueId::BYTES];
    let (magic, rest) = bytes.split_at_mut(ADDRESS_MAGIC.len());
    magic.copy_from_slice(ADDRESS_MAGIC);
    // A zero byte ends it.
    if address.len() >= rest.len() {
        return Err(Refusal::usage(format!(
            "NCCL_COMM_ID={address} is longer than an id can hold"
        )));
    }
    rest[..address.len()].copy_from_slice(address.as_bytes());
    Ok(bytes)
}

/// How a rank comes to the meeting of an id.
pub struct Way {
    settings: Settings,
    id: IdBytes,
    rank: u32,
    /// Where ranks meet several times at one address, each time is another world, and one after the other.
    turn: Option<Turn>,
}

fn way(id: &IdBytes, Place { rank, size }: Place) -> Answer<Box<Way>> {
    let settings = Settings::default().called_from_c().rank(rank).size(size);
    if let Some(address) = id.strip_prefix(ADDRESS_MAGIC) {
        let end = address.iter().position(|&byte| byte == 0).unwrap_or(address.len());
        let address = String::from_utf8_lossy(&address[..end]).into_owned();
        let settings = settings.open_root(address, &format!("communicators of {size} ranks"));
        let turn = Some(Turn::take((*id, rank, size)));
        return Ok(Box::new(Way { settings, id: *id, rank, turn }));
    }
    let decoded = UniqueId::decode(id)
        .map_err(|error| Refusal::argument(format!("the unique id cannot be used: {error}")))?;
    if lock(&MET).contains(&(*id, rank)) {
        return Err(Refusal::usage(format!(
            "rank {rank} has met the others by this unique id before: an id is of one communicator, make a new one"
        )));
    }
    let settings = settings.id(decoded);
    Ok(Box::new(Way { settings, id: *id, rank, turn: None }))
}

/// What is the matter where each rank makes an id of its own.
const OWN_ID: &str = "\n  this process made the unique id: were the other ranks given it, as by MPI_Bcast? Where each makes \
                      its own, NCCL_COMM_ID=host:port, the same for all, lets them meet";

/// Connects a communicator that is waiting for it.
pub fn connect(comm: &Comm, way: &Way) -> Answer {
    if let Some(turn) = &way.turn {
        turn.wait(&comm.cancel);
    }
    let connected = way.settings.clone().cancelled_by(&comm.cancel).connect();
    let meeting = lock(&MEETINGS).remove(&way.id);
    match connected {
        Ok(communicator) => {
            comm.join(communicator);
            if way.turn.is_none() {
                note_met(way.id, way.rank);
            }
            // Whoever has connected has met all others, so nobody needs the meeting any more.
            drop(meeting);
            Ok(())
        }
        Err(error) => {
            let made_here = meeting.is_some() && error.code().0 == MISSED;
            keep_failed(way.id, meeting);
            let mut refusal = Refusal::from(error);
            if made_here {
                refusal.text += OWN_ID;
            }
            Err(refusal)
        }
    }
}

fn note_met(id: IdBytes, rank: u32) {
    let mut met = lock(&MET);
    met.push_back((id, rank));
    if met.len() > MET_MAX {
        met.pop_front();
    }
}

fn keep_failed(id: IdBytes, meeting: Option<Meeting>) {
    let Some(meeting) = meeting else { return };
    let mut failed = lock(&FAILED);
    failed.push_back((id, meeting));
    let oldest = if failed.len() > FAILED_MAX { failed.pop_front() } else { None };
    drop(failed);
    drop(oldest);
}

/// `ncclCommInitRank` and its likes.
pub fn rank(
    out: &Out<Handle>,
    size: c_int,
    id: &IdBytes,
    rank: c_int,
    config: &Given,
) -> Answer<Code> {
    out.check("comm")?;
    log::begin();
    device::look();
    let config = Config::read(config, Config::default())?;
    let place = place(rank, size)?;
    if let Some(mixture) = (place.size == 1).then(crosstie::foreign_mpirun).flatten() {
        return Err(mixture.into());
    }
    let item = Item::Connect(way(id, place)?);
    let comm = Comm::new(config, Some(place), 0);
    group::make(Arc::clone(&comm), item, &comm, out)
}

/// The same, where there may be several ids: all ranks meet by the first.
pub fn scalable(
    out: &Out<Handle>,
    size: c_int,
    own: c_int,
    ids: &In<UniqueIdBytes>,
    count: c_int,
    config: &Given,
) -> Answer<Code> {
    if count < 1 {
        return Err(Refusal::argument(format!("{count} ids; one at least is needed")));
    }
    if count > size {
        let what = format!("{count} ids for {size} ranks; there may be one for each rank at most");
        return Err(Refusal::argument(what));
    }
    let id = ids.read().ok_or_else(|| Refusal::argument("commIds is the null pointer"))?;
    rank(out, size, &id.0, own, config)
}

fn place(rank: c_int, size: c_int) -> Answer<Place> {
    let wrong = || Refusal::argument(format!("rank {rank} of {size}: there is no such rank"));
    let place = Place {
        rank: u32::try_from(rank).map_err(|_| wrong())?,
        size: u32::try_from(size).map_err(|_| wrong())?,
    };
    if place.rank < place.size { Ok(place) } else { Err(wrong()) }
}

/// `ncclCommInitAll`: as many ranks as there are devices, all in this process.
pub fn all(out: &Out<Handle>, count: c_int, devices: &In<c_int>) -> Answer<Code> {
    out.check("comms")?;
    log::begin();
    device::look();
    let size = u32::try_from(count).ok().filter(|&size| size > 0);
    let size = size.ok_or_else(|| Refusal::argument(format!("{count} devices")))?;
    let devices = devices.array(size as usize).unwrap_or_else(|| (0..count).collect());
    check_devices(&devices)?;
    let handles = all_of(size, &devices);
    // Nothing that a program could take for a communicator stays where there is none.
    let none = vec![Handle::NULL; size as usize];
    let (handles, code) = match handles {
        Ok((handles, code)) => (handles, Ok(code)),
        Err(refusal) => (none, Err(refusal)),
    };
    for (index, handle) in handles.into_iter().enumerate() {
        out.element(index).put("comms", handle)?;
    }
    code
}

fn all_of(size: u32, devices: &[c_int]) -> Answer<(Vec<Handle>, Code)> {
    let id = {
        let (meeting, id) = Meeting::of_all(size)?;
        lock(&MEETINGS).insert(id.encode(), meeting);
        id.encode()
    };
    group::start()?;
    let mut made = Vec::new();
    let code = match ranks_of(size, &id, devices, &mut made) {
        Ok(()) => group::end(),
        Err(refusal) => group::give_up().and(Err(refusal)),
    };
    match code {
        Ok(code) => Ok((made, code)),
        Err(refusal) => {
            undo(&id, &made);
            Err(refusal)
        }
    }
}

fn ranks_of(size: u32, id: &IdBytes, devices: &[c_int], made: &mut Vec<Handle>) -> Answer {
    for (rank, &device) in (0..size).zip(devices) {
        let place = Place { rank, size };
        let item = Item::Connect(way(id, place)?);
        let comm = Comm::new(Config::default(), Some(place), device);
        made.push(COMMUNICATORS.insert(Arc::clone(&comm)));
        group::ask(comm, item)?;
    }
    Ok(())
}

/// Nothing stays of ranks some of which have failed to connect: all of them were in this process.
fn undo(id: &IdBytes, made: &[Handle]) {
    let made: Vec<_> = made.iter().filter_map(|&comm| COMMUNICATORS.remove(comm).ok()).collect();
    made.iter().for_each(|comm| comm.interrupt("other ranks of ncclCommInitAll failed"));
    made.iter().for_each(|comm| comm.abort());
    let open = lock(&MEETINGS).remove(id);
    let mut failed = lock(&FAILED);
    let at = failed.iter().position(|(of, _)| of == id);
    let kept = at.and_then(|at| failed.remove(at));
    drop(failed);
    drop((open, kept));
}

fn check_devices(devices: &[c_int]) -> Answer {
    if let Some(wrong) = devices.iter().find(|&&device| device < 0) {
        return Err(Refusal::argument(format!("{wrong} is no device")));
    }
    let mut sorted = devices.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Refusal::usage(format!("device {} is named twice", pair[0]))),
        None => Ok(()),
    }
}
