//! What stands around every page.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use protocol::http::problem::Problem;

use super::{
    assets,
    session::{CSRF, Visitor},
    visible::visible,
};

/// The type of a page.
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The pages that every page leads to.
const PAGES: [(&str, &str); 4] = [
    ("/", "Jobs"),
    ("/workers", "Workers"),
    ("/usage", "Usage"),
    ("/settings", "Settings"),
];

/// What a page tells the script about itself.
pub(super) struct Live {
    /// The last event that is in the page.
    pub(super) seq: u64,
    /// Which events change it: `jobs`, `workers`, `all`, or a job's number.
    pub(super) follows: String,
}

/// A page for who has logged in. `here` is the path of its place in the navigation.
pub(super) fn page(
    visitor: &Visitor,
    here: &str,
    title: &str,
    live: Option<&Live>,
    content: &Markup,
) -> Response {
    let markup = html! {
        (head(title))
        body data-seq=[live.map(|live| live.seq)] data-follows=[live.map(|live| &live.follows)]
            data-worker=(assets::path("live.js")) {
            a.skip href="#main" { "Skip to the content" }
            header.top {
                a.brand href="/" { "agentd" }
                nav aria-label="Pages" {
                    @for (path, name) in PAGES {
                        a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                    }
                }
                @if live.is_some() {
                    p #live role="status" data-state="still" { "not live: this page needs its script" }
                }
                (button(visitor, "/logout", "Log out", "quiet"))
            }
            main #main tabindex="-1" { (content) }
        }
    };
    respond(&markup)
}

/// A page for anybody.
pub(super) fn bare(title: &str, content: &Markup) -> Response {
    respond(&html! { (head(title)) body { (content) } })
}

/// A problem for people.
pub(super) fn problem(problem: &Problem) -> String {
    let markup = html! {
        (head(&problem.title))
        body {
            main.login {
                h1 { (problem.title) }
                p.wrong role="alert" { (problem.detail) }
                @if let Some(hint) = &problem.hint {
                    p.hint { (hint) }
                }
                p { a href="/" { "To the jobs" } }
            }
        }
    };
    visible(&markup.0).into_owned()
}

fn head(title: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en";
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · agentd" }
            link rel="icon" href=(assets::path("icon.svg")) type="image/svg+xml";
            link rel="stylesheet" href=(assets::path("style.css"));
            script type="module" src=(assets::path("page.js")) {}
        }
    }
}

fn respond(markup: &Markup) -> Response {
    let text = visible(&markup.0).into_owned();
    ([(header::CONTENT_TYPE, HTML)], text).into_response()
}

/// A form that is one button.
pub(super) fn button(visitor: &Visitor, action: &str, label: &str, class: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (signature(visitor))
            button class=(class) type="submit" { (label) }
        }
    }
}

/// The same for what cannot be taken back: it asks before.
pub(super) fn grave_button(visitor: &Visitor, action: &str, label: &str, question: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) data-ask=(question) {
            (signature(visitor))
            button.danger type="submit" { (label) }
        }
    }
}

/// The field by which a form proves where it comes from.
pub(super) fn signature(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(CSRF) value=(visitor.csrf()); }
}

/// What is seen where there is nothing: the one command that changes it.
pub(super) fn empty(says: &str, command: &str) -> Markup {
    html! {
        div.empty {
            p { (says) }
            p { code { (command) } }
        }
    }
}
