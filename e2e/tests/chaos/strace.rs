//! Calls of the system that fail or kill, chosen by strace.

use e2e::{Controller, repo, skip};

/// Whether it is installed; says what is not tested otherwise.
pub(crate) fn is_here(what: &str) -> bool {
    let here = repo::has("strace");
    if !here {
        skip(&format!("strace is not installed: {what} were not tested"));
    }
    here
}

/// From the controller's next start on, these calls meet this fault, as strace spells both.
pub(crate) fn inject(controller: &mut Controller, calls: &str, fault: &str) {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{fault}"));
    let quiet = ["strace", "-D", "-f", "-qq", "-o", "/dev/null"];
    controller.run_through(&[&quiet[..], &["-e", &trace, "-e", &inject]].concat());
}
