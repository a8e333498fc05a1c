//! The asking side of the admin API, for `baton queue` on the command line.
//!
//! One blocking request per connection, over plain HTTP/1.1 to our own server: that takes a page of
//! code, and the command line needs no runtime. Not a general client: no redirects, no chunked
//! bodies, no TLS. What comes back is bounded and checked for completeness, so that a cut answer is
//! an error and never a short list. RFC 9112.

use super::access::{BadToken, Token};
use super::view::{QueueChanges, QueueDetail, QueueFilter, QueueList};
use crate::event::QueueAction;
use crate::message::MessageId;
use crate::shard::operate::{Filter, SenderFilter};
use form_urlencoded::Serializer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONNECT_SECONDS_MAX: Duration = Duration::from_secs(5);
/// A list by sender may have to look at the whole queue.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(120);
/// A change of millions of entries goes on beside the mail. As long as the server keeps a connection.
const CHANGE_SECONDS_MAX: Duration = Duration::from_secs(300);
/// Far above the longest list; a bound only against talking to something else.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200..=599.
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum ClientError {
    Token(PathBuf, BadToken),
    Connect(SocketAddr, io::Error),
    Broken(SocketAddr, io::Error),
    /// What listens there is not baton, or the answer was cut.
    NotHttp(SocketAddr),
    /// The status, and the server's words.
    Refused(u16, Box<str>),
    /// JSON, but not what was asked for: probably another version.
    Unexpected(serde_json::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Token(path, bad) => {
                write!(f, "admin.token_file {}: {bad}", path.display())
            }
            ClientError::Connect(address, error) => write!(
                f,
                "cannot reach baton at {address}: {error}; is it running, with this admin.address?"
            ),
            ClientError::Broken(address, error) => {
                write!(f, "the answer of {address} broke off: {error}")
            }
            ClientError::NotHttp(address) => write!(
                f,
                "what {address} answered is not a whole answer of baton; is admin.address right?"
            ),
            ClientError::Refused(status, words) => write!(f, "baton answered {status}: {words}"),
            ClientError::Unexpected(error) => {
                write!(f, "baton's answer is of another version: {error}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

/// Where and as whom to ask.
pub struct AdminClient {
    address: SocketAddr,
    token: Option<Token>,
}

impl AdminClient {
    /// Takes `admin.address` and `admin.token_file` as the relay does.
    pub fn new(address: SocketAddr, token_file: Option<&Path>) -> Result<Self, ClientError> {
        let read =
            |path: &Path| Token::read(path).map_err(|bad| ClientError::Token(path.to_owned(), bad));
        let token = token_file.map(read).transpose()?;
        Ok(AdminClient { address: reachable(address), token })
    }

    pub fn queue_list(&self, filter: &QueueFilter) -> Result<QueueList, ClientError> {
        let mut query = Serializer::new(String::from("/api/v1/queue?"));
        query.append_pair("limit", &filter.limit.to_string());
        for (name, value) in [("domain", &filter.domain), ("sender", &filter.sender)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if filter.held {
            query.append_pair("held", "true");
        }
        parse(self.get(&query.finish())?)
    }

    /// Changes what `filter` names; an empty one names everything.
    pub fn queue_change(
        &self,
        action: QueueAction,
        filter: &Filter,
    ) -> Result<QueueChanges, ClientError> {
        let mut query = Serializer::new(format!("/api/v1/queue/{}?", action.as_str()));
        let Filter { domain, sender, id } = filter;
        let id = id.map(|id| id.to_string());
        let sender = sender.as_ref().map(SenderFilter::as_str);
        for (name, value) in
            [("domain", domain.as_deref()), ("sender", sender), ("id", id.as_deref())]
        {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if *filter == Filter::default() {
            query.append_pair("all", "true");
        }
        parse(self.ask("POST", &query.finish(), CHANGE_SECONDS_MAX)?)
    }

    /// `None` when the message is not in the queue.
    pub fn queue_show(&self, id: MessageId) -> Result<Option<QueueDetail>, ClientError> {
        match self.get(&format!("/api/v1/queue/{id}"))? {
            Answer { status: 404, .. } => Ok(None),
            answer => parse(answer).map(Some),
        }
    }

    /// `target` is a path and query, percent-encoded.
    pub fn get(&self, target: &str) -> Result<Answer, ClientError> {
        self.ask("GET", target, ANSWER_SECONDS_MAX)
    }

    fn ask(&self, method: &str, target: &str, wait: Duration) -> Result<Answer, ClientError> {
        let broken = |error| ClientError::Broken(self.address, error);
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_SECONDS_MAX)
            .map_err(|error| ClientError::Connect(self.address, error))?;
        stream.set_read_timeout(Some(wait)).map_err(broken)?;
        stream.set_write_timeout(Some(CONNECT_SECONDS_MAX)).map_err(broken)?;
        stream.write_all(self.request(method, target).as_bytes()).map_err(broken)?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map_err(broken)?;
        split(&bytes).ok_or(ClientError::NotHttp(self.address))
    }

    fn request(&self, method: &str, target: &str) -> String {
        let authorization = match &self.token {
            Some(token) => format!("Authorization: Bearer {}\r\n", token.as_str()),
            None => String::new(),
        };
        let host = self.address;
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{authorization}\r\n"
        )
    }
}

/// A port that listens on every address is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (Ipv6Addr::LOCALHOST, address.port()).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

/// `None` unless the bytes are one whole answer with a stated length.
fn split(bytes: &[u8]) -> Option<Answer> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let body = &bytes[end + 4..];
    let mut lines = str::from_utf8(&bytes[..end]).ok()?.split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let status: u16 = rest.get(..3)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())
    })??;
    let whole = version.starts_with("HTTP/1.") && (200..600).contains(&status);
    (whole && length == body.len()).then(|| Answer { status, body: body.to_vec() })
}

fn parse<T: DeserializeOwned>(answer: Answer) -> Result<T, ClientError> {
    #[derive(Deserialize)]
    struct Told {
        error: Box<str>,
        #[serde(default)]
        allowed: Vec<String>,
    }
    if answer.status == 200 {
        return serde_json::from_slice(&answer.body).map_err(ClientError::Unexpected);
    }
    let words = match serde_json::from_slice::<Told>(&answer.body) {
        Ok(told) if told.allowed.is_empty() => told.error,
        Ok(told) => format!("{}; allowed: {}", told.error, told.allowed.join(", ")).into(),
        Err(_) => "no reason given".into(),
    };
    Err(ClientError::Refused(answer.status, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(split(whole), Some(Answer { status: 200, body: b"{}".to_vec() }));
        for cut in 0..whole.len() {
            assert_eq!(split(&whole[..cut]), None, "{cut}");
        }
        let others: [&[u8]; 4] = [
            b"220 relay.example ESMTP\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 2\xc3\xa90 OK\r\ncontent-length: 0\r\n\r\n",
        ];
        for other in others {
            assert_eq!(split(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_refusal_carries_what_is_allowed() {
        let body = br#"{"error":"limit=0","allowed":["limit=1 to 10000"]}"#.to_vec();
        let error = parse::<QueueList>(Answer { status: 400, body }).unwrap_err();
        let expected = "baton answered 400: limit=0; allowed: limit=1 to 10000";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_wildcard_address_is_reached_over_loopback() {
        let cases = [
            ("0.0.0.0:9525", "127.0.0.1:9525"),
            ("[::]:9525", "[::1]:9525"),
            ("192.0.2.1:9525", "192.0.2.1:9525"),
        ];
        for (listens, reached) in cases {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
