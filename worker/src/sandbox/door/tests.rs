use tokio::{io::AsyncBufReadExt as _, net::TcpListener};

use super::*;

/// A door in a folder of its own, and what it says.
struct House {
    folder: tempfile::TempDir,
    door: Door,
    said: Arc<Mutex<Vec<String>>>,
}

impl House {
    fn new(allowed: &[String], bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let lines = said.clone();
        let log = LogSink::new(move |_, line| lines.lock().unwrap().push(line.to_owned()));
        let mut egress = Egress::of(allowed, allowed, &[]);
        egress.bytes = bytes;
        let door = Door::open(folder.path(), egress, log).unwrap();
        Self { folder, door, said }
    }

    /// Asks through the door, and keeps it open until there is an answer.
    async fn ask(&mut self, request: &str) -> String {
        let socket = self.folder.path().join(SOCKET);
        let asked = async {
            let mut stream = UnixStream::connect(socket).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = vec![];
            // a connection may be cut in the middle
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::pin!(asked);
        loop {
            tokio::select! {
                answer = &mut asked => return answer,
                () = self.door.turn() => {}
            }
        }
    }

    fn said(self) -> String {
        self.door.close();
        self.said.lock().unwrap().join("\n")
    }
}

/// A server that answers each line with `bytes` bytes; answers its address.
async fn server(bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = tokio::io::BufReader::new(stream);
            let mut line = String::new();
            let _ = stream.read_line(&mut line).await;
            let answer = format!("heard {line}{}", "x".repeat(bytes));
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn what_the_owner_wrote_down_is_reached_by_tunnel_and_by_request() {
    let address = server(10).await;
    let mut house = House::new(&[address.to_string()], 1 << 20);
    let tunnel = house
        .ask(&format!("CONNECT {address} HTTP/1.1\r\n\r\nhello\n"))
        .await;
    assert!(
        tunnel.starts_with("HTTP/1.1 200 ") && tunnel.contains("heard hello"),
        "{tunnel}"
    );
    let plain = house
        .ask(&format!("GET http://{address}/x HTTP/1.1\r\nHost: other\r\n\r\n"))
        .await;
    assert!(plain.starts_with("heard GET /x HTTP/1.1"), "{plain}");
    let said = house.said();
    assert!(said.contains(&format!("network: {address}: ")), "{said}");
}

#[tokio::test]
async fn everything_else_is_refused_and_said_once() {
    let (allowed, other) = (server(1).await, server(1).await);
    // a name is whatever answers for it: here this very machine
    let by_name = format!("localhost:{}", other.port());
    let mut house = House::new(&[allowed.to_string(), by_name.clone()], 1 << 20);
    let mapped = format!("[::ffff:127.0.0.1]:{}", allowed.port());
    for (target, why) in [
        (other.to_string(), "neither step nor worker name it"),
        (other.to_string(), "neither step nor worker name it"),
        (by_name.clone(), "no public address"),
        ("169.254.169.254:80".to_owned(), "neither step nor worker name it"),
        (mapped, "neither step nor worker name it"),
    ] {
        let answer = house.ask(&format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
        assert!(answer.contains(why), "{target}: {answer}");
    }
    let answer = house.ask("nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let said = house.said();
    assert_eq!(
        said.matches(&format!("{other} was not reached")).count(),
        1,
        "{said}"
    );
    assert!(said.contains(&format!("{by_name} was not reached")), "{said}");
}

#[tokio::test]
async fn bytes_are_counted_and_end_at_the_limit() {
    let address = server(1 << 20).await;
    let mut house = House::new(&[address.to_string()], 100_000);
    let request = format!("CONNECT {address} HTTP/1.1\r\n\r\nhello\n");
    let answer = house.ask(&request).await;
    assert!(answer.len() < 200_000, "{} bytes came", answer.len());
    let again = house.ask(&request).await;
    assert!(again.starts_with("HTTP/1.1 403 "), "{again}");
    let said = house.said();
    assert!(said.contains("as many bytes as it may"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_and_a_connection_that_says_nothing_are_closed() {
    let mut house = House::new(&[], 1 << 20);
    let endless = "x".repeat(MAX_HEAD + 1);
    assert!(house.ask(&endless).await.starts_with("HTTP/1.1 400 "));
    // the clock of this test runs by itself: the answer comes when the patience ends
    assert!(house.ask("CONNECT ").await.starts_with("HTTP/1.1 400 "));
}
