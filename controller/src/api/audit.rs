//! `/v1/audit`: who did what.

use axum::{Json, extract::State};
use protocol::http::{
    Page,
    audit::{AuditCheck, AuditRow, ListAudit},
    problem::{Code, Problem},
};

use crate::state::audit;

use super::{Api, extract::Params, problem::ApiResult};

pub(super) async fn list(
    State(api): State<Api>,
    Params(wish): Params<ListAudit>,
) -> ApiResult<Json<Page<AuditRow>>> {
    let before = match &wish.cursor {
        None => None,
        Some(cursor) => Some(cursor.parse::<u64>().map_err(|_| {
            let detail = "the cursor is not one that a list has answered";
            Problem::new(Code::InvalidQuery, detail).field("cursor", cursor.as_str())
        })?),
    };
    let (items, next) = api
        .readers
        .query(move |connection| audit::list(connection, before, &wish))
        .await?;
    Ok(Json(Page {
        items,
        next_cursor: next.map(|seq| seq.to_string()),
    }))
}

pub(super) async fn verify(State(api): State<Api>) -> ApiResult<Json<AuditCheck>> {
    Ok(Json(api.readers.query(audit::verify).await?))
}
