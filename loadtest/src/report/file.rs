//! A report as a file: JSON, indented, one per command that ran.
//!
//! Reading checks what serde cannot: the format, and that the columns of a series have one length.
//! Writing is all or nothing, since a report may be the fruit of hours: a new file beside the old
//! one, then a rename. Floats are finite by the format: JSON has no others.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::model::{FORMAT, Report, Run};
use crate::error::Error;

/// What is wrong with a file that should be a report.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Line and column from 1; 0 where the end of the file is the trouble.
    Json {
        line: usize,
        column: usize,
        what: String,
    },
    Later {
        format: u32,
    },
    Uneven {
        run: usize,
        column: &'static str,
        values: usize,
        moments: usize,
    },
}

/// All that every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

pub fn read(path: &Path) -> Result<Report, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    parse(&text).map_err(|wrong| Error::Report { path: path.to_owned(), wrong })
}

/// What cannot be read again, as a float that is no number, is an error; but it is kept, since it
/// may be the only trace of a long run.
pub fn save(report: &Report, path: &Path) -> Result<(), Error> {
    let text = print(report);
    replace(path, &text)?;
    parse(&text).map_err(|wrong| Error::Report { path: path.to_owned(), wrong })?;
    Ok(())
}

/// The whole text or the old file. Used for pages as well.
pub fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let new = beside(path);
    let done = write(&new, text).and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        // Nothing was there before, so nothing may stay; that it failed is told below.
        let _ = fs::remove_file(&new);
    }
    done.map_err(Error::file(path))
}

/// In the same folder, because a rename does not cross file systems.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn print(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("the model is JSON");
    text.push('\n');
    text
}

fn parse(text: &str) -> Result<Report, Wrong> {
    let head: Head = serde_json::from_str(text).map_err(json)?;
    if head.format > FORMAT {
        return Err(Wrong::Later { format: head.format });
    }
    let report: Report = serde_json::from_str(text).map_err(json)?;
    for (run, of) in report.runs.iter().enumerate() {
        even(of).map_err(|(column, values)| Wrong::Uneven {
            run: run + 1,
            column,
            values,
            moments: of.series.at_s.len(),
        })?;
    }
    Ok(report)
}

/// Each column has a value for each moment; those that may be unknown may have none.
fn even(run: &Run) -> Result<(), (&'static str, usize)> {
    let series = &run.series;
    let moments = series.at_s.len();
    let known = [
        ("accepted_per_s", series.accepted_per_s.len()),
        ("delivered_per_s", series.delivered_per_s.len()),
    ];
    let may_be_unknown = [
        ("relay_cores", series.relay_cores.len()),
        ("relay_memory_bytes", series.relay_memory_bytes.len()),
    ];
    let there = may_be_unknown.into_iter().filter(|(_, values)| *values > 0);
    let uneven = known.into_iter().chain(there).find(|(_, values)| *values != moments);
    uneven.map_or(Ok(()), Err)
}

fn json(error: serde_json::Error) -> Wrong {
    // The message ends in the place, which is told before it.
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    Wrong::Json { line: error.line(), column: error.column(), what: what.to_owned() }
}

