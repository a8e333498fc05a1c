//! The outbound session against scripted remotes, and against any remote at all.
//!
//! Every file of `dialogues/out/` is one behaviour (format: `outbound/script.rs`). Each is played
//! with the remote's octets whole, one at a time, and split at random from a seed that a failure
//! prints; `BATON_SEED` repeats it. Strict in turn: baton must have said all that the script has it
//! say before the remote speaks, and nothing more, so what shares a flight is tested as well.
//! The properties at the end hold for remotes that nobody would write down.

mod model;
mod script;

use baton::message::{Outcome, Scope, Verdict};
use baton::smtp::client::{ClientSession, Delivery, Features, Lost, Step, TlsPolicy, Trust, Wait};
use proptest::prelude::*;
use script::{ClientSays, Dialogue, Event, Exchange, Expected, Message, Turn};
use std::collections::VecDeque;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

const HELO: &str = "relay.test";
const DIALOGUES_MIN: usize = 133;
const RANDOM_SPLITS: u64 = 8;
/// More steps than any dialogue takes: a session that goes round in circles fails here.
const STEPS_MAX: usize = 100_000;

/// How the remote's octets arrive.
#[derive(Clone, Copy, Debug)]
enum Split {
    Whole,
    Octets,
    Random { seed: u64 },
}

#[test]
fn every_dialogue_goes_as_written_however_it_is_split() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/out");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of dialogues is there")
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    files.sort();
    assert!(files.len() >= DIALOGUES_MIN, "only {} dialogues in {}", files.len(), folder.display());
    let named = std::env::var("BATON_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = named.unwrap_or_else(|| RandomState::new().hash_one("outbound"));
    let mut failures = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(file).expect("a dialogue is readable UTF-8");
        let played = script::parse(&text).and_then(|dialogue| play_all(&dialogue, seed));
        failures.extend(played.err().map(|what| format!("{name}: {what}")));
    }
    assert!(failures.is_empty(), "BATON_SEED={seed}\n{}", failures.join("\n"));
}

fn play_all(dialogue: &Dialogue, seed: u64) -> Result<(), String> {
    let mut splits = vec![Split::Whole];
    if !dialogue.unsplit {
        splits.push(Split::Octets);
        let seeds = (0..RANDOM_SPLITS).map(|round| seed.wrapping_add(round));
        splits.extend(seeds.map(|seed| Split::Random { seed }));
    }
    splits.into_iter().try_for_each(|split| {
        play(dialogue, split).map_err(|what| format!("{what} (remote's octets: {split:?})"))
    })
}

fn play(dialogue: &Dialogue, split: Split) -> Result<(), String> {
    let mut stage = Play {
        session: ClientSession::new(HELO, dialogue.policy),
        sent: Vec::new(),
        underway: VecDeque::new(),
        split,
        deaf: false,
        unwritable: false,
        leaving: false,
    };
    dialogue.exchanges.iter().try_for_each(|exchange| stage.exchange(exchange))?;
    match stage.sent.is_empty() {
        true => Ok(()),
        false => Err(format!("at the end baton says more: {}", shown(&stage.sent))),
    }
}

/// One dialogue on its way.
struct Play {
    session: ClientSession,
    /// What baton said and the script has not yet checked.
    sent: Vec<u8>,
    /// What the remote said and baton has not yet read.
    underway: VecDeque<u8>,
    split: Split,
    deaf: bool,
    /// Whether baton knows that.
    unwritable: bool,
    /// Whether a session that was over was asked for a goodbye.
    leaving: bool,
}

/// What a step asks of the player, with nothing borrowed.
enum Ask {
    Read(Wait),
    StartTls,
    Ready,
    Over,
}

