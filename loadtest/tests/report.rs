//! `baton-load report` and `compare` on files: what they print, write and exit with.

use std::fs;
use std::process::{Command, Output};

use super::{PROGRAM, Scratch};

const REPORT: &str = include_str!("../src/report/format_1.json");

fn run(arguments: &[&str]) -> (String, String, i32) {
    let Output { status, stdout, stderr } = Command::new(PROGRAM).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

#[test]
fn a_report_is_told_in_three_ways() {
    let scratch = Scratch::new("report");
    let (file, page) = (scratch.path("a.json"), scratch.path("a.html"));
    fs::write(&file, REPORT).unwrap();
    let (text, _, code) = run(&["report", &file]);
    assert_eq!(code, 0);
    assert!(text.contains("100,000 accepted = 100,000 delivered"), "{text}");
    let (table, _, code) = run(&["report", &file, "--markdown"]);
    assert_eq!(code, 0);
    assert!(table.starts_with("| scenario | rounds | relay |"), "{table}");
    fs::write(&page, "old").unwrap();
    let (told, _, code) = run(&["report", &file, "--html", &page]);
    assert_eq!((told, code), (format!("wrote {page}\n"), 0));
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>\n<html "));
    assert_eq!(run(&["report", &file, "--html", &page, "--markdown"]).2, 2);
}

#[test]
fn what_is_not_a_report_is_named_with_its_place() {
    let scratch = Scratch::new("no-report");
    let file = scratch.path("a.json");
    fs::write(&file, REPORT.replace("\"round\": 1", "\"round\": \"one\"")).unwrap();
    for arguments in [&["report", &file][..], &["compare", &file, &file]] {
        let (_, told, code) = run(arguments);
        assert_eq!(code, 2);
        let start = format!("baton-load: {file}:30:");
        assert!(told.starts_with(&start) && told.contains("expected u32"), "{told}");
    }
    let (_, told, code) = run(&["report", &scratch.path("none.json")]);
    assert!(code == 2 && told.contains("none.json: "), "{told}");
}

#[test]
fn a_comparison_fails_only_where_it_is_asked_to() {
    let scratch = Scratch::new("compare");
    let (a, b) = (scratch.path("a.json"), scratch.path("b.json"));
    fs::write(&a, REPORT).unwrap();
    let slower = REPORT.replace("\"relayed_per_s\": 10000.0", "\"relayed_per_s\": 8000.0");
    fs::write(&b, slower).unwrap();
    let (text, _, code) = run(&["compare", &a, &b]);
    assert_eq!(code, 0);
    assert!(text.contains("0.80x  worse, one round each"), "{text}");
    let (text, _, code) = run(&["compare", &a, &b, "--worse", "10"]);
    assert_eq!(code, 1);
    assert!(text.ends_with("  steady, baton: messages/s 8,000, was 10,000\n"), "{text}");
    assert_eq!(run(&["compare", &a, &b, "--worse", "25"]).2, 0);
    assert_eq!(run(&["compare", &b, &a, "--worse", "0"]).2, 0);
    for percent in ["-1", "NaN", "ten"] {
        assert_eq!(run(&["compare", &a, &b, &format!("--worse={percent}")]).2, 2, "{percent}");
    }
}
