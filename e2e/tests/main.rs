//! The real binaries together, seen from where a person stands.

#[path = "parts/approvals.rs"]
mod approvals;
#[path = "parts/bad_input/mod.rs"]
mod bad_input;
#[path = "parts/bad_logins.rs"]
mod bad_logins;
#[path = "parts/by_hand.rs"]
mod by_hand;
#[path = "parts/commands.rs"]
mod commands;
#[path = "parts/damage.rs"]
mod damage;
#[path = "parts/dashboard.rs"]
mod dashboard;
#[path = "parts/display.rs"]
mod display;
#[path = "parts/foreign.rs"]
mod foreign;
#[path = "parts/hostile.rs"]
mod hostile;
#[path = "parts/implement.rs"]
mod implement;
#[path = "parts/installing.rs"]
mod installing;
#[path = "parts/joining.rs"]
mod joining;
#[path = "parts/keeping.rs"]
mod keeping;
#[path = "parts/metrics.rs"]
mod metrics;
#[path = "parts/monitoring.rs"]
mod monitoring;
#[path = "parts/quotas.rs"]
mod quotas;
#[path = "parts/real_model.rs"]
mod real_model;
#[path = "parts/recovery.rs"]
mod recovery;
#[path = "parts/recovery_of_edits.rs"]
mod recovery_of_edits;
#[path = "parts/reference.rs"]
mod reference;
#[path = "parts/report.rs"]
mod report;
#[path = "parts/repositories.rs"]
mod repositories;
#[path = "parts/resume.rs"]
mod resume;
#[path = "parts/rights.rs"]
mod rights;
#[path = "parts/sandbox.rs"]
mod sandbox;
#[path = "parts/secrets.rs"]
mod secrets;
#[path = "parts/supervised.rs"]
mod supervised;
#[path = "parts/terminal/mod.rs"]
mod terminal;
#[path = "parts/tls.rs"]
mod tls;
#[path = "parts/upgrades.rs"]
mod upgrades;
#[path = "parts/versions.rs"]
mod versions;
