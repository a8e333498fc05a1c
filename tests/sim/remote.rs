//! A remote mail server: takes what the relay delivers, with the [`Manners`] it currently has.
//!
//! A message that it keeps goes into the [`Ledger`] at the moment it is kept, together with the
//! place behind the final reply, so that it is known later whether the relay ever read that reply.
//! It also watches the relay's own manners: a command that was pipelined, chunked or given a
//! parameter that this server did not offer is a breach.

use super::executor::{Executor, OUTSIDE};
use super::ledger::{Delivery, Ledger};
use super::mail::identify;
use super::manners::{Manners, Refusals};
use super::network::{Network, SimStream};
use super::random::Random;
use super::traffic::{Call, Rules};
use super::wire::{Gone, Wire};
use baton::shard::world::Stream;
use baton::time::Moment;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long a server waits for a command.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Server {
    pub address: SocketAddr,
    rules: Rules,
    executor: Executor,
    random: Random,
    ledger: Rc<Ledger>,
    manners: RefCell<Manners>,
    /// When a recipient was first seen, for greylisting.
    seen: RefCell<BTreeMap<String, Moment>>,
}

impl Server {
    pub fn new(
        address: SocketAddr,
        rules: Rules,
        executor: Executor,
        random: Random,
        ledger: Rc<Ledger>,
        manners: Manners,
    ) -> Rc<Server> {
        let (manners, seen) = (RefCell::new(manners), RefCell::default());
        Rc::new(Server { address, rules, executor, random, ledger, manners, seen })
    }

    pub fn set_manners(&self, manners: Manners) {
        *self.manners.borrow_mut() = manners;
    }

    pub async fn run(self: Rc<Self>, network: Network) {
        let listener = network.listen(self.address);
        loop {
            let stream = listener.accept(OUTSIDE).await;
            let manners = self.manners.borrow().clone();
            let session = Session::new(self.clone(), stream, manners);
            self.executor.spawn(OUTSIDE, session.run());
        }
    }

    fn rolls(&self, share: u64) -> bool {
        self.random.permille(share)
    }
}

/// What a session does when it has said enough.
enum After {
    Talk,
    StartTls,
    Leave,
}

/// One connection.
struct Session {
    server: Rc<Server>,
    wire: Wire,
    call: Rc<Call>,
    life: u32,
    manners: Manners,
    extended: bool,
    secured: bool,
    sender: Option<String>,
    recipients: Vec<String>,
    content: Vec<u8>,
    /// It has said something that is no reply: nothing that it says later binds the relay.
    garbled: bool,
    /// In this transaction.
    recipients_asked: usize,
}

impl Session {
    fn new(server: Rc<Server>, stream: SimStream, manners: Manners) -> Self {
        let (life, call) = (stream.opened_by(), stream.call());
        assert_eq!(stream.local(), server.address);
        let wire = Wire::new(server.executor.clone(), stream, PATIENCE);
        Session {
            server,
            wire,
            call,
            life,
            manners,
            extended: false,
            secured: false,
            sender: None,
            recipients: Vec::new(),
            content: Vec::new(),
            garbled: false,
            recipients_asked: 0,
        }
    }

    async fn run(mut self) {
        // Whatever ends a session, there is nobody to tell.
        let mut after = self.greet().await;
        while let Ok(After::Talk) = after {
            after = self.converse().await;
            if let Ok(After::StartTls) = after {
                let Ok(wire) = self.wire.accept_tls().await else { return };
                (self.wire, self.secured, self.extended) = (wire, true, false);
                after = Ok(After::Talk);
            }
        }
        self.wire.close().await;
    }

    async fn greet(&mut self) -> Result<After, Gone> {
        if self.server.rolls(self.manners.mute) {
            self.server.executor.sleep(PATIENCE).await;
            return Ok(After::Leave);
        }
        match self.refusal(self.manners.greeting) {
            Some(500..) => self.wire.say("554 5.3.2 no mail here").await?,
            Some(_) => self.wire.say("421 4.3.2 not now").await?,
            None => {
                self.answer("220 remote.test ESMTP").await?;
                return Ok(After::Talk);
            }
        }
        Ok(After::Leave)
    }

