//! What the header of a part says of its body: type, encoding, disposition, name.
//!
//! RFC 2045 5.1 and 6.1, RFC 2183, parameters continued and encoded by RFC 2231. Reads as mail
//! clients do: a name may be an encoded word inside quotes, which RFC 2047 5 forbids and everyone
//! sends. Oddities are told as signs.

use super::charset;
use super::header::{Field, decoded_words, unfolded};
use super::sign::{Facts, Sign};
use super::transfer::Transfer;

const PARAMETERS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Inline, or nothing said.
    Shown,
    Attachment,
}

/// The header of one part, without what is not about its body.
#[derive(Clone, Debug)]
pub(super) struct PartHead {
    /// In lower case, `text/plain` where nothing is said (RFC 2045 5.2).
    pub(super) media: String,
    pub(super) boundary: String,
    pub(super) charset: String,
    pub(super) transfer: Transfer,
    pub(super) disposition: Disposition,
    /// Empty where there is none.
    pub(super) name: String,
}

impl PartHead {
    /// `default` is the type where nothing is said: it differs in multipart/digest.
    pub(super) fn read(fields: &[Field<'_>], default: &str, facts: &mut Facts) -> Self {
        let mut head = Self {
            media: default.to_owned(),
            boundary: String::new(),
            charset: String::new(),
            transfer: Transfer::Identity,
            disposition: Disposition::Shown,
            name: String::new(),
        };
        let mut typed = false;
        for field in fields {
            if field.name.len() < 12 || !field.name[..8].eq_ignore_ascii_case(b"content-") {
                continue;
            }
            if field.is("content-type") {
                if typed {
                    facts.add(Sign::FieldDuplicated, "Content-Type");
                    continue;
                }
                typed = true;
                head.take_type(field, facts);
            } else if field.is("content-transfer-encoding") {
                let word = unfolded(field, facts);
                head.transfer = Transfer::of(word.split([';', '(']).next().unwrap_or(""));
                if head.transfer == Transfer::Unknown {
                    facts.add(Sign::TransferUnknown, &word);
                }
            } else if field.is("content-disposition") {
                head.take_disposition(field, facts);
            }
        }
        head
    }

    fn take_type(&mut self, field: &Field<'_>, facts: &mut Facts) {
        let value = unfolded(field, facts);
        let (media, parameters) = parameters(&value);
        let token = |text: &str| {
            let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-.+_!#$&^*".contains(&octet);
            !text.is_empty() && text.bytes().all(plain)
        };
        match media.split_once('/') {
            Some((kind, sub)) if token(kind) && token(sub) => self.media = media,
            _ => facts.add(Sign::ContentTypeBroken, &value),
        }
        for (name, text) in parameters {
            match name.as_str() {
                "boundary" => self.boundary = text,
                "charset" => self.charset = text,
                "name" if self.name.is_empty() => self.name = decoded_words(&text, facts),
                _ => {}
            }
        }
    }

    fn take_disposition(&mut self, field: &Field<'_>, facts: &mut Facts) {
        let value = unfolded(field, facts);
        let (word, parameters) = parameters(&value);
        if word == "attachment" {
            self.disposition = Disposition::Attachment;
        }
        for (name, text) in parameters {
            if name == "filename" {
                self.name = decoded_words(&text, facts);
            }
        }
    }
}

/// The word before the first `;` in lower case, and the parameters after it.
fn parameters(value: &str) -> (String, Vec<(String, String)>) {
    let (word, mut rest) = value.split_once(';').unwrap_or((value, ""));
    // RFC 2045 5.1 allows comments; nobody writes them but in this place.
    let word = word.split('(').next().unwrap_or(word);
    let mut list: Vec<Parameter> = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        if list.len() == PARAMETERS_MAX {
            break;
        }
        let name = name.rsplit(';').next().unwrap_or(name).trim().to_ascii_lowercase();
        let (text, after) = parameter_value(after);
        rest = after;
        Parameter::put(&mut list, &name, text);
    }
    let list = list.into_iter().map(Parameter::finish).collect();
    (word.trim().to_ascii_lowercase(), list)
}

