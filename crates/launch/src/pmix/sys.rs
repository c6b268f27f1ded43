//! Owns PMIx's C interface, of which a meeting needs eight calls: structures as `pmix_common.h` lays them out since
//! PMIx 3 (written for 4.2; the same soname promises them for later ones), and the library, found at run time.

use std::ffi::{CStr, c_char, c_int};

use libloading::os::unix::Library;

use super::PmixError;

/// `libpmix` as launchers' runtime packages install it.
const LIBRARY: &str = "libpmix.so.2";

pub(super) const NAMESPACE_BYTES: usize = 256;
pub(super) const KEY_BYTES: usize = 512;

/// `pmix_status_t`: 0, or an error below it.
pub(super) type Status = c_int;

/// `PMIX_RANK_WILDCARD`: the job as a whole.
pub(super) const EVERY_RANK: u32 = u32::MAX - 1;
/// `PMIX_GLOBAL`: for ranks of this host and of others.
pub(super) const GLOBAL: u8 = 3;
pub(super) const BOOL: u16 = 1;
pub(super) const STRING: u16 = 3;
pub(super) const UINT16: u16 = 13;
pub(super) const UINT32: u16 = 14;
pub(super) const JOB_SIZE: &CStr = c"pmix.job.size";
pub(super) const LOCAL_SIZE: &CStr = c"pmix.local.size";
pub(super) const LOCAL_RANK: &CStr = c"pmix.lrank";
pub(super) const COLLECT_DATA: &CStr = c"pmix.collect";

/// `pmix_proc_t`.
#[repr(C)]
#[derive(Clone)]
pub(super) struct Proc {
    pub(super) nspace: [c_char; NAMESPACE_BYTES],
    pub(super) rank: u32,
}

/// `pmix_value_t`.
#[repr(C)]
pub(super) struct Value {
    pub(super) kind: u16,
    pub(super) data: Data,
}

/// The union in it, of which the largest member is a `pmix_envar_t`.
#[repr(C)]
pub(super) union Data {
    pub(super) flag: bool,
    pub(super) uint16: u16,
    pub(super) uint32: u32,
    pub(super) string: *mut c_char,
    pub(super) largest: [u64; 3],
}

/// `pmix_info_t`.
#[repr(C)]
pub(super) struct Info {
    pub(super) key: [c_char; KEY_BYTES],
    pub(super) flags: u32,
    pub(super) value: Value,
}

/// Declares the table of calls once, with what fills it. The names are the library's own.
macro_rules! calls {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)+) => {
        /// The calls, and the library that has them.
        #[allow(non_snake_case, reason = "the library's own names")]
        pub(super) struct Calls {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> $result,)+
            _library: Library,
        }

        impl Calls {
            fn of(library: Library) -> Result<Calls, PmixError> {
                Ok(Calls {
                    $(
                        // SAFETY: the header declares a function of this name and type.
                        $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                            .map_err(|error| PmixError::Library { reason: error.to_string() })?,
                    )+
                    _library: library,
                })
            }
        }
    };
}

calls! {
    PMIx_Init: fn(*mut Proc, *mut Info, usize) -> Status;
    PMIx_Finalize: fn(*const Info, usize) -> Status;
    PMIx_Put: fn(u8, *const c_char, *mut Value) -> Status;
    PMIx_Commit: fn() -> Status;
    PMIx_Fence: fn(*const Proc, usize, *const Info, usize) -> Status;
    PMIx_Get: fn(*const Proc, *const c_char, *const Info, usize, *mut *mut Value) -> Status;
    PMIx_Error_string: fn(Status) -> *const c_char;
}

impl Calls {
    pub(super) fn open() -> Result<Calls, PmixError> {
        // SAFETY: what runs when the library is loaded and unloaded concerns nobody but itself.
        let library = unsafe { Library::new(LIBRARY) };
        Calls::of(library.map_err(|error| PmixError::Library { reason: error.to_string() })?)
    }

