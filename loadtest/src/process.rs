//! What `/proc` says of another process: memory, context switches, CPU time by kind.
//!
//! Reads only; CPU time with nanosecond precision comes from the process's clock (`kernel.rs`).

use std::fs;
use std::io;
use std::time::Duration;

use crate::error::Error;
use crate::kernel;

/// `USER_HZ`: the unit of times in `/proc/PID/stat` on every architecture of Linux but old alpha.
const TICK: Duration = Duration::from_millis(10);

/// CPU use of a process up to now.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuUse {
    /// User and system time, of all threads that ever ran, in nanoseconds.
    pub total: Duration,
    /// By ticks of 10 ms, so good for a share only.
    pub user: Duration,
    pub system: Duration,
    /// Of the threads that are alive.
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: u64,
    /// Without pages of files and shared memory.
    pub anonymous: u64,
}

pub fn cpu(pid: u32) -> Result<CpuUse, Error> {
    read_cpu(pid).map_err(|source| Error::Process { pid, source })
}

pub fn memory(pid: u32) -> Result<Memory, Error> {
    read_memory(pid).map_err(|source| Error::Process { pid, source })
}

/// CPU time of all threads that ever ran, in nanoseconds; also of a process that has ended and was
/// not waited for.
pub fn cpu_time(pid: u32) -> Result<Duration, Error> {
    kernel::process_cpu(pid).map_err(|source| Error::Process { pid, source })
}

/// Whether it is gone, or only waits for somebody to ask how it ended.
pub fn has_ended(pid: u32) -> bool {
    Stat::read(pid).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}

/// Of `/proc/PID/stat`.
#[derive(Clone, Debug)]
pub struct Stat {
    pub state: char,
    pub parent: u32,
    user: Duration,
    system: Duration,
    /// User and system time of children that ended and were waited for, theirs included; in ticks
    /// of 10 ms.
    pub children: Duration,
}

impl Stat {
    /// Nothing when there is no such process.
    pub fn read(pid: u32) -> Option<Stat> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the process may hold spaces and brackets; fields count from behind the last.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |index: usize| Some(TICK * fields.get(index)?.parse().ok()?);
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            user: ticks(11)?,
            system: ticks(12)?,
            children: ticks(13)? + ticks(14)?,
        })
    }
}

/// Memory of a process in bytes, of which pages that several processes share count in parts
/// (`Pss`). None where this user may not look, or the process is gone.
pub fn share_of_memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(number(&text, "Pss:")? << 10)
}

fn read_cpu(pid: u32) -> io::Result<CpuUse> {
    let stat = Stat::read(pid).ok_or(io::ErrorKind::NotFound)?;
    let mut cpu = CpuUse {
        total: kernel::process_cpu(pid)?,
        user: stat.user,
        system: stat.system,
        ..CpuUse::default()
    };
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else {
            continue;
        };
        cpu.voluntary_switches += number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        cpu.involuntary_switches += number(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(cpu)
}

fn read_memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name| {
        let value = number(&text, name);
        value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no {name}")))
    };
    Ok(Memory { resident: kib("VmRSS:")? << 10, anonymous: kib("RssAnon:")? << 10 })
}

/// The number behind `name` at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        let mut sum = 0u64;
        while cpu(pid).unwrap().total == before.total {
            sum = std::hint::black_box(sum + 1);
        }
        let memory = memory(pid).unwrap();
        assert!(memory.resident > memory.anonymous && memory.anonymous > 0);
    }

    #[test]
    fn names_are_matched_from_the_start_of_a_line() {
        let status =
            "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\nVmRSS:\t 12 kB\n";
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(number(status, "VmRSS:"), Some(12));
        assert_eq!(number(status, "VmHWM:"), None);
    }
}
