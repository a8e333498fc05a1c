//! The name servers of this machine: the `nameserver` lines of /etc/resolv.conf (resolv.conf(5)).
//!
//! Nothing else of the file is used. Search domains above all: a name in mail is absolute, and one
//! that is completed here would lead mail to somebody else. The file is read once, at start.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

const PATH: &str = "/etc/resolv.conf";
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The C library uses three; a configuration of ours may name eight.
const SERVERS_MAX: usize = 8;
const PORT: u16 = 53;

/// Empty when the file cannot be read or names none.
pub fn servers() -> Vec<SocketAddr> {
    let mut text = Vec::new();
    let read = File::open(PATH).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => parse(&String::from_utf8_lossy(&text)),
        Err(_) => Vec::new(),
    }
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // One with a zone (fe80::1%eth0) is no `IpAddr` and is left out.
        address.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT))
    };
    let mut found = Vec::new();
    for server in text.lines().filter_map(server) {
        if !found.contains(&server) && found.len() < SERVERS_MAX {
            found.push(server);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_count() {
        let text = "# nameserver 192.0.2.9\n; nameserver 192.0.2.8\nsearch x.test\n\
            nameserver 192.0.2.1\n  nameserver\t2001:db8::1 # comment\nnameserver 192.0.2.1\n\
            nameserver fe80::1%eth0\nnameserver\nnameservers 192.0.2.7\noptions edns0\r\n";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|one| one.parse().unwrap());
        assert_eq!(parse(text), expected);
        let many: String = (0..20).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        assert_eq!(parse(&many).len(), SERVERS_MAX);
    }
}
