//! Owns what tests of the C interface share: the library by the names that C programs look for, and C
//! programs built against it.
#![allow(dead_code, reason = "each test binary uses its part of this module")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longer than any test program takes, on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Where this package lies.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The header's directory.
pub fn include() -> PathBuf {
    root().join("include")
}

/// The library as Cargo built it for this test, which lies beside the test itself.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.with_file_name("libnccl.so")
}

/// A directory with the library under all of its names.
pub fn libraries() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = scratch("lib");
        for name in ["libnccl.so", "libnccl.so.2"] {
            symlink(built(), directory.join(name)).expect("a new directory takes links");
        }
        directory
    })
}

/// A new directory of this process.
pub fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("Cargo's directory for tests can be written to");
    directory
}

/// Whether this machine has the compiler; a test that cannot be built says so.
#[expect(clippy::print_stdout, reason = "a check that is left out says so")]
pub fn has(compiler: &str) -> bool {
    let has = Command::new(compiler).arg("--version").output().is_ok();
    if !has {
        println!("SKIPPED: {compiler} is not installed");
    }
    has
}

/// Builds `tests/c/SOURCE` with all warnings as errors.
pub fn build(compiler: &str, source: &str) -> PathBuf {
    let program = scratch(&format!("{compiler}-{source}")).join("program");
    let language: &[&str] =
        if compiler == "g++" { &["-x", "c++"] } else { &["-x", "c", "-std=gnu11"] };
    let out = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-I"])
        .arg(include())
        .args(language)
        .arg(root().join("tests/c").join(source))
        .args(["-x", "none", "-L"])
        .arg(libraries())
        .args(["-lnccl", "-lpthread", "-o"])
        .arg(&program)
        .output()
        .expect("the compiler runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    program
}

/// Builds `tests/c/SOURCE` as a library of that name.
pub fn build_library(source: &str, name: &str) -> PathBuf {
    let library = scratch(source).join(name);
    let out = Command::new("gcc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-std=gnu11", "-shared", "-fPIC"])
        .arg(format!("-Wl,-soname,{name}"))
        .arg(root().join("tests/c").join(source))
        .arg("-o")
        .arg(&library)
        .output()
        .expect("the compiler runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    library
}

/// The program with these arguments, and the library where it finds it.
pub fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("LD_LIBRARY_PATH", libraries());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for a program's end: (exit code, both outputs).
pub fn finish(mut child: Child, what: &str) -> (Option<i32>, String) {
    let until = Instant::now() + LIMIT;
    loop {
        if child.try_wait().expect("it is a child").is_some() {
            break;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let out = child.wait_with_output().expect("it is a child");
            return (
                None,
                format!("{what} has not ended: {}", String::from_utf8_lossy(&out.stderr)),
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let out = child.wait_with_output().expect("it is a child");
    let texts = [out.stdout, out.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (out.status.code(), texts.concat())
}

/// Runs the program once, and expects it to end well.
pub fn run(program: &Path, arguments: &[&str]) {
    let child = command(program, arguments).spawn().expect("the program starts");
    let (code, text) = finish(child, &format!("{arguments:?}"));
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
}

/// Runs it as processes, and expects all to end well.
pub fn run_processes(program: &Path, size: u32) {
    let id = scratch(&format!("id-{size}")).join("id");
    let (size, id) = (size.to_string(), id.display().to_string());
    let start = |rank: String| command(program, &["process", &size, &rank, &id]).spawn();
    let count: u32 = size.parse().expect("it was a number");
    let children: Vec<Child> =
        (0..count).map(|rank| start(rank.to_string()).expect("the program starts")).collect();
    for (rank, child) in children.into_iter().enumerate() {
        let (code, text) = finish(child, &format!("rank {rank} of {size}"));
        assert_eq!(code, Some(0), "rank {rank} of {size}: {text}");
    }
}
