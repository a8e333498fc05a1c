//! Tests of the sink's session: each dialogue whole, byte by byte, and in pieces of every size.

use super::*;
use crate::profile::site::{self, Tls};
use crate::profile::words::Replies;
use crate::sink::personality::{Limit, MESSAGE_BYTES_MAX, Odds, Offer, Personality};

/// What a client of 127.0.0.1 calls when all sites share an address.
const SHARED: &str = "127.0.0.1";

fn plain() -> Personality {
    Personality::kind()
}

fn always(replies: &str) -> Odds {
    Odds { share: 1000, replies: Replies::of(replies) }
}

fn world(personality: Personality) -> Rc<World> {
    Rc::new(World::new(Sites::new(Vec::new(), personality, 1), 1))
}

fn come(world: &Rc<World>, called: &str, number: u64) -> Session {
    let client = "127.0.0.1".parse().unwrap();
    Session::new(world.clone(), Arrival { client, called: called.parse().unwrap(), number })
}

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    mail: String,
    recipients: Vec<String>,
    content: String,
}

/// All that happened in a session.
#[derive(Debug, Default, PartialEq, Eq)]
struct Talk {
    greeting: String,
    /// Of each line of a reply, with its hyphen.
    codes: Vec<String>,
    replies: String,
    taken: Vec<Taken>,
    waits: Vec<Duration>,
    end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Closed,
}

/// What a session makes of `input` in pieces of `piece` bytes.
fn hold(mut session: Session, input: &[u8], piece: usize) -> Talk {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut talk = Talk::default();
    let mut replies = Vec::new();
    'pieces: for (number, mut piece) in [&[][..]].into_iter().chain(input.chunks(piece)).enumerate()
    {
        loop {
            match session.advance(&mut piece, &mut replies) {
                Step::Idle => break,
                Step::Close => {
                    talk.end = End::Closed;
                    break 'pieces;
                }
                Step::Wait(time) => talk.waits.push(time),
                Step::StartTls(_) => break 'pieces,
                Step::Message => {
                    let (envelope, content) = session.message();
                    talk.taken.push(Taken {
                        mail: text(envelope.mail_line()),
                        recipients: envelope.recipients().map(text).collect(),
                        content: text(content),
                    });
                    session.answer(talk.taken.len() as u64, &mut replies);
                }
            }
        }
        assert!(piece.is_empty(), "an idle session has used all input");
        if number == 0 {
            talk.greeting = text(&std::mem::take(&mut replies));
        }
    }
    talk.replies = text(&replies);
    talk.codes = talk.replies.lines().map(|line| line[..4].trim_end().to_owned()).collect();
    talk
}

fn talk(personality: Personality, input: &[u8], piece: usize) -> (Vec<String>, Vec<Taken>) {
    let talk = hold(come(&world(personality), SHARED, 1), input, piece);
    (talk.codes, talk.taken)
}

/// The same, in pieces of every size, which must make no difference.
fn hold_all(make: impl Fn() -> Rc<World>, called: &str, input: &str) -> Talk {
    let whole = hold(come(&make(), called, 1), input.as_bytes(), input.len());
    for piece in 1..input.len() {
        let talk = hold(come(&make(), called, 1), input.as_bytes(), piece);
        assert_eq!(talk, whole, "pieces of {piece}");
    }
    whole
}

fn talk_all(personality: Personality, input: &str) -> (Vec<String>, Vec<Taken>) {
    let talk = hold_all(|| world(personality.clone()), SHARED, input);
    (talk.codes, talk.taken)
}

fn taken(mail: &str, recipients: &[&str], content: &str) -> Taken {
    let recipients = recipients.iter().map(|address| (*address).to_owned()).collect();
    Taken { mail: mail.to_owned(), recipients, content: content.to_owned() }
}

