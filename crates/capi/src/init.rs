//! Owns how communicators begin: ids, the meetings that they lead to, and connecting.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use crosstie::{Meeting, Settings, UniqueId};

use crate::call::Place;
use crate::communicator::Comm;
use crate::config::{Config, Given};
use crate::device;
use crate::errors::{Answer, Code, Refusal, lock};
use crate::group::{self, Item};
use crate::handles::Handle;
use crate::log;
use crate::pointer::{In, Out};
use crate::types::UniqueIdBytes;

/// A unique id as C has it.
pub type IdBytes = [u8; UniqueId::BYTES];

/// The meetings that this process hosts, until one of its own ranks has connected by it.
static MEETINGS: Mutex<BTreeMap<IdBytes, Meeting>> = Mutex::new(BTreeMap::new());

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

/// How often ranks of this process have met at an address: as which rank, of how many.
static MEETS: Mutex<BTreeMap<(IdBytes, u32, u32), u64>> = Mutex::new(BTreeMap::new());

/// Settings that lead a rank to the meeting of an id. Of those who meet several times at one address,
/// each time is another world.
fn settings(id: &IdBytes, Place { rank, size }: Place) -> Answer<Settings> {
    let settings = Settings::default().called_from_c().rank(rank).size(size);
    if let Some(address) = id.strip_prefix(ADDRESS_MAGIC) {
        let end = address.iter().position(|&byte| byte == 0).unwrap_or(address.len());
        let address = String::from_utf8_lossy(&address[..end]).into_owned();
        let mut meets = lock(&MEETS);
        let times = meets.entry((*id, rank, size)).or_default();
        *times += 1;
        return Ok(settings.open_root(address, &format!("communicator {times} of {size} ranks")));
    }
    let id = UniqueId::decode(id)
        .map_err(|error| Refusal::argument(format!("the unique id cannot be used: {error}")))?;
    Ok(settings.id(id))
}

/// Connects a communicator that is waiting for it.
pub fn connect(comm: &Comm, settings: Settings, id: &IdBytes) -> Answer {
    let communicator = settings.connect()?;
    comm.join(communicator);
    // Whoever has connected has met all others, so nobody needs the meeting any more.
    let meeting = lock(&MEETINGS).remove(id);
    drop(meeting);
    Ok(())
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
    let settings = settings(id, place)?;
    let comm = Comm::new(config, Some(place), 0);
    let item = Item::Connect { settings: Box::new(settings), id: *id };
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
    let id = {
        let (meeting, id) = Meeting::open()?;
        lock(&MEETINGS).insert(id.encode(), meeting);
        id.encode()
    };
    group::start();
    match ranks_of(size, &id, &devices, out) {
        Ok(()) => group::end(),
        Err(refusal) => group::give_up().and(Err(refusal)),
    }
}

fn ranks_of(size: u32, id: &IdBytes, devices: &[c_int], out: &Out<Handle>) -> Answer {
    for (rank, &device) in (0..size).zip(devices) {
        let place = Place { rank, size };
        let settings = settings(id, place)?;
        let comm = Comm::new(Config::default(), Some(place), device);
        let item = Item::Connect { settings: Box::new(settings), id: *id };
        group::make(Arc::clone(&comm), item, &comm, &out.element(rank as usize))?;
    }
    Ok(())
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
