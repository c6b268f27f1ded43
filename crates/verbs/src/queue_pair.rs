//! Owns queue pairs: reliable connections to one peer, on which RDMA writes are posted.
//!
//! What is posted together is a chain: any number of writes, and one write that tells the peer of them all by an
//! immediate number. The device is told once, and says once that all of it has been acknowledged. As a reliable
//! connection keeps the order, the peer finds all the writes done when it finds the number.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::completion::{MARKER, RECEIVE, Shared, chain_id};
use crate::sys::{self, Zeroed};
use crate::{Completion, CompletionQueue, Domain, Mtu, Place, Retry, Service, Status, VerbsError};

/// Bytes in this process's memory, registered under a local key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Of the first byte.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// The key.
    pub key: u32,
}

/// Where in the peer's memory bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remote {
    /// Of the first byte.
    pub address: u64,
    /// The key that the peer told.
    pub key: u32,
}

/// What a write sends.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Read by the device, at any time until the chain has ended. It refuses what is not registered so.
    Registered(Local),
    /// Copied as it is posted; at most [`QueuePair::inline_bytes`].
    Inline(&'a [u8]),
}

/// One write of a chain.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// What.
    pub from: Source<'a>,
    /// Whereto.
    pub to: Remote,
}

/// The last write of a chain, of which the peer learns.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    /// What, and whereto.
    pub write: Write<'a>,
    /// What the peer is told.
    pub immediate: u32,
    /// What the completion says that the whole chain has ended; its lowest 48 bits count.
    pub id: u64,
}

/// How much a queue pair holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// Writes that have not ended.
    pub send: u32,
    /// Receives that were not used.
    pub receive: u32,
    /// Bytes of a write that is copied as it is posted.
    pub inline: u32,
}

/// Where the peer's queue pair is, and how to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The number of the peer's queue pair.
    pub number: u32,
    /// The number of the first packet that comes from there.
    pub first_packet: u32,
    /// The longest packet that both ends take.
    pub mtu: Mtu,
    /// The network's address of it.
    pub way: Way,
    /// How switches treat its packets.
    pub service: Service,
    /// How long to repeat what nobody acknowledges.
    pub retry: Retry,
}

/// How the network finds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By GID: Ethernet, and InfiniBand across subnets.
    Gid {
        /// Place of our own address in our port's table.
        own: u8,
        /// The peer's address.
        peer: Ipv6Addr,
    },
    /// By the number that the subnet manager gave it: InfiniBand.
    Lid(u16),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gid { own, peer } => {
                write!(f, "from our GID {own} to {}", IpAddr::V6(*peer).to_canonical())
            }
            Self::Lid(lid) => write!(f, "to LID {lid}"),
        }
    }
}

/// What was posted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Posted {
    /// Writes.
    pub writes: u64,
    /// Calls that told the device of them.
    pub doorbells: u64,
    /// Of the writes, those whose end is told.
    pub signalled: u64,
    /// Receives.
    pub receives: u64,
}

/// One end of a reliable connection.
#[derive(Debug)]
pub struct QueuePair {
    raw: NonNull<sys::ibv_qp>,
    domain: Domain,
    /// That of both its queues, which it must not outlive.
    _completions: Arc<Shared>,
    place: Place,
    number: u32,
    first_packet: u32,
    depths: Depths,
    retries: u8,
    post_send: sys::PostSend,
    post_recv: sys::PostRecv,
    requests: Requests,
    /// Writes that have ended, as the [`Account`] tells; wraps as `posted.writes` does not.
    ended: Arc<AtomicU32>,
    posted: Posted,
}

/// What a queue pair's completions mean, for whoever polls its completion queue.
#[derive(Debug, Clone)]
pub struct Account {
    place: Place,
    retries: u8,
    ended: Arc<AtomicU32>,
}

/// Room for what is being posted. It lives as long as the queue pair, so that posting allocates nothing.
#[derive(Debug)]
struct Requests {
    writes: Box<[sys::ibv_send_wr]>,
    parts: Box<[sys::ibv_sge]>,
    receives: Box<[sys::ibv_recv_wr]>,
}

