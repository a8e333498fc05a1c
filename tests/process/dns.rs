//! `baton-load dns`: the name server of a fake internet, all of it on loopback.
//!
//! Every name below `x.test` exists; its first label says what becomes of a question about it
//! (`loadtest/src/dns/zone.rs`). [`Dns::again`] keeps the address, so that the relay finds another
//! server where it knows one.

use super::child::{Child, Ear, baton_load};
use std::net::SocketAddr;
use std::process::Command;

pub struct Dns {
    process: Child,
    address: SocketAddr,
}

impl Dns {
    pub fn start(options: &[&str]) -> Dns {
        Dns::start_at("127.0.0.1:0", options)
    }

    /// Another one in its place, when it is gone.
    pub fn again(mut self, options: &[&str]) -> Dns {
        self.process.kill();
        Dns::start_at(&self.address.to_string(), options)
    }

    fn start_at(address: &str, options: &[&str]) -> Dns {
        let mut command = Command::new(baton_load());
        command.args(["dns", "--suffix", "x.test", "--listen", address]).args(options);
        let mut process = Child::start(&mut command, Ear::Output);
        let address = process.line_after("listening ").expect("a name server listens");
        Dns { process, address: address.parse().expect("an address") }
    }

    /// The keys of `[dns]` with which a relay asks this server.
    pub fn keys(&self) -> String {
        let address = self.address;
        format!("servers = [\"{address}\"]\nloopback = true\nfamilies = \"ipv4\"\n")
    }

    /// Ends it; its counts by their names.
    pub fn end(mut self) -> impl Fn(&str) -> u64 {
        self.process.signal("-TERM");
        let counts = self.process.line_after("dns: ").expect("its counts");
        move |name: &str| {
            let mut words = counts.split(' ').filter_map(|word| word.split_once('='));
            let (_, count) = words.find(|(word, _)| *word == name).expect("a count");
            count.parse().expect("a number")
        }
    }
}
