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

/// How long one look at the server may take: it answers between two batches.
const LOOK: Duration = Duration::from_secs(20);

/// A running server; it ends with this value, or with the process that holds it.
pub struct LlamaServer {
    process: Child,
    address: String,
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
        let mut process = Command::new(python)
            .arg(root.join("e2e/llama_server.py"))
            // its end tells the server that nobody is there any more
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let output = process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("text");
        let address = line.trim().trim_start_matches("http://").to_owned();
        assert!(!address.is_empty(), "llama_server.py ended before it listened");
        Some(Self { process, address })
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
        let slots = self.slots().expect("the server shows its slots");
        let slots = slots.as_array().expect("a list");
        slots.iter().filter(|slot| slot["is_processing"] == true).count()
    }

    /// How many requests it writes answers to. While it reads a prompt it does not
    /// notice that a client has gone, and a long one takes seconds.
    pub fn writing_slots(&self) -> usize {
        let slots = self.slots().expect("the server shows its slots");
        let slots = slots.as_array().expect("a list");
        let written = |slot: &Value| slot["next_token"][0]["n_decoded"].as_u64().unwrap_or(0);
        slots
            .iter()
            .filter(|slot| slot["is_processing"] == true && written(slot) > 0)
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
