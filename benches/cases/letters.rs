//! The content of messages as the filter reads it: text, newsletters, files, hostile tags.

use super::{Meter, mail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use baton::filter::content::{Content, ContentLimits};
use std::hint::black_box;

const LIMITS: ContentLimits = ContentLimits::STANDARD;

/// As a shop writes them: tables, styles, a picture and a link a row.
const ROW: &str = "<tr style=\"background-color:#ffffff\"><td align=\"left\" style=\"padding:10px 20px;\
    font-family:Arial,sans-serif;font-size:14px;line-height:20px;color:#333333\">\r\n<p>The table that \
    you looked at is here again, for two days &amp; as long as there are any.</p>\r\n<a href=\"https://\
    click.shop.example/track?id=NUMBER&amp;m=42\" style=\"color:#0055aa;text-decoration:none\">To the \
    shop</a>\r\n<img src=\"https://img.shop.example/p/NUMBER.png\" width=\"200\" height=\"100\" \
    alt=\"Table\"></td></tr>\r\n";

fn page(bytes: usize) -> String {
    let mut page =
        String::from("<!DOCTYPE html><html><head><style>a{color:red}</style></head><body>");
    page.push_str("<table width=\"100%\">\r\n");
    for number in 0.. {
        if page.len() + ROW.len() > bytes {
            break;
        }
        page.push_str(&ROW.replace("NUMBER", &number.to_string()));
    }
    page
}

fn with_fields(fields: &str, body: &str) -> Vec<u8> {
    let header = std::str::from_utf8(mail::HEADER).expect("a text");
    let plain = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
    [&header.replace(plain, ""), fields, "\r\n", body].concat().into_bytes()
}

pub fn plain(bytes: usize) -> Vec<u8> {
    mail::text(bytes)
}

pub fn alternative(bytes: usize) -> Vec<u8> {
    let left = bytes - mail::HEADER.len() - 250;
    let text = "The table that you looked at is here again.\r\n".repeat(left / 3 / 45);
    let page = page(left / 3 * 2);
    let body = format!(
        "--b0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--b0\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n{page}\r\n--b0--\r\n"
    );
    with_fields("Content-Type: multipart/alternative; boundary=b0\r\n", &body)
}

pub fn newsletter(bytes: usize) -> Vec<u8> {
    let page = page(bytes - mail::HEADER.len());
    with_fields("Content-Type: text/html; charset=utf-8\r\n", &page)
}

fn lines(octets: &[u8]) -> String {
    let text = STANDARD.encode(octets);
    let lines = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ASCII"));
    lines.collect::<Vec<_>>().join("\r\n")
}

/// The same as a text in base64, as many systems send it.
pub fn encoded(bytes: usize) -> Vec<u8> {
    let page = page(bytes / 4 * 3 - mail::HEADER.len());
    let fields = "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n";
    with_fields(fields, &lines(page.as_bytes()))
}

pub fn attachment(bytes: usize) -> Vec<u8> {
    let file: Vec<u8> = b"%PDF-1.4\n".iter().copied().cycle().take(bytes / 4 * 3 - 2_048).collect();
    let body = format!(
        "--b0\r\n\r\nThe invoice.\r\n--b0\r\nContent-Type: application/pdf; name=invoice.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b0--\r\n",
        lines(&file)
    );
    with_fields("Content-Type: multipart/mixed; boundary=b0\r\n", &body)
}

/// Styled elements inside each other, then ends of what never began.
pub fn tags(bytes: usize) -> Vec<u8> {
    let open = "<b style=color:red>".repeat(bytes / 2 / 19);
    with_fields("Content-Type: text/html\r\n", &(open + &"</x>".repeat(bytes / 2 / 4)))
}

pub fn read(meter: &mut impl Meter, message: Vec<u8>) {
    meter.measure(
        || (),
        |()| Content::read(black_box(&message), &LIMITS),
        |content| {
            assert_eq!(content.header().subject, "Minutes of the last meeting");
            assert!(content.html().tags > 0 || !content.visible_text().is_empty());
        },
    );
}

/// What a classifier asks for.
pub fn words(meter: &mut impl Meter, message: Vec<u8>) {
    let content = Content::read(&message, &LIMITS);
    meter.measure(
        || (),
        |()| {
            let (mut count, mut letters) = (0, 0);
            black_box(&content).words(|word| (count, letters) = (count + 1, letters + word.len()));
            (count, letters)
        },
        |(count, letters)| assert!(*count > 300 && letters > count),
    );
}