impl Play {
    fn exchange(&mut self, exchange: &Exchange) -> Result<(), String> {
        let mut turns: VecDeque<&(usize, Turn)> = exchange.turns.iter().collect();
        let mut message = exchange.message.as_ref();
        let mut results = Vec::new();
        let mut left_over = Vec::new();
        for _ in 0..STEPS_MAX {
            let ask = self.step(&mut left_over, exchange, &mut results);
            self.check_sent(&mut turns, exchange.message.as_ref())?;
            match ask {
                None => {}
                Some(Ask::Read(wait)) => self.remote(&mut turns, wait, &mut left_over)?,
                Some(Ask::StartTls) => self.handshake(&mut turns)?,
                Some(Ask::Ready) if !self.underway.is_empty() => left_over = self.arrived(),
                Some(Ask::Ready) => match (message.take(), turns.front()) {
                    (Some(message), _) => self.begin(message),
                    (None, None) => return compare(&results, &exchange.results),
                    (None, Some((_, Turn::Client(_)))) => self.session.quit(),
                    (None, Some(_)) => self.remote(&mut turns, Wait::Quit, &mut left_over)?,
                },
                // A session that failed may still say goodbye, where the script wants it.
                Some(Ask::Over) if turns.is_empty() => return compare(&results, &exchange.results),
                Some(Ask::Over) if !self.leaving => {
                    self.leaving = true;
                    self.session.quit();
                }
                Some(Ask::Over) => {
                    let (at, turn) = turns[0];
                    return Err(format!("line {at}: the session is over before {turn:?}"));
                }
            }
        }
        Err("the session goes round in circles".into())
    }

    fn begin(&mut self, message: &Message) {
        let everyone: Vec<u16> = (0..message.envelope.recipients.len() as u16).collect();
        let Message { envelope, body } = message;
        self.session.begin(&Delivery { envelope, recipients: &everyone, body });
    }

    fn step(
        &mut self,
        left_over: &mut Vec<u8>,
        exchange: &Exchange,
        results: &mut Vec<String>,
    ) -> Option<Ask> {
        let mut input = left_over.as_slice();
        let step = self.session.step(&mut input);
        let remaining = input.len();
        let mut failed = false;
        let ask = match step {
            Step::Write(_) if self.deaf => {
                assert!(!self.unwritable, "nothing is written after writing failed");
                self.unwritable = true;
                failed = true;
                None
            }
            Step::Write(piece) => {
                self.sent.extend_from_slice(piece);
                None
            }
            Step::Read(wait) => {
                assert_eq!(remaining, 0, "all is taken before more is asked for");
                Some(Ask::Read(wait))
            }
            Step::StartTls => {
                assert_eq!(remaining, 0, "nothing that came in clear is left for TLS");
                Some(Ask::StartTls)
            }
            Step::Ready => Some(Ask::Ready),
            Step::Done(outcomes) => {
                let envelope = exchange.message.as_ref().map(|message| &message.envelope);
                let recipients = envelope.map(|envelope| envelope.recipients.as_slice());
                for (position, outcome) in outcomes {
                    let address = &recipients.unwrap_or(&[])[usize::from(position)].address;
                    results.push(result_line(address.as_str(), &outcome));
                }
                None
            }
            Step::Stale => {
                results.push("stale".into());
                None
            }
            Step::Closed(outcome) => {
                results.push(result_line("closed", &outcome));
                None
            }
            Step::Over => Some(Ask::Over),
        };
        if failed {
            self.session.unwritable();
        }
        left_over.drain(..left_over.len() - remaining);
        ask
    }

    /// Checks what baton said so far, as far as the script goes before the remote's next turn.
    fn check_sent(
        &mut self,
        turns: &mut VecDeque<&(usize, Turn)>,
        message: Option<&Message>,
    ) -> Result<(), String> {
        while let Some((at, Turn::Client(says))) = turns.front().copied() {
            let wrong = || format!("line {at}: wanted {says:?}, baton says {}", shown(&self.sent));
            let octets = match says {
                ClientSays::Octets(octets) => octets.as_slice(),
                ClientSays::Body => message.map_or(&[][..], |message| message.body.message()),
                ClientSays::Line(line) | ClientSays::LineBeginning(line) => line.as_bytes(),
            };
            let line_end = self.sent.windows(2).position(|two| two == b"\r\n");
            let (fits, length) = match says {
                ClientSays::Octets(_) | ClientSays::Body if self.sent.len() < octets.len() => break,
                ClientSays::Octets(_) | ClientSays::Body => {
                    (self.sent.starts_with(octets), octets.len())
                }
                ClientSays::Line(_) | ClientSays::LineBeginning(_) => {
                    let Some(end) = line_end else { break };
                    let line = &self.sent[..end];
                    let fits = match says {
                        ClientSays::LineBeginning(_) => line.starts_with(octets),
                        _ => line == octets,
                    };
                    (fits, end + 2)
                }
            };
            if !fits {
                return Err(wrong());
            }
            self.sent.drain(..length);
            turns.pop_front();
        }
        Ok(())
    }