    async fn converse(&mut self) -> Result<After, Gone> {
        loop {
            let line = self.wire.line().await?;
            if line.len() > 510 {
                self.breach(format!("a line of {} octets", line.len()));
            }
            let verb = line.split(' ').next().unwrap_or("").to_ascii_uppercase();
            if !self.manners.offers.pipelining && !self.wire.unread().is_empty() && verb != "BDAT" {
                self.breach(format!("pipelined behind {line}"));
            }
            if verb == "STARTTLS" && self.start_tls(&line).await? {
                return Ok(After::StartTls);
            }
            if !self.wire.unread().is_empty()
                && verb != "BDAT"
                && self.server.rolls(self.manners.discards_pipelined)
            {
                // It hears nothing more, and closes sooner or later.
                self.obey(&verb, &line).await?;
                let longest = *self.server.random.pick(&[10, 200_000]);
                self.server.executor.sleep(self.server.random.millis(1..longest)).await;
                return Err(Gone);
            }
            self.obey(&verb, &line).await?;
            if verb == "QUIT" {
                return Ok(After::Leave);
            }
        }
    }

    async fn obey(&mut self, verb: &str, line: &str) -> Result<(), Gone> {
        match verb {
            "EHLO" => self.ehlo().await,
            "HELO" => self.answer("250 remote.test").await,
            "MAIL" => self.mail(line).await,
            "RCPT" => self.rcpt(line).await,
            "DATA" => self.data().await,
            "BDAT" => self.bdat(line).await,
            "RSET" => {
                self.forget();
                self.answer("250 2.0.0 forgotten").await
            }
            // It was refused.
            "STARTTLS" => Ok(()),
            "NOOP" => self.answer("250 2.0.0 yes").await,
            "QUIT" => self.answer("221 2.0.0 bye").await,
            _ => {
                self.breach(format!("a command that was not offered: {line}"));
                self.answer("500 5.5.2 what?").await
            }
        }
    }

    /// Whether the handshake is next.
    async fn start_tls(&mut self, line: &str) -> Result<bool, Gone> {
        if !self.offers_tls() || !self.extended || !self.wire.unread().is_empty() {
            self.breach(format!("not offered, or something behind it: {line}"));
        }
        self.forget();
        if let Some(code) = self.refusal(self.manners.starttls) {
            self.answer(&format!("{code} {}.7.0 no TLS today", code / 100)).await?;
            return Ok(false);
        }
        self.wire.say("220 2.0.0 go on").await?;
        if self.server.rolls(self.manners.breaks_tls) {
            return Err(Gone);
        }
        if self.server.rolls(self.manners.slow) {
            // Longer than the relay waits for a handshake, or not.
            self.server.executor.sleep(self.server.random.millis(1..120_000)).await;
        }
        Ok(true)
    }

    fn offers_tls(&self) -> bool {
        self.manners.offers.starttls && !self.secured
    }

    async fn ehlo(&mut self) -> Result<(), Gone> {
        self.forget();
        let offers = self.manners.offers;
        if !offers.extensions {
            return self.answer("502 5.5.1 what?").await;
        }
        if let Some(code) = self.refusal(self.manners.ehlo) {
            return self.answer(&format!("{code} {}.3.0 not for you", code / 100)).await;
        }
        self.extended = true;
        let words = [
            (offers.pipelining, "PIPELINING"),
            (offers.chunking, "CHUNKING"),
            (offers.eight_bit, "8BITMIME"),
            (offers.size, "SIZE 10000000"),
            (offers.dsn, "DSN"),
            (self.offers_tls(), "STARTTLS"),
            (true, "ENHANCEDSTATUSCODES"),
        ];
        let offered = words.iter().filter(|(offered, _)| *offered);
        let lines: String = offered.map(|(_, word)| format!("250-{word}\r\n")).collect();
        self.answer(&format!("250-remote.test\r\n{lines}250 HELP")).await
    }

