//! The second part of a notification: delivery status for programs (RFC 3464).
//!
//! Decides the form of every field, and between message/delivery-status, which is ASCII, and
//! message/global-delivery-status (RFC 6533 4): the latter only when an address needs it and the
//! sender used SMTPUTF8 itself, so that its programs know the type. What ASCII cannot hold is
//! escaped in addresses (RFC 6533 3) and becomes `?` elsewhere; the first part has it verbatim.
//! Values that came in xtext are decoded here (RFC 3461 4). Never reads the message.

use super::line::{clean, cut, push_field};
use super::mime::Part;
use super::notice::{Notice, NoticeKind, NoticeRecipient, Reporter};
use crate::message::{Address, Cause, Recipient};
use crate::smtp::xtext;
use std::fmt::Write;
use std::net::IpAddr;

/// Octets of a remote's words that one field repeats.
const DIAGNOSTIC_OCTETS_MAX: usize = 2 * 1024;

/// Octets of an address or envelope id: RFC 3461 4.2 allows 500 before decoding.
const VALUE_OCTETS_MAX: usize = 512;

/// What the fields may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    Ascii,
    Utf8,
}

/// The part and the `report-type` that announces it.
pub fn part(
    notice: &Notice<'_>,
    told: &[&NoticeRecipient<'_>],
    reporter: &Reporter<'_>,
) -> (Part, &'static str) {
    let charset = charset(notice, told);
    let mut out = String::new();
    push_message_fields(&mut out, notice, reporter, charset);
    for recipient in told {
        out.push_str("\r\n");
        push_recipient_fields(&mut out, notice, recipient, charset);
    }
    let (media, report_type) = match charset {
        Charset::Ascii => ("message/delivery-status", "delivery-status"),
        Charset::Utf8 => ("message/global-delivery-status", "global-delivery-status"),
    };
    (Part { media, description: "Delivery report", content: out.into_bytes() }, report_type)
}

fn charset(notice: &Notice<'_>, told: &[&NoticeRecipient<'_>]) -> Charset {
    let beyond_ascii = |recipient: &Recipient| {
        let original = recipient.original.as_deref().and_then(Typed::from_orcpt);
        recipient.address.needs_utf8() || original.is_some_and(|typed| !typed.address.is_ascii())
    };
    let needed = told.iter().any(|told| beyond_ascii(told.recipient));
    if notice.envelope.utf8 && needed { Charset::Utf8 } else { Charset::Ascii }
}

/// RFC 3464 2.2.
fn push_message_fields(
    out: &mut String,
    notice: &Notice<'_>,
    reporter: &Reporter<'_>,
    charset: Charset,
) {
    push(out, charset, "Reporting-MTA", &format!("dns; {}", reporter.hostname));
    if let Some(envid) = &notice.envelope.envid {
        push(out, charset, "Original-Envelope-Id", &value(&from_xtext(envid)));
    }
    push(out, charset, "Arrival-Date", &notice.envelope.received.header_date());
}

/// RFC 3464 2.3, in its order.
fn push_recipient_fields(
    out: &mut String,
    notice: &Notice<'_>,
    told: &NoticeRecipient<'_>,
    charset: Charset,
) {
    if let Some(original) = told.recipient.original.as_deref().and_then(Typed::from_orcpt) {
        push(out, charset, "Original-Recipient", &original.print(charset));
    }
    let last = Typed::from_address(&told.recipient.address);
    push(out, charset, "Final-Recipient", &last.print(charset));
    push(out, charset, "Action", notice.kind.action());
    push(out, charset, "Status", &notice.kind.status(told.cause).to_string());
    if let Some(remote) = told.remote {
        push(out, charset, "Remote-MTA", &value(&remote_mta(remote)));
    }
    push(out, charset, "Diagnostic-Code", &diagnostic(told.cause));
    if told.attempts > 0 {
        push(out, charset, "Last-Attempt-Date", &told.last_attempt.header_date());
    }
    push(out, charset, "Final-Log-ID", &notice.envelope.id.to_string());
    // Only a delay has a future (RFC 3464 2.3.9).
    if let (NoticeKind::Delayed, Some(until)) = (notice.kind, told.will_retry_until) {
        push(out, charset, "Will-Retry-Until", &until.header_date());
    }
}

fn push(out: &mut String, charset: Charset, name: &str, value: &str) {
    match charset {
        Charset::Utf8 => push_field(out, name, value),
        Charset::Ascii => {
            let ascii: String = value.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
            push_field(out, name, &ascii);
        }
    }
}

fn value(text: &str) -> String {
    cut(&clean(text), VALUE_OCTETS_MAX)
}

/// A name, or an address as a domain literal (RFC 3464 2.1.2, RFC 5321 4.1.3).
fn remote_mta(remote: &str) -> String {
    match remote.parse() {
        Ok(IpAddr::V4(address)) => format!("dns; [{address}]"),
        Ok(IpAddr::V6(address)) => format!("dns; [IPv6:{address}]"),
        Err(_) => format!("dns; {remote}"),
    }
}

