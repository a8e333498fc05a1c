//! What the next hop offers, as the reply to EHLO lists it.
//!
//! Unknown keywords are passed over, known ones count whatever their case and place; a server
//! that answered only HELO offers nothing. Decides nothing about their use: what a message needs
//! and gets is `transaction.rs`.
//!
//! RFC 5321 4.1.1.1 (the reply to EHLO), RFC 1870 (SIZE), RFC 2034 (ENHANCEDSTATUSCODES),
//! RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 3207 (STARTTLS), RFC 3461 (DSN),
//! RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC 8689 (REQUIRETLS).

/// The service extensions that matter to a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub pipelining: bool,
    pub chunking: bool,
    pub eight_bit: bool,
    pub utf8: bool,
    pub dsn: bool,
    /// Octets of the largest message it takes; zero when it names no limit (RFC 1870 4). `None`
    /// when SIZE is not offered, and the parameter of MAIL is then not understood.
    pub size: Option<u64>,
    pub enhanced: bool,
    pub starttls: bool,
    pub require_tls: bool,
}

impl Features {
    /// Reads the text of a positive reply to EHLO: a line of greeting, then a keyword a line.
    pub fn parse(text: &str) -> Self {
        let mut features = Features::default();
        for line in text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or("").to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => features.pipelining = true,
                "CHUNKING" => features.chunking = true,
                "8BITMIME" => features.eight_bit = true,
                "SMTPUTF8" => features.utf8 = true,
                "DSN" => features.dsn = true,
                // A limit that is no number, or too large for one, is no limit that we could keep.
                "SIZE" => {
                    let limit = words.next().and_then(|limit| limit.parse().ok());
                    features.size = Some(limit.unwrap_or(0));
                }
                "ENHANCEDSTATUSCODES" => features.enhanced = true,
                "STARTTLS" => features.starttls = true,
                "REQUIRETLS" => features.require_tls = true,
                _ => {}
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_count_in_any_case_and_the_greeting_line_is_none() {
        let cases: [(&str, Features); 6] = [
            ("PIPELINING at your service", Features::default()),
            ("", Features::default()),
            ("mx\n8bitmime\nChunking", Features { eight_bit: true, chunking: true, ..none() }),
            ("mx\nSIZE 1000\n\nX-ODD a b", Features { size: Some(1000), ..none() }),
            ("mx\nSIZE\nDSN", Features { size: Some(0), dsn: true, ..none() }),
            ("mx\nSIZE 99999999999999999999999", Features { size: Some(0), ..none() }),
        ];
        for (text, expected) in cases {
            assert_eq!(Features::parse(text), expected, "{text:?}");
        }
        let all = "mx\nPIPELINING\nSMTPUTF8\nENHANCEDSTATUSCODES\nSTARTTLS\nAUTH PLAIN";
        let some = Features { pipelining: true, utf8: true, enhanced: true, ..none() };
        assert_eq!(Features::parse(all), Features { starttls: true, ..some });
        let under_tls = Features { require_tls: true, ..none() };
        assert_eq!(Features::parse("mx\nRequireTLS"), under_tls);
    }

    fn none() -> Features {
        Features::default()
    }
}
