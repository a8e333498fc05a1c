//! The server side of SMTP as a client meets it: dialogues, and any bytes at all.
//!
//! Each file of `tests/dialogues/in` shows one behaviour and is played whole, a byte at a time
//! and cut at random. `BATON_SEED` repeats the random cuts of an earlier run; a failure prints
//! its seed. `script` reads the files, `player` plays them, `chunking` holds the properties that
//! no file can show.

mod chunking;
pub mod player;
pub mod script;

use player::{Cut, next_random, play};
use script::Dialogue;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

const DIALOGUES_MIN: usize = 90;
const RANDOM_CUTS: usize = 16;

#[test]
fn every_dialogue_goes_as_written_however_it_is_cut() {
    let mut seeds = first_seed();
    let dialogues = dialogues();
    assert!(dialogues.len() >= DIALOGUES_MIN, "{} dialogues, some are missing", dialogues.len());
    let mut failures = Vec::new();
    for dialogue in &dialogues {
        let mut cuts = vec![Cut::Whole];
        if !dialogue.whole_only {
            cuts.push(Cut::EveryByte);
            cuts.extend((0..RANDOM_CUTS).map(|_| Cut::Random(next_random(&mut seeds))));
        }
        // The first cut that fails says enough.
        let failed = cuts.iter().find_map(|cut| play(dialogue, *cut).err().map(|why| (cut, why)));
        if let Some((cut, why)) = failed {
            failures.push(format!("{why}\n    cut {cut:?}"));
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// From `BATON_SEED`, or another one in each run; libtest shows it when the test fails.
pub fn first_seed() -> u64 {
    let given = std::env::var("BATON_SEED").ok();
    let seed = match given {
        Some(text) => text.parse().expect("BATON_SEED is a number"),
        None => RandomState::new().hash_one("cuts"),
    };
    println!("BATON_SEED={seed}");
    seed
}

fn dialogues() -> Vec<Dialogue> {
    let read = |path: &PathBuf| {
        Dialogue::parse(path, &fs::read_to_string(path).expect("a dialogue is a text"))
    };
    dialogue_files().iter().map(read).collect()
}

pub fn dialogue_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/in");
    let entries = fs::read_dir(&folder).expect("the folder of dialogues");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
    paths.sort();
    paths
}
