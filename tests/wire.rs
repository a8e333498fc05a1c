//! The SMTP wire as pure functions: addresses, commands and replies, by tables and properties.
//!
//! The tables in `tests/tables` are the specification; each begins with its own legend. The
//! properties say what no table can: nothing a peer sends makes the code panic, what was
//! understood prints to what is understood the same, and how the network cuts the bytes of a
//! reply changes nothing.

use baton::message::{Address, BodyKind, Notify, RemoteReply, Return, ReversePath, StatusCode};
use baton::smtp::address::{AddressError, parse_forward_path, parse_mailbox, parse_path};
use baton::smtp::command::{
    self, Command, MailFrom, Mechanism, RcptTo, decode_base64, decode_plain,
};
use baton::smtp::reply::{BadReply, REPLY_LINE_KEPT_OCTETS_MAX, REPLY_LINES_KEPT_MAX};
use baton::smtp::reply::{REPLY_SENT_OCTETS_MAX, Reply, ReplyReader};
use proptest::prelude::*;
use proptest::sample::Index;

/// One `given => expected` of a table.
pub struct Row<'t> {
    pub number: usize,
    pub given: &'t str,
    pub expected: &'t str,
}

pub fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    let lines = table.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let (given, expected) = match line.strip_prefix("=> ") {
            Some(expected) => ("", expected),
            None => line.split_once(" => ").unwrap_or_else(|| panic!("line {number}: no =>")),
        };
        Row { number, given, expected }
    })
}

/// Replaces `\xHH`, `\r`, `\n`, `\t`, `\s`, `\\` and `{text*count}` by what they stand for.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        if letter == '{'
            && let Some((inside, after)) = rest.split_once('}')
            && let Some((repeated, count)) = inside.rsplit_once('*')
            && let Ok(count) = count.parse::<usize>()
        {
            octets.extend(unescape(repeated).repeat(count));
            rest = after;
        } else if letter == '\\' {
            let (kind, after) = rest.split_at(1);
            rest = after;
            match kind {
                "r" => octets.push(b'\r'),
                "n" => octets.push(b'\n'),
                "t" => octets.push(b'\t'),
                "s" => octets.push(b' '),
                "\\" => octets.push(b'\\'),
                "x" => {
                    let (digits, after) = rest.split_at(2);
                    octets.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                    rest = after;
                }
                _ => panic!("unknown escape \\{kind} in {text}"),
            }
        } else {
            octets.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    octets
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}

#[test]
fn addresses_follow_the_table() {
    for row in rows(include_str!("tables/addresses.txt")) {
        let (kind, text) = row.given.split_once(' ').unwrap_or((row.given, ""));
        let text = unescape(text);
        let domain_of = |domain: &str| if domain.is_empty() { "(none)" } else { domain }.to_owned();
        let mailbox =
            |address: &Address| format!("{} | {}", address.local(), domain_of(address.domain()));
        let with_rest = |left: String, rest: &[u8]| format!("{left} |{}", shown(rest));
        let got = match kind {
            "mailbox" => parse_mailbox(&text).map(|address| mailbox(&address)),
            "sender" => parse_path(&text).map(|(path, rest)| match path {
                ReversePath::Null => with_rest("<>".into(), rest),
                ReversePath::Mailbox(address) => with_rest(mailbox(&address), rest),
            }),
            "recipient" => {
                parse_forward_path(&text).map(|(address, rest)| with_rest(mailbox(&address), rest))
            }
            _ => panic!("line {}: unknown kind {kind}", row.number),
        };
        let got = got.unwrap_or_else(|error: AddressError| format!("{error:?}"));
        assert_eq!(
            shown(got.as_bytes()),
            shown(&unescape(row.expected)),
            "addresses.txt line {}",
            row.number
        );
    }
}

#[test]
fn commands_follow_the_table() {
    for row in rows(include_str!("tables/commands.txt")) {
        let place = format!("commands.txt line {}: {}", row.number, row.given);
        match command::parse(&unescape(row.given)) {
            Ok(command) => {
                let printed = command.to_string();
                let expected = unescape(row.expected);
                assert_eq!(shown(printed.as_bytes()), shown(&expected), "{place}");
                assert_eq!(command::parse(printed.as_bytes()), Ok(command.clone()), "{place}");
                let mut line = Vec::new();
                command.write(&mut line);
                assert_eq!(line, [printed.as_bytes(), b"\r\n"].concat(), "{place}");
            }
            Err(reply) => {
                let status = reply.status.expect("each refusal has an enhanced code");
                let codes = format!("{} {status}", reply.code);
                let words = row.expected.strip_prefix(&codes);
                let words = words.unwrap_or_else(|| panic!("{place}: {reply}")).trim_start();
                assert!(reply.text.contains(words), "{place}: {reply}");
            }
        }
    }
}

