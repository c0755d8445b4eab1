//! What a program asks of its proxy: a tunnel, or one plain request. Pure.

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) host: String,
    pub(super) port: u16,
    /// What goes to the host first: nothing for a tunnel, else the request's head.
    pub(super) head: Option<Vec<u8>>,
}

/// Headers that are between a program and its proxy, or that are said anew.
const OWN_HEADERS: [&str; 5] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
];

impl Wish {
    /// For people.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// `CONNECT host:port`, or a request with a whole `http://` address.
pub(super) fn parse(head: &str) -> Option<Wish> {
    let (line, headers) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = authority(target)?;
        let port = port?;
        return Some(Wish {
            host,
            port,
            head: None,
        });
    }
    let rest = target.strip_prefix("http://")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, path) = rest.split_at(at);
    let (host, port) = authority(name)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    // the host that was judged, not another one that the server may know too
    let mut own = format!("{method} {slash}{path} {version}\r\nHost: {name}\r\n");
    // one request per connection: the next one may be for another host
    for header in headers.split("\r\n").filter(|header| !header.is_empty()) {
        let key = header.split_once(':')?.0.trim().to_ascii_lowercase();
        if !OWN_HEADERS.contains(&key.as_str()) {
            own += header;
            own += "\r\n";
        }
    }
    own += "Connection: close\r\n\r\n";
    Some(Wish {
        host,
        port: port.unwrap_or(80),
        head: Some(own.into_bytes()),
    })
}

/// `host`, `host:port`, `[v6]:port`; never with a user.
fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let plain = |host: &str| {
        let fine = !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
        fine.then(|| host.to_owned())
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        return Some((plain(host)?, port));
    }
    match text.split_once(':') {
        Some((host, port)) => Some((plain(host)?, Some(port.parse().ok()?))),
        None => Some((plain(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_and_plain_requests_are_read() {
        let tunnel = parse("CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org\r\n\r\n").expect("a wish");
        assert_eq!(
            (tunnel.host.as_str(), tunnel.port, tunnel.head),
            ("pypi.org", 443, None)
        );
        let tunnel = parse("CONNECT [::1]:443 HTTP/1.1\r\n\r\n").expect("a wish");
        assert_eq!(tunnel.host, "::1");
        let plain = "GET http://mirror.lan:3141/a?b HTTP/1.1\r\nHost: evil.example.org\r\nAccept: x\r\nConnection: keep-alive\r\n\r\n";
        let plain = parse(plain).expect("a wish");
        assert_eq!((plain.host.as_str(), plain.port), ("mirror.lan", 3141));
        let head = String::from_utf8(plain.head.expect("a head")).expect("text");
        assert_eq!(
            head,
            "GET /a?b HTTP/1.1\r\nHost: mirror.lan:3141\r\nAccept: x\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn odd_requests_are_refused() {
        for odd in [
            "GET /local HTTP/1.1\r\n\r\n",
            "CONNECT pypi.org HTTP/1.1\r\n\r\n",
            "CONNECT user@pypi.org:443 HTTP/1.1\r\n\r\n",
            "CONNECT pypi.org:443:22 HTTP/1.1\r\n\r\n",
            "CONNECT pypi.org:99999 HTTP/1.1\r\n\r\n",
            "CONNECT [::1:443 HTTP/1.1\r\n\r\n",
            "CONNECT  pypi.org:443 HTTP/1.1\r\n\r\n",
            "GET https://pypi.org/ HTTP/1.1\r\n\r\n",
            "GET http://a@b/ HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nno header\r\n\r\n",
            "nonsense\r\n\r\n",
            "",
        ] {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }
}
