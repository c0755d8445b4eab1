use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::output::style::Style;

fn places(folder: &Path) -> Places {
    Places {
        contexts: folder.join("config/contexts.yaml"),
        states: vec![folder.join("state")],
    }
}

fn context(name: &str, url: &str) -> Context {
    Context {
        name: name.into(),
        url: url.into(),
        token: format!("token-of-{name}"),
        fingerprint: None,
        ca: None,
    }
}

fn snapshot(error: CliError, folder: &Path) -> String {
    let text = error.render(Style::PLAIN);
    text.replace(folder.to_str().expect("UTF-8"), "FOLDER")
}

#[test]
fn a_flag_wins_over_a_context_and_a_context_over_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let places = places(folder.path());
    insta::assert_snapshot!(
        snapshot(places.find(&Wishes::default()).expect_err("nothing known"), folder.path()),
        @r"
    error[no_controller]: no controller is known
      hint:  start one here with `agentd`, or store another machine's with `agentctl login URL`
    "
    );

    fs::create_dir_all(folder.path().join("state")).expect("a folder");
    fs::write(folder.path().join("state/admin.token"), "admin\n").expect("a file");
    let local = places.find(&Wishes::default()).expect("this machine's");
    assert_eq!(
        (local.url.as_str(), local.token.as_deref()),
        (DEFAULT_URL, Some("admin"))
    );
    let endpoints = r#"{"http": "http://127.0.0.1:4711", "mqtt": "127.0.0.1:4712"}"#;
    fs::write(folder.path().join("state/endpoints.json"), endpoints).expect("a file");
    let local = places.find(&Wishes::default()).expect("this machine's");
    assert_eq!(local.url, "http://127.0.0.1:4711");

    let mut stored = Contexts::default();
    stored.put(context("pi", "http://pi:8484"));
    stored.put(context("lab", "http://lab:8484/"));
    stored.save(&places.contexts).expect("writable");
    let current = places.find(&Wishes::default()).expect("the current one");
    assert_eq!(
        (current.url.as_str(), current.source.as_str()),
        ("http://lab:8484", "context lab")
    );
    let named = Wishes {
        context: Some("pi".into()),
        ..Wishes::default()
    };
    assert_eq!(places.find(&named).expect("stored").url, "http://pi:8484");

    let flag = Wishes {
        url: Some("http://pi:8484/".into()),
        ..Wishes::default()
    };
    let found = places.find(&flag).expect("a flag");
    assert_eq!(
        found.token.as_deref(),
        Some("token-of-pi"),
        "the token of the same URL"
    );
    let other = Wishes {
        url: Some("http://other:1".into()),
        ..Wishes::default()
    };
    assert_eq!(
        places.find(&other).expect("a flag").token,
        None,
        "tokens stay with their URL"
    );
}

#[test]
fn the_file_is_its_owners_alone_and_survives_a_round_trip() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = places(folder.path()).contexts;
    let mut stored = Contexts::default();
    stored.put(context("a: b", "https://x"));
    stored.save(&file).expect("writable");
    stored.save(&file).expect("writable again");
    let mode = fs::metadata(&file).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Contexts::load(&file).expect("readable"), stored);
    stored.remove("a: b").expect("there");
    assert_eq!(stored, Contexts::default());
}

#[test]
fn what_is_wrong_is_said_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let places = places(folder.path());
    insta::assert_snapshot!(
        snapshot(Contexts::default().get("pi").expect_err("unknown"), folder.path()),
        @r#"
    error[unknown_context]: no context is named "pi"
      hint:  `agentctl context list` shows the names
    "#
    );
    let wishes = |url: &str| Wishes {
        url: Some(url.into()),
        ..Wishes::default()
    };
    insta::assert_snapshot!(
        snapshot(places.find(&wishes("pi:8484")).expect_err("no scheme"), folder.path()),
        @r#"
    error[invalid_url]: "pi:8484" is not the address of a controller
      cause: expected a scheme of http or https and a host
      hint:  write it as `http://HOST:PORT`, such as `http://127.0.0.1:8484`
    "#
    );
    insta::assert_snapshot!(
        snapshot(places.find(&wishes("not a url")).expect_err("no URL"), folder.path()),
        @r#"
    error[invalid_url]: "not a url" is not the address of a controller
      cause: relative URL without a base
      hint:  write it as `http://HOST:PORT`, such as `http://127.0.0.1:8484`
    "#
    );
    fs::create_dir_all(places.contexts.parent().expect("a folder")).expect("a folder");
    fs::write(&places.contexts, "current: [").expect("a file");
    insta::assert_snapshot!(
        snapshot(places.find(&Wishes::default()).expect_err("broken"), folder.path()),
        @r"
    error[context_file]: cannot read the stored controllers in FOLDER/config/contexts.yaml
      cause: error: line 1 column 10: expected string scalar
      hint:  mend the file, or remove it and run `agentctl login URL`
    "
    );
}
