//! How many instructions the hot pure parts take: `make bench-counts`.
//!
//! Time on a busy machine says little about a change of a few per cent; the number of instructions
//! is the same in every run. Each case of `cases/` runs in a process of its own under valgrind's
//! callgrind, which counts inside of [`counted`] and nowhere else: neither input nor checks are in
//! it. The result is compared with `counts.txt`, which is part of the tree. What moved by more than
//! one per cent fails the run until `--bless` writes the file anew: a price is paid knowingly.
//!
//! ```text
//! cargo bench --bench counts -- [--bless | PART OF A NAME]
//! ```
//! The profile of each case stays in `target/tmp/counts` for callgrind_annotate. Instructions are
//! not time: one that misses the cache counts as one. Where it matters `micro.rs` has the last word.
//!
//! A harness of our own, and not gungraun (iai-callgrind): that one needs a runner of exactly its
//! own version installed beside it, and its cases live in attributes, where `micro.rs` could not
//! use them. This needs valgrind.

mod cases;

use cases::{Case, Meter, Work};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Runs before the first that counts: what is done once in a process is done then.
const WARM_RUNS: usize = 8;
/// Runs that count. More than one, because a table grows in one run and not in the next.
const RUNS: u64 = 64;
/// What the counted function is called for callgrind.
const COUNTED: &str = "*counts::counted*";
/// Changes up to this many in 10,000 are let pass: another version of a library, a moved branch.
const CHANGE_MAX: u64 = 100;
/// The word before the name of a case in the process that runs it.
const CASE: &str = "--case";

fn main() -> ExitCode {
    // `cargo bench` adds the first of these.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [CASE, name] => {
            run_case(name);
            return ExitCode::SUCCESS;
        }
        [] => measure("").and_then(|counts| compare(&counts)),
        ["--bless"] => measure("").and_then(|counts| bless(&counts)),
        [part] if !part.starts_with('-') => measure(part).and_then(|counts| compare(&counts)),
        _ => Err("usage: counts [--bless | PART OF A NAME]".to_owned()),
    };
    done.unwrap_or_else(|words| {
        eprintln!("{words}");
        ExitCode::from(2)
    })
}

/// What one run of a case takes.
struct Count {
    name: &'static str,
    work: Work,
    instructions: u64,
}

impl Count {
    /// For each unit of what a case with many works through.
    fn rate(&self) -> String {
        let per = |units: u64| self.instructions as f64 / units as f64;
        match self.work {
            Work::Elements(1) => String::new(),
            Work::Elements(count) => format!("{:.1} each", per(count)),
            Work::Bytes(bytes) => format!("{:.2} a byte", per(bytes)),
        }
    }
}

struct Counted;

impl Meter for Counted {
    fn measure<I, O>(
        &mut self,
        mut prepare: impl FnMut() -> I,
        mut run: impl FnMut(I) -> O,
        check: impl Fn(&O),
    ) {
        (0..WARM_RUNS).for_each(|_| check(&run(prepare())));
        (0..RUNS).for_each(|_| check(&counted(&mut run, prepare())));
    }
}

/// What callgrind counts.
#[inline(never)]
fn counted<I, O>(run: &mut impl FnMut(I) -> O, input: I) -> O {
    black_box(run(black_box(input)))
}

/// In the process under callgrind.
fn run_case(name: &str) {
    let case = cases::all().into_iter().find(|case| case.name == name).expect("a case");
    (case.run)(&mut Counted);
}

/// The cases with `part` in their name, in the order of the table.
fn measure(part: &str) -> Result<Vec<Count>, String> {
    let profiles = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counts");
    fs::create_dir_all(&profiles).map_err(|error| format!("{}: {error}", profiles.display()))?;
    let mut picked = cases::all::<Counted>();
    picked.retain(|case| case.name.contains(part));
    if picked.is_empty() {
        return Err(format!("no case has {part:?} in its name; all stand in {}", file().display()));
    }
    picked
        .into_iter()
        .map(|Case { name, work, .. }| {
            let profile = profiles.join(name.replace('/', "-"));
            Ok(Count { name, work, instructions: count(name, &profile)? / RUNS })
        })
        .collect()
}

