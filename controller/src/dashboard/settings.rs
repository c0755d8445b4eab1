//! The page of what is set up: workflows for everybody, tokens and secrets, never their values, for who may.

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};
use protocol::http::{
    encode,
    secrets::SecretView,
    tokens::{Scope, TokenView},
};

use crate::{
    api::{Api, problem::ApiResult},
    state::{secrets, tokens},
};

use super::{frame, parts, session::Visitor};

/// `GET /settings`.
pub(super) async fn page(State(api): State<Api>, visitor: Visitor) -> ApiResult<Response> {
    let admin = visitor.may(Scope::Admin);
    let kept = if admin {
        let query = api
            .readers
            .query(|connection| Ok((tokens::all(connection)?, secrets::all(connection)?)));
        Some(query.await?)
    } else {
        None
    };
    let workflows = api
        .catalog
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .list();
    let now = api.clock.wall();
    let content = html! {
        h1 { "Settings" }
        h2 { "Workflows" }
        table.list {
            thead { tr { @for head in ["Name", "From", "What it does"] { th scope="col" { (head) } } } }
            tbody {
                @for workflow in &workflows {
                    tr {
                        td data-label="Name" { a href={ "/workflows/" (encode(&workflow.name)) } { (workflow.name) } }
                        td data-label="From" { (workflow.origin) }
                        td.wide data-label="What it does" { (workflow.description) }
                    }
                }
            }
        }
        @if let Some((tokens, secrets)) = &kept {
            (token_table(tokens, now))
            (secret_table(secrets, now))
        } @else {
            p.hint { "Tokens and secrets are for tokens with the scope admin." }
        }
        h2 { "About" }
        (parts::facts(&[
            ("Version", html! { (api.about.version) }),
            ("You are", html! { (visitor.caller.who()) }),
        ]))
    };
    Ok(frame::page(&visitor, "/settings", "Settings", None, &content))
}

fn token_table(tokens: &[TokenView], now: Timestamp) -> Markup {
    html! {
        h2 { "API tokens" }
        table.list {
            thead { tr { @for head in ["Name", "Scopes", "Made", "Last used", "Expires"] { th scope="col" { (head) } } } }
            tbody {
                @for token in tokens {
                    tr {
                        td data-label="Name" { (token.name) }
                        td data-label="Scopes" { (token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")) }
                        td data-label="Made" { (parts::ago(token.created_at, now)) }
                        td data-label="Last used" { (maybe(token.last_used_at, now)) }
                        td data-label="Expires" {
                            @match token.expires_at { Some(at) => (super::words::moment(at)), None => "never" }
                        }
                    }
                }
            }
        }
        p.hint { "A new one: " code { "agentctl tokens create NAME --scope read" } }
    }
}

fn secret_table(secrets: &[SecretView], now: Timestamp) -> Markup {
    html! {
        h2 { "Secrets of steps" }
        @if secrets.is_empty() {
            (frame::empty("No secret yet. This sets one; its value is sealed and never shown:", "agentctl secrets set NAME"))
        } @else {
            table.list {
                thead { tr { @for head in ["Name", "Set", "By", "Last used"] { th scope="col" { (head) } } } }
                tbody {
                    @for secret in secrets {
                        tr {
                            td data-label="Name" { code { (secret.name) } }
                            td data-label="Set" { (parts::ago(secret.set_at, now)) }
                            td data-label="By" { (secret.set_by) }
                            td data-label="Last used" { (maybe(secret.last_used_at, now)) }
                        }
                    }
                }
            }
        }
    }
}

fn maybe(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! { @if let Some(at) = at { (parts::ago(at, now)) } @else { "never" } }
}
