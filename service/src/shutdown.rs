//! SIGTERM and SIGINT: the first asks the process to stop, the second ends it at once.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code of a process that was interrupted twice.
const INTERRUPTED: i32 = 130;

/// Cancels `stop` at the first SIGTERM or SIGINT and ends the process with code 130 at the
/// second; watches until the guard is dropped. Must be called inside the runtime.
pub fn on_signals(stop: CancellationToken) -> std::io::Result<SignalWatch> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let task = tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await;
        info!("{name}: stopping; once more ends the process at once");
        stop.cancel();
        let name = next(&mut terminate, &mut interrupt).await;
        warn!("{name} again: ending at once");
        std::process::exit(INTERRUPTED);
    });
    Ok(SignalWatch(task))
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Owns the task that waits for signals.
#[derive(Debug)]
#[must_use = "signals are watched only as long as this lives"]
pub struct SignalWatch(JoinHandle<()>);

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_to_stop() {
        let stop = CancellationToken::new();
        let watch = on_signals(stop.clone()).expect("signals can be watched");
        assert!(!stop.is_cancelled());
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &std::process::id().to_string()])
            .status()
            .expect("kill is there");
        assert!(sent.success());
        stop.cancelled().await;
        drop(watch);
    }
}
