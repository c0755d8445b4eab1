//! Another machine to the network: a namespace with one cable to this one.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::eventually;

/// A network namespace and the cable to it; gone when dropped.
pub struct Namespace {
    name: String,
    cable: String,
    here: Ipv4Addr,
    there: Ipv4Addr,
}

fn ip(args: &str) -> bool {
    let run = Command::new("ip")
        .args(args.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

impl Namespace {
    /// `None` where this user may not make one.
    pub fn make() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let mark = (std::process::id() * 2 + MADE.fetch_add(1, Ordering::Relaxed)) % 30_000;
        // 8 addresses for each: two for this end, one after the other
        let host =
            |last: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 213, 0, 0)) + mark * 8 % 65_536 + last);
        let made = Self {
            name: format!("agentd-{mark}"),
            cable: format!("agd{mark}"),
            here: host(1),
            there: host(2),
        };
        let Self {
            name, cable, there, ..
        } = &made;
        let steps = [
            format!("netns add {name}"),
            format!("link add {cable}h type veth peer name {cable}w"),
            format!("link set {cable}w netns {name}"),
            format!("addr add {}/29 dev {cable}h", made.here),
            format!("link set {cable}h up"),
            format!("-n {name} addr add {there}/29 dev {cable}w"),
            format!("-n {name} link set {cable}w up"),
            format!("-n {name} link set lo up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(made)
    }

    /// Address of this end of the cable.
    pub fn here(&self) -> Ipv4Addr {
        self.here
    }

    /// Address of the other end.
    pub fn there(&self) -> Ipv4Addr {
        self.there
    }

    /// Name of the cable's other end.
    pub fn device(&self) -> String {
        format!("{}w", self.cable)
    }

    /// Pulls the cable out, or puts it in again.
    pub fn plug(&self, in_it: bool) {
        let state = if in_it { "up" } else { "down" };
        assert!(ip(&format!("link set {}h {state}", self.cable)));
    }

    /// Plugs this end into another machine, which has its address from then on.
    pub fn lead_to(&self, other: &Self) {
        let Self { cable, here, .. } = self;
        let name = &other.name;
        for step in [
            format!("link set {cable}h netns {name}"),
            format!("-n {name} addr add {here}/29 dev {cable}h"),
            format!("-n {name} link set {cable}h up"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
    }

    /// Gives this end another address, and takes the old one away.
    pub fn move_here(&mut self) {
        let next = Ipv4Addr::from(u32::from(self.here) + 2);
        for (verb, address) in [("del", self.here), ("add", next)] {
            assert!(ip(&format!("addr {verb} {address}/29 dev {}h", self.cable)));
        }
        self.here = next;
    }

    /// From the next program on, this name stands for this end of the cable in there; said again, it
    /// holds at once for programs that run.
    pub fn call_here(&self, name: &str) {
        let folder = self.settings();
        fs::create_dir_all(&folder).expect("root may");
        fs::write(
            folder.join("hosts"),
            format!("127.0.0.1 localhost\n{} {name}\n", self.here),
        )
        .expect("written in place");
        // a name server that nobody is, so that nothing else is found and nobody is asked for long
        fs::write(
            folder.join("resolv.conf"),
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        )
        .expect("written");
    }

    fn settings(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// A program in there.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Whether a port of this machine can be reached from in there.
    pub fn reaches(&self, port: &str) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{}/{port}", self.here);
        let mut bash = self.command("bash");
        let status = bash.args(["-c", &connect]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("link del {}h", self.cable));
        ip(&format!("netns del {}", self.name));
        // it may have had none
        let _ = fs::remove_dir_all(self.settings());
    }
}

/// The end of the line that agentd prints at its first start: a join token.
pub fn printed_token(log: &Path) -> String {
    eventually("the line that joins a worker", || {
        let text = fs::read_to_string(log).ok()?;
        let (_, rest) = text.split_once("agent-worker join ")?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))?;
        Some(rest[..end].to_owned())
    })
}
