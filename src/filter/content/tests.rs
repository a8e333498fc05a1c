//! Messages for each sign, one that has it and one that nearly has, and hostile input.

use super::attachment::eicar_text;
use super::zip::archive;
use super::*;
use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use std::collections::BTreeSet;

const LIMITS: ContentLimits = ContentLimits::STANDARD;

fn read(message: impl AsRef<[u8]>) -> Content {
    Content::read(message.as_ref(), &LIMITS)
}

/// A header without oddities, before further fields and the body.
const HEADER: &str = "From: Ann <ann@shop.example>\r\nTo: joe@home.example\r\nSubject: Minutes\r\n\
    Date: Sun, 23 Nov 2025 12:13:20 +0000\r\nMessage-ID: <1@shop.example>\r\nMIME-Version: 1.0\r\n";

/// Words that a message may say to be no picture alone.
const WORDS: &str = "The minutes of the last meeting are attached, please read them before we \
    meet again on Monday in the large room.";

fn plain(text: &str) -> String {
    format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n")
}

fn html(text: &str) -> String {
    format!("{HEADER}Content-Type: text/html; charset=utf-8\r\n\r\n{WORDS}{text}\r\n")
}

fn fields(fields: &str) -> String {
    format!("{fields}\r\n{WORDS}\r\n")
}

/// One file beside a text.
fn file(name: &str, media: &str, octets: &[u8]) -> String {
    format!(
        "{HEADER}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{WORDS}\r\n--b\r\n\
         Content-Type: {media}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        STANDARD.encode(octets)
    )
}

fn zipped(entries: &[(&str, u16, u32, u32)]) -> String {
    file("files.zip", "application/zip", &archive(entries))
}

fn replaced(what: &str, by: &str) -> String {
    fields(&HEADER.replace(what, by))
}

fn alternatives(plain: &str, html: &str) -> String {
    format!(
        "{HEADER}Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n{plain}\r\n--b\r\n\
         Content-Type: text/html\r\n\r\n{html}\r\n--b--\r\n"
    )
}

/// The smallest header that says Windows program.
fn pe() -> Vec<u8> {
    let mut octets = vec![0; 0x44];
    octets[..2].copy_from_slice(b"MZ");
    octets[0x3c] = 0x40;
    octets[0x40..].copy_from_slice(b"PE\0\0");
    octets
}

/// One message that has the sign, one that has not.
type Case = (Sign, String, String);

