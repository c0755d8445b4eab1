//! What goes wrong, with its code, sentence, hint and exit code.

use crate::{
    agentctl, bare,
    fake::{Fake, World},
    stderr,
};

#[test]
fn refusals_keep_their_exit_codes() {
    let fake = Fake::start(World::default());
    let said = |args: &[&str]| {
        let output = agentctl(&fake, args).output().expect("runs");
        assert!(output.stdout.is_empty(), "errors are talk");
        let code = output.status.code().expect("no signal");
        format!("{}exit {code}", stderr(&output)).replace(&fake.address.to_string(), "HOST")
    };
    insta::assert_snapshot!(said(&["show", "401"]), @r"
    error[unauthenticated]: a token is needed
      hint:  give a token: `agentctl login URL`, or set AGENTCTL_TOKEN
    exit 4
    ");
    insta::assert_snapshot!(said(&["show", "403"]), @r"
    error[forbidden]: the scope does not reach
      hint:  use a token with more scopes: an admin makes one with `agentctl tokens create NAME --scope run`
    exit 4
    ");
    insta::assert_snapshot!(said(&["show", "7"]), @r"
    error[not_found]: no job has that number
      hint:  `agentctl ps`, `agentctl workers` and `agentctl workflows` list the names
    exit 5
    ");
    insta::assert_snapshot!(said(&["show", "503"]), @r"
    error[unavailable]: starting
      hint:  wait a little and try again, or run `agentctl doctor`
    exit 6
    ");
    insta::assert_snapshot!(said(&["status"]), @r"
    error[unexpected_answer]: http://HOST answered 502 Bad Gateway, which is no answer of agentd
      cause: <html>Bad Gateway</html>
      hint:  check that the URL is agentd's and not a proxy's: `agentctl doctor`
    exit 1
    ");
    insta::assert_snapshot!(said(&["report", "42"]), @r"
    error[no_result]: job 42 has not delivered a report
      cause: no artifact has that name
      hint:  `agentctl show 42` says how far it is
    exit 5
    ");
    insta::assert_snapshot!(said(&["show", "7", "-o", "json"]), @r#"
    {"schema_version":1,"error":{"code":"not_found","message":"no job has that number","cause":null,"hint":"`agentctl ps`, `agentctl workers` and `agentctl workflows` list the names","exit":5}}
    exit 5
    "#);
    insta::assert_snapshot!(said(&["run", "run", "--input", "command"]), @r"
    error: invalid value 'command' for '--input <NAME=VALUE>': expected NAME=TEXT, NAME=@FILE or NAME:=JSON

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn a_controller_that_is_not_there_is_said_to_be_so() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let output = bare(&["ps", "--url", &url]).output().expect("runs");
    assert_eq!(output.status.code(), Some(6));
    insta::assert_snapshot!(stderr(&output).replace(&url, "URL"), @r"
    error[controller_unreachable]: no controller answers at URL
      cause: client error (Connect): tcp connect error: Connection refused (os error 111)
      hint:  start it with `agentd`, or name another one with --url; `agentctl doctor` looks closer
    ");
    let output = bare(&["ps"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(6));
    insta::assert_snapshot!(stderr(&output), @r"
    error[no_controller]: no controller is known
      hint:  start one here with `agentd`, or store another machine's with `agentctl login URL`
    ");
    let output = bare(&["doctor", "--url", &url]).output().expect("runs");
    assert_eq!(output.status.code(), Some(6));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        text.lines().last(),
        Some("agentd"),
        "the command that repairs: {text}"
    );
}

#[test]
fn a_proxy_of_the_environment_is_not_asked_for_this_machine() {
    let fake = Fake::start(World::default());
    let output = agentctl(&fake, &["show", "7"])
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1")
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
}

#[test]
fn usage_is_checked_before_anything_is_asked() {
    for args in [
        &["ps", "--state", "happy"][..],
        &["show", "forty-two"],
        &["wait", "42", "--timeout", "soon"],
        &["frobnicate"],
        &["approve", "42", "no such step"],
    ] {
        let output = bare(args).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
