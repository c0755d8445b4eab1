//! How busy the machine is, from the kernel's own files.

use std::{fs, path::Path};

use protocol::worker::Load;

/// Reads the load now; what cannot be read counts as nothing.
pub fn load(folder: &Path) -> Load {
    let disk_free = rustix::fs::statvfs(folder).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    Load {
        load1: fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok())
            .unwrap_or_default(),
        memory_available: memory("MemAvailable:"),
        disk_free,
    }
}

/// Memory of the machine in GiB, rounded: 8 for a machine of 8 GB.
pub(super) fn memory_gib() -> u64 {
    (memory("MemTotal:") + (1 << 29)) >> 30
}

fn memory(name: &str) -> u64 {
    fs::read_to_string("/proc/meminfo").map_or(0, |text| field(&text, name) << 10)
}

/// The kilobytes of a line such as `MemTotal:  8000000 kB`.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let text = "MemTotal:        8000000 kB\nMemAvailable:    4000000 kB\n";
        assert_eq!(field(text, "MemAvailable:"), 4_000_000);
        assert_eq!(field(text, "SwapTotal:"), 0);
        let load = load(Path::new("/"));
        assert!(load.memory_available > 0 && load.disk_free > 0);
        assert!(memory_gib() > 0);
    }
}