fn header_cases() -> Vec<Case> {
    let clean = || fields(HEADER);
    vec![
        (Sign::FromMissing, replaced("From: Ann <ann@shop.example>\r\n", ""), clean()),
        (Sign::DateMissing, replaced("Date:", "X-Date:"), clean()),
        (Sign::MessageIdMissing, replaced("Message-ID:", "X-Id:"), clean()),
        (Sign::SubjectMissing, replaced("Subject:", "X-Subject:"), clean()),
        (Sign::RecipientsMissing, replaced("To:", "X-To:"), replaced("To:", "Bcc:")),
        (
            Sign::FieldDuplicated,
            replaced("To:", "Subject: x\r\nTo:"),
            replaced("To:", "Received: x\r\nReceived: y\r\nTo:"),
        ),
        (
            Sign::HeaderNotField,
            replaced("To:", "nonsense\r\nTo:"),
            replaced("To:", "X-A:\r\n folded\r\nTo:"),
        ),
        (Sign::HeaderControl, replaced("Minutes", "a\u{7}b"), replaced("Minutes", "a\tb")),
        (Sign::FromUnreadable, replaced("Ann <ann@shop.example>", "nobody"), clean()),
        (Sign::FromSeveral, replaced("From: ", "From: x@y.example, "), clean()),
        (Sign::DateUnreadable, replaced("23 Nov 2025", "yesterday"), clean()),
        (Sign::MessageIdUnreadable, replaced("<1@shop.example>", "1"), clean()),
        (
            Sign::NameShowsOtherAddress,
            replaced("Ann <", "ann@bank.example <"),
            replaced("Ann <", "a@shop.example <"),
        ),
        (
            Sign::ReplyElsewhere,
            replaced("To:", "Reply-To: x@y.example\r\nTo:"),
            replaced("To:", "Reply-To: x@shop.example\r\nTo:"),
        ),
        (
            Sign::ReplyToNothing,
            replaced("Minutes", "Re: Minutes"),
            replaced("Minutes\r\n", "Re: Minutes\r\nIn-Reply-To: <2@x>\r\n"),
        ),
        (
            Sign::SubjectShouting,
            replaced("Minutes", "YOUR ACCOUNT IS CLOSED"),
            replaced("Minutes", "NASA met the EU"),
        ),
        (
            Sign::SubjectSpaced,
            replaced("Minutes", "G R A T I S for you"),
            replaced("Minutes", "a b and c"),
        ),
        (
            Sign::UndisclosedRecipients,
            replaced("joe@home.example", "undisclosed-recipients:;"),
            clean(),
        ),
        (
            Sign::EncodedWordBroken,
            replaced("Minutes", "=?utf-8?q?abc"),
            replaced("Minutes", "=?utf-8?q?abc?="),
        ),
        (
            Sign::EncodedWordNeedless,
            replaced("Minutes", "=?utf-8?b?eW91ciBhY2NvdW50?="),
            replaced("Minutes", "=?utf-8?b?R3LDvMOfZSBhdXM=?="),
        ),
        (
            Sign::EncodedWordCharsets,
            replaced("Minutes", "=?utf-8?q?a?= =?koi8-r?q?b?="),
            replaced("Minutes", "=?utf-8?q?a?= =?UTF-8?q?b?="),
        ),
        (
            Sign::MimeVersionMissing,
            replaced("MIME-Version: 1.0", "Content-Type: text/plain"),
            clean(),
        ),
        (
            Sign::ContentTypeBroken,
            replaced("To:", "Content-Type: html\r\nTo:"),
            replaced("To:", "Content-Type: text/html\r\nTo:"),
        ),
        (
            Sign::BoundaryMissing,
            replaced("To:", "Content-Type: multipart/mixed\r\nTo:"),
            file("a.txt", "text/plain", b"x"),
        ),
        (
            Sign::MultipartEmpty,
            replaced("To:", "Content-Type: multipart/mixed; boundary=q\r\nTo:"),
            file("a.txt", "text/plain", b"x"),
        ),
        (
            Sign::MultipartUnclosed,
            file("a.txt", "text/plain", b"x").replace("--b--", ""),
            file("a.txt", "text/plain", b"x"),
        ),
        (
            Sign::TransferUnknown,
            replaced("To:", "Content-Transfer-Encoding: x-uue\r\nTo:"),
            replaced("To:", "Content-Transfer-Encoding: 8Bit\r\nTo:"),
        ),
    ]
}

fn text_cases() -> Vec<Case> {
    let encoded = |encoding: &str, text: &str| {
        format!("{HEADER}Content-Transfer-Encoding: {encoding}\r\n\r\n{text}\r\n")
    };
    let charset = |label: &str| plain("Grüße").replace("utf-8", label);
    let message = |encoding: &str| {
        format!(
            "{HEADER}Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nU3ViamVjdDogeAoKaGk=\r\n"
        )
    };
    let twenty = "one1 first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth \
        thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth";
    vec![
        (Sign::Base64Broken, encoded("base64", "aGV!sbG8="), encoded("base64", "aGVsbG8=")),
        (
            Sign::QuotedPrintableBroken,
            encoded("quoted-printable", "a=zz"),
            encoded("quoted-printable", "a=3D"),
        ),
        (Sign::Base64Needless, encoded("base64", "aGVsbG8="), encoded("base64", "R3LDvMOfZQ==")),
        (Sign::CharsetUnknown, charset("utf-7"), charset("iso-8859-15")),
        (Sign::MessageEncoded, message("base64"), message("7bit")),
        (Sign::HtmlOnly, html(""), alternatives(WORDS, WORDS)),
        (
            Sign::AlternativeDiffers,
            alternatives(twenty, &format!("{WORDS}{WORDS}")),
            alternatives(twenty, twenty),
        ),
        (Sign::NulInText, plain("a\0b"), plain("ab")),
        (Sign::ZeroWidthLetters, plain("pay\u{200b}ment"), plain("م\u{200c}ا 👩\u{200d}💻")),
        (Sign::SoftHyphens, html("pay&shy;ment"), html("payment")),
        (Sign::DirectionTurned, plain("a\u{202e}b"), plain("שלום")),
        (Sign::MixedScripts, plain("p\u{430}yment"), plain("payment платёж")),
        (Sign::StyledLetters, plain("\u{1d41a}\u{1d41b}"), plain("ab")),
    ]
}

