//! Room that is kept for the day when the disk is full: a file that is given up when the last words
//! must still be written, and held again once there is room.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

/// How much is kept: ends of some thousand steps, and little on the smallest memory card.
pub const BYTES: u64 = 8 << 20;
/// What must be free beside it: what was just given up is not taken away again from whom it is for.
const BESIDE: u64 = 8 << 20;

/// The file. Owned by whoever writes what must not be lost.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    is_held: bool,
}

impl Ballast {
    /// Not held yet. Gives up what an earlier process kept there: a start on a full disk needs it.
    pub fn new(path: PathBuf) -> Self {
        // mostly there is none; where it cannot be removed it is held as it is
        let _ = fs::remove_file(&path);
        Self { path, is_held: false }
    }

    /// Whether the room is kept.
    pub const fn is_held(&self) -> bool {
        self.is_held
    }

    /// Keeps the room, if it is not kept already; an error says that there is none.
    pub fn hold(&mut self) -> io::Result<()> {
        if self.is_held {
            return Ok(());
        }
        let held = File::create(&self.path).and_then(|file| reserve(&file));
        if held.is_err() {
            // what was taken of the last room is given back
            let _ = fs::remove_file(&self.path);
        }
        self.is_held = held.is_ok();
        held
    }

    /// Gives the room up; whether there was any.
    pub fn release(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.is_held);
        was_held && fs::remove_file(&self.path).is_ok()
    }
}

fn reserve(file: &File) -> io::Result<()> {
    let disk = fstatvfs(file)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < BYTES + BESIDE {
        return Err(io::ErrorKind::StorageFull.into());
    }
    match fallocate(file, FallocateFlags::empty(), 0, BYTES) {
        // not every file system can reserve: there the bytes are written
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let mut noughts = io::Read::take(io::repeat(0), BYTES);
            io::copy(&mut noughts, &mut &*file)?;
        }
        reserved => reserved?,
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_room_is_there_until_it_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ballast");
        let mut ballast = Ballast::new(path.clone());
        assert!(!ballast.release(), "nothing was held");
        ballast.hold().expect("there is room");
        assert_eq!(fs::metadata(&path).expect("a file").len(), BYTES);
        ballast.hold().expect("held already");
        assert!(ballast.release());
        assert!(!path.exists());
        assert!(!ballast.is_held());
    }

    #[test]
    fn a_new_process_begins_with_the_room_of_the_last_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ballast");
        Ballast::new(path.clone()).hold().expect("there is room");
        let ballast = Ballast::new(path.clone());
        assert!(!ballast.is_held());
        assert!(!path.exists());
    }

    #[test]
    fn where_there_is_no_room_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ballast = Ballast::new(folder.path().join("missing/ballast"));
        ballast.hold().expect_err("no such folder");
        assert!(!ballast.is_held());
        assert!(!ballast.release());
    }
}
