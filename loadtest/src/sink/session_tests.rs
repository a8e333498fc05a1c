//! Tests of the sink's session: each dialogue whole, byte by byte, and in pieces of every size.

use super::*;

const PLAIN: Personality = Personality {
    greeting: Greeting::Ready,
    messages_max: 0,
    chunking: Offer::Made,
    pipelining: Offer::Made,
    reject_permille: 0,
    defer_permille: 0,
    seed: 1,
};

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    mail: String,
    recipients: Vec<String>,
    content: String,
}

/// What a session makes of `input` in pieces of `piece` bytes.
fn talk(personality: Personality, input: &[u8], piece: usize) -> (Vec<String>, Vec<Taken>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut session = Session::new(personality, 1);
    let (mut replies, mut taken) = (Vec::new(), Vec::new());
    'pieces: for mut piece in input.chunks(piece) {
        loop {
            match session.advance(&mut piece, &mut replies) {
                Step::Idle => break,
                Step::Close => break 'pieces,
                Step::Message => {
                    let (envelope, content) = session.message();
                    taken.push(Taken {
                        mail: text(envelope.mail_line()),
                        recipients: envelope.recipients().map(text).collect(),
                        content: text(content),
                    });
                    session.answer(taken.len() as u64, &mut replies);
                }
            }
        }
        assert!(piece.is_empty(), "an idle session has used all input");
    }
    let codes = text(&replies);
    (codes.lines().map(|line| line[..4].trim_end().to_owned()).collect(), taken)
}

/// The same, in pieces of every size, which must make no difference.
fn talk_all(personality: Personality, input: &str) -> (Vec<String>, Vec<Taken>) {
    let whole = talk(personality, input.as_bytes(), input.len());
    for piece in 1..input.len() {
        assert_eq!(talk(personality, input.as_bytes(), piece), whole, "pieces of {piece}");
    }
    whole
}

fn taken(mail: &str, recipients: &[&str], content: &str) -> Taken {
    let recipients = recipients.iter().map(|address| (*address).to_owned()).collect();
    Taken { mail: mail.to_owned(), recipients, content: content.to_owned() }
}

#[test]
fn data_loses_its_dots_and_nothing_else() {
    let (codes, messages) = talk_all(
        PLAIN,
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
        PLAIN,
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
        PLAIN,
        "RCPT TO:<b@y.test>\r\nDATA\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@x.test>\r\n\
         MAIL FROM:<a@x.test>\r\nDATA\r\nRSET\r\nRCPT TO:<b@y.test>\r\nMAIL me\r\nWHAT\r\n",
    );
    assert_eq!(codes, ["503", "503", "503", "250", "503", "503", "250", "503", "501", "500"]);
    assert!(messages.is_empty());
}

#[test]
fn what_is_not_offered_is_not_there() {
    let withheld = Personality { chunking: Offer::Withheld, pipelining: Offer::Withheld, ..PLAIN };
    let (codes, _) = talk_all(withheld, "EHLO me\r\nBDAT 0 LAST\r\n");
    assert_eq!(codes, ["250-", "250-", "250-", "250-", "250", "500"]);
}

#[test]
fn a_rejected_address_stays_rejected_and_a_deferred_one_does_not() {
    let rejecting = Personality { reject_permille: 300, ..PLAIN };
    let deferring = Personality { defer_permille: 300, ..PLAIN };
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
    let (codes, _) = talk(PLAIN, &[b'x'; LINE_BYTES_MAX * 2], 1000);
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
        assert_eq!(path(line.as_bytes()), address.as_bytes(), "{line}");
    }
}

#[test]
fn a_refusing_server_takes_nothing_but_a_farewell() {
    let mut replies = Vec::new();
    let refusing = Personality { greeting: Greeting::Refusal(554), ..PLAIN };
    let mut session = Session::new(refusing, 1);
    assert_eq!(session.greet(&mut replies), Step::Idle);
    assert!(replies.starts_with(b"554 "));
    replies.clear();
    let mut input = &b"EHLO me\r\nMAIL FROM:<a@x.test>\r\nQUIT\r\nNOOP\r\n"[..];
    assert_eq!(session.advance(&mut input, &mut replies), Step::Close);
    let codes: Vec<&[u8]> =
        replies.split(|byte| *byte == b'\n').map(|line| &line[..3.min(line.len())]).collect();
    assert_eq!(codes, [&b"503"[..], b"503", b"221", b""]);

    replies.clear();
    let mut session = Session::new(Personality { greeting: Greeting::Refusal(421), ..PLAIN }, 1);
    assert_eq!(session.greet(&mut replies), Step::Close);
    assert!(replies.starts_with(b"421 "));
}

#[test]
fn a_connection_brings_as_many_messages_as_it_may() {
    let message = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhi\r\n.\r\n";
    let (codes, taken) = talk_all(Personality { messages_max: 2, ..PLAIN }, &message.repeat(3));
    assert_eq!(taken.len(), 2);
    assert_eq!(codes, ["250", "250", "354", "250", "250", "250", "354", "250", "421"]);
}
