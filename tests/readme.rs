//! Is the README true? Its configuration passes the check, its commands run, its paths exist.

use baton::config::Config;
use std::path::Path;
use std::process::Command;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("there is a README")
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|part| part.split("\n```").next().expect("a block ends").to_owned()).collect()
}

#[test]
fn its_configuration_passes_the_check() {
    let blocks = blocks("toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        if let Err(problems) = Config::parse("README.md", &block, "relay.example.net") {
            panic!("{problems:#?}");
        }
    }
}

#[test]
fn its_commands_run() {
    let blocks = blocks("sh");
    let lines = blocks.iter().flat_map(|block| block.lines());
    let mut ran = 0;
    for line in lines.filter_map(|line| line.strip_prefix("baton ")) {
        let words = line.split('#').next().expect("a command").split_whitespace();
        let output = Command::new(env!("CARGO_BIN_EXE_baton"))
            .args(words)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "baton {line}: {output:?}");
        ran += 1;
    }
    assert!(ran >= 3, "the README shows commands");
    let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile");
    let makefile = std::fs::read_to_string(makefile).expect("there is a Makefile");
    for target in blocks.iter().flat_map(|block| block.lines()).filter_map(|line| {
        line.strip_prefix("make ").map(|rest| rest.split_whitespace().next().expect("a target"))
    }) {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}

#[test]
fn its_paths_exist() {
    let text = readme();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = ["src/", "tests/", "benches/", "loadtest/", "etc/"];
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> =
        quoted.filter(|word| ours.iter().any(|folder| word.starts_with(folder))).collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "README names {path}");
    }
}
