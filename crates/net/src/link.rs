//! Owns a link: framed, encrypted messages between two processes, every call with a deadline.
//!
//! A message is its length (64 bit) and its bytes, cut into Noise messages of at most 65,535 bytes, each preceded
//! by its own length (16 bit). Reads never go beyond the frame at hand, so a link can become a plain stream.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::sockopt;
use snow::TransportState;

use crate::error::NetError;
use crate::wait::{option_ms, ready_by};

const FRAME_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;
const PLAIN_MAX: usize = FRAME_MAX - TAG_BYTES;
const LENGTH_BYTES: usize = 8;

/// An authenticated, encrypted link. Each end sends and receives whole messages in order; a message that could not
/// be sent or received by a deadline goes on with the next call.
pub struct Link {
    stream: TcpStream,
    noise: TransportState,
    host: String,
    address: SocketAddr,
    /// The frame being received, its two length bytes included; `filled` of its bytes have come.
    frame: Vec<u8>,
    filled: usize,
    /// The message being received: its length and bytes, decrypted.
    message: Vec<u8>,
    /// Encrypted bytes that the kernel did not take yet; those before `sent` it has.
    outgoing: Vec<u8>,
    sent: usize,
}

impl Link {
    /// The longest message, in bytes.
    pub const MESSAGE_MAX: usize = 16 << 20;

    /// How many bytes may wait to be sent before [`Link::queue`] refuses more.
    pub const BACKLOG_MAX: usize = 1 << 20;

    pub(crate) fn new(
        stream: TcpStream,
        noise: TransportState,
        host: String,
        address: SocketAddr,
    ) -> Result<Link, NetError> {
        let call = |call: &str| NetError::system(format!("{call} for the link to {address}"));
        rustix::io::ioctl_fionbio(&stream, true).map_err(call("ioctl FIONBIO"))?;
        sockopt::set_tcp_nodelay(&stream, true).map_err(call("TCP_NODELAY"))?;
        Ok(Link {
            stream,
            noise,
            host,
            address,
            frame: vec![0; 2],
            filled: 0,
            message: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
        })
    }

    /// Sends a message of up to [`Link::MESSAGE_MAX`] bytes: returns when the kernel has taken it.
    ///
    /// Two ends that send each other more than the kernel buffers, and neither receives, wait for their deadlines.
    pub fn send(&mut self, message: &[u8], deadline: Instant) -> Result<(), NetError> {
        self.drain(deadline)?;
        self.queue(message)?;
        self.drain(deadline)
    }

    fn drain(&mut self, deadline: Instant) -> Result<(), NetError> {
        let started = Instant::now();
        while !self.flush()? {
            if !ready_by(self.stream.as_fd(), PollFlags::OUT, deadline)? {
                return Err(self.late("sending a message", started));
            }
        }
        Ok(())
    }

    /// Takes a message to be sent by later calls of [`Link::flush`]; never waits.
    ///
    /// An error when more than [`Link::BACKLOG_MAX`] bytes wait already: the peer does not read.
    pub fn queue(&mut self, message: &[u8]) -> Result<(), NetError> {
        if message.len() > Self::MESSAGE_MAX {
            let (len, limit) = (message.len() as u64, Self::MESSAGE_MAX as u64);
            return Err(NetError::TooLong { len, limit });
        }
        let waiting = self.outgoing.len() - self.sent;
        if waiting > Self::BACKLOG_MAX {
            let (host, waiting) = (self.host.clone(), waiting as u64);
            return Err(NetError::Backlog { host, address: self.address, waiting });
        }
        let head = (message.len() as u64).to_le_bytes();
        let (first, rest) = message.split_at(message.len().min(PLAIN_MAX - LENGTH_BYTES));
        self.seal(&[&head, first].concat())?;
        rest.chunks(PLAIN_MAX).try_for_each(|chunk| self.seal(chunk))
    }

    fn seal(&mut self, plain: &[u8]) -> Result<(), NetError> {
        let at = self.outgoing.len();
        let len = plain.len() + TAG_BYTES;
        let prefix = u16::try_from(len).expect("a chunk plus its tag fits a Noise message");
        self.outgoing.extend_from_slice(&prefix.to_le_bytes());
        self.outgoing.resize(at + 2 + len, 0);
        let sealed = self.noise.write_message(plain, &mut self.outgoing[at + 2..]);
        sealed.map(drop).map_err(NetError::Crypto)
    }

