//! Owns reading files that people name: bounded in length and in time, whatever stands at the path.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// More than any topology, plan or program has: their readers refuse longer ones by their length.
const MOST_BYTES: u64 = 65 << 20;

/// What to do with a pipe: whoever writes it may never come, or never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    /// Refuse it.
    Refused,
    /// Read it, if its end comes within this time.
    Within(Duration),
}

/// A file's bytes, as far as anybody wants them: never waits for what may not come.
///
/// ```
/// use crosstie_probe::{Pipes, read_file};
///
/// let error = read_file("/dev/null", Pipes::Refused).unwrap_err();
/// assert_eq!(error.to_string(), "it is a device, not a file");
/// ```
///
/// # Errors
/// The file system's; and where it is neither a regular file nor a pipe that may be read, or has no end in time.
pub fn read_file(path: impl AsRef<Path>, pipes: Pipes) -> io::Result<Vec<u8>> {
    // Or opening a pipe would wait for somebody who writes, and so would reading /proc/kmsg.
    let flags = OFlags::NONBLOCK.bits().try_into().unwrap_or_default();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    match pipes {
        Pipes::Within(limit) if kind.is_fifo() => piped(file, limit),
        _ if kind.is_file() => {
            let mut bytes = Vec::new();
            let read = file.by_ref().take(MOST_BYTES).read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => io::Error::other("it has no end: more is yet to come"),
                _ => error,
            })
        }
        _ => Err(io::Error::new(ErrorKind::InvalidInput, refusal(kind))),
    }
}

fn refusal(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "it is a folder, not a file"
    } else if kind.is_fifo() {
        "it is a pipe, not a file (which each rank could read)"
    } else {
        "it is a device, not a file"
    }
}

/// What comes out of a pipe until its writers have closed it.
fn piped(mut pipe: File, limit: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    while (bytes.len() as u64) < MOST_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let what = format!("it is a pipe that did not end within {limit:?}");
                return Err(io::Error::new(ErrorKind::TimedOut, what));
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    const LONG: Pipes = Pipes::Within(Duration::from_secs(10));
    const SHORT: Pipes = Pipes::Within(Duration::from_millis(50));

    #[test]
    fn a_pipe_is_read_to_its_end_or_refused_and_never_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let refused = read_file(&path, Pipes::Refused).unwrap_err().to_string();
        assert!(refused.starts_with("it is a pipe, not a file"), "{refused}");
        let endless = read_file(&path, SHORT).unwrap_err();
        assert_eq!(endless.to_string(), "it is a pipe that did not end within 50ms");

        let written = thread::spawn(move || writer.write_all(&[7; 200_000]));
        assert_eq!(read_file(&path, LONG).unwrap(), [7; 200_000]);
        written.join().unwrap().unwrap();
        assert!(read_file(&path, LONG).unwrap().is_empty(), "whoever wrote has gone");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_by_its_kind() {
        let refused = |path: &str| read_file(path, LONG).unwrap_err().to_string();
        assert_eq!(refused("/proc"), "it is a folder, not a file");
        assert_eq!(refused("/dev/zero"), "it is a device, not a file");
        assert!(!read_file("/proc/self/stat", Pipes::Refused).unwrap().is_empty());
    }
}