// SAFETY: a queue pair is used by its owner alone; the pointers in `requests` are to its own boxes, and mean
// something only within one call.
unsafe impl Send for QueuePair {}

impl std::fmt::Debug for sys::ibv_send_wr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ibv_send_wr").field("wr_id", &self.wr_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for sys::ibv_sge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ibv_sge").field("length", &self.length).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for sys::ibv_recv_wr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ibv_recv_wr").field("wr_id", &self.wr_id).finish_non_exhaustive()
    }
}

/// Numbers of packets have 24 bits.
const PACKET_MASK: u64 = 0x00ff_ffff;
/// Hops of a packet: more than any network has.
const HOPS: u8 = 255;
/// 0.64 ms between asking a peer again that has no receive posted.
const NOT_READY_TIMER: u8 = 12;
/// How often such a peer is asked. Receives are posted before the peer learns that it may send, so one that
/// has none is an error to be seen, not to be waited for.
const NOT_READY_RETRIES: u8 = 6;

impl QueuePair {
    /// A queue pair on a port, whose completions go to `completions`; not connected yet, but receives may be posted.
    ///
    /// The device may give more room than was asked for ([`depths`](Self::depths)), and less for inline data.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn new(
        domain: &Domain,
        completions: &CompletionQueue,
        place: Place,
        asked: Depths,
    ) -> Result<Self, VerbsError> {
        let context = domain.context();
        let mut init = sys::ibv_qp_init_attr::zeroed();
        init.send_cq = completions.shared().raw();
        init.recv_cq = init.send_cq;
        init.qp_type = sys::IBV_QPT_RC;
        let raw = create(domain, &mut init, asked)?;
        let depths =
            Depths { send: asked.send, receive: asked.receive, inline: init.cap.max_inline_data };
        // SAFETY: it was just made.
        let number = unsafe { raw.as_ref() }.qp_num;
        let no_call = || context.refused("finding its calls", io::ErrorKind::Unsupported.into());
        let random = RandomState::new().hash_one(number);
        let pair = Self {
            raw,
            domain: domain.clone(),
            _completions: completions.shared().clone(),
            place,
            number,
            first_packet: (random & PACKET_MASK) as u32,
            depths,
            retries: 0,
            post_send: context.ops().post_send.ok_or_else(no_call)?,
            post_recv: context.ops().post_recv.ok_or_else(no_call)?,
            requests: Requests::new(depths),
            ended: Arc::default(),
            posted: Posted::default(),
        };
        pair.initialize()?;
        Ok(pair)
    }

    fn initialize(&self) -> Result<(), VerbsError> {
        let mut to = sys::ibv_qp_attr::zeroed();
        to.qp_state = sys::IBV_QPS_INIT;
        to.port_num = self.place.port;
        to.qp_access_flags = sys::IBV_ACCESS_REMOTE_WRITE;
        let mask = sys::IBV_QP_STATE
            | sys::IBV_QP_PKEY_INDEX
            | sys::IBV_QP_PORT
            | sys::IBV_QP_ACCESS_FLAGS;
        self.modify(to, mask, "initializing a queue pair")
    }

    /// Connects it to the peer's, after which both may be posted to.
    ///
    /// # Errors
    /// [`VerbsError::Refused`], such as when the network knows no way to the address.
    pub fn connect(&mut self, path: &Path) -> Result<(), VerbsError> {
        let mut to = sys::ibv_qp_attr::zeroed();
        to.qp_state = sys::IBV_QPS_RTR;
        to.path_mtu = path.mtu.number().into();
        to.dest_qp_num = path.number;
        to.rq_psn = path.first_packet;
        to.max_dest_rd_atomic = 1;
        to.min_rnr_timer = NOT_READY_TIMER;
        to.ah_attr = address(path, self.place.port);
        let mask = sys::IBV_QP_STATE
            | sys::IBV_QP_AV
            | sys::IBV_QP_PATH_MTU
            | sys::IBV_QP_DEST_QPN
            | sys::IBV_QP_RQ_PSN
            | sys::IBV_QP_MAX_DEST_RD_ATOMIC
            | sys::IBV_QP_MIN_RNR_TIMER;
        self.modify(to, mask, "connecting a queue pair")?;
        let mut to = sys::ibv_qp_attr::zeroed();
        to.qp_state = sys::IBV_QPS_RTS;
        to.timeout = path.retry.timeout;
        to.retry_cnt = path.retry.count;
        to.rnr_retry = NOT_READY_RETRIES;
        to.sq_psn = self.first_packet;
        to.max_rd_atomic = 1;
        let mask = sys::IBV_QP_STATE
            | sys::IBV_QP_TIMEOUT
            | sys::IBV_QP_RETRY_CNT
            | sys::IBV_QP_RNR_RETRY
            | sys::IBV_QP_SQ_PSN
            | sys::IBV_QP_MAX_QP_RD_ATOMIC;
        self.retries = path.retry.count;
        self.modify(to, mask, "starting a queue pair")
    }

    /// Ends it: what is posted ends as [`Status::FLUSHED`] if it did not end before, and the peer reaches nothing
    /// through it any more. [`is_drained`] tells the last completion of each of its two queues.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn fail(&mut self) -> Result<(), VerbsError> {
        // Before its end: software devices do not look at receives that come after it.
        self.requests.receives[0] = sys::ibv_recv_wr::zeroed();
        self.requests.receives[0].wr_id = MARKER | RECEIVE;
        self.ring_receive("ending a queue pair")?;
        self.requests.writes[0] = write_request(MARKER);
        self.requests.writes[0].send_flags = sys::IBV_SEND_SIGNALED;
        self.ring_send("ending a queue pair")?;
        let mut to = sys::ibv_qp_attr::zeroed();
        to.qp_state = sys::IBV_QPS_ERR;
        self.modify(to, sys::IBV_QP_STATE, "ending a queue pair")
    }

    fn modify(
        &self,
        mut to: sys::ibv_qp_attr,
        mask: u32,
        call: &'static str,
    ) -> Result<(), VerbsError> {
        let context = self.domain.context();
        // SAFETY: the queue pair lives; the call reads what the mask names.
        let code = unsafe {
            (context.symbols().ibv_modify_qp)(self.raw.as_ptr(), &raw mut to, mask as i32)
        };
        context.checked(code, call)
    }

    /// Posts a chain: the writes in order, then the last, of which the peer learns.
    ///
    /// # Errors
    /// [`VerbsError::NoRoom`]; [`VerbsError::Refused`].
    #[inline]
    pub fn post<'a>(
        &mut self,
        writes: impl ExactSizeIterator<Item = Write<'a>>,
        last: &Last<'_>,
    ) -> Result<(), VerbsError> {
        let count = writes.len() + 1;
        if count > self.room() {
            return Err(self.no_room(count, self.room()));
        }
        for (index, write) in writes.enumerate() {
            self.requests.set(index, write_request(0), &write, true);
        }
        let mut request = write_request(chain_id(last.id, count));
        request.opcode = sys::IBV_WR_RDMA_WRITE_WITH_IMM;
        request.send_flags = sys::IBV_SEND_SIGNALED;
        request.imm_data = last.immediate.to_be();
        self.requests.set(count - 1, request, &last.write, false);
        self.ring_send("posting writes")?;
        self.posted.writes += count as u64;
        self.posted.signalled += 1;
        self.posted.doorbells += 1;
        Ok(())
    }

    /// Posts a write of nothing to no memory, of which the peer learns nothing: its end says that the peer's device
    /// has answered.
    ///
    /// # Errors
    /// [`VerbsError::NoRoom`]; [`VerbsError::Refused`].
    pub fn probe(&mut self) -> Result<(), VerbsError> {
        if self.room() == 0 {
            return Err(self.no_room(1, 0));
        }
        let mut request = write_request(chain_id(0, 1));
        request.send_flags = sys::IBV_SEND_SIGNALED;
        self.requests.writes[0] = request;
        self.ring_send("posting a probe")?;
        self.posted.writes += 1;
        self.posted.signalled += 1;
        self.posted.doorbells += 1;
        Ok(())
    }

    fn ring_send(&mut self, call: &'static str) -> Result<(), VerbsError> {
        let mut bad = ptr::null_mut();
        let first = self.requests.writes.as_mut_ptr();
        // SAFETY: the queue pair lives; the chain and its parts are the queue pair's own, and end with a null.
        // The device checks what it reads by its keys; inline data is there until the call returns.
        let code = unsafe { (self.post_send)(self.raw.as_ptr(), first, &raw mut bad) };
        self.domain.context().checked(code, call)
    }

    /// Posts receives, each of which one last write of the peer uses up; they have no memory of their own.
    ///
    /// # Errors
    /// [`VerbsError::NoRoom`] for more than the depth at once; [`VerbsError::Refused`].
    #[inline]
    pub fn post_receives(&mut self, count: usize) -> Result<(), VerbsError> {
        let room = self.depths.receive as usize;
        if count == 0 {
            return Ok(());
        }
        if count > room {
            return Err(self.no_room(count, room));
        }
        let receives = self.requests.receives.as_mut_ptr();
        for index in 0..count {
            let is_last = index + 1 == count;
            // SAFETY: both indices lie in the box, which has `room` entries.
            unsafe {
                let next = if is_last { ptr::null_mut() } else { receives.add(index + 1) };
                (*receives.add(index)).wr_id = RECEIVE;
                (*receives.add(index)).next = next;
            }
        }
        self.posted.receives += count as u64;
        self.ring_receive("posting receives")
    }

    fn ring_receive(&mut self, call: &'static str) -> Result<(), VerbsError> {
        let mut bad = ptr::null_mut();
        let first = self.requests.receives.as_mut_ptr();
        // SAFETY: as for `ring_send`; receives have no parts.
        let code = unsafe { (self.post_recv)(self.raw.as_ptr(), first, &raw mut bad) };
        self.domain.context().checked(code, call)
    }

    /// What its completions mean.
    pub fn account(&self) -> Account {
        Account { place: self.place.clone(), retries: self.retries, ended: self.ended.clone() }
    }

    #[cold]
    fn no_room(&self, asked: usize, room: usize) -> VerbsError {
        VerbsError::NoRoom { place: self.place.clone(), asked, room }
    }

    /// Writes that may be posted now.
    pub fn room(&self) -> usize {
        let ended = self.ended.load(Ordering::Relaxed);
        self.depths.send.saturating_sub((self.posted.writes as u32).wrapping_sub(ended)) as usize
    }

    /// Its number, by which the peer and completions call it.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The number of the first packet that leaves it.
    pub const fn first_packet(&self) -> u32 {
        self.first_packet
    }

    /// How much it holds.
    pub const fn depths(&self) -> Depths {
        self.depths
    }

    /// Bytes that a write can have that is copied as it is posted.
    pub const fn inline_bytes(&self) -> usize {
        self.depths.inline as usize
    }

    /// Where it is, for people.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// What was posted so far.
    pub const fn posted(&self) -> Posted {
        self.posted
    }
}

