//! The binary: arguments in, exit code out.
//!
//! 0 means done, 1 that the relay or a command failed while at work, 2 that the configuration
//! or the command line is wrong. What the commands do is in `command.rs`, what the relay does in the
//! library.

mod command;

use clap::Parser;
use command::Command;
use std::process::ExitCode;

/// Outbound SMTP relay with a built-in abuse filter and reputation system.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    Arguments::parse().command.execute()
}
