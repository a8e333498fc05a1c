//! `baton-load cpu`: what a process costs while a command runs.
//!
//! Prints the CPU time and context switches that the watched process used between the start and the
//! end of the command, and per message when it is told how many there were. The command's own cost
//! is not in it. Ends with the command's exit code.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::error::Error;
use crate::process::{self, CpuUse};

#[derive(clap::Args)]
pub struct Args {
    /// Process whose CPU time is measured
    #[arg(long, value_name = "PID")]
    pid: u32,
    /// Messages the command will send: prints the time for each as well
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Command and arguments
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

pub fn run(Args { pid, messages, command }: Args) -> Result<ExitCode, Error> {
    let (program, arguments) = command.split_first().expect("clap asks for a command");
    let failed = |source| Error::Command { program: program.clone(), source };
    let before = process::cpu(pid)?;
    let start = Instant::now();
    let status = Command::new(program).args(arguments).status().map_err(failed)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = process::cpu(pid)?;
    println!("{}", line(pid, messages, seconds, &before, &after));
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn line(pid: u32, messages: Option<u64>, seconds: f64, before: &CpuUse, after: &CpuUse) -> String {
    let total = after.total.saturating_sub(before.total);
    let user = after.user.saturating_sub(before.user);
    let system = after.system.saturating_sub(before.system);
    let mut line = format!(
        "cpu: pid={pid} cpu_us={} user_us={} system_us={} voluntary_switches={} \
         involuntary_switches={} seconds={seconds:.3}",
        total.as_micros(),
        user.as_micros(),
        system.as_micros(),
        after.voluntary_switches.saturating_sub(before.voluntary_switches),
        after.involuntary_switches.saturating_sub(before.involuntary_switches),
    );
    if let Some(messages) = messages.filter(|messages| *messages > 0) {
        let each = total.as_secs_f64() * 1e6 / messages as f64;
        line.push_str(&format!(" messages={messages} cpu_us_per_message={each:.1}"));
    }
    line
}