fn html_cases() -> Vec<Case> {
    let long = "secret words ".repeat(40);
    let hidden = |style: &str| html(&format!("<div style=\"{style}\">{long}</div>"));
    vec![
        (Sign::HiddenText, hidden("display:none"), hidden("display:block")),
        (Sign::HiddenText, hidden("font-size:0"), hidden("font-size:9px")),
        (Sign::HiddenText, hidden("color:#fff"), hidden("color:#fff;background:#000")),
        (
            Sign::HiddenText,
            html(&format!("<p hidden>{long}")),
            html(&format!("<p hidden>a<p>{long}")),
        ),
        (
            Sign::HiddenText,
            html(&format!("<style>.q{{display:none}}</style><b class=q>{long}</b>")),
            html(&format!("<style>@media(x){{.q{{display:none}}}}</style><b class=q>{long}</b>")),
        ),
        (
            Sign::HiddenText,
            html(&format!("<div style=display:none><div>x</div>{long}</div>")),
            html(&format!("<div style=display:none><div>x</div></div>{long}")),
        ),
        (
            Sign::HiddenText,
            html(&format!("<td style=font-size:0px>{long}")),
            html(&format!("<td style=font-size:0px><div style=font-size:13px>{long}")),
        ),
        (
            Sign::HiddenLink,
            html("<a href=http://a.test/><i style=display:none>x</i></a>"),
            html("<a href=http://a.test/><i>x</i></a>"),
        ),
        (
            Sign::LinkTextDiffers,
            html("<a href=http://evil.test/>www.bank.example</a>"),
            html("<a href=http://go.bank.example/>www.bank.example</a>"),
        ),
        (
            Sign::LinkTextDiffers,
            html("<a href=http://evil.test/>https://bank.example/login</a>"),
            html("<a href=http://evil.test/>click here</a>"),
        ),
        (
            Sign::LinkTextDiffers,
            html("<a href='http://t.test/?u=http%3A%2F%2Fevil.test'>www.bank.example</a>"),
            html("<a href='http://t.test/?u=http%3A%2F%2Fbank.example'>www.bank.example</a>"),
        ),
        (Sign::Form, html("<form action=http://a.test/>"), html("<p>form")),
        (Sign::FormPassword, html("<input type=Password>"), html("<input type=text>")),
        (Sign::Script, html("<script>x</script>"), html("<p>script")),
        (Sign::Script, html("<img src=x onerror=alert(1)>"), html("<img src=x on=1 one=>")),
        (Sign::Frame, html("<iframe src=http://a.test/>"), html("<p>iframe")),
        (
            Sign::MetaRefresh,
            html("<meta http-equiv=refresh content='0; url=http://a.test/'>"),
            html("<meta http-equiv=refresh content=300>"),
        ),
        (Sign::BaseChanged, html("<base href=http://a.test/>"), html("<base target=_blank>")),
        (
            Sign::ExternalStyle,
            html("<link rel=stylesheet href=http://a.test/x.css>"),
            html("<link rel=icon href=x>"),
        ),
        (
            Sign::TrackingPixel,
            html("<img src=http://a.test/x width=1 height=1>"),
            html("<img src=http://a.test/x width=100 height=1>"),
        ),
        (
            Sign::ImagesOnly,
            html("<img src=http://a.test/x>").replace(WORDS, "Hi"),
            html("<img src=http://a.test/x>"),
        ),
        (
            Sign::WordsSplit,
            html("V<!--a-->ia<!--b-->g<!--c-->x"),
            html("a <!--a--> b <!--b--> c <!--c--> d"),
        ),
        (Sign::LettersAsReferences, html(&"&#97;".repeat(20)), html(&"&#228;".repeat(20))),
        (
            Sign::DataUrl,
            html("<a href='data:text/html;base64,AAAA'>x</a>"),
            html("<img src='data:image/png;base64,AAAA'>"),
        ),
        (
            Sign::JavascriptUrl,
            html("<a href='java\nscript:x()'>x</a>"),
            html("<a href='http://a.test/javascript:'>x</a>"),
        ),
    ]
}

