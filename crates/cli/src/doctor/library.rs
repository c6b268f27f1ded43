//! Owns where the loader would find a library, told without loading it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the loader looks beside what is configured; `lib64` and the folders of an architecture are some
/// distributions' own.
fn usual() -> Vec<PathBuf> {
    let arch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let folders = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];
    let own = ["/lib", "/usr/lib", "/usr/local/lib"].map(|folder| Path::new(folder).join(&arch));
    own.into_iter().chain(folders.map(PathBuf::from)).collect()
}

/// The first file of that name on the loader's way.
pub fn find(name: &str) -> Option<PathBuf> {
    let told = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let told: Vec<PathBuf> = std::env::split_paths(&told).collect();
    let mut configured = Vec::new();
    read(Path::new("/etc/ld.so.conf"), &mut configured, &mut BTreeSet::new());
    let folders = told.into_iter().chain(configured).chain(usual());
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The folders that a file of the loader's configuration names, and those that it includes.
fn read(file: &Path, folders: &mut Vec<PathBuf>, seen: &mut BTreeSet<PathBuf>) {
    if !seen.insert(file.to_owned()) {
        return;
    }
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include ").map(str::trim) {
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            None => {}
            // Such as /etc/ld.so.conf.d/*.conf.
            Some(pattern) => {
                let folder = Path::new(pattern).parent().unwrap_or(Path::new("/"));
                let entries = fs::read_dir(folder).into_iter().flatten().flatten();
                let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
                files.retain(|file| file.extension().is_some_and(|end| end == "conf"));
                files.sort();
                files.iter().for_each(|file| read(file, folders, seen));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_every_program_needs_is_found_and_none_is_made_up() {
        assert!(find("libc.so.6").is_some());
        assert_eq!(find("libcrosstie-nowhere.so.1"), None);
    }
}
