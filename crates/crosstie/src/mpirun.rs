//! Owns telling that a program was built with one MPI library and started by another's `mpirun`: then each process is
//! alone to MPI, and MPI says so to nobody.

use crosstie_launch::{Environment, Explicit, LaunchError, Launcher, identify};

use crate::Error;

/// The reason not to make a world of one here: a launcher has started this process as one of several, and the MPI library
/// in it is none that such a launcher speaks with.
///
/// ```
/// assert!(crosstie::foreign_mpirun().is_none(), "nobody has started several of these");
/// ```
pub fn foreign_mpirun() -> Option<Error> {
    let environment = crosstie_launch::environment(std::env::vars_os());
    let libraries = std::fs::read_to_string("/proc/self/maps").ok()?;
    refusal(&environment, &libraries)
}

fn refusal(environment: &Environment, libraries: &str) -> Option<Error> {
    let who = identify(&Explicit::default(), environment).ok().filter(|who| who.size > 1)?;
    let (open_mpi, mpich) = (libraries.contains("/libopen-pal."), libraries.contains("/libmpich."));
    let other = match who.launcher {
        Launcher::OpenMpi if mpich && !open_mpi => "MPICH",
        Launcher::Mpich | Launcher::IntelMpi if open_mpi && !mpich => "Open MPI",
        _ => return None,
    };
    Some(Error::Launch(LaunchError::Contradiction {
        first: format!("{} says rank {} of {}", who.launcher.name(), who.rank, who.size),
        second: format!("the program uses {other}, to which this process is alone"),
        remedy: "start it with the mpirun of the MPI library that it was built with",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_one_mpi_under_the_mpirun_of_another_is_told() {
        let open_mpi =
            [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2"), ("PMIX_NAMESPACE", "7")];
        let mpich = [("PMI_RANK", "1"), ("PMI_SIZE", "2"), ("PMI_FD", "9")];
        let alone = [("PMI_RANK", "0"), ("PMI_SIZE", "1"), ("PMI_FD", "9")];
        let [ours, theirs] = ["/usr/lib/libopen-pal.so.40", "/usr/lib/libmpich.so.12"];
        for (variables, libraries, is_told) in [
            (open_mpi, theirs, true),
            (mpich, ours, true),
            (open_mpi, ours, false),
            (mpich, theirs, false),
            (mpich, "/usr/lib/libc.so.6", false),
            (alone, ours, false),
        ] {
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let local = [("RANK", "1"), ("SIZE", "2")];
            let local =
                local.map(|(it, value)| (format!("OMPI_COMM_WORLD_LOCAL_{it}"), value.to_owned()));
            let environment = variables.into_iter().chain(local).collect();
            let told = refusal(&environment, libraries);
            assert_eq!(told.is_some(), is_told, "{environment:?} {libraries}");
        }
    }
}