#[test]
fn replies_follow_the_table() {
    for row in rows(include_str!("tables/replies.txt")) {
        let (kind, given) = row.given.split_once(' ').unwrap_or((row.given, ""));
        let given = unescape(given);
        let expected = unescape(row.expected);
        let place = format!("replies.txt line {}", row.number);
        match kind {
            "write" => assert_eq!(shown(&written(&given)), shown(&expected), "{place}"),
            "read" => match read_all(&[&given]) {
                Ok(replies) => {
                    let texts: Vec<_> = replies.iter().map(reply_text).collect();
                    let got = texts.join(" then ");
                    let got = if got.is_empty() { "more" } else { &got };
                    assert_eq!(shown(got.as_bytes()), shown(&expected), "{place}");
                }
                Err((_, error)) => {
                    let expected = String::from_utf8_lossy(&expected);
                    let (name, words) = expected.split_once(' ').unwrap_or((&expected, ""));
                    assert!(format!("{error:?}").starts_with(name), "{place}: {error:?}");
                    for word in words.split(' ') {
                        assert!(error.to_string().contains(word), "{place}: {error}");
                    }
                }
            },
            _ => panic!("{place}: unknown kind {kind}"),
        }
    }
}

/// Prints the reply that a row describes.
fn written(given: &[u8]) -> Vec<u8> {
    let given = String::from_utf8(given.to_vec()).expect("rows are UTF-8");
    let (code, text) = given.split_once(' ').unwrap_or((&given, ""));
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let status = status_of(first);
    let text = if status.is_some() { rest } else { text };
    let code = code.parse().expect("a row begins with a code");
    let reply = Reply { code, status, text: text.to_owned().into() };
    let mut out = Vec::new();
    reply.write(&mut out);
    out
}

fn status_of(word: &str) -> Option<StatusCode> {
    let numbers: Vec<u16> = word.split('.').map_while(|number| number.parse().ok()).collect();
    match numbers[..] {
        [class, subject, detail] => Some(StatusCode::new(class as u8, subject, detail)),
        _ => None,
    }
}

fn reply_text(reply: &RemoteReply) -> String {
    let status = reply.status.map(|status| format!(" {status}")).unwrap_or_default();
    let space = if reply.text.is_empty() { "" } else { " " };
    format!("{}{status} |{space}{}", reply.code, reply.text)
}

/// Feeds the pieces one after the other; all replies, and the error that ended it.
fn read_all(pieces: &[&[u8]]) -> Result<Vec<RemoteReply>, (Vec<RemoteReply>, BadReply)> {
    let mut reader = ReplyReader::new();
    let mut replies = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match reader.read(&mut input) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return Err((replies, error)),
            }
        }
        assert!(input.is_empty(), "None means that all was taken");
    }
    Ok(replies)
}

#[test]
fn a_reply_is_left_alone_after_its_last_line() {
    let mut input: &[u8] = b"250-a\r\n250 b\r\n354 c\r\n";
    let mut reader = ReplyReader::new();
    assert_eq!(reader.read(&mut input).unwrap().unwrap().code, 250);
    assert_eq!(input, b"354 c\r\n");
}

#[test]
fn constructors_put_the_codes_where_they_belong() {
    let status = StatusCode::new(5, 7, 1);
    assert_eq!(Reply::fixed(550, status, "No"), Reply::new(550, status, String::from("No")));
    assert_eq!(Reply::bare(220, "Hello").status, None);
    assert!(Reply::bare(354, "Go").is_positive());
    assert!(!Reply::fixed(550, status, "No").is_positive());
    assert_eq!(Reply::fixed(550, status, "One\nTwo").to_string(), "550 5.7.1 One Two");
}

