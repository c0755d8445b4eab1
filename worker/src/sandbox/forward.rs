//! The cage's end of the way out: listens on the cage's own loopback and hands what comes to
//! the worker's `door`. It has no right that the tool beside it lacks, and ends with
//! the cage.

use std::{
    ffi::{OsStr, OsString},
    io,
    net::TcpListener,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixStream},
};

use super::bubblewrap;

/// The first argument that makes `agent-worker` forward.
pub const WORD: &str = "forward";

/// The word behind it that lets the forwarder go: it becomes no child of the tool.
const APART: &str = "apart";

/// The name of the socket in the meeting folder.
pub(super) const SOCKET: &str = "door";

/// Most connections at a time, as the door itself allows.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// What programs read to find a proxy. The names with a program in them win over settings that
/// were copied from the machine.
const PROXY: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "CARGO_HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "PIP_PROXY",
];

/// What would lead past it.
const PAST: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// What must not go through it: the tool's own servers.
const NO_PROXY: [&str; 3] = ["NO_PROXY", "no_proxy", "npm_config_noproxy"];
const OWN: &str = "localhost,127.0.0.1,::1";

/// Starts the forwarder beside this process, which is about to become the tool.
pub(super) fn start(meeting: &Path) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let status = Command::new(bubblewrap::INSIDE)
        .args([OsStr::new(WORD), OsStr::new(APART), meeting.as_os_str()])
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        Ok(port)
    } else {
        Err(io::Error::other(format!("the way out {status}")))
    }
}

/// Tells a tool where its way out is.
pub(super) fn point_to(command: &mut Command, port: u16) {
    let proxy = format!("http://127.0.0.1:{port}");
    command.envs(PROXY.map(|name| (name, &proxy)));
    command.envs(NO_PROXY.map(|name| (name, OWN)));
    for name in PAST {
        command.env_remove(name);
    }
}

/// What the arguments behind [`WORD`] say; the listener is standard input.
pub fn forward(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let done = match (words.next(), words.next()) {
        (Some(apart), Some(meeting)) if apart == APART => begin_apart(&meeting),
        (Some(meeting), None) => serve(&PathBuf::from(meeting)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A tool that waits for all of its children must not wait for this one.
fn begin_apart(meeting: &OsStr) -> io::Result<()> {
    // it ends with the cage, and belongs to the cage's first process until then
    Command::new(bubblewrap::INSIDE)
        .args([OsStr::new(WORD), meeting])
        .spawn()
        .map(drop)
}

fn serve(meeting: &Path) -> io::Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let socket = meeting.join(SOCKET);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut guests = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if guests.len() < MAX_CONNECTIONS => {
                    guests.push(pass(accepted?.0, &socket));
                }
                Some(()) = guests.next() => {}
            }
        }
    })
}

async fn pass(mut guest: TcpStream, socket: &Path) {
    if let Ok(mut door) = UnixStream::connect(socket).await {
        // a connection that breaks is the tool's to notice
        let _ = copy_bidirectional(&mut guest, &mut door).await;
    }
}
