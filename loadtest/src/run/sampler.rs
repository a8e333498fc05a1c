//! What the relay's processes use, looked at every 250 ms while a run goes on.
//!
//! All processes below the given ones count, by the parents that `/proc` names. CPU time is the sum
//! of each living process's clock (nanoseconds) and, for those that have ended, of what their
//! parents were told when they waited for them, which `/proc/PID/stat` gives in ticks: exact to 10
//! ms for each process that has had children. A process that gives up its parent before it ends is
//! lost; daemons under a master, such as Postfix's, do not. Memory is resident memory; that of
//! several processes is the sum of their shares (`Pss`), because pages that they have in common
//! would else count in each. The kernel walks all pages for that, so it is asked once a second
//! only.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::kernel;
use crate::process::{self, Stat};
use crate::progress::PERIOD;

/// Between two looks whether it is to end.
const END_LOOK: Duration = Duration::from_millis(10);

/// One look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// `kernel::monotonic`.
    pub at: Duration,
    /// Never less than in the sample before.
    pub cpu: Duration,
    /// Of the last weighing.
    pub memory: u64,
}

/// How many samples have one weighing of several processes.
const WEIGHED_EACH: u64 = 4;

/// Looks at processes from its start to its end.
pub struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    roots: Vec<u32>,
}

impl Sampler {
    /// Looks at once, and then until `end`.
    pub fn start(roots: Vec<u32>) -> Sampler {
        let samples = Arc::new(Mutex::new(vec![look(&roots)]));
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (samples, over, roots) = (samples.clone(), over.clone(), roots.clone());
            move || {
                for number in 1.. {
                    if !wait(&over) {
                        return;
                    }
                    let tree = tree(&roots);
                    let weighing = tree.len() == 1 || number % WEIGHED_EACH == 0;
                    push(&samples, sample(&tree, if weighing { Weigh::Yes } else { Weigh::No }));
                }
            }
        });
        Sampler { samples, over, thread: Some(thread), roots }
    }

    /// All samples, the last one taken now. None when there are no processes to look at.
    pub fn end(mut self) -> Vec<Sample> {
        self.join();
        push(&self.samples, look(&self.roots));
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if self.roots.is_empty() { Vec::new() } else { std::mem::take(&mut *samples) }
    }

    fn join(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.join();
    }
}

/// A period; whether to go on.
fn wait(over: &AtomicBool) -> bool {
    let end = kernel::monotonic() + PERIOD;
    while !over.load(Ordering::Relaxed) && kernel::monotonic() < end {
        thread::sleep(END_LOOK);
    }
    !over.load(Ordering::Relaxed)
}

fn push(samples: &Mutex<Vec<Sample>>, mut sample: Sample) {
    let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
    let last = samples.last().copied().unwrap_or_default();
    // One that ended between the look at its parent and the look at itself is missed once.
    sample.cpu = sample.cpu.max(last.cpu);
    if sample.memory == 0 {
        sample.memory = last.memory;
    }
    samples.push(sample);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weigh {
    Yes,
    No,
}

/// All processes below `roots`, these included.
pub fn look(roots: &[u32]) -> Sample {
    sample(&tree(roots), Weigh::Yes)
}

/// CPU time of all processes below `roots`, these included.
pub fn cpu(roots: &[u32]) -> Duration {
    sample(&tree(roots), Weigh::No).cpu
}

fn sample(tree: &[(u32, Stat)], weigh: Weigh) -> Sample {
    let mut sample = Sample { at: kernel::monotonic(), ..Sample::default() };
    for (pid, stat) in tree {
        sample.cpu += stat.children + process::cpu_time(*pid).unwrap_or(Duration::ZERO);
        if weigh == Weigh::Yes {
            let whole = || process::memory(*pid).map_or(0, |memory| memory.resident);
            let share = if tree.len() == 1 { None } else { process::share_of_memory(*pid) };
            sample.memory += share.unwrap_or_else(whole);
        }
    }
    sample
}

/// The numbers of all of them.
pub fn pids(roots: &[u32]) -> Vec<u32> {
    tree(roots).into_iter().map(|(pid, _)| pid).collect()
}

/// Parents come before their children.
fn tree(roots: &[u32]) -> Vec<(u32, Stat)> {
    if roots.is_empty() {
        return Vec::new();
    }
    let mut children: HashMap<u32, Vec<(u32, Stat)>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for pid in pids {
        if let Some(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    let mut found: Vec<_> =
        roots.iter().filter_map(|pid| Some((*pid, Stat::read(*pid)?))).collect();
    let mut next = 0;
    while let Some((pid, _)) = found.get(next) {
        let mut below = children.remove(pid).unwrap_or_default();
        // Roots may be below each other.
        below.retain(|(pid, _)| !roots.contains(pid));
        found.extend(below);
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell with a child that uses some CPU time and ends, and then with one that stays.
    const SCRIPT: &str = "(i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done) & wait; sleep 600 &
        echo ready; wait";

    #[test]
    fn children_count_while_they_live_and_when_they_have_ended() {
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", SCRIPT]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let all = pids(&[shell.id()]);
        let seen = look(&[shell.id()]);
        let own = process::cpu_time(shell.id()).unwrap();
        for pid in &all {
            kernel::signal(kernel::Target::Process(*pid), libc::SIGKILL);
        }
        shell.wait().unwrap();
        assert_eq!((line.as_str(), all.len(), all[0]), ("ready\n", 2, shell.id()));
        // The shell itself has only waited.
        assert!(seen.cpu >= own + Duration::from_millis(20), "{seen:?} {own:?}");
        assert!(seen.memory > 0);
        assert_eq!(look(&[]).memory, 0);
    }

    #[test]
    fn samples_never_go_back() {
        let sampler = Sampler::start(vec![std::process::id()]);
        let samples = sampler.end();
        assert!(samples.len() >= 2 && samples[0].memory > 0);
        assert!(samples.windows(2).all(|two| two[0].at <= two[1].at && two[0].cpu <= two[1].cpu));
        assert!(Sampler::start(Vec::new()).end().is_empty());
    }
}