    /// Hands waiting bytes to the kernel; true when none are left. Never waits.
    pub fn flush(&mut self) -> Result<bool, NetError> {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(taken) => self.sent += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended("sending", Some(error))),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Whether queued bytes wait for the kernel: poll for writability, then [`Link::flush`].
    pub fn has_backlog(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Receives the next message; an error at the deadline, or at once when the link ends.
    pub fn recv(&mut self, deadline: Instant) -> Result<Vec<u8>, NetError> {
        let started = Instant::now();
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            if !ready_by(self.stream.as_fd(), PollFlags::IN, deadline)? {
                return Err(self.late("receiving a message", started));
            }
        }
    }

    /// The next message if all of it has come; never waits.
    pub fn try_recv(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        while self.fill_frame()? {
            let len = usize::from(u16::from_le_bytes([self.frame[0], self.frame[1]]));
            if self.frame.len() == 2 {
                if len <= TAG_BYTES {
                    return Err(self.broken(format!("it sent an empty frame of {len} bytes")));
                }
                self.frame.resize(2 + len, 0);
                continue;
            }
            self.open_frame(len)?;
            if let Some(message) = self.whole_message()? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Reads the rest of the frame at hand, or of its length; true when it is complete.
    fn fill_frame(&mut self) -> Result<bool, NetError> {
        while self.filled < self.frame.len() {
            match self.stream.read(&mut self.frame[self.filled..]) {
                Ok(0) if self.filled == 0 && self.message.is_empty() => {
                    return Err(self.ended("waiting for a message", None));
                }
                Ok(0) => return Err(self.ended("receiving the rest of a message", None)),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended("receiving", Some(error))),
            }
        }
        Ok(true)
    }

    /// Decrypts the complete frame of `len` bytes to the end of the message at hand.
    fn open_frame(&mut self, len: usize) -> Result<(), NetError> {
        let at = self.message.len();
        self.message.resize(at + len, 0);
        let opened = self.noise.read_message(&self.frame[2..], &mut self.message[at..]);
        self.frame.truncate(2);
        self.filled = 0;
        match opened {
            Ok(plain) => self.message.truncate(at + plain),
            Err(_) => return Err(self.broken("it sent bytes that it did not encrypt".to_owned())),
        }
        Ok(())
    }

    /// The message at hand, if its last frame has come.
    fn whole_message(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        let Some((head, rest)) = self.message.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(self.broken("a message's first frame has no length".to_owned()));
        };
        let len = u64::from_le_bytes(*head);
        let have = rest.len() as u64;
        if len > Self::MESSAGE_MAX as u64 || have > len {
            return Err(self.broken(format!("it announced {len} bytes and sent {have}")));
        }
        if have < len {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.message);
        message.drain(..LENGTH_BYTES);
        Ok(Some(message))
    }

    /// The peer's host, as it named itself.
    pub fn peer_host(&self) -> &str {
        &self.host
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.address
    }

    /// How long sent bytes may stay unacknowledged before the link ends (`TCP_USER_TIMEOUT`).
    pub fn set_user_timeout(&self, limit: Duration) -> Result<(), NetError> {
        sockopt::set_tcp_user_timeout(&self.stream, option_ms(limit))
            .map_err(NetError::system(format!("TCP_USER_TIMEOUT for {}", self.address)))
    }

    /// Gives up framing and encryption: from here on the stream is plain, and non-blocking. Both ends do so at the
    /// same point of their talk. An error when part of a message is under way.
    pub fn into_data_stream(self) -> Result<TcpStream, NetError> {
        if self.filled > 0 || !self.message.is_empty() || self.has_backlog() {
            return Err(
                self.broken("a message was under way when the link became plain".to_owned())
            );
        }
        Ok(self.stream)
    }

    fn late(&self, doing: &'static str, started: Instant) -> NetError {
        let waited = started.elapsed();
        NetError::Deadline { doing, host: self.host.clone(), address: self.address, waited }
    }

    fn ended(&self, doing: &'static str, source: Option<io::Error>) -> NetError {
        NetError::Ended { doing, host: self.host.clone(), address: self.address, source }
    }

    fn broken(&self, what: String) -> NetError {
        NetError::Protocol { host: self.host.clone(), address: self.address, what }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link to {} at {}", self.host, self.address)
    }
}