    /// Lets the remote say its next words, or do something worse.
    fn remote(
        &mut self,
        turns: &mut VecDeque<&(usize, Turn)>,
        wait: Wait,
        left_over: &mut Vec<u8>,
    ) -> Result<(), String> {
        if self.underway.is_empty() {
            let next = turns.front().map_or(0, |(at, _)| *at);
            if !self.sent.is_empty() {
                return Err(format!("line {next}: baton says more: {}", shown(&self.sent)));
            }
            while let Some((_, Turn::Server(words))) = turns.front().copied() {
                self.underway.extend(words);
                turns.pop_front();
            }
        }
        if !self.underway.is_empty() {
            *left_over = self.arrived();
            return Ok(());
        }
        match turns.pop_front() {
            Some((_, Turn::Event(Event::Close))) => self.session.lost(&Lost::Closed),
            Some((_, Turn::Event(Event::Reset))) => {
                self.session.lost(&Lost::Failed("connection reset by peer".into()));
            }
            Some((_, Turn::Event(Event::Deaf))) => self.deaf = true,
            Some((_, Turn::Event(Event::Pause))) => {}
            Some((at, Turn::Event(Event::TimeOut(expected)))) => {
                let waits = format!("{wait:?}").to_lowercase();
                if waits != *expected {
                    return Err(format!("line {at}: baton waits for {waits}"));
                }
                self.session.lost(&Lost::TimedOut);
            }
            Some((at, turn)) => {
                return Err(format!(
                    "line {at}: baton waits ({wait:?}), the script wants {turn:?}"
                ));
            }
            None => return Err(format!("the script ends, and baton waits ({wait:?})")),
        }
        Ok(())
    }

    /// What is still under way is the other side's part of the handshake, and breaks it.
    fn handshake(&mut self, turns: &mut VecDeque<&(usize, Turn)>) -> Result<(), String> {
        assert!(self.sent.is_empty(), "baton says nothing behind STARTTLS");
        while let Some((_, Turn::Server(words))) = turns.front().copied() {
            self.underway.extend(words);
            turns.pop_front();
        }
        if !self.underway.is_empty() {
            self.underway.clear();
            self.session.unsecured("received corrupt message");
            return Ok(());
        }
        match turns.pop_front() {
            Some((_, Turn::Event(Event::Tls(Some(trust))))) => self.session.secured(*trust),
            Some((_, Turn::Event(Event::Tls(None)))) => self.session.unsecured("no common cipher"),
            Some((_, Turn::Event(Event::Close))) => self.session.lost(&Lost::Closed),
            Some((at, Turn::Event(Event::TimeOut(wait)))) if wait != "handshake" => {
                return Err(format!("line {at}: baton waits for the handshake"));
            }
            Some((_, Turn::Event(Event::TimeOut(_)))) => self.session.lost(&Lost::TimedOut),
            turn => return Err(format!("baton starts TLS, the script wants {turn:?}")),
        }
        let secured = self.session.is_secured();
        assert!(!secured || *self.session.features() == Features::default(), "all is forgotten");
        Ok(())
    }

    /// The next octets of those under way.
    fn arrived(&mut self) -> Vec<u8> {
        let count = match &mut self.split {
            Split::Whole => self.underway.len(),
            Split::Octets => 1,
            Split::Random { seed } => 1 + random(seed) as usize % self.underway.len(),
        };
        self.underway.drain(..count).collect()
    }
}

fn compare(results: &[String], expected: &[(usize, Expected)]) -> Result<(), String> {
    for ((at, expected), result) in expected.iter().zip(results) {
        let fits = match expected {
            Expected::Stale => result == "stale",
            Expected::Outcome { line, words } => {
                let (start, said) = result.split_once(" | ").unwrap_or((result, ""));
                start == line && said.contains(words.as_str())
            }
        };
        if !fits {
            return Err(format!("line {at}: wanted {expected:?}, became {result}"));
        }
    }
    if expected.len() != results.len() {
        return Err(format!("{} results expected, became {results:?}", expected.len()));
    }
    Ok(())
}

