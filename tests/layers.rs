//! The import rule of `src/lib.rs`, read from the source: may this file know of that module?
//!
//! Imports go down the table only, and a stage knows of no other stage but the one that hands it
//! its type. Some crates and words belong to one place. A failure names the file, the rule and
//! the fix.

use std::fs;
use std::path::{Path, PathBuf};

/// A module, its layer, and the modules of its own layer that it may know.
type Row = (&'static str, u8, &'static [&'static str]);

const TABLE: &[Row] = &[
    ("limits", 0, &[]),
    ("time", 0, &[]),
    ("message", 0, &["time", "limits"]),
    ("event", 0, &["message", "time", "limits"]),
    ("config", 0, &["limits", "time"]),
    ("dns", 1, &[]),
    ("smtp", 1, &[]),
    ("accept", 2, &[]),
    ("identify", 2, &[]),
    ("filter", 2, &["identify"]),
    ("queue", 2, &["filter"]),
    ("deliver", 2, &["queue"]),
    ("feedback", 2, &["deliver"]),
    ("notify", 2, &["feedback"]),
    ("shard", 3, &[]),
    ("store", 4, &[]),
    ("control", 4, &[]),
    ("runtime", 5, &[]),
    ("command", 6, &[]),
    ("main", 6, &["command"]),
    ("lib", 6, &[]),
];

/// What stands in one place only, and why.
const OWNED: &[(&str, &str, &str)] = &[
    ("glommio::", "runtime", "drivers reach the reactor through shard::World"),
    ("rocksdb::", "store", "everyone else talks of queue::Change and World"),
    ("tokio::", "control", "the shards have no second reactor"),
    ("hyper::", "control", "the admin listener is the only HTTP server"),
    ("hickory_proto::", "dns", "everyone else talks of dns::Answer"),
    ("unsafe {", "runtime", "code without it is checked by the compiler"),
    ("Instant::now(", "runtime", "time comes from World, so that the simulator owns it"),
    ("SystemTime::now(", "runtime", "time comes from World, so that the simulator owns it"),
    (".committed()", "store", "only who has written may say that it is written"),
];

/// Exceptions to [`OWNED`], each with its reason.
const EXCUSED: &[(&str, &str)] = &[
    // Times its own batches for the metrics; nothing is decided by it.
    ("Instant::now(", "src/store/committer.rs"),
];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let inside = path.strip_prefix(&root).expect("below src");
                let first = inside.components().next().expect("a name").as_os_str();
                let module = first.to_string_lossy().trim_end_matches(".rs").to_owned();
                let text = without_comments(&fs::read_to_string(&path).expect("UTF-8"));
                found.push(Source { path: Path::new("src").join(inside), module, text });
            }
        }
    }
    found
}

/// Cuts comments off, and the unit tests at the end of a file: those may build what they need.
fn without_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
    code.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The modules of this crate that `text` names, as `crate::x` or in `crate::{x, y::z}`.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => names.push(first_word(rest)),
            Some(group) => names.extend(group_heads(group)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The first words of a braced list, at its own depth.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(first_word(&group[start..at]));
                return heads;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(first_word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> String {
    let word =
        |letter: &char| letter.is_ascii_lowercase() || *letter == '_' || letter.is_ascii_digit();
    text.trim_start().chars().take_while(word).collect()
}

fn row(module: &str) -> Option<&'static Row> {
    TABLE.iter().find(|(name, ..)| *name == module)
}

fn broken_imports(source: &Source) -> Vec<String> {
    let path = source.path.display();
    let Some((_, layer, known)) = row(&source.module) else {
        return vec![format!(
            "{path}: the module is not in the table; add it to src/lib.rs and here"
        )];
    };
    let mut broken = Vec::new();
    for target in named(&source.text) {
        let Some((_, below, _)) = row(&target) else { continue };
        let allowed = target == source.module || below < layer || known.contains(&target.as_str());
        if !allowed {
            broken.push(format!(
                "{path}: `{}` (layer {layer}) must not know `{target}` (layer {below}): imports go down the \
                 table in src/lib.rs only; move the type to the lower of the two, or pass a value",
                source.module
            ));
        }
    }
    broken
}

fn misplaced_words(source: &Source) -> Vec<String> {
    let path = source.path.display().to_string();
    let misplaced = OWNED.iter().filter(|(word, owner, _)| {
        let excused = EXCUSED.iter().any(|(what, place)| what == word && *place == path);
        source.module != *owner && !excused && source.text.contains(word)
    });
    misplaced
        .map(|(word, owner, why)| format!("{path}: `{word}` belongs to src/{owner} alone: {why}"))
        .collect()
}

#[test]
fn imports_go_down_the_table() {
    let sources = sources();
    assert!(sources.len() > 40, "the source was not found: {} files", sources.len());
    let broken: Vec<String> = sources.iter().flat_map(broken_imports).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn crates_and_words_stay_in_their_place() {
    let broken: Vec<String> = sources().iter().flat_map(misplaced_words).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_rule_finds_what_breaks_it() {
    let source = |module: &str, text: &str| Source {
        path: Path::new("src").join(module).join("x.rs"),
        module: module.into(),
        text: without_comments(text),
    };
    for (module, text) in [
        ("smtp", "use crate::queue::key::Slot;"),
        ("smtp", "use crate::{\n    message::Body,\n    shard::{Shard, world},\n};"),
        ("notify", "fn f() { crate::filter::screen() }"),
        ("unknown", "fn f() {}"),
    ] {
        assert_eq!(broken_imports(&source(module, text)).len(), 1, "{text}");
    }
    for text in ["use crate::message::{Body, Envelope};", "// crate::shard", "use crate::smtp::x;"]
    {
        assert!(broken_imports(&source("queue", text)).is_empty(), "{text}");
    }
    assert_eq!(misplaced_words(&source("shard", "let x = receipt.committed();")).len(), 1);
}

#[test]
fn every_file_explains_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for Source { path, .. } in sources() {
        let text = fs::read_to_string(root.join(&path)).expect("UTF-8");
        assert!(text.starts_with("//!"), "{}: begins without //!", path.display());
    }
}
