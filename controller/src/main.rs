//! `agentd`: parse, build, say what was bound, wait for a signal, drain.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use controller::{
    app, backup,
    cli::{Cli, Command, Removal, Restore},
    config::Config,
    removal::Plan,
    state::audit,
};
use service::clock::{Clock, SystemClock};

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
    if cli.local {
        layers = layers
            .flag("--local", "http.tls", "~")
            .flag("--local", "mqtt.tls", "~");
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
    match &cli.command {
        Some(Command::Restore(wanted)) => return restore(wanted, config.state_dir.as_deref()),
        Some(Command::UndoUpgrade) => return undo_upgrade(config.state_dir.as_deref()),
        Some(Command::VerifyAudit) => return verify_audit(config.state_dir.as_deref()),
        Some(Command::Reset(how)) => {
            let folder = service::state_dir::locate("agentd", config.state_dir.as_deref())?;
            return remove(Plan::reset(&folder)?, how);
        }
        Some(Command::Uninstall(how)) => {
            let folder = service::state_dir::locate("agentd", config.state_dir.as_deref())?;
            return remove(Plan::uninstall(&folder, &std::env::current_exe()?)?, how);
        }
        None => {}
    }
    service::tasks::end_process_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    runtime.block_on(app::run(config, layers.print()))
}

/// Shows a plan, asks, and carries it out.
fn remove(plan: Plan, how: &Removal) -> anyhow::Result<()> {
    let mut said = std::io::stderr();
    for (path, bytes) in &plan.goes {
        writeln!(said, "goes:  {} ({bytes} bytes)", path.display())?;
    }
    for path in &plan.stays {
        writeln!(said, "stays: {} (agentd has not made it)", path.display())?;
    }
    writeln!(said, "stays: the configuration, and the state of workers")?;
    let bytes = plan.bytes();
    if how.dry_run {
        writeln!(said, "{bytes} bytes would be deleted; nothing was")?;
        return Ok(());
    }
    if !how.yes {
        anyhow::ensure!(
            std::io::stdin().is_terminal(),
            "nothing was deleted: there is nobody to ask; add --yes"
        );
        write!(
            said,
            "Jobs, tokens and the certificate authority cannot be brought back, and every worker must join \
             anew. Type `yes` to delete {bytes} bytes: "
        )?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        anyhow::ensure!(answer.trim() == "yes", "nothing was deleted");
    }
    plan.carry_out()?;
    writeln!(said, "deleted {bytes} bytes")?;
    Ok(())
}

fn verify_audit(folder: Option<&Path>) -> anyhow::Result<()> {
    let folder = service::state_dir::locate("agentd", folder)?;
    let check = audit::verify_file(&folder.join(app::DATABASE))?;
    if let Some(broken) = check.broken {
        anyhow::bail!(
            "the audit log is broken at row {}: {}",
            broken.row.seq,
            broken.why
        );
    }
    let last = check.last.unwrap_or(check.removed);
    let mut said = std::io::stdout();
    writeln!(
        said,
        "{} rows fit, all of them; hash of row {last}: {}",
        check.rows, check.hash
    )?;
    Ok(())
}

fn undo_upgrade(folder: Option<&Path>) -> anyhow::Result<()> {
    let folder = service::state_dir::locate("agentd", folder)?;
    let undone = backup::undo_upgrade(&folder, SystemClock::new().wall())?;
    writeln!(
        std::io::stderr(),
        "the database is of version {} again, with {} jobs (epoch {}); what version {} has written since \
         lies in {}",
        undone.to,
        undone.jobs,
        undone.epoch,
        undone.from,
        undone.aside.display()
    )?;
    Ok(())
}

fn restore(wanted: &Restore, folder: Option<&Path>) -> anyhow::Result<()> {
    let folder = service::state_dir::locate("agentd", folder)?;
    let now = SystemClock::new().wall();
    let restored = backup::restore(&wanted.file, &folder, wanted.replace, now)?;
    let mut said = std::io::stderr();
    writeln!(
        said,
        "restored {} jobs and {} blobs as of {} into {}",
        restored.jobs,
        restored.blobs,
        restored.created_at,
        folder.display()
    )?;
    if restored.missing > 0 {
        writeln!(
            said,
            "{} blobs had lost their files before the backup was made",
            restored.missing
        )?;
    }
    if let Some(aside) = restored.aside {
        writeln!(said, "what was there before lies in {}", aside.display())?;
    }
    writeln!(
        said,
        "start agentd on the ports of the old one: its workers come back by themselves (epoch {}); its \
         tokens go on to work, a new admin token is in {}",
        restored.epoch,
        folder.join("admin.token").display()
    )?;
    Ok(())
}