fn result_line(who: &str, outcome: &Outcome) -> String {
    let verdict = match outcome.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Transient => "transient",
        Verdict::Permanent => "permanent",
    };
    let scope = match outcome.scope {
        Scope::Recipient => "recipient",
        Scope::Message => "message",
        Scope::Session => "session",
        Scope::Site => "site",
        Scope::Us => "us",
    };
    let (stage, cause) = (outcome.stage.as_str(), &outcome.cause);
    format!("{who} {verdict} {scope} {stage} {} | {cause}", cause.status())
}

fn shown(octets: &[u8]) -> String {
    let start = &octets[..octets.len().min(200)];
    format!("{:?}", String::from_utf8_lossy(start))
}

/// splitmix64: small, and a seed repeats it.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A remote of random bytes, half of them shaped like replies.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let shaped = prop::sample::select(vec![
        "220 hi\r\n",
        "250-x\r\n250 STARTTLS\r\n",
        "250 ok\r\n",
        "250-PIPELINING\r\n250 CHUNKING\r\n",
        "250-x\r\n250 SIZE 10\r\n",
        "354 go\r\n",
        "421 bye\r\n",
        "450 4.2.0 no\r\n",
        "550 5.1.1 no\r\n",
        "25",
        "\r\n",
    ]);
    let piece = prop_oneof![
        8 => shaped.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever a remote says: no panic, an end, and one outcome for each recipient in order.
    #[test]
    fn any_remote_ends_every_transaction(
        words in noise(),
        chunk in 1usize..40,
        deaf in any::<bool>(),
        policy in prop::sample::select(vec![
            TlsPolicy::Never,
            TlsPolicy::WhenOffered,
            TlsPolicy::Always,
        ]),
        handshakes in any::<bool>(),
    ) {
        let text = "> to=ann@b.test\n> to=bob@b.test\n> to=cat@b.test\n";
        let dialogue = script::parse(text).expect("the message is well formed");
        let message = dialogue.exchanges[0].message.as_ref().expect("there is a message");
        let Message { envelope, body } = message;
        let delivery = Delivery { envelope, recipients: &[2, 0, 1], body };
        let mut session = ClientSession::new(HELO, policy);
        let mut words = words.chunks(chunk);
        let (mut input, mut under_way): (&[u8], bool) = (&[], false);
        let (mut begun, mut broken) = (0, false);
        for _ in 0..STEPS_MAX {
            match session.step(&mut input) {
                Step::Write(_) if deaf && under_way => {
                    prop_assert!(!std::mem::replace(&mut broken, true), "it writes again");
                    session.unwritable();
                }
                Step::Write(piece) => prop_assert!(!piece.is_empty()),
                Step::Read(_) => match words.next() {
                    Some(more) => input = more,
                    None => session.lost(&Lost::Closed),
                },
                Step::StartTls => {
                    prop_assert!(policy != TlsPolicy::Never && !session.is_secured());
                    prop_assert!(input.is_empty(), "what came in clear is not for TLS");
                    match handshakes {
                        true => session.secured(Trust::Unverified),
                        false => session.unsecured("no"),
                    }
                }
                Step::Ready if begun == 5 => session.quit(),
                Step::Ready => {
                    prop_assert!(session.is_open(), "ready is open");
                    prop_assert!(policy != TlsPolicy::Always || session.is_secured());
                    session.begin(&delivery);
                    under_way = true;
                    begun += 1;
                }
                Step::Done(outcomes) => {
                    let order: Vec<u16> = outcomes.iter().map(|(position, _)| *position).collect();
                    prop_assert_eq!(order, vec![2, 0, 1]);
                    prop_assert!(std::mem::take(&mut under_way));
                }
                Step::Stale => prop_assert!(std::mem::take(&mut under_way)),
                Step::Closed(_) => prop_assert!(!under_way),
                Step::Over => {
                    prop_assert!(!under_way && !session.is_open());
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "the session goes round in circles");
    }

    /// Against a correct remote that accepts, refuses and drops as it likes: both sides agree.
    #[test]
    fn outcomes_are_what_the_remote_decided(seed in any::<u64>()) {
        model::converse(seed);
    }
}
