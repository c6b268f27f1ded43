//! Owns the question whether a process that once listened has gone.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Whether nobody listens any more at any of these addresses of one process: all refuse, which a living host's kernel
/// says at once of a process that is gone, and never of one that is stopped. False where that cannot be told by the
/// `deadline`.
///
/// A loopback address counts only where there is no other: another host's leads to this one.
pub fn is_deserted(addresses: &[SocketAddr], deadline: Instant) -> bool {
    let all_local = addresses.iter().all(|address| address.ip().is_loopback());
    let mut counting =
        addresses.iter().filter(|address| all_local || !address.ip().is_loopback()).peekable();
    counting.peek().is_some() && counting.all(|address| refuses(address, deadline))
}

fn refuses(address: &SocketAddr, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    match TcpStream::connect_timeout(address, left) {
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        // Dialling a free port of this host can meet itself: the kernel may choose that very port to dial from.
        Ok(stream) => stream.local_addr().is_ok_and(|own| own == *address),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_is_deserted_once_its_listener_has_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(!is_deserted(&[address], deadline));
        drop(listener);
        assert!(is_deserted(&[address], deadline));
        assert!(!is_deserted(&[], deadline) && !is_deserted(&[address], Instant::now()));
    }
}
