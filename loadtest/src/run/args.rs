//! The arguments of `baton-load run`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::scenario::{Amount, Course, Plan, Scenario};
use crate::args::{positive, rate};
use crate::error::Error;
use crate::loopback::Loopback;

#[derive(clap::Args)]
pub struct Args {
    /// What to run, in this order
    #[arg(required = true, value_enum)]
    pub scenarios: Vec<Scenario>,
    /// The relay under test: baton, baton:N (with N shards), postfix, or the address of any other
    /// that runs already and hands all mail to --sink-listen. Several take turns in each round
    #[arg(long, value_name = "RELAY", default_value = "baton")]
    pub relay: Vec<RelayKind>,
    /// How often everything is run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub rounds: usize,
    /// Decides what is random in the load and in the receivers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Shards of a baton that does not say how many: auto or a number
    #[arg(long, value_name = "N", default_value = "auto")]
    pub shards: Shards,
    /// Messages of each run, instead of the scenario's own
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "duration")]
    pub messages: Option<usize>,
    /// Send for so long instead
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub duration: Option<usize>,
    /// Rate of an open loop, instead of soak's own or of a closed loop
    #[arg(long, value_name = "PER_S", value_parser = rate)]
    pub rate: Option<f64>,
    /// A tenth of everything: whether it works, not how fast
    #[arg(long)]
    pub quick: bool,
    /// Give up waiting for the last deliveries when nothing has moved for so long
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub stall: Option<usize>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the report as a page for a browser, which needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where queues and ledgers go while it runs: a real disk
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub work: PathBuf,
    /// baton's binary; by default the one beside this program
    #[arg(long, value_name = "PATH")]
    pub baton: Option<PathBuf>,
    /// Where the sink listens: what a relay that runs already has as its next hop
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub sink_listen: Loopback,
    /// Processes of a relay that runs already, to measure them and all below them
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
}

/// A relay by its word on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// With as many shards as `--shards` says.
    Baton,
    BatonOf(Shards),
    Postfix,
    Other(Loopback),
}

/// How many shards a baton has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// It decides by the cores that there are.
    Auto,
    Number(u8),
}

/// baton's own limit.
const SHARDS_MAX: u8 = 64;

impl RelayKind {
    /// As a report calls it.
    pub fn word(self) -> &'static str {
        match self {
            RelayKind::Baton | RelayKind::BatonOf(_) => "baton",
            RelayKind::Postfix => "postfix",
            RelayKind::Other(_) => "other",
        }
    }
}

impl FromStr for RelayKind {
    type Err = String;

    fn from_str(text: &str) -> Result<RelayKind, String> {
        match text.strip_prefix("baton:") {
            Some(shards) => shards.parse().map(RelayKind::BatonOf),
            None if text == "baton" => Ok(RelayKind::Baton),
            None if text == "postfix" => Ok(RelayKind::Postfix),
            None => match text.parse() {
                Ok(address) => Ok(RelayKind::Other(address)),
                Err(error) => {
                    Err(format!("baton, baton:N, postfix or an address of this host: {error}"))
                }
            },
        }
    }
}

impl fmt::Display for RelayKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayKind::Baton | RelayKind::Postfix => out.write_str(self.word()),
            RelayKind::BatonOf(shards) => write!(out, "{}:{shards}", self.word()),
            RelayKind::Other(address) => address.address().fmt(out),
        }
    }
}

impl FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Shards, String> {
        let number = text.parse().ok().filter(|number| (1..=SHARDS_MAX).contains(number));
        match (text, number) {
            ("auto", _) => Ok(Shards::Auto),
            (_, Some(number)) => Ok(Shards::Number(number)),
            (_, None) => Err(format!("shards are auto or 1 to {SHARDS_MAX}")),
        }
    }
}

impl fmt::Display for Shards {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shards::Auto => out.write_str("auto"),
            Shards::Number(number) => number.fmt(out),
        }
    }
}

impl Args {
    /// What no single argument shows.
    pub fn check(&self) -> Result<(), Error> {
        let other = self.relay.iter().find(|relay| matches!(relay, RelayKind::Other(_)));
        let waits = |scenario: &&Scenario| scenario.plan().waiting.messages > 0;
        match (other, self.scenarios.iter().find(waits)) {
            (Some(relay), Some(scenario)) => {
                Err(Error::CannotWait { scenario: scenario.name(), relay: relay.to_string() })
            }
            _ => self.check_judged(other),
        }
    }

    /// What some scenarios leave with a relay is only known if it can be asked.
    fn check_judged(&self, other: Option<&RelayKind>) -> Result<(), Error> {
        let asks = |scenario: &&Scenario| {
            let plan = scenario.plan();
            plan.course == Course::Backlog || !plan.receivers.take_everything()
        };
        match (other, self.scenarios.iter().find(asks)) {
            (Some(relay), Some(scenario)) => {
                Err(Error::CannotAsk { scenario: scenario.name(), relay: relay.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The scenario as these arguments want it.
    pub fn plan(&self, scenario: Scenario) -> Plan {
        let mut plan = scenario.plan();
        if self.quick {
            plan = plan.quick();
        }
        if let Some(messages) = self.messages {
            plan.amount = Amount::Messages(messages as u64);
        }
        if let Some(seconds) = self.duration {
            plan.amount = Amount::Time(Duration::from_secs(seconds as u64));
        }
        if let Some(seconds) = self.stall {
            plan.stall_max = Duration::from_secs(seconds as u64);
        }
        plan
    }
}

/// The command as it was given; of a path only its last part, as the rest is the machine's.
pub fn command(words: impl Iterator<Item = String>) -> String {
    let name = |word: String| match word.split_once('=') {
        Some((option, path)) if option.starts_with("--") => format!("{option}={}", last(path)),
        _ => last(&word).to_owned(),
    };
    words.map(name).collect::<Vec<_>>().join(" ")
}

fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_a_word_or_an_address_of_this_host() {
        assert_eq!("postfix".parse(), Ok(RelayKind::Postfix));
        assert!(matches!("127.0.0.1:25".parse(), Ok(RelayKind::Other(_))));
        let two: RelayKind = "baton:2".parse().unwrap();
        assert_eq!((two, two.word()), (RelayKind::BatonOf(Shards::Number(2)), "baton"));
        for good in ["baton", "baton:2", "baton:auto", "postfix", "127.0.0.1:25", "[::1]:25"] {
            assert_eq!(good.parse::<RelayKind>().unwrap().to_string(), good);
        }
        for bad in ["192.0.2.1:25", "exim", "", "baton:", "baton:0", "baton:65", "postfix:1"] {
            assert!(bad.parse::<RelayKind>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_is_told_without_paths() {
        let words =
            ["/opt/b/baton-load", "run", "small", "--work=/data/x/", "--report", "/a/r.json"];
        let told = command(words.into_iter().map(str::to_owned));
        assert_eq!(told, "baton-load run small --work=x --report r.json");
    }
}
