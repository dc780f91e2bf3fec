//! Fault points: named places at which a test can stop, delay or end the process.
//!
//! A point costs one look-up and does nothing unless [`arm`] was called at start-up and the environment variable
//! `FAILPOINTS` names it: `FAILPOINTS='ledger.put.after=2*off->return'`. The action `return` ends the process at once, as
//! `kill -9` would: nothing is unwound, flushed or dropped. `sleep(ms)` and `pause` hold the calling thread, as SIGSTOP would.
//! The whole grammar is that of the crate `fail`.

use sluice_crds::condition::Reason;

use crate::error::Classified;

/// The environment variable with the points and their actions: `name=action;name=action`.
pub const VARIABLE: &str = "FAILPOINTS";

/// `FAILPOINTS` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("FAILPOINTS has {part:?}: {problem}; write name=action;name=action")]
pub struct FaultError {
    part: String,
    problem: String,
}

impl Classified for FaultError {
    fn reason(&self) -> Reason {
        Reason::ConfigInvalid
    }

    fn retry(&self) -> bool {
        false
    }
}

/// Arms the points that `FAILPOINTS` names. Call it once at start-up; without the variable it does nothing.
pub fn arm() -> Result<(), FaultError> {
    let points = std::env::var(VARIABLE).unwrap_or_default();
    for part in points.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let refuse = |problem: String| FaultError { part: part.to_owned(), problem };
        let (name, action) = part.split_once('=').ok_or_else(|| refuse("there is no action".to_owned()))?;
        fail::cfg(name.trim(), action.trim()).map_err(refuse)?;
        tracing::warn!(point = name, action, "a fault point is armed: this process is meant to fail");
    }
    Ok(())
}

/// A place at which a test may let the process fail. Names are `<room>.<step>.<before|after>`.
pub fn point(name: &str) {
    fail::fail_point!(name, |_| kill());
}

/// Ends the process at once.
fn kill() {
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Not a test by itself: the process that the next test starts.
    #[test]
    #[ignore = "ends its process: another test runs it in one of its own"]
    fn a_process_that_meets_an_armed_point() {
        super::arm().unwrap();
        super::point("fault.test.other");
        println!("met the other point");
        super::point("fault.test");
        println!("still alive");
    }

    fn child(points: Option<&str>) -> std::process::Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "fault::tests::a_process_that_meets_an_armed_point"]);
        command.env_remove(super::VARIABLE).envs(points.map(|points| (super::VARIABLE, points)));
        command.output().unwrap()
    }

    #[test]
    fn an_armed_point_ends_the_process_at_once_and_others_do_nothing() {
        let killed = child(Some(" fault.test = return ; "));
        let text = String::from_utf8_lossy(&killed.stdout).into_owned();
        assert!(killed.status.signal().is_some(), "{killed:?}");
        assert!(text.contains("met the other point") && !text.contains("still alive"), "{text}");
        assert!(child(None).status.success(), "nothing is armed without the variable");
        assert!(!child(Some("nonsense")).status.success(), "what cannot be read is refused");
    }
}
