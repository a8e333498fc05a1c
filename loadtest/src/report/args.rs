//! `baton-load report` and `baton-load compare`: reports that are there already, told again.
//!
//! Both read files and print; what is printed comes from the pure half of this folder. A reader of
//! standard output that goes away, such as `head`, is no error.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::compare::compare;
use super::{file, html, text};
use crate::error::Error;

#[derive(clap::Args)]
pub struct Report {
    /// Report of `run`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write it as a page for a browser, which needs no network; instead of the text
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the main table as markdown; instead of the text
    #[arg(long, conflicts_with = "html")]
    markdown: bool,
}

#[derive(clap::Args)]
pub struct Compare {
    /// Report of `run` to compare with
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Report of `run` that is compared
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Exit with 1 when a figure is worse in B by more than this, and beyond the spread of the
    /// rounds
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    worse: Option<f64>,
}

pub fn report(args: &Report) -> Result<ExitCode, Error> {
    let report = file::read(&args.file)?;
    match &args.html {
        Some(page) => {
            file::replace(page, &html::page(&report))?;
            print(&format!("wrote {}\n", page.display()));
        }
        None if args.markdown => print(&text::markdown(&report)),
        None => print(&text::text(&report)),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn compare_two(args: &Compare) -> Result<ExitCode, Error> {
    let (a, b) = (file::read(&args.a)?, file::read(&args.b)?);
    let comparison = compare(&a, &b);
    let (name_a, name_b) = (args.a.display(), args.b.display());
    print(&format!("A  {name_a}, {}\nB  {name_b}, {}\n\n", a.started, b.started));
    print(&comparison.text());
    let Some(percent) = args.worse else {
        return Ok(ExitCode::SUCCESS);
    };
    let worse = comparison.worse(percent);
    if worse.is_empty() {
        print(&format!("\nnothing is worse by more than {percent} %, beyond the spread\n"));
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("\nworse by more than {percent} %, beyond the spread:\n"));
    worse.iter().for_each(|line| print(&format!("  {line}\n")));
    Ok(ExitCode::FAILURE)
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
    percent.ok_or("a number from 0 up".to_owned())
}

fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