#[test]
fn mail_and_rcpt_are_understood_field_by_field() {
    let line = b"MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=q AUTH=<> REQUIRETLS";
    let Ok(Command::Mail(mail)) = command::parse(line) else { panic!("it is well formed") };
    let expected = MailFrom {
        sender: ReversePath::Mailbox(parse_mailbox(b"a@b").unwrap()),
        size: Some(7),
        body: Some(BodyKind::EightBit),
        utf8: true,
        ret: Some(Return::Headers),
        envid: Some("q".into()),
        auth: true,
        require_tls: true,
        esmtp: true,
    };
    assert_eq!(mail, expected);
    let line = b"RCPT TO:<a@b> NOTIFY=DELAY ORCPT=rfc822;x";
    let Ok(Command::Rcpt(rcpt)) = command::parse(line) else { panic!("it is well formed") };
    let expected = RcptTo {
        address: parse_mailbox(b"a@b").unwrap(),
        notify: Notify::On { success: false, failure: false, delay: true },
        original: Some("rfc822;x".into()),
        esmtp: true,
    };
    assert_eq!(rcpt, expected);
    for plain in ["MAIL FROM:<a@b>", "RCPT TO:<a@b>"] {
        match command::parse(plain.as_bytes()) {
            Ok(Command::Mail(MailFrom { esmtp, .. }) | Command::Rcpt(RcptTo { esmtp, .. })) => {
                assert!(!esmtp, "{plain}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn credentials_decode_or_say_what_is_wrong() {
    let user = |name: &str, password: &str| Ok((name.to_owned(), password.as_bytes().to_vec()));
    let code = |reply: Reply| (reply.code, reply.status.map(|status| status.to_string()).unwrap());
    let refused = |code: u16, status: &str| Err((code, status.to_owned()));
    let cases = [
        // "\0joe\0secret", "joe\0joe\0secret", "\0j\xc3\xb6rg\0\xff"
        ("AGpvZQBzZWNyZXQ=", user("joe", "secret")),
        ("am9lAGpvZQBzZWNyZXQ=", user("joe", "secret")),
        // "boss\0joe\0secret"
        ("Ym9zcwBqb2UAc2VjcmV0", refused(535, "5.7.8")),
        // "\0joe\0", "\0\0secret"
        ("AGpvZQA=", refused(535, "5.7.8")),
        ("AABzZWNyZXQ=", refused(535, "5.7.8")),
        // "joe", "\0joe", "\0joe\0a\0b", "\0\xff\0x"
        ("am9l", refused(501, "5.5.2")),
        ("AGpvZQ==", refused(501, "5.5.2")),
        ("AGpvZQBhAGI=", refused(501, "5.5.2")),
        ("AP8AeA==", refused(501, "5.5.2")),
        ("", refused(501, "5.5.2")),
        ("=", refused(501, "5.5.2")),
        ("AGpvZQBzZWNyZXQ", refused(501, "5.5.2")),
        ("AGpv ZQBz", refused(501, "5.5.2")),
        ("*", refused(501, "5.7.0")),
    ];
    for (response, expected) in cases {
        assert_eq!(decode_plain(response.as_bytes()).map_err(code), expected, "{response}");
    }
    assert_eq!(decode_base64(b"am9l"), Ok(b"joe".to_vec()));
    assert_eq!(decode_base64(b"="), Ok(Vec::new()));
    assert_eq!(decode_base64(b""), Ok(Vec::new()));
    assert_eq!(decode_base64(b"a\xff").map_err(code), Err((501, "5.5.2".to_owned())));
}

#[test]
fn a_password_is_not_debugged() {
    let command = command::parse(b"AUTH PLAIN AGpvZQBzZWNyZXQ=").unwrap();
    assert_eq!(format!("{command:?}"), "AUTH PLAIN (initial response)");
    assert_eq!(format!("{:?}", command::parse(b"AUTH LOGIN").unwrap()), "AUTH LOGIN");
    assert_eq!(format!("{:?}", command::parse(b"rset").unwrap()), "RSET");
}

fn local() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\\.[a-zA-Z0-9é世-]{1,12}){0,2}",
        "\"([ !#-\\[\\]-~é]|\\\\[ -~]){0,20}\"",
    ]
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_]([a-z0-9_-]{0,20}[a-z0-9])?(\\.[a-z0-9]{1,20}){0,4}",
        "[a-zé世]{1,20}\\.test",
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("[{a}.{b}.{c}.{d}]")),
        any::<[u16; 8]>().prop_map(|groups| format!("[IPv6:{}]", std::net::Ipv6Addr::from(groups))),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    (local(), domain())
        .prop_map(|(local, domain)| parse_mailbox(format!("{local}@{domain}").as_bytes()).unwrap())
}

