//! Owns how a rank's wires come about: the lower rank of each pair dials, the higher one accepts.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crosstie_net::{
    Dial, Inbox, Incoming, Interrupted, NetError, Purpose, Secret, Target, dial_unless,
};

use super::{Stream, TcpEndpoint};
use crate::TransportError;
use crate::seam::Limits;
use crate::wires::Relays;

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// A rank at the other end of a wire.
#[derive(Debug, Clone)]
pub struct TcpPeer {
    /// Its rank.
    pub rank: u32,
    /// Where its process listens, best first.
    pub addresses: Vec<SocketAddr>,
    /// The local address to connect to it from, in place of [`TcpOptions::source`].
    pub source: Option<IpAddr>,
    /// The ranks of this rank's node whose connections to it go out on the wire to it, in order.
    pub outgoing: Vec<u32>,
    /// The ranks of its node whose connections to this rank come in on that wire, in order.
    pub incoming: Vec<u32>,
}

impl TcpPeer {
    /// One with whom the wire is shared with nobody.
    pub fn direct(own: u32, rank: u32, addresses: Vec<SocketAddr>) -> Self {
        Self { rank, addresses, source: None, outgoing: vec![own], incoming: vec![rank] }
    }
}

/// What a rank needs to know to connect to its peers.
#[derive(Debug, Clone)]
pub struct TcpOptions {
    /// This rank.
    pub rank: u32,
    /// The ranks to connect to, each of which connects to this one too.
    pub peers: Vec<TcpPeer>,
    /// The world's secret.
    pub secret: Secret,
    /// Connections each way between each pair; the same on each rank.
    pub channels: u16,
    /// Slots and the longest message; the same on each rank.
    pub limits: Limits,
    /// The local address to connect from, whose NIC then carries the wire; any, if none is given.
    pub source: Option<IpAddr>,
    /// When to give up waiting for a rank that has not come.
    pub deadline: Instant,
    /// How long the network may swallow what is sent to a peer that is known to listen.
    pub patience: Duration,
}

impl TcpEndpoint {
    /// Connects to all peers at once: dials the higher ones, and accepts the lower ones from
    /// `inbox`, this process's subscription for `Target::Rank(options.rank)`.
    ///
    /// Gives up within about 50 ms once `interrupted` says so.
    ///
    /// The links prove that they hold the secret; the data on them is then neither encrypted nor
    /// authenticated.
    ///
    /// # Errors
    /// [`TransportError::Connecting`] names a higher rank that could not be reached, with the
    /// reason; [`TransportError::ConnectDeadline`] the lowest lower rank that did not come;
    /// [`TransportError::Interrupted`]; [`TransportError::Net`] one that speaks another version;
    /// [`TransportError::System`].
    pub fn connect(
        options: &TcpOptions,
        inbox: &Inbox,
        interrupted: Interrupted<'_>,
    ) -> Result<Self, TransportError> {
        Self::connect_with_relays(options, Relays::default(), inbox, interrupted)
    }

    /// As [`connect`](Self::connect), where wires are shared as `options.peers` and `relays` say.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with_relays(
        options: &TcpOptions,
        relays: Relays,
        inbox: &Inbox,
        interrupted: Interrupted<'_>,
    ) -> Result<Self, TransportError> {
        let streams = connect_links(options, inbox, interrupted)?;
        Self::with_relays(options.rank, streams, relays, options.channels, options.limits)
    }
}

/// The links to all peers, as [`TcpEndpoint::connect`] makes them: also for transports whose ends only meet over
/// them.
///
/// # Errors
/// As [`TcpEndpoint::connect`].
pub fn connect_links(
    options: &TcpOptions,
    inbox: &Inbox,
    interrupted: Interrupted<'_>,
) -> Result<Vec<Stream>, TransportError> {
    let stream = |(peer, socket)| {
        let known = options.peers.iter().find(|known| known.rank == peer);
        let shared = known.map(|known| (known.outgoing.clone(), known.incoming.clone()));
        let (outgoing, incoming) = shared.unwrap_or_default();
        Stream { peer, socket, outgoing, incoming }
    };
    let streams = connect_all(options, inbox, interrupted)?;
    Ok(streams.into_iter().map(stream).collect())
}