    async fn mail(&mut self, line: &str) -> Result<(), Gone> {
        if self.sender.is_some() {
            self.breach("MAIL within a transaction".into());
        }
        let (path, parameters) = path_of(line, "MAIL FROM:");
        let offers = self.manners.offers;
        let known = [
            ("BODY=", offers.eight_bit),
            ("SIZE=", offers.size),
            ("RET=", offers.dsn),
            ("ENVID=", offers.dsn),
        ];
        self.check_parameters(line, parameters, &known);
        if let Some(code) = self.refusal(self.manners.mail) {
            return self.answer(&format!("{code} {}.1.0 not this sender", code / 100)).await;
        }
        self.call.began(path);
        self.recipients_asked = 0;
        self.sender = Some(path.to_owned());
        self.answer("250 2.1.0 ok").await
    }

    async fn rcpt(&mut self, line: &str) -> Result<(), Gone> {
        let (path, parameters) = path_of(line, "RCPT TO:");
        let dsn = self.manners.offers.dsn;
        self.check_parameters(line, parameters, &[("NOTIFY=", dsn), ("ORCPT=", dsn)]);
        if self.sender.is_none() {
            return self.answer("503 5.5.1 MAIL first").await;
        }
        self.call.is_for(path);
        self.recipients_asked += 1;
        if self.recipients_asked > self.server.rules.recipients_per_transaction_max {
            self.breach(format!("{} recipients at once", self.recipients_asked));
        }
        let now = self.server.executor.now();
        let first = *self.server.seen.borrow_mut().entry(path.to_owned()).or_insert(now);
        if now.since(first) < self.manners.greylists_for {
            return self.answer("450 4.7.1 come back later").await;
        }
        let at_home = path.ends_with("@home.test");
        let but_home = if at_home { Refusals::default() } else { self.manners.rcpt_but_home };
        if let Some(code) = self.refusal(self.manners.rcpt).or_else(|| self.refusal(but_home)) {
            return self.answer(&format!("{code} {}.1.1 not this one", code / 100)).await;
        }
        self.recipients.push(path.to_owned());
        self.answer("250 2.1.5 ok").await
    }

    async fn data(&mut self) -> Result<(), Gone> {
        if self.recipients.is_empty() {
            return self.answer("503 5.5.1 RCPT first").await;
        }
        if let Some(code) = self.refusal(self.manners.data) {
            return self.answer(&format!("{code} {}.3.0 no data", code / 100)).await;
        }
        self.answer("354 go on").await?;
        self.content = self.wire.dotted().await?;
        self.complete().await
    }

    async fn bdat(&mut self, line: &str) -> Result<(), Gone> {
        if !self.manners.offers.chunking {
            self.breach("BDAT without CHUNKING".into());
        }
        let mut words = line.split(' ').skip(1);
        let size = words.next().and_then(|size| size.parse().ok());
        let chunk = self.wire.octets(size.expect("a size")).await?;
        if self.recipients.is_empty() {
            return self.answer("503 5.5.1 RCPT first").await;
        }
        if self.server.rolls(self.manners.denies_chunking) {
            self.forget();
            return self.answer("500 5.5.1 what?").await;
        }
        self.content.extend_from_slice(&chunk);
        match words.next() {
            None => self.answer("250 2.0.0 more").await,
            Some(_) => self.complete().await,
        }
    }

    /// The whole message is here: what becomes of it?
    async fn complete(&mut self) -> Result<(), Gone> {
        if self.server.rolls(self.manners.loses) {
            return Err(Gone);
        }
        if let Some(code) = self.refusal(self.manners.content) {
            self.forget();
            return self.answer(&format!("{code} {}.6.0 not this message", code / 100)).await;
        }
        let place = self.keep();
        if self.server.rolls(self.manners.keeps_silently) {
            return Err(Gone);
        }
        if self.server.rolls(self.manners.slow) {
            self.server.executor.sleep(self.server.random.millis(1..30_000)).await;
        }
        self.speak("250 2.0.0 kept").await?;
        if !self.garbled {
            self.server.ledger.replied(place, self.wire.mark());
        }
        match self.server.rolls(self.manners.leaves) {
            true => Err(Gone),
            false => Ok(()),
        }
    }