#[test]
fn data_loses_its_dots_and_nothing_else() {
    let (codes, messages) = talk_all(
        plain(),
        "EHLO me\r\nMAIL FROM:<a@x.test> SIZE=9\r\nRCPT TO:<b@y.test>\r\nrcpt to:<c@y.test>\r\n\
         DATA\r\n..one\r\n...\r\nlf\n.\n.\rcr\r\r\n..\r\n.x\r\n\r\n.\r\n\
         MAIL FROM:<>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n.\r\nQUIT\r\n",
    );
    let expected = "250- 250- 250- 250- 250- 250- 250 250 250 250 354 250 250 250 354 250 221";
    assert_eq!(codes, expected.split(' ').collect::<Vec<_>>());
    let content = ".one\r\n..\r\nlf\n.\n.\rcr\r\r\n.\r\nx\r\n\r\n";
    let first = taken("MAIL FROM:<a@x.test> SIZE=9", &["b@y.test", "c@y.test"], content);
    assert_eq!(messages, [first, taken("MAIL FROM:<>", &["b@y.test"], "")]);
}

#[test]
fn chunks_are_taken_as_they_are() {
    let (codes, messages) = talk_all(
        plain(),
        "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nBDAT 7\r\n..\r\n.\r\nBDAT 2\r\nQ\n\
         BDAT 0 LAST\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nBDAT 3 last\r\nendNOOP\r\n",
    );
    assert_eq!(codes, ["250", "250", "250", "250", "250", "250", "250", "250", "250"]);
    let contents: Vec<_> = messages.iter().map(|taken| taken.content.as_str()).collect();
    assert_eq!(contents, ["..\r\n.\r\nQ\n", "end"]);
}

#[test]
fn commands_out_of_order_are_refused_and_cost_nothing() {
    let (codes, messages) = talk_all(
        plain(),
        "RCPT TO:<b@y.test>\r\nDATA\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@x.test>\r\n\
         MAIL FROM:<a@x.test>\r\nDATA\r\nRSET\r\nRCPT TO:<b@y.test>\r\nMAIL me\r\nWHAT\r\n",
    );
    assert_eq!(codes, ["503", "503", "503", "250", "503", "503", "250", "503", "501", "500"]);
    assert!(messages.is_empty());
}

#[test]
fn what_is_not_offered_is_not_there() {
    let withheld =
        Personality { chunking: Offer::Withheld, pipelining: Offer::Withheld, ..plain() };
    let (codes, _) = talk_all(withheld, "EHLO me\r\nBDAT 0 LAST\r\n");
    assert_eq!(codes, ["250-", "250-", "250-", "250-", "250", "500"]);
}

#[test]
fn a_rejected_address_stays_rejected_and_a_deferred_one_does_not() {
    let rejecting =
        Personality { unknown_user: Odds { share: 300, ..plain().unknown_user }, ..plain() };
    let deferring = Personality {
        recipient_deferral: Odds { share: 300, ..plain().recipient_deferral },
        ..plain()
    };
    let mut dialogue = "MAIL FROM:<a@x.test>\r\n".to_owned();
    for _ in 0..2 {
        for n in 0..200 {
            dialogue.push_str(&format!("RCPT TO:<r{n}@x.test>\r\n"));
        }
    }
    let rounds = |personality| {
        let (codes, _) = talk(personality, dialogue.as_bytes(), 1000);
        (codes[1..201].to_vec(), codes[201..].to_vec())
    };
    let refused = |codes: &[String]| codes.iter().filter(|code| *code != "250").count();
    let (first, second) = rounds(rejecting);
    assert_eq!(first, second);
    assert!((30..90).contains(&refused(&first)), "{}", refused(&first));
    let (first, second) = rounds(deferring);
    assert_ne!(first, second);
    assert!((30..90).contains(&refused(&first)), "{}", refused(&first));
}

#[test]
fn endless_lines_end_the_session() {
    let (codes, _) = talk(plain(), &[b'x'; LINE_BYTES_MAX * 2], 1000);
    assert_eq!(codes, ["500"]);
}

