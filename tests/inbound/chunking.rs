//! What must hold for any bytes at all, not only for those that a dialogue thought of.
//!
//! However the input is cut, the session says the same, takes the same messages and closes for
//! the same reason; it never panics and never holds more than its rules allow. STARTTLS is the
//! one exception: input in the same read is an attack, in a later one it is the handshake, so
//! the invariance is shown with it off, and absence of panics with it on.

use super::player::{Cut, PREFACE, ScriptedGate};
use super::script::{GateRules, default_rules};
use baton::limits::{COMMAND_LINE_BYTES_MAX, REPLY_BYTES_MAX};
use baton::message::StatusCode;
use baton::smtp::reply::Reply;
use baton::smtp::server::{Auth, Rules, ServerSession, Step, Transaction};
use proptest::prelude::*;
use std::rc::Rc;

const MESSAGE_BYTES_MAX: u64 = 600;

/// All that an observer sees of a session.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    replies: Vec<u8>,
    /// Envelope and content, in words.
    messages: Vec<String>,
    logins: Vec<String>,
    closed: Option<&'static str>,
}

fn rules(starttls: bool) -> Rules {
    Rules {
        message_bytes_max: MESSAGE_BYTES_MAX,
        recipients_max: 3,
        errors_max: 12,
        commands_max: 40,
        messages_max: 4,
        starttls,
        auth: Auth::Offered { in_clear: true },
        ..default_rules()
    }
}

fn watch(rules: Rules, input: &[u8], cut: Cut) -> Seen {
    let refused = Reply::new(550, StatusCode::new(5, 4, 4), "No route");
    let mut gate = ScriptedGate(GateRules {
        recipients: vec![("bad.test".into(), refused)],
        ..GateRules::default()
    });
    let mut session = ServerSession::new(Rc::new(rules), false);
    let mut seen = Seen::default();
    let mut length = cut.lengths();
    let mut waiting = input;
    while !waiting.is_empty() && seen.closed.is_none() {
        let (mut piece, after) = waiting.split_at(length().min(waiting.len()));
        waiting = after;
        loop {
            let step = session.step(&mut piece, &mut gate);
            assert!(session.replies().len() <= 2 * REPLY_BYTES_MAX);
            assert!(session.buffered() <= 2 * (PREFACE.len() + MESSAGE_BYTES_MAX as usize));
            seen.replies.append(session.replies());
            match step {
                Step::Read => break,
                Step::Flush => {}
                Step::StartTls => session.secured(),
                Step::Authenticate(login) => {
                    let known = login.password == b"secret";
                    session.authenticated(known.then_some(login.account.as_str()));
                    seen.logins.push(format!("{login:?}"));
                }
                Step::Message(transaction) => {
                    seen.messages.push(shown(&transaction));
                    session.settled(&Reply::new(250, StatusCode::new(2, 0, 0), "queued"));
                }
                Step::Close(reason) => {
                    seen.closed = Some(reason.as_str());
                    break;
                }
            }
        }
        assert!(piece.is_empty() || seen.closed.is_some(), "input was left behind");
    }
    seen.replies.append(session.replies());
    seen
}

fn shown(transaction: &Transaction) -> String {
    let content = transaction.record.strip_prefix(PREFACE).expect("our preface comes first");
    assert!(content.len() as u64 <= MESSAGE_BYTES_MAX);
    format!("{:?} {}", transaction.draft, content.escape_ascii())
}

/// Pieces of what clients and attackers say, so that random input reaches every state.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        "EHLO client.test\r\n",
        "HELO client.test\r\n",
        "MAIL FROM:<a@x.test>\r\n",
        "MAIL FROM:<> SIZE=601\r\n",
        "RCPT TO:<b@y.test>\r\n",
        "RCPT TO:<b@bad.test>\r\n",
        "EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n",
        "DATA\r\n",
        "BDAT 5\r\nhello",
        "BDAT 0\r\n",
        "BDAT 0 LAST\r\n",
        "BDAT 12 LAST\r\nSubject: x\r\n",
        "BDAT x\r\n",
        "BDAT 700\r\n",
        "AUTH PLAIN AGFjbWUAc2VjcmV0\r\n",
        "AUTH PLAIN\r\n",
        "AUTH LOGIN\r\n",
        "AUTH LOGIN YWNtZQ==\r\n",
        "YWNtZQ==\r\n",
        "c2VjcmV0\r\n",
        "*\r\n",
        "STARTTLS\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUIT\r\n",
        "\r\n.\r\n",
        "\r\n",
        "\n",
        "\r",
        ".",
        "\n.\n",
        "\r\n.\n",
        "\r.\r",
        "..",
        "text\r\n",
    ]);
    let fixed = fixed.prop_map(|text| text.as_bytes().to_vec());
    let long = (b'a'..=b'z', COMMAND_LINE_BYTES_MAX - 4..COMMAND_LINE_BYTES_MAX + 4)
        .prop_map(|(letter, length)| vec![letter; length]);
    let dots = prop::collection::vec(prop::sample::select(b"\r\n.x".to_vec()), 1..12);
    prop_oneof![
        30 => fixed,
        4 => dots,
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => long,
    ]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(fragment(), 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_changes_nothing(input in input(), seed in any::<u64>()) {
        let whole = watch(rules(false), &input, Cut::Whole);
        prop_assert_eq!(&whole, &watch(rules(false), &input, Cut::EveryByte));
        prop_assert_eq!(&whole, &watch(rules(false), &input, Cut::Random(seed)));
    }

    #[test]
    fn any_bytes_are_survived(
        input in prop::collection::vec(any::<u8>(), 0..4_000),
        seed in any::<u64>(),
    ) {
        let whole = watch(rules(false), &input, Cut::Whole);
        prop_assert_eq!(whole, watch(rules(false), &input, Cut::Random(seed)));
    }

    #[test]
    fn starttls_anywhere_is_survived(input in input(), seed in any::<u64>()) {
        watch(rules(true), &input, Cut::Whole);
        watch(rules(true), &input, Cut::EveryByte);
        watch(rules(true), &input, Cut::Random(seed));
    }

    /// What is taken holds no line that a careless next hop would take for the end of data.
    #[test]
    fn nothing_that_smuggles_is_taken(
        body in prop::collection::vec(prop::sample::select(b"\r\n.x".to_vec()), 0..60),
        chunked in any::<bool>(),
    ) {
        let mut input = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n".to_vec();
        if chunked {
            input.extend_from_slice(format!("BDAT {} LAST\r\n", body.len()).as_bytes());
            input.extend_from_slice(&body);
        } else {
            input.extend_from_slice(b"DATA\r\n");
            input.extend_from_slice(&body);
            input.extend_from_slice(b"\r\n.\r\n");
        }
        let seen = watch(rules(false), &input, Cut::Whole);
        if let Some(message) = seen.messages.first() {
            let (_, content) = message.rsplit_once(' ').expect("the content is last");
            for shape in [r"x\n.\n", r"x\n.\r", r"\n\n.\n", r"\n\n.\r", r"\r.\r", r"\r.\n"] {
                prop_assert!(!content.contains(shape), "{} in {}", shape, content);
            }
        }
    }
}
