//! What the server says, in one place: codes, enhanced codes and words.
//!
//! A refusal says what is wrong and, where there is a way out, names it. The words are ours to
//! change; the codes are not, clients act on them. RFC 5321 4.2, RFC 3463, RFC 5248 (registry).

use super::reply::Reply;
use crate::message::StatusCode;

const fn say(code: u16, class: u8, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply::fixed(code, StatusCode::new(class, subject, detail), text)
}

pub const SENDER_OK: Reply = say(250, 2, 1, 0, "Sender ok");
pub const RECIPIENT_OK: Reply = say(250, 2, 1, 5, "Recipient ok");
pub const RESET: Reply = say(250, 2, 0, 0, "Reset");
pub const NOOP: Reply = say(250, 2, 0, 0, "Ok");
pub const CHUNK_OK: Reply = say(250, 2, 0, 0, "Chunk received");
pub const VRFY: Reply = say(252, 2, 5, 1, "Not verified; send mail and see");
pub const HELP: Reply =
    say(214, 2, 0, 0, "This is an outbound relay: EHLO MAIL RCPT DATA BDAT RSET QUIT");
pub const BYE: Reply = say(221, 2, 0, 0, "Bye");
pub const START_TLS: Reply = say(220, 2, 0, 0, "Begin TLS now");
pub const AUTHENTICATED: Reply = say(235, 2, 7, 0, "Authenticated");
pub const GO_AHEAD: Reply = Reply::bare(354, "Send the message, end it with <CRLF>.<CRLF>");
pub const GO_ON: Reply = Reply::bare(334, "");
/// `Username:` and `Password:` in base64, as clients of LOGIN expect.
pub const LOGIN_NAME: Reply = Reply::bare(334, "VXNlcm5hbWU6");
pub const LOGIN_PASSWORD: Reply = Reply::bare(334, "UGFzc3dvcmQ6");

pub const LINE_TOO_LONG: Reply = say(500, 5, 5, 2, "Line too long");
pub const BARE_LF: Reply = say(500, 5, 5, 2, "Lines end in CRLF, not in LF alone");
pub const NOT_IMPLEMENTED: Reply = say(502, 5, 5, 1, "Not offered here");
pub const HELLO_FIRST: Reply = say(503, 5, 5, 1, "Send EHLO first");
pub const NESTED_MAIL: Reply = say(503, 5, 5, 1, "A sender is given already; RSET to begin again");
pub const MAIL_FIRST: Reply = say(503, 5, 5, 1, "Send MAIL first");
pub const NO_RECIPIENTS: Reply = say(554, 5, 5, 1, "No valid recipients");
pub const CHUNKS_EXPECTED: Reply = say(503, 5, 5, 1, "BDAT was begun; the message is given up");
pub const TLS_ALREADY: Reply = say(503, 5, 5, 1, "TLS is active already");
pub const AUTH_OUT_OF_PLACE: Reply = say(503, 5, 5, 1, "AUTH once, and between messages");
pub const PARAMETERS_NEED_EHLO: Reply = say(555, 5, 5, 4, "Parameters need EHLO");
pub const REQUIRETLS_NEEDS_TLS: Reply = say(555, 5, 5, 4, "REQUIRETLS is offered under TLS only");

pub const NOT_ALLOWED: Reply =
    say(550, 5, 7, 1, "Relaying denied: not a declared peer, and not authenticated");
pub const AUTH_REQUIRED: Reply = say(530, 5, 7, 0, "Authenticate first");
pub const TLS_FIRST: Reply = say(538, 5, 7, 11, "AUTH needs TLS here: STARTTLS first");
pub const BAD_CREDENTIALS: Reply = say(535, 5, 7, 8, "Account or password is wrong");
pub const NEEDS_UTF8: Reply = say(553, 5, 6, 7, "A non-ASCII address needs SMTPUTF8 on MAIL");
pub const TOO_BIG: Reply = say(552, 5, 3, 4, "Message too big");
pub const TOO_MANY_RECIPIENTS: Reply =
    say(452, 4, 5, 3, "Too many recipients; send the rest in another message");
pub const NO_ROUTE: Reply = say(550, 5, 4, 4, "No route to this domain");
pub const LOOP: Reply = say(554, 5, 4, 6, "Too many hops: a mail loop");
pub const BARE_LINE_END: Reply =
    say(521, 5, 5, 2, "A line of one dot with a bare CR or LF beside it (RFC 5321 2.3.8)");
pub const BARE_LINE_END_CHUNKED: Reply =
    say(550, 5, 6, 0, "A line of one dot behind a bare CR or LF (RFC 5321 2.3.8)");
pub const INJECTION: Reply = say(421, 4, 7, 0, "Input behind STARTTLS; wait for the reply");

pub const ERRORS_MAX: Reply = say(421, 4, 7, 0, "Too many errors");
pub const COMMANDS_MAX: Reply = say(421, 4, 7, 0, "Too many commands on one connection");
pub const MESSAGES_MAX: Reply =
    say(421, 4, 7, 0, "Enough messages on this connection; open another");
pub const AUTH_FAILURES_MAX: Reply = say(421, 4, 7, 0, "Too many failed logins");
pub const IDLE: Reply = say(421, 4, 4, 2, "Idle for too long");
pub const SLOW: Reply = say(421, 4, 4, 2, "The message took too long");
pub const SESSION_AGE: Reply =
    say(421, 4, 4, 2, "The connection is open for too long; open another");
pub const STOPPING: Reply = say(421, 4, 3, 2, "Stopping; try again later");
pub const SESSIONS_MAX: Reply = say(421, 4, 7, 0, "Too many connections");
pub const PEER_SESSIONS_MAX: Reply = say(421, 4, 7, 0, "Too many connections from your address");
pub const PROXY_HEADER: Reply = say(421, 4, 7, 0, "A PROXY header is expected from this address");
pub const MEMORY: Reply = say(452, 4, 3, 1, "Too much in progress, try again later");
pub const BROKEN: Reply = say(421, 4, 3, 0, "Internal error; try again later");
