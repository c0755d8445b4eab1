//! The files that a model may touch: everything inside one folder, and nothing
//! that only seems to be inside it.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Largest file that is edited as text, in bytes (4 MiB).
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// A work tree with the paths that are off limits in it.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    protected: Vec<String>,
}

/// Why a path cannot be used, as a sentence for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// A path that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Relative to the tree, normalised, with slashes.
    pub name: String,
    /// Where the file really is, links resolved; its folder may not exist yet.
    pub file: PathBuf,
}

impl Tree {
    /// The tree at `root`; `protected` are relative files or folders that nobody may change.
    pub fn open(root: &Path, protected: &[String]) -> io::Result<Self> {
        Ok(Self {
            root: root.canonicalize()?,
            protected: protected
                .iter()
                .map(|path| path.trim_matches('/').to_owned())
                .collect(),
        })
    }

    /// Where the tree is, links resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks a path for reading.
    pub fn readable(&self, path: &str) -> Result<Place, Refusal> {
        let name = normal_name(path)?;
        let file = self.resolve(&name)?;
        Ok(Place { name, file })
    }

    /// Checks a path for writing: as for reading, and not protected.
    pub fn writable(&self, path: &str) -> Result<Place, Refusal> {
        let place = self.readable(path)?;
        let real = place.file.strip_prefix(&self.root).unwrap_or(&place.file);
        let inside = |name: &Path| {
            self.protected
                .iter()
                .any(|p| !p.is_empty() && name.starts_with(p))
        };
        if inside(Path::new(&place.name)) || inside(real) {
            return Err(Refusal(format!("`{path}` is protected and must stay as it is")));
        }
        Ok(place)
    }

    /// The bytes of a file; `None` if it does not exist.
    pub fn read(&self, place: &Place) -> Result<Option<Vec<u8>>, Refusal> {
        match fs::metadata(&place.file) {
            Ok(meta) if meta.is_dir() => Err(Refusal(format!("`{}` is a folder", place.name))),
            Ok(meta) if !meta.is_file() => Err(Refusal(format!("`{}` is no regular file", place.name))),
            Ok(meta) if meta.len() > MAX_FILE_BYTES => {
                let mib = MAX_FILE_BYTES >> 20;
                Err(Refusal(format!("`{}` is larger than {mib} MiB", place.name)))
            }
            Ok(_) => fs::read(&place.file)
                .map(Some)
                .map_err(|error| Refusal(format!("`{}` cannot be read: {error}", place.name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Refusal(format!("`{}` cannot be read: {error}", place.name))),
        }
    }

    /// Follows what exists of a path and makes sure that it stays inside.
    fn resolve(&self, name: &str) -> Result<PathBuf, Refusal> {
        let mut real = self.root.clone();
        let mut rest = Path::new(name).components();
        while let Some(part) = rest.next() {
            let next = real.join(part);
            let meta = match fs::symlink_metadata(&next) {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    real = next;
                    // part by part: joining an empty rest would leave a slash at the end
                    real.extend(rest);
                    break;
                }
                Err(error) => return Err(Refusal(format!("`{name}` cannot be used: {error}"))),
            };
            real = if meta.is_symlink() {
                let target = next.canonicalize();
                target.map_err(|_| Refusal(format!("`{name}` goes through a link that leads nowhere")))?
            } else {
                next
            };
            if !real.starts_with(&self.root) {
                return Err(Refusal(format!(
                    "`{name}` leads out of the workspace through a link"
                )));
            }
            if !rest.as_path().as_os_str().is_empty() && !real.is_dir() {
                return Err(Refusal(format!("`{name}` lies below a file, not below a folder")));
            }
        }
        let inside = real.strip_prefix(&self.root).unwrap_or(&real);
        if inside.components().any(is_git) {
            return Err(Refusal(format!("`{name}` belongs to git and must stay as it is")));
        }
        Ok(real)
    }
}

/// The path relative to the tree, without `.` and doubled slashes.
fn normal_name(path: &str) -> Result<String, Refusal> {
    let refuse = |what: &str| Err(Refusal(format!("`{}` {what}", path.escape_debug())));
    if path.is_empty() || path.len() > 1024 {
        return refuse("is no path of 1 to 1024 bytes");
    }
    if path.starts_with(['/', '~'])
        || path
            .get(1..3)
            .is_some_and(|drive| drive == ":\\" || drive == ":/")
    {
        return refuse("is absolute: name files relative to the root of the repository");
    }
    if path.contains(|c: char| c.is_control() || c == '\\' || ('\u{202a}'..='\u{202e}').contains(&c)) {
        return refuse("has a backslash or a control character");
    }
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) if is_git(part) => return refuse("belongs to git and must stay as it is"),
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return refuse("leaves the workspace: name files relative to the root of the repository");
            }
        }
    }
    if parts.is_empty() || path.ends_with('/') {
        return refuse("names no file");
    }
    Ok(parts.join("/"))
}

fn is_git(part: Component<'_>) -> bool {
    part.as_os_str().eq_ignore_ascii_case(".git")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_paths_inside_are_usable() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("tree");
        fs::create_dir_all(root.join("src")).expect("folders");
        fs::create_dir_all(root.join(".git")).expect("folders");
        fs::write(root.join("src/a.rs"), "a").expect("a file");
        fs::write(dir.path().join("outside"), "o").expect("a file");
        symlink("../outside", root.join("out")).expect("a link");
        symlink("..", root.join("up")).expect("a link");
        symlink(".git", root.join("alias")).expect("a link");
        symlink("nowhere", root.join("dangling")).expect("a link");
        symlink("src", root.join("inside")).expect("a link");
        let tree = Tree::open(&root, &["LICENSE".into(), "vendor/".into()]).expect("a tree");
        for bad in [
            "",
            "/etc/passwd",
            "../outside",
            "src/../../outside",
            "~/x",
            "C:/x",
            "a\\b",
            ".git/config",
            "src/.GIT/x",
            "out",
            "up/outside",
            "up/tree/src/a.rs",
            "alias/config",
            "dangling",
            "src/",
            ".",
            "src/a.rs/b",
            "LICENSE",
            "vendor/x",
            "a\nb",
        ] {
            assert!(tree.writable(bad).is_err(), "{bad:?}");
        }
        let good = tree.writable("./src//a.rs").expect("usable");
        assert_eq!(good.name, "src/a.rs");
        let linked = tree.writable("inside/a.rs").expect("usable");
        assert_eq!(linked.file, tree.root().join("src/a.rs"));
        assert_eq!(
            tree.read(&tree.writable("new/deep/file").expect("usable")),
            Ok(None)
        );
        assert!(tree.readable("LICENSE").is_ok());
        assert!(tree.read(&tree.readable("src").expect("inside")).is_err());
    }
}
