//! What is wrong with a configuration, and where.
//!
//! Owns [`Problem`] (one thing an operator must mend), [`ConfigError`] (why a file gave no
//! configuration) and the collector that turns byte offsets into lines and columns.
//! Never decides what is wrong, and never stops at the first problem: an operator who mends one
//! line at a time restarts the check once per mistake.
//! Lines and columns count from 1; columns are characters, as editors show them.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Bytes of configuration read at most: far above any real file, far below what hurts at start.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Characters of the file that a message repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// One thing that is wrong, with its place and, where it can be said, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub what: String,
    pub allowed: Option<String>,
}

/// `file:line:column: what is wrong; allowed: what would be right`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)?;
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

/// Why a file gave no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file could not be opened or read.
    Unreadable { path: PathBuf, source: io::Error },
    /// The file is larger than [`FILE_BYTES_MAX`].
    TooLarge { path: PathBuf },
    /// The file was read; these are all its problems, in the order of their lines. Never empty.
    Invalid(Vec<Problem>),
    /// The file would do at a start, but what of it can be applied now does not go with what stays
    /// until then: `words` say what does not.
    NeedsRestart { words: String },
}

impl ConfigError {
    /// What is to be said of it, a line each; never empty.
    pub fn lines(&self) -> Vec<String> {
        match self {
            ConfigError::Invalid(problems) => problems.iter().map(Problem::to_string).collect(),
            ConfigError::Unreadable { .. }
            | ConfigError::TooLarge { .. }
            | ConfigError::NeedsRestart { .. } => vec![self.to_string()],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, source } => {
                write!(f, "cannot read the configuration {}: {source}", path.display())
            }
            ConfigError::TooLarge { path } => {
                let path = path.display();
                write!(f, "the configuration {path} is larger than {FILE_BYTES_MAX} bytes")
            }
            ConfigError::Invalid(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let end_of_last = if index == 0 { "" } else { "\n" };
                    write!(f, "{end_of_last}{problem}")?;
                }
                Ok(())
            }
            ConfigError::NeedsRestart { words } => {
                write!(f, "the configuration needs a restart to take effect: {words}")
            }
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ConfigError::Unreadable { source, .. } => Some(source),
            ConfigError::TooLarge { .. }
            | ConfigError::Invalid(_)
            | ConfigError::NeedsRestart { .. } => None,
        }
    }
}

/// Text from the file as a message repeats it: on one line, and short.
pub(super) fn shown(text: &str) -> String {
    let head: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let cut = if head.len() < text.len() { ".." } else { "" };
    format!("{}{cut}", head.escape_debug())
}

/// Collects problems while a text is read; places are byte offsets into that text.
pub(super) struct Problems<'t> {
    file: &'t str,
    text: &'t str,
    /// Byte offset at which each line starts.
    lines: Vec<usize>,
    found: Vec<Problem>,
    /// Those of another file that this one names, in their order.
    elsewhere: Vec<Problem>,
}

impl<'t> Problems<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Problems { file, text, lines, found: Vec::new(), elsewhere: Vec::new() }
    }

    pub fn add(&mut self, place: usize, what: String, allowed: Option<String>) {
        let line = self.line_at(place);
        let start = self.lines[line - 1];
        // A place inside a character does not occur in spans; if it did, the line start is close.
        let before = self.text.get(start..place.min(self.text.len())).unwrap_or("");
        let column = before.chars().count() + 1;
        self.found.push(Problem { file: self.file.to_owned(), line, column, what, allowed });
    }

    /// Adds what was found in another file that this one names.
    pub fn add_elsewhere(&mut self, problems: Vec<Problem>) {
        self.elsewhere.extend(problems);
    }

    /// The line, from 1, in which a place lies.
    pub fn line_at(&self, place: usize) -> usize {
        self.lines.partition_point(|start| *start <= place)
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.elsewhere.is_empty()
    }

    /// All problems in the order of the file; those of one place stay in the order of discovery.
    /// Those of another file follow.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found.extend(self.elsewhere);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_lines_and_columns() {
        let text = "ab\n\u{e4}\u{f6}x\n\nlast";
        let rows = [
            // place, line, column
            (0, 1, 1),
            (2, 1, 3),
            (3, 2, 1),
            (7, 2, 3), // two characters of two bytes each before it
            (9, 3, 1),
            (10, 4, 1),
            (14, 4, 5), // the end of the text
            (99, 4, 5), // past the end counts as the end
        ];
        for (place, line, column) in rows {
            let mut problems = Problems::new("f", text);
            problems.add(place, String::new(), None);
            let problem = &problems.into_sorted()[0];
            assert_eq!((problem.line, problem.column), (line, column), "place {place}");
        }
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let mut problems = Problems::new("baton.toml", "x");
        problems.add(0, "unknown key `x`".to_owned(), Some("a, b".to_owned()));
        problems.add(0, "later".to_owned(), None);
        let shown: Vec<String> = problems.into_sorted().iter().map(Problem::to_string).collect();
        let expected = ["baton.toml:1:1: unknown key `x`; allowed: a, b", "baton.toml:1:1: later"];
        assert_eq!(shown, expected);
    }
}