impl Account {
    /// Counts a completion of the queue pair: a chain's room is free again.
    ///
    /// # Errors
    /// What the completion says: [`VerbsError::RetryExceeded`]; [`VerbsError::Failed`].
    #[inline]
    pub fn settle(&self, completion: &Completion) -> Result<(), VerbsError> {
        if completion.status() != Status::SUCCESS {
            return Err(self.failure(completion));
        }
        // Only whoever polls the queue writes it, so this need not be a read-modify-write.
        let ended = self.ended.load(Ordering::Relaxed);
        self.ended.store(ended.wrapping_add(completion.writes()), Ordering::Relaxed);
        Ok(())
    }

    #[cold]
    fn failure(&self, completion: &Completion) -> VerbsError {
        let (place, vendor) = (self.place.clone(), completion.vendor());
        match completion.status() {
            Status::RETRY_EXCEEDED => {
                VerbsError::RetryExceeded { place, retries: self.retries, vendor }
            }
            status => VerbsError::Failed { place, status, vendor },
        }
    }

    /// Where the queue pair is, for people.
    pub const fn place(&self) -> &Place {
        &self.place
    }
}

/// Whether a completion is of the requests that [`QueuePair::fail`] posted last, one in each of its two queues:
/// nothing comes behind it in its queue.
pub const fn is_drained(completion: &Completion) -> bool {
    completion.is_marker()
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        let context = self.domain.context();
        if context.is_forked() {
            return;
        }
        // SAFETY: it was made once, by this process. The peer cannot reach it any more, nor what it had posted be read.
        let code = unsafe { (context.symbols().ibv_destroy_qp)(self.raw.as_ptr()) };
        if code != 0 {
            tracing::warn!(device = context.name(), code, "a queue pair stays");
        }
    }
}

