//! Go compiles its standard library for the first check of every cache: a minute on a
//! small machine. The caches of repositories stay apart, because what one repository's
//! code can write another one's must never run. So the worker compiles the library once,
//! from a module of its own, and every new cache begins as a copy of that.

use std::{fs, io, path::Path};

use tokio::sync::Mutex;

use super::{FETCH_TIME, Fetcher};
use crate::tools::exec::{Exec, Limits};

/// Where a home has its cache; `Toolchains` says so to Go.
const CACHE: &str = ".cache/go-build";

/// A test that needs what most tests need.
const MODULE: [(&str, &str); 2] = [
    ("go.mod", "module seed\n\ngo 1.21\n"),
    (
        "seed_test.go",
        "package seed\n\nimport (\n\t_ \"bufio\"\n\t_ \"bytes\"\n\t_ \"context\"\n\t_ \"encoding/json\"\n\t_ \"errors\"\n\t_ \"fmt\"\n\t_ \"os\"\n\t_ \"regexp\"\n\t_ \"sort\"\n\t_ \"strconv\"\n\t_ \"strings\"\n\t_ \"sync\"\n\t\"testing\"\n\t_ \"time\"\n)\n\nfunc TestNothing(*testing.T) {}\n",
    ),
];

/// Held while the library is compiled: others wait and copy then.
static COMPILING: Mutex<()> = Mutex::const_new(());

/// Fills the cache of a home that has none yet. Whatever fails only costs time later.
pub(super) async fn warm(fetcher: &Fetcher<'_>) {
    let cache = fetcher.home.join(CACHE);
    let Some(go) = fetcher.toolchains.find("go") else {
        return;
    };
    if cache.exists() {
        return;
    }
    let seed = fetcher.own.join(format!("go-{}", identity(&go)));
    {
        let _turn = COMPILING.lock().await;
        if !seed.join("complete").exists() {
            let compiled = compile(fetcher, &seed).await;
            if let Err(why) = compiled {
                fetcher
                    .log
                    .info(&format!("Go's own packages were not compiled beforehand: {why}"));
                return;
            }
        }
    }
    let (from, home) = (seed.join(CACHE), fetcher.home.to_owned());
    let copied = tokio::task::spawn_blocking(move || begin(&from, &home, &cache)).await;
    if let Ok(Err(error)) = copied {
        fetcher
            .log
            .info(&format!("Go's compiled packages were not copied: {error}"));
    }
}

/// Another toolchain compiles anew.
fn identity(go: &Path) -> String {
    let known = fs::metadata(go).and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
    super::digest(&format!("{} {known:?}", go.display()))
}

async fn compile(fetcher: &Fetcher<'_>, seed: &Path) -> Result<(), String> {
    let module = seed.join("module");
    let laid = fs::create_dir_all(&module).and_then(|()| {
        MODULE
            .iter()
            .try_for_each(|(name, text)| fs::write(module.join(name), text))
    });
    laid.map_err(|error| error.to_string())?;
    fetcher
        .log
        .info("compiling Go's own packages, once on this worker");
    let exec = Exec::new(["go", "test", "-exec", "true", "./..."], &module)
        .cage(fetcher.cage.clone().only(seed))
        .environment(fetcher.toolchains.environment(seed))
        .limits(Limits::default().time(FETCH_TIME));
    let result = exec.run(fetcher.log, fetcher.stop).await;
    let result = result.map_err(|error| error.to_string())?;
    if !result.success() {
        return Err(format!("it {}", result.ending()));
    }
    fs::write(seed.join("complete"), b"").map_err(|error| error.to_string())
}

/// Copies a cache; the first of two that do so at the same time wins.
fn begin(from: &Path, home: &Path, cache: &Path) -> io::Result<()> {
    let draft = tempfile::tempdir_in(home)?;
    copy(from, draft.path())?;
    fs::create_dir_all(cache.parent().unwrap_or(home))?;
    match fs::rename(draft.path(), cache) {
        Err(_) if cache.exists() => Ok(()),
        renamed => renamed,
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{log::LogSink, steps::Stop, testing::uncaged, tools::environment::Toolchains};

    #[tokio::test]
    async fn the_library_is_compiled_once_and_each_cache_is_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let go = bin.join("go");
        let script = "#!/bin/sh\nmkdir -p \"$GOCACHE/00\"\necho compiled >> \"$GOCACHE/00/entry\"\n";
        fs::write(&go, script).unwrap();
        fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let home = folder.path().to_str().unwrap();
        let variables = [("PATH", path.as_str()), ("HOME", home)];
        let toolchains = Toolchains::new(&variables.map(|(name, value)| (name.into(), value.into())).into());
        let own = folder.path().join("own");
        for name in ["a", "b"] {
            let home = folder.path().join(name);
            fs::create_dir(&home).unwrap();
            let fetcher = Fetcher {
                cage: uncaged(),
                network: &[],
                root: folder.path(),
                home: &home,
                own: &own,
                toolchains: &toolchains,
                log: &LogSink::discard(),
                stop: &Stop::default(),
            };
            warm(&fetcher).await;
            let entry = home.join(CACHE).join("00/entry");
            assert_eq!(fs::read_to_string(&entry).unwrap(), "compiled\n", "{name}");
            // what a repository writes into its cache stays there
            fs::write(&entry, "poison").unwrap();
        }
    }
}
