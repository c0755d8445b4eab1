//! What the sandbox costs per command.

use std::time::{Duration, Instant};

use super::{Yard, run};

/// Commands per measurement.
const COMMANDS: u32 = 20;

/// A wide bound, as tests share the machine; `bench` measures in quiet.
const MOST: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_command_costs_little_more_in_the_cage() {
    for yard in Yard::each().await {
        run(yard.exec(&["true"])).await;
        let began = Instant::now();
        for _ in 0..COMMANDS {
            assert!(run(yard.exec(&["true"])).await.success());
        }
        let caged = began.elapsed();
        let began = Instant::now();
        for _ in 0..COMMANDS {
            assert!(run(yard.uncaged(&["true"])).await.success());
        }
        let each = caged.saturating_sub(began.elapsed()) / COMMANDS;
        say(&format!(
            "{}: {:.1} ms more a command",
            yard.sandbox,
            each.as_secs_f64() * 1000.0
        ));
        assert!(each < MOST, "{}: {each:?}", yard.sandbox);
    }
}

#[expect(clippy::print_stderr, reason = "a figure for people")]
fn say(line: &str) {
    eprintln!("{line}");
}
