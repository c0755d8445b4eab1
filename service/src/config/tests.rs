use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const DEFAULTS: &str = "\
name: ~
http: {listen: '127.0.0.1:80', tls: ~}
limits:
  lease_s: 45   # seconds
  fast: false
folders: []
servers: {}
";

#[derive(Debug, Deserialize)]
struct Config {
    name: Option<String>,
    http: Http,
    limits: Limits,
    folders: Vec<String>,
    #[serde(deserialize_with = "null_as_empty")]
    servers: BTreeMap<String, Server>,
}

#[derive(Debug, Deserialize)]
struct Http {
    listen: String,
    tls: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Limits {
    lease_s: u32,
    fast: bool,
}

#[derive(Debug, Deserialize)]
struct Server {
    kind: Kind,
    #[serde(default)]
    api_key: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Openai,
    Ollama,
}

impl Settings for Config {
    fn check(&self) -> Result<(), Invalid> {
        if self.limits.lease_s < 5 {
            return Err(Invalid::new("limits.lease_s", "the least is 5"));
        }
        Ok(())
    }
}

fn defaults() -> Layers {
    Layers::new(DEFAULTS).expect("valid defaults")
}

fn with_env(vars: &[(&str, &str)]) -> Result<Layers, ConfigError> {
    defaults().environment(
        "APP_",
        vars.iter().map(|(name, value)| (name.into(), value.into())),
    )
}

/// What a file with this text says, with the folder's name cut out of the message.
fn file_error(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.yaml");
    fs::write(&path, text).expect("written");
    let error = match defaults().file(&path) {
        Ok(layers) => layers.read::<Config>().expect_err("invalid"),
        Err(error) => error,
    };
    let prefix = format!("{}/", folder.path().display());
    error.to_string().replace(&prefix, "")
}

#[test]
fn each_layer_covers_the_one_below() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.yaml");
    let file = "limits: {lease_s: 30}\nname: file\nhttp:\n  listen: file\nservers:\n  lan: {kind: ollama}\n";
    fs::write(&path, file).expect("written");
    fs::write(
        folder.path().join("config.local.yaml"),
        "http: {listen: local}\nname: local\n",
    )
    .expect("written");
    let layers = defaults()
        .file(&path)
        .expect("readable")
        .environment(
            "APP_",
            [("APP_NAME".into(), "env".into()), ("OTHER".into(), "x".into())],
        )
        .expect("valid")
        .flag("--fast", "limits.fast", "true");
    let config: Config = layers.read().expect("valid");
    assert_eq!(config.name.as_deref(), Some("env"));
    assert_eq!((config.http.listen.as_str(), config.http.tls), ("local", None));
    assert_eq!((config.limits.lease_s, config.limits.fast), (30, true));
    assert_eq!(config.servers["lan"].kind, Kind::Ollama);
    assert_eq!(layers.origin("name").to_string(), "environment APP_NAME");
    assert_eq!(layers.origin("limits.fast").to_string(), "flag --fast");
    assert!(
        layers
            .origin("servers.lan.kind")
            .to_string()
            .ends_with("config.yaml:6")
    );
    assert!(
        layers
            .origin("http.listen")
            .to_string()
            .ends_with("config.local.yaml:1")
    );
    assert_eq!(*layers.origin("http.tls"), Origin::Default);
}

#[test]
fn the_environment_knows_lists_texts_and_spellings() {
    let layers = with_env(&[
        ("APP_FOLDERS", "a, b"),
        ("APP_NAME", "12"),
        ("APP_LIMITS__FAST", "true"),
        ("APP_SERVERS__GPU_BOX__KIND", "openai"),
        ("APP_SERVERS__GPU_BOX__API_KEY", "0123"),
    ]);
    let config: Config = layers.expect("valid").read().expect("valid");
    assert_eq!(config.folders, ["a", "b"]);
    assert_eq!(config.name.as_deref(), Some("12"));
    assert!(config.limits.fast);
    assert_eq!(config.servers["gpu_box"].api_key.as_deref(), Some("0123"));
    let one: Config = with_env(&[("APP_FOLDERS", "one")])
        .expect("valid")
        .read()
        .expect("valid");
    assert_eq!(one.folders, ["one"]);
    let none: Config = with_env(&[("APP_FOLDERS", ""), ("APP_SERVERS", "{}")])
        .expect("valid")
        .read()
        .expect("valid");
    assert!(none.folders.is_empty() && none.name.is_none());
    let spelled = Layers::new("servers: {gpu-box: {kind: ollama}}").expect("valid");
    let spelled = spelled.environment("APP_", [("APP_SERVERS__GPU_BOX__KIND".into(), "openai".into())]);
    assert_eq!(
        spelled.expect("valid").origin("servers.gpu-box.kind").to_string(),
        "environment APP_SERVERS__GPU_BOX__KIND"
    );
}

