//! Clients that nobody wants: they open connections and do what no mail server does.
//!
//! None of them may get anything accepted, hold a place for ever or bring a session of others down.
//! What they are told does not matter, but for one thing: an undeclared address without a
//! password is never let past MAIL.

use super::executor::{Executor, OUTSIDE};
use super::network::Network;
use super::random::Random;
use super::wire::{Gone, Wire};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(900);

pub struct Nuisance {
    pub executor: Executor,
    pub network: Network,
    pub random: Random,
    /// Of no declared peer.
    pub address: IpAddr,
    pub relay: SocketAddr,
    /// Ends them all, between two of their sessions.
    pub over: Rc<Cell<bool>>,
}

impl Nuisance {
    pub async fn run(self) {
        while !self.over.get() {
            self.executor.sleep(self.random.millis(1..5_000)).await;
            // They expect nothing.
            let _ended = self.visit().await;
        }
    }

    async fn visit(&self) -> Result<(), Gone> {
        let connect = self.network.connect(OUTSIDE, self.address, self.relay);
        let stream = self.executor.within(PATIENCE, connect).await.ok_or(Gone)??;
        let mut wire = Wire::new(self.executor.clone(), stream, PATIENCE);
        match self.random.below(0..7) {
            // Says nothing and stays.
            0 => loop {
                wire.line().await?;
            },
            1 => {
                let noise: Vec<u8> = (0..5_000).map(|_| self.random.next() as u8).collect();
                wire.write(&noise).await
            }
            2 => wire.write(&[b'x'; 20_000]).await,
            3 => self.tries_to_relay(&mut wire).await,
            4 => {
                wire.say("EHLO x\r\nSTARTTLS\r\nMAIL FROM:<injected@evil.test>").await?;
                loop {
                    wire.line().await?;
                }
            }
            5 => {
                wire.say("EHLO x\r\nSTARTTLS").await?;
                self.executor.sleep(self.random.millis(0..1_000)).await;
                wire.say("this is no handshake").await
            }
            _ => wire.say("EHLO x\r\nNOOP\r\nQUIT\r\nNOOP\r\nNOOP").await,
        }
    }

    async fn tries_to_relay(&self, wire: &mut Wire) -> Result<(), Gone> {
        let greeting = wire.reply().await?;
        if greeting.0 != 220 {
            return Err(Gone);
        }
        wire.ask("EHLO x").await?;
        let (code, words) = wire.ask("MAIL FROM:<joe@evil.test>").await?;
        assert!(matches!(code, 550 | 421), "an open relay: {code} {words}");
        Ok(())
    }
}
