//! `agentd`: parse, build, say what was bound, wait for a signal, drain.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use controller::{app, cli::Cli, config::Config};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // the log may not be up yet, so that the sentence goes to stderr itself
            let _ = writeln!(std::io::stderr(), "agentd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let mut layers = Config::layers(cli.config.as_deref())?;
    if let Some(folder) = &cli.state_dir {
        layers = layers.flag("--state-dir", "state_dir", folder.to_string_lossy());
    }
    if let Some(address) = &cli.http {
        layers = layers.flag("--http", "http.listen", address);
    }
    if let Some(address) = &cli.mqtt {
        layers = layers.flag("--mqtt", "mqtt.listen", address);
    }
    let config: Config = layers.read()?;
    if cli.print_config {
        std::io::stdout().write_all(layers.print().as_bytes())?;
        return Ok(());
    }
    if cli.check_config {
        for warning in config.warnings() {
            writeln!(std::io::stderr(), "warning: {warning}")?;
        }
        writeln!(std::io::stderr(), "the configuration is valid")?;
        return Ok(());
    }
    service::obs::log::init(&config.log.level)?;
    service::tasks::end_process_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    runtime.block_on(app::run(config))
}
