//! What tools can read, write and reach.

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, UdpSocket},
    os::unix::net::UnixListener,
};

use protocol::sandbox::SandboxLevel;

use super::{Yard, fenced::in_own_network, skip};

#[tokio::test]
async fn files_of_others_cannot_be_read() {
    for yard in Yard::each().await {
        let root = yard.root();
        let root = root.display();
        let home = std::env::var("HOME").unwrap_or_default();
        yard.hidden("cat /etc/shadow; cat /etc/shadow-", "root:").await;
        yard.hidden(&format!("cat {root}/credential.json"), "secret-credential")
            .await;
        yard.hidden(&format!("cat {root}/caches/other/file"), "of another workspace")
            .await;
        yard.hidden(
            &format!("cat {home}/.ssh/* {home}/.bash_history && echo READ"),
            "READ",
        )
        .await;
        yard.hidden(&format!("ls {home}/.ssh && echo LISTED"), "LISTED")
            .await;
        // through links, of which the repository may hold any
        yard.hidden(
            &format!("ln -sf {root} l; cat l/credential.json"),
            "secret-credential",
        )
        .await;
        yard.hidden("ln -sf / r; cat r/etc/shadow", "root:").await;
    }
}

#[tokio::test]
async fn the_environment_of_the_worker_cannot_be_read() {
    let own = std::process::id();
    for yard in Yard::each().await {
        for pid in [
            own.to_string(),
            "$PPID".to_owned(),
            "1".to_owned(),
            "self/task/../../1".to_owned(),
        ] {
            // every test runs with this variable, which no tool is given
            yard.hidden(
                &format!("cat /proc/{pid}/environ | tr '\\0' '\\n'; cat /proc/{pid}/maps"),
                "CARGO_MANIFEST_DIR=",
            )
            .await;
            yard.hidden(
                &format!("cat /proc/{pid}/root{}/credential.json", yard.root().display()),
                "secret-credential",
            )
            .await;
        }
    }
}

#[tokio::test]
async fn nothing_outside_of_the_workspace_can_be_written() {
    for yard in Yard::each().await {
        let root = yard.root();
        let elsewhere = tempfile::tempdir().expect("a folder");
        for path in [
            root.join("planted"),
            root.join("caches/other/planted"),
            root.join("scratch/planted"),
            elsewhere.path().join("planted"),
            "/usr/local/bin/planted".into(),
            "/etc/planted".into(),
            "/planted".into(),
            "/var/tmp/planted".into(),
            "/dev/shm/planted".into(),
        ] {
            let script = format!("echo x > {0}; mkdir -p {0}.d; ln -s /etc {0}.l", path.display());
            yard.sh(&script).await;
            assert!(!path.exists(), "{}: {}", yard.sandbox, path.display());
        }
        fs::write(elsewhere.path().join("canary"), "alive").expect("written");
        let canary = elsewhere.path().join("canary");
        yard.sh(&format!("echo dead > {0}; rm -f {0}; : > {0}", canary.display()))
            .await;
        assert_eq!(fs::read_to_string(&canary).expect("there"), "alive");
        let inside = yard
            .sh("echo x > written && mkdir sub && echo y > \"$HOME/cached\"")
            .await;
        assert!(inside.success(), "{}: {}", yard.sandbox, inside.stderr.text());
        assert!(yard.tree().join("written").exists() && root.join("caches/home/cached").exists());
        assert_eq!(fs::read_dir(root.join("scratch")).expect("a folder").count(), 0);
    }
}

const CONNECT: &str = "
import socket, sys
def attempt(what, call):
    try:
        call()
        print('REACHED', what)
    except OSError as error:
        print('refused', what, error)
def tcp(host, port=80):
    s = socket.create_connection((host, port), timeout=1); s.close()
def ask(host, port=53):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
    s.sendto(b'x', (host, port)); s.recv(1); s.close()
