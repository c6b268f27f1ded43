//! Owns writing a file so that nobody ever sees half of it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file that may be written under a name: of a link, what it leads to.
///
/// # Errors
/// Where it is a folder, a device or a pipe, none of which is to be replaced, or names none.
pub fn target(file: &Path) -> io::Result<PathBuf> {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if fs::metadata(&file).is_ok_and(|known| !known.is_file()) {
        return Err(io::Error::other("it is a folder, a device or a pipe, not a file"));
    }
    file.file_name().is_some().then_some(file).ok_or_else(|| io::Error::other("it names no file"))
}

/// Puts a file in the place of the one of that name, if there is one.
pub fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    let written = File::create(&part).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&part, file)
    });
    written.inspect_err(|_| {
        // What cannot be removed either is told by the first error.
        let _ = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_followed_and_what_is_no_file_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("crosstie-written-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (file, link) = (folder.join("table.json"), folder.join("link.json"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        replace(&target(&link).unwrap(), b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(target(&folder.join("none.json")).unwrap(), folder.join("none.json"));
        for other in [folder.as_path(), Path::new("/dev/null"), Path::new("")] {
            assert!(target(other).is_err(), "{}", other.display());
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