impl Wrong {
    /// As after the path.
    pub fn told(&self) -> String {
        match self {
            Wrong::Json { line, column, what } => {
                format!(":{line}:{column}: not a report of baton-load: {what}")
            }
            Wrong::Later { format } => format!(
                ": a report of format {format}; this baton-load reads formats up to {FORMAT}"
            ),
            Wrong::Uneven { run, column, values, moments } => format!(
                ": run {run} has {values} values of series.{column} for {moments} moments; \
                 as many are needed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_report_survives_the_journey() {
        for report in [fixture::report(), fixture::hostile()] {
            assert_eq!(parse(&print(&report)), Ok(report));
        }
        let mut bare = fixture::report();
        bare.runs = vec![fixture::bare("idle", 1)];
        assert_eq!(parse(&print(&bare)), Ok(bare));
    }

    /// Written once and kept: a change of the meaning of a field shows here, and needs a new
    /// FORMAT.
    #[test]
    fn format_1_is_what_it_was() {
        let golden = include_str!("format_1.json");
        let mut report = fixture::report();
        report.runs.truncate(1);
        let run = &mut report.runs[0];
        run.notes.push("one peak of load by another program".to_owned());
        run.balance.examples.push("missing a-17 r1@d1.x.test".to_owned());
        for column in [
            &mut run.series.at_s,
            &mut run.series.accepted_per_s,
            &mut run.series.delivered_per_s,
            &mut run.series.relay_cores,
        ] {
            *column = vec![1.5, 2.5];
        }
        run.series.relay_memory_bytes = vec![3, 4];
        assert_eq!(parse(golden).as_ref(), Ok(&report));
        let (now, then) = (print(&report), golden);
        assert_has(&serde_json::from_str(&now).unwrap(), &serde_json::from_str(then).unwrap());
    }

    /// All that was there, under the same name and with the same value; more may have come.
    fn assert_has(now: &Value, then: &Value) {
        match (now, then) {
            (Value::Object(now), Value::Object(then)) => {
                for (name, then) in then {
                    assert_has(now.get(name).expect(name), then);
                }
            }
            (Value::Array(now), Value::Array(then)) if now.len() == then.len() => {
                now.iter().zip(then).for_each(|(now, then)| assert_has(now, then));
            }
            _ => assert_eq!(now, then),
        }
    }

    #[test]
    fn what_is_not_a_report_is_told_with_its_place() {
        let text = print(&fixture::report());
        let told = |text: &str| parse(text).unwrap_err().told();
        assert_eq!(told(""), ":1:0: not a report of baton-load: EOF while parsing a value");
        assert_eq!(
            told("{\n \"format\": \"one\"}"),
            ":2:16: not a report of baton-load: invalid type: string \"one\", expected u32"
        );
        assert_eq!(told("{}"), ":1:2: not a report of baton-load: missing field `format`");
        assert_eq!(
            told("{\"format\": 2, \"new\": []}"),
            ": a report of format 2; this baton-load reads formats up to 1"
        );
        let wrong = told(&text.replace("\"seed\": 7", "\"seed\": -7"));
        assert!(wrong.starts_with(":5:12: ") && wrong.contains("integer `-7`"), "{wrong}");
        // JSON has no numbers that are none.
        assert!(parse(&text.replace("\"seconds\": 10.0", "\"seconds\": 1e999")).is_err());
    }

    #[test]
    fn columns_have_one_length() {
        let mut report = fixture::report();
        report.runs[1].series.relay_cores.clear();
        assert_eq!(parse(&print(&report)), Ok(report.clone()));
        report.runs[1].series.relay_cores.push(1.0);
        assert_eq!(
            parse(&print(&report)).unwrap_err().told(),
            ": run 2 has 1 values of series.relay_cores for 40 moments; as many are needed"
        );
        report.runs[0].series.accepted_per_s.clear();
        let wrong = parse(&print(&report)).unwrap_err();
        assert!(matches!(wrong, Wrong::Uneven { run: 1, column: "accepted_per_s", .. }));
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("baton-report-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("report.json");
        fs::write(&path, "old").unwrap();
        save(&fixture::report(), &path).unwrap();
        assert_eq!(read(&path).unwrap(), fixture::report());
        // A folder cannot be replaced by a file.
        let taken = folder.join("taken");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(save(&fixture::report(), &taken).is_err());
        let mut endless = fixture::report();
        endless.runs[0].relayed_per_s = f64::INFINITY;
        assert!(save(&endless, &path).is_err());
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, 2, "nothing else stays behind");
        assert!(read(&path).unwrap_err().to_string().contains("report.json: "));
    }
}