fn mail_from() -> impl Strategy<Value = MailFrom> {
    let sender = prop_oneof![
        1 => Just(ReversePath::Null),
        4 => address().prop_map(ReversePath::Mailbox),
    ];
    let body =
        proptest::option::of(prop_oneof![Just(BodyKind::SevenBit), Just(BodyKind::EightBit)]);
    let ret = proptest::option::of(prop_oneof![Just(Return::Full), Just(Return::Headers)]);
    let envid = proptest::option::of("([!-*,-<>-~]|\\+2B){1,30}");
    let size = proptest::option::of(any::<u64>());
    (sender, size, body, any::<bool>(), ret, envid, any::<(bool, bool)>()).prop_map(
        |(sender, size, body, utf8, ret, envid, (auth, require_tls))| {
            let utf8 = utf8 || sender.needs_utf8();
            let envid = envid.map(String::into_boxed_str);
            let any = size.is_some() || body.is_some() || ret.is_some() || envid.is_some();
            let esmtp = any || utf8 || auth || require_tls;
            MailFrom { sender, size, body, utf8, ret, envid, auth, require_tls, esmtp }
        },
    )
}

fn rcpt_to() -> impl Strategy<Value = RcptTo> {
    let address = prop_oneof![
        8 => address(),
        1 => "[pP]ost[mM]aste[rR]".prop_map(|name| {
            let end = name.len();
            Address::from_checked(name, end)
        }),
    ];
    let notify = prop_oneof![
        Just(Notify::Unspecified),
        Just(Notify::Never),
        (1..8u8).prop_map(|bits| Notify::On {
            success: bits & 1 != 0,
            failure: bits & 2 != 0,
            delay: bits & 4 != 0,
        }),
    ];
    let original = proptest::option::of(prop_oneof![
        "(rfc822|x400);([!-*,-<>-~]|\\+2B){1,60}",
        "utf-8;([!-*,-<>-\\[\\]-~é世]|\\\\x\\{1F60[0-9A]\\}){1,60}",
    ]);
    (address, notify, original).prop_map(|(address, notify, original)| {
        let original = original.map(String::into_boxed_str);
        let esmtp = notify != Notify::Unspecified || original.is_some();
        RcptTo { address, notify, original, esmtp }
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let name = "[!#-'*+./0-:=?A-\\[\\]-~-]{1,60}".prop_map(String::into_boxed_str);
    let mechanism = prop_oneof![Just(Mechanism::Plain), Just(Mechanism::Login)];
    let initial = proptest::option::of("=|([A-Za-z0-9+/]{4}){1,20}")
        .prop_map(|text| text.map(|text| text.into_bytes().into_boxed_slice()));
    prop_oneof![
        name.clone().prop_map(Command::Helo),
        name.prop_map(Command::Ehlo),
        mail_from().prop_map(Command::Mail),
        rcpt_to().prop_map(Command::Rcpt),
        (any::<u64>(), any::<bool>()).prop_map(|(size, last)| Command::Bdat { size, last }),
        (mechanism, initial).prop_map(|(mechanism, initial)| Command::Auth { mechanism, initial }),
        prop_oneof![
            Just(Command::Data),
            Just(Command::Rset),
            Just(Command::Noop),
            Just(Command::Quit),
            Just(Command::Vrfy),
            Just(Command::Expn),
            Just(Command::Help),
            Just(Command::StartTls),
        ],
    ]
}

/// Lines near enough to commands to reach all corners of the parser.
fn near_command() -> impl Strategy<Value = Vec<u8>> {
    let known = proptest::sample::select(vec![
        "MAIL FROM:",
        "RCPT TO:",
        "EHLO ",
        "BDAT ",
        "AUTH ",
        "AUTH PLAIN ",
        "<",
        ">",
        "<>",
        " ",
        "a@b",
        "\"",
        "\\",
        "@",
        ".",
        ":",
        ",",
        "@x:",
        "[",
        "]",
        "[IPv6:",
        "::1",
        "1.2.3.4",
        "SIZE=",
        "BODY=8BITMIME",
        "SMTPUTF8",
        "RET=FULL",
        "ENVID=",
        "AUTH=",
        "NOTIFY=",
        "NEVER",
        "SUCCESS",
        "ORCPT=rfc822;",
        "ORCPT=utf-8;",
        "\\x{",
        "}",
        "+2B",
        "+",
        "=",
        "-",
        "0",
        "99999999999999999999",
        "LAST",
        "é",
        "世",
        "postmaster",
        "_",
    ]);
    let piece = prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Bytes near enough to replies to reach all corners of the reader.
fn near_replies() -> impl Strategy<Value = Vec<u8>> {
    let known = proptest::sample::select(vec![
        "250 ", "250-", "250", "251 ", "550-", "550 ", "5.1.1 ", "5.7.1", "ok", "\r\n", "\r\n",
        "\r\n", "\n", "\r", "é", "\t", "\0",
    ]);
    let piece = prop_oneof![
        20 => known.prop_map(|text| text.as_bytes().to_vec()),
        4 => (1..40usize).prop_map(|count| b"250-5.1.1 x\r\n".repeat(count)),
        1 => (990..1010usize).prop_map(|count| b"a".repeat(count)),
        1 => Just(b"\xc3".to_vec()),
        1 => Just(b"a".repeat(50_001)),
        1 => Just(b"250-\n".repeat(700)),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_command_prints_to_what_parses_to_it(command in any_command()) {
        prop_assert_eq!(command::parse(command.to_string().as_bytes()), Ok(command));
    }

    #[test]
    fn any_line_is_refused_or_parses_to_what_prints_and_parses_the_same(line in near_command()) {
        if let Ok(command) = command::parse(&line) {
            prop_assert_eq!(command::parse(command.to_string().as_bytes()), Ok(command));
        }
    }

    #[test]
    fn any_octets_are_refused_or_understood(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = command::parse(&line);
        let _ = decode_plain(&line);
        if let Ok(address) = parse_mailbox(&line) {
            prop_assert_eq!(address.as_str().as_bytes(), &line[..]);
        }
    }

    #[test]
    fn a_mailbox_prints_to_what_parses_to_it(address in address()) {
        prop_assert_eq!(parse_mailbox(address.as_str().as_bytes()), Ok(address.clone()));
        let path = format!("<{address}> X");
        let expected = (ReversePath::Mailbox(address), &b" X"[..]);
        prop_assert_eq!(parse_path(path.as_bytes()), Ok(expected));
    }

    #[test]
    fn how_replies_are_cut_changes_nothing(
        octets in near_replies(),
        cuts in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&octets[start..cut]);
            start = cut;
        }
        pieces.push(&octets[start..]);
        let whole = read_all(&[&octets]);
        prop_assert_eq!(read_all(&pieces), whole.clone());
        for reply in whole.unwrap_or_else(|(replies, _)| replies) {
            // U+FFFD takes three octets in the place of one.
            prop_assert!(reply.text.len() <= REPLY_LINES_KEPT_MAX * 3 * REPLY_LINE_KEPT_OCTETS_MAX);
            prop_assert!(!reply.text.chars().any(|letter| letter != '\n' && letter.is_control()));
        }
    }

    #[test]
    fn a_reply_octet_by_octet_is_the_same_reply(
        octets in "(250-|250 |5\\.1\\.1 |a|\r|\n|\r\n){0,40}",
    ) {
        let pieces: Vec<&[u8]> = octets.as_bytes().chunks(1).collect();
        prop_assert_eq!(read_all(&pieces), read_all(&[octets.as_bytes()]));
    }

    #[test]
    fn whatever_a_reply_says_it_is_one_reply(
        text in "(?s).{0,600}",
        class in proptest::sample::select(vec![2u16, 4, 5]),
        enhanced in any::<bool>(),
    ) {
        let code = class * 100 + 50;
        let status = StatusCode::new(class as u8, 7, 1);
        let reply = Reply { code, status: enhanced.then_some(status), text: text.into() };
        let mut out = Vec::new();
        reply.write(&mut out);
        let allowed = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | b' '..=b'~');
        prop_assert!(out.iter().all(allowed));
        let lines: Vec<_> = out.split_inclusive(|&octet| octet == b'\n').collect();
        prop_assert_eq!(lines.len(), reply.text.split('\n').count());
        for line in lines {
            prop_assert!(line.len() <= REPLY_SENT_OCTETS_MAX && line.ends_with(b"\r\n"));
            prop_assert_eq!(line.iter().filter(|&&octet| octet == b'\r').count(), 1);
        }
        let read = read_all(&[&out]).unwrap();
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].code, code);
        if enhanced {
            prop_assert_eq!(read[0].status, Some(status));
        }
    }
}
