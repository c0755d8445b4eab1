//! Much text and much data: the log of a step, and an artifact.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use protocol::http::artifacts::MAX_UPLOAD_CHUNK;

use crate::{
    figures::{Figure, Goal, Report},
    floor::{Floor, TRANSFER},
    house::{House, until},
    jobs::{post, submit},
};

const LINES: usize = 100_000;
const MIB: f64 = 1024.0 * 1024.0;

/// All of it.
pub fn measure(floor: &Floor, report: &mut Report) -> anyhow::Result<()> {
    let house = House::with_worker()?;
    report.group("a long log, a large artifact");
    log(&house, report)?;
    artifact(&house, floor, report)
}

/// A step prints many lines; a follower of its log sees the last one.
fn log(house: &House, report: &mut Report) -> anyhow::Result<()> {
    let text = house.path("lines");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&text)?);
    for line in 1..=LINES {
        writeln!(file, "line {line} of a log that somebody follows")?;
    }
    drop(file);
    let before = house.controller.resident()?;
    let begun = Instant::now();
    let number = post(
        &mut house.http()?,
        &submit(&["/bin/cat", &text.to_string_lossy()]),
    )?;
    let path = format!("/v1/jobs/{number}/steps/run/log?follow=true");
    let last = format!("line {LINES} of");
    let mut lines = until("the step to have a log", || house.http().ok()?.events(&path).ok())?;
    lines
        .find(|line| line.contains(&last))
        .context("the log ended before its last line")?;
    let took = begun.elapsed();
    let more = (house.controller.resident()? - before) / MIB;
    report.add(
        Figure::new("100,000 lines: submit to the last one seen", seconds(took), "s").goal(Goal::AtMost(0.5)),
    );
    report.add(Figure::new("… agentd grew by", more, "MiB").goal(Goal::AtMost(8.0)));
    Ok(())
}

fn artifact(house: &House, floor: &Floor, report: &mut Report) -> anyhow::Result<()> {
    let piece = vec![7; 256 * 1024];
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for _ in 0..TRANSFER / piece.len() {
        digest.update(&piece);
    }
    let sha256 = hex::encode(digest.finish());
    let before = house.controller.resident()?;
    let mut http = house.http()?;
    let path = format!("/v1/blobs/{sha256}");
    let begun = Instant::now();
    for offset in (0..TRANSFER).step_by(MAX_UPLOAD_CHUNK) {
        let length = MAX_UPLOAD_CHUNK.min(TRANSFER - offset);
        let headers = format!("Upload-Offset: {offset}\r\nUpload-Length: {TRANSFER}\r\n");
        let status = http.upload("PATCH", &path, &headers, length, &piece)?;
        ensure!(status == 204, "PATCH {path} at {offset}: status {status}");
    }
    let took = begun.elapsed();
    let more = (house.controller.resident()? - before) / MIB;
    report.add(
        Figure::new(
            "blob of 1 GiB, verified and durable",
            TRANSFER as f64 / 1e6 / seconds(took),
            "MB/s",
        )
        .beside("N", floor.sink / 1e6)
        .goal(Goal::AtLeast(0.8)),
    );
    report.add(Figure::new("… agentd grew by", more, "MiB").goal(Goal::AtMost(8.0)));
    Ok(())
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
