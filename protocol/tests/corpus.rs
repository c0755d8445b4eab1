//! Messages of every version so far, as they were on the wire: each later version must read them.
//!
//! `corpus/VERSION/KIND.msgpack` is a message, the `.json` beside it what it says. The files of a
//! released version never change. `AGENTD_WRITE_CORPUS=1 cargo test -p agentd-protocol --test corpus`
//! writes those of the present version.

mod samples;

use std::{
    fs,
    path::{Path, PathBuf},
};

use agentd_protocol::{
    codec::{Envelope, decode, encode},
    message::{FromWorker, ToWorker},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The minor version is what may differ between a controller and its workers.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR")
);
/// A field that no version has.
const TOMORROW: &str = "a_field_of_tomorrow";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// What a message says, without regard to how it is written.
fn meaning<M: Serialize>(envelope: &Envelope<M>) -> Value {
    serde_json::to_value(envelope).expect("a message is JSON too")
}

fn is_to_worker(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("to_worker."))
}

fn read(path: &Path) -> Value {
    let bytes = fs::read(path).expect("readable");
    let name = path.display();
    if is_to_worker(path) {
        meaning(&decode::<ToWorker>(&bytes).unwrap_or_else(|error| panic!("{name}: {error}")))
    } else {
        meaning(&decode::<FromWorker>(&bytes).unwrap_or_else(|error| panic!("{name}: {error}")))
    }
}

/// Where `now` does not say what `then` says; what only `now` says is a new field's default.
fn lost(then: &Value, now: &Value, at: &str) -> Vec<String> {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => then
            .iter()
            .flat_map(|(key, value)| {
                lost(
                    value,
                    now.get(key).unwrap_or(&Value::Null),
                    &format!("{at}.{key}"),
                )
            })
            .collect(),
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => then
            .iter()
            .zip(now)
            .enumerate()
            .flat_map(|(index, (then, now))| lost(then, now, &format!("{at}[{index}]")))
            .collect(),
        _ if then == now => vec![],
        _ => vec![format!("{at} was {then} and is read as {now}")],
    }
}

fn kept() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .expect("the corpus")
        .flat_map(|version| fs::read_dir(version.expect("a version").path()).expect("its files"))
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "msgpack"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_message_of_every_version_is_read_as_it_was_meant() {
    for path in kept() {
        let then = fs::read_to_string(path.with_extension("json")).expect("its meaning");
        let then: Value = serde_json::from_str(&then).expect("JSON");
        let lost = lost(&then, &read(&path), "message");
        assert!(lost.is_empty(), "{}:\n{}", path.display(), lost.join("\n"));
    }
}

#[test]
fn the_present_version_is_in_the_corpus_with_every_field() {
    let folder = folder().join(VERSION);
    let samples = samples::all();
    if std::env::var_os("AGENTD_WRITE_CORPUS").is_some() {
        fs::create_dir_all(&folder).expect("a folder");
        for (name, bytes, meaning) in &samples {
            fs::write(folder.join(format!("{name}.msgpack")), bytes).expect("written");
            let meaning = format!("{meaning:#}\n");
            fs::write(folder.join(format!("{name}.json")), meaning).expect("written");
        }
    }
    for (name, _, meaning) in samples {
        let kept = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap_or_default();
        let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
        assert_eq!(
            kept, meaning,
            "{name} of {VERSION} is another one in the corpus: if {VERSION} is not released yet, write \
             the corpus again with AGENTD_WRITE_CORPUS=1, otherwise raise the version"
        );
    }
}

#[test]
fn a_field_of_a_later_version_is_ignored_wherever_it_stands() {
    for path in kept() {
        let said = read(&path);
        let mut places = vec![];
        objects(&said, &mut vec![], &mut places);
        assert!(places.len() >= 3, "envelope, session and message at least");
        for place in places {
            let mut later = said.clone();
            let object = later.pointer_mut(&place).and_then(Value::as_object_mut);
            object.expect("an object").insert(TOMORROW.into(), Value::from(1));
            let read = if is_to_worker(&path) {
                serde_json::from_value::<Envelope<ToWorker>>(later).map(|message| meaning(&message))
            } else {
                serde_json::from_value::<Envelope<FromWorker>>(later).map(|message| meaning(&message))
            };
            let read =
                read.unwrap_or_else(|error| panic!("{} with more in {place:?}: {error}", path.display()));
            assert!(lost(&said, &read, "message").is_empty());
        }
    }
}

/// Pointers to the objects that are structs: the keys of maps are anybody's.
fn objects(value: &Value, at: &mut Vec<String>, places: &mut Vec<String>) {
    const MAPS: [&str; 4] = ["labels", "outputs", "with", "env"];
    match value {
        Value::Object(fields) => {
            if at.last().is_some_and(|name| MAPS.contains(&name.as_str())) {
                return;
            }
            if !is_variant(fields) {
                places.push(at.iter().flat_map(|key| ["/", key]).collect());
            }
            for (key, value) in fields {
                at.push(key.clone());
                objects(value, at, places);
                at.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push(index.to_string());
                objects(item, at, places);
                at.pop();
            }
        }
        _ => {}
    }
}

/// `{"run": …}` names a variant: it has one key, and that one only.
fn is_variant(fields: &Map<String, Value>) -> bool {
    const VARIANTS: [&str; 7] = ["agent", "run", "use", "argv", "script", "missing", "list"];
    fields.len() == 1 && fields.keys().all(|key| VARIANTS.contains(&key.as_str()))
}

/// A message as bytes and as what they mean.
fn sample<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    envelope: &Envelope<M>,
) -> (Vec<u8>, Value) {
    let bytes = encode(envelope).expect("encodes");
    assert_eq!(decode::<M>(&bytes).expect("decodes"), *envelope);
    (bytes, meaning(envelope))
}
