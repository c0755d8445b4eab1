//! Server-sent events as servers really send them.
//!
//! Reads the standard (LF, CRLF or CR as line ends, a byte order mark,
//! comments, `data` over several lines, unknown fields) and forgives what
//! breaks it: events that follow each other with a single line end, an
//! `error:` line, and a body that is one JSON document and no stream. Pure.

use serde::de::IgnoredAny;

/// Cuts bytes into the data of events, wherever the network splits them: JSON
/// texts, or a word such as `[DONE]`.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    /// Bytes of the line that has not ended yet; of the whole body if it is one document.
    line: Vec<u8>,
    /// `data` of the event that has not ended yet.
    data: Option<String>,
    /// The last byte was CR: an LF after it ends nothing.
    after_cr: bool,
    kind: Kind,
}

/// What the body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Nothing but white space and perhaps a byte order mark came so far.
    #[default]
    Unknown,
    /// Events.
    Stream,
    /// One JSON document, such as an error with status 200.
    Document,
}

impl EventStream {
    /// Takes bytes as they came; gives the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            self.byte(byte, &mut events);
        }
        events
    }

    /// The body has ended: what is left may be a last event without an empty line.
    pub(super) fn end(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        if self.kind == Kind::Document {
            return vec![String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned()];
        }
        self.line_ends(&mut events);
        self.event_ends(&mut events);
        events
    }

    fn byte(&mut self, byte: u8, events: &mut Vec<String>) {
        if self.kind == Kind::Unknown && !self.is_white_or_mark(byte) {
            self.line
                .retain(|byte| !byte.is_ascii_whitespace() && byte.is_ascii());
            self.kind = if matches!(byte, b'{' | b'[') {
                Kind::Document
            } else {
                Kind::Stream
            };
        }
        match (self.kind, byte) {
            (Kind::Stream, b'\n') if self.after_cr => self.after_cr = false,
            (Kind::Stream, b'\n' | b'\r') => {
                self.after_cr = byte == b'\r';
                self.line_ends(events);
            }
            _ => {
                self.after_cr = false;
                self.line.push(byte);
            }
        }
    }

    /// Whether nothing has begun with this byte: white space, or a part of the byte order mark.
    fn is_white_or_mark(&self, byte: u8) -> bool {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        byte.is_ascii_whitespace() || MARK.get(self.line.len()) == Some(&byte) && MARK.starts_with(&self.line)
    }

    fn line_ends(&mut self, events: &mut Vec<String>) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        if line.is_empty() {
            return self.event_ends(events);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        if !matches!(field, "data" | "error") {
            return;
        }
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &mut self.data {
            None => self.data = Some(value.to_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
        }
        // A whole value needs no empty line after it: some servers never send one.
        if self.data.as_deref().is_some_and(is_whole) {
            self.event_ends(events);
        }
    }

    fn event_ends(&mut self, events: &mut Vec<String>) {
        events.extend(self.data.take().filter(|data| !data.trim().is_empty()));
    }
}

/// Whether this text is a whole event by itself.
fn is_whole(data: &str) -> bool {
    data.trim() == "[DONE]" || data.ends_with('}') && serde_json::from_str::<IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(body: &[u8]) -> Vec<String> {
        let mut stream = EventStream::default();
        let mut events = stream.push(body);
        events.extend(stream.end());
        events
    }

    #[test]
    fn every_line_end_and_framing_gives_the_same_events() {
        let expected = vec![r#"{"a":1}"#, r#"{"b":"x: y"}"#, "[DONE]"];
        for body in [
            "data: {\"a\":1}\n\ndata: {\"b\":\"x: y\"}\n\ndata: [DONE]\n\n",
            "data: {\"a\":1}\r\n\r\ndata: {\"b\":\"x: y\"}\r\n\r\ndata: [DONE]\r\n\r\n",
            "data: {\"a\":1}\r\rdata: {\"b\":\"x: y\"}\r\rdata: [DONE]\r\r",
            "data:{\"a\":1}\ndata:{\"b\":\"x: y\"}\ndata:[DONE]",
            "\u{feff}data: {\"a\":1}\n\n: a comment\n\nid: 7\nretry: 10\ndata: {\"b\":\"x: y\"}\n\ndata: [DONE]",
            "\n\n event-less\nevent: x\ndata: {\"a\":1}\n\n\n\ndata\n\ndata: {\"b\":\"x: y\"}\n\ndata: [DONE]\n\n",
        ] {
            assert_eq!(events(body.as_bytes()), expected, "{body:?}");
        }
    }

    #[test]
    fn data_over_several_lines_is_one_event() {
        for end in ["\n", "\r\n", "\r"] {
            let body = format!("data: {{\"a\":{end}data: 1}}{end}{end}data: {{\"b\":2}}{end}{end}");
            assert_eq!(events(body.as_bytes()), ["{\"a\":\n1}", "{\"b\":2}"], "{end:?}");
        }
    }

    #[test]
    fn a_document_instead_of_a_stream_is_one_event() {
        let body = "\u{feff} \n{\n  \"error\": {\"message\": \"no: way\"}\n}\n";
        assert_eq!(
            events(body.as_bytes()),
            [body.trim_start_matches(['\u{feff}', ' ', '\n'])]
        );
    }

    #[test]
    fn an_error_line_is_an_event() {
        assert_eq!(
            events(b"data: {\"a\":1}\n\nerror: {\"message\":\"full\"}\n\n"),
            ["{\"a\":1}", "{\"message\":\"full\"}"]
        );
    }

    #[test]
    fn broken_data_ends_with_its_empty_line() {
        assert_eq!(
            events(b"data: {\"a\":\n\ndata: {\"b\":2}\n\n"),
            ["{\"a\":", "{\"b\":2}"]
        );
    }

    proptest! {
        #[test]
        fn where_the_network_splits_changes_nothing(
            cuts in prop::collection::vec(0_usize..120, 0..12),
            ending in prop::sample::select(vec!["\n\n", "\r\n\r\n", "\r\r", "\n"]),
        ) {
            let body = format!(
                "\u{feff}: hi{ending}data: {{\"a\":\"ü€\"}}{ending}event: x\ndata: {{\"b\":\ndata: 2}}{ending}data: [DONE]{ending}"
            );
            let body = body.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % body.len()).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let mut stream = EventStream::default();
            let mut seen = Vec::new();
            for pair in cuts.windows(2) {
                seen.extend(stream.push(&body[pair[0]..pair[1]]));
            }
            seen.extend(stream.end());
            prop_assert_eq!(seen, events(body));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            events(&bytes);
        }
    }
}