/// The queue pair, and in `init` what the device gave; with as much inline data as it has, down to none.
fn create(
    domain: &Domain,
    init: &mut sys::ibv_qp_init_attr,
    asked: Depths,
) -> Result<NonNull<sys::ibv_qp>, VerbsError> {
    let context = domain.context();
    let mut inline = asked.inline;
    loop {
        init.cap = sys::ibv_qp_cap {
            // One more of each, for the markers.
            max_send_wr: asked.send + 1,
            max_recv_wr: asked.receive + 1,
            max_send_sge: 1,
            max_recv_sge: 1,
            max_inline_data: inline,
        };
        // SAFETY: domain and completion queue live.
        let raw = unsafe { (context.symbols().ibv_create_qp)(domain.raw(), init) };
        if raw.is_null()
            && inline > 0
            && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
        {
            inline /= 2;
            continue;
        }
        return context.made(raw, "making a queue pair");
    }
}

fn address(path: &Path, port: u8) -> sys::ibv_ah_attr {
    let mut address = sys::ibv_qp_attr::zeroed().ah_attr;
    address.port_num = port;
    address.sl = path.service.level;
    match path.way {
        Way::Gid { own, peer } => {
            address.is_global = 1;
            address.grh.dgid.raw = peer.octets();
            address.grh.sgid_index = own;
            address.grh.hop_limit = HOPS;
            address.grh.traffic_class = path.service.traffic_class;
        }
        Way::Lid(lid) => address.dlid = lid,
    }
    address
}