#[test]
fn an_address_is_found_in_its_brackets() {
    for (line, address) in [
        ("RCPT TO:<a@b.test> NOTIFY=NEVER", "a@b.test"),
        ("RCPT TO: <a@b.test>", "a@b.test"),
        (r#"RCPT TO:<"a>\"b"@b.test>"#, r#""a>\"b"@b.test"#),
        ("RCPT TO:a@b.test X=Y", "a@b.test"),
        ("MAIL FROM:<>", ""),
    ] {
        assert_eq!(command::path(line.as_bytes()), address.as_bytes(), "{line}");
    }
}

#[test]
fn a_refusing_server_takes_nothing_but_a_farewell() {
    let dialogue = "EHLO me\r\nMAIL FROM:<a@x.test>\r\nQUIT\r\nNOOP\r\n";
    let refusing = |words: &str| Personality { session_refusal: always(words), ..plain() };
    let talk = hold_all(|| world(refusing("554 no")), SHARED, dialogue);
    assert_eq!((talk.greeting.as_str(), talk.end), ("554 no\r\n", End::Closed));
    assert_eq!(talk.codes, ["503", "503", "221"]);

    let talk = hold_all(|| world(refusing("421 not now")), SHARED, dialogue);
    assert_eq!((talk.greeting.as_str(), talk.end), ("", End::Closed));
    assert_eq!(talk.replies, "421 not now\r\n");
}

#[test]
fn a_connection_brings_as_many_messages_as_it_may() {
    let message = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhi\r\n.\r\n";
    let limit = Limit { count: 2, replies: Replies::of("421 enough") };
    let limited = Personality { messages_max: Some(limit), ..plain() };
    let (codes, taken) = talk_all(limited, &message.repeat(3));
    assert_eq!(taken.len(), 2);
    assert_eq!(codes, ["250", "250", "354", "250", "250", "250", "354", "250", "421"]);
}

/// A world of the `[[site]]` that is written in `lines`, which are all sites there are.
fn world_of(lines: &str) -> Rc<World> {
    let text = format!("[[site]]\nname = \"it\"\nshare = 1000\n{lines}\n");
    let sites = site::read(&text).unwrap();
    let it = |site| (1000, Personality::of(site, Tls::None));
    Rc::new(World::new(Sites::new(sites.into_iter().map(it).collect(), plain(), 1), 1))
}

/// An address that is a site's own.
const OWN: &str = "127.64.0.0";
const MESSAGE: &str = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nhi\r\n.\r\n";

fn seen(world: &World, behaviour: Behaviour) -> u64 {
    world.memory.borrow().seen()[0].of(behaviour)
}

/// What each behaviour does to a session at a site's own address that brings one message twice, by
/// the codes after the greeting and how often it was counted.
#[test]
fn each_behaviour_does_what_it_says() {
    use Behaviour as B;
    let twice = MESSAGE.repeat(2);
    let kind = "250 250 354 250 250 250 354 250";
    for (lines, behaviour, greeting, codes, count) in [
        ("", B::Slowed, "220", kind, 0),
        ("drop = { greeting = 1000 }", B::DroppedAtGreeting, "", "", 1),
        ("refuse-sessions = { share = 1000 }", B::SessionRefused, "554", &["503"; 10].join(" "), 1),
        ("refuse-sessions = { share = 0 }", B::SessionRefused, "220", kind, 0),
        ("messages-per-session = { count = 1 }", B::SessionFull, "220", "250 250 354 250 421", 1),
        ("messages-per-session = { count = 2 }", B::SessionFull, "220", kind, 0),
        (
            "messages-per-session = { count = 1, replies = [\"450 4.7.1 x\"] }",
            B::SessionFull,
            "220",
            "250 250 354 250 450",
            1,
        ),
        (
            "messages-per-minute = { count = 1 }",
            B::RateLimited,
            "220",
            "250 250 354 250 450 503 503 500 500",
            1,
        ),
        (
            "messages-per-minute = { count = 1, replies = [\"421 4.7.28 x\"] }",
            B::RateLimited,
            "220",
            "250 250 354 250 421",
            1,
        ),
        ("messages-per-minute = { count = 2 }", B::RateLimited, "220", kind, 0),
        ("drop = { mail = 1000 }", B::DroppedAfterMail, "220", "", 1),
        ("unknown-users = { share = 1000 }", B::UnknownUser, "220", REFUSED, 2),
        ("reject-recipients = { share = 1000 }", B::RecipientRejected, "220", REFUSED, 2),
        ("defer-recipients = { share = 1000 }", B::RecipientDeferred, "220", DEFERRED, 2),
        ("greylist = {}", B::Greylisted, "220", GREYLISTED, 1),
        ("greylist = { attempts = 2 }", B::Greylisted, "220", LISTED_TWICE, 2),
        ("greylist = { seconds = 1 }", B::Greylisted, "220", LISTED_TWICE, 2),
        (
            "reject-messages = { share = 1000 }",
            B::MessageRejected,
            "220",
            "250 250 354 554 250 250 354 554",
            2,
        ),
        (
            "defer-messages = { share = 1000 }",
            B::MessageDeferred,
            "220",
            "250 250 354 451 250 250 354 451",
            2,
        ),
        (
            "defer-messages = { share = 1000, replies = [\"421 4.3.2 x\"] }",
            B::MessageDeferred,
            "220",
            "250 250 354 421",
            1,
        ),
        ("drop = { data = 1000 }", B::DroppedInData, "220", "250 250 354", 1),
        ("drop = { final = 1000 }", B::DroppedAtEnd, "220", "250 250 354", 1),
        ("drop = { taken = 1000 }", B::DroppedTaken, "220", "250 250 354", 1),
        ("size-max = 3", B::TooBig, "220", "250 250 354 552 250 250 354 552", 2),
        ("size-max = 4", B::TooBig, "220", kind, 0),
        ("sessions-max = { count = 1 }", B::TooManySessions, "220", kind, 0),
        ("slow = { reply-ms = 5 }", B::Slowed, "220", kind, 6),
        ("slow = { greeting-ms = 5 }", B::Slowed, "", &format!("220 {kind}"), 1),
        ("slow = { final-ms = 5 }", B::Slowed, "220", kind, 2),
    ] {
        let talk = hold_all(|| world_of(lines), OWN, &twice);
        let world = world_of(lines);
        hold(come(&world, OWN, 1), twice.as_bytes(), twice.len());
        let said = format!("{}{}", talk.greeting, talk.replies);
        let mut all: Vec<&str> = said.lines().map(|line| &line[..3]).collect();
        let first = if greeting.is_empty() { String::new() } else { all.remove(0).to_owned() };
        assert_eq!((first.as_str(), all.join(" ").as_str()), (greeting, codes), "{lines}");
        assert_eq!(seen(&world, behaviour), count, "{lines}");
    }
}

const REFUSED: &str = "250 550 503 500 500 503 550 503 500 500";
const DEFERRED: &str = "250 451 503 500 500 503 451 503 500 500";
const GREYLISTED: &str = "250 450 503 500 500 503 250 354 250";
const LISTED_TWICE: &str = "250 450 503 500 500 503 450 503 500 500";

#[test]
fn what_is_cut_is_not_taken_unless_it_says_so() {
    let chunk = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nBDAT 4 LAST\r\nhi\r\n";
    for (lines, taken) in [
        ("drop = { data = 1000 }", 0),
        ("drop = { final = 1000 }", 0),
        ("drop = { taken = 1000 }", 1),
        ("reject-messages = { share = 1000 }", 0),
        ("", 1),
    ] {
        for dialogue in [MESSAGE, chunk] {
            let talk = hold_all(|| world_of(lines), OWN, dialogue);
            assert_eq!(talk.taken.len(), taken, "{lines}");
            let is_cut = lines.starts_with("drop");
            assert_eq!(talk.end == End::Closed, is_cut, "{lines}");
        }
    }
    // A long message is cut long before its end.
    let long = MESSAGE.replace("hi", &"x".repeat(CUT_BYTES_MAX + 10));
    let world = world_of("drop = { data = 1000 }");
    let mut session = come(&world, OWN, 1);
    let (mut input, mut replies) = (&long.as_bytes()[..long.len() - 5], Vec::new());
    assert_eq!(session.advance(&mut input, &mut replies), Step::Close);
}

#[test]
fn the_declared_size_is_held_against_a_message() {
    let world = || world_of("size-max = 1000");
    let talk = hold_all(
        world,
        OWN,
        "EHLO me\r\nMAIL FROM:<a@x.test> BODY=8BITMIME size=1001\r\nRCPT TO:<b@y.test>\r\n\
         MAIL FROM:<a@x.test> SIZE=1000\r\n",
    );
    assert!(talk.replies.contains("250-SIZE 1000\r\n"), "{}", talk.replies);
    assert!(talk.codes.ends_with(&["552".to_owned(), "503".to_owned(), "250".to_owned()]));
    let talk = hold_all(|| super::tests::world(plain()), SHARED, "EHLO me\r\n");
    assert!(talk.replies.contains(&format!("250-SIZE {MESSAGE_BYTES_MAX}\r\n")));
}

#[test]
fn words_are_those_of_the_profile() {
    let lines = "greylist = { replies = [\"451 4.7.1 <{recipient}> from {sender} at {client}: \
                 wait\\nfor {domain}\"] }";
    let talk = hold_all(|| world_of(lines), OWN, &MESSAGE[..44]);
    assert_eq!(
        talk.replies,
        "250 2.1.0 ok\r\n451-4.7.1 <b@y.test> from a@x.test at 127.0.0.1: wait\r\n\
         451 4.7.1 for y.test\r\n"
    );
}

#[test]
fn waits_are_within_their_spread() {
    let lines = "slow = { greeting-ms = 100, reply-ms = 10, final-ms = 1000, spread-percent = 50 }";
    let talk = hold_all(|| world_of(lines), OWN, MESSAGE);
    assert_eq!(talk.waits.len(), 5);
    for (wait, base) in talk.waits.iter().zip([100, 10, 10, 10, 1000]) {
        let (least, most) = (Duration::from_millis(base / 2), Duration::from_millis(base * 3 / 2));
        assert!((least..=most).contains(wait), "{wait:?} is not about {base} ms");
    }
    assert!(hold_all(|| world_of(""), OWN, MESSAGE).waits.is_empty());
    // Only what a message's own judge says applies where the address is shared.
    let shared = hold_all(|| world_of(lines), SHARED, MESSAGE);
    assert_eq!(shared.waits.len(), 1);
}

#[test]
fn a_client_has_so_many_sessions_at_once() {
    let world = world_of("sessions-max = { count = 2, replies = [\"421 4.7.0 {client} again\"] }");
    let greeted = |session: &mut Session| {
        let mut replies = Vec::new();
        session.advance(&mut &[][..], &mut replies);
        String::from_utf8(replies).unwrap()
    };
    let mut sessions: Vec<Session> = (0..3).map(|number| come(&world, OWN, number)).collect();
    let greetings: Vec<String> = sessions.iter_mut().map(greeted).collect();
    assert!(greetings[0].starts_with("220") && greetings[1].starts_with("220"));
    assert_eq!(greetings[2], "421 4.7.0 127.0.0.1 again\r\n");
    assert_eq!(seen(&world, Behaviour::TooManySessions), 1);
    // Another site has room of its own, and so has this one when somebody left.
    assert!(greeted(&mut come(&world, "127.64.0.2", 4)).starts_with("220"));
    sessions.truncate(1);
    assert!(greeted(&mut come(&world, OWN, 5)).starts_with("220"));
}

#[test]
fn limits_are_over_when_their_time_is() {
    let world = world_of("messages-per-minute = { count = 1 }\ngreylist = { seconds = 30 }");
    let mut session = come(&world, OWN, 1);
    let mut said = |second: u64, mut line: &[u8]| {
        let mut replies = Vec::new();
        session.tell_time(Duration::from_secs(second));
        assert_eq!(session.advance(&mut line, &mut replies), Step::Idle);
        String::from_utf8(replies).unwrap().lines().last().unwrap()[..3].to_owned()
    };
    let (mail, rcpt): (&[u8], &[u8]) = (b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@y>\r\n");
    for (second, line, code) in [
        (100, mail, "250"),
        (100, rcpt, "450"),
        (129, rcpt, "450"),
        (130, rcpt, "250"),
        (131, b"RSET\r\n", "250"),
        (132, mail, "450"),
        (160, mail, "250"),
        (161, rcpt, "250"),
        (161, b"RCPT TO:<c@y>\r\n", "450"),
    ] {
        assert_eq!(said(second, line), code, "{second} s");
    }
}

#[test]
fn where_the_address_is_shared_recipients_fare_by_their_domain() {
    let text = "[[site]]\nname = \"no\"\nshare = 500\nwithhold = [\"CHUNKING\"]\n\
                   unknown-users = { share = 1000 }\ndrop = { mail = 1000 }\n\
                   [[site]]\nname = \"late\"\nshare = 500\ndefer-messages = { share = 1000 }\n";
    let shared = site::read(text).unwrap().into_iter();
    let shared = shared.map(|site| (site.share.0, Personality::of(site, Tls::None))).collect();
    let sites = Sites::new(shared, plain(), 1);
    let domain = |place| {
        let names = (0..).map(|n| format!("d{n}.test"));
        names.into_iter().find(|name| sites.of_domain(name.as_bytes()).place == place).unwrap()
    };
    let (no, late) = (domain(0), domain(1));
    let dialogue = format!(
        "EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@{no}>\r\nRCPT TO:<b@{late}>\r\n\
         DATA\r\nhi\r\n.\r\n"
    );
    let talk = hold_all(|| Rc::new(World::new(sites.clone(), 1)), SHARED, &dialogue);
    assert!(talk.replies.contains("CHUNKING"), "sessions are ordinary");
    assert_eq!(talk.codes[talk.codes.len() - 5..], ["250", "550", "250", "354", "451"]);
}

#[test]
fn tls_is_offered_once_and_what_was_said_before_is_forgotten() {
    let with = |tls| Personality { tls, ..plain() };
    let (codes, _) = talk_all(with(Tls::None), "EHLO me\r\nSTARTTLS\r\n");
    assert_eq!((codes.len(), codes.last().unwrap().as_str()), (8, "500"));
    let (codes, _) = talk_all(with(Tls::Refused), "EHLO me\r\nSTARTTLS\r\nNOOP\r\n");
    assert_eq!(codes[7..], ["250", "454", "250"]);
    for (tls, handshake, broken) in [
        (Tls::Works, Handshake::Works, 0),
        (Tls::Fails, Handshake::Fails, 1),
        (Tls::Garbage, Handshake::Garbage, 1),
        (Tls::Closes, Handshake::Closes, 1),
    ] {
        let world = world(with(tls));
        let mut session = come(&world, SHARED, 1);
        let mut replies = Vec::new();
        let mut input = &b"EHLO me\r\nMAIL FROM:<a@x>\r\nSTARTTLS\r\nRCPT TO:<injected@x>\r\n"[..];
        assert_eq!(session.advance(&mut input, &mut replies), Step::StartTls(handshake));
        assert!(replies.ends_with(b"220 2.0.0 Ready to start TLS\r\n"));
        assert_eq!(seen(&world, Behaviour::BrokenTls), broken);
        session.secured();
        assert!(session.client().is_empty());
        replies.clear();
        let mut input = &b"RCPT TO:<b@x>\r\nEHLO me\r\nSTARTTLS\r\n"[..];
        assert_eq!(session.advance(&mut input, &mut replies), Step::Idle);
        let said = String::from_utf8(replies).unwrap();
        assert!(said.starts_with("503") && !said.contains("STARTTLS"), "{said}");
        assert!(said.ends_with("500 5.5.1 unknown command\r\n"), "{said}");
    }
}

#[test]
fn a_notice_may_have_to_wait_but_is_not_rejected() {
    let notice = MESSAGE.replace("<a@x.test>", "<>");
    for (lines, codes) in [
        ("unknown-users = { share = 1000 }", "250 250 354 250"),
        ("reject-recipients = { share = 1000 }", "250 250 354 250"),
        ("reject-messages = { share = 1000 }", "250 250 354 250"),
        ("greylist = {}", "250 450 503 500 500"),
        ("defer-recipients = { share = 1000 }", "250 451 503 500 500"),
        ("defer-messages = { share = 1000 }", "250 250 354 451"),
    ] {
        assert_eq!(hold_all(|| world_of(lines), OWN, &notice).codes.join(" "), codes, "{lines}");
    }
}
