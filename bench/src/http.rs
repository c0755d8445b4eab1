//! The least HTTP/1.1 client: one keep-alive connection, one request at a time, so
//! that what is measured is the server and not a library of the client.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, bail};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Http {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Http {
    /// Connects to `host:port`; each request carries `token`.
    pub fn connect(address: &str, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            head: format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n"),
        })
    }

    /// Sends a request and reads the whole answer: its status and its body.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.send(method, path, "Content-Type: application/json\r\n", body.len())?;
        self.stream.get_mut().write_all(body.as_bytes())?;
        let (status, length) = self.answer()?;
        let mut body = vec![0; length.context("an answer without Content-Length")?];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }

    /// Sends `length` bytes that `fill` makes piece by piece, and reads the answer's status.
    pub fn upload(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        length: usize,
        piece: &[u8],
    ) -> anyhow::Result<u16> {
        self.send(method, path, headers, length)?;
        let mut left = length;
        while left > 0 {
            let now = left.min(piece.len());
            self.stream.get_mut().write_all(&piece[..now])?;
            left -= now;
        }
        let (status, length) = self.answer()?;
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        Ok(status)
    }

    /// Opens a stream of server-sent events, whose lines can then be read.
    pub fn events(mut self, path: &str) -> anyhow::Result<impl Iterator<Item = String>> {
        self.send("GET", path, "Accept: text/event-stream\r\n", 0)?;
        let (status, _) = self.answer()?;
        if status != 200 {
            bail!("GET {path}: status {status}");
        }
        Ok(self.stream.lines().map_while(Result::ok))
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, length: usize) -> anyhow::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{}{headers}Content-Length: {length}\r\n\r\n",
            self.head
        );
        self.stream.get_mut().write_all(head.as_bytes())?;
        Ok(())
    }

    fn answer(&mut self) -> anyhow::Result<(u16, Option<usize>)> {
        let status = self.line()?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.with_context(|| format!("no status line: {status:?}"))?;
        let mut length = if code == 204 { Some(0) } else { None };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((code, length));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}