/// A value, quoted or not, and what follows its `;`.
fn parameter_value(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_once(';').unwrap_or((text, ""));
        let value = value.split(" (").next().unwrap_or(value);
        return (value.trim().to_owned(), after);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, quoted[at + 1..].trim_start_matches([' ', ';'])),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

/// A parameter that may come in pieces (RFC 2231 3) and encoded (4).
struct Parameter {
    name: String,
    charset: String,
    octets: Vec<u8>,
}

impl Parameter {
    fn put(list: &mut Vec<Self>, name: &str, text: String) {
        let (bare, encoded) = match name.strip_suffix('*') {
            Some(bare) => (bare, true),
            None => (name, false),
        };
        let bare = bare.split('*').next().unwrap_or(bare);
        let known = list.iter().position(|parameter| parameter.name == bare);
        // A plain parameter that comes twice counts once, as the first.
        if known.is_some() && bare == name {
            return;
        }
        let at = known.unwrap_or_else(|| {
            list.push(Self { name: bare.to_owned(), charset: String::new(), octets: Vec::new() });
            list.len() - 1
        });
        let parameter = &mut list[at];
        let mut text = text.as_str();
        if encoded {
            if parameter.charset.is_empty()
                && let Some((charset, rest)) = text.split_once('\'')
            {
                parameter.charset = charset.to_owned();
                text = rest.split_once('\'').map_or(rest, |(_, rest)| rest);
            }
            percent_octets(text, &mut parameter.octets);
        } else {
            parameter.octets.extend_from_slice(text.as_bytes());
        }
    }

    fn finish(self) -> (String, String) {
        let text = charset::decode(&self.octets, &self.charset).0.into_owned();
        (self.name, text)
    }
}

/// Appends the octets that a text with `%41` in it stands for.
pub(super) fn percent_octets(text: &str, octets: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit =
            |index: usize| after.get(index).and_then(|octet| char::from(*octet).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                octets.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            _ => {
                octets.push(*first);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> PartHead {
        let field = |(name, value): &(&'static str, &'static str)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
        };
        let fields: Vec<(&'static str, &'static str)> = fields
            .iter()
            .map(|(name, value)| (&*name.to_string().leak(), &*value.to_string().leak()))
            .collect();
        let fields: Vec<Field<'_>> = fields.iter().map(field).collect();
        PartHead::read(&fields, "text/plain", &mut Facts::default())
    }

    #[test]
    fn types_and_boundaries() {
        let rows = [
            ("text/HTML; charset=UTF-8", "text/html", "", "UTF-8"),
            ("multipart/mixed; boundary=\"a b\\\"c\"; x=y", "multipart/mixed", "a b\"c", ""),
            ("multipart/mixed;\r\n\tboundary=abc", "multipart/mixed", "abc", ""),
            ("text/plain; Charset = \"iso-8859-1\" (comment)", "text/plain", "", "iso-8859-1"),
            ("nonsense", "text/plain", "", ""),
            ("", "text/plain", "", ""),
            ("text/html;;charset=x", "text/html", "", "x"),
        ];
        for (value, media, boundary, charset) in rows {
            let head = head(&[("Content-Type", value)]);
            assert_eq!((&*head.media, &*head.boundary, &*head.charset), (media, boundary, charset));
        }
    }

    #[test]
    fn names_in_all_their_spellings() {
        let rows = [
            ("attachment; filename=a.pdf", "a.pdf"),
            ("attachment; filename=\"a b.pdf\"", "a b.pdf"),
            ("attachment; filename*=utf-8''%C3%A4.pdf", "ä.pdf"),
            ("attachment; filename*0=\"in\"; filename*1=\"voice.pdf\"", "invoice.pdf"),
            ("attachment; filename*0*=utf-8'en'%C3%A4; filename*1=.pdf", "ä.pdf"),
            ("attachment; filename=\"=?utf-8?q?=C3=A4.pdf?=\"", "ä.pdf"),
            ("attachment; filename=a.pdf; filename=b.exe", "a.pdf"),
        ];
        for (value, name) in rows {
            let head = head(&[("Content-Disposition", value)]);
            assert_eq!((&*head.name, head.disposition), (name, Disposition::Attachment), "{value}");
        }
        assert_eq!(head(&[("Content-Type", "application/pdf; name=x.pdf")]).name, "x.pdf");
    }
}