#[test]
fn an_error_names_place_key_value_and_way_out() {
    for (text, expected) in [
        (
            "\nhttp:\n\n  lisen: x\n",
            "config.yaml:4: there is no setting `http.lisen`: did you mean `http.listen`?",
        ),
        (
            "limit:\n  lease_s: 4\n",
            "config.yaml:1: there is no setting `limit`: did you mean `limits`?",
        ),
        (
            "http:\n  completely_else: 1\n",
            "config.yaml:2: there is no setting `http.completely_else`: known here: listen, tls",
        ),
        (
            "limits:\n  lease_s: soon\n",
            "config.yaml:2: `limits.lease_s` = \"soon\": this is text, expected a whole number, 0 or more",
        ),
        (
            "limits: {lease_s: -4}",
            "config.yaml:1: `limits.lease_s` = -4: out of range: expected a whole number, 0 or more",
        ),
        (
            "# short\nlimits: {lease_s: 2}",
            "config.yaml:2: `limits.lease_s` = 2: the least is 5",
        ),
        (
            "servers:\n  lan: {kind: olama}\n",
            "config.yaml:2: `servers.lan.kind` = \"olama\": expected one of openai, ollama: did you mean ollama?",
        ),
        (
            "servers:\n  lan: {}\n",
            "config.yaml:2: `servers.lan.kind` is missing: add it",
        ),
        (
            "servers:\n  lan:\n    kind: ollama\n    api_key: 123456\n",
            "config.yaml:4: `servers.lan.api_key` = •••: expected text in quotes",
        ),
        (
            "folders:\n  - a\n  - {b: 1}\n",
            "config.yaml:3: `folders[1]` = {b: 1}: this is a map, expected text (put it in quotes)",
        ),
        (
            "name: a\nname: b\n",
            "config.yaml:2: `name` is there twice: keep one",
        ),
        ("- a\n", "config.yaml:1: expected `key: value` lines"),
        (
            "http: 5",
            "config.yaml:1: `http` = 5: this is a whole number, expected a map",
        ),
    ] {
        assert_eq!(file_error(text), expected, "{text}");
    }
    assert!(file_error("name: [a\nhttp: 1").starts_with("config.yaml:2: "));
    assert_eq!(
        file_error(&"#".repeat(2 << 20)),
        "cannot read the configuration config.yaml: it is larger than 1 MiB"
    );
    let missing = defaults()
        .file(Path::new("/none/config.yaml"))
        .err()
        .expect("missing");
    assert!(
        missing
            .to_string()
            .starts_with("cannot read the configuration /none/config.yaml: No such file")
    );
}

#[test]
fn the_environment_is_named_in_errors() {
    let error = |vars: &[(&str, &str)]| match with_env(vars) {
        Ok(layers) => layers.read::<Config>().expect_err("invalid").to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        error(&[("APP_HTTP__LISTN", "x")]),
        "environment APP_HTTP__LISTN: there is no setting `http.listn`: did you mean `http.listen`?"
    );
    assert_eq!(
        error(&[("APP_LIMITS__LEASE_S", "5m")]),
        "environment APP_LIMITS__LEASE_S: `limits.lease_s` = \"5m\": this is text, expected a whole number, 0 or more"
    );
    assert!(error(&[("APP_", "x")]).starts_with("environment APP_: names no setting"));
}

#[test]
fn nothing_below_a_map_means_an_empty_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.yaml");
    fs::write(&path, "servers:\n").expect("written");
    let config: Config = defaults().file(&path).expect("readable").read().expect("valid");
    assert!(config.servers.is_empty());
}

#[test]
fn printing_shows_origins_and_hides_secrets() {
    let layers = with_env(&[
        ("APP_SERVERS", "{lan: {kind: openai, api_key: sk-1}}"),
        ("APP_SERVERS__LAN__API_KEY", "sk-2"),
        ("APP_HTTP__TLS", "https://me:pw@host/x"),
        ("APP_FOLDERS", "[{token: t-3}]"),
    ])
    .expect("valid");
    let text = layers.print();
    assert_eq!(
        text,
        "\
name: ~ # built-in default
http:
  listen: \"127.0.0.1:80\" # built-in default
  tls: \"https://me:•••@host/x\" # environment APP_HTTP__TLS
limits:
  lease_s: 45 # built-in default
  fast: false # built-in default
folders: # environment APP_FOLDERS
  - {token: \"•••\"}
servers:
  lan:
    kind: \"openai\" # environment APP_SERVERS
    api_key: \"•••\" # environment APP_SERVERS__LAN__API_KEY
"
    );
}

/// Trees as YAML can hold them, as JSON.
fn any_tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1.0e9..1.0e9).prop_map(serde_json::Value::from),
        any::<String>().prop_map(Into::into),
        "[a-z:#~-]{0,6}".prop_map(serde_json::Value::from),
    ];
    let key = "[a-z]{1,3}|true|-1|.{1,4}";
    let tree = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-z]{1,4}", tree, 0..5)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

fn node(json: &serde_json::Value) -> Node {
    let value = match json {
        serde_json::Value::Null => tree::Value::Null,
        serde_json::Value::Bool(value) => tree::Value::Bool(*value),
        serde_json::Value::Number(value) => tree::Value::Number(value.clone()),
        serde_json::Value::String(text) => tree::Value::Text(text.clone()),
        serde_json::Value::Array(items) => tree::Value::List(items.iter().map(node).collect()),
        serde_json::Value::Object(map) => tree::Value::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), node(value)))
                .collect(),
        ),
    };
    Node {
        origin: Origin::Default,
        text: None,
        value,
    }
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        tree::Value::Null => serde_json::Value::Null,
        tree::Value::Bool(value) => (*value).into(),
        tree::Value::Number(value) => value.clone().into(),
        tree::Value::Text(text) => text.clone().into(),
        tree::Value::List(items) => items.iter().map(json).collect(),
        tree::Value::Map(entries) => serde_json::Value::Object(
            entries
                .iter()
                .map(|(key, node)| (key.clone(), json(node)))
                .collect(),
        ),
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_the_same(tree in any_tree()) {
        let first = node(&tree);
        let printed = print::print(&first);
        let again = tree::parse(&printed, &Origin::Default);
        let again = again.map_err(|error| TestCaseError::fail(format!("{error}\n{printed}")))?;
        prop_assert_eq!(json(&again), json(&first), "{}", printed);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        if let Ok(node) = tree::parse(&text, &Origin::Default) {
            let layers = Layers { root: node };
            let _ = layers.read::<Config>();
            layers.print();
        }
    }
}
