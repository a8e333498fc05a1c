//! SIGTERM and SIGINT as something a task can wait for.
//!
//! The handler writes a byte to a socket pair whose other end the executor reads: no polling, no
//! thread, and what runs between two waits of a task is never interrupted.

use std::os::unix::net::UnixStream;

use futures_lite::AsyncReadExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::error::Error;
use crate::kernel;

/// The request to end, once it comes.
pub struct EndRequest(glommio::net::UnixStream);

impl EndRequest {
    /// Must be called on the executor's thread.
    pub fn listen() -> Result<EndRequest, Error> {
        let (ours, handlers) = UnixStream::pair().map_err(Error::Signals)?;
        let second = handlers.try_clone().map_err(Error::Signals)?;
        pipe::register(SIGTERM, handlers).map_err(Error::Signals)?;
        pipe::register(SIGINT, second).map_err(Error::Signals)?;
        Ok(EndRequest(kernel::adopt_pair_end(ours)))
    }

    /// Returns when a signal came; nothing else ends the wait, since the handlers stay registered.
    pub async fn wait(&mut self) {
        let mut byte = [0];
        // An error could only mean that the pair is gone, and then ending is right as well.
        let _ = self.0.read(&mut byte).await;
    }
}