/// Runs one case; instructions of all its runs.
fn count(name: &str, profile: &Path) -> Result<u64, String> {
    let failed = |why: &dyn fmt::Display| format!("{name}: {why}");
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let output = Command::new("valgrind")
        // Variables lie on the stack: how many there are would decide how it is aligned.
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .args(["-q", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args([CASE, name])
        .output()
        .map_err(|error| failed(&format!("valgrind cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    let profile = fs::read_to_string(profile).map_err(|error| failed(&error))?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    match total.and_then(|total| total.trim().parse().ok()) {
        Some(0) | None => Err(failed(&format!("callgrind saw no function {COUNTED}"))),
        Some(total) => Ok(total),
    }
}

/// The counts that are part of the tree.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts.txt")
}

/// What the counts depend on beside the source.
fn tools() -> String {
    let version = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let words = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&words).trim().to_owned()
    };
    let (rustc, valgrind) = (version("rustc", "--version"), version("valgrind", "--version"));
    let libc = version("getconf", "GNU_LIBC_VERSION");
    // memchr and the C library choose by it, also under valgrind.
    let vectors = if has_avx2() { "with AVX2" } else { "without AVX2" };
    format!("{rustc}, {valgrind}, {libc}, {} {vectors}", std::env::consts::ARCH)
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

fn bless(counts: &[Count]) -> Result<ExitCode, String> {
    let mut text = String::from(
        "# Instructions of one run of each case of benches/cases.\n\
         # Written by `make bench-counts FLAGS=--bless`, with\n",
    );
    writeln!(text, "# {}", tools()).expect("a String takes every write");
    for Count { name, instructions, .. } in counts {
        writeln!(text, "{name:32}{instructions:>10}").expect("a String takes every write");
    }
    let file = file();
    fs::write(&file, &text).map_err(|error| format!("{}: {error}", file.display()))?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Prints what there is now beside what the file says; fails where they differ.
fn compare(counts: &[Count]) -> Result<ExitCode, String> {
    let file = file();
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let known = known(&text)?;
    let mut moved = 0;
    let cases = cases::all::<Counted>();
    let is_gone = |name: &&&str| cases.iter().all(|case| case.name != **name);
    for name in known.keys().filter(is_gone) {
        println!("{name:32}      none  not a case any more");
        moved += 1;
    }
    for count in counts {
        let Count { name, instructions: now, .. } = count;
        let verdict = match known.get(name) {
            Some(was) if now.abs_diff(*was) * 10_000 <= CHANGE_MAX * was => String::new(),
            Some(was) => format!("{:+.2} % of {was}", (*now as f64 / *was as f64 - 1.0) * 100.0),
            None => "not in the file".to_owned(),
        };
        moved += usize::from(!verdict.is_empty());
        println!("{name:32}{now:>10}  {:16}{verdict}", count.rate());
    }
    let tools = tools();
    if !text.lines().any(|line| line.strip_prefix("# ") == Some(&tools)) {
        println!("The file was written with other tools than these: {tools}");
    }
    if moved == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{moved} differ from benches/counts.txt. Where that is meant to be, write it anew:");
    println!("make bench-counts FLAGS=--bless");
    Ok(ExitCode::FAILURE)
}

/// Name and count of each line that is no comment.
fn known(text: &str) -> Result<BTreeMap<&str, u64>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            let (name, count) = line.split_once(' ').unwrap_or((line, ""));
            let count = count.trim().parse().ok().filter(|count| *count > 0);
            let known = count.map(|count| (name, count));
            known.ok_or_else(|| {
                format!("benches/counts.txt:{}: no line of a name and a number: {line}", index + 1)
            })
        })
        .collect()
}

/// Stands in for the C library's: what std draws the keys of its hash tables from. With other keys
/// other entries collide, and no two runs would count the same (a look-up in the DNS cache moved by
/// 5 %). std refers to it as a weak symbol, so this one is taken. Nothing here needs a secret.
#[expect(unsafe_code, reason = "a symbol with the C library's name and signature")]
mod fixed {
    #[unsafe(no_mangle)]
    extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
        // SAFETY: the caller of getrandom(2) hands over `length` octets that may be written.
        unsafe { std::ptr::write_bytes(buffer, 0x5a, length) };
        length as isize
    }
}
