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
    let latin = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
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
        (Sign::CharsetBroken, latin(b""), charset("utf-8")),
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
    let mut met = BTreeSet::from([Sign::HeaderRawOctets, Sign::CharsetBroken]);
    for (sign, with, without) in all {
        if sign == Sign::CharsetBroken {
            continue;
        }
        met.insert(sign);
        assert!(read(&with).facts().has(sign), "{} is not seen in\n{with}", sign.name());
        assert!(!read(&without).facts().has(sign), "{} is seen in\n{without}", sign.name());
    }
    let missing: Vec<_> = Sign::PLAIN.iter().filter(|sign| !met.contains(sign)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// These two need octets that are no text.
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