fn link_cases() -> Vec<Case> {
    let text = |link: &str| plain(&format!("{WORDS} {link} {WORDS}"));
    let href = |link: &str| html(&format!("<a href=\"{link}\">here</a>"));
    vec![
        (
            Sign::LinkUserinfo,
            href("http://bank.example@evil.test/"),
            href("http://bank.example/@evil.test"),
        ),
        (Sign::LinkIpLiteral, text("http://192.0.2.7/x"), text("http://7.example/x")),
        (Sign::LinkIpDisguised, href("http://3221225991/"), href("http://192.0.2.7/")),
        (Sign::LinkIpDisguised, href("http://0xC0.0.0x2.7/"), href("http://0xc0.example/")),
        (Sign::LinkIpDisguised, href("http://0300.0.2.7/"), href("http://300.0.2.7/")),
        (Sign::LinkPort, text("http://a.test:8080/"), text("https://a.test:443/")),
        (Sign::LinkHostEscaped, href("http://%61.test/"), href("http://a.test/%61")),
        (
            Sign::LinkHostInternational,
            href("http://xn--pypal-4ve.test/"),
            href("http://paypal.test/"),
        ),
        (
            Sign::LinkHostInternational,
            href("http://b\u{fc}cher.test/"),
            href("http://buecher.test/"),
        ),
        (Sign::LinkHostDeep, text("http://a.b.c.d.e.f.test/"), text("http://a.b.c.test/")),
        (
            Sign::LinkWordpressFolder,
            text("http://a.test/wp-content/x/login.php"),
            text("http://a.test/wp-content/uploads/x.png"),
        ),
        (Sign::LinkHiddenFolder, text("http://a.test/.x/y"), text("http://a.test/.well-known/y")),
        (Sign::LinkProgram, text("http://a.test/setup.exe"), text("http://a.test/setup.html")),
        (Sign::LinkShortened, text("https://bit.ly/x"), text("https://rabbit.ly/x")),
        (
            Sign::LinkRedirects,
            href("http://a.test/?url=https%3A%2F%2Fb.test%2F"),
            href("http://a.test/?url=https"),
        ),
        (
            Sign::LinkRedirects,
            href("http://a.test/?url=https%25253A%25252F%25252Fb.test"),
            href("http://a.test/?http=1"),
        ),
        (
            Sign::LinkRedirects,
            href("http://a.test/?u=aHR0cHM6Ly9iLnRlc3Qv"),
            href("http://a.test/?u=aHR0"),
        ),
        (
            Sign::LinkNamesRecipient,
            href("http://a.test/#joe@home.example"),
            href("http://a.test/#ann@home.example"),
        ),
        (
            Sign::LinkNamesRecipient,
            href("http://a.test/?e=JOE%40home.example"),
            href("mailto:joe@home.example"),
        ),
        (
            Sign::LinkNamesRecipient,
            href("http://a.test/?e=am9lQGhvbWUuZXhhbXBsZQ=="),
            href("http://a.test/?e=am9lQA"),
        ),
    ]
}

