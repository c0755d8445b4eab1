//! A job's events as a stream that outlives lost connections: it resumes after
//! the last event seen.

use std::{mem, time::Duration};

use futures::{Stream, stream};
use protocol::{event::Event, http::events::job_events_path, id::JobRef};
use reqwest::{
    Response,
    header::{ACCEPT, HeaderMap, HeaderValue},
};

use crate::{client::Client, codes::Code, error::CliError, exit::Exit};

/// The first wait before a reconnect; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait before a reconnect.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Reconnects in a row before the controller counts as gone: about five minutes.
const MOST_RECONNECTS: u32 = 35;
/// The largest event that is read, in bytes: the server's are below 128 KiB.
const MAX_EVENT: usize = 4 << 20;

/// What comes out of the stream.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The next event.
    Event(Box<Event>),
    /// The connection is gone; it is being made again.
    Lost(CliError),
    /// The connection is back.
    Back,
    /// The server ended the stream: after the job's last event, or because it stops.
    Closed,
}

/// The events of a job after `after`. Ends only with an error.
pub(crate) fn job_events(
    client: Client,
    job: JobRef,
    after: Option<u64>,
) -> impl Stream<Item = Result<Signal, CliError>> + Send {
    let source = Source {
        client,
        path: job_events_path(job),
        last: after,
        parser: Parser::default(),
        ready: Vec::new(),
        connection: Connection::None { failures: 0 },
        lost: false,
    };
    stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        match source.next().await {
            Ok(signal) => Some((Ok(signal), Some(source))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

struct Source {
    client: Client,
    path: String,
    last: Option<u64>,
    parser: Parser,
    /// Parsed events, last first.
    ready: Vec<Event>,
    connection: Connection,
    /// Whether `Lost` was said and `Back` was not.
    lost: bool,
}

enum Connection {
    None { failures: u32 },
    Open(Response),
}

impl Source {
    async fn next(&mut self) -> Result<Signal, CliError> {
        loop {
            if let Some(event) = self.ready.pop() {
                self.last = Some(event.seq);
                return Ok(Signal::Event(Box::new(event)));
            }
            match mem::replace(&mut self.connection, Connection::None { failures: 0 }) {
                Connection::None { failures } => {
                    if let Some(signal) = self.connect(failures).await? {
                        return Ok(signal);
                    }
                }
                Connection::Open(response) => {
                    if let Some(signal) = self.read(response).await? {
                        return Ok(signal);
                    }
                }
            }
        }
    }

    async fn connect(&mut self, failures: u32) -> Result<Option<Signal>, CliError> {
        if failures > 0 {
            let factor = 1 << (failures - 1).min(16);
            tokio::time::sleep((FIRST_WAIT * factor).min(LONGEST_WAIT)).await;
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(last) = self.last {
            headers.insert("last-event-id", HeaderValue::from(last));
        }
        match self.client.get(&self.path, headers).await {
            Ok(response) => {
                self.parser = Parser::default();
                self.connection = Connection::Open(response);
                Ok(mem::take(&mut self.lost).then_some(Signal::Back))
            }
            Err(error) if error.exit() == Exit::Unreachable && failures < MOST_RECONNECTS => {
                self.connection = Connection::None {
                    failures: failures + 1,
                };
                Ok((!mem::replace(&mut self.lost, true)).then_some(Signal::Lost(error)))
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self, mut response: Response) -> Result<Option<Signal>, CliError> {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                self.connection = Connection::Open(response);
                for message in self.parser.feed(&chunk)? {
                    self.ready.push(read_event(&message)?);
                }
                self.ready.reverse();
                Ok(None)
            }
            Ok(None) => {
                self.connection = Connection::None { failures: 1 };
                Ok(Some(Signal::Closed))
            }
            Err(error) => {
                self.connection = Connection::None { failures: 1 };
                self.lost = true;
                Ok(Some(Signal::Lost(self.client.unreachable(&error))))
            }
        }
    }
}

fn read_event(data: &str) -> Result<Event, CliError> {
    serde_json::from_str(data).map_err(|error| {
        CliError::new(
            Code::UnexpectedAnswer,
            "the controller sent an event that cannot be read",
        )
        .cause(error.to_string())
        .hint("agentctl and agentd may differ in version: `agentctl doctor` compares them")
    })
}

/// Takes bytes as they come; gives the `data` of whole messages. Comments
/// (heartbeats) and the other fields are skipped: the data names its own
/// sequence number and kind. So is `event: reset`: everything that is kept follows it.
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    data: String,
    is_reset: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, CliError> {
        self.buffer.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut start = 0;
        while let Some(length) = self.buffer[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.buffer[start..start + length];
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            start += length + 1;
            if line.is_empty() {
                let data = mem::take(&mut self.data);
                if !mem::take(&mut self.is_reset) && !data.is_empty() {
                    messages.push(data);
                }
            } else if let Some(name) = line.strip_prefix("event:") {
                self.is_reset = name.trim() == "reset";
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        self.buffer.drain(..start);
        if self.buffer.len() + self.data.len() > MAX_EVENT {
            let sentence = format!("the controller sent an event of more than {MAX_EVENT} bytes");
            return Err(CliError::new(Code::UnexpectedAnswer, sentence));
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: note\ndata: {\"a\":1}\n\n: beat\n\nid: 8\r\ndata:x\r\ndata: ü\r\n\r\nid: 9\ndata: cut";

    #[test]
    fn comments_are_skipped_and_a_message_ends_with_a_blank_line() {
        let messages = Parser::default().feed(STREAM.as_bytes()).expect("small");
        assert_eq!(messages, ["{\"a\":1}", "x\nü"]);
    }

    #[test]
    fn a_reset_is_no_event() {
        let stream = "id: 6\nevent: reset\ndata: {\"first\":7}\n\nid: 7\nevent: note\ndata: x\n\n";
        let messages = Parser::default().feed(stream.as_bytes()).expect("small");
        assert_eq!(messages, ["x"]);
    }

    #[test]
    fn a_message_that_never_ends_is_refused() {
        let mut parser = Parser::default();
        let error = loop {
            if let Err(error) = parser.feed(&vec![b'x'; 1 << 20]) {
                break error;
            }
        };
        assert_eq!(error.code(), "unexpected_answer");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_stream_is_split(cuts in prop::collection::vec(1_usize..9, 1..60)) {
            let mut parser = Parser::default();
            let mut rest = STREAM.as_bytes();
            let mut messages = Vec::new();
            for cut in cuts.iter().cycle() {
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                messages.extend(parser.feed(head).expect("small"));
                rest = tail;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(messages, vec!["{\"a\":1}".to_owned(), "x\nü".to_owned()]);
        }
    }
}
