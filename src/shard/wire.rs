//! Reading and writing a stream.
//!
//! A read borrows the shard's one scratch buffer for the length of a poll and says how much it holds. The reader
//! must use those bytes before it waits for anything else: nothing else runs on this shard until
//! then. So ten thousand idle sessions own no read buffer.

use super::Shard;
use super::world::{Stream, World};
use std::future::poll_fn;
use std::io;

impl<W: World> Shard<W> {
    /// Reads into the scratch buffer; `Ok(0)` is the end of the stream.
    pub(super) async fn read(&self, stream: &mut W::Stream) -> io::Result<usize> {
        poll_fn(|cx| stream.poll_read(cx, &mut self.inner.scratch.borrow_mut())).await
    }
}

pub(super) async fn write_all<S: Stream>(stream: &mut S, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Fills `into`, or fails with `UnexpectedEof`.
pub(super) async fn read_exact<S: Stream>(stream: &mut S, into: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        match poll_fn(|cx| stream.poll_read(cx, &mut into[filled..])).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(())
}

pub(super) async fn close<S: Stream>(stream: &mut S) -> io::Result<()> {
    poll_fn(|cx| stream.poll_close(cx)).await
}

/// Input that was read and waits behind something that takes time.
#[derive(Default)]
pub(super) struct Leftover {
    bytes: Vec<u8>,
    used: usize,
}

impl Leftover {
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.used = 0;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn advance(&mut self, used: usize) {
        self.used += used;
        if self.used == self.bytes.len() {
            // A resting session keeps no buffer.
            *self = Leftover::default();
        }
    }
}