fn file_cases() -> Vec<Case> {
    let text = || file("a.txt", "text/plain", b"hello");
    let ole = |rest: &str| [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], rest.as_bytes()].concat();
    let project = "_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T\0";
    let mut disk = vec![0; 0x9000];
    disk[0x8001..0x8006].copy_from_slice(b"CD001");
    let pdf = |word: &str| {
        file("a.pdf", "application/pdf", format!("%PDF-1.4\n1 0 obj<<{word} 2 0 R>>").as_bytes())
    };
    let page = |text: &str| file("a.html", "text/html", format!("<html>{text}</html>").as_bytes());
    let svg = |text: &str| file("a.svg", "image/svg+xml", format!("<svg>{text}</svg>").as_bytes());
    let office = |extra: &'static str| {
        file(
            "a.docx",
            "application/x",
            &archive(&[("[Content_Types].xml", 0, 1, 1), (extra, 0, 1, 1)]),
        )
    };
    vec![
        (
            Sign::AttachmentProgram,
            file("a.bin", "application/x", &pe()),
            file("a.bin", "application/x", b"MZ is how it begins"),
        ),
        (Sign::AttachmentProgram, file("a", "application/x", b"\x7fELF\x02"), text()),
        (Sign::AttachmentProgram, file("a", "application/x", b"\xcf\xfa\xed\xfe\x07"), text()),
        (
            Sign::AttachmentScript,
            file("a.js", "text/plain", b"x()"),
            file("a.json", "text/plain", b"{}"),
        ),
        (Sign::AttachmentScript, file("a", "text/x-sh", b"#!/bin/sh\n"), text()),
        (
            Sign::AttachmentShortcut,
            file("a", "x/y", b"L\0\0\0\x01\x14\x02\0\0"),
            file("a", "x/y", b"L\0\0\0\x02"),
        ),
        (
            Sign::AttachmentMacro,
            file("a.doc", "application/msword", &ole(project)),
            file("a.doc", "application/msword", &ole("x")),
        ),
        (Sign::AttachmentMacro, office("word/vbaProject.bin"), office("word/document.xml")),
        (Sign::AttachmentPdfScript, pdf("/JavaScript"), pdf("/Javelin")),
        (Sign::AttachmentPdfLaunch, pdf("/Launch"), pdf("/Lunch")),
        (Sign::AttachmentHtml, page(""), text()),
        (Sign::AttachmentHtmlForm, page("<form>"), page("<p>form")),
        (Sign::AttachmentHtmlScript, page("<script>x</script>"), page("<p>script")),
        (Sign::AttachmentSvgScript, svg("<script>x</script>"), svg("<path/>")),
        (Sign::AttachmentDiskImage, file("a.x", "x/y", &disk), text()),
        (
            Sign::ArchiveProgram,
            zipped(&[("a.pdf.exe", 0, 1, 1)]),
            zipped(&[("a.exe.pdf", 0, 1, 1)]),
        ),
        (Sign::ArchiveMacro, zipped(&[("a.docm", 0, 1, 1)]), zipped(&[("a.docx", 0, 1, 1)])),
        (Sign::ArchiveEncrypted, zipped(&[("a.txt", 1, 1, 1)]), zipped(&[("a.txt", 8, 1, 1)])),
        (Sign::ArchiveInArchive, zipped(&[("a.iso", 0, 1, 1)]), zipped(&[("a.txt", 0, 1, 1)])),
        (
            Sign::ArchiveBomb,
            zipped(&[("a", 0, 1_000, 1 << 30)]),
            zipped(&[("a", 0, 1 << 28, 1 << 30)]),
        ),
        (
            Sign::ArchiveBroken,
            file("a.zip", "x/y", b"PK\x03\x04 and nothing"),
            zipped(&[("a", 0, 1, 1)]),
        ),
        (Sign::NameTwoEndings, file("a.pdf.exe", "x/y", b"x"), file("a.1.exe", "x/y", b"x")),
        (
            Sign::NameTurned,
            file("a\u{202e}fdp.exe", "x/y", b"x"),
            file("שלום.pdf", "x/y", b"%PDF-"),
        ),
        (
            Sign::NamePadded,
            file("a.pdf                .exe", "x/y", b"x"),
            file("a b.pdf", "x/y", b"%PDF-"),
        ),
        (
            Sign::NameContradicted,
            file("a.pdf", "application/pdf", &pe()),
            file("a.pdf", "application/pdf", b"%PDF-1"),
        ),
        (
            Sign::Eicar,
            file("a.com", "x/y", eicar_text().as_bytes()),
            file("a.com", "x/y", &eicar_text().as_bytes()[1..]),
        ),
    ]
}

