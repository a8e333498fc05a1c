//! What a declaration is: a table of knobs, each with its reason, default, range and reload rule.
//!
//! The macro `section!` turns one declaration into the struct that holds the values, its
//! [`Section`] (from which the explanation and the list of allowed keys come) and the code that
//! reads it and compares it on a reload. So no second place lists the knobs, and a knob without a
//! reason does not compile.
//! The macro `words!` does the same for a knob that is one word out of a few.
//! Rejected: `serde` derive, which stops at the first problem and keeps defaults, ranges and
//! explanations in three other places.

use toml::Spanned;
use toml::de::DeValue;

use super::document::Table;
use super::problem::Problems;

/// One table of the configuration file.
pub struct Section {
    /// As between the brackets; empty for the top of the file.
    pub name: &'static str,
    pub shape: Shape,
    /// Lines of text.
    pub doc: &'static [&'static str],
    pub knobs: &'static [Knob],
}

impl Section {
    /// As it is written in the file.
    pub fn heading(&self) -> String {
        match self.shape {
            Shape::Top => "the top of the file".to_owned(),
            Shape::One => format!("[{}]", self.name),
            Shape::Many => format!("[[{}]]", self.name),
        }
    }

    /// A knob with its table: `limits.hops_max`.
    pub fn full_name(&self, knob: &Knob) -> String {
        match self.shape {
            Shape::Top => knob.key.to_owned(),
            Shape::One | Shape::Many => format!("{}.{}", self.name, knob.key),
        }
    }

    /// The reload rule of all knobs of a table that can be written many times: such tables come and
    /// go, so there is no running one to take half of the knobs from.
    ///
    /// # Panics
    /// When the declaration mixes rules.
    pub fn reload(&self) -> Reload {
        let reload = self.knobs[0].reload;
        let mixed = self.knobs.iter().any(|knob| knob.reload != reload);
        assert!(!mixed, "{} reloads as a whole or not at all", self.heading());
        reload
    }
}

/// How often a table may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The top of the file, before the first header.
    Top,
    /// `[name]`, once or not at all.
    One,
    /// `[[name]]`, any number of times.
    Many,
}

/// One key of a table.
pub struct Knob {
    pub key: &'static str,
    /// Why it exists; lines of text.
    pub doc: &'static [&'static str],
    /// Why the default is what it is.
    pub because: &'static str,
    pub reload: Reload,
    pub describe: fn() -> Description,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// SIGHUP is enough: new sessions, messages and attempts use the new value.
    Applies,
    /// At the next start only.
    Restart,
}

impl Reload {
    /// The value to go on with.
    pub fn choose<T: Clone>(self, running: &T, new: T) -> T {
        match self {
            Reload::Applies => new,
            Reload::Restart => running.clone(),
        }
    }
}

/// What a kind of value says about itself.
pub struct Description {
    pub default: Preset,
    /// In words; used in messages and in the explanation.
    pub allowed: String,
    /// Each allowed word with its meaning, for knobs that are one word out of a few.
    pub words: Vec<(&'static str, &'static str)>,
}

/// What holds when the key is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The key must be written.
    Required,
    /// This value, as it would be written in the file.
    Value(String),
    /// What absence means, in words.
    Absent(&'static str),
}

/// A kind of value: how it is read, what holds when it is absent, what may be said about it.
pub(super) trait Kind {
    type Value;

    fn describe(&self) -> Description;

    /// `None` when the key must be written.
    fn absent(&self) -> Option<Self::Value>;

    /// Reads a value or says everything that is wrong with it.
    fn read(&self, found: &Spanned<DeValue<'_>>) -> Result<Self::Value, Vec<Fault>>;
}

/// One thing wrong with a value. `says` continues a sentence that begins with the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte offset in the text.
    pub place: usize,
    pub says: String,
}

/// A struct that `section!` made.
pub(super) trait Declared: Sized {
    const SECTION: &'static Section;

    /// `None` when a knob could not be read; `problems` then says why.
    fn read(table: &Table<'_>, problems: &mut Problems<'_>) -> Option<Self>;

    /// Whether each knob, in the order of the declaration, has another value there.
    fn differences(&self, there: &Self) -> Vec<bool>;

    /// The values of `new`, but those of the running table where a knob needs a restart.
    fn reloaded(&self, new: Self) -> Self;
}

/// An enum that `words!` made.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The value, the word for it, and what it means.
    const WORDS: &'static [(Self, &'static str, &'static str)];
}

/// Declares a table: `field: type = kind, "because ...", reload rule;` under the field's reason.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $shape:ident $name:literal $vis:vis struct $struct:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty = $kind:expr, $because:literal, $reload:ident;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $struct {
            $( $(#[doc = $doc])+ pub $key: $type, )+
        }

        impl $crate::config::knob::Declared for $struct {
            const SECTION: &'static $crate::config::knob::Section =
                &$crate::config::knob::Section {
                    name: $name,
                    shape: $crate::config::knob::Shape::$shape,
                    doc: &[$($about),+],
                    knobs: &[$(
                        $crate::config::knob::Knob {
                            key: stringify!($key),
                            doc: &[$($doc),+],
                            because: $because,
                            reload: $crate::config::knob::Reload::$reload,
                            describe: || $crate::config::knob::Kind::describe(&$kind),
                        }
                    ),+],
                };

            fn read(
                table: &$crate::config::document::Table<'_>,
                problems: &mut $crate::config::problem::Problems<'_>,
            ) -> Option<Self> {
                // All are read before any is looked at, so that all problems are found.
                $( let $key = table.read(stringify!($key), &$kind, problems); )+
                Some(Self { $( $key: $key? ),+ })
            }

            fn differences(&self, there: &Self) -> Vec<bool> {
                vec![$( self.$key != there.$key ),+]
            }

            fn reloaded(&self, new: Self) -> Self {
                Self { $(
                    $key: $crate::config::knob::Reload::$reload.choose(&self.$key, new.$key)
                ),+ }
            }
        }
    };
}

/// Declares an enum whose values are words: `Value = "word"` under the value's meaning.
macro_rules! words {
    (
        $(#[doc = $about:literal])+
        pub enum $enum:ident {
            $( #[doc = $meaning:literal] $value:ident = $word:literal, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $( #[doc = $meaning] $value, )+
        }

        impl $enum {
            /// The word for it in the configuration, in log lines and in metrics.
            pub const fn word(self) -> &'static str {
                match self {
                    $( $enum::$value => $word, )+
                }
            }
        }

        impl $crate::config::knob::Word for $enum {
            const WORDS: &'static [(Self, &'static str, &'static str)] =
                &[$( ($enum::$value, $word, $meaning) ),+];
        }
    };
}

pub(super) use {section, words};
