//! What is tried with any bytes at all: one function a target, each a property that must hold.
//!
//! Every function takes what a fuzzer made up and panics when a promise is broken: nothing that
//! a peer, a disk or an operator's file holds may end the process; how the input is cut changes
//! nothing; what is printed is read back the same. The same text is compiled twice: instrumented
//! in the crate beside it, and into the ordinary tests (`tests/fuzz.rs`), which run it briefly.
//!
//! Where a target needs choices, they are the first octets of its input ([`KNOBS`] of them).

use baton::accept::proxy;
use baton::config::{Config, HeaderFamilies, HeaderFamily, Panel};
use baton::dns::{self, Answer, Edns, Kind, Query, Question, Transport, Unusable};
use baton::event::{CloseReason, RejectStage, RejectTag};
use baton::filter::content as letter;
use baton::identify::family::VISITORS_MAX;
use baton::identify::lockdown;
use baton::identify::sign::{EVIDENCE_BYTES_MAX, Sign};
use baton::identify::value::VALUE_BYTES_MAX;
use baton::identify::{Circumstances, Confidence, Identified, identify};
use baton::limits::REPLY_BYTES_MAX;
use baton::message::{Address, MessageId, Protocol, RemoteReply, ReversePath, StatusCode};
use baton::queue::record;
use baton::smtp::address;
use baton::smtp::command::{self, Command, MailFrom};
use baton::smtp::content::{Content, Progress, has_bare_dot_line};
use baton::smtp::reply::{BadReply, Reply, ReplyReader};
use baton::smtp::server::{Auth, Draft, Gate, Refusal, Rules, ServerSession, Step, Transaction};
use baton::time::Stamp;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// The octets at the front of `content`, `identity`, `replies` and `server` that are not input.
pub const KNOBS: usize = 2;

pub type Target = fn(&[u8]);

/// By name; `fuzz_targets/` has one file for each.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("command", command),
    ("config", config),
    ("content", content),
    ("dns", dns),
    ("identity", identity),
    ("proxy", proxy),
    ("record", record),
    ("replies", replies),
    ("scan", scan),
    ("server", server),
];

/// The pieces of an input, 1 to 16 octets each, chosen by `seed`; zero leaves it whole.
fn pieces(input: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    let mut state = u32::from(seed);
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(u32::from(seed));
        let length = if seed == 0 { rest.len() } else { 1 + (state >> 28) as usize };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn knobs(data: &[u8]) -> ([u8; KNOBS], &[u8]) {
    data.split_first_chunk().map_or(([0; KNOBS], data), |(knobs, input)| (*knobs, input))
}

/// An address that is read prints as it was written and reads the same again.
pub fn address(data: &[u8]) {
    if let Ok(mailbox) = address::parse_mailbox(data) {
        assert_eq!(mailbox.as_str().as_bytes(), data);
        assert!(!mailbox.local().is_empty() && !mailbox.domain().is_empty());
        assert!(!mailbox.as_str().contains(['\r', '\n', '\0']));
    }
    if let Ok((path, rest)) = address::parse_path(data) {
        assert!(data.ends_with(rest));
        let printed = format!("<{path}>");
        assert_eq!(address::parse_path(printed.as_bytes()), Ok((path, &b""[..])));
    }
    if let Ok((forward, rest)) = address::parse_forward_path(data) {
        assert!(data.ends_with(rest));
        let printed = format!("<{forward}>");
        assert_eq!(address::parse_forward_path(printed.as_bytes()), Ok((forward, &b""[..])));
    }
}

/// A command that is read prints to one line that reads the same; a refusal is a refusal.
pub fn command(data: &[u8]) {
    match command::parse(data) {
        Ok(command) => {
            let mut printed = Vec::new();
            command.write(&mut printed);
            let line = printed.strip_suffix(b"\r\n").expect("a command ends in CRLF");
            assert!(!line.iter().any(u8::is_ascii_control));
            assert!(command::parse(line).as_ref() == Ok(&command), "{command:?} reads otherwise");
            if let Command::Auth { initial: Some(response), .. } = &command {
                let _ = command::decode_base64(response);
            }
        }
        Err(reply) => assert!(reply.code >= 500),
    }
    if let Ok((name, password)) = command::decode_plain(data) {
        assert!(!name.is_empty() && !password.is_empty());
    }
}

/// A configuration is taken or refused with problems that lie inside the text.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(problems) = Config::parse("fuzz.toml", text, "box.example.net") {
        assert!(!problems.is_empty());
        let lines = text.split('\n').count();
        assert!(problems.iter().all(|problem| problem.line <= lines + 1));
    }
}