fn write_request(id: u64) -> sys::ibv_send_wr {
    let mut request = sys::ibv_send_wr::zeroed();
    request.wr_id = id;
    request.opcode = sys::IBV_WR_RDMA_WRITE;
    request
}

impl Requests {
    fn new(depths: Depths) -> Self {
        let (send, receive) = (depths.send.max(1) as usize, depths.receive.max(1) as usize);
        Self {
            writes: vec![sys::ibv_send_wr::zeroed(); send].into(),
            parts: vec![sys::ibv_sge::zeroed(); send].into(),
            receives: vec![sys::ibv_recv_wr::zeroed(); receive].into(),
        }
    }

    /// Makes the write with that index, behind which another follows or none.
    #[inline]
    fn set(
        &mut self,
        index: usize,
        mut request: sys::ibv_send_wr,
        write: &Write<'_>,
        is_followed: bool,
    ) {
        let part = &mut self.parts[index];
        *part = match write.from {
            Source::Registered(Local { address, len, key }) => {
                sys::ibv_sge { addr: address, length: len, lkey: key }
            }
            Source::Inline(bytes) => {
                request.send_flags |= sys::IBV_SEND_INLINE;
                sys::ibv_sge {
                    addr: bytes.as_ptr().addr() as u64,
                    length: bytes.len() as u32,
                    lkey: 0,
                }
            }
        };
        if part.length > 0 {
            request.sg_list = ptr::from_mut(part);
            request.num_sge = 1;
        } else {
            request.send_flags &= !sys::IBV_SEND_INLINE;
        }
        request.remote_addr = write.to.address;
        request.rkey = write.to.key;
        let next = self.writes.get_mut(index + 1).filter(|_| is_followed);
        request.next = next.map_or(ptr::null_mut(), ptr::from_mut);
        self.writes[index] = request;
    }
}
