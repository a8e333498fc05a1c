//! Is the README of this package true? Its commands have the arguments that it gives them, its
//! profile is one.

use super::{PROGRAM, Scratch, run};
use std::collections::HashMap;
use std::fs;
use std::process::Command;

const README: &str = include_str!("../README.md");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = match language {
        "sh" => "```sh\n",
        _ => "```toml\n",
    };
    let parts = README.split(fence).skip(1);
    parts.map(|part| part.split("\n```").next().expect("a block ends")).collect()
}

#[test]
fn its_commands_have_these_arguments() {
    let mut help = HashMap::new();
    let lines = blocks("sh").into_iter().flat_map(str::lines);
    let mut seen = 0;
    for line in lines {
        let words: Vec<&str> = line.split('#').next().unwrap().split_whitespace().collect();
        let [program, command, rest @ ..] = &words[..] else { panic!("{line}") };
        assert_eq!(*program, "baton-load", "{line}");
        let help = help.entry(*command).or_insert_with(|| run(&[command, "--help"]).0);
        for long in rest.iter().filter(|word| word.starts_with("--")) {
            let there = help.split_whitespace().any(|word| word == *long);
            assert!(there, "{line}: {command} has no {long}");
            seen += 1;
        }
    }
    assert!(seen > 10);
}

#[test]
fn its_profile_can_be_sent_and_served() {
    let scratch = Scratch::new("readme");
    let blocks = blocks("toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        let path = scratch.path("profile.toml");
        fs::write(&path, block).unwrap();
        // Read before anything is connected to, and there is nothing at that port.
        let common = ["send", "--to", "127.0.0.1:1", "--messages", "1", "--profile", &path];
        let output = Command::new(PROGRAM).args(common).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("cannot connect"), "{said}");
    }
}