path, name = sys.argv[1:]
attempt('loopback', lambda: tcp('127.0.0.1'))
attempt('loopback by IPv6', lambda: tcp('::ffff:127.0.0.1'))
attempt('metadata', lambda: tcp('169.254.169.254'))
attempt('metadata by IPv6', lambda: tcp('fd00:ec2::254'))
attempt('lan', lambda: tcp('192.168.0.1'))
attempt('private', lambda: tcp('10.0.0.1'))
attempt('dns', lambda: ask('10.0.0.1'))
attempt('dns of this machine', lambda: ask('127.0.0.1'))
attempt('path socket', lambda: socket.socket(socket.AF_UNIX).connect(path))
attempt('abstract socket', lambda: socket.socket(socket.AF_UNIX).connect('\\0' + name))
attempt('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
attempt('alg', lambda: socket.socket(38, socket.SOCK_SEQPACKET))
";

/// What [`CONNECT`] tries at addresses; the rest is kinds of sockets, which a kernel may lack.
const ADDRESSES: usize = 10;

/// A server at every address that is tried, in a network namespace of the test's own.
fn listen_everywhere() -> Vec<TcpListener> {
    let udp = UdpSocket::bind("0.0.0.0:53").expect("a port");
    std::thread::spawn(move || {
        let mut byte = [0];
        while let Ok((_, from)) = udp.recv_from(&mut byte) {
            let _ = udp.send_to(b"y", from);
        }
    });
    let all = ["0.0.0.0:80", "[fd00:ec2::254]:80"];
    all.map(|address| TcpListener::bind(address).expect("a port"))
        .into()
}

#[tokio::test]
async fn no_address_can_be_reached() {
    use std::os::linux::net::SocketAddrExt as _;
    if !in_own_network("reach::no_address_can_be_reached") {
        return;
    }
    let _servers = listen_everywhere();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _by_path = UnixListener::bind(&path).expect("a socket");
    let name = format!("agentd-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let _abstract = UnixListener::bind_addr(&address).expect("a socket");
    let path = path.to_string_lossy();
    let argv = ["python3", "-c", CONNECT, &path, &name];
    for yard in Yard::each().await {
        let free = super::run(yard.uncaged(&argv)).await.stdout.text();
        assert!(
            free.matches("REACHED").count() >= ADDRESSES,
            "without a cage: {free}"
        );
        let result = super::run(yard.exec(&argv)).await;
        let said = result.stdout.text();
        assert_eq!(
            said.lines().filter(|line| line.starts_with("refused")).count(),
            14,
            "{}: {said}{}",
            yard.sandbox,
            result.stderr.text()
        );
        assert!(!said.contains("REACHED"), "{}: {said}", yard.sandbox);
    }
}

/// A step's own variables must not become instructions for the programs that make its cage.
#[tokio::test]
async fn variables_of_the_loader_reach_the_tool_and_nobody_before_it() {
    for yard in Yard::each().await {
        let planted = yard.root().join("planted");
        let source = format!(
            "#include <stdio.h>\n__attribute__((constructor)) static void f(void) {{ FILE *f = fopen(\"{}\", \"w\"); if (f) fclose(f); }}\n",
            planted.display()
        );
        fs::write(yard.tree().join("evil.c"), source).expect("written");
        if !yard.sh("cc -shared -fPIC -o evil.so evil.c").await.success() {
            return skip("there is no compiler of C");
        }
        let mut environment = yard.toolchains.environment(&yard.root().join("caches/home"));
        environment.insert("LD_PRELOAD".into(), "./evil.so".into());
        let exec = yard.exec(&["sh", "-c", "echo \"$LD_PRELOAD\""]);
        let result = super::run(exec.environment(environment.clone())).await;
        assert_eq!(result.stdout.text(), "./evil.so\n", "{}", yard.sandbox);
        assert!(!planted.exists(), "{}: the worker's side loaded it", yard.sandbox);
        // without a cage it is loaded: the test can fail
        super::run(yard.uncaged(&["true"]).environment(environment)).await;
        assert!(planted.exists(), "{}", yard.sandbox);
        fs::remove_file(planted).expect("removed");
    }
}

#[tokio::test]
async fn dangerous_system_calls_are_refused() {
    for yard in Yard::each().await {
        let script = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, *arguments):
    done = libc.syscall(*arguments)
    print(what, 'DONE' if done >= 0 else os.strerror(ctypes.get_errno()))
import platform
x86 = platform.machine() == 'x86_64'
attempt('unshare', 272 if x86 else 97, 0x10000000)
attempt('unshare-net', 272 if x86 else 97, 0x40000000)
attempt('mount', 165 if x86 else 40, b'x', b'/tmp', b'tmpfs', 0, 0)
attempt('bpf', 321 if x86 else 280, 0, 0, 0)
attempt('keyctl', 250 if x86 else 219, 0, -3, 0)
attempt('perf', 298 if x86 else 241, 0, 0, -1, -1, 0)
attempt('uring', 425, 1, 0)
attempt('clone3', 435, 0, 0)
attempt('userfaultfd', 323 if x86 else 282, 0)
if x86: attempt('x32 unshare', 0x40000000 + 272, 0x10000000)
import fcntl, termios
try:
    fcntl.ioctl(0, termios.TIOCSTI, b'x'); print('tiocsti DONE')
except OSError as error: print('tiocsti', error)
";
        let result = super::run(yard.exec(&["python3", "-c", script])).await;
        let said = result.stdout.text();
        assert!(
            said.contains("clone3 Function not implemented"),
            "{}: {said}{}",
            yard.sandbox,
            result.stderr.text()
        );
        assert!(
            said.contains("unshare Operation not permitted"),
            "{}: {said}",
            yard.sandbox
        );
        assert!(!said.contains("DONE"), "{}: {said}", yard.sandbox);
    }
}

#[tokio::test]
async fn other_processes_are_not_seen() {
    let Some(yard) = Yard::strong().await else { return };
    let result = yard.sh("ls /proc | grep -c '^[0-9]*$'").await;
    let count: u32 = result.stdout.text().trim().parse().expect("a number");
    assert!(count <= 6, "{count} processes are seen");
    let result = yard
        .sh(&format!("kill -9 {}; kill -9 -1; true", std::process::id()))
        .await;
    assert_ne!(result.exit, Some(1), "{}", result.stderr.text());
}

#[tokio::test]
async fn what_is_not_allowed_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    if Yard::at(&[SandboxLevel::Strong], super::without_bubblewrap())
        .await
        .is_some()
    {
        panic!("strong without bubblewrap");
    }
    let Some(yard) = Yard::at(&[SandboxLevel::Basic], super::without_bubblewrap()).await else {
        return skip("no Landlock");
    };
    assert_eq!(yard.sandbox.level(), Some(SandboxLevel::Basic));
    assert!(yard.sandbox.check(Some(SandboxLevel::Strong)).is_err());
    assert!(yard.sandbox.check(Some(SandboxLevel::Basic)).is_ok());
    let mut file = fs::File::create(folder.path().join("x")).expect("made");
    file.write_all(b"x").expect("written");
}
