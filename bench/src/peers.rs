//! Other programs, measured in the same run where they are installed.

mod beanstalkd;

use std::process::{Command, Stdio};

use crate::{figures::Report, house::House};

/// All that are there.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    if !is_installed("beanstalkd", "-v") {
        report.skip("beanstalkd", "not installed (apt install beanstalkd)");
        return Ok(());
    }
    let house = House::with_worker()?;
    beanstalkd::measure(&house, report)
}

fn is_installed(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg(version)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}
