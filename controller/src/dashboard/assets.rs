//! Style, scripts and the icon: in the binary, named by their content so that browsers may keep them.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

/// A file, its type and its text.
type Asset = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 5] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("assets/style.css"),
    ),
    ("page.js", SCRIPT, include_str!("assets/page.js")),
    ("log.js", SCRIPT, include_str!("assets/log.js")),
    ("live.js", SCRIPT, include_str!("assets/live.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Of all of them together: a new version of one renames all.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (_, _, text) in ASSETS {
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..6])
});

/// The path of a file.
pub(super) fn path(name: &str) -> String {
    format!("/static/{name}?v={}", *VERSION)
}

/// `GET /static/{file}`.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let Some((_, kind, text)) = ASSETS.into_iter().find(|(known, _, _)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, keep),
    ];
    (headers, text).into_response()
}
