//! One request over a plain socket: tests send what no client library would.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, in lower case.
    pub headers: String,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim())
        })
    }
}

/// Bytes of a body that go out with its head: a server that answers without it has them already, and
/// need not reset the connection when it closes.
const WITH_HEAD: usize = 8 << 10;

/// Sends one request and reads the answer to its end.
///
/// A body's begin goes out with its head, as clients do; the rest is written beside the reading, so that
/// a server may refuse it half-way.
pub fn request(address: &str, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Answer {
    request_with(address, method, path, token, &[], body)
}

/// The same with more headers.
pub fn request_with(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut lines = token.map_or(String::new(), bearer);
    for (name, value) in headers {
        lines.push_str(&format!("{name}: {value}\r\n"));
    }
    try_request(address, method, path, &lines, body, Duration::MAX).expect("the server answers")
}

/// The header that shows a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The same for a server that may be gone, or be silent for `patience`; `headers` are whole lines.
pub fn try_request(
    address: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
    patience: Duration,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    let limit = (patience != Duration::MAX).then_some(patience);
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let (with_head, body) = body.split_at(body.len().min(WITH_HEAD));
    stream.write_all(&[head.as_bytes(), with_head].concat())?;
    let mut sender = stream.try_clone()?;
    let mut answer = vec![];
    let ended = std::thread::scope(|scope| {
        // a refused body breaks the pipe; the answer says why
        scope.spawn(move || sender.write_all(body).is_ok());
        let mut piece = [0; 16 * 1024];
        let ended = loop {
            match stream.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => answer.extend_from_slice(&piece[..count]),
                Err(error) => break Err(error),
            }
        };
        // lets the writer go, should the server have stopped reading without a word
        let _ = stream.shutdown(std::net::Shutdown::Both);
        ended
    });
    parse(&answer, method == "HEAD").ok_or_else(|| {
        ended
            .err()
            .unwrap_or_else(|| io::Error::other("no whole HTTP answer"))
    })
}

/// `None` for one that was cut; one to HEAD announces a body and has none.
fn parse(bytes: &[u8], is_head: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let headers = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let body = &bytes[end + 4..];
    let announced = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let announced = announced.and_then(|length| length.trim().parse().ok());
    let status = headers.split_whitespace().nth(1)?.parse().ok()?;
    announced
        .is_none_or(|length: usize| is_head || length == body.len())
        .then(|| Answer {
            status,
            body: String::from_utf8_lossy(body).into_owned(),
            headers,
        })
}
