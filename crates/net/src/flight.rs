//! Owns the fixed-size flights of the handshake on a non-blocking socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// A flight of `N` bytes that is being received.
pub(crate) struct Flight<const N: usize> {
    pub(crate) bytes: [u8; N],
    pub(crate) filled: usize,
}

impl<const N: usize> Flight<N> {
    pub(crate) fn new() -> Flight<N> {
        Flight { bytes: [0; N], filled: 0 }
    }

    /// Reads what has come, never beyond the flight. An end of the stream is an error.
    pub(crate) fn receive(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        while self.filled < N {
            match stream.read(&mut self.bytes[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.filled == N
    }
}

/// Sends a flight into a socket whose buffer is still empty. Should it not fit whole, that is an error.
pub(crate) fn send_flight(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    loop {
        match stream.write(bytes) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(_) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
