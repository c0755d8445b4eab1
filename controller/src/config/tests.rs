use std::ffi::OsString;

use protocol::model::ProviderKind;

use super::*;

/// The configuration with this file over the defaults, or the error without the folder's name.
fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, text).expect("written");
    Layers::new(DEFAULTS)
        .and_then(|layers| layers.file(&path)?.read())
        .map_err(|error| {
            error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
}

/// The committed file with its example lines (`#` and no space) switched on.
fn with_examples(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let start = line.trim_start();
        match start.strip_prefix('#') {
            Some(example)
                if !example.is_empty() && (!example.starts_with(' ') || example.starts_with("  -")) =>
            {
                let indent = &line[..line.len() - start.len()];
                out.push_str(&format!("{indent}{example}\n"));
            }
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[test]
fn the_committed_file_is_the_default() {
    let config = Config::default();
    assert_eq!(read(DEFAULTS), Ok(config.clone()));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8484");
    assert_eq!(config.mqtt.listen.to_string(), "127.0.0.1:1883");
    let tls = [&config.http.tls, &config.mqtt.tls].map(|tls| tls.as_ref().map(|tls| tls.listen.to_string()));
    assert_eq!(
        tls,
        [Some("0.0.0.0:8485".to_owned()), Some("0.0.0.0:8883".to_owned())]
    );
    let limits = config.limits;
    assert_eq!((limits.offer_s, limits.lease_s), (10, 45));
    assert_eq!((limits.grace_command_s, limits.grace_agent_s), (120, 600));
    assert_eq!(
        (limits.infra_retries, limits.check_s, limits.cancel_grace_s),
        (5, 120, 10)
    );
    assert_eq!((limits.mqtt_connections, limits.log_bytes), (256, 16 << 20));
    assert!(config.warnings().is_empty());
}

#[test]
fn the_examples_of_the_committed_file_are_valid() {
    let config = read(&with_examples(DEFAULTS)).expect("valid examples");
    assert_eq!(config.providers["lan"].kind, ProviderKind::Ollama);
    assert_eq!(config.models["large"][0].window, 128_000);
    assert_eq!(config.models["small"][0].model, "qwen2.5-coder:7b");
    assert_eq!(config.agents["codegen"].model.as_deref(), Some("small"));
}

#[test]
fn every_key_of_the_file_is_commented() {
    let mut above = "";
    for line in DEFAULTS.lines().filter(|line| !line.trim().is_empty()) {
        let is_key = !line.trim_start().starts_with('#');
        let is_section = is_key && line.ends_with(':');
        if is_key && !is_section {
            assert!(above.trim_start().starts_with("# "), "no comment above {line:?}");
        }
        above = line;
    }
}

#[test]
fn mistakes_are_named_with_their_way_out() {
    for (text, expected) in [
        (
            "htpp: {}",
            "c.yaml:1: there is no setting `htpp`: did you mean `http`?",
        ),
        (
            "http: {listen: \"0.0.0.0:80\"}",
            "c.yaml:1: `http.listen` = \"0.0.0.0:80\": without TLS only this machine may connect: use 127.0.0.1:80",
        ),
        (
            "mqtt: {listen: pi}",
            "c.yaml:1: `mqtt.listen` = \"pi\": expected an IP address and a port, such as 127.0.0.1:8484 or [::1]:8484",
        ),
        (
            "\nproviders:\n  lan: {kind: openai}\n",
            "c.yaml:3: `providers.lan.base_url` = {kind: \"openai\"}: write the server's address, such as https://host/v1",
        ),
        (
            "providers:\n  lan: {kind: ollama, api_kay: x}\n",
            "c.yaml:2: there is no setting `providers.lan.api_kay`: did you mean `providers.lan.api_key`?",
        ),
        (
            "models:\n  large:\n    - {provider: lan, modl: x}\n",
            "c.yaml:3: there is no setting `models.large[0].modl`: did you mean `models.large[0].model`?",
        ),
        (
            "models:\n  large: []\n",
            "c.yaml:2: `models.large` = []: name at least one candidate, such as [{provider: lan, model: NAME}]",
        ),
        (
            "agents: {review: {model: big}}",
            "c.yaml:1: `agents.review.model` = \"big\": there is no such model: models is empty: add it there",
        ),
        (
            "limits: {lease_s: 0}",
            "c.yaml:1: `limits.lease_s` = 0: expected 1 to 3600",
        ),
        (
            "log: {level: loud=x}",
            "c.yaml:1: `log.level` = \"loud=x\": expected error, warn, info, debug or trace, or target=level pairs",
        ),
    ] {
        assert_eq!(read(text).expect_err(text), expected);
    }
    let name = read("models:\n  \"a b\": []\n").expect_err("a bad name");
    assert!(
        name.contains("`models.a b`") && name.contains("1 to 64 of a-z"),
        "{name}"
    );
}

#[test]
fn ports_from_the_kernel_and_names_of_this_machine_are_allowed() {
    let config = read("http: {listen: \"localhost:0\"}\nmqtt: {listen: \"[::1]:0\"}\n").expect("valid");
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.mqtt.listen.to_string(), "[::1]:0");
}

#[test]
fn tls_can_be_switched_off_and_keeps_its_defaults_otherwise() {
    let off = read("http: {tls: ~}\nmqtt:\n  tls: null\n").expect("valid");
    assert_eq!((off.http.tls, off.mqtt.tls), (None, None));
    let named = read("http: {tls: {names: [pi.lan]}}\n").expect("valid");
    let tls = named.http.tls.expect("on");
    assert_eq!((tls.listen.port(), tls.names), (8485, vec!["pi.lan".to_owned()]));
    let local: Config = Layers::new(DEFAULTS)
        .and_then(|layers| layers.flag("--local", "http.tls", "~").read())
        .expect("valid");
    assert_eq!(local.http.tls, None);
}

#[test]
fn the_environment_sets_nested_keys() {
    let vars = [
        ("AGENTD_HTTP__LISTEN", "127.0.0.1:9"),
        ("AGENTD_WORKFLOWS", "/a,/b"),
        ("AGENTD_RETENTION__BYTES", "~"),
    ];
    let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let config: Config = Layers::new(DEFAULTS)
        .and_then(|layers| layers.environment(ENV_PREFIX, vars)?.read())
        .expect("valid");
    assert_eq!(config.http.listen.port(), 9);
    assert_eq!(config.workflows, [Path::new("/a"), Path::new("/b")]);
    assert_eq!(config.retention.bytes, None);
}

#[test]
fn keys_are_read_when_they_are_needed() {
    let config = read(
        "providers:
  open: {kind: ollama}
  plain: {kind: openai, base_url: 'http://h/v1', api_key: sk-1}
  absent: {kind: openai, base_url: 'https://h/v1', api_key_env: AGENTD_TEST_NO_SUCH_VARIABLE}
models:
  m: [{provider: elsewhere, model: x}]
",
    )
    .expect("valid");
    let key = |name| {
        config
            .provider_key(name)
            .map(|key| key.map(|key| key.expose().to_owned()))
    };
    assert_eq!(key("open").expect("none needed"), None);
    assert_eq!(key("plain").expect("there"), Some("sk-1".to_owned()));
    let error = key("absent").expect_err("not set").to_string();
    assert!(
        error.contains("provider `absent`") && error.contains("AGENTD_TEST_NO_SUCH_VARIABLE"),
        "{error}"
    );
    let definition = config
        .provider_definition("plain", None)
        .expect("a key")
        .expect("known");
    assert_eq!(
        (definition.base_url.as_str(), definition.api_key.as_deref()),
        ("http://h/v1", Some("sk-1"))
    );
    assert!(
        config
            .provider_definition("elsewhere", None)
            .expect("no key")
            .is_none()
    );
    let warnings = config.warnings().join("\n");
    for part in [
        "models.m[0]: provider `elsewhere`",
        "providers.absent: ",
        "providers.plain.base_url: ",
    ] {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
}