    /// `status` as an error of `call`, if it is one.
    pub(super) fn check(&self, call: &'static str, status: Status) -> Result<(), PmixError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the library takes any number, and returns a text of its own that lasts.
        let text = unsafe { (self.PMIx_Error_string)(status) };
        let reason = match text.is_null() {
            true => "no text".to_owned(),
            // SAFETY: the text is not null, and ends with a zero byte.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        Err(PmixError::Refused { call, status, reason })
    }
}

/// `text` with zeros behind it; what is longer than the library's own limit is cut, and then found by nobody.
pub(super) fn padded<const N: usize>(text: &CStr) -> [c_char; N] {
    let mut padded = [0; N];
    let bytes = text.to_bytes().iter().take(N - 1);
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from as c_char;
    }
    padded
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::mem::{align_of, offset_of, size_of};
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// Where Debian, and those who build it themselves, have the header.
    const FOLDERS: [&str; 3] =
        ["/usr/lib/x86_64-linux-gnu/pmix2/include", "/usr/include", "/usr/local/include"];

    /// Says in C, in the header's own names, what is written above by hand.
    fn claims() -> String {
        let mut c = String::from("#include <stddef.h>\n#include <pmix.h>\n");
        let mut claim = |what: String| {
            writeln!(c, "_Static_assert({what}, \"differs\");").unwrap();
        };
        macro_rules! same {
            ($ours:ident, $theirs:literal { $($field:ident = $name:literal),* }) => {
                claim(format!("sizeof({}) == {}", $theirs, size_of::<$ours>()));
                claim(format!("_Alignof({}) == {}", $theirs, align_of::<$ours>()));
                $(claim(format!("offsetof({}, {}) == {}", $theirs, $name, offset_of!($ours, $field)));)*
            };
        }
        same!(Proc, "pmix_proc_t" { nspace = "nspace", rank = "rank" });
        same!(Value, "pmix_value_t" { kind = "type", data = "data" });
        same!(Info, "pmix_info_t" { key = "key", flags = "flags", value = "value" });
        let numbers = [
            ("(unsigned)(PMIX_RANK_WILDCARD)", u64::from(EVERY_RANK)),
            ("PMIX_GLOBAL", u64::from(GLOBAL)),
            ("PMIX_BOOL", u64::from(BOOL)),
            ("PMIX_STRING", u64::from(STRING)),
            ("PMIX_UINT16", u64::from(UINT16)),
            ("PMIX_UINT32", u64::from(UINT32)),
            ("PMIX_SUCCESS", 0),
            ("sizeof(pmix_status_t)", size_of::<Status>() as u64),
            ("sizeof(pmix_scope_t)", size_of_val(&GLOBAL) as u64),
        ];
        for (name, ours) in numbers {
            claim(format!("{name} == {ours}ull"));
        }
        let keys = [
            ("PMIX_JOB_SIZE", JOB_SIZE),
            ("PMIX_LOCAL_SIZE", LOCAL_SIZE),
            ("PMIX_LOCAL_RANK", LOCAL_RANK),
            ("PMIX_COLLECT_DATA", COLLECT_DATA),
        ];
        for (name, ours) in keys {
            let ours = ours.to_str().unwrap();
            claim(format!("!__builtin_strcmp({name}, \"{ours}\")"));
        }
        c
    }

    fn compiles(folder: &Path, c: &str) -> bool {
        let mut cc = Command::new("cc");
        cc.args(["-fsyntax-only", "-x", "c", "-", "-I"]).arg(folder).stdin(Stdio::piped());
        // That claims do not hold is said by its exit code; one of the two is wrong on purpose.
        cc.stderr(Stdio::null());
        let mut cc = cc.spawn().unwrap();
        std::io::Write::write_all(&mut cc.stdin.take().unwrap(), c.as_bytes()).unwrap();
        cc.wait().unwrap().success()
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a check that is left out says so")]
    fn layouts_written_by_hand_are_those_of_the_installed_header() {
        let folder = FOLDERS.map(Path::new).into_iter().find(|it| it.join("pmix.h").exists());
        let Some(folder) = folder.filter(|_| Command::new("cc").arg("--version").output().is_ok())
        else {
            eprintln!("SKIPPED: there is no pmix.h, or no cc, to compare layouts with");
            return;
        };
        assert!(compiles(folder, &claims()));
        let wrong = claims().replace("sizeof(pmix_proc_t) == ", "sizeof(pmix_proc_t) == 1");
        assert!(!compiles(folder, &wrong), "the comparison must be able to fail");
    }
}