/// The sockets to all peers, or the first failure that is more than its consequence for the others.
fn connect_all(
    options: &TcpOptions,
    inbox: &Inbox,
    interrupted: Interrupted<'_>,
) -> Result<Vec<(u32, TcpStream)>, TransportError> {
    let failed = AtomicBool::new(false);
    let stops = || failed.load(Ordering::Relaxed) || interrupted();
    let note = |is_ok: bool| failed.fetch_or(!is_ok, Ordering::Relaxed);
    let higher = options.peers.iter().filter(|peer| peer.rank > options.rank);
    let mut all = thread::scope(|scope| {
        let dial = |peer| {
            let stream = dial_peer(options, peer, &stops);
            note(stream.is_ok());
            stream.map(|stream| vec![(peer.rank, stream)]).map_err(|e| unreached(peer.rank, e))
        };
        let dialling: Vec<_> = higher.map(|peer| scope.spawn(move || dial(peer))).collect();
        let accepted = accept_lower(options, inbox, &stops);
        note(accepted.is_ok());
        let joined = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let mut all: Vec<_> = dialling.into_iter().map(joined).collect();
        all.push(accepted);
        all
    });
    all.sort_by_key(|part| matches!(part, Err(TransportError::Interrupted { .. })));
    let parts = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}

fn unreached(peer: u32, error: NetError) -> TransportError {
    match error {
        NetError::Interrupted { waited } => stopped(waited),
        error => TransportError::Connecting { peer, source: Box::new(error) },
    }
}

fn stopped(waited: Duration) -> TransportError {
    TransportError::Interrupted { waited_ms: waited.as_millis() as u64 }
}

fn dial_peer(
    options: &TcpOptions,
    peer: &TcpPeer,
    interrupted: Interrupted<'_>,
) -> Result<TcpStream, NetError> {
    let (target, purpose) = (Target::Rank(peer.rank), Purpose::Data);
    let common = Dial::new(&peer.addresses, &options.secret, target, purpose, options.deadline);
    let (from, patience) = (Some(options.rank), Some(options.patience));
    let source = peer.source.or(options.source);
    let dial = Dial { from, patience, source, ..common };
    dial_unless(&dial, interrupted)?.into_data_stream()
}

fn accept_lower(
    options: &TcpOptions,
    inbox: &Inbox,
    interrupted: Interrupted<'_>,
) -> Result<Vec<(u32, TcpStream)>, TransportError> {
    let started = Instant::now();
    let ranks = options.peers.iter().map(|peer| peer.rank);
    let mut missing: BTreeSet<u32> = ranks.filter(|&rank| rank < options.rank).collect();
    let mut streams = Vec::with_capacity(options.peers.len());
    while let Some(&lowest) = missing.first() {
        let Some(incoming) = accept_soon(inbox, options.deadline)? else {
            if interrupted() {
                return Err(stopped(started.elapsed()));
            }
            if Instant::now() >= options.deadline {
                let waited_ms = started.elapsed().as_millis() as u64;
                return Err(TransportError::ConnectDeadline { peer: lowest, waited_ms });
            }
            continue;
        };
        // Whoever holds the secret but is no rank that is still missing gains nothing by dialling.
        let Some(rank) = incoming.from.filter(|rank| missing.remove(rank)) else {
            tracing::warn!(host = incoming.peer_host, rank = ?incoming.from, "unexpected data link");
            continue;
        };
        streams.push((rank, incoming.link.into_data_stream()?));
    }
    Ok(streams)
}

/// The next link, if it comes before it is time to look around.
fn accept_soon(inbox: &Inbox, deadline: Instant) -> Result<Option<Incoming>, NetError> {
    match inbox.accept(Purpose::Data, deadline.min(Instant::now() + LOOK)) {
        Ok(incoming) => Ok(Some(incoming)),
        Err(NetError::NobodyCame { .. }) => Ok(None),
        // Who only claims to speak another version has proved nothing, so the others go on.
        Err(error @ NetError::Version { .. }) => {
            tracing::warn!(%error, "turned a data link away");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
