//! A file system of a test's own, on which disks can fail.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use e2e::eventually;

/// For a controller on a disk that is smaller than what uploads leave free by default.
pub(crate) const SMALL: &str = "limits: {free_bytes: 0}\n";

/// Mounted on a folder; unmounted with the test.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    image: PathBuf,
}

impl Disk {
    /// A new file system of this kind on this new folder; why not, where that is impossible.
    pub(crate) fn new(kind: &str, megabytes: u32, folder: PathBuf) -> Result<Self, String> {
        let image = folder.with_extension("image");
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let size = format!("{megabytes}M");
        done("truncate", &["-s", &size, text(&image)])?;
        let quiet_and_anyway = match kind {
            "ext4" => ["-q", "-F"],
            _ => ["-q", "-f"],
        };
        done(
            &format!("mkfs.{kind}"),
            &[&quiet_and_anyway[..], &[text(&image)]].concat(),
        )?;
        let disk = Self { folder, image };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        done("mount", &["-o", "loop", text(&self.image), text(&self.folder)])
    }

    /// What was not synced is gone from now on, and nothing can be written any more.
    pub(crate) fn cut_power(&self) -> Result<(), String> {
        done("xfs_io", &["-x", "-c", "shutdown", text(&self.folder)])
    }

    /// What a start of the machine does; nobody may have a file open.
    pub(crate) fn restore_power(&self) {
        eventually("the disk to be unmounted", || {
            done("umount", &[text(&self.folder)]).ok()
        });
        self.mount().expect("the disk can be mounted again");
    }

    /// Makes it unwritable, or writable again.
    pub(crate) fn remount(&self, how: &str) -> Result<(), String> {
        done("mount", &["-o", &format!("remount,{how}"), text(&self.folder)])
    }

    /// Takes what is left of it.
    pub(crate) fn fill(&self) {
        let mut filling = File::create(self.filling()).expect("room for a name");
        for size in [64 * 1024, 512] {
            while filling.write_all(&vec![0; size]).is_ok() {}
        }
        // delayed allocation finds out only now
        let _ = filling.sync_all();
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filling()).expect("it was filled");
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("filling")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // lazily, should a process still have a file open
        let _ = done("umount", &["-l", text(&self.folder)]);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Runs a program; the error is its last line.
fn done(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output
        .status
        .success()
        .then_some(())
        .ok_or(format!("{program}: {errors}"))
}
