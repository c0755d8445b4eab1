//! `/v1/secrets`: a value goes in, sealed, and comes out for the attempt alone whose step
//! names it.

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::{
    http::{
        Page,
        problem::{Code, Problem},
        secrets::{MAX_SECRET, MIN_SECRET, SecretView, SetSecret},
    },
    secret::check_secret_name,
};

use crate::{
    state::{
        audit::AuditEntry,
        secrets::{self, Handed},
    },
    workflow::model::Workflow,
};

use super::{
    Api,
    attempts::{open_spec, owned},
    auth::Caller,
    extract::{Body, OfAttempt, OfName},
    jobs::note,
    problem::{ApiError, ApiResult, not_found},
};

pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<Page<SecretView>>> {
    let items = api.readers.query(secrets::all).await?;
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

pub(super) async fn set(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(wish): Body<SetSecret>,
) -> ApiResult<Json<SecretView>> {
    check_name(&wish.name)?;
    check_value(&wish.value)?;
    let sealed = api.seal.seal(&wish.name, &wish.value);
    // hidden before anybody can get it
    api.mask.add(&wish.value);
    let (name, by, at) = (wish.name.clone(), caller.who(), api.clock.wall());
    let view = api
        .engine
        .write(move |connection| secrets::set(connection, &name, &sealed, &by, at))
        .await?;
    note(&api, &caller, "secret.set", &wish.name, "ok".to_owned()).await?;
    Ok(Json(view))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfName(name): OfName,
) -> ApiResult<Response> {
    check_name(&name)?;
    let wanted = name.clone();
    let removed = api
        .engine
        .write(move |connection| secrets::remove(connection, &wanted))
        .await?;
    let result = if removed { "ok" } else { "not_found" };
    note(&api, &caller, "secret.remove", &name, result.to_owned()).await?;
    if removed {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(not_found("secret", name, "agentctl secrets lists them"))
    }
}

fn check_name(name: &str) -> ApiResult<()> {
    check_secret_name(name).map_err(|error| {
        Problem::new(Code::InvalidField, error.to_string())
            .field("name", name)
            .into()
    })
}

/// A problem never shows the value.
fn check_value(value: &str) -> ApiResult<()> {
    let detail = if value.contains('\0') {
        "the value has a NUL byte, which no environment can hold".to_owned()
    } else if value.trim().len() < MIN_SECRET {
        format!("the value has fewer than {MIN_SECRET} bytes: so short a text cannot be hidden in logs")
    } else if value.len() > MAX_SECRET {
        format!("the value has {} bytes, more than {MAX_SECRET}", value.len())
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::InvalidField, detail)
        .field("value", "•••")
        .into())
}

/// Whether every secret that a workflow's steps name is there.
pub(super) async fn check(api: &Api, workflow: &Workflow) -> ApiResult<()> {
    let wanted = workflow.secrets();
    if wanted.is_empty() {
        return Ok(());
    }
    let names = wanted.values().flatten().cloned().collect::<Vec<_>>();
    let unknown = api
        .readers
        .query(move |connection| secrets::unknown(connection, &names))
        .await?;
    let missing = wanted
        .iter()
        .find_map(|(step, names)| Some((step, names.iter().find(|name| unknown.contains(name))?)));
    let Some((step, name)) = missing else {
        return Ok(());
    };
    let detail = format!(
        "step {step} of workflow {} needs the secret {name}, which nobody has set",
        workflow.name
    );
    let problem = Problem::new(Code::UnknownSecret, detail).field("secrets", name.as_str());
    Err(problem
        .hint(format!("an admin sets it: agentctl secrets set {name}"))
        .into())
}

/// `GET /v1/attempts/{attempt}/secrets`: those that the step names, once, to the worker that
/// holds the open attempt, and only where nobody can listen.
pub(super) async fn hand_out(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    OfAttempt(attempt): OfAttempt,
) -> ApiResult<Response> {
    let (id, owner) = owned(&api, &caller, &attempt).await?;
    let spec = open_spec(&api, id, owner.worker).await?;
    let names: Vec<String> = spec.secrets.into_iter().map(|wanted| wanted.name).collect();
    let mut values = BTreeMap::new();
    if !names.is_empty() {
        caller.confidential()?;
        let entry = AuditEntry {
            who: caller.who(),
            origin: caller.origin(),
            action: "secret.deliver".to_owned(),
            object: format!("{}, attempt {}", owner.step, owner.number),
            result: String::new(),
        };
        let at = api.clock.wall();
        let handed = api
            .engine
            .write(move |connection| secrets::hand_out(connection, (owner.job, id), &names, entry, at));
        for (name, sealed) in sealed(handed.await?)? {
            let value = api.seal.open_value(&name, &sealed).map_err(|error| {
                let problem = Problem::new(Code::UnknownSecret, error.to_string());
                problem.hint(format!("an admin sets it again: agentctl secrets set {name}"))
            })?;
            values.insert(name, value.expose().to_owned());
        }
    }
    let mut response = Json(values).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn sealed(handed: Handed) -> Result<Vec<(String, Vec<u8>)>, ApiError> {
    match handed {
        Handed::Sealed(sealed) => Ok(sealed),
        Handed::Before => Err(
            Problem::new(Code::Conflict, "the attempt has got its secrets before")
                .hint("a new attempt gets them again")
                .into(),
        ),
        Handed::Unknown(names) => {
            let detail = format!(
                "the secret {} was removed after the job was submitted",
                names.join(", ")
            );
            Err(Problem::new(Code::UnknownSecret, detail)
                .hint("an admin sets it again: agentctl secrets set NAME")
                .into())
        }
    }
}
