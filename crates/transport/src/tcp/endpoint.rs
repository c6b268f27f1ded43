//! Owns [`TcpEndpoint`]: an endpoint over sockets that are connected already.

use std::net::TcpStream;

use super::path::Path;
use super::socket::{Socket, Sockets};
use crate::TransportError;
use crate::seam::Limits;
use crate::wires::{Joint, Relays, WireEndpoint};

/// A rank's end of all its connections over TCP.
pub type TcpEndpoint = WireEndpoint<Sockets>;

/// A socket that is connected already, and who sends on it.
#[derive(Debug)]
pub struct Stream {
    /// The rank at its other end.
    pub peer: u32,
    /// The socket.
    pub socket: TcpStream,
    /// The ranks of this rank's node whose connections to `peer` go out on it, in order.
    pub outgoing: Vec<u32>,
    /// The ranks of the peer's node whose connections to this rank come in on it, in order.
    pub incoming: Vec<u32>,
}

impl Stream {
    /// One on which only its two ends send.
    pub fn direct(rank: u32, peer: u32, socket: TcpStream) -> Self {
        Self { peer, socket, outgoing: vec![rank], incoming: vec![peer] }
    }
}

impl TcpEndpoint {
    /// An endpoint of `rank` over sockets that are connected already, one for each peer, with
    /// `channels` connections each way; `limits` and `channels` are the same at both ends.
    ///
    /// Each connection in use holds, at either end, `2 * slots` (rounded up to a power of two)
    /// standing slots of at most 4 KiB, and address space for `slots` messages of `slot_bytes` at
    /// the sender and two at the receiver, of which only what is used is ever touched.
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub fn from_streams(
        rank: u32,
        streams: Vec<(u32, TcpStream)>,
        channels: u16,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let direct = |(peer, socket)| Stream::direct(rank, peer, socket);
        let streams = streams.into_iter().map(direct).collect();
        Self::with_relays(rank, streams, Relays::default(), channels, limits)
    }

    /// As [`from_streams`](Self::from_streams), for a node whose ranks share wires: some sockets carry
    /// connections of several ranks, and some of this rank's connections go by way of `relays`.
    ///
    /// # Errors
    /// [`TransportError::System`].
    pub fn with_relays(
        rank: u32,
        streams: Vec<Stream>,
        relays: Relays,
        channels: u16,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let joint = |stream: Stream| {
            let Stream { peer, socket, outgoing, incoming } = stream;
            Ok(Joint { peer, link: Socket::new(socket)?, outgoing, incoming })
        };
        let joints = streams.into_iter().map(joint).collect::<Result<_, TransportError>>()?;
        Self::over(Sockets::new()?, rank, joints, relays, (channels, limits))
    }

    /// The ways that its wires take, of those that are open.
    pub fn paths(&self) -> Vec<Path> {
        self.links().filter_map(|(peer, socket)| socket.path(peer).ok()).collect()
    }
}