#[test]
fn each_sign_is_seen_where_it_is_and_not_beside() {
    let all = [header_cases(), text_cases(), html_cases(), link_cases(), file_cases()].concat();
    // Those two have a test of their own.
    let mut met = BTreeSet::from([Sign::HeaderRawOctets, Sign::CharsetBroken]);
    for (sign, with, without) in all {
        met.insert(sign);
        assert!(read(&with).facts().has(sign), "{} is not seen in\n{with}", sign.name());
        assert!(!read(&without).facts().has(sign), "{} is seen in\n{without}", sign.name());
    }
    let missing: Vec<_> = Sign::PLAIN.iter().filter(|sign| !met.contains(sign)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn raw_octets_are_told() {
    let raw = replaced("Minutes", "Gr@e").replace('@', "\u{1}").into_bytes();
    let raw: Vec<u8> = raw.into_iter().map(|octet| if octet == 1 { 0xfc } else { octet }).collect();
    let content = read(&raw);
    assert!(content.facts().has(Sign::HeaderRawOctets));
    assert_eq!(content.header().subject, "Grüe");
    assert!(!read(replaced("Minutes", "Grüße")).facts().has(Sign::HeaderRawOctets));
    let broken = [plain("").as_bytes(), b"\xfc"].concat();
    assert!(read(broken).facts().has(Sign::CharsetBroken));
    assert!(!read(plain("ü")).facts().has(Sign::CharsetBroken));
}

#[test]
fn an_ordinary_message_has_no_signs() {
    for message in [
        plain(WORDS),
        fields(HEADER),
        alternatives(WORDS, WORDS),
        file("a.txt", "text/plain", b"x"),
    ] {
        assert_eq!(read(&message).facts().list(), [], "{message}");
    }
    for octets in [&b""[..], b"\r\n", b"\0", b":", b"--", b"\n\n\n"] {
        read(octets);
    }
}

#[test]
fn what_a_reader_sees_is_the_last_alternative() {
    let content =
        read(alternatives("first words", "<p>second</p> <b>wo</b>rds<script>no</script>"));
    assert_eq!(content.visible_text().trim(), "second\nwords");
    assert_eq!(content.alternative_text().trim(), "first words");
    let mut words = Vec::new();
    content.words(|word| words.push(word.to_owned()));
    assert_eq!(words, ["minutes", "second", "words"]);
    assert_eq!(content.parts(), Parts { plain: 1, html: 1, files: 0, messages: 0 });
}

#[test]
fn a_link_is_taken_apart() {
    let content =
        read(html("<a href='HTTPS://u@B\u{fc}cher.Test:8443/a/b?c=d#e'> the <b>text</b></a>"));
    let [link] = content.links().kept() else {
        panic!("{:?}", content.links());
    };
    assert_eq!((&*link.host, &*link.host_shown), ("xn--bcher-kva.test", "b\u{fc}cher.test"));
    assert_eq!((link.scheme, link.port, &*link.path), (Scheme::Https, 8443, "/a/b"));
    assert_eq!((&*link.query, &*link.fragment, link.origin), ("c=d", "e", Origin::Anchor));
    assert_eq!(&*link.shown, "the text");
    for (written, host) in [
        ("//a.test/x", "a.test"),
        ("http:\\\\a.test\\x", "a.test"),
        ("http:a.test", "a.test"),
        (" http://a\n.test", "a.test"),
        ("http://[2001:db8::1]/", "2001:db8::1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://a.test./", "a.test"),
        ("mailto:joe@a.test?subject=x", "a.test"),
    ] {
        let content = read(html(&format!("<a href='{written}'>x</a>")));
        let hosts: Vec<&str> = content.links().hosts().collect();
        assert_eq!(hosts, [host], "{written}");
    }
    for written in [
        "/x",
        "#x",
        "x",
        "tel:1",
        "cid:1",
        "",
        "http://",
        "http:///",
        "http://a b/",
        "http://a.test%2F%2Fb.test",
        "http://a%40b.test",
    ] {
        let content = read(html(&format!("<a href='{written}'>x</a>")));
        assert_eq!(content.links().kept(), [], "{written}");
    }
}

#[test]
fn files_are_described() {
    let content = read(zipped(&[("a.txt", 0, 1, 2), ("b.txt", 0, 1, 2)]));
    let [file] = content.attachments() else {
        panic!("{:?}", content.attachments());
    };
    assert_eq!(
        (&*file.name, &*file.claimed, file.kind),
        ("files.zip", "application/zip", Kind::Zip)
    );
    assert_eq!(file.names, ["a.txt".into(), "b.txt".into()]);
    assert!(file.size > 100 && file.shown == Shown::Attached);
}

/// The directory of a large archive is at its end, which is read without the middle.
#[test]
fn the_end_of_a_large_file_is_read() {
    let entries = archive(&[("setup.exe", 0, 1, 1)]);
    let octets = [&entries[..30], &vec![7; 3 * LIMITS.attachment_bytes_max], &entries].concat();
    for wrapped in [1_000_000_000, 76] {
        let text = STANDARD.encode(&octets);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(wrapped)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        let message = file("a.zip", "application/zip", b"@@")
            .replace(&STANDARD.encode(b"@@"), &lines.join("\r\n"));
        let content = read(message);
        assert!(content.facts().has(Sign::ArchiveProgram), "{:?}", content.facts());
        let size = content.attachments()[0].size;
        assert!(size.abs_diff(octets.len() as u64) * 20 < octets.len() as u64, "{size}");
    }
}

/// What ended, of messages that are made to hurt.
fn exceeded(message: impl AsRef<[u8]>) -> Vec<Bound> {
    let content = read(message);
    let bound = |fact: &Fact| match fact.sign {
        Sign::TooComplex(bound) => Some(bound),
        _ => None,
    };
    let mut bounds: Vec<Bound> = content.facts().list().iter().filter_map(bound).collect();
    bounds.sort();
    bounds
}

#[test]
fn depth_ends_at_its_bound() {
    let nested: String = (0..10_000)
        .map(|level| {
            format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n")
        })
        .collect();
    assert_eq!(exceeded(&nested), [Bound::Depth]);
    assert_eq!(exceeded("Content-Type: message/rfc822\r\n\r\n".repeat(10_000)), [Bound::Depth]);
    let never: String = (0..20_000)
        .map(|part| format!("--x\nContent-Type: multipart/mixed; boundary=never{part}\n\n"))
        .collect();
    let never = format!("Content-Type: multipart/mixed; boundary=x\n\n{never}");
    assert_eq!(exceeded(never), [Bound::Parts]);
    let mut inner = "Subject: x\n\nhttp://inner.test/".to_owned();
    for _ in 0..10 {
        inner = format!(
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{}",
            STANDARD.encode(&inner)
        );
    }
    assert_eq!(exceeded(&inner), [Bound::Depth]);
}

#[test]
fn headers_and_lines_end_at_their_bounds() {
    let mut many = "X-A: b\r\n".repeat(100_000);
    assert_eq!(exceeded(&many), [Bound::Fields]);
    many.push_str("\r\nhttp://a.test/");
    assert_eq!(read(&many).links().kept().len(), 1);
    let folded = format!("Subject: x\r\n{}\r\nbody", " a\r\n".repeat(200_000));
    assert_eq!(exceeded(folded), [Bound::HeaderBytes]);
    let line = format!("Subject: {}\r\n\r\nbody", "=?utf-8?q?".repeat(5_000_000));
    assert_eq!(exceeded(line), [Bound::HeaderBytes]);
    let line = vec![b'x'; 50_000_000];
    assert_eq!(exceeded(line), [Bound::HeaderBytes]);
    let mut body = HEADER.as_bytes().to_vec();
    body.extend_from_slice(b"\r\n");
    body.resize(50_000_000, b'.');
    assert_eq!(exceeded(body), [Bound::TextBytes]);
    let dashes =
        format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{}", "\n--".repeat(2_000_000));
    assert_eq!(exceeded(dashes), [Bound::TextBytes]);
}

#[test]
fn text_that_is_made_to_hurt_is_read() {
    let repeated = [
        "<b>",
        "<b style=color:red>",
        "</b>",
        "<a href=\"",
        "<!--",
        "<![",
        "&",
        "&#",
        "&amp",
        "<p style=\"",
        "<",
        "<a href=http://a.test/>",
        "<style>.a{",
        "<style>@media{",
        "<script>",
        "<td style=x:url(",
        "a.b",
        "a:",
        "http://",
        "://",
        "www.",
        "%25",
        "=?utf-8?q?",
        "\u{200b}",
        "\u{430}a",
        "\0",
        "=\r\n",
        "= ",
        "@",
        "http://a.test/?u=http%3a%2f%2f",
        "a=",
        "<a =",
    ];
    for piece in repeated {
        let text = piece.repeat(300_000 / piece.len());
        for kind in [
            "text/html",
            "text/plain",
            "text/html; charset=utf-16",
            "text/plain; charset=iso-2022-jp",
        ] {
            for encoding in ["8bit", "quoted-printable", "base64"] {
                read(format!(
                    "Subject: x\nTo: {piece}\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n{text}"
                ));
            }
        }
    }
    let tags = html(&"<b style=color:red>".repeat(50_000));
    assert_eq!(exceeded(tags), [Bound::Nesting]);
    let many: String = (0..10_000).map(|number| format!("http://h{number}.test/ ")).collect();
    let content = read(plain(&many));
    assert!(content.facts().has(Sign::TooComplex(Bound::Links)));
    assert_eq!(content.links().hosts().count(), LIMITS.hosts_max);
    assert!(content.links().dropped > 0);
}

#[test]
fn archives_and_files_end_at_their_bounds() {
    let entries = vec![("a.txt", 0, 1, u32::MAX); 60_000];
    let bomb = zipped(&entries);
    assert_eq!(exceeded(&bomb), [Bound::ArchiveNames]);
    assert!(read(&bomb).facts().has(Sign::ArchiveBomb));
    let part = "--b\nContent-Type: image/png\n\nx\n".repeat(100);
    let many = format!("Content-Type: multipart/mixed; boundary=b\n\n{part}");
    assert_eq!(exceeded(&many), [Bound::Attachments]);
    assert_eq!(read(&many).attachment_count(), 100);
    let part = format!("--b\nContent-Type: image/png\n\n{}\n", "x".repeat(600_000)).repeat(10);
    let large = format!("Content-Type: multipart/mixed; boundary=b\n\n{part}");
    assert_eq!(exceeded(&large), [Bound::DecodedBytes]);
}

proptest! {
    /// Any octets at all, as they are and as each kind of part.
    #[test]
    fn any_octets_are_read_within_bounds(octets in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let text = String::from_utf8_lossy(&octets);
        for message in [octets.clone(), html(&text).into_bytes(), plain(&text).into_bytes(),
            file(&text, "x/y", &octets).into_bytes()]
        {
            check_bounds(&read(&message));
        }
    }

    /// What means something, in any order.
    #[test]
    fn pieces_of_messages_are_read_within_bounds(pieces in prop::collection::vec(piece(), 0..60)) {
        check_bounds(&read(pieces.concat()));
    }
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: text/html\r\n",
        "\r\n",
        "--b\r\n",
        "--b--\r\n",
        "Content-Type: message/rfc822\n\n",
        "Content-Transfer-Encoding: base64\n",
        "From: \"",
        "To: <a@b.test>, ",
        "Subject: =?utf-8?b?",
        "?=",
        " ",
        "<a href=",
        "http://",
        "a.test",
        "/",
        "<div style='display:none'>",
        "</div>",
        "<style>",
        "</style>",
        "&nbsp;",
        "\u{e4}",
        "\u{202e}",
        "=C3",
        "=\n",
        "PK\u{5}\u{6}",
        "\0",
        "<!--",
        "-->",
        "xn--",
        "1.2",
        "%2e",
        "filename*0*=utf-8''%",
        ";",
        ":",
        "@",
        "{",
        "}",
        "url(",
        "data:",
        "\\",
    ])
}

fn check_bounds(content: &Content) {
    assert!(content.links().kept().len() <= LIMITS.hosts_max * LIMITS.links_of_host_max);
    assert!(content.attachments().len() <= LIMITS.attachments_max);
    for fact in content.facts().list() {
        assert!(fact.evidence.chars().count() <= 120 && !fact.evidence.contains(char::is_control));
    }
    for link in content.links().kept() {
        assert!(!link.host.is_empty() && !link.host.contains([' ', '/', '@']), "{link:?}");
    }
    content.words(|word| assert!(!word.is_empty() && word.len() <= 43, "{word}"));
}
