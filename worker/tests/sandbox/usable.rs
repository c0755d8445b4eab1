//! Toolchains work inside.

use std::fs;

use super::{Yard, run, skip};

#[tokio::test]
async fn the_toolchains_of_this_machine_work_in_the_cage() {
    for yard in Yard::each().await {
        for argv in [
            &["git", "--version"][..],
            &["cargo", "--version"],
            &["rustc", "--version"],
            &[
                "python3",
                "-c",
                "import ssl, sqlite3, threading, subprocess; subprocess.run(['true'], check=True)",
            ],
            &[
                "node",
                "-e",
                "require('child_process').execFileSync('true'); new (require('worker_threads').Worker)('0', {eval: true})",
            ],
            &["go", "version"],
            &["bash", "-c", "cat <(echo x) >/dev/null; id -un; echo $HOME"],
        ] {
            if yard.toolchains.find(argv[0]).is_none() {
                skip(&format!("{} is not here", argv[0]));
                continue;
            }
            let result = run(yard.exec(argv)).await;
            let said = result.stderr.text();
            assert!(
                result.success(),
                "{}: {argv:?} {}: {said}",
                yard.sandbox,
                result.ending()
            );
        }
    }
}

#[tokio::test]
async fn a_crate_can_be_built_and_tested_in_the_cage() {
    for yard in Yard::each().await {
        if yard.toolchains.find("cargo").is_none() {
            return skip("cargo is not here");
        }
        let tree = yard.tree();
        fs::create_dir_all(tree.join("src")).expect("made");
        fs::write(
            tree.join("Cargo.toml"),
            "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        )
        .expect("written");
        fs::write(
            tree.join("src/lib.rs"),
            "#[test]\nfn it_works() { std::fs::write(std::env::temp_dir().join(\"t\"), \"x\").unwrap(); }\n",
        )
        .expect("written");
        let result = run(yard.exec(&["cargo", "test", "--offline", "--lib"])).await;
        assert!(result.success(), "{}: {}", yard.sandbox, result.stderr.text());
    }
}

#[tokio::test]
async fn a_server_of_its_own_can_be_reached_at_strong() {
    let Some(yard) = Yard::strong().await else { return };
    let script = "
import socket
s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(('localhost', s.getsockname()[1])); print('met')";
    let result = run(yard.exec(&["python3", "-c", script])).await;
    assert_eq!(result.stdout.text(), "met\n", "{}", result.stderr.text());
}

#[tokio::test]
async fn a_program_that_is_hidden_says_what_to_do() {
    let Some(yard) = Yard::strong().await else { return };
    let elsewhere = tempfile::tempdir().expect("a folder");
    let program = elsewhere.path().join("program");
    fs::copy("/bin/true", &program).expect("copied");
    let exec = yard.exec(&[&*program.to_string_lossy()]);
    let error = exec
        .run(&worker::log::LogSink::discard(), &worker::steps::Stop::default())
        .await
        .expect_err("hidden");
    assert!(error.to_string().contains("sandbox.read_only"), "{error}");
}
