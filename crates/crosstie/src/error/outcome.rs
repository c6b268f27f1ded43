//! Owns [`Outcome`]: how a program ends, so that its exit code says who is to blame.

use std::error::Error as StdError;
use std::io::Write;
use std::process::{ExitCode, Termination};

use crate::Error;

/// What `main` returns, so that the process ends with the [exit code](Error::exit_code) of what went wrong: 0 where
/// nothing did, 1 for an error that is not this library's.
///
/// An error is printed with all that is known of it: its [report](Error::report). `crosstie run` tells by the exit
/// codes which rank's failure is the cause of the others'.
///
/// ```
/// use crosstie::{Communicator, Error, Outcome};
///
/// fn main() -> Outcome {
///     rank().into()
/// }
///
/// fn rank() -> Result<(), Error> {
///     let mut comm = Communicator::from_env()?;
///     comm.barrier()?;
///     comm.leave()
/// }
/// ```
///
/// Programs whose errors are of several kinds return them boxed: an error of this library is found in there, and
/// among the causes of another.
///
/// ```
/// use crosstie::{Error, Outcome};
///
/// fn rank() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let _: u32 = "no number".parse()?;
///     Ok(())
/// }
///
/// assert_eq!(Outcome::from(rank()).exit_code(), 1);
/// assert_eq!(Outcome::from(Ok::<(), Error>(())).exit_code(), 0);
/// ```
#[derive(Debug)]
#[must_use = "`main` returns it"]
pub struct Outcome(Result<(), Box<dyn StdError + Send + Sync>>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        Self(result.map_err(Into::into))
    }
}

impl Outcome {
    /// The exit code of a process that ends so.
    ///
    /// ```
    /// use crosstie::{Outcome, Threads};
    ///
    /// let ended = Threads::new(1).run(|mut comm| comm.send(&[1], 7)).map(|_| ());
    /// assert_eq!(Outcome::from(ended).exit_code(), 2);
    /// ```
    pub fn exit_code(&self) -> u8 {
        match &self.0 {
            Ok(()) => 0,
            Err(error) => ours(&**error).map_or(1, Error::exit_code),
        }
    }
}

/// Prints what went wrong, if anything did, to standard error.
impl Termination for Outcome {
    fn report(self) -> ExitCode {
        let code = self.exit_code();
        if let Err(error) = &self.0 {
            // Where nobody can be told, the exit code still is.
            let _ = writeln!(std::io::stderr().lock(), "{}", story(&**error));
        }
        ExitCode::from(code)
    }
}

type AnyError = dyn StdError + Send + Sync;

fn chain(error: &AnyError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source())
}

/// This library's error among an error and its causes.
fn ours(error: &AnyError) -> Option<&Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn story(error: &AnyError) -> String {
    let mut text = String::new();
    for error in chain(error) {
        let separator = if text.is_empty() { "" } else { "\n  because: " };
        if let Some(error) = error.downcast_ref::<Error>() {
            return text + separator + &error.report();
        }
        text += &format!("{separator}{error}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Threads;

    #[derive(Debug, thiserror::Error)]
    #[error("step 7")]
    struct Step(#[source] Error);

    #[test]
    fn an_error_among_the_causes_of_another_gives_the_exit_code_and_is_told_in_full() {
        let refused = || Threads::new(1).run(|mut comm| comm.send(&[1], 7)).unwrap_err();
        let outcome = Outcome::from(Err(Step(refused())));
        assert_eq!(outcome.exit_code(), 2);
        let text = story(&**outcome.0.as_ref().unwrap_err());
        assert!(text.starts_with("step 7\n  because: CT-001: send: "), "{text}");
        assert!(text.contains("to blame: the caller") && text.contains("remedy: "), "{text}");
        assert_eq!(Outcome::from(Err(refused())).exit_code(), 2);
    }
}
