//! First contact: the admin token, where things are, and how a worker joins.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use jiff::Timestamp;
use protocol::{
    http::tokens::{Scope, TokenView},
    id::TokenId,
};
use tracing::info;

use crate::{
    api::{
        About,
        auth::{TOKEN_PREFIX, hash, new_secret},
    },
    app::{Running, join_line},
    state::{Connection, tokens},
};

/// Name of the token that the first start makes.
const ADMIN: &str = "admin";

/// Makes the admin token if there is no token at all; its one plaintext copy goes to
/// `admin.token` (mode 0600) before its hash goes into the tables. True if it was made.
pub fn admin_token(connection: &Connection, folder: &Path, at: Timestamp) -> anyhow::Result<bool> {
    if !tokens::all(connection)?.is_empty() {
        return Ok(false);
    }
    let secret = new_secret(TOKEN_PREFIX);
    write_private(&folder.join("admin.token"), &format!("{secret}\n"))?;
    let token = TokenView {
        id: TokenId::new(),
        name: ADMIN.to_owned(),
        scopes: vec![Scope::Admin],
        created_at: at,
        expires_at: None,
        last_used_at: None,
    };
    tokens::insert(connection, &token, &hash(&secret))?;
    Ok(true)
}

/// Where the API and the broker listen, for programs of the same user.
pub fn write_endpoints(folder: &Path, about: &About) -> anyhow::Result<()> {
    let text = serde_json::json!({"http": about.http_url, "mqtt": about.mqtt_address});
    write_private(&folder.join("endpoints.json"), &format!("{text}\n"))
}

/// Replaces a file as a whole, readable by its owner alone.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Says once, at the first start, how to go on.
pub async fn announce(running: &Running) -> anyhow::Result<()> {
    if !running.is_new {
        return Ok(());
    }
    let about = &running.api.about;
    let token = about.state_dir.join("admin.token");
    info!(
        "first start: the API is at {}, its admin token in {}",
        about.http_url,
        token.display()
    );
    info!(
        "log in from here: agentctl login {} --token-stdin < {}",
        about.http_url,
        token.display()
    );
    info!(
        "let a worker join within 15 minutes: {}",
        join_line(&running.api).await?
    );
    Ok(())
}
