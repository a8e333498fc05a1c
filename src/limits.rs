//! Every hard bound of the relay that is not a knob, with assertions relating them.
//!
//! A knob's range lives with its declaration in `config/`; what stands here is what code relies on
//! whatever an operator writes. Names end in `_MAX` with the unit before it. Bounds of one parser's
//! own (octets of a reply line, say) stand at the head of that parser's file.

/// Octets of one command line with its CRLF. RFC 5321 4.5.3.1.4 asks for 512 at least; AUTH
/// with an initial response (RFC 4954 4) and SMTPUTF8 paths (RFC 6531) ask for more.
pub const COMMAND_LINE_BYTES_MAX: usize = 2_048;

/// Octets of one AUTH response line: RFC 4954 4 asks for 12,288.
pub const AUTH_LINE_BYTES_MAX: usize = 12_288;

/// Octets read from a socket at once: the size of a shard's one scratch buffer. Large enough that
/// a usual message (4 KiB to 60 KiB) is one read, small enough to stay in the second-level cache.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// Octets of replies that may wait while a peer pipelines commands and does not read.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Recipients of one message, whatever the knob says: positions are 16 bits on disk.
pub const RECIPIENTS_MAX: usize = 50_000;

/// Octets of remote words kept with a waiting recipient.
pub const WORDS_BYTES_MAX: usize = 512;

/// Shards of one process: a slot is 8 bits in ids and keys, and a slot outlives its shard.
pub const SHARDS_MAX: usize = 64;

/// Entries read from disk for one domain at a time.
pub const PAGE_ENTRIES_MAX: usize = 256;

/// How long a farewell (221, 421, QUIT) or a PROXY header may take.
pub const FAREWELL_SECONDS_MAX: u64 = 5;

const _: () = assert!(RECIPIENTS_MAX <= u16::MAX as usize);
const _: () = assert!(SHARDS_MAX <= 256);
const _: () = assert!(COMMAND_LINE_BYTES_MAX < AUTH_LINE_BYTES_MAX);
const _: () = assert!(AUTH_LINE_BYTES_MAX < READ_BYTES_MAX, "a whole line fits one read");