/// Content ends at the same place however it is cut, and as the plain rule says.
pub fn content(data: &[u8]) {
    let ([seed, _], input) = knobs(data);
    let read = |seed| {
        let (mut content, mut body) = (Content::new(), Vec::new());
        let mut used = 0;
        for piece in pieces(input, seed) {
            let mut rest = piece;
            let progress = content.read(&mut rest, &mut body);
            used += piece.len() - rest.len();
            if progress != Progress::More {
                return (progress, body, used);
            }
        }
        (Progress::More, body, used)
    };
    let whole = read(0);
    assert_eq!(whole, read(seed));
    let (progress, body, used) = whole;
    if progress == Progress::End {
        let framed = [b"\r\n", &input[..used]].concat();
        assert!(framed.ends_with(b"\r\n.\r\n"));
        assert_eq!(memchr_count(&framed, b"\r\n.\r\n"), 1, "the first end is the end");
        assert!(!has_bare_dot_line(&body), "{}", body.escape_ascii());
    }
}

fn memchr_count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

/// A packet is an answer to the one query whose id and question it repeats, and what it says is
/// bounded. The packet is tried as it is, and with the head that makes it ours.
pub fn dns(data: &[u8]) {
    let asked = |kind, random| {
        let question = Question::new("x.test", kind).expect("a name");
        Query::new(question, Edns::With { authentic: true }, [random, 0b0110_1001])
    };
    let query = asked(Kind::Mx, 0x1234_5678);
    let head = query.packet().len() - 11;
    let mut ours = data.to_vec();
    if let Some(counts) = data.get(2..12) {
        ours.splice(..head.min(data.len()), query.packet()[..head].iter().copied());
        // Flags and counts stay those of the input, but for being a reply with one question.
        ours[2..12].copy_from_slice(counts);
        ours[2] = 0x80 | counts[0] & 0x07;
        ours[4..6].copy_from_slice(&[0, 1]);
    }
    for packet in [data, &ours] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let read = dns::read(&query, packet, transport);
            assert_eq!(read, dns::read(&query, packet, transport));
            if let Ok(answer) = &read {
                assert_eq!(packet[..2], query.packet()[..2], "{answer:?}");
                let asked = packet[12..head].eq_ignore_ascii_case(&query.packet()[12..head]);
                assert!(asked, "{answer:?}");
                assert!(answer.records().len() <= 128 && answer.records().is_sorted());
                assert_eq!(answer.records().is_empty(), !matches!(answer, Answer::Records(_)));
            }
            let other_id = dns::read(&asked(Kind::Mx, 0x4321_5678), packet, transport);
            let other_kind = dns::read(&asked(Kind::Txt, 0x1234_5678), packet, transport);
            if packet.starts_with(&query.packet()[..2]) {
                assert_eq!(other_id, Err(Unusable::NotOurs));
            }
            if read.is_ok() {
                assert_eq!(other_kind, Err(Unusable::NotOurs));
            }
        }
    }
}

/// Whatever a header holds, there is one bounded name in three parts, and none of it is taken
/// from a header that is not believed. What it names as a domain's record locks as one reads it.
pub fn identity(data: &[u8]) {
    let ([families, _], input) = knobs(data);
    let panels = [
        Panel::Cpanel.families(),
        Panel::DirectAdmin.families(),
        Panel::Plesk.families(),
        Panel::Postfix.families(),
        Panel::Sendmail.families(),
        Panel::Php.families(),
        HeaderFamilies::of(&[HeaderFamily::XAuthUser, HeaderFamily::XAuthenticatedUser]),
        HeaderFamilies::of(&[HeaderFamily::XSenderId, HeaderFamily::XOriginatingIp]),
    ];
    // Spread, because the examples choose among few numbers.
    let families = families.wrapping_mul(37);
    let chosen = panels.into_iter().enumerate().filter(|(bit, _)| families & (1 << bit) != 0);
    let believed = chosen.fold(HeaderFamilies::NONE, |all, (_, more)| all.and(more));
    let found = identified(input, believed);
    let (id, identity) = (found.envelope.sender_id.as_str(), &found.identity);
    let [account, kind, value] = id.split('|').collect::<Vec<_>>()[..] else {
        panic!("{id} has not three parts");
    };
    assert!(account == "acme" && !kind.is_empty() && !value.is_empty(), "{id}");
    assert!(value.len() <= VALUE_BYTES_MAX && !id.contains(char::is_control), "{id}");
    assert!(identity.visitors.len() <= VISITORS_MAX + 1);
    assert!(found.facts.iter().count() <= Sign::ALL.len());
    assert!(found.facts.iter().all(|fact| fact.evidence.len() <= EVIDENCE_BYTES_MAX));
    let stranger = identified(input, HeaderFamilies::NONE);
    assert_eq!(stranger.envelope.sender_id.as_str(), "acme|peer|192.0.2.1");
    assert_eq!(stranger.identity.confidence, Confidence::Peer);
    let sender = &found.envelope.sender_id;
    let texts: Vec<&[u8]> = input.split(|octet| *octet == b'\n').collect();
    let decision = lockdown::decide(&texts, &texts, sender);
    assert_eq!(decision, lockdown::decide(&texts, &texts, sender));
    assert_eq!(lockdown::decide(&[], &[], sender).lock, lockdown::Lock::Open);
}

