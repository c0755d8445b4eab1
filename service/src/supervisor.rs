//! What systemd is told: ready, how it goes, stopping, and that the process still works.
//!
//! Datagrams to the socket that the service's environment names; without one, as in a terminal,
//! there is nobody to tell. Owned by each program's `app`. Must not decide whether the process works.

use std::{
    env, io,
    os::unix::net::{SocketAddr, UnixDatagram},
    process,
    time::Duration,
};

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

use tracing::debug;

/// Names the socket.
const SOCKET: &str = "NOTIFY_SOCKET";
/// After how many microseconds of silence the process is killed.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whose silence is meant; without it everybody's.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The way to systemd.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
    patience: Option<Duration>,
}

impl Supervisor {
    /// Who supervises this process, if somebody does.
    pub fn of_this_process() -> Option<Self> {
        let wanted = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let name = wanted(SOCKET)?;
        let patience = patience(wanted(WATCHDOG).as_deref(), wanted(WATCHDOG_PID).as_deref());
        Self::at(&name, patience)
            .inspect_err(|error| debug!(%error, "the socket {name} of the service manager cannot be used"))
            .ok()
    }

    fn at(name: &str, patience: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address: address(name)?,
            patience,
        })
    }

    /// After how long without [`Supervisor::works`] the process is killed; `None` means never.
    pub fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// The process does its duty from now on.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The process ends.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    /// The process was seen to work.
    pub fn works(&self) {
        self.say("WATCHDOG=1");
    }

    /// How it goes, in one line for people.
    pub fn status(&self, line: &str) {
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.say(&format!("STATUS={line}"));
    }

    fn say(&self, state: &str) {
        // a manager that does not listen must not hold the process up
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            debug!(%error, state, "the service manager was not told");
        }
    }
}

/// A path, or `@name` for a socket without a file.
fn address(name: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

fn patience(micros: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != process::id().to_string()) {
        return None;
    }
    let micros: u64 = micros?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    #[test]
    fn what_is_said_arrives_as_it_is_spelled() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let supervisor = Supervisor::at(path.to_str().expect("text"), None).expect("usable");
        supervisor.ready();
        supervisor.status("two\nlines");
        supervisor.works();
        supervisor.stopping();
        let said: Vec<String> = (0..4).map(|_| heard(&manager)).collect();
        assert_eq!(
            said,
            [
                "READY=1",
                "STATUS=two lines",
                "WATCHDOG=1",
                "STOPPING=1\nSTATUS=stopping"
            ]
        );
        drop(manager);
        // nobody listens any more: no matter
        supervisor.works();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_may_have_no_file() {
        let name = format!("agentd-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("a socket");
        Supervisor::at(&format!("@{name}"), None).expect("usable").ready();
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn the_watchdog_counts_for_this_process_alone() {
        let own = process::id().to_string();
        let minute = Some(Duration::from_secs(60));
        assert_eq!(patience(Some("60000000"), None), minute);
        assert_eq!(patience(Some("60000000"), Some(&own)), minute);
        assert_eq!(patience(Some("60000000"), Some("1")), None);
        assert_eq!(patience(Some("0"), None), None);
        assert_eq!(patience(Some("soon"), None), None);
        assert_eq!(patience(None, None), None);
    }
}
