//! [`Config`]: the checked configuration that the rest of the program reads.
//!
//! Every value in it is of a real type and within its range; nothing in it is text that somebody
//! has yet to parse. It is made once by [`Config::parse`] and never changed: a reload makes
//! another one ([`Config::reloaded`]).
//! Also owns the look-ups whose rules belong to the configuration: the longest network wins for
//! peers, the first match for routes.
//! Reads two files at most: the one [`Config::load`] is given, and the providers' one it names.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check;
use super::document::Document;
use super::inbound::{Account, AccountTable, Limits, Listener, ListenerTable, Peer, PeerTable};
use super::knob::{Declared, Section};
use super::outbound::{Delivery, Dns, Route};
use super::problem::{ConfigError, FILE_BYTES_MAX, Problem, Problems, shown};
use super::process::{Admin, Disk, Durability, Filter, Log, Memory, ShardCount, Top};
use super::provider::{self, Provider};
use super::source::{Pools, Source, SourceTable};
use super::tables::Tables;

/// Every table of the file, in the order in which the explanation shows them.
pub(super) static SECTIONS: &[&Section] = &[
    Top::SECTION,
    ListenerTable::SECTION,
    PeerTable::SECTION,
    AccountTable::SECTION,
    SourceTable::SECTION,
    Route::SECTION,
    Provider::SECTION,
    Dns::SECTION,
    Admin::SECTION,
    Log::SECTION,
    Limits::SECTION,
    Memory::SECTION,
    Disk::SECTION,
    Delivery::SECTION,
    Filter::SECTION,
];

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// In lower case.
    pub hostname: String,
    pub data_dir: PathBuf,
    pub shards: ShardCount,
    pub durability: Durability,
    /// A mail address, where mail for `<postmaster>` is delivered.
    pub postmaster: String,
    pub shutdown_grace: Duration,
    /// Never empty.
    pub listeners: Vec<Listener>,
    /// No network occurs twice.
    pub peers: Vec<Peer>,
    /// No name occurs twice.
    pub accounts: Vec<Account>,
    /// Never empty; no name occurs twice.
    pub sources: Vec<Source>,
    /// In the order of the file; every route can be reached. See [`Config::lane_limits`] for what
    /// follows from the knobs that a route leaves out.
    pub routes: Vec<Route>,
    /// In the order in which they are looked at.
    pub providers: Vec<Provider>,
    pub dns: Dns,
    pub admin: Admin,
    pub log: Log,
    pub limits: Limits,
    pub memory: Memory,
    pub disk: Disk,
    pub delivery: Delivery,
    pub filter: Filter,
    /// What all of this was made from; a reload compares it with what the file says then.
    pub(super) tables: Tables,
    pub(super) pools: Pools,
}

impl Config {
    /// Reads a text. `file_name` is what problems show; `machine_name` is the machine's own name,
    /// used when no `hostname` is written. No file is read: the providers are the shipped ones,
    /// whatever `delivery.providers_file` says.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text; never empty.
    pub fn parse(file_name: &str, text: &str, machine_name: &str) -> Result<Config, Vec<Problem>> {
        let files =
            Files { providers: &|_| Ok(provider::shipped().to_vec()), readable: &|_| Ok(()) };
        Config::parse_with(file_name, text, machine_name, &files)
    }

    /// The same with what `files` says of the files that the text names.
    fn parse_with(
        file_name: &str,
        text: &str,
        machine_name: &str,
        files: &Files<'_>,
    ) -> Result<Config, Vec<Problem>> {
        let mut problems = Problems::new(file_name, text);
        let config = Document::parse(text, &mut problems)
            .and_then(|document| check::config(&document, machine_name, files, &mut problems));
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => {
                assert!(!problems.is_empty(), "a configuration was refused without a reason");
                Err(problems.into_sorted())
            }
        }
    }

    /// Reads a file, and the providers' file that it names; otherwise as [`Config::parse`].
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path, machine_name: &str) -> Result<Config, ConfigError> {
        Config::load_trying(path, machine_name, &|_| Ok(()))
    }

    /// The same, and asks of every certificate, key and token that is named whether it is
    /// `readable`. Not for a command of somebody who may read the configuration but no key.
    ///
    /// # Errors
    /// As [`Config::load`]; a file that is not readable is a problem where it is named.
    pub fn load_trying(
        path: &Path,
        machine_name: &str,
        readable: &dyn Fn(&Path) -> io::Result<()>,
    ) -> Result<Config, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let bytes = read_bounded(path).map_err(unreadable)?;
        let Some(bytes) = bytes else {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        };
        let name = path.to_string_lossy();
        let text = utf8(&name, &bytes).map_err(|problem| ConfigError::Invalid(vec![problem]))?;
        let files = Files { providers: &load_providers, readable };
        Config::parse_with(&name, text, machine_name, &files).map_err(ConfigError::Invalid)
    }

    /// The peer that an address belongs to: of the networks that hold it, the longest.
    pub fn peer(&self, address: IpAddr) -> Option<&Peer> {
        let holding = self.peers.iter().filter(|peer| peer.network.contains(address));
        holding.max_by_key(|peer| peer.network.prefix())
    }

    /// The account of a name; exact, names are in lower case.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// The route of a recipient's domain, with its index in `routes`; `None` means MX.
    pub fn route(&self, domain: &str) -> Option<(usize, &Route)> {
        self.routes.iter().enumerate().find(|(_, route)| route.domain.matches(domain))
    }
}

