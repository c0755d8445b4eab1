//! A real model behind a real server: llama.cpp with SmolLM2, where
//! `scripts/test-deps.sh` could install it. Its 135 million parameters cannot code:
//! it proves the way to a model, not what comes back.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::NamedTempFile;

/// How long one look at the server may take.
const LOOK: Duration = Duration::from_secs(20);

/// A running server; it ends with this value, or with the process that holds it.
pub struct LlamaServer {
    process: Child,
    address: String,
    log: NamedTempFile,
}

impl LlamaServer {
    /// Starts one; `None`, said aloud, where it is not installed.
    pub fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the workspace");
        let python = root.join(".venv-llm/bin/python");
        if !python.exists() {
            say_skipped();
            return None;
        }
        let log = NamedTempFile::new().expect("a temporary file");
        let mut process = Command::new(python)
            .arg(root.join("e2e/llama_server.py"))
            // its end tells the server that nobody is there any more
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("it is there"))
            .spawn()
            .expect("python starts");
        let output = process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("text");
        let address = line.trim().trim_start_matches("http://").to_owned();
        assert!(!address.is_empty(), "llama_server.py ended before it listened");
        Some(Self {
            process,
            address,
            log,
        })
    }

    /// The `providers:` and `models:` of a configuration that uses it through this
    /// adapter, with answers of at most so many tokens.
    pub fn config(&self, kind: &str, window: u32, answer_tokens: u32) -> String {
        let path = if kind == "openai" { "/v1" } else { "" };
        format!(
            "providers:\n  real: {{kind: {kind}, base_url: \"http://{}{path}\", api_key: none}}\n\
             models:\n  only: [{{provider: real, model: smollm2, window: {window}, answer_tokens: {answer_tokens}, protocol: whole_file}}]\n",
            self.address
        )
    }

    /// How many requests it works on.
    pub fn busy_slots(&self) -> usize {
        self.busy(|_| true)
    }

    /// How many requests it reads the prompts of, and has not yet read whole.
    pub fn reading_slots(&self) -> usize {
        self.busy(|slot| written(slot) == 0 && slot["n_prompt_tokens_processed"].as_u64().unwrap_or(0) > 0)
    }

    /// How many requests it writes answers to.
    pub fn writing_slots(&self) -> usize {
        self.busy(|slot| written(slot) > 0)
    }

    /// Whether it has noticed that a client went away, and ended what it did for it. By
    /// its log: whoever asks for its slots more than once a second keeps it from looking
    /// at its clients, as each answer starts that second anew.
    pub fn has_let_go(&self) -> bool {
        let log = std::fs::read_to_string(self.log.path()).expect("text");
        let noticed = log.split_once("cancel task, id_task");
        noticed.is_some_and(|(_, after)| after.contains("stop processing"))
    }

    fn busy(&self, which: impl Fn(&Value) -> bool) -> usize {
        let slots = self.slots().expect("the server shows its slots");
        let slots = slots.as_array().expect("a list");
        slots
            .iter()
            .filter(|slot| slot["is_processing"] == true && which(slot))
            .count()
    }

    fn slots(&self) -> std::io::Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.write_all(b"GET /slots HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }
}

/// Tokens of the answer so far.
fn written(slot: &Value) -> u64 {
    slot["next_token"][0]["n_decoded"].as_u64().unwrap_or(0)
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say_skipped() {
    crate::skip(".venv-llm is not there (scripts/test-deps.sh makes it): no real model was asked");
}
