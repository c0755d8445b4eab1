use super::*;
use crate::testing::{uncaged, write};

async fn ensured(files: &[(&str, &str)]) -> Dependencies {
    let folder = tempfile::tempdir().unwrap();
    let (root, home) = (folder.path().join("root"), folder.path().join("home"));
    for folder in [&root, &home] {
        fs::create_dir_all(folder).unwrap();
    }
    for (path, text) in files {
        write(&root.join(path), text);
    }
    // no program at all: whatever would be fetched becomes a note
    let variables = [
        ("PATH", folder.path().to_str().unwrap()),
        ("HOME", folder.path().to_str().unwrap()),
    ];
    let toolchains = Toolchains::new(&variables.map(|(name, value)| (name.into(), value.into())).into());
    let fetcher = Fetcher {
        network: &[],
        cage: uncaged(),
        root: &root,
        home: &home,
        own: folder.path(),
        toolchains: &toolchains,
        log: &LogSink::discard(),
        stop: &Stop::default(),
    };
    fetcher.ensure().await.unwrap()
}

#[tokio::test]
async fn what_names_no_dependencies_fetches_nothing() {
    let dependencies = ensured(&[
        ("Cargo.toml", "[package]\nname = \"a\"\n"),
        ("package.json", "{\"scripts\":{}}"),
        ("go.mod", "module a\n"),
        ("requirements.txt", "# none\n"),
    ])
    .await;
    assert!(dependencies.notes.is_empty(), "{:?}", dependencies.notes);
    assert!(dependencies.path.is_empty());
}

#[tokio::test]
async fn a_fetch_that_cannot_run_is_noted_and_goes_on() {
    let dependencies = ensured(&[
        (
            "Cargo.toml",
            "[package]\nname = \"a\"\n[dependencies]\nx = \"1\"\n",
        ),
        ("package.json", "{\"dependencies\":{\"x\":\"1\"}}"),
        ("go.mod", "module a\nrequire x v1\n"),
        ("requirements.txt", "x\n"),
    ])
    .await;
    assert_eq!(dependencies.notes.len(), 4, "{:?}", dependencies.notes);
    assert!(
        dependencies.notes[0].contains("`cargo` is not on this worker")
            || dependencies.notes[0].contains("cargo fetch")
    );
}

#[test]
fn a_virtual_environment_comes_first_on_the_path() {
    let toolchains = Toolchains::of_this_process();
    let dependencies = Dependencies {
        path: vec!["/home/venv/bin".into()],
        notes: vec![],
    };
    let environment = dependencies.environment(&toolchains, Path::new("/home"));
    let get = |name: &str| {
        environment[std::ffi::OsStr::new(name)]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert!(get("PATH").starts_with("/home/venv/bin:"));
    assert_eq!(get("VIRTUAL_ENV"), "/home/venv");
}