/// The header of a message from a declared peer that is believed these families.
fn identified(header: &[u8], believed: HeaderFamilies) -> Identified {
    let text = "[[peer]]\nnetwork = \"192.0.2.1\"\naccount = \"acme\"";
    let mut config = Config::parse("fuzz.toml", text, "box.example.net").expect("it is plain");
    config.peers[0].identity_headers = believed;
    let mail = MailFrom {
        sender: ReversePath::Null,
        size: None,
        body: None,
        utf8: false,
        ret: None,
        envid: None,
        auth: false,
        require_tls: false,
        esmtp: true,
    };
    let (helo, account) = ("box".into(), "acme".into());
    let protocol = Protocol::default();
    let draft = Draft { mail, recipients: Vec::new(), helo, protocol, account };
    let transaction = Transaction { draft, record: [PREFACE, header].concat() };
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let (id, received) = (MessageId::from_u64(7), Stamp::from_millis(7));
    identify(transaction, Circumstances { id, peer, declared: config.peer(peer), received })
}

/// A PROXY header is decided once: what follows changes nothing, and it never reaches beyond.
pub fn proxy(data: &[u8]) {
    let decided = proxy::read(data);
    if let Ok(proxy::Progress::Whole(header)) = decided {
        assert!(header.length <= data.len());
        assert_eq!(proxy::read(&data[..header.length]), decided);
        assert_eq!(proxy::read(&data[..header.length - 1]), Ok(proxy::Progress::More));
    }
    if decided == Ok(proxy::Progress::More) {
        assert!(data.len() < proxy::V2_BYTES_MAX);
    }
}

/// A damaged record is an error; one that is read is written with the same bytes.
pub fn record(data: &[u8]) {
    if let Ok(envelope) = record::decode_envelope(MessageId::from_u64(7), data) {
        let written = record::encode_envelope(&envelope);
        let again = record::decode_envelope(envelope.id, &written);
        assert_eq!(again.as_ref(), Ok(&envelope));
    }
    if let Ok(due) = record::decode_due(data) {
        assert_eq!(record::decode_due(&record::encode_due(&due)).as_ref(), Ok(&due));
    }
}