    fn keep(&mut self) -> usize {
        let message = std::mem::take(&mut self.content);
        let delivery = Delivery {
            identity: identify(&message),
            sender: self.sender.take().expect("a sender"),
            recipients: std::mem::take(&mut self.recipients),
            message,
            offers_dsn: self.extended && self.manners.offers.dsn,
            life: self.life,
            reply: RefCell::default(),
            forgotten: RefCell::default(),
        };
        self.server.ledger.keep(delivery)
    }

    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.content.clear();
    }

    /// Answers a command, or does not.
    async fn answer(&mut self, reply: &str) -> Result<(), Gone> {
        let server = self.server.clone();
        if server.rolls(self.manners.slow) {
            server.executor.sleep(server.random.millis(1..60_000)).await;
        }
        if server.rolls(self.manners.drops) {
            return Err(Gone);
        }
        if server.rolls(self.manners.closes) {
            self.wire.say("421 4.3.2 closing").await?;
            return Err(Gone);
        }
        if server.rolls(self.manners.garbage) {
            self.garbled = true;
            // Nothing that could pass for a promise.
            let garbage = ["", "2", "999 what", "HTTP/1.1 400 Bad Request", "250-a\r\n550 b"];
            return self.wire.say(garbage[server.random.index(garbage.len())]).await;
        }
        self.speak(reply).await
    }

    /// Writes a reply, well or in one of the ways that were seen in the world.
    async fn speak(&mut self, reply: &str) -> Result<(), Gone> {
        let (server, replies) = (self.server.clone(), self.manners.replies);
        let (code, words) = reply.split_at(3);
        if server.rolls(replies.long) {
            self.garbled = true;
            return self.wire.say(&format!("{reply}{}", "x".repeat(100 << 10))).await;
        }
        if server.rolls(replies.endless) {
            self.garbled = true;
            let lines = format!("{code}-and\r\n").repeat(10_000);
            return self.wire.say(&format!("{lines}{code} end")).await;
        }
        if server.rolls(replies.bare) {
            return self.wire.write(format!("{}\n", reply.replace("\r\n", "\n")).as_bytes()).await;
        }
        if server.rolls(replies.dripping) {
            self.wire.write(code.as_bytes()).await?;
            for octet in words.bytes().chain(*b"\r\n") {
                server.executor.sleep(server.random.millis(1..2_000)).await;
                self.wire.write(&[octet]).await?;
            }
            return Ok(());
        }
        self.wire.say(reply).await
    }

    fn refusal(&self, refusals: Refusals) -> Option<u16> {
        let codes = match self.server.random.below(0..1_000) {
            roll if roll < refusals.transient => [450, 451, 452],
            roll if roll < refusals.transient + refusals.permanent => [550, 553, 554],
            _ => return None,
        };
        Some(*self.server.random.pick(&codes))
    }

    fn check_parameters(&self, line: &str, parameters: &str, known: &[(&str, bool)]) {
        for parameter in parameters.split_ascii_whitespace() {
            let offered =
                known.iter().any(|(name, offered)| *offered && parameter.starts_with(name));
            if !offered || !self.extended {
                self.breach(format!("{parameter} was not offered: {line}"));
            }
        }
    }

    fn breach(&self, words: String) {
        self.server.ledger.breach(format!("{}: {words}", self.server.address));
    }
}

/// The path and the parameters of a command.
///
/// # Panics
/// When the command is not written as RFC 5321 4.1.2 has it.
fn path_of<'a>(line: &'a str, verb: &str) -> (&'a str, &'a str) {
    let rest = line.strip_prefix(verb).and_then(|rest| rest.strip_prefix('<'));
    rest.and_then(|rest| rest.split_once('>')).unwrap_or_else(|| panic!("malformed: {line}"))
}