/// The files that a configuration names, as far as its checks look at them.
pub(super) struct Files<'f> {
    /// Gives the providers of a file.
    pub providers: &'f dyn Fn(&Path) -> Result<Vec<Provider>, Unread>,
    /// Whether it can be read, for a file whose content is somebody else's.
    pub readable: &'f dyn Fn(&Path) -> io::Result<()>,
}

impl Files<'_> {
    /// Adds a problem when the file that `key` names, if it names one, is not readable.
    pub fn check(
        &self,
        key: &str,
        path: Option<&PathBuf>,
        place: usize,
        problems: &mut Problems<'_>,
    ) {
        if let Some((path, Err(error))) = path.map(|path| (path, (self.readable)(path))) {
            let name = path.to_string_lossy();
            let what = format!("`{key}` is \"{}\", which cannot be read: {error}", shown(&name));
            problems.add(place, what, None);
        }
    }
}

/// Why a file that the configuration names gave nothing.
pub(super) enum Unread {
    /// The end of a sentence that begins with the key.
    File(String),
    /// It was read; never empty.
    Content(Vec<Problem>),
}

fn load_providers(path: &Path) -> Result<Vec<Provider>, Unread> {
    let name = path.to_string_lossy();
    let refused = |says| Unread::File(format!("is \"{}\", which {says}", shown(&name)));
    let bytes = match read_bounded(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(refused(format!("is larger than {FILE_BYTES_MAX} bytes"))),
        Err(error) => return Err(refused(format!("cannot be read: {error}"))),
    };
    let text = utf8(&name, &bytes).map_err(|problem| Unread::Content(vec![problem]))?;
    provider::read(&name, text).map_err(Unread::Content)
}

/// `None` when the file is larger than [`FILE_BYTES_MAX`]; no more than that is read from a pipe.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= FILE_BYTES_MAX).then_some(bytes))
}

fn utf8<'b>(file_name: &str, bytes: &'b [u8]) -> Result<&'b str, Problem> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let (good, _) = bytes.split_at(error.valid_up_to());
    let good = String::from_utf8_lossy(good);
    let line = good.matches('\n').count() + 1;
    let column = good.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let what = "not TOML: this byte is not UTF-8".to_owned();
    Err(Problem { file: file_name.to_owned(), line, column, what, allowed: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse("test", text, "box").unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    #[test]
    fn the_longest_network_wins() {
        let config = parse(
            r#"
            [[peer]]
            network = "10.0.0.0/8"
            account = "wide"
            [[peer]]
            network = "10.1.2.3"
            account = "one"
            [[peer]]
            network = "10.1.0.0/16"
            account = "narrow"
            [[peer]]
            network = "2001:db8::/32"
            account = "six"
            "#,
        );
        let rows = [
            ("10.9.9.9", Some("wide")),
            ("10.1.9.9", Some("narrow")),
            ("10.1.2.3", Some("one")),
            ("::ffff:10.1.2.3", Some("one")),
            ("11.0.0.1", None),
            ("2001:db8::1", Some("six")),
            ("::1", None),
        ];
        for (address, expected) in rows {
            let found = config.peer(address.parse().expect(address));
            assert_eq!(found.map(|peer| peer.account.as_str()), expected, "{address}");
        }
    }

    #[test]
    fn the_first_route_wins() {
        let config = parse(
            r#"
            [[route]]
            domain = "a.test"
            via = ["192.0.2.1:25"]
            [[route]]
            domain = "*.test"
            via = ["127.0.0.1:2600", "[::1]:2600"]
            "#,
        );
        let rows = [
            ("a.test", Some(0)),
            ("A.Test", Some(0)),
            ("b.a.test", Some(1)),
            ("b.test", Some(1)),
            ("test", None),
            ("example.net", None),
        ];
        for (domain, expected) in rows {
            assert_eq!(config.route(domain).map(|(index, _)| index), expected, "{domain}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_have_a_place() {
        let problem = utf8("f", b"a = 1\nb = \"\xc3\xa4\xff\"").expect_err("not UTF-8");
        assert_eq!((problem.line, problem.column), (2, 7));
    }

    #[test]
    fn debug_output_keeps_hashes_to_itself() {
        let account =
            Account { name: "acme".to_owned(), password_hash: "$argon2id$secret".to_owned() };
        assert!(!format!("{account:?}").contains("secret"));
    }
}