/// Replies of a remote are the same however they are cut, and what is kept of them is bounded.
pub fn replies(data: &[u8]) {
    const KEPT_MAX: usize = 64 * 1024;
    let ([seed, _], input) = knobs(data);
    let read = |seed| -> (Vec<RemoteReply>, Option<BadReply>) {
        let (mut reader, mut replies) = (ReplyReader::new(), Vec::new());
        for piece in pieces(input, seed) {
            let mut rest = piece;
            while !rest.is_empty() {
                match reader.read(&mut rest) {
                    Ok(reply) => replies.extend(reply),
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    };
    let whole = read(0);
    assert_eq!(whole, read(seed));
    for reply in whole.0 {
        assert!((200..=599).contains(&reply.code));
        assert!(reply.text.len() <= KEPT_MAX);
        assert!(!reply.to_string().contains(['\r', '\n']));
    }
}

/// Any message is read the same each time, and what is kept of it is bounded.
pub fn scan(data: &[u8]) {
    const LIMITS: letter::ContentLimits = letter::ContentLimits::STANDARD;
    const EVIDENCE_LETTERS_MAX: usize = 120;
    let content = letter::Content::read(data, &LIMITS);
    assert_eq!(content.facts().list(), letter::Content::read(data, &LIMITS).facts().list());
    for fact in content.facts().list() {
        assert!(fact.evidence.chars().count() <= EVIDENCE_LETTERS_MAX);
        assert!(!fact.evidence.contains(char::is_control), "{fact:?}");
    }
    for link in content.links().kept() {
        assert!(!link.host.is_empty() && !link.host.contains([' ', '/', '@', '?']), "{link:?}");
    }
    assert!(content.links().hosts().count() <= LIMITS.hosts_max);
    assert!(content.attachments().len() <= LIMITS.attachments_max);
    content.words(|word| assert!(!word.is_empty() && word == word.to_lowercase(), "{word}"));
}

/// A session never panics, holds what its rules allow, and is the same however it is cut.
pub fn server(data: &[u8]) {
    let ([choices, seed], input) = knobs(data);
    let whole = session(choices, input, 0);
    let cut = session(choices, input, seed);
    // Input behind STARTTLS is an attack in one read and a handshake in two.
    if !whole.met_tls && !cut.met_tls {
        assert_eq!(whole, cut);
    }
}

/// What an observer of a session sees.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    replies: Vec<u8>,
    messages: Vec<String>,
    closed: Option<CloseReason>,
    met_tls: bool,
}

fn session(choices: u8, input: &[u8], seed: u8) -> Seen {
    let chosen = |bit: u8| choices & (1 << bit) != 0;
    let rules = rules(chosen);
    let message_max = 2 * (PREFACE.len() + rules.message_bytes_max as usize);
    let mut session = ServerSession::new(Rc::new(rules), chosen(0));
    let mut seen = Seen::default();
    for piece in pieces(input, seed) {
        let mut rest = piece;
        while seen.closed.is_none() {
            let step = session.step(&mut rest, &mut Relay);
            assert!(session.replies().len() <= 2 * REPLY_BYTES_MAX);
            assert!(session.buffered() <= message_max);
            seen.replies.append(session.replies());
            match step {
                Step::Read => break,
                Step::Flush => {}
                Step::StartTls => {
                    assert!(rest.is_empty());
                    seen.met_tls = true;
                    session.secured();
                }
                Step::Authenticate(login) => {
                    let known = login.password == b"secret";
                    session.authenticated(known.then_some(login.account.as_str()));
                }
                Step::Message(transaction) => {
                    let content = transaction.record.strip_prefix(PREFACE);
                    let content = content.expect("our preface comes first");
                    assert!(!has_bare_dot_line(content));
                    assert!(!transaction.draft.recipients.is_empty());
                    let content = content.escape_ascii();
                    seen.messages.push(format!("{:?} {content}", transaction.draft));
                    session.settled(&Reply::new(250, StatusCode::new(2, 0, 0), "queued"));
                }
                Step::Close(reason) => {
                    seen.met_tls |= reason == CloseReason::Injection;
                    seen.closed = Some(reason);
                }
            }
        }
    }
    seen.replies.append(session.replies());
    let lines = seen.replies.strip_suffix(b"\r\n").expect("replies end in CRLF");
    assert!(lines.split(|octet| *octet == b'\n').all(|line| line.len() >= 4));
    seen
}

fn rules(chosen: impl Fn(u8) -> bool) -> Rules {
    let strict = chosen(1);
    Rules {
        hostname: "relay.test".into(),
        message_bytes_max: if strict { 64 } else { 4_096 },
        recipients_max: if strict { 2 } else { 50 },
        errors_max: if strict { 3 } else { 1_000 },
        commands_max: if strict { 12 } else { 10_000 },
        messages_max: if strict { 2 } else { 1_000 },
        auth_failures_max: 3,
        starttls: chosen(2),
        auth: match (chosen(3), chosen(4)) {
            (false, _) => Auth::Offered { in_clear: true },
            (true, false) => Auth::Required { in_clear: true },
            (true, true) => Auth::Off,
        },
        peer_account: (!chosen(5)).then(|| "local".into()),
    }
}

const PREFACE: &[u8] = b"\x01Received: by relay.test\r\n";

/// Refuses one domain, so that both answers are met.
struct Relay;

impl Gate for Relay {
    fn mail(&mut self, mail: &MailFrom) -> Result<(), Refusal> {
        let full = mail.sender.as_str().starts_with("full@");
        let later = Reply::new(452, StatusCode::new(4, 3, 1), "later");
        let later = Refusal::new(RejectTag::Busy, later);
        if full { Err(later) } else { Ok(()) }
    }

    fn recipient(&mut self, address: Address) -> Result<Address, Refusal> {
        let refused = Reply::new(550, StatusCode::new(5, 4, 4), "no route");
        let refused = Refusal::new(RejectTag::NoRoute, refused);
        if address.domain_key() == "bad.test" { Err(refused) } else { Ok(address) }
    }

    fn preface(&mut self, _: &Draft) -> Vec<u8> {
        PREFACE.to_vec()
    }

    fn refused(&mut self, _: RejectStage, _: &str, _: &str, refusal: &Refusal) {
        assert!(refusal.reply.code >= 400);
    }
}