/// RFC 3464 2.3.6: `smtp` is for what an SMTP server replied; what we found out ourselves has a
/// type of its own, so that a reader does not take it for the words of the other side.
fn diagnostic(cause: &Cause) -> String {
    let (kind, words) = match cause {
        Cause::Reply(reply) => ("smtp", reply.to_string()),
        Cause::Local { words, .. } => ("X-baton", words.to_string()),
    };
    let words: Vec<&str> = words.split_whitespace().collect();
    format!("{kind}; {}", cut(&words.join(" "), DIAGNOSTIC_OCTETS_MAX))
}

/// An address with its type, decoded (RFC 3464 2.3.1, RFC 6533 3).
struct Typed {
    kind: String,
    address: String,
}

const UTF8_TYPE: &str = "utf-8";

impl Typed {
    fn from_address(address: &Address) -> Typed {
        let kind = if address.needs_utf8() { UTF8_TYPE } else { "rfc822" };
        Typed { kind: kind.to_owned(), address: address.as_str().to_owned() }
    }

    /// ORCPT names the type in clear and the address in xtext, or, for the type utf-8, with
    /// `\x{HEX}` in place of what a parameter cannot hold. Without a type it says nothing.
    fn from_orcpt(orcpt: &str) -> Option<Typed> {
        let (kind, address) = orcpt.split_once(';')?;
        let address = match kind.eq_ignore_ascii_case(UTF8_TYPE) {
            true => from_unitext(address),
            false => from_xtext(address),
        };
        Some(Typed { kind: kind.to_owned(), address })
    }

    fn print(&self, charset: Charset) -> String {
        let Typed { kind, address } = self;
        let escape = charset == Charset::Ascii && kind.eq_ignore_ascii_case(UTF8_TYPE);
        let address = if escape { to_unitext(address) } else { address.clone() };
        value(&format!("{kind}; {address}"))
    }
}

/// What an xtext stands for. What is not xtext stays as it came: the value was checked on its way
/// in, and a notice with an odd value is better than none.
fn from_xtext(text: &str) -> String {
    match xtext::decode(text) {
        Some(octets) => String::from_utf8_lossy(&octets).into_owned(),
        None => text.to_owned(),
    }
}

/// Decodes `\x{HEX}` (RFC 6533 3, EmbeddedUnicodeChar); the rest stays as it came.
fn from_unitext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        out.push_str(&rest[..at]);
        let digits = &rest[at + 3..];
        let escaped = digits.split_once('}').and_then(|(digits, after)| {
            let point = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(point)?, after))
        });
        match escaped {
            Some((character, after)) => {
                out.push(character);
                rest = after;
            }
            None => {
                out.push_str("\\x{");
                rest = digits;
            }
        }
    }
    out + rest
}

/// The ASCII form of an address with other letters (RFC 6533 3, utf-8-addr-xtext).
fn to_unitext(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for c in address.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            out.push(c);
        } else {
            write!(out, "\\x{{{:02X}}}", u32::from(c)).expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_and_what_is_not_xtext_stays() {
        let cases = [
            ("QQ314159", "QQ314159"),
            ("a+2Bb+3Dc+20d", "a+b=c d"),
            ("joe+40x.test", "joe@x.test"),
            ("+c3+BC", "ü"),
            ("a+", "a+"),
            ("a+2", "a+2"),
            ("a+zz+41", "a+zz+41"),
            ("++41", "++41"),
            ("+FF", "\u{fffd}"),
        ];
        for (text, decoded) in cases {
            assert_eq!(from_xtext(text), decoded, "{text}");
        }
    }

    #[test]
    fn utf8_addresses_have_two_forms() {
        let cases =
            [("j\\x{FC}rgen@x.test", "jürgen@x.test"), ("a\\x{2B}b\\x{5C}@x.test", "a+b\\@x.test")];
        for (escaped, plain) in cases {
            assert_eq!(from_unitext(escaped), plain);
            assert_eq!(to_unitext(plain), escaped);
        }
        for odd in ["\\x{", "\\x{}", "\\x{D800}", "\\x{zz}", "\\x{41"] {
            assert_eq!(from_unitext(odd), odd);
        }
    }

    #[test]
    fn orcpt_keeps_its_type() {
        let print = |orcpt| Typed::from_orcpt(orcpt).map(|typed| typed.print(Charset::Ascii));
        assert_eq!(print("rfc822;joe+2Bnews@x.test").unwrap(), "rfc822; joe+news@x.test");
        assert_eq!(print("utf-8;j\\x{FC}@x.test").unwrap(), "utf-8; j\\x{FC}@x.test");
        assert_eq!(print("x400;/S=joe/").unwrap(), "x400; /S=joe/");
        assert_eq!(print("joe@x.test"), None);
    }

    #[test]
    fn a_remote_address_is_a_literal() {
        assert_eq!(remote_mta("mx.x.test"), "dns; mx.x.test");
        assert_eq!(remote_mta("192.0.2.1"), "dns; [192.0.2.1]");
        assert_eq!(remote_mta("2001:db8::1"), "dns; [IPv6:2001:db8::1]");
    }
}
