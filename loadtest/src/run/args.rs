//! The arguments of `baton-load run`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::scenario::{Amount, Plan, Scenario};
use crate::args::{positive, rate};
use crate::loopback::Loopback;

#[derive(clap::Args)]
pub struct Args {
    /// What to run, in this order
    #[arg(required = true, value_enum)]
    pub scenarios: Vec<Scenario>,
    /// The relay under test: baton, postfix, or the address of any other that runs already and
    /// hands all mail to --sink-listen. Several take turns in each round
    #[arg(long, value_name = "RELAY", default_value = "baton")]
    pub relay: Vec<RelayKind>,
    /// How often everything is run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub rounds: usize,
    /// Decides what is random in the load and in the receivers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Shards of baton: auto or a number
    #[arg(long, value_name = "N", default_value = "auto", value_parser = shards)]
    pub shards: String,
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
    Baton,
    Postfix,
    Other(Loopback),
}

impl RelayKind {
    /// As a report calls it.
    pub fn word(self) -> &'static str {
        match self {
            RelayKind::Baton => "baton",
            RelayKind::Postfix => "postfix",
            RelayKind::Other(_) => "other",
        }
    }
}

impl FromStr for RelayKind {
    type Err = String;

    fn from_str(text: &str) -> Result<RelayKind, String> {
        match text {
            "baton" => Ok(RelayKind::Baton),
            "postfix" => Ok(RelayKind::Postfix),
            address => match address.parse() {
                Ok(address) => Ok(RelayKind::Other(address)),
                Err(error) => Err(format!("baton, postfix or an address of this host: {error}")),
            },
        }
    }
}

impl Args {
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

fn shards(text: &str) -> Result<String, String> {
    let number = text.parse().is_ok_and(|shards| (1..=64_u8).contains(&shards));
    if text == "auto" || number { Ok(text.to_owned()) } else { Err("auto or 1 to 64".to_owned()) }
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
        for bad in ["192.0.2.1:25", "exim", ""] {
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
