//! Rules that hold for every page.

use std::collections::HashSet;

use axum::http::Method;

use super::routes::PAGES;

#[test]
fn what_changes_something_takes_a_signed_form() {
    let sources = [
        include_str!("job/actions.rs"),
        include_str!("workers.rs"),
        include_str!("login.rs"),
    ]
    .concat();
    for page in PAGES.iter().filter(|page| page.method != Method::GET) {
        let name = page.path.rsplit('/').next().unwrap_or_default().replace('-', "_");
        let (_, handler) = sources.split_once(&format!("async fn {name}(")).expect(page.path);
        let (arguments, _) = handler.split_once(") ->").expect("a handler answers");
        // the login has no session yet: its form is held by the check of where it comes from
        assert!(
            name == "login" || arguments.contains(": Signed<"),
            "{}",
            page.path
        );
    }
}

#[test]
fn every_page_is_in_the_table_once() {
    let pages: HashSet<_> = PAGES
        .iter()
        .map(|page| (page.method.clone(), page.path))
        .collect();
    assert_eq!(pages.len(), PAGES.len());
}

#[test]
fn no_page_holds_script_or_style_of_its_own() {
    for text in [
        include_str!("frame.rs"),
        include_str!("job.rs"),
        include_str!("log.rs"),
        include_str!("graph.rs"),
    ] {
        for inline in [" style=", "onclick", "onload", "javascript:"] {
            assert!(!text.contains(inline), "{inline}");
        }
    }
}
