//! The machine that a run was measured on, and the disk of the queue, as `/proc` and `/sys` tell.
//!
//! What cannot be read is called unknown; a report with a wrong machine would be worse.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::report::model::Machine;

const UNKNOWN: &str = "unknown";
/// `USER_HZ`, as in `process.rs`.
const TICK: Duration = Duration::from_millis(10);
/// File systems that keep everything in memory.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

pub fn describe(work: &Path, versions: Vec<(String, String)>) -> Machine {
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| UNKNOWN.to_owned()),
        cores: thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
        memory_bytes: field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib << 10),
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(|| UNKNOWN.to_owned()),
        disk: mount(work).map_or_else(|| UNKNOWN.to_owned(), |mount| mount.words()),
        versions,
    }
}

/// An error if nothing is ever synced there.
pub fn must_be_disk(work: &Path) -> Result<(), Error> {
    match mount(work) {
        Some(mount) if mount.is_memory() => {
            Err(Error::NoDisk { path: work.to_owned(), file_system: mount.file_system })
        }
        _ => Ok(()),
    }
}

/// CPU time of all programs of the machine since its boot, in ticks of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Busy {
    /// Of this machine's programs and its kernel.
    pub programs: Duration,
    /// Taken by the host for other machines.
    pub stolen: Duration,
}

impl Busy {
    pub fn now() -> Option<Busy> {
        Busy::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn read(text: &str) -> Option<Busy> {
        let numbers = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u32> = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = ticks[..] else {
            return None;
        };
        let programs = [user, nice, system, irq, softirq].map(|ticks| TICK * ticks);
        Some(Busy { programs: programs.iter().sum(), stolen: TICK * stolen })
    }

    pub fn since(self, before: Busy) -> Busy {
        Busy {
            programs: self.programs.saturating_sub(before.programs),
            stolen: self.stolen.saturating_sub(before.stolen),
        }
    }
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq)]
struct Mount {
    /// `MAJOR:MINOR`.
    device: String,
    point: PathBuf,
    file_system: String,
}

impl Mount {
    fn is_memory(&self) -> bool {
        IN_MEMORY.contains(&self.file_system.as_str())
    }

    fn words(&self) -> String {
        let folder = PathBuf::from("/sys/dev/block").join(&self.device);
        // A partition has no queue of its own; the disk is the folder above.
        let folders = [folder.join("queue"), folder.join("../queue")];
        let kind = folders.iter().find_map(|queue| read(queue.join("rotational").to_str()?));
        let name = fs::canonicalize(&folder).ok();
        let name = name.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        match (name, kind.as_deref()) {
            (Some(name), Some("0")) => format!("{} on {name}, not rotating", self.file_system),
            (Some(name), Some(_)) => format!("{} on {name}, rotating", self.file_system),
            _ => self.file_system.clone(),
        }
    }
}

/// What is mounted where `path` is: the longest mount point that leads to it, the last of its like.
fn mount(path: &Path) -> Option<Mount> {
    find(&fs::read_to_string("/proc/self/mountinfo").ok()?, &fs::canonicalize(path).ok()?)
}

fn find(table: &str, path: &Path) -> Option<Mount> {
    let mounts = table.lines().filter_map(|line| {
        let (place, rest) = line.split_once(" - ")?;
        let place: Vec<&str> = place.split(' ').collect();
        Some(Mount {
            device: (*place.get(2)?).to_owned(),
            // Blanks in names are written as \040.
            point: PathBuf::from(place.get(4)?.replace("\\040", " ")),
            file_system: rest.split(' ').next()?.to_owned(),
        })
    });
    let leading = mounts.filter(|mount| path.starts_with(&mount.point));
    leading.max_by_key(|mount| mount.point.as_os_str().len())
}

/// The value of `name: value`, the first of its name.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim().to_owned())
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let table = "21 1 254:0 / / rw - ext4 /dev/vda rw\n\
                     30 21 0:26 / /var rw shared:1 - tmpfs tmpfs rw\n\
                     31 30 8:1 / /var/my\\040disk rw - xfs /dev/sda1 rw\n";
        let at = |path: &str| {
            let mount = find(table, Path::new(path)).unwrap();
            (mount.is_memory(), mount.file_system)
        };
        assert_eq!(at("/home/a"), (false, "ext4".to_owned()));
        assert_eq!(at("/var/tmp"), (true, "tmpfs".to_owned()));
        assert_eq!(at("/various"), (false, "ext4".to_owned()));
        assert_eq!(at("/var/my disk/b"), (false, "xfs".to_owned()));
    }

    #[test]
    fn idle_time_is_not_busy() {
        let busy = Busy::read("cpu  100 10 50 9000 900 5 6 7 0 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(busy.programs, Duration::from_millis(1710));
        assert_eq!(busy.since(busy).programs, Duration::ZERO);
        assert_eq!(busy.stolen, Duration::from_millis(70));
        assert_eq!(Busy::read("cpu  1 2\n"), None);
        assert!(Busy::now().is_some());
    }

    #[test]
    fn this_machine_can_be_described() {
        assert!(must_be_disk(Path::new("/proc")).is_ok());
        let machine = describe(Path::new("/"), Vec::new());
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20, "{machine:?}");
        assert_ne!(machine.kernel, UNKNOWN);
    }
}
