//! Small git repositories, each with a failing test.

use std::{fs, path::Path, process::Command};

/// A repository in one language, and the file that mends it.
pub struct Sample {
    /// For messages.
    pub name: &'static str,
    /// The program without which its tests cannot run.
    pub needs: &'static str,
    /// Path and text of each file.
    pub files: &'static [(&'static str, &'static str)],
    /// The file to mend.
    pub path: &'static str,
    /// Its right text.
    pub mended: &'static str,
    /// How its tests are run.
    pub test: &'static [&'static str],
}

/// One per language that a bare machine may have.
pub const SAMPLES: &[Sample] = &[
    Sample {
        name: "shell",
        needs: "sh",
        files: &[
            ("add.sh", "#!/bin/sh\necho $(($1 - $2))\n"),
            (
                "test.sh",
                "#!/bin/sh\nset -e\ntest \"$(sh add.sh 2 3)\" = 5\necho passed\n",
            ),
        ],
        path: "add.sh",
        mended: "#!/bin/sh\necho $(($1 + $2))\n",
        test: &["sh", "test.sh"],
    },
    Sample {
        name: "make",
        needs: "make",
        files: &[
            ("greet.sh", "#!/bin/sh\necho \"hello $1\"\n"),
            (
                "Makefile",
                "test:\n\ttest \"$$(sh greet.sh Ada)\" = 'Hello, Ada'\n",
            ),
        ],
        path: "greet.sh",
        mended: "#!/bin/sh\necho \"Hello, $1\"\n",
        test: &["make", "test"],
    },
    Sample {
        name: "rust",
        needs: "cargo",
        files: &[
            (
                "Cargo.toml",
                "[package]\nname = \"sample\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
            ),
            (
                "Cargo.lock",
                "version = 3\n\n[[package]]\nname = \"sample\"\nversion = \"0.1.0\"\n",
            ),
            (".gitignore", "/target\n"),
            (
                "src/lib.rs",
                "pub fn twice(n: i32) -> i32 {\n    n + 2\n}\n\n#[test]\nfn doubles() {\n    assert_eq!(twice(5), 10);\n}\n",
            ),
        ],
        path: "src/lib.rs",
        mended: "pub fn twice(n: i32) -> i32 {\n    n * 2\n}\n\n#[test]\nfn doubles() {\n    assert_eq!(twice(5), 10);\n}\n",
        test: &["cargo", "test", "--offline", "--quiet"],
    },
];

/// Whether a program can be started here.
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

impl Sample {
    /// Makes the repository with one commit.
    pub fn create(&self, folder: &Path) {
        for (path, text) in self.files {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("writable");
            fs::write(file, text).expect("writable");
        }
        git(folder, &["init", "-q", "-b", "main"]);
        git(folder, &["add", "-A"]);
        git(folder, &["commit", "-q", "-m", "sample"]);
    }
}

/// Runs git as somebody, without anybody's settings.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@localhost"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git starts");
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
